"""The store port on a real PostgreSQL: once by id, positions by compare and set, and a server that dies in between."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import psycopg
import pytest

from mliot.clock import Deadline, SystemClock
from mliot.errors import Transient
from mliot.messages import DeadLetter, Frame
from mliot.services import ServiceStatus
from streaming.runtime.driver import drive, watched
from streaming.runtime.effects import Effects, Partition, Positions, Record, Rewound, Save
from streaming.services.store import decide
from streaming.sinks.postgres import PostgresStore

pytestmark = pytest.mark.stack
FRAMES = Partition("stream-frame", 0)
LETTERS = Partition("stream-deadletter", 0)


@pytest.fixture
def dsn(postgres_server) -> str:
    address = postgres_server.settings.postgres_address
    with psycopg.connect(address, options="-c search_path=mliot") as connection:
        connection.execute("truncate frame, frame_latest, deadletter, position")
    return address


def frame(n: int, event_ms: int = 1000, temperature: float = 20.0) -> Frame:
    return Frame(
        frame_id=f"d@{event_ms}#{n:08x}", device="d", place_id="room-1", event_ms=event_ms, arrived_ms=event_ms + 5,
        mqtt_topic="iot-frames-sensor", payload={"temperature": temperature, "odd \"name'": 1.0},
    )  # fmt: skip


def save(store: PostgresStore, messages, before: int, partition: Partition = FRAMES) -> int:
    return store.save(saving(messages, before, partition))


def saving(messages, before: int, partition: Partition = FRAMES) -> Save:
    records = [Record(partition.topic, 0, before + n, 0, "room-1", message.encode(), "") for n, message in enumerate(messages)]
    return Save(decide(records, 2000)[0], len(records), {partition: before}, {partition: before + len(records)})


def rows(dsn: str, query: str) -> list[tuple]:
    with psycopg.connect(dsn, options="-c search_path=mliot") as connection:
        return connection.execute(query).fetchall()


def test_an_id_is_stored_once_and_the_position_moves_with_it(dsn: str) -> None:
    with PostgresStore(dsn) as store:
        assert store.positions(Positions({FRAMES: ""})) == {FRAMES: 0}
        assert save(store, [frame(1), frame(2), frame(1)], 0) == 2
        assert save(store, [frame(2), frame(3)], 3) == 1
        assert store.positions(Positions({FRAMES: ""})) == {FRAMES: 5}
    assert rows(dsn, "select id, address from frame order by id") == [
        ("d@1000#00000001", "stream-frame-0-0"),
        ("d@1000#00000002", "stream-frame-0-1"),
        ("d@1000#00000003", "stream-frame-0-4"),
    ]


def test_the_newest_frame_of_a_device_is_at_hand(dsn: str) -> None:
    with PostgresStore(dsn) as store:
        save(store, [frame(1, 5000, 25.0), frame(2, 4000, 24.0)], 0)
        save(store, [frame(3, 3000, 23.0)], 2)
    assert rows(dsn, "select device, event_ms, payload ->> 'temperature' from frame_latest") == [("d", 5000, "25.0")]


def test_where_another_instance_wrote_nothing_is_saved(dsn: str) -> None:
    with PostgresStore(dsn) as one, PostgresStore(dsn) as other:
        save(one, [frame(1)], 0)
        with pytest.raises(Rewound, match="stream-frame-0-0"):
            save(other, [frame(9)], 0)
        assert rows(dsn, "select count(*) from frame") == [(1,)]
        assert save(other, [frame(9)], 1) == 1


def test_a_letter_refused_again_says_when(dsn: str) -> None:
    def letter(at_ms: int) -> DeadLetter:
        return DeadLetter.of(b"\x00 not json", source="iot-frames-sensor", service="bridge", reason="not JSON", at_ms=at_ms)

    with PostgresStore(dsn) as store:
        save(store, [letter(10)], 0, LETTERS)
        save(store, [letter(30), letter(20)], 1, LETTERS)
    assert rows(dsn, "select at_ms, original from deadletter") == [(30, b"\x00 not json")]


def test_a_server_that_was_killed_is_waited_for_and_written_to_again(dsn: str, postgres_server) -> None:
    with PostgresStore(dsn) as store:
        save(store, [frame(1)], 0)
        postgres_server.kill()
        with pytest.raises(Transient, match=r"PostgreSQL at 127\.0\.0\.1"):
            save(store, [frame(2)], 1)
        postgres_server.start()
        deadline = Deadline.after(SystemClock(), 30)
        while True:
            try:
                assert save(store, [frame(2)], 1) == 1
                break
            except Transient:
                assert not deadline.passed()
        assert store.positions(Positions({FRAMES: ""})) == {FRAMES: 2}


def test_a_server_that_hangs_is_named_and_written_to_when_it_goes_on(dsn: str, postgres_server) -> None:
    """Its connections stay open, so that what was asked neither succeeds nor fails."""
    server = psutil.Process(postgres_server.pid)
    status = ServiceStatus("store")
    told: list[str] = []

    def stores() -> Effects:
        yield Positions({FRAMES: ""})
        processes = [server, *server.children(recursive=True)]  # that of this connection too
        for process in processes:
            process.suspend()
        with ThreadPoolExecutor(1) as beside:
            beside.submit(when_told, processes)
            yield saving([frame(1)], 0)

    def when_told(processes: list[psutil.Process]) -> None:
        deadline = Deadline.after(SystemClock(), 10)
        while status.snapshot()["state"] != "waiting" and not deadline.passed():
            time.sleep(0.05)
        told.append(status.snapshot()["last_error"])
        for process in processes:
            process.resume()

    with PostgresStore(dsn) as store, watched(status), suppress(StopIteration):
        performers = {Positions: store.positions, Save: store.save}
        drive(stores, performers, status=status, stopped=lambda: False, idle=time.sleep)
    assert told == ["PostgreSQL has not answered for 3 s"]
    assert rows(dsn, "select id from frame") == [("d@1000#00000001",)]
