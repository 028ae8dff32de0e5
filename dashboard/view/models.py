"""Which model is in charge of each use case, since when, and how it does beside the baseline and what runs in its shadow. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from dashboard.data.queries import LABELLED
from dashboard.data.rows import CandidateRow, Model, ParityRow, Scored, Snapshot, StoreRows
from dashboard.data.scores import MIN_ROWS, Score, family, score
from dashboard.view.places import Known
from dashboard.view.reports import ReportView, report_view
from dashboard.view.wording import Stamp, with_unit
from learning.tasks import load_task
from learning.tasks.task import Metric
from mliot.clock import span_text
from mliot.usecase import UseCase


@dataclass(frozen=True)
class ScoreView:
    """One scored model: its number beside the baseline's over the same rows, and in words which of them is ahead."""

    who: str
    version: str
    measure: str = ""
    value: str = ""
    baseline: str = ""
    verdict: str = ""
    ahead: bool | None = None
    rows: str = ""
    waits_for: str = ""


@dataclass(frozen=True)
class CandidateView:
    """The newest candidate that is not in charge: what became of it, when it was trained, why, and what to do."""

    verdict: str
    trained: Stamp | None
    why: str
    advice: str


@dataclass(frozen=True)
class ModelView:
    """One use case. ``version`` is empty and ``waits_for`` says what is missing where nothing is in charge.

    ``problems`` say why it is not predicted for, or not by what its alias stands for; ``candidate`` is the newest one, where it stays
    outside. ``report`` is its newest drift report, where there is one.
    """

    use_case: str
    title: str
    version: str = ""
    feature_version: str = ""
    estimator: str = ""
    since: Stamp | None = None
    waits_for: str = ""
    problems: tuple[str, ...] = ()
    candidate: CandidateView | None = None
    scores: tuple[ScoreView, ...] = ()
    report: ReportView | None = None


@dataclass(frozen=True)
class ParityView:
    """One line: whether what is served is what is built. ``checked`` is None while nothing was compared."""

    text: str
    equal: bool = True
    checked: Stamp | None = None


def parity_view(row: ParityRow | None) -> ParityView:
    """What the newest comparison of served with built features found."""
    if row is None:
        return ParityView("batch and stream: not compared yet; Dagster's job parity does it every night")
    equal = not (row.differ or row.faults)
    faults = f", {row.faults:,} rows missing or foreign" if row.faults else ""
    late = f", {row.late_rows:,} rows apart by late frames" if row.late_rows else ""
    text = f"batch {'=' if equal else '≠'} stream: {row.values:,} values compared, {row.differ:,} differ{faults}{late}"
    return ParityView(text, equal, Stamp(row.checked_ms))


def model_views(snapshot: Snapshot, known: Known) -> tuple[ModelView, ...]:
    """A view a declared use case, by name."""
    rows = snapshot.store or StoreRows()
    return tuple(_model(use_case, snapshot, rows) for use_case in known.use_cases.values())


def _model(use_case: UseCase, snapshot: Snapshot, rows: StoreRows) -> ModelView:
    models, report = snapshot.models, snapshot.reports.get(use_case.name)
    champion = _of(models or (), use_case.name, "champion")
    shadow_rows = rows.shadow_scored.get(use_case.name, ())
    challenger = _of(models or (), use_case.name, "challenger")
    named = [challenger.model_version] if challenger and challenger.model_version else []
    learners = list(dict.fromkeys([*named, *(family(r.model_version) for r in shadow_rows)]))
    shadows = tuple(_score(use_case, "in shadow", name, _by(shadow_rows, name)) for name in learners)
    problems = _problems(use_case, champion, snapshot)
    candidate = _candidate(champion.candidate) if champion and champion.candidate else None
    if champion is None or champion.model_version is None:
        waits_for = _waits_for(use_case, champion, models)
        return ModelView(use_case.name, use_case.title, waits_for=waits_for, problems=problems, candidate=candidate, scores=shadows)
    live = _by(rows.champion_scored.get(use_case.name, ()), champion.model_version)
    return ModelView(
        use_case.name,
        use_case.title,
        champion.model_version,
        champion.feature_version or "",
        champion.estimator or "",
        None if champion.since_ms is None else Stamp(champion.since_ms),
        problems=problems,
        candidate=candidate,
        scores=(_score(use_case, "champion", champion.model_version, live), *shadows),
        report=report_view(report) if report else None,
    )


def _waits_for(use_case: UseCase, champion: Model | None, models: tuple[Model, ...] | None) -> str:
    """What is missing while nothing is in charge: in the endpoint's words, unless a candidate of its own says it below."""
    if models is None:
        return "not known yet: the endpoint has not answered"
    if champion is None:
        return "the endpoint does not know this use case: start it again, so that it reads its file"
    if champion.candidate is not None:
        return "no champion yet"
    return f"{champion.waits_for}; its gate judges it by newer rows, {use_case.gate.least_rows} at least"


def _problems(use_case: UseCase, champion: Model | None, snapshot: Snapshot) -> tuple[str, ...]:
    withheld = next((health.withheld.get(use_case.name) for health in snapshot.services or () if health.service == "inference"), None)
    return (
        *([f"its rows pass by without a prediction: {withheld}"] if withheld else []),
        *(
            [f"what its alias stands for cannot be loaded, an older version answers: {champion.fault}"]
            if champion and champion.fault
            else []
        ),
    )


def _candidate(candidate: CandidateRow) -> CandidateView:
    verdict = {"passed": "passed the gate, not promoted", "refused": "refused by the gate", "broken": "broken, refused by the gate"}
    trained = None if candidate.trained_ms is None else Stamp(candidate.trained_ms)
    return CandidateView(verdict.get(candidate.outcome, candidate.outcome), trained, candidate.why, candidate.advice)


def _of(models: Iterable[Model], use_case: str, alias: str) -> Model | None:
    return next((m for m in models if (m.use_case, m.alias) == (use_case, alias)), None)


def _by(rows: Iterable[Scored], name: str) -> list[Scored]:
    return [row for row in rows if family(row.model_version) == name][:LABELLED]


def _score(use_case: UseCase, who: str, version: str, rows: Sequence[Scored]) -> ScoreView:
    task = load_task(use_case.kind)
    found = score(task, rows)
    if found is None:
        delay = span_text(use_case.delay_ms) if use_case.delay_ms else "at once"
        return ScoreView(who, version, waits_for=f"no labelled row yet; a label comes {delay} after its window")
    if found.rows < MIN_ROWS:
        return ScoreView(who, version, waits_for=f"too few labelled rows for a score ({found.rows} of {MIN_ROWS})")
    shown = partial(_shown, metric=task.metric, unit=use_case.unit)
    baseline = "" if found.baseline is None else shown(found.baseline)
    ahead = found.beats_baseline(task)
    counted = f"over the last {found.rows} labelled rows"
    return ScoreView(who, version, task.metric.short, shown(found.model), baseline, _verdict(found, ahead), ahead, counted)


def _verdict(found: Score, ahead: bool | None) -> str:
    if found.baseline is None:
        return "no last value to compare with yet"
    return "equals last value" if ahead is None else "better than last value" if ahead else "worse than last value"


def _shown(value: float, metric: Metric, unit: str) -> str:
    return f"{value:.3f}" if metric.share else with_unit(value, unit)
