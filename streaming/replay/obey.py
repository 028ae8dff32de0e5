"""The commands that predictions became, decided again by the commands service's own rules over the ledger of that moment. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from mliot.messages import Command, Prediction, decode
from mliot.usecase import UseCase
from streaming import commands
from streaming.commands import Ledger
from streaming.ports import Record

MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Ordered:
    """A command of then, and the one of now; or why there is none now."""

    then: Command
    now: Command | None
    why_not: str = ""


def again(found: Iterable[Command], predictions: Mapping[str, Prediction], use_cases: Mapping[str, UseCase]) -> list[Ordered]:
    """Each command of one partition that one of ``predictions`` (as computed now, by the id of then) became, decided again.

    ``found``: the partition's commands in its order; those before a command are the ledger that it was decided by.
    """
    ledger = Ledger()
    ordered: list[Ordered] = []
    for command in found:
        prediction = predictions.get(command.prediction_id) if command.state == "queued" else None
        if prediction is not None:
            ordered.append(decide(command, prediction, ledger, use_cases))
        ledger.apply(command)
    return ordered


def decide(then: Command, prediction: Prediction, ledger: Ledger, use_cases: Mapping[str, UseCase]) -> Ordered:
    """What the service decides about ``prediction`` at the moment of ``then``; ``ledger`` is not changed."""
    at = (then.use_case, then.device)
    own = Ledger(
        last={at: ledger.last[at]} if at in ledger.last else {},
        changed_ms={at: ledger.changed_ms[at]} if at in ledger.changed_ms else {},
        recent={at: list(ledger.recent.get(at, ()))},
    )
    record = Record(Prediction.topic_name, 0, 0, 0, prediction.place_id, prediction.encode(), "")
    out = commands.decide([record], own, use_cases, then.decided_ms)
    for emit in out.emits:
        return Ordered(then, decode(Command, emit.value))
    why = next((name.removeprefix("withheld_") for name in out.counts if name.startswith("withheld_")), "no action is declared")
    return Ordered(then, None, why)


def looks_back_ms(use_cases: Mapping[str, UseCase]) -> int:
    """How far before a command the commands lie that it depends on: those of an hour count, and a dwell may be longer."""
    dwells = [use_case.acts.dwell // MILLISECOND for use_case in use_cases.values() if use_case.acts]
    return max(commands.HOUR_MS, *dwells) if dwells else commands.HOUR_MS
