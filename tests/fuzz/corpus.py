"""What the fuzzing starts from: messages as they really come, and every hostile one that was found or thought of.

``corpus/*.jsonl`` hold one input a line: ``on`` is the topic (MQTT's for the bridge, Kafka's for the other services), ``text`` or
``base64`` the bytes, ``about`` why it is kept. :func:`giants` makes those that are too large to keep.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

FOLDER = Path(__file__).with_name("corpus")
REGRESSIONS = FOLDER / "regressions.jsonl"


class Input(NamedTuple):
    """Bytes that come on a topic."""

    on: str
    data: bytes

    @property
    def is_record(self) -> bool:
        """True where it comes through Kafka, false where it comes through MQTT."""
        return self.on.startswith("stream-")


class _Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    on: str
    about: str = ""
    text: str | None = None
    base64: str | None = None

    def input(self) -> Input:
        return Input(self.on, b64decode(self.base64) if self.text is None else self.text.encode())


def load(files: str = "*") -> list[Input]:
    """Every kept input, or those of the files that match."""
    decoder = msgspec.json.Decoder(_Line)
    paths = sorted(FOLDER.glob(f"{files}.jsonl"))
    return [decoder.decode(line).input() for path in paths for line in path.read_bytes().splitlines() if line]


def line(found: Input, about: str) -> str:
    """The line that keeps ``found``."""
    try:
        kept = _Line(found.on, about, text=found.data.decode())
    except UnicodeDecodeError:
        kept = _Line(found.on, about, base64=b64encode(found.data).decode())
    return msgspec.json.encode(kept).decode()


def keep(found: Input, about: str) -> None:
    """Adds ``found`` to the corpus, where it is not there yet."""
    if found not in load():
        with REGRESSIONS.open("a") as file:
            file.write(line(found, about) + "\n")


def giants(inner: bytes) -> Iterator[bytes]:
    """Inputs of a size that breaks what trusts: ``inner`` is a JSON object that they are made from."""
    opened = inner.rstrip()[:-1] + b","
    yield opened + b'"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    yield opened + b'"x":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}"
    yield opened + b'"' + b"k" * 65_536 + b'":1}'
    yield opened + b'"x":"' + "\N{RIGHT-TO-LEFT OVERRIDE}😀".encode() * 140_000 + b'"}'
    yield opened + b'"x":' + b"9" * 5_000 + b"}"
    yield inner + b" " * 1_000_000
    yield b"[" * 100_000
    yield b"\xff" * 1_000_000
