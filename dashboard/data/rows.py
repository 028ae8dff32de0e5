"""What the dashboard reads, typed: rows of the store, health of the services, models of the endpoint. Times are milliseconds since 1970."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from learning.monitoring.reports import Report


@dataclass(frozen=True)
class Reading:
    """The newest frame of one device. ``payload`` holds what is shown of the ``measured`` values; its place has so many ``devices``, and
    there are so many ``places`` in all."""

    device: str
    place_id: str
    event_ms: int
    frame_id: str
    payload: Mapping[str, float]
    measured: int = 0
    devices: int = 0
    places: int = 0


@dataclass(frozen=True)
class Answer:
    """One champion's prediction, and its label where that has come."""

    id: str
    use_case: str
    place_id: str
    key: str
    model_version: str
    at_ms: int
    for_ms: int
    made_ms: int
    value: float
    probability: float | None
    low: float | None
    high: float | None
    label: float | None = None


@dataclass(frozen=True)
class Point:
    """One closed window's value of one column; ``id`` is the window's."""

    id: str
    place_id: str
    column: str
    end_ms: int
    value: float


@dataclass(frozen=True)
class Scored:
    """One answer whose label has come, beside the last-value baseline at the same delay."""

    model_version: str
    value: float
    baseline: float | None
    label: float


@dataclass(frozen=True)
class CommandRow:
    """Where one command stands; ``acked_ms`` is when its ack arrived."""

    command_id: str
    state: str
    device: str
    place_id: str
    use_case: str
    action: str
    value: float
    decided_ms: int
    expires_ms: int
    at_ms: int
    reason: str
    acked_ms: int | None


@dataclass(frozen=True)
class Refusal:
    """The dead letters of one service with one reason; ``newest_id`` leads to one of them."""

    service: str
    reason: str
    letters: int
    newest_ms: int
    newest_id: str


@dataclass(frozen=True)
class CandidateRow:
    """The newest trained model of a use case where it is not in charge, and what the gate said of it."""

    model_version: str
    trained_ms: int | None
    outcome: str
    why: str
    advice: str


@dataclass(frozen=True)
class UnknownName:
    """A measurement's name that nobody knows, over all devices that sent it of late; ``device`` sent it most often."""

    name: str
    frames: int
    devices: int
    device: str
    newest_ms: int


@dataclass(frozen=True)
class Model:
    """One alias of a use case as the endpoint tells it: the model that answers, or, where ``model_version`` is None, why none does."""

    use_case: str
    alias: str
    model_version: str | None
    feature_version: str | None = None
    since_ms: int | None = None
    estimator: str | None = None
    waits_for: str = ""
    fault: str = ""
    candidate: CandidateRow | None = None


@dataclass(frozen=True)
class Health:
    """What one service says of itself; state ``no answer`` where it does not."""

    service: str
    state: str
    since_ms: int | None = None
    rate_per_s: float | None = None
    lag: int | None = None
    last_error: str = ""
    last_error_ms: int | None = None
    waits_for: str = ""
    withheld: Mapping[str, str] = field(default_factory=dict)
    """What it does not do for now, and why, by whom it is done for: of inference, the use cases whose rows pass by."""
    stalled: str = ""
    remarks: tuple[str, ...] = ()
    notice: str = ""
    notice_ms: int | None = None


NO_ANSWER = "no answer"


@dataclass(frozen=True)
class Peer:
    """Another web server of the stack: whether it answers, and since when it does or does not."""

    answers: bool
    since_ms: int


@dataclass(frozen=True)
class ParityRow:
    """The newest comparison of served with built feature rows, over all models; ``faults`` are rows missing or not known to the batch."""

    checked_ms: int
    values: int
    differ: int
    faults: int
    late_rows: int


@dataclass(frozen=True)
class StoreRows:
    """Everything that one pass over the store read."""

    readings: tuple[Reading, ...] = ()
    places: int = 0
    newest: tuple[Answer, ...] = ()
    commands: tuple[CommandRow, ...] = ()
    intervals: Mapping[str, int] = field(default_factory=dict)
    history: tuple[Answer, ...] = ()
    points: tuple[Point, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unknown: tuple[UnknownName, ...] = ()
    champion_scored: Mapping[str, tuple[Scored, ...]] = field(default_factory=dict)
    shadow_scored: Mapping[str, tuple[Scored, ...]] = field(default_factory=dict)
    parity: ParityRow | None = None


@dataclass(frozen=True)
class Snapshot:
    """What is known at ``now_ms``. ``read_ms`` is when the store last answered, ``away`` why it does not now.

    None stands for: not asked yet.
    """

    now_ms: int
    store: StoreRows | None = None
    read_ms: int | None = None
    away: str = ""
    away_since_ms: int | None = None
    services: tuple[Health, ...] | None = None
    models: tuple[Model, ...] | None = None
    endpoint: Peer | None = None
    dagster: Peer | None = None
    reports: Mapping[str, Report] = field(default_factory=dict)
    """The newest drift report of each use case that has one."""
    disk: str = ""
    """Why the disk of the stack's home needs a look."""
