"""What is known about a stored model: the card beside its ONNX file."""

import msgspec

from learning.gate import Evidence, Verdict
from mliot.usecase import RENAMED_KINDS


class DataSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows a model was fitted and judged on: count, time range (milliseconds since 1970-01-01 UTC) and a digest of ids and values."""

    rows: int
    first_ms: int
    last_ms: int
    digest: str


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction interval: the answer plus or minus ``half_width``, made to hold the share ``coverage`` of truths.

    ``measured`` is the share that it did hold of the ``rows`` later ones on which the model was judged: in a series that bursts and drifts
    it lies above or below what the interval was made for. None for models judged before that was measured.
    """

    half_width: float
    coverage: float
    measured: float | None = None
    rows: int = 0


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One model, whole: enough to score with it, to judge it and to tell where it came from.

    ``columns`` is the order of the ONNX input, ``features`` the feature model, ``feature_version`` the version of its SQL that was learnt
    from. ``metrics`` are scores on the holdout by name: the candidate's, and the baseline's and champion's of then. ``typical`` is a row to
    try it with: the median of each column that it learnt from. ``verdict`` is the gate's on the evidence, made once, when it was
    trained; None on cards of before it was kept.
    """

    use_case: str
    title: str
    kind: str
    unit: str
    classes: tuple[int, ...]
    features: str
    columns: tuple[str, ...]
    feature_version: str
    estimator: str
    data: DataSnapshot
    typical: dict[str, float | None]
    metrics: dict[str, float]
    evidence: Evidence
    verdict: Verdict | None = None
    interval: Interval | None = None
    created_ms: int
    libraries: dict[str, str]

    def __post_init__(self) -> None:
        """A card that was stored under a kind's old name has its new one."""
        msgspec.structs.force_setattr(self, "kind", RENAMED_KINDS.get(self.kind, self.kind))
