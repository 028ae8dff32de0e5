"""What became of the decisions that were made again."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from lineage.decide_again.compare import Compared, Tally
from mliot.messages import Prediction

NO_ROW = "Kafka no longer holds its feature row"
NO_WINDOW = "Kafka no longer holds its window"
NO_FRAMES = "Kafka no longer holds its frames, or those of the windows it looks back on"
NO_LOOKBACK = "Kafka may no longer hold the windows that it looks back on"
OTHER_SQL = "its feature row, or one it looks back on, was made by another version of the SQL"
DOUBTFUL = "it cannot be known which frames its window held: they lie in several partitions, and some came late"
NO_LEARNER = "the checkpoints that tell what the online learner had learnt are gone"
NO_COMMANDS = "Kafka no longer holds the commands before it"


@dataclass
class Decision:
    """One past decision: a prediction with its row and commands, or a row that nothing was predicted about."""

    id: str
    row: str
    then: Prediction | None = None
    tally: Tally = field(default_factory=Tally)
    came_late: tuple[str, ...] = ()
    unknown: str = ""
    """Why it cannot be computed any more, or ''."""

    @property
    def verdict(self) -> Literal["unknown", "differs", "close", "same"]:
        """Equal to the last bit (``same``), within 1e-6 (``close``), or not; ``unknown`` where it cannot be computed any more."""
        if self.unknown:
            return "unknown"
        if self.tally.differ:
            return "differs"
        return "same" if self.tally.to_the_bit else "close"


@dataclass
class Report:
    """Every decision asked for, made again; ``total`` is how many there are to choose from."""

    decisions: list[Decision]
    total: int = 0

    def count(self, verdict: str) -> int:
        return sum(decision.verdict == verdict for decision in self.decisions)

    @property
    def replayed(self) -> int:
        return len(self.decisions) - self.count("unknown")

    @property
    def unknown(self) -> Counter[str]:
        """How many could not be computed, by reason."""
        return Counter(decision.unknown for decision in self.decisions if decision.unknown)

    @property
    def with_late_frames(self) -> int:
        """How many were made without frames that came after their window had closed."""
        return sum(bool(decision.came_late) for decision in self.decisions if not decision.unknown)

    @property
    def equal(self) -> bool:
        """True where every decision asked for was computed and none differs."""
        return bool(self.decisions) and all(decision.verdict in ("same", "close") for decision in self.decisions)


def differing(report: Report) -> Iterator[tuple[Decision, Compared]]:
    """Every value that differs, with its decision."""
    for decision in report.decisions:
        if decision.verdict == "differs":
            for value in decision.tally.differ:
                yield decision, value
