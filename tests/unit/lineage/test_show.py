"""What people see: nothing from outside can style or steer the terminal, and every wrong id is named."""

from io import StringIO

from rich.console import Console

from lineage import show
from lineage.chain import StoredLetter
from lineage.ledger import Finding, Report
from lineage.trace import Node
from mliot.messages import DeadLetter

EVIL = "\x1b[2J[red]x[/red]\u202e"


def printed(renderable, width: int = 200) -> str:
    out = StringIO()
    Console(file=out, width=width, force_terminal=False).print(renderable)
    return out.getvalue()


def test_ids_and_reasons_are_escaped_and_never_markup():
    letter = DeadLetter.of(EVIL.encode(), source=EVIL, service=EVIL, reason=EVIL, at_ms=0, key=EVIL)
    stored = StoredLetter(letter, EVIL, 0)
    for text in (
        printed(show.tree(Node("frame", EVIL, EVIL, fields={}))),
        printed(show.letters([stored], 200)),
        printed(show.letters([stored], 80), 80),
        printed(show.letter(stored, width=80, whole=True)),
        printed(show.audit(Report([Finding("frames", 1, 0, [EVIL])], doubts=[EVIL]))),
    ):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "[red]" in text


def test_a_letter_that_is_not_utf8_is_shown_in_hex_and_cut():
    letter = DeadLetter.of(b"\xff" * 5000, source="t", service="bridge", reason="r", at_ms=0)
    text = printed(show.letter(StoredLetter(letter, "a", 0), width=80, whole=False))
    assert "00000ff0  ff ff" in text
    assert "904 bytes more (--whole shows them)" in text
    assert "more" not in printed(show.letter(StoredLetter(letter, "a", 0), width=80, whole=True))


def test_a_letter_refused_again_after_its_replay_is_said():
    letter = DeadLetter.of(b"{", source="t", service="bridge", reason="r", at_ms=10)
    assert "refused again" in printed(show.letters([StoredLetter(letter, "a", 0, replayed_ms=9)], 200))
    assert "refused again" not in printed(show.letters([StoredLetter(letter, "a", 0, replayed_ms=11)], 200))


def test_on_a_narrow_terminal_a_letter_is_a_few_lines_with_nothing_but_its_bytes_cut():
    letter = DeadLetter.of(b'{"a":1}' * 40, source="iot-frames-sensor", service="bridge", reason="payload.a: 'warm' is no number", at_ms=10)
    text = printed(show.letters([StoredLetter(letter, "a", 0, replayed_ms=9)] * 2, 80), 80)
    lines = text.splitlines()
    assert len(lines) == 8
    assert max(map(len, lines)) <= 80
    assert lines[:4] == [
        f"{letter.dead_id[:12]}  1970-01-01 00:00:00.010  bridge  iot-frames-sensor",
        "    payload.a: 'warm' is no number",
        "    " + ('{"a":1}' * 40)[:75] + "…",
        "    replayed 1970-01-01 00:00:00.009, refused again",
    ]


def test_the_first_twenty_offenders_are_named():
    text = printed(show.audit(Report([Finding("frames", 30, 0, [f"id-{n}-" for n in range(30)])])))
    assert "id-19-" in text
    assert "id-20-" not in text
    assert "10 more (--json names all)" in text
    assert text.rstrip().endswith("not clean")


def test_a_clean_audit_says_so():
    assert "clean: nothing is missing, twice or foreign" in printed(show.audit(Report([Finding("frames", 3, 3)])))
