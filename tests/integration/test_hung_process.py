"""A process that hung past its session and then goes on: Kafka must refuse what it still wants to commit."""

import signal
import subprocess
import sys
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from mliot.clock import Deadline, SystemClock
from mliot.errors import Transient
from stack.standalone import StandaloneServer
from streaming.kafka.client import KafkaSettings
from streaming.kafka.log import KafkaLog
from streaming.runtime.effects import Assignment, Batch, Commit, Deliver, Emit, Open, Outcome, Read, Recall, Record, Seek

pytestmark = pytest.mark.stack
HANGING = """
import sys, time
from contextlib import suppress
from mliot.errors import Transient
from tests.integration.test_hung_process import commit, one_read
from streaming.kafka.log import KafkaLog
from streaming.kafka.client import KafkaSettings
from streaming.runtime.effects import Open, Rewound

bootstrap, service, source, target = sys.argv[1:]
with KafkaLog(KafkaSettings(bootstrap, service, "0")) as log:
    record = one_read(log, source)
    print("read", flush=True)
    sys.stdin.readline()
    until = time.monotonic() + 20
    while log._consumer.memberid() and time.monotonic() < until:  # until its client was told that the group has given it up
        time.sleep(0.05)
    try:
        commit(log, record, target, "by the one that hung")
        print("committed", flush=True)
    except Rewound as reason:
        with suppress(Transient):
            log.open(Open((source,)))  # as a service does next: the transaction that failed is ended by the next producer
        print("rewound:", reason, flush=True)
"""


def opened(log: KafkaLog, topic: str, deadline: Deadline) -> Assignment:
    """What a new member of the group is assigned of ``topic``."""
    while not deadline.passed():
        try:
            return log.open(Open((topic,)))
        except Transient:
            continue
    raise AssertionError(f"nothing of {topic} was assigned in time")


def one_read(log: KafkaLog, topic: str) -> Record:
    """The first record of ``topic``, read as a member of the group."""
    deadline = Deadline.after(SystemClock(), 60)
    assignment = opened(log, topic, deadline)
    log.seek(Seek({partition: position.offset for partition, position in assignment.items()}))
    while not deadline.passed():
        batch = log.read(Read(1))
        if batch.records:
            return batch.records[0]
    raise AssertionError(f"nothing of {topic} was read")


def commit(log: KafkaLog, record: Record, topic: str, value: str) -> None:
    out = Outcome("s", 0)
    out.emits.append(Emit(topic, "k", value.encode()))
    log.commit(Commit(out, Batch([record], frozenset(), 0).positions()))


def test_a_process_that_hung_cannot_commit_beside_its_successor(kafka_server: StandaloneServer) -> None:
    bootstrap = kafka_server.settings.kafka_address
    unique = uuid4().hex[:8]
    source, target, service = f"stream-a-{unique}", f"stream-b-{unique}", f"hung-{unique}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(t, 1, 1) for t in (source, target)]).values():
        future.result(30)
    with KafkaLog(KafkaSettings(bootstrap, f"writer-{unique}")) as writer:
        out = Outcome("writer", 0)
        out.emits.append(Emit(source, "k", b"1"))
        deliver = Deliver(out)
        deadline = Deadline.after(SystemClock(), 30)
        while not deadline.passed():
            try:
                writer.deliver(deliver)
                break
            except Transient:
                continue
    child = subprocess.Popen(
        [sys.executable, "-c", HANGING, bootstrap, service, source, target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "read\n"
        child.send_signal(signal.SIGSTOP)
        with KafkaLog(KafkaSettings(bootstrap, service, "1")) as successor:
            commit(successor, one_read(successor, source), target, "by its successor")
            child.send_signal(signal.SIGCONT)
            child.stdin.write("go on\n")
            child.stdin.flush()
            answer = child.stdout.readline()
            assert answer.startswith("rewound:"), answer
            found = successor.recall(Recall(target, (0,), 0))
    finally:
        child.kill()
        child.communicate()
    assert [record.value for record in found] == [b"by its successor"]
