"""Feature rows to predictions: every use case's champion scores the rows that are its own, in micro-batches over HTTP.

Model server down: the offsets wait and nothing is lost. A use case that cannot be scored (no champion yet, one of another feature model, or
that the server cannot use) holds up nobody: its rows pass by, counted, the reason stands in the status, and it goes on once it can be.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from typing import Any

import msgspec

from learning.answers import MAX_BYTES, MAX_ROWS
from mliot.featuremodels import load_feature_models
from mliot.messages import Feature, Prediction, decode
from mliot.settings import Settings
from mliot.usecase import UseCase
from streaming.adapters.model import ModelClient
from streaming.process import main, serve
from streaming.runtime.driver import model_performers
from streaming.runtime.effects import (
    Batch,
    Champion,
    Champions,
    Commit,
    Effect,
    Effects,
    NotScored,
    Open,
    Outcome,
    Read,
    Record,
    Score,
    Scores,
    Seek,
)
from usecases import load_use_cases
from warehouse.dbt import compile_for_stream

TOPIC = "stream-feature"
MAX_NUMBER_BYTES = 32
"""No number with the signs around it and its column takes more of a request."""
Asked = Sequence[tuple[Record, Feature]]


def read_features(batch: Batch, out: Outcome) -> list[tuple[Record, Feature]]:
    """The batch's feature rows; a record that is none becomes a dead letter in ``out``."""
    features: list[tuple[Record, Feature]] = []
    for record in batch.records:
        try:
            features.append((record, decode(Feature, record.value)))
        except msgspec.DecodeError as error:
            out.reject_record(record, f"not a feature row: {error}")
    return features


def asked_of(use_case: UseCase, features: Asked) -> list[tuple[Record, Feature]]:
    """The rows that ``use_case`` predicts for."""
    return [(record, row) for record, row in features if row.model == use_case.features and use_case.serves(row.place_id)]


def unfit(use_case: UseCase, champion: Champion, columns: Mapping[str, frozenset[str]]) -> str:
    """Why rows of ``use_case`` cannot be given to ``champion``, or nothing. ``columns`` are those that each feature model has now."""
    if champion.features != use_case.features:
        return f"its champion {champion.version} learnt from {champion.features}, its file says {use_case.features} now; retrain it"
    lacking = [column for column in champion.columns if column not in columns.get(champion.features, ())]
    if lacking:
        return f"its champion {champion.version} wants {', '.join(lacking)}, which {champion.features} has no longer; retrain it"
    return ""


def decide(use_case: UseCase, asked: Asked, answer: Scores, out: Outcome) -> set[str]:
    """One prediction a row into ``out``, in order; a score that is not finite becomes a dead letter.

    Returns the addresses of the rows that were predicted for.
    """
    predicted: set[str] = set()
    for (record, row), score in zip(asked, answer.scores, strict=True):
        if not isfinite(score.value):
            out.reject_record(record, f"{use_case.name}: the score of {answer.model_version} is not finite")
            continue
        prediction = Prediction.of(
            row,
            use_case=use_case.name,
            horizon_ms=use_case.label.horizon_ms,
            model_version=answer.model_version,
            made_ms=out.now_ms,
            value=score.value,
            probability=score.probability,
            low=score.low,
            high=score.high,
        )
        out.emit(prediction, row.place_id, record.traceparent)
        out.counts[f"predicted_{use_case.name}"] += 1
        predicted.add(record.address)
    return predicted


@dataclass
class Scoring:
    """Who is in charge, as far as is known, and which use cases are not scored, with the reason.

    ``columns`` are those that each feature model has now.
    """

    columns: Mapping[str, frozenset[str]]
    champions: Mapping[str, Champion | NotScored] = field(default_factory=dict)
    withheld: dict[str, str] = field(default_factory=dict)
    asked_now: bool = False
    """Who is in charge was asked for in this batch already: that nobody is need not be asked again by every use case."""

    def score(self, use_case: UseCase, asked: Asked, out: Outcome) -> Generator[Effect, Any, set[str]]:
        """Has ``asked`` scored, a request's worth at a time.

        Returns the addresses of the rows that were predicted for; those that nobody scored are counted as passed by.
        """
        predicted: set[str] = set()
        champion = self._fit(use_case)
        if isinstance(champion, NotScored) and not self.asked_now:
            self.champions, self.asked_now = (yield Champions()), True
            champion = self._fit(use_case)
        while asked and isinstance(champion, Champion):
            some = asked[: rows_a_request(champion)]
            answer: Scores | NotScored = yield Score(use_case.name, [_wanted(champion, row) for _, row in some])
            if isinstance(answer, Scores) and answer.model_version == champion.version:
                predicted |= decide(use_case, some, answer, out)
                asked = asked[len(some) :]
                continue
            self.champions = yield Champions()
            before, champion = champion, self._fit(use_case)  # who took over meanwhile may want something else
            if isinstance(answer, NotScored) and champion == before:
                champion = answer
        self._pass_by(use_case, champion if isinstance(champion, NotScored) else None, len(asked), out)
        return predicted

    def _fit(self, use_case: UseCase) -> Champion | NotScored:
        champion = self.champions.get(
            use_case.name, NotScored("the model server does not know it: start that again, so that it reads its file")
        )
        if isinstance(champion, NotScored):
            return champion
        why = unfit(use_case, champion, self.columns)
        return NotScored(why) if why else champion

    def _pass_by(self, use_case: UseCase, why: NotScored | None, rows: int, out: Outcome) -> None:
        if why is None or why.expected:
            self.withheld.pop(use_case.name, None)
        else:
            self.withheld[use_case.name] = why.why
        if why is not None:
            out.counts[f"{'no_champion' if why.expected else 'withheld'}_{use_case.name}"] += rows


def rows_a_request(champion: Champion) -> int:
    """How many rows of this champion's columns surely fit into one request to the endpoint."""
    row_bytes = sum(len(column.encode()) + MAX_NUMBER_BYTES for column in champion.columns)
    return min(MAX_ROWS, max(1, MAX_BYTES // (row_bytes + MAX_NUMBER_BYTES)))


def inference(use_cases: Mapping[str, UseCase], columns: Mapping[str, frozenset[str]], rows: int, fill_ms: int) -> Effects:
    """Read, score, commit. ``columns`` are those of each feature model."""
    assignment = yield Open((TOPIC,))
    yield Seek({partition: position.offset for partition, position in assignment.items()})
    scoring = Scoring(columns)
    while True:
        batch: Batch = yield Read(rows, fill_ms=fill_ms)
        if not batch.records:
            continue
        out = Outcome("inference", batch.now_ms)
        features = read_features(batch, out)
        scoring.asked_now = False
        predicted: set[str] = set()
        for use_case in use_cases.values():
            asked = asked_of(use_case, features)
            if asked:
                predicted |= yield from scoring.score(use_case, asked, out)
        out.withheld = dict(scoring.withheld)
        out.settle(batch.records, predicted)
        yield Commit(out, batch.positions())


def _wanted(champion: Champion, row: Feature) -> dict[str, float | None]:
    return {column: row.values.get(column) for column in champion.columns}


def run(settings: Settings) -> None:
    """The inference service as a process, until it is told to stop."""
    use_cases = load_use_cases(settings.usecases)
    columns = load_feature_models(compile_for_stream(settings)).columns
    with ModelClient(settings.endpoint_address) as model:
        service = partial(inference, use_cases, columns, settings.batch_rows, settings.commit_ms)
        serve(settings, "inference", service, model_performers(model), probe=model.absent)


if __name__ == "__main__":
    main(run, "inference")
