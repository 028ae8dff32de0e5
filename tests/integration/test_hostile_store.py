"""Hostile texts and numbers through a real PostgreSQL, and out again: by the store port, the dead letters' commands and the trace."""

import json

import psycopg
import pytest
from rich.console import Console
from typer.testing import CliRunner

from lineage import show
from lineage.letters import find_letters, list_letters
from lineage.store import connected
from lineage.trace import Trace
from lineage.trace_rows import find, read_chain
from mliot.cli import build
from mliot.messages import TOPICS
from mliot.settings import Settings
from streaming.runtime.effects import Emit, Partition, Record, Save
from streaming.services.store import KINDS, decide
from streaming.sinks.postgres import PostgresStore
from tests.builtingrains import GRAINS
from tests.fuzz.corpus import Input, giants, load
from tests.fuzz.services import bridged
from usecases import load_use_cases

pytestmark = pytest.mark.stack
NOW_MS = 1_764_000_000_000
STRANGE = ("a'b", 'a"b', "a\\b", "\0", "a\0b", "\u202egnirts", "😀", "\ufeff", "k" * 65_536, "%s %(a)s", "{}", "$1", "\x1b[31mred", "\r\n")


@pytest.fixture
def settings(postgres_server) -> Settings:
    address = postgres_server.settings.postgres_address
    with psycopg.connect(address, options="-c search_path=mliot") as connection:
        tables = ", ".join(f'"{topic.removeprefix("stream-")}"' for topic in KINDS)
        connection.execute(f"truncate {tables}, frame_latest, position, replayed")
    return postgres_server.settings


def stored(settings: Settings, records: list[Record]) -> dict[str, int]:
    """Saves the records in one transaction; the rows by table afterwards."""
    partitions = {Partition(record.topic, record.partition) for record in records}
    before = dict.fromkeys(partitions, 0)
    with PostgresStore(settings.postgres_address) as store:
        store.save(Save(decide(records, NOW_MS)[0], len(records), before, dict.fromkeys(partitions, len(records))))
    with psycopg.connect(settings.postgres_address, options="-c search_path=mliot") as connection:
        tables = [topic.removeprefix("stream-") for topic in KINDS]
        return {table: connection.execute(f'select count(*) from "{table}"').fetchone()[0] for table in tables}


def records_of(inputs: list[Input]) -> list[Record]:
    return [Record(on, 0, n, NOW_MS, STRANGE[n % len(STRANGE)], data, "") for n, (on, data) in enumerate(inputs)]


def kept(on: str, **changes: object) -> bytes:
    """The first good record of a topic with other values."""
    body = json.loads(next(known.data for known in load("good_records") if known.on == on))
    return json.dumps(body | changes).encode()


def test_every_kept_record_is_stored_or_is_a_dead_letter(settings: Settings) -> None:
    inputs = [known for known in load() if known.is_record and known.on in KINDS]
    rows = stored(settings, records_of(inputs))
    good = [known for known in load("good_records") if known.on in KINDS]
    assert sum(rows.values()) >= len(good)
    assert rows["deadletter"] > 5
    with connected(settings) as store:
        letters = {
            (stored.letter.source, stored.letter.original) for stored in list_letters(store, service="store", reason=None, limit=None)
        }
    assert letters <= {(known.on, known.data) for known in inputs}


TEXTS = {
    "stream-frame": "device",
    "stream-feature": "model",
    "stream-label": "feature_id",
    "stream-ack": "reason",
    "stream-deadletter": "key",
}


