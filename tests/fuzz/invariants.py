"""What must hold whatever comes in: each input is accounted for once, each output is a message that every reader can use."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mliot.fields import COMMAND_ID, MAX_REASON, NAME
from mliot.frames import frame_id
from mliot.messages import (
    CHECKPOINT_TOPIC,
    MESSAGES,
    Ack,
    Command,
    DeadLetter,
    Feature,
    Frame,
    Label,
    Message,
    Prediction,
    Window,
    command_id,
    decode,
    prediction_id,
)
from streaming.runtime.effects import Emit, Outcome, Outgoing, Received, Record
from tests.builtingrains import FRAME_GRAIN

KINDS = {kind.topic_name: kind for kind in MESSAGES}
FATES = ("used", "rejected", "duplicate", "late", "passed")
_NAME, _COMMAND_ID = re.compile(NAME), re.compile(COMMAND_ID)


class Violation(AssertionError):
    """Something that must hold did not."""


def require(holds: bool, what: str) -> None:
    """Raises :class:`Violation` that says ``what`` where it does not hold."""
    if not holds:
        raise Violation(what)


def add_up(counts: Mapping[str, int], read: int) -> None:
    """Each record read has one fate."""
    fates = {fate: counts.get(fate, 0) for fate in FATES}
    require(counts.get("read", 0) == read, f"{read} were read, counted are {counts.get('read', 0)}")
    require(sum(fates.values()) == read, f"{read} were read, and became {fates}")
    require(min(fates.values()) >= 0, f"a fate is negative: {fates}")


def message(emit: Emit) -> Message:
    """The message in ``emit``, which must be whole, with its id, its key and finite numbers only."""
    kind = KINDS[emit.topic]
    try:
        found = decode(kind, emit.value)
    except msgspec.DecodeError as error:
        raise Violation(f"{emit.topic}: an output that its readers refuse: {error}: {emit.value[:300]!r}") from error
    expected = _expected_key(found)
    require(expected is None or emit.key == expected, f"{emit.topic}: key {emit.key!r} instead of {expected!r}")
    require(isinstance(found, DeadLetter) or _NAME.fullmatch(emit.key) is not None, f"{emit.topic}: key {emit.key!r}")
    require(_has_its_id(found), f"{emit.topic}: id {found.id!r} does not follow from the message {emit.value[:300]!r}")
    require(emit.traceparent.isprintable() and len(emit.traceparent) <= 64, f"{emit.topic}: traceparent {emit.traceparent!r}")
    if isinstance(found, DeadLetter):
        require(found.reason.isprintable() and 0 < len(found.reason) <= MAX_REASON, f"dead letter's reason: {found.reason!r}")
        require(found.key.isprintable(), f"dead letter's key: {found.key!r}")
    return found


def _expected_key(found: Message) -> str | None:
    match found:
        case Frame() | Window() | Feature() | Prediction() | Label():
            return found.place_id
        case Command() | Ack():
            return found.command_id.rpartition("@")[0]
        case _:
            return None


def _has_its_id(found: Message) -> bool:
    match found:
        case Frame():
            return found.frame_id.startswith(f"{found.device}@{found.event_ms}#")
        case Window():
            return found.window_id == f"{found.grain}:{found.key}@{found.start_ms}"
        case Feature() if found.grain == FRAME_GRAIN:
            return found.feature_id.startswith(f"{FRAME_GRAIN}:{found.key}@")
        case Feature():
            return found.feature_id == f"{found.grain}:{found.key}@{found.start_ms}"
        case Prediction():
            return found.prediction_id == prediction_id(found.feature_id, found.use_case, found.model_version)
        case Command() if found.state == "queued":  # later states may be those of a command that a foreign writer had logged
            return found.command_id == command_id(found.place_id, found.decided_ms, found.prediction_id, found.device)
        case _:
            return True


def bridged(batch: Sequence[Received], outcome: Outcome) -> Counter[str]:
    """One output a message, in order: a frame, an ack, or a dead letter with the bytes as they came. Returns how many of each."""
    require(len(outcome.emits) == len(batch), f"{len(batch)} messages came, {len(outcome.emits)} records are written")
    add_up(outcome.counts, len(batch))
    fates: Counter[str] = Counter()
    for received, emit in zip(batch, outcome.emits, strict=True):
        found = message(emit)
        fates[type(found).__name__] += 1
        if isinstance(found, DeadLetter):
            require(found.original == received.payload, "a dead letter's bytes are not those that came")
            require(found.source == received.topic, f"a dead letter names {found.source!r}, not {received.topic!r}")
        elif isinstance(found, Frame):
            require(
                found.frame_id == frame_id(found.device, found.event_ms, received.payload), f"{found.frame_id}: not the id of its bytes"
            )
            require(_NAME.fullmatch(found.device) is not None, f"device {found.device!r}")
        else:
            require(
                isinstance(found, Ack) and _COMMAND_ID.fullmatch(found.command_id) is not None, f"a bridge wrote {type(found).__name__}"
            )
    require(
        fates["DeadLetter"] == outcome.counts["rejected"], f"{outcome.counts['rejected']} were rejected, letters are {fates['DeadLetter']}"
    )
    return fates


def written(emits: Iterable[Emit], records: Mapping[str, Record]) -> list[DeadLetter]:
    """The dead letters among ``emits``, each with the bytes of a record that came; everything else is a message that can be read."""
    letters = []
    came = {(record.topic, record.value) for record in records.values()}
    for emit in emits:
        if emit.topic == CHECKPOINT_TOPIC:
            require(b"null" not in emit.value, f"a checkpoint holds a number that is not finite: {emit.value[:300]!r}")
            if emit.value:  # else a tombstone: the log cleaner may take what the key held
                msgspec.json.decode(emit.value)
            continue
        found = message(emit)
        if isinstance(found, DeadLetter):
            require((found.source, found.original) in came, "a dead letter's bytes are not those of a record that came")
            letters.append(found)
    return letters


def sent(outgoing: Outgoing, now_ms: int) -> None:
    """An MQTT message goes to one device's topic, its numbers are finite, and there is time left for it."""
    parts = outgoing.topic.split("/")
    fits = len(parts) == 3 and parts[0] == "iot" and parts[2] == "command" and _NAME.fullmatch(parts[1]) is not None
    require(fits, f"a command goes to {outgoing.topic!r}")
    body = msgspec.json.decode(outgoing.payload)
    require(isinstance(body["value"], int | float), f"a command without a value: {outgoing.payload!r}")
    require(outgoing.left_s(now_ms) >= 1, f"a command expires in {outgoing.left_s(now_ms)} s")
