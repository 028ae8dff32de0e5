"""A transactional producer of the simulated Kafka: what librdkafka does on a network where answers get lost and requests come late."""

from typing import NamedTuple

from streaming.ports import Commit
from streaming.simulated.coordinator import EndTxn
from streaming.simulated.faults import Faults
from streaming.simulated.groups import Refused
from streaming.simulated.kafka import SimulatedKafka


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
        self._failure: Exception | None = None

    def begin(self, effect: Commit, group: Membership) -> None:
        """Runs the whole transaction. Raises :class:`Crash` where the process dies within it."""
        self._doubt, self._failure = "", None
        self._faults.crash("crash_before_commit")
        try:
            self._run(effect, group)
        except Refused as refusal:
            self._failure = refusal

    def outcome(self) -> Exception | None:
        return self._failure

    def doubt(self) -> str:
        """What librdkafka's log lines tell: something was sent again since the transaction began."""
        return self._doubt

    def close(self) -> None:
        """What is under way stays so: the next producer of this name fences it."""

    def _run(self, effect: Commit, group: Membership) -> None:
        transactions = self._kafka.transactions
        added = set()
        for emit in effect.outcome.emits:
            self._between()
            partition = self._kafka.partition_of(emit)
            if partition not in added:
                transactions.add_partition(self._name, self._epoch, partition, effect)
                added.add(partition)
            transactions.write(self._name, self._epoch, partition, emit, self._kafka.timestamp_of(emit))
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
            self._end(EndTxn(self._name, self._epoch, "committed"))
        self._faults.crash("crash_after_commit")

    def _between(self) -> None:
        """Between two requests: the process may die, and what others gave up may arrive."""
        self._faults.crash("crash_in_commit")
        if self._kafka.under_way and self._faults.chance(0.3):
            self._faults.tell(self._kafka.arrive())

    def _end(self, request: EndTxn) -> None:
        if self._faults.strikes("timeout"):
            self._kafka.under_way.append(request)
            if self._faults.chance(0.5):
                self._kafka.arrive()
            raise Refused("_TIMED_OUT")
        if self._faults.strikes("resend"):
            self._doubt = "REQTMOUT: EndTxnRequest timed out"
            if self._faults.strikes("late"):
                self._kafka.under_way.append(request)
            else:
                self._kafka.transactions.end(request)  # done, yet the answer is lost
        self._kafka.transactions.end(request)
        if not self._faults.strikes("late_markers"):
            self._kafka.transactions.mark()
