"""What predictions that may act owe: a command each, sent or withheld, from the first prediction that became one on."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from lineage.ledger import Finding
from mliot.messages import Command, Prediction
from mliot.usecase import UseCase


@dataclass
class _Orders:
    """One use case that acts: how many of its predictions became a command, when the first of them was made, which became none, and which
    became several."""

    seen: int = 0
    first_ms: int | None = None
    without: list[tuple[int, str]] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)


class OrdersOwed:
    """Fed with all commands first, then with the predictions."""

    def __init__(self, use_cases: Mapping[str, UseCase]) -> None:
        self._orders = {name: _Orders() for name, use_case in use_cases.items() if use_case.acts}
        self._of: Counter[str] = Counter()
        self._withheld: Counter[str] = Counter()
        self.decided_by: dict[str, str] = {}
        """The prediction of every command, by the command's id."""

    def command(self, command: Command) -> None:
        """Notes one state of one command."""
        self._of[command.prediction_id] += command.command_id not in self.decided_by
        self.decided_by[command.command_id] = command.prediction_id
        self._withheld[command.use_case] += command.state == "withheld"

    def prediction(self, prediction: Prediction, *, owed: bool) -> None:
        """Notes one prediction; ``owed``: nobody refused it, and the commands service has had time for it."""
        orders = self._orders.get(prediction.use_case)
        if orders is None or prediction.shadow:
            return
        if prediction.prediction_id in self._of:
            orders.seen += 1
            orders.first_ms = min(prediction.made_ms, orders.first_ms or prediction.made_ms)
            if self._of[prediction.prediction_id] > 1:
                orders.twice.append(prediction.prediction_id)
        elif owed:
            orders.without.append((prediction.made_ms, prediction.prediction_id))

    def findings(self, *, whole: bool) -> list[Finding]:
        """One finding a use case that acts; ``whole``: Kafka still has every command, else none can be missing."""
        return [self._finding(name, orders, whole) for name, orders in self._orders.items()]

    def _finding(self, name: str, orders: _Orders, whole: bool) -> Finding:
        missing = [id for made_ms, id in orders.without if made_ms >= (orders.first_ms or 0)] if whole else []
        withheld = self._withheld[name]
        note = f"{withheld} withheld" if withheld else ""
        return Finding(f"commands of {name}, sent or withheld", orders.seen + len(missing), orders.seen, missing, orders.twice, note=note)
