"""What a field may hold is checked as a record is read, in every service alike."""

from collections.abc import Callable

import msgspec
import pytest

from mliot.fields import holds_zero, is_traceparent, plain
from mliot.messages import Ack, DeadLetter, Feature, Frame, Label, Prediction, Window, decode, readable, traceparent_of

LABEL = {"use_case": "fan_speed", "feature_id": "f", "key": "a", "place_id": "a", "label_ms": 1, "available_ms": 1, "value": 1.0}


def label(**changes: object) -> bytes:
    return msgspec.json.encode(LABEL | changes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"key": "a/b"}, "key"),
        ({"place_id": "a" * 65}, "place_id"),
        ({"place_id": "\u202ea"}, "place_id"),
        ({"place_id": "a\n"}, "place_id"),
        ({"feature_id": ""}, "feature_id"),
        ({"feature_id": "a" * 201}, "feature_id"),
        ({"label_ms": -1}, "label_ms"),
        ({"label_ms": 2**63}, "label_ms"),
        ({"value": 1e39}, "value"),
        ({"feature_id": "a\0b"}, "zero byte"),
    ],
)
def test_a_field_out_of_bounds_is_named(changes: dict, field: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=field):
        decode(Label, label(**changes))


@pytest.mark.parametrize("kind", [Frame, Window, Feature, Prediction, Label, Ack, DeadLetter])
def test_bytes_that_are_no_message_raise_one_kind_of_error(kind: type) -> None:
    for value in (b"", b"[" * 100_000, b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}", b'{"a":"\xff"}', "{}".encode("utf-16")):
        with pytest.raises(msgspec.DecodeError):
            decode(kind, value)


def test_what_is_no_message_is_left_out() -> None:
    assert [found.feature_id for found in readable(Label, [label(), b"{", label(feature_id="g")])] == ["f", "g"]


@pytest.mark.parametrize(
    ("json", "zero"),
    [
        (rb'"\u0000"', True),
        (rb'"a\\\u0000"', True),
        (rb'"\\u0000"', False),
        (rb'"\\\\u0000"', False),
        (rb'"u0000"', False),
        (rb'"\n"', False),
    ],
)
def test_a_zero_byte_is_told_from_the_text_that_spells_one(json: bytes, zero: bool) -> None:
    assert holds_zero(json) is zero is ("\0" in msgspec.json.decode(json))


def test_a_dead_letter_quotes_in_printable_characters_and_keeps_the_bytes() -> None:
    letter = DeadLetter.of(b"\0\xff", source="stream-label", service="store", reason="\0\u202e" + "r" * 9000, key="\0" * 70_000, at_ms=1)
    assert (letter.reason[:10], len(letter.reason), letter.reason.isprintable()) == (r"\x00\u202e", 500, True)
    assert (len(letter.key), letter.key.isprintable()) == (400, True)
    assert letter.original == b"\0\xff"
    assert decode(DeadLetter, letter.encode()) == letter


def test_what_is_printable_stays() -> None:
    assert plain("é 😀", 10) == "é 😀"


@pytest.mark.parametrize(
    "spoilt", [str.upper, lambda text: text[:-1], lambda text: f"{text}\n", lambda text: text.replace("00-", "ff-", 1)]
)
def test_a_trace_is_one_as_w3c_writes_it(spoilt: Callable[[str], str]) -> None:
    trace = traceparent_of("a frame")
    assert is_traceparent(trace)
    assert not is_traceparent(spoilt(trace))
