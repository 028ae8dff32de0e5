"""One suite for both logs: what holds for the real Kafka holds for the simulated one, or a simulation proves nothing."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Protocol
from uuid import uuid4

import pytest

from mliot.clock import Deadline, ManualClock, SystemClock
from mliot.errors import Transient
from mliot.messages import traceparent_of
from streaming.runtime.effects import (
    Batch,
    Commit,
    Deliver,
    Emit,
    Log,
    Open,
    Outcome,
    Partition,
    Position,
    Read,
    Recall,
    Record,
    Rewound,
    Seek,
)
from streaming.simulated import SimulatedKafka, SimulatedLog
from streaming.simulated.coordinator import EndTxn
from streaming.simulated.groups import Refused
from streaming.simulated.topics import Fate

PARTITIONS = 2


class OpenTransaction(Protocol):
    """A transaction of somebody else, with one record written."""

    def commit(self) -> None: ...
    def abort(self) -> None: ...


Begin = Callable[[str, str, str], OpenTransaction]


class World:
    """A log with two fresh topics; ``restart`` is a new process of a service, ``begin(name, topic, value)`` a transaction beside it."""

    def __init__(
        self,
        topics: tuple[str, str],
        make: Callable[..., Log],
        stop: Callable[[Log], None],
        begin: Callable[[str, str, str], OpenTransaction],
    ) -> None:
        self.source, self.target = topics
        self._make, self._stop, self.begin = make, stop, begin
        self._running: dict[str, Log] = {}

    def restart(self, service: str) -> Log:
        if service in self._running:
            self.end(service)
        self._running[service] = self._make(service)
        return self._running[service]

    @contextmanager
    def second(self, service: str, instance: str = "1") -> Iterator[Log]:
        """Another process of the same service, for as long as the block runs."""
        log = self._make(service, instance)
        try:
            yield log
        finally:
            self._stop(log)

    def end(self, service: str) -> None:
        self._stop(self._running.pop(service))

    def close(self) -> None:
        for service in list(self._running):
            self.end(service)

    def write(self, *keys_and_values: tuple[str, str]) -> None:
        out = Outcome("writer", 0)
        out.emits += [
            Emit(self.source, key, value.encode(), traceparent_of(value), 1000 + n) for n, (key, value) in enumerate(keys_and_values)
        ]
        writer = self._running.get("writer") or self.restart("writer")
        attempt(lambda: writer.deliver(Deliver(out)))


@pytest.fixture(params=["simulated", pytest.param("kafka", marks=pytest.mark.stack)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    topics = (f"stream-a-{uuid4().hex[:8]}", f"stream-b-{uuid4().hex[:8]}")
    with ExitStack() as stack:
        if request.param == "simulated":
            kafka = SimulatedKafka(ManualClock(), PARTITIONS)
            made = World(topics, simulated_processes(kafka), lambda log: log.close(), partial(SimulatedTransaction, kafka))
        else:
            from confluent_kafka.admin import AdminClient, NewTopic

            from streaming.kafka.client import KafkaSettings
            from streaming.kafka.log import KafkaLog

            bootstrap = request.getfixturevalue("kafka_server").settings.kafka_address
            admin = AdminClient({"bootstrap.servers": bootstrap})
            # the records' times are of 1970: Kafka's first look for old ones, 30 s after its start, would take them in mid-test
            keep = {"retention.ms": "-1"}
            for future in admin.create_topics([NewTopic(t, PARTITIONS, 1, config=keep) for t in topics]).values():
                future.result(30)
            unique = uuid4().hex[:8]
            made = World(
                topics,
                lambda service, instance="0": KafkaLog(KafkaSettings(bootstrap, f"{service}-{unique}", instance)),
                lambda log: log.close(),
                partial(KafkaTransaction, bootstrap),
            )
        stack.callback(made.close)
        yield made


class SimulatedTransaction:
    def __init__(self, kafka: SimulatedKafka, name: str, topic: str, value: str) -> None:
        self._kafka, self._name = kafka, name
        emit = Emit(topic, "k", value.encode())
        partition = kafka.partition_of(emit)
        self._epoch = kafka.transactions.init(name)
        kafka.transactions.add_partition(name, self._epoch, partition, None)
        kafka.transactions.write(name, self._epoch, partition, emit, 0)

    def commit(self) -> None:
        self._end("committed")

    def abort(self) -> None:
        self._end("aborted")

    def _end(self, fate: Fate) -> None:
        self._kafka.transactions.end(EndTxn(self._name, self._epoch, fate))
        self._kafka.transactions.mark()


class KafkaTransaction:
    def __init__(self, bootstrap: str, name: str, topic: str, value: str) -> None:
        from confluent_kafka import Producer

        self._producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{name}-{topic}", "partitioner": "murmur2_random"})
        self._producer.init_transactions(30)
        self._producer.begin_transaction()
        self._producer.produce(topic, value, "k")
        self._producer.flush(30)

    def commit(self) -> None:
        self._producer.commit_transaction(30)

    def abort(self) -> None:
        self._producer.abort_transaction(30)


def refused(call: Callable[[], None]) -> bool:
    """True where Kafka, real or simulated, does not let it happen."""
    from confluent_kafka import KafkaException

    try:
        call()
    except (Refused, KafkaException):
        return True
    return False


def simulated_processes(kafka: SimulatedKafka) -> Callable[..., SimulatedLog]:
    """Makes logs as a supervisor makes processes: each is a new one, whatever its instance."""
    numbers = itertools.count()
    return lambda service, instance="0": SimulatedLog(kafka, service, instance=instance, process=next(numbers))


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
    assert all(record.traceparent == traceparent_of(record.value.decode()) for record in records)
    assert {record.timestamp_ms for record in records} == set(range(1000, 1030))


def test_the_end_is_said_and_a_record_takes_it_back(world: World) -> None:
    world.write(("a", "1"))
    log = world.restart("reader")
    assignment = opened(log, world.source)
    drained(log, 1)
    assert attempt_until(lambda: log.read(Read(10, wait_ms=100)).at_end, set(assignment))
    assert attempt_until(log.lag, 0)
    world.write(("a", "2"))
    batch = log.read(Read(10, wait_ms=5000))
    while not batch.records:
        batch = log.read(Read(10, wait_ms=1000))
    assert values(list(batch.records)) == ["2"]


def test_the_end_is_said_also_where_it_comes_with_the_last_records(world: World) -> None:
    """Else a partition that falls silent after a backlog would hold windows open for ever."""
    world.write(*[("a", str(n)) for n in range(10)])
    log = world.restart("reader")
    assignment = opened(log, world.source)
    long = Read(100, wait_ms=5000, fill_ms=2000)  # enough for all the records and the end behind them
    records: list[Record] = []
    while len(records) < 10:  # the other partition's end may come first
        records += log.read(long).records
    assert values(records) == [str(n) for n in range(10)]
    assert attempt_until(lambda: log.read(Read(10, wait_ms=100)).at_end, set(assignment))


def test_output_position_and_note_are_there_together(world: World) -> None:
    world.write(("a", "1"), ("a", "2"))
    log = world.restart("copier")
    opened(log, world.source)
    records = drained(log, 2)
    committed(log, world, records, '{"oldest":7}', "out-1", "out-2")

    again = opened(world.restart("copier"), world.source)
    (partition,) = {Partition(record.topic, record.partition) for record in records}
    assert again[partition] == Position(records[-1].offset + 1, '{"oldest":7}', again[partition].topic_id)
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


def test_a_tombstone_comes_back_as_one(world: World) -> None:
    """A record without a value, by which a key is taken back: to whoever reads and whoever recalls, among what is written with it."""
    writer = world.restart("copier")
    opened(writer, world.source)
    committed(writer, world, [], "", "stands")
    out = Outcome("s", 0)
    out.emits += [Emit(world.target, "k", b"", "", 6000), Emit(world.target, "other", b"new", "", 6001)]
    writer.commit(Commit(out, {}))
    wanted = [("k", b"", 6000), ("k", b"stands", 5000), ("other", b"new", 6001)]
    recalled = attempt(lambda: writer.recall(Recall(world.target, tuple(range(PARTITIONS)), 0)))
    assert sorted((record.key, record.value, record.timestamp_ms) for record in recalled) == wanted
    assert values([record for record in recalled if record.key == "k"]) == ["stands", ""], "in the order in which they were written"
    reader = world.restart("reader")
    opened(reader, world.target)
    assert sorted((record.key, record.value, record.timestamp_ms) for record in drained(reader, 3)) == wanted


def test_a_committed_reader_stops_at_an_open_transaction(world: World) -> None:
    log = world.restart("reader")
    assignment = opened(log, world.target)
    under_way = world.begin("other", world.target, "under way")
    writer = world.restart("copier")
    opened(writer, world.source)
    committed(writer, world, [], "", "behind it")
    assert [record for _ in range(10) for record in log.read(Read(100, wait_ms=200)).records] == []
    assert attempt_until(lambda: log.read(Read(10, wait_ms=100)).at_end, set(assignment)), "the end is where a committed reader must stop"
    under_way.commit()
    assert values(drained(log, 2)) == ["under way", "behind it"]


def test_an_aborted_record_is_never_seen_though_it_has_an_offset(world: World) -> None:
    world.begin("other", world.target, "aborted").abort()
    writer = world.restart("copier")
    opened(writer, world.source)
    committed(writer, world, [], "", "first")
    committed(writer, world, [], "", "second")
    log = world.restart("reader")
    opened(log, world.target)
    first, second = drained(log, 2)
    assert values([first, second]) == ["first", "second"]
    assert (first.offset, second.offset) == (2, 4), "an aborted record and each transaction's marker take an offset"
    assert values(list(attempt(lambda: log.recall(Recall(world.target, (0, 1), 0))))) == ["first", "second"]


def lag_after_reading(log: Log) -> int | None:
    log.read(Read(10, wait_ms=100))
    return log.lag()


def test_what_is_not_read_yet_is_lag(world: World) -> None:
    world.write(*[("a", str(n)) for n in range(10)])
    log = world.restart("reader")
    opened(log, world.source)
    assert attempt_until(log.lag, 10)
    records: list[Record] = []
    while len(records) < 3:
        records += log.read(Read(3 - len(records), wait_ms=200)).records
    assert attempt_until(log.lag, 7)
    drained(log, 7)
    assert attempt_until(lambda: lag_after_reading(log), 0)


def test_a_restart_at_the_end_of_a_quiet_partition_lags_behind_nothing(world: World) -> None:
    world.write(*[("a", str(n)) for n in range(10)])
    log = world.restart("copier")
    opened(log, world.source)
    committed(log, world, drained(log, 10))
    log = world.restart("copier")
    opened(log, world.source)
    assert attempt_until(lambda: lag_after_reading(log), 0)
    assert log.lag() == 0


def test_aborted_records_and_markers_are_no_lag(world: World) -> None:
    log = world.restart("reader")
    opened(log, world.target)
    world.begin("first", world.target, "committed").commit()
    drained(log, 1)
    for number in range(3):
        world.begin(f"other-{number}", world.target, "aborted").abort()
    assert attempt_until(lambda: lag_after_reading(log), 0)
    assert stays(lambda: lag_after_reading(log), 0)


def test_what_is_not_committed_yet_is_no_lag(world: World) -> None:
    log = world.restart("reader")
    opened(log, world.target)
    under_way = world.begin("other", world.target, "under way")
    assert stays(lambda: lag_after_reading(log) in (None, 0), True)
    under_way.commit()
    assert values(drained(log, 1)) == ["under way"]
    assert attempt_until(lambda: lag_after_reading(log), 0)


def test_a_new_producer_of_a_name_ends_and_fences_the_old_one(world: World) -> None:
    old = world.begin("same", world.target, "old")
    world.begin("same", world.target, "new").commit()
    assert refused(old.commit)
    log = world.restart("reader")
    opened(log, world.target)
    assert values(drained(log, 1)) == ["new"]


def test_a_new_process_fences_the_one_that_it_replaces(world: World) -> None:
    world.write(("a", "1"))
    hung = world.restart("copier")
    opened(hung, world.source)
    records = drained(hung, 1)
    committed(hung, world, [], "", "once")
    with world.second("copier", "0") as other:
        opens(other, world.source)
        with pytest.raises(Rewound):
            committed(hung, world, records, "", "twice")
        # Kafka answers nothing to a member that joins, not even that it may leave, while one that hangs has yet to rejoin
        world.end("copier")
    log = world.restart("reader")
    opened(log, world.target)
    assert values(drained(log, 1)) == ["once"]


def opens(log: Log, topic: str) -> None:
    """A first try to open: the producer is made, and the group asks its other member to give up its partitions."""
    with suppress(Transient):
        log.open(Open((topic,)))


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


def stays(call: Callable[[], object], wanted: object, times: int = 70) -> bool:
    """True where the answer is ``wanted`` every time: calls that wait 100 ms outlast two looks at the ends of the log."""
    return all(call() == wanted for _ in range(times))
