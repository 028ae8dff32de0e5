"""One suite for both logs: what holds for the real Kafka holds for the simulated one, or a simulation proves nothing."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import pytest

from mliot.clock import Deadline, ManualClock, SystemClock
from mliot.errors import Transient
from streaming.ports import Batch, Commit, Deliver, Emit, Log, Open, Outcome, Partition, Position, Read, Recall, Record, Rewound, Seek
from streaming.simulated import SimulatedKafka, SimulatedLog

PARTITIONS = 2


class World:
    """A log with two fresh topics; ``restart`` is a new process of the same service."""

    def __init__(self, topics: tuple[str, str], make: Callable[..., Log], stop: Callable[[Log], None]) -> None:
        self.source, self.target = topics
        self._make, self._stop = make, stop
        self._running: dict[str, Log] = {}

    def restart(self, service: str) -> Log:
        if service in self._running:
            self._stop(self._running.pop(service))
        self._running[service] = self._make(service)
        return self._running[service]

    @contextmanager
    def second(self, service: str) -> Iterator[Log]:
        """Another instance of the same service, for as long as the block runs."""
        log = self._make(service, "1")
        try:
            yield log
        finally:
            self._stop(log)

    def close(self) -> None:
        for log in self._running.values():
            self._stop(log)

    def write(self, *keys_and_values: tuple[str, str]) -> None:
        out = Outcome("writer", 0)
        out.emits += [Emit(self.source, key, value.encode(), f"trace-{value}", 1000 + n) for n, (key, value) in enumerate(keys_and_values)]
        writer = self._running.get("writer") or self.restart("writer")
        attempt(lambda: writer.deliver(Deliver(out)))


@pytest.fixture(params=["simulated", pytest.param("kafka", marks=pytest.mark.stack)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    topics = (f"stream-a-{uuid4().hex[:8]}", f"stream-b-{uuid4().hex[:8]}")
    with ExitStack() as stack:
        if request.param == "simulated":
            kafka = SimulatedKafka(ManualClock(), PARTITIONS)
            made = World(topics, lambda service: SimulatedLog(kafka, service), lambda log: None)
        else:
            from confluent_kafka.admin import AdminClient, NewTopic

            from streaming.kafka import KafkaLog
            from streaming.kafkaclient import KafkaSettings

            bootstrap = request.getfixturevalue("kafka_server").settings.kafka_address
            admin = AdminClient({"bootstrap.servers": bootstrap})
            for future in admin.create_topics([NewTopic(t, PARTITIONS, 1) for t in topics]).values():
                future.result(30)
            unique = uuid4().hex[:8]
            made = World(
                topics,
                lambda service, instance="0": KafkaLog(KafkaSettings(bootstrap, f"{service}-{unique}", instance)),
                lambda log: log.close(),
            )
        stack.callback(made.close)
        yield made


def attempt(call: Callable[[], object], seconds: float = 30) -> object:
    """The call's answer, tried again while it is passing trouble: what the driver does."""
    deadline = Deadline.after(SystemClock(), seconds)
    while True:
        try:
            return call()
        except Transient:
            if deadline.passed():
                raise


def opened(log: Log, *topics: str) -> dict[Partition, Position]:
    assignment = dict(attempt(lambda: log.open(Open(topics))))
    log.seek(Seek({partition: position.offset for partition, position in assignment.items()}))
    return assignment


def drained(log: Log, count: int, seconds: float = 30) -> list[Record]:
    """Reads until ``count`` records came, and once more to see that no other follows."""
    records: list[Record] = []
    deadline = Deadline.after(SystemClock(), seconds)
    while len(records) < count and not deadline.passed():
        records += log.read(Read(100, wait_ms=200)).records
    return [*records, *log.read(Read(100, wait_ms=200)).records]


def committed(log: Log, world: World, records: list[Record], note: str = "", *values: str) -> None:
    out = Outcome("s", 0)
    out.emits += [Emit(world.target, "k", value.encode(), "", 5000 + n) for n, value in enumerate(values)]
    positions = {p: position._replace(note=note) for p, position in Batch(records, frozenset(), 0).positions().items()}
    log.commit(Commit(out, positions))


def values(records: list[Record]) -> list[str]:
    return [record.value.decode() for record in records]


def test_records_come_whole_and_in_order_by_key(world: World) -> None:
    world.write(*[(f"key-{n % 3}", f"value-{n}") for n in range(30)])
    log = world.restart("reader")
    assignment = opened(log, world.source)
    assert {partition.number for partition in assignment} == set(range(PARTITIONS))
    records = drained(log, 30)
    assert sorted(values(records)) == sorted(f"value-{n}" for n in range(30))
    for key in ("key-0", "key-1", "key-2"):
        mine = [record for record in records if record.key == key]
        assert len({record.partition for record in mine}) == 1
        assert values(mine) == [f"value-{n}" for n in range(30) if f"key-{n % 3}" == key]
    assert all(record.traceparent == f"trace-{record.value.decode()}" for record in records)
    assert {record.timestamp_ms for record in records} == set(range(1000, 1030))


def test_the_end_is_said_and_a_record_takes_it_back(world: World) -> None:
    world.write(("a", "1"))
    log = world.restart("reader")
    assignment = opened(log, world.source)
    drained(log, 1)
    assert attempt_until(lambda: log.read(Read(10, wait_ms=100)).at_end, set(assignment))
    assert log.lag() == 0
    world.write(("a", "2"))
    batch = log.read(Read(10, wait_ms=5000))
    while not batch.records:
        batch = log.read(Read(10, wait_ms=1000))
    assert values(list(batch.records)) == ["2"]