@pytest.mark.parametrize("on", TEXTS)
def test_a_strange_text_is_kept_as_it_is_or_refused_whole(settings: Settings, on: str) -> None:
    field, rest = (
        TEXTS[on],
        {"stream-frame": "frame_id", "stream-feature": "feature_id", "stream-ack": "command_id", "stream-deadletter": "dead_id"},
    )
    inputs = []
    for n, text in enumerate(STRANGE):
        own = f"room-1@{n}#00000000" if on == "stream-ack" else f"id-{n}"
        inputs.append(Input(on, kept(on, **({rest[on]: own} if on in rest else {}), **{field: text})))
    stored(settings, records_of(inputs))
    with psycopg.connect(settings.postgres_address, options="-c search_path=mliot") as connection:
        column = "id" if on == "stream-label" else f'"{field}"'
        held = [row[0] for row in connection.execute(f'select {column} from "{on.removeprefix("stream-")}" where address <> %s', ["none"])]
        refused = [row[0] for row in connection.execute("select original from deadletter where service = 'store'")]
    as_it_is = [text for text in STRANGE if any(text in value for value in held)]
    whole = [text for text, known in zip(STRANGE, inputs, strict=True) if known.data in refused]
    assert sorted([*as_it_is, *whole]) == sorted(STRANGE)
    assert {"\0", "a\0b"} <= set(whole)


def test_numbers_at_the_ends(settings: Settings) -> None:
    stored(
        settings,
        records_of(
            [
                Input("stream-frame", kept("stream-frame", frame_id="d@1#0", payload={"x": 1e308, "y": -0.0, "z": 5e-324})),
                Input("stream-frame", kept("stream-frame", event_ms=2**63)),
                Input("stream-feature", kept("stream-feature", frames=2**31)),
                Input("stream-feature", kept("stream-feature", values={"a": 3.4e38})),
            ]
        ),
    )
    with psycopg.connect(settings.postgres_address, options="-c search_path=mliot") as connection:
        ((payload,),) = connection.execute("select payload from frame").fetchall()
        assert {name: float(value) for name, value in payload.items()} == {"x": 1e308, "y": 0.0, "z": 5e-324}
        assert connection.execute("select count(*) from deadletter").fetchone() == (2,)


def test_a_giant_is_kept_whole(settings: Settings) -> None:
    inputs = [Input("stream-label", list(giants(kept("stream-label", feature_id=f"id-{n}")))[n]) for n in range(8)]
    rows = stored(settings, records_of(inputs))
    with connected(settings) as store:
        originals = {stored.letter.original for stored in list_letters(store, service=None, reason=None, limit=None)}
    assert rows["label"] + len(originals) == len(inputs)
    assert originals < {known.data for known in inputs}
    assert b"\xff" * 1_000_000 in originals


def test_dead_letters_of_the_bridge_are_listed_shown_and_traced(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes come out as they went in; nothing that a terminal would obey is printed."""
    hostile = [known for known in load("hostile_messages") if not known.is_record]
    _, emits = bridged(hostile)
    assert {emit.topic for emit in emits} <= set(TOPICS)
    stored(settings, [Record(e.topic, 0, n, NOW_MS, e.key, e.value, e.traceparent) for n, e in enumerate(emits) if isinstance(e, Emit)])
    monkeypatch.setenv("MLIOT_POSTGRES_DSN", settings.postgres_address)
    listed = CliRunner().invoke(build(), ["deadletter", "list", "--limit", "1000", "--json"])
    assert listed.exit_code == 0, listed.output
    letters = json.loads(listed.output)
    assert len(letters) == sum(e.topic == "stream-deadletter" for e in emits)
    use_cases = load_use_cases()
    console = Console(width=100, force_terminal=False)
    with connected(settings) as store, console.capture() as captured:
        found = list_letters(store, service=None, reason=None, limit=None)
        console.print(show.letters(found, 100))
        for one in found:
            (again,) = find_letters(store, one.letter.dead_id)
            console.print(show.letter(again, width=100, whole=True))
            subject = find(store, GRAINS, one.letter.dead_id)
            assert subject is not None
            console.print(show.tree(Trace(read_chain(store, GRAINS, subject, listed=5), use_cases, GRAINS, NOW_MS, 5000).tree()))
        for strange in ("x'; drop table frame;--", "%", "😀", "place_1m:room-1@9999999999999999999999"):
            assert find(store, GRAINS, strange) is None
    printed = captured.get()
    assert {known.data for known in hostile} >= {one.letter.original for one in found}
    assert all(c.isprintable() or c == "\n" for c in printed)
