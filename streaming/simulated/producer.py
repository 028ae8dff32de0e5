"""A transactional producer of the simulated Kafka: what librdkafka does on a network where answers get lost and requests come late."""

from collections.abc import Iterator
from typing import NamedTuple

from mliot.errors import Transient
from streaming.runtime.effects import Commit
from streaming.simulated.coordinator import EndTxn
from streaming.simulated.faults import Faults
from streaming.simulated.groups import Refused
from streaming.simulated.kafka import SimulatedKafka

MAX_SLOW_S = 15
"""No answer takes longer: the members of a group, whose session is 6 s, come and go meanwhile."""


class Membership(NamedTuple):
    """Who commits positions: the group, the member and its generation (KIP-447)."""

    group: str
    member: str
    generation: int


class SimulatedProducer:
    """One producer, with the epoch that it got when it was made."""

    def __init__(self, kafka: SimulatedKafka, name: str, faults: Faults) -> None:
        self._kafka = kafka
        self._name = name
        self._faults = faults
        self._epoch = kafka.transactions.init(name)
        self._doubt = ""
        self._steps: Iterator[None] = iter(())
        self._answers_at = 0.0

    def begin(self, effect: Commit, group: Membership) -> None:
        """Begins a transaction, which goes on as :meth:`outcome` is asked for. Raises :class:`Crash` where the process dies."""
        self._doubt = ""
        self._faults.crash("crash_before_commit")
        self._steps = self._run(effect, group)

    def outcome(self) -> Exception | None:
        """Raises :class:`Transient` while an answer is slow, :class:`Crash` where the process dies within the transaction."""
        try:
            while self._kafka.clock.monotonic() >= self._answers_at:
                next(self._steps)
        except StopIteration:
            return None
        except Refused as refusal:
            return refusal
        raise Transient("the transaction is not committed yet")

    def doubt(self) -> str:
        """What librdkafka's log lines tell: something was sent again since the transaction began."""
        return self._doubt

    def close(self) -> None:
        """What is under way stays so: the next producer of this name fences it."""

    def _run(self, effect: Commit, group: Membership) -> Iterator[None]:
        """The requests of a transaction, one after the other; between two of them others may have their turn."""
        transactions = self._kafka.transactions
        added = set()
        for emit in effect.outcome.emits:
            self._between()
            partition = self._kafka.partition_of(emit)
            if partition not in added:
                transactions.add_partition(self._name, self._epoch, partition, effect)
                added.add(partition)
            transactions.write(self._name, self._epoch, partition, emit, self._kafka.timestamp_of(emit))
        yield from self._answered()
        self._between()
        if self._faults.strikes("abort"):
            raise Refused("the simulated Kafka aborts")
        if effect.positions:
            transactions.add_offsets(self._name, self._epoch, group.group, effect)
            self._between()
            self._kafka.group(group.group).check(group.member, group.generation)
            transactions.commit_offsets(self._name, self._epoch, group.group, dict(effect.positions))
            self._between()
        if added or effect.positions:
            yield from self._end(EndTxn(self._name, self._epoch, "committed"))
        self._faults.crash("crash_after_commit")

    def _between(self) -> None:
        """Between two requests: the process may die, and what was given up under the same name may arrive."""
        self._faults.crash("crash_in_commit")
        late = next((request for request in self._kafka.under_way if request.producer == self._name), None)
        if late is not None and self._faults.chance(0.3):
            self._faults.tell(self._kafka.arrive(late))

    def _answered(self) -> Iterator[None]:
        """The answer to a request, which may take its time."""
        if self._faults.strikes("slow"):
            yield from self._later()

    def _later(self) -> Iterator[None]:
        self._answers_at = self._kafka.clock.monotonic() + self._faults.between(1, MAX_SLOW_S)
        yield

    def _end(self, request: EndTxn) -> Iterator[None]:
        if self._faults.strikes("timeout"):
            self._kafka.under_way.append(request)
            if self._faults.chance(0.5):
                self._kafka.arrive(request)
            raise Refused("_TIMED_OUT")
        if self._faults.strikes("resend"):
            if self._faults.chance(0.3):
                self._doubt = "FAIL: disconnected"
            else:  # the client waits for its time limit before it sends again
                self._doubt = "REQTMOUT: EndTxnRequest timed out"
                yield from self._later()
            if self._faults.strikes("late"):
                self._kafka.under_way.append(request)  # that it comes before the second one would do no harm
            else:
                self._kafka.transactions.end(request)  # done, yet the answer is lost
        self._kafka.transactions.end(request)
        if not self._faults.strikes("late_markers"):
            self._kafka.transactions.mark()
        yield from self._answered()
