"""Faults, and how often each happens: every draw is by one seed, so that a seed repeats exactly."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields

from streaming.runtime.effects import Partition


class Crash(Exception):
    """The process died here: nothing it held in memory is left."""


@dataclass
class Faults:
    """How often, from 0 to 1, each fault happens at a step where it can; ``tell`` hears of each one that does.

    abort                 Kafka refuses a transaction in the middle
    crash_before_commit   the process dies before its transaction, crash_in_commit within it, crash_after_commit after it
    resend                the answer to EndTxn is lost and the client sends it again, unseen
    late                  ... and the first copy is still under way: it arrives later
    timeout               the client gives EndTxn up, whatever became of it
    slow                  an answer within a transaction takes seconds: the service is told that it is not committed yet
    late_markers          a transaction's markers are written some time after its commit was answered
    away                  Kafka, the MQTT broker or the store does not answer
    unanswered            it did what was asked, and the answer is lost or late
    redeliver             the MQTT connection breaks: what was not acknowledged comes again
    """

    seed: int = 0
    abort: float = 0.0
    crash_before_commit: float = 0.0
    crash_in_commit: float = 0.0
    crash_after_commit: float = 0.0
    resend: float = 0.0
    late: float = 0.0
    timeout: float = 0.0
    slow: float = 0.0
    late_markers: float = 0.0
    away: float = 0.0
    unanswered: float = 0.0
    redeliver: float = 0.0
    tell: Callable[[str], object] = field(default=lambda _: None, repr=False)
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def strikes(self, fault: str) -> bool:
        """True where ``fault``, named as its field, happens now."""
        if not self.chance(getattr(self, fault)):
            return False
        self.tell(fault)
        return True

    def chance(self, share: float) -> bool:
        return share > 0 and self._random.random() < share

    def crash(self, fault: str) -> None:
        """Raises :class:`Crash` where ``fault`` happens now."""
        if self.strikes(fault):
            raise Crash(fault)

    def cease(self) -> None:
        """No fault happens from now on."""
        for each in fields(self):
            if each.type is float or each.type == "float":
                setattr(self, each.name, 0.0)

    def up_to(self, most: int) -> int:
        """A number from 1 to ``most``; all of it where the seed is 0, so that a plain test reads plain batches."""
        return most if self.seed == 0 else self._random.randint(1, most)

    def between(self, least: int, most: int) -> int:
        return self._random.randint(least, most)

    def order(self, partitions: Iterable[Partition]) -> list[Partition]:
        listed = sorted(partitions)
        if self.seed:
            self._random.shuffle(listed)
        return listed
