"""Makes past decisions again: gather from the log, compute, compare. The parts that act are given."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

import msgspec

from learning.answers import answers as served_answers
from learning.answers import matrix
from learning.card import ModelCard
from learning.scoring import Scorer
from lineage.audit import LogRecord
from lineage.decide_again import command_comparison, online_answers
from lineage.decide_again.compare import Tally
from lineage.decide_again.parts import M, Parts
from lineage.decide_again.past import (
    Asked,
    Extent,
    Rows,
    Served,
    choose,
    counted,
    read_commands,
    read_labels,
    read_rows,
    read_windows,
    slim,
    widened,
)
from lineage.decide_again.recompute import Recomputation
from lineage.decide_again.report import (
    DOUBTFUL,
    NO_COMMANDS,
    NO_FRAMES,
    NO_LEARNER,
    NO_LOOKBACK,
    NO_ROW,
    NO_WINDOW,
    OTHER_SQL,
    Decision,
    Report,
)
from mliot.errors import UserError
from mliot.messages import CHECKPOINT_TOPIC, Command, Feature, Frame, Label, Message, Prediction, Window, decode
from mliot.usecase import UseCase
from streaming.services.commands import looks_back_ms

ONLINE = "online-"
"""What the version of a learner's answer begins with."""
SCORED_AT_ONCE = 10_000
FRAMES_AT_ONCE = 50_000
STORED_AT_ONCE = 2000
T = TypeVar("T")


def replay(asked: Asked, parts: Parts, *, keep: bool = False) -> Report:
    """Makes the decisions asked for again; ``keep``: every value compared is in the report, not only those that differ."""
    return _Replay(asked, parts, keep).run()


