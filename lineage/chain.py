"""What the store holds about one id, typed: the material that :mod:`lineage.trace` makes a tree of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import msgspec

from mliot.grains import Span
from mliot.messages import Ack, Command, DeadLetter, Feature, Frame, Label, Message, Prediction, Window

Kind = Literal["frame", "feature", "prediction", "command", "deadletter"]
M = TypeVar("M", bound=Message)
_ID_FIELD: Mapping[type[Message], str] = {
    Frame: "frame_id",
    Window: "window_id",
    Feature: "feature_id",
    Prediction: "prediction_id",
    Ack: "command_id",
}
"""The message's field that the store's column ``id`` holds; the other messages have their id's parts as columns."""


@dataclass(frozen=True)
class Subject:
    """What was asked about."""

    kind: Kind
    id: str


@dataclass(frozen=True)
class Stored(Generic[M]):
    """A message as the store holds it: its address in the log, and when its row was written."""

    message: M
    address: str
    stored_ms: int

    @classmethod
    def of(cls, kind: type[M], row: Mapping[str, Any]) -> "Stored[M]":
        """The message in one row of its table. Raises :class:`msgspec.ValidationError` where the row is not one of ``kind``."""
        named = {**row, _ID_FIELD[kind]: row["id"]} if kind in _ID_FIELD else row
        return cls(msgspec.convert(named, kind), row["address"], row["stored_ms"])


@dataclass(frozen=True)
class WindowFrames:
    """The frames of one window by event time: how many the store holds, and the first few of them."""

    span: Span
    count: int
    listed: tuple[Stored[Frame], ...]


@dataclass(frozen=True)
class StoredLetter:
    """A dead letter as the store holds it, and when it was last replayed."""

    letter: DeadLetter
    address: str
    stored_ms: int
    replayed_ms: int | None = None

    @property
    def is_open(self) -> bool:
        """True until it is replayed, and again where it was refused after that."""
        return self.replayed_ms is None or self.letter.at_ms > self.replayed_ms


@dataclass(frozen=True)
class Chain:
    """Everything the store knows around ``subject``. ``champions`` is when each use case's champion first answered."""

    subject: Subject
    frame: Stored[Frame] | None = None
    window: WindowFrames | None = None
    features: tuple[Stored[Feature], ...] = ()
    closed_by: Mapping[str, str] = field(default_factory=dict)
    predictions: tuple[Stored[Prediction], ...] = ()
    labels: tuple[Stored[Label], ...] = ()
    commands: tuple[Stored[Command], ...] = ()
    acks: tuple[Stored[Ack], ...] = ()
    champions: Mapping[str, int] = field(default_factory=dict)
    letter: StoredLetter | None = None
