"""Feature rows to predictions: every use case's champion scores the rows that are its own, in micro-batches over HTTP.

Model server down: the offsets wait and nothing is lost. No champion yet: the rows pass by, counted.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from math import isfinite

import msgspec

from mliot.messages import Feature, Prediction, decode
from mliot.settings import Settings
from mliot.usecase import UseCase, load_use_cases
from streaming.model import ModelClient
from streaming.ports import Batch, Commit, Effects, Open, Outcome, Read, Record, Score, Scores, Seek
from streaming.process import main, serve

TOPIC = "stream-feature"


def read_features(batch: Batch, out: Outcome) -> list[tuple[Record, Feature]]:
    """The batch's feature rows; a record that is none becomes a dead letter in ``out``."""
    features: list[tuple[Record, Feature]] = []
    for record in batch.records:
        try:
            features.append((record, decode(Feature, record.value)))
        except msgspec.DecodeError as error:
            out.reject_record(record, f"not a feature row: {error}")
    return features


def asked_of(use_case: UseCase, features: Sequence[tuple[Record, Feature]]) -> list[tuple[Record, Feature]]:
    """The rows that ``use_case`` predicts for."""
    return [(record, row) for record, row in features if row.model == use_case.features and use_case.serves(row.place_id)]


def decide(use_case: UseCase, asked: Sequence[tuple[Record, Feature]], answer: Scores, out: Outcome) -> set[str]:
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


def inference(use_cases: Mapping[str, UseCase], rows: int, fill_ms: int) -> Effects:
    """Read, score, commit."""
    assignment = yield Open((TOPIC,))
    yield Seek({partition: position.offset for partition, position in assignment.items()})
    while True:
        batch: Batch = yield Read(rows, fill_ms=fill_ms)
        if not batch.records:
            continue
        out = Outcome("inference", batch.now_ms)
        features = read_features(batch, out)
        predicted: set[str] = set()
        for use_case in use_cases.values():
            asked = asked_of(use_case, features)
            if not asked:
                continue
            answer: Scores | None = yield Score(use_case.name, [_columns(use_case, row) for _, row in asked])
            if answer is None:
                out.counts[f"no_champion_{use_case.name}"] += len(asked)
                continue
            predicted |= decide(use_case, asked, answer, out)
        out.settle(batch.records, predicted)
        yield Commit(out, batch.positions())


def _columns(use_case: UseCase, row: Feature) -> dict[str, float | None]:
    return {column: row.values.get(column) for column in use_case.columns}


def run(settings: Settings) -> None:
    """The inference service as a process, until it is told to stop."""
    use_cases = load_use_cases(settings.usecases)
    with ModelClient(settings.endpoint_address) as model:
        service = partial(inference, use_cases, settings.batch_rows, settings.commit_ms)
        serve(settings, "inference", service, {Score: model.score}, probe=model.absent)


if __name__ == "__main__":
    main(run, "inference")