class _Replay:
    """One replay: what was decided, by feature row, and the steps in their order."""

    def __init__(self, asked: Asked, parts: Parts, keep: bool) -> None:
        self._asked = asked
        self._parts = parts
        self._keep = keep
        self._decisions: list[Decision] = []
        self._by_row: dict[str, list[Decision]] = defaultdict(list)
        self._loaded: dict[tuple[str, str], tuple[ModelCard, Scorer]] = {}

    def run(self) -> Report:
        parts = self._parts
        chosen = choose(self._read(Prediction), self._asked)
        self._decide_about(chosen.predictions)
        self._load()
        learners = self._learners()
        columns = {
            u.features: frozenset(c for v in learners.values() if v.features == u.features for c in v.columns) for u in learners.values()
        }
        rows = read_rows(self._read(Feature), wanted=frozenset(self._by_row), versions=parts.models.versions, columns=columns)
        now = self._recomputed(rows)
        said = self._scored(now)
        if learners:
            said |= self._learnt(rows, now, learners)
        self._compare_predictions(said)
        self._compare_commands(said)
        return Report(self._decisions, chosen.total)

    def _decide_about(self, predictions: Mapping[str, Prediction]) -> None:
        for id, prediction in predictions.items():
            self._put(Decision(id, prediction.feature_id, prediction, Tally(self._keep)))
            if prediction.use_case not in self._parts.use_cases:
                self._decisions[-1].unknown = f"use case {prediction.use_case} is no longer declared"
        for row in sorted(self._asked.rows - self._by_row.keys()):
            self._put(Decision(row, row, tally=Tally(self._keep)))

    def _put(self, decision: Decision) -> None:
        self._decisions.append(decision)
        self._by_row[decision.row].append(decision)

    def _load(self) -> None:
        """The models that the decisions name; what one that is gone decided is given up."""
        gone: dict[tuple[str, str], str] = {}
        for decision in self._decisions:
            if decision.then is None or decision.then.model_version.startswith(ONLINE) or decision.unknown:
                continue
            named = (decision.then.use_case, decision.then.model_version)
            if named not in self._loaded and named not in gone:
                try:
                    self._loaded[named] = self._parts.model(*named)
                except UserError as error:
                    gone[named] = f"its model is gone: {error}"
            decision.unknown = gone.get(named, "")

    def _learners(self) -> dict[str, UseCase]:
        """The use cases that learn online, where an answer of one is asked for: they learnt side by side."""
        asked = any(d.then is not None and d.then.model_version.startswith(ONLINE) for d in self._decisions)
        return dict(self._parts.use_cases) if asked else {}

    # Windows and feature rows

    def _recomputed(self, rows: Rows) -> dict[str, Feature]:
        """The feature rows computed anew, compared with what was served and stored; with the values that models are asked with."""
        parts, then = self._parts, {id: slim(decode(Feature, served.value), frozenset()) for id, served in rows.wanted.items()}
        self._give_up(self._by_row.keys() - then.keys(), NO_ROW)
        self._give_up((row.feature_id for row in then.values() if self._is_of_other_sql(row, rows)), OTHER_SQL)
        known = [row for id, row in then.items() if not self._is_given_up(id)]
        grains = frozenset(row.grain for row in known)
        evidence, windows = read_windows(self._read(Window), grains=grains, wanted=frozenset(row.feature_id for row in known))
        closed = {model.grain for model in parts.models.windows}
        self._give_up((row.feature_id for row in known if row.grain in closed and row.feature_id not in windows), NO_WINDOW)
        with Recomputation(parts.models) as past:
            past.want([row for row in known if not self._is_given_up(row.feature_id)], evidence)
            self._give_up(past.lost(parts.source.begins(Frame.topic_name)), NO_FRAMES)
            self._give_up(self._without_lookback(past), NO_LOOKBACK)
            extent = past.extent(whole=self._asked.sample is not None)
            extent = widened(extent, self._asked.extents.get(Frame.topic_name, {}))
            for frames in _chunks(self._read(Frame, extent), FRAMES_AT_ONCE):
                past.add(frames)
            note = parts.progress.begin("computing windows and feature rows")
            past.compute()
            self._give_up(past.in_doubt(), DOUBTFUL)
            for window, addresses in past.came_late().items():
                for decision in self._by_row.get(window, ()):
                    decision.came_late = tuple(addresses)
            note(1)
            self._compare("window", Window, windows, past.windows())
            return self._compare("feature row", Feature, rows.wanted, past.rows())

    def _without_lookback(self, past: Recomputation) -> set[str]:
        begins, extent = self._parts.source.begins(Window.topic_name), self._asked.extents.get(Window.topic_name)
        if extent is None:
            return past.without_lookback(begins)
        return set(self._by_row) if any(first < begins.get(partition, 0) for partition, (first, _) in extent.items()) else set()

    def _is_of_other_sql(self, row: Feature, rows: Rows) -> bool:
        versions = self._parts.models.versions
        if row.model not in versions or row.version != versions[row.model]:
            return True
        newest = rows.others.get((row.model, row.key))
        return newest is not None and newest >= row.start_ms - self._parts.models.feature(row.model).lookback_ms and newest <= row.start_ms

    def _compare(self, part: str, kind: type[M], then: Mapping[str, Served], now: Iterable[M]) -> dict[str, M]:
        """Compares what was served and stored under ``then`` with ``now``; what is missing now differs."""
        found: dict[str, M] = {}
        columns = self._columns()
        note = self._parts.progress.begin(f"comparing: {part}", len(then))
        for some in _chunks(now, STORED_AT_ONCE):
            stored = self._parts.stored(kind, [message.id for message in some])
            for message in (message for message in some if not self._is_given_up(message.id)):
                served = decode(kind, then[message.id].value)
                for decision in self._by_row[message.id]:
                    decision.tally.add(part, served, message)
                    if message.id in stored:
                        _add_stored(decision.tally, part, served, stored[message.id], message)
                found[message.id] = self._slim(message, columns)
            note(len(some))
        for id in then.keys() - found.keys():
            for decision in self._by_row[id]:
                decision.tally.note(part, "id", id, None)
        return found

    @staticmethod
    def _slim(message: M, columns: Mapping[str, frozenset[str]]) -> M:
        return slim(message, columns[message.model]) if isinstance(message, Feature) else message  # type: ignore[return-value]

    def _columns(self) -> Mapping[str, frozenset[str]]:
        """By feature model, the columns that any model of now or then is asked with."""
        columns: dict[str, frozenset[str]] = defaultdict(frozenset)
        for use_case in self._parts.use_cases.values():
            columns[use_case.features] |= frozenset(use_case.columns)
        for card, _ in self._loaded.values():
            columns[card.features] |= frozenset(card.columns)
        return columns

    # Predictions

    def _scored(self, now: Mapping[str, Feature]) -> dict[str, Prediction]:
        """What the models in charge then say now, by the id of then."""
        by_model: dict[tuple[str, str], list[Decision]] = defaultdict(list)
        for decision in self._decisions:
            if decision.then is not None and not decision.unknown and not decision.then.model_version.startswith(ONLINE):
                by_model[decision.then.use_case, decision.then.model_version].append(decision)
        note = self._parts.progress.begin("scoring", sum(map(len, by_model.values())))
        said: dict[str, Prediction] = {}
        for (name, version), decisions in sorted(by_model.items()):
            card, scorer = self._loaded[name, version]
            for some in _chunks((d for d in decisions if d.row in now), SCORED_AT_ONCE):
                rows = [now[decision.row] for decision in some]
                answers = served_answers(scorer.score(matrix([row.values for row in rows], card.columns)), card)
                for decision, row, answer in zip(some, rows, answers, strict=True):
                    then = decision.then
                    assert then is not None
                    said[decision.id] = Prediction.of(
                        row, use_case=name, horizon_ms=self._parts.use_cases[name].label.horizon_ms, model_version=version,
                        made_ms=then.made_ms, shadow=then.shadow, **answer._asdict(),
                    )  # fmt: skip
                note(len(some))
        return said

    def _learnt(self, rows: Rows, now: Mapping[str, Feature], learners: Mapping[str, UseCase]) -> dict[str, Prediction]:
        """What the online learner says now, by the id of then. Rows asked for are those computed anew, others as it was given them."""
        for index, event in enumerate(rows.events):
            if isinstance(event.message, Feature) and (fresh := now.get(event.message.feature_id)) is not None:
                rows.events[index] = event._replace(message=msgspec.structs.replace(fresh, made_ms=event.message.made_ms))
        events = online_answers.Events([*rows.events, *read_labels(self._read(Label), learners)], learners)
        source = self._parts.source
        gone = any(begin for topic in (Feature.topic_name, Label.topic_name) for begin in source.begins(topic).values())
        asked = [d for d in self._decisions if d.then is not None and not d.unknown and d.then.model_version.startswith(ONLINE)]
        note = self._parts.progress.begin("learning online", None)
        found = online_answers.answers(
            lambda: source.read(CHECKPOINT_TOPIC), events, learners, frozenset(d.row for d in asked), gone=gone, note=note
        )  # fmt: skip
        said: dict[str, Prediction] = {}
        for decision in asked:
            assert decision.then is not None
            answer = found.get((decision.row, decision.then.use_case))
            if answer is None:
                decision.unknown = NO_LEARNER
            else:
                said[decision.id] = answer
        return said

    def _compare_predictions(self, said: Mapping[str, Prediction]) -> None:
        note = self._parts.progress.begin("comparing: prediction", len(self._decisions))
        for some in _chunks(self._decisions, STORED_AT_ONCE):
            stored = self._parts.stored(Prediction, [d.id for d in some if d.then is not None])
            for decision in some:
                if decision.then is None or decision.unknown:
                    continue
                now = said.get(decision.id)
                if now is None:
                    decision.tally.note("prediction", "id", decision.id, None)
                    continue
                decision.tally.add("prediction", decision.then, now)
                if decision.id in stored:
                    _add_stored(decision.tally, "prediction", decision.then, stored[decision.id], now)
            note(len(some))

    # Commands

    def _compare_commands(self, said: Mapping[str, Prediction]) -> None:
        if not any(use_case.acts for use_case in self._parts.use_cases.values()):
            return
        by_id = {decision.id: decision for decision in self._decisions if decision.id in said and not decision.unknown}
        predictions = {id: said[id] for id in by_id}
        begins = self._parts.source.begins(Command.topic_name)
        ordered: list[command_comparison.Ordered] = []
        for partition, found in read_commands(self._read(Command)).items():
            some = command_comparison.again(found, predictions, self._parts.use_cases)
            if begins.get(partition, 0):
                some = [one for one in some if self._is_known(one, found[0], by_id)]
            ordered += some
        for chunk in _chunks(ordered, STORED_AT_ONCE):
            stored = self._parts.stored(Command, [one.then.id for one in chunk])
            for one in chunk:
                tally = by_id[one.then.prediction_id].tally
                if one.now is None:
                    tally.note("command", "command_id", one.then.command_id, "none: no action is declared, or none for a shadow")
                    continue
                tally.add("command", one.then, one.now)
                if one.then.id in stored:
                    _add_stored(tally, "command", one.then, stored[one.then.id], one.now)

    def _is_known(self, one: command_comparison.Ordered, first: Command, by_id: Mapping[str, Decision]) -> bool:
        """False, and so noted, where the ledger that it was decided by may have begun before the oldest command that is kept."""
        if one.then.decided_ms - first.decided_ms >= looks_back_ms(self._parts.use_cases):
            return True
        by_id[one.then.prediction_id].unknown = NO_COMMANDS
        return False

    # What all steps need

    def _read(self, kind: type[Message], extent: Extent | None = None) -> Iterator[LogRecord]:
        topic = kind.topic_name
        note = self._parts.progress.begin(f"reading {topic}")
        within = self._asked.extents.get(topic) if extent is None else extent
        return counted(self._parts.source.read(topic, within), note)

    def _give_up(self, rows: Iterable[str], why: str) -> None:
        for row in rows:
            for decision in self._by_row.get(row, ()):
                decision.unknown = decision.unknown or why

    def _is_given_up(self, row: str) -> bool:
        return all(decision.unknown for decision in self._by_row[row])


def _add_stored(tally: Tally, part: str, served: M, stored: M, now: M) -> None:
    """What the store holds is compared only where it is not what was served: it is the same then."""
    if stored != served:
        tally.add(f"{part} in the store", stored, now)


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
