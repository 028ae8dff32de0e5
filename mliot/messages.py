"""The messages that travel through Kafka: their topics, their fields and their JSON.

Values are JSON so that any tool can read them. Times are whole milliseconds since 1970-01-01 UTC.
``docs/asyncapi.yaml`` is generated from here.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import ClassVar, Literal, TypeVar

import msgspec

from mliot.fields import (
    MAX_KEY,
    MAX_REASON,
    Address,
    CommandId,
    Count,
    FrameName,
    Id,
    Ms,
    Name,
    NameOrNone,
    Number,
    RowId,
    Text,
    Word,
    holds_zero,
    plain,
)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What every message has: a topic to travel on and an id under which it is stored once."""

    topic_name: ClassVar[str]

    @property
    def id(self) -> str:
        raise NotImplementedError

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


class Frame(Message, frozen=True, kw_only=True):
    """One reading of one device, checked. ``payload`` holds every finite number it carried, by measurement."""

    topic_name: ClassVar[str] = "stream-frame"

    frame_id: Id
    device: FrameName
    place_id: FrameName
    event_ms: Ms
    arrived_ms: Ms
    undated: bool = False
    mqtt_topic: Text
    payload: dict[str, float]

    @property
    def id(self) -> str:
        return self.frame_id


class Window(Message, frozen=True, kw_only=True):
    """Aggregates over one closed tumbling window of one key; ``first`` and ``last`` are addresses ``topic-partition-offset``."""

    topic_name: ClassVar[str] = "stream-window"

    window_id: RowId
    grain: Word
    key: Name
    place_id: Name
    start_ms: Ms
    end_ms: Ms
    frames: Count
    first: Address
    last: Address
    closed_by: Literal["watermark", "clock"] = "watermark"
    values: dict[str, Number]

    @property
    def id(self) -> str:
        return self.window_id


class Feature(Message, frozen=True, kw_only=True):
    """One feature row as served. ``feature_id`` equals the id of the window it describes; null values are left out."""

    topic_name: ClassVar[str] = "stream-feature"

    feature_id: RowId
    model: Word
    version: Word
    grain: Word
    key: Name
    place_id: Name
    start_ms: Ms
    end_ms: Ms
    frames: Count
    first: Address
    last: Address
    made_ms: Ms
    values: dict[str, Number]

    @property
    def id(self) -> str:
        return self.feature_id


class Prediction(Message, frozen=True, kw_only=True):
    """One answer of one model version about one feature row. ``shadow`` marks answers that nothing may act on."""

    topic_name: ClassVar[str] = "stream-prediction"

    prediction_id: Id
    use_case: Word
    feature_id: RowId
    model_version: Word
    feature_version: Word
    key: Name
    place_id: Name
    at_ms: Ms
    for_ms: Ms
    made_ms: Ms
    value: float
    probability: float | None = None
    low: float | None = None
    high: float | None = None
    shadow: bool = False

    @classmethod
    def of(
        cls,
        row: Feature,
        *,
        use_case: str,
        horizon_ms: int,
        model_version: str,
        made_ms: int,
        value: float,
        probability: float | None = None,
        low: float | None = None,
        high: float | None = None,
        shadow: bool = False,
    ) -> "Prediction":
        """What ``model_version`` says about ``row``, for the moment ``horizon_ms`` after the row's end."""
        return cls(
            prediction_id=prediction_id(row.feature_id, use_case, model_version),
            use_case=use_case,
            feature_id=row.feature_id,
            model_version=model_version,
            feature_version=row.version,
            key=row.key,
            place_id=row.place_id,
            at_ms=row.end_ms,
            for_ms=row.end_ms + horizon_ms,
            made_ms=made_ms,
            value=value,
            probability=probability,
            low=low,
            high=high,
            shadow=shadow,
        )

    @property
    def id(self) -> str:
        return self.prediction_id


class Label(Message, frozen=True, kw_only=True):
    """What turned out to be true for one feature row; it may be learnt from once ``available_ms`` has passed."""

    topic_name: ClassVar[str] = "stream-label"

    use_case: Word
    feature_id: RowId
    key: Name
    place_id: Name
    label_ms: Ms
    available_ms: Ms
    value: Number

    @property
    def id(self) -> str:
        return f"{self.use_case}:{self.feature_id}"


CommandState = Literal["queued", "sent", "acked", "failed", "expired", "withheld"]


