"""``python -m benchmarks.atleastonce SERVICE``: a service of ours, whole, on a log that only delivers at least once.

Its records are written and acknowledged first, then its positions are committed, as a consumer without transactions does.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from confluent_kafka import TopicPartition

from benchmarks.servers import process
from mliot.clock import Clock
from mliot.settings import Settings
from streaming import process as service_process
from streaming.kafka.client import KafkaSettings
from streaming.kafka.log import KafkaLog
from streaming.runtime.effects import Commit, Deliver


class AtLeastOnceLog(KafkaLog):
    """The log port without transactions."""

    def __init__(self, settings: KafkaSettings, clock: Clock | None = None, *, reads_only: bool = False) -> None:
        del reads_only  # nor does a service that writes get a transactional producer
        super().__init__(settings, clock, reads_only=True)

    def commit(self, effect: Commit) -> None:
        self.deliver(Deliver(effect.outcome))
        offsets = [TopicPartition(p.topic, p.number, at.offset, at.note) for p, at in effect.positions.items()]
        self._joined().commit(offsets=offsets, asynchronous=False)


@contextmanager
def started_at_least_once(settings: Settings, service: str) -> Iterator[None]:
    """The service as a process on this log."""
    with process(settings, service, "benchmarks.atleastonce", service):
        yield


if __name__ == "__main__":
    setattr(service_process, "KafkaLog", AtLeastOnceLog)  # noqa: B010 - the one thing that differs; not exported for assignment
    service_process.main(import_module(f"streaming.services.{sys.argv[1]}").run, sys.argv[1])
