import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.deadletters import Destination, destination, escaped, hex_lines, text_lines
from mliot.errors import UserError
from mliot.messages import DeadLetter


def letter(service: str, source: str) -> DeadLetter:
    return DeadLetter.of(b"{", source=source, service=service, reason="r", at_ms=0)


@given(st.binary(max_size=300))
def test_nothing_that_a_terminal_obeys_gets_through(original):
    assert escaped(original).isprintable()
    assert len(escaped(original, 20)) <= 20
    assert all(line.isprintable() and len(line) <= 30 for line in text_lines(original, 30))
    assert "".join(text_lines(original, 30)) == escaped(original)


@given(st.binary(max_size=300))
def test_hex_shows_every_byte(original):
    lines = hex_lines(original)
    assert bytes.fromhex("".join(line[10:57] for line in lines)) == original
    assert all(line.isascii() and line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("original", "shown"),
    [
        (b'{"a":1}', '{"a":1}'),
        (b"\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        (b"\xff\xfe", "\\xff\\xfe"),
        ("\u202eevil".encode(), "\\u202eevil"),
        ("é°".encode(), "é°"),
        (b"a\nb", "a\\nb"),
    ],
)
def test_bytes_are_shown_as_text_where_they_are_text(original, shown):
    assert escaped(original) == shown


def test_a_letter_of_the_bridge_goes_back_to_mqtt_and_others_to_kafka():
    assert destination(letter("bridge", "iot/x/frames")) == Destination("mqtt", "iot/x/frames")
    assert destination(letter("inference", "stream-feature")) == Destination("kafka", "stream-feature")


@pytest.mark.parametrize(("service", "source"), [("bridge", "iot/+/frames"), ("bridge", "#"), ("bridge", ""), ("store", "iot/x/frames")])
def test_a_source_that_cannot_be_written_to_is_named(service, source):
    with pytest.raises(UserError, match=r"dead letter [0-9a-f]{32}: "):
        destination(letter(service, source))
