"""What to show of a dead letter and where to send it again: pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mliot.errors import UserError
from mliot.messages import MESSAGES, DeadLetter

BRIDGE = "bridge"
"""The one service that reads from MQTT; what it refuses goes back there."""
_TOPICS = tuple(kind.topic_name for kind in MESSAGES)
_HEX_WIDTH = 16


@dataclass(frozen=True)
class Destination:
    """Where a letter came from: an MQTT or a Kafka topic."""

    system: Literal["mqtt", "kafka"]
    topic: str


def destination(letter: DeadLetter) -> Destination:
    """Where ``letter`` goes when it is replayed. Raises :class:`UserError` where its source is no such place."""
    if letter.service == BRIDGE:
        if not letter.source or "+" in letter.source or "#" in letter.source:
            raise UserError(f"dead letter {letter.dead_id}: {escaped(letter.source.encode())!r} is no MQTT topic that one can publish to")
        return Destination("mqtt", letter.source)
    if letter.source not in _TOPICS:
        shown = escaped(letter.source.encode())
        raise UserError(f"dead letter {letter.dead_id}: {shown!r} is no topic of MLIoT; those are {', '.join(_TOPICS)}")
    return Destination("kafka", letter.source)


def escaped(original: bytes, most: int | None = None) -> str:
    """``original`` as text that a terminal shows and never obeys: whatever is not printable, or not UTF-8, is escaped; cut to ``most``."""
    part = original if most is None else original[: 4 * most]
    text = part.decode("utf-8", "backslashreplace")
    safe = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    if most is not None and len(safe) > most:
        return safe[: most - 1] + "…"
    return safe


def hex_lines(original: bytes) -> Sequence[str]:
    """Offset, 16 bytes in hex and the printable ASCII among them, a line each."""
    lines = []
    for at in range(0, len(original), _HEX_WIDTH):
        part = original[at : at + _HEX_WIDTH]
        ascii_part = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        lines.append(f"{at:08x}  {part.hex(' '):<{_HEX_WIDTH * 3 - 1}}  {ascii_part}")
    return lines


def text_lines(original: bytes, width: int) -> Sequence[str]:
    """The escaped text in lines of at most ``width`` characters, nothing left out."""
    text = escaped(original)
    return [text[at : at + width] for at in range(0, len(text), width)]