def test_output_position_and_note_are_there_together(world: World) -> None:
    world.write(("a", "1"), ("a", "2"))
    log = world.restart("copier")
    opened(log, world.source)
    records = drained(log, 2)
    committed(log, world, records, '{"oldest":7}', "out-1", "out-2")

    again = opened(world.restart("copier"), world.source)
    (partition,) = {Partition(record.topic, record.partition) for record in records}
    assert again[partition] == Position(records[-1].offset + 1, '{"oldest":7}')
    reader = world.restart("reader")
    opened(reader, world.target)
    assert values(drained(reader, 2)) == ["out-1", "out-2"]


def test_what_was_not_committed_is_read_again(world: World) -> None:
    world.write(("a", "1"), ("a", "2"))
    log = world.restart("copier")
    opened(log, world.source)
    first = drained(log, 2)
    committed(log, world, first[:1])
    log = world.restart("copier")
    opened(log, world.source)
    assert values(drained(log, 1)) == ["2"]


def test_a_seek_reads_from_there(world: World) -> None:
    world.write(("a", "1"), ("a", "2"), ("a", "3"))
    log = world.restart("reader")
    assignment = opened(log, world.source)
    drained(log, 3)
    log.seek(Seek(dict.fromkeys(assignment, 1)))
    assert values(drained(log, 2)) == ["2", "3"]


def test_recall_reads_what_is_recent_and_leaves_the_position(world: World) -> None:
    log = world.restart("copier")
    opened(log, world.source)
    committed(log, world, [], "", *[f"out-{n}" for n in range(10)])
    numbers = tuple(range(PARTITIONS))
    assert values(attempt(lambda: log.recall(Recall(world.target, numbers, 5007)))) == ["out-7", "out-8", "out-9"]
    assert values(attempt(lambda: log.recall(Recall(world.target, numbers, 0)))) == [f"out-{n}" for n in range(10)]
    assert attempt(lambda: log.recall(Recall(world.target, numbers, 9_000_000))) == []
    world.write(("a", "1"))
    assert values(drained(log, 1)) == ["1"]


@pytest.mark.parametrize("world", [pytest.param("kafka", marks=pytest.mark.stack)], indirect=True)
def test_a_transaction_that_fails_leaves_nothing(world: World) -> None:
    world.write(("a", "1"))
    log = world.restart("copier")
    opened(log, world.source)
    records = drained(log, 1)
    out = Outcome("s", 0)
    out.emits += [Emit(world.target, "k", b"small"), Emit(world.target, "k", b"x" * 20_000_000)]
    with pytest.raises(Rewound):
        log.commit(Commit(out, Batch(records, frozenset(), 0).positions()))
    assert all(position.offset == 0 for position in opened(log, world.source).values())
    assert values(drained(log, 1)) == ["1"]
    committed(log, world, records, "", "whole")
    reader = world.restart("reader")
    opened(reader, world.target)
    assert values(drained(reader, 1)) == ["whole"]


@pytest.mark.parametrize("world", [pytest.param("kafka", marks=pytest.mark.stack)], indirect=True)
def test_partitions_that_came_and_went_while_it_waited_are_read_again(world: World) -> None:
    """A service that waits for another part has its partitions paused: a rebalance in that state must not leave them silent."""
    log = world.restart("waiter")
    opened(log, world.source)
    with world.second("waiter") as other:
        assert rewound_while_waiting(log, other, lambda: opened(other, world.source))
    assert len(opened_with(log, world.source, PARTITIONS)) == PARTITIONS
    world.write(*[(f"key-{n}", f"value-{n}") for n in range(10)])
    assert sorted(values(drained(log, 10))) == [f"value-{n}" for n in range(10)]


def rewound_while_waiting(log: Log, other: Log, open_other: Callable[[], object]) -> bool:
    """True once ``log``, which waits, noticed that partitions moved to ``other``."""
    joined: list[object] = []
    thread = threading.Thread(target=lambda: joined.append(open_other()))
    thread.start()
    deadline = Deadline.after(SystemClock(), 30)
    moved = False
    while not (moved and joined) and not deadline.passed():
        try:
            log.idle(0.1)
        except Rewound:
            moved = True
            attempt(lambda: log.open(Open(log_topics(log))))
    thread.join(30)
    return moved


def log_topics(log: Log) -> tuple[str, ...]:
    return log._topics  # type: ignore[attr-defined]


def opened_with(log: Log, topic: str, partitions: int, seconds: float = 30) -> dict[Partition, Position]:
    """Opens, waiting through rebalances, until the assignment holds so many partitions."""
    deadline = Deadline.after(SystemClock(), seconds)
    while not deadline.passed():
        try:
            assignment = opened(log, topic)
            if len(assignment) == partitions:
                return assignment
            log.idle(0.2)
        except Rewound:
            continue
    raise AssertionError(f"{topic}: not {partitions} partitions within {seconds} s")


def attempt_until(call: Callable[[], object], wanted: object, seconds: float = 20) -> bool:
    deadline = Deadline.after(SystemClock(), seconds)
    while call() != wanted:
        if deadline.passed():
            return False
    return True
