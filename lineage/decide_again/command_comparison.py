"""Orders, sent or withheld, decided again by the commands service's own rules over the ledger of that moment. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mliot.messages import Command, Prediction, decode
from mliot.usecase import UseCase
from streaming.runtime.effects import Record
from streaming.services import commands
from streaming.services.commands import Ledger


@dataclass(frozen=True)
class Ordered:
    """A command of then, sent or withheld, and the one of now; None where nothing would be decided at all."""

    then: Command
    now: Command | None


def again(found: Iterable[Command], predictions: Mapping[str, Prediction], use_cases: Mapping[str, UseCase]) -> list[Ordered]:
    """Each command of one partition that one of ``predictions`` (as computed now, by the id of then) became, decided again.

    ``found``: the partition's commands in its order; those before a command are the ledger that it was decided by.
    """
    ledger = Ledger()
    ordered: list[Ordered] = []
    for command in found:
        prediction = predictions.get(command.prediction_id) if command.state in ("queued", "withheld") else None
        if prediction is not None:
            ordered.append(decide(command, prediction, ledger, use_cases))
        ledger.apply(command)
    return ordered


def decide(then: Command, prediction: Prediction, ledger: Ledger, use_cases: Mapping[str, UseCase]) -> Ordered:
    """What the service decides about ``prediction`` at the moment of ``then``; ``ledger`` is not changed."""
    at = (then.use_case, then.device)
    own = Ledger(
        last={at: ledger.last[at]} if at in ledger.last else {},
        changes_ms={at: ledger.changes_ms[at]} if at in ledger.changes_ms else {},
    )
    record = Record(Prediction.topic_name, 0, 0, 0, prediction.place_id, prediction.encode(), "")
    out = commands.decide([record], own, use_cases, then.decided_ms)
    for emit in out.emits:
        return Ordered(then, decode(Command, emit.value))
    return Ordered(then, None)