class Command(Message, frozen=True, kw_only=True):
    """A state of a command to a device; it names the prediction that decided it and when it stops being worth obeying.

    One that was ``withheld`` has no other state. Its ``reason`` begins with the rule that held it back, one word or two, and a colon.
    """

    topic_name: ClassVar[str] = "stream-command"

    command_id: CommandId
    state: CommandState
    device: NameOrNone
    place_id: Name
    use_case: Word
    prediction_id: Id
    action: Word
    value: float
    decided_ms: Ms
    expires_ms: Ms
    at_ms: Ms
    reason: Text = ""

    def __post_init__(self) -> None:
        if not self.device and self.state != "withheld":
            raise ValueError("device is empty, and the command is not withheld")

    @property
    def id(self) -> str:
        return f"{self.command_id}:{self.state}"


class Ack(Message, frozen=True, kw_only=True):
    """A device's answer to a command."""

    topic_name: ClassVar[str] = "stream-ack"

    command_id: CommandId
    device: Name
    ok: bool
    at_ms: Ms
    arrived_ms: Ms
    reason: Text = ""

    @property
    def id(self) -> str:
        return self.command_id


class DeadLetter(Message, frozen=True, kw_only=True):
    """A record that could not be used: the original bytes, where it came from, which service refused it and why."""

    topic_name: ClassVar[str] = "stream-deadletter"

    dead_id: Id
    service: Word
    reason: Text
    source: Text
    key: Text = ""
    at_ms: Ms
    original_base64: str
    traceparent: str = ""

    @property
    def id(self) -> str:
        return self.dead_id

    @property
    def original(self) -> bytes:
        return b64decode(self.original_base64, validate=True)

    @classmethod
    def of(
        cls, original: bytes, *, source: str, service: str, reason: str, at_ms: int, key: str = "", traceparent: str = ""
    ) -> "DeadLetter":
        """A dead letter whose id depends on service, source and bytes only, so that a redelivery has the same id.

        The original is kept as it is; reason and key, which may quote it, in printable characters and cut.
        """
        digest = blake2b(f"{service}\0{source}\0".encode() + original, digest_size=16).hexdigest()
        return cls(dead_id=digest, service=service, reason=plain(reason, MAX_REASON), source=source, key=plain(key, MAX_KEY),
                   at_ms=at_ms, original_base64=b64encode(original).decode(), traceparent=traceparent)  # fmt: skip


MESSAGES: tuple[type[Message], ...] = (Frame, Window, Feature, Prediction, Label, Command, Ack, DeadLetter)
ALERT_TOPIC = "stream-alert"
CHECKPOINT_TOPIC = "stream-checkpoint"
"""Compacted; the online learner's state, committed in one transaction with what it learnt from."""
TOPICS: tuple[str, ...] = (*(message.topic_name for message in MESSAGES), ALERT_TOPIC, CHECKPOINT_TOPIC)

M = TypeVar("M", bound=Message)
_DECODERS: dict[type[Message], msgspec.json.Decoder[Message]] = {message: msgspec.json.Decoder(message) for message in MESSAGES}


def decode(kind: type[M], value: bytes) -> M:
    """The message in ``value``. Raises :class:`msgspec.DecodeError` (ValidationError, its subclass, names the field) and nothing else."""
    try:
        message = _DECODERS[kind].decode(value)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise msgspec.DecodeError("nested too deep") from error
    if holds_zero(value):
        raise msgspec.ValidationError("a text holds a zero byte")
    return message  # type: ignore[return-value]


def readable(kind: type[M], values: Iterable[bytes]) -> Iterator[M]:
    """The messages in ``values``, in order; what is none is left out: the store, which reads every topic, keeps it as a dead letter."""
    for value in values:
        with suppress(msgspec.DecodeError):
            yield decode(kind, value)


def command_id(place_id: str, decided_ms: int, prediction_id: str, device: str) -> str:
    """``{place_id}@{decided ms}#{8 hex digits}``: one prediction commands one device once, and an ack tells its place by the id alone."""
    return f"{place_id}@{decided_ms}#{blake2b(f'{prediction_id}>{device}'.encode(), digest_size=4).hexdigest()}"


def place_of(command_id: str) -> str:
    """The place in a command's id, which is the key of everything about it."""
    return command_id.rpartition("@")[0]


def traceparent_of(seed: str) -> str:
    """A W3C trace context (level 1, section 3.2) that anybody who knows ``seed`` can compute; a redelivery has the same one."""
    digest = blake2b(seed.encode(), digest_size=24).hexdigest()
    return f"00-{digest[:32]}-{digest[32:]}-01"


def prediction_id(feature_id: str, use_case: str, model_version: str) -> str:
    return f"{feature_id}+{use_case}+{model_version}"
