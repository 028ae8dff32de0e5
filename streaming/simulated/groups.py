"""Consumer groups of a simulated log: members that come and go, generations, and committed positions."""

from collections.abc import Callable
from dataclasses import dataclass, field

from streaming.runtime.effects import Partition, Position

SESSION_MS = 6_000
"""A member that is not heard of for longer is taken for dead (the services' ``session.timeout.ms``)."""


class Refused(Exception):
    """A request that Kafka refuses; the text is the protocol's name of the error."""


@dataclass
class Member:
    """One member. ``silent_since_ms`` is when its heartbeats ended, None while they go on: they have a thread of their own."""

    topics: tuple[str, ...] = ()
    assigned: tuple[Partition, ...] = ()
    rejoined: bool = False
    silent_since_ms: int | None = None


@dataclass
class Group:
    """Eager rebalance: when somebody comes or goes, all give up their partitions and rejoin; then a new generation gets them anew."""

    now_ms: Callable[[], int]
    partitions: int
    generation: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    committed: dict[Partition, Position] = field(default_factory=dict)
    _rebalancing: bool = False

    def join(self, name: str, topics: tuple[str, ...]) -> Member | None:
        """The member with its assignment, or None while others have not rejoined yet."""
        self._evict()
        member = self.members.get(name)
        if member is None or member.topics != topics:
            member = self.members[name] = Member(topics)
            self._rebalance()
        member.rejoined = True
        self._complete()
        return None if self._rebalancing else member

    def leave(self, name: str) -> None:
        if self.members.pop(name, None) is not None:
            self._rebalance()
            self._complete()

    def silence(self, name: str, since_ms: int | None) -> None:
        """The member's process hangs, or died, from ``since_ms`` on; None: it is heard of again."""
        self._evict()
        if name in self.members:
            self.members[name].silent_since_ms = since_ms

    def rebalance(self) -> None:
        """All must rejoin, as after a coordinator that moved, or a member that came and went."""
        self._rebalance()
        self._complete()

    def moved(self, name: str, generation: int) -> bool:
        """True where the member must give up what it was assigned in ``generation``."""
        self._evict()
        return self._rebalancing or name not in self.members or generation != self.generation

    def check(self, name: str, generation: int) -> None:
        """Raises :class:`Refused` where a commit by this member comes too late. While a rebalance only begins, it does not yet."""
        self._evict()
        if name not in self.members:
            raise Refused("UNKNOWN_MEMBER_ID")
        if generation != self.generation:
            raise Refused("ILLEGAL_GENERATION")

    def _rebalance(self) -> None:
        self._rebalancing = True
        for member in self.members.values():
            member.rejoined = False

    def _complete(self) -> None:
        if self._rebalancing and all(member.rejoined for member in self.members.values()):
            self._rebalancing = False
            self.generation += 1
            self._assign()

    def _assign(self) -> None:
        """By range, topic by topic, as librdkafka does it: partitions of the same number go to the same member."""
        for member in self.members.values():
            member.assigned = ()
        for topic in sorted({topic for member in self.members.values() for topic in member.topics}):
            takers = [member for name, member in sorted(self.members.items()) if topic in member.topics]
            each, over = divmod(self.partitions, len(takers))
            first = 0
            for place, member in enumerate(takers):
                count = each + (place < over)
                member.assigned += tuple(Partition(topic, number) for number in range(first, first + count))
                first += count

    def _evict(self) -> None:
        gone = [
            name
            for name, member in self.members.items()
            if member.silent_since_ms is not None and self.now_ms() - member.silent_since_ms > SESSION_MS
        ]
        for name in gone:
            del self.members[name]
        if gone:
            self._rebalance()
            self._complete()
