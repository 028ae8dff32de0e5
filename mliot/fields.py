"""What a field of a message may hold: the one alphabet of names, the bounds of times and numbers, and how text from outside is quoted.

Every service checks a record against these as it reads it (:func:`mliot.messages.decode`), so that whatever else a producer writes ends as
a dead letter instead of in a store that cannot hold it: PostgreSQL's text has no zero bytes, its index rows at most 2,704 bytes, its
``bigint`` 64 bits; an MQTT topic has no wildcards; models compute in single precision.
"""

import re
import sys
from functools import lru_cache
from typing import Annotated

from msgspec import Meta

NAME = r"[A-Za-z0-9_.:\-]{1,64}"
"""A device or a place."""
MAX_NAME = 64
COMMAND_ID = NAME + r"@[0-9]{1,15}#[0-9a-f]{8}"
LATEST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999: what PostgreSQL, DuckDB and Python's ``datetime`` can all show."""
LARGEST = 3.4028234e38
"""The largest number of single precision."""
MAX_NUMBER = sys.float_info.max
"""The largest number of double precision: what is larger cannot be read."""
MAX_ORIGINAL = 4_000_000
"""Bytes of an MQTT packet, or of a record on any topic but the dead letters': as a dead letter it must still fit."""
MAX_RECORD = 8 * 1024 * 1024
"""Bytes of any record. A dead letter holds its original in base64 beside the reason."""
MAX_REASON = 500
MAX_KEY = 400

END = r"$(?!\n)"
"""Python's ``$`` also stands before a last line break."""
_ABOUT_NAME = "device or place: letters, digits and _ . : -, at most 64"

Ms = Annotated[int, Meta(ge=0, le=LATEST_MS, description="milliseconds since 1970-01-01 UTC")]
Name = Annotated[str, Meta(pattern=f"^{NAME}{END}", description=_ABOUT_NAME)]
FrameName = Annotated[str, Meta(min_length=1, max_length=64, description=_ABOUT_NAME, extra_json_schema={"pattern": f"^{NAME}{END}"})]
"""A name of a frame: the bridge has matched it, and to do so again wherever a frame is read would double the cost of decoding one."""
NameOrNone = Annotated[str, Meta(pattern=f"^(?:{NAME})?{END}", description=f"{_ABOUT_NAME}; empty where none can be named")]
CommandId = Annotated[str, Meta(pattern=f"^{COMMAND_ID}{END}", description="PLACE@MS#HASH")]
RowId = Annotated[str, Meta(min_length=1, max_length=200)]
"""Of a window or a feature row; a prediction's id is made of one and two words, and must still be an :data:`Id`."""
Id = Annotated[str, Meta(min_length=1, max_length=600)]
Word = Annotated[str, Meta(max_length=128)]
Address = Annotated[str, Meta(max_length=300, description="topic-partition-offset")]
Text = Annotated[str, Meta(max_length=10_000)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Finite = Annotated[float, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]

_NAME = re.compile(NAME)
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_ZERO = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def is_name(text: str) -> bool:
    """True where ``text`` can name a device or a place."""
    return len(text) <= MAX_NAME and _matches_name(text)


@lru_cache(maxsize=1 << 14)
def _matches_name(text: str) -> bool:
    """Remembered: the same devices come again and again."""
    return _NAME.fullmatch(text) is not None


def is_traceparent(text: str) -> bool:
    """True where ``text`` is a trace's and a span's id as W3C Trace Context (level 1, section 3.2.2) writes them.

    Anything else that stands in their place is ignored, as section 3.2.2.1 asks.
    """
    return _TRACEPARENT.fullmatch(text) is not None


def holds_zero(json: bytes) -> bool:
    r"""True where a text in this JSON holds a zero byte. JSON cannot hold one but as ``\u0000``."""
    return b"\\" in json and _ZERO.search(json) is not None


def plain(text: str, most: int) -> str:
    """``text`` in printable characters, the others escaped, and cut to ``most``: nothing that a terminal, log or store stumbles over."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)[:most]
