"""Predictions to commands and back: queued -> sent -> acked | failed | expired, or withheld at once; each state a record.

A command is logged, in one transaction with the position of its prediction, before it is sent: a crash between logging and sending
sends it again under the same id, which the device obeys once. State is never saved: it is folded from the command log at each start.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

import msgspec

from mliot.clock import clock_time
from mliot.devicemessages import COMMAND_TOPIC, DeviceCommand
from mliot.fields import is_name, plain
from mliot.messages import Ack, Command, CommandState, Prediction, command_id, decode, place_of, traceparent_of
from mliot.settings import Settings
from mliot.usecase import Action, UseCase
from streaming.adapters.mqtt import MqttBroker
from streaming.process import main, serve
from streaming.runtime.driver import broker_performers
from streaming.runtime.effects import (
    Batch,
    Commit,
    Effects,
    Open,
    Outcome,
    Outgoing,
    Partition,
    Position,
    Publish,
    Published,
    Read,
    Recall,
    Record,
    Seek,
)
from usecases import load_use_cases

PREDICTIONS = "stream-prediction"
ACKS = "stream-ack"
COMMANDS = Command.topic_name
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
FINAL: frozenset[CommandState] = frozenset({"acked", "failed", "expired", "withheld"})


class Silence(NamedTuple):
    """A device that hears nothing: since when, and the newest order that was withheld from it."""

    since_ms: int
    newest: Command


@dataclass
class Ledger:
    """What the command log says: the commands under way, and by use case and device what was last ordered, and when that changed (in the
    hour before it, and last). ``silent`` are those from whom all was withheld since.

    It depends on the log of so long before as :func:`looks_back_ms` tells, and on nothing older.
    """

    underway: dict[str, Command] = field(default_factory=dict)
    last: dict[tuple[str, str], Command] = field(default_factory=dict)
    changes_ms: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    silent: dict[tuple[str, str], Silence] = field(default_factory=dict)

    def apply(self, command: Command) -> None:
        """Takes one state of one command into account; the log's order is the order of calls."""
        at = (command.use_case, command.device or f"of {command.place_id}")
        if command.state in FINAL:
            self.underway.pop(command.command_id, None)
        else:
            self.underway[command.command_id] = command
        if command.state == "queued":
            self._ordered(at, command)
        elif command.state == "withheld":
            last = self.last.get(at)
            since_ms = self.silent[at].since_ms if at in self.silent else last.decided_ms if last else command.decided_ms
            self.silent[at] = Silence(since_ms, command)

    def _ordered(self, at: tuple[str, str], command: Command) -> None:
        before = self.changes_ms.get(at, [])
        kept = [ms for ms in before if ms > command.decided_ms - HOUR_MS] or before[-1:]
        self.changes_ms[at] = [*kept, command.decided_ms] if self.changes(at, command.value, command.decided_ms) else kept
        self.last[at] = command
        self.silent.pop(at, None)

    def changes(self, at: tuple[str, str], value: float, now_ms: int) -> bool:
        """True where ``value`` is not what was last ordered, or that was an hour ago: nobody knows what the device makes of it by now."""
        last = self.last.get(at)
        return last is None or last.value != value or now_ms - last.decided_ms >= HOUR_MS

    def unsent(self) -> list[Command]:
        return [command for command in self.underway.values() if command.state == "queued"]


def judge(prediction: Prediction, action: Action, ledger: Ledger, device: str, now_ms: int) -> str:
    """Why ``prediction`` must not become a command for ``device``: the rule, a colon and how it is broken; '' where it may. Pure.

    The same order again is the heartbeat by which a device knows that it is still looked after: dwell and rate hold back changes only.
    """
    at = (prediction.use_case, device)
    if not is_name(device):  # made of a place's name: it may be too long, and no device can have it
        return f"device name: {plain(device, 80)!a} can be no device's: letters, digits and _ . : -, at most 64"
    if now_ms - prediction.at_ms > _ms(action.stalest):
        return f"stale: the row ended {_seconds(now_ms - prediction.at_ms)} ago, at most {_seconds(_ms(action.stalest))} are allowed"
    if not ledger.changes(at, prediction.value, now_ms):
        return ""
    changes = ledger.changes_ms.get(at, [])
    if changes and ledger.last[at].value != prediction.value and now_ms - changes[-1] < _ms(action.dwell):
        return f"dwell: the value changed {_seconds(now_ms - changes[-1])} ago, and stays for {_seconds(_ms(action.dwell))}"
    if sum(ms > now_ms - HOUR_MS for ms in changes) >= action.per_hour:
        return f"rate: the value changed {action.per_hour} times within the hour, and may no oftener"
    return ""


def _seconds(ms: int) -> str:
    return f"{ms // 1000} s"


def order(prediction: Prediction, action: Action, device: str, now_ms: int, why_not: str = "") -> Command:
    """The queued command that ``prediction`` becomes, or the withheld one, for ``why_not``: without a device where it can name none."""
    return Command(
        command_id=command_id(prediction.place_id, now_ms, prediction.prediction_id, device),
        state="withheld" if why_not else "queued",
        device=device if is_name(device) else "",
        place_id=prediction.place_id,
        use_case=prediction.use_case,
        prediction_id=prediction.prediction_id,
        action=action.action,
        value=prediction.value,
        decided_ms=now_ms,
        expires_ms=now_ms + _ms(action.time_to_live),
        at_ms=now_ms,
        reason=why_not,
    )


def decide(records: Sequence[Record], ledger: Ledger, use_cases: Mapping[str, UseCase], now_ms: int) -> Outcome:
    """New commands from predictions, final states from acks and from the clock; ``ledger`` is moved along."""
    out = Outcome("commands", now_ms)
    used: set[str] = set()
    for record in records:
        try:
            if record.topic == ACKS:
                changes = _answered(decode(Ack, record.value), ledger, out)
            else:
                changes = _ordered(decode(Prediction, record.value), ledger, use_cases, out)
        except msgspec.DecodeError as error:
            out.reject_record(record, f"not a message of {record.topic}: {error}")
            continue
        for command in changes:
            _record(command, ledger, out, record.traceparent)
            used.add(record.address)
    for command in expired(ledger, now_ms):
        _record(command, ledger, out, traceparent_of(command.command_id))
    out.problem = silence(ledger, use_cases, now_ms)
    out.settle(records, used)
    return out


def expired(ledger: Ledger, now_ms: int) -> list[Command]:
    """The commands under way whose time to live is over."""
    return [
        moved(
            command,
            "expired",
            now_ms,
            "no ack within its time to live" if command.state == "sent" else "the MQTT broker did not take it within its time to live",
        )
        for command in ledger.underway.values()
        if now_ms >= command.expires_ms
    ]


def silence(ledger: Ledger, use_cases: Mapping[str, UseCase], now_ms: int) -> str:
    """Which device has heard nothing for the longest, by more than its dwell and a minute, and why; '' where there is none.

    Where nothing was withheld for an hour either, nobody predicts for it any more.
    """
    lasting = [
        one
        for one in ledger.silent.values()
        if (use_case := use_cases.get(one.newest.use_case)) is not None
        and use_case.acts is not None
        and one.newest.decided_ms - one.since_ms > _ms(use_case.acts.dwell) + MINUTE_MS
        and one.newest.decided_ms > now_ms - HOUR_MS
    ]
    if not lasting:
        return ""
    first = min(lasting, key=lambda one: (one.since_ms, one.newest.command_id))
    command, others = first.newest, f" ({len(lasting) - 1} more like it)" if len(lasting) > 1 else ""
    device = command.device or f"the device of place {command.place_id}"
    return f"{device} has had no {command.action} command since {clock_time(first.since_ms)} UTC{others}, withheld, {command.reason}"


def moved(command: Command, state: CommandState, at_ms: int, reason: str = "") -> Command:
    return msgspec.structs.replace(command, state=state, at_ms=at_ms, reason=reason)


def wire(command: Command) -> Outgoing:
    """The MQTT message that carries ``command`` to its device; it is sent, and kept by the broker, within its time to live only."""
    body = DeviceCommand(
        command_id=command.command_id,
        action=command.action,
        value=command.value,
        expires_ms=command.expires_ms,
        decided_by=command.prediction_id,
    )
    return Outgoing(
        COMMAND_TOPIC.format(device=command.device),
        msgspec.json.encode(body),
        traceparent_of(command.command_id),
        command.decided_ms,
        command.expires_ms,
    )


def commands(use_cases: Mapping[str, UseCase], rows: int, fill_ms: int) -> Effects:
    """Recall the log, finish what was under way, then: read, decide, commit, send, commit that it was sent."""
    assignment = yield Open((PREDICTIONS, ACKS))
    yield Seek({partition: position.offset for partition, position in assignment.items()})
    underway_ms = [int(position.note) for position in assignment.values() if position.note]
    at = dict(assignment)  # part of every commit, new or not: by them Kafka tells an instance whose partitions another one has by now
    numbers = tuple(sorted({partition.number for partition in assignment}))
    batch: Batch = yield Read(rows, fill_ms=fill_ms)
    past: list[Record] = yield Recall(COMMANDS, numbers, min([batch.now_ms, *underway_ms]) - looks_back_ms(use_cases))
    ledger, unreadable = fold(past)
    told = ""
    while True:
        out = decide(batch.records, ledger, use_cases, batch.now_ms)
        for record, why in unreadable:
            out.reject(record.value, source=record.topic, reason=why, key=record.key, traceparent=record.traceparent)
        out.counts["unreadable_commands"] += len(unreadable)
        unreadable = []
        at |= batch.positions()
        if batch.records or out.emits or out.problem != told:
            yield Commit(out, noted(at, ledger))
            told = out.problem
        messages = {wire(command): command for command in ledger.unsent()}
        if messages:
            published: Published = yield Publish(list(messages))
            sent = Outcome("commands", published.now_ms, problem=told)
            for message in published.taken:
                command = messages[message]
                _record(moved(command, "sent", published.now_ms), ledger, sent, traceparent_of(command.command_id))
            if sent.emits:
                yield Commit(sent, noted(at, ledger))
        batch = yield Read(rows, fill_ms=fill_ms)


def noted(at: Mapping[Partition, Position], ledger: Ledger) -> dict[Partition, Position]:
    """The positions to commit, with a note of when the oldest command under way was decided: so far back the next one must recall."""
    oldest = min((command.decided_ms for command in ledger.underway.values()), default=None)
    return {partition: position._replace(note="" if oldest is None else str(oldest)) for partition, position in at.items()}


def fold(past: Iterable[Record]) -> tuple[Ledger, list[tuple[Record, str]]]:
    """The ledger that the command log amounts to, and its records that are no commands, each with the reason."""
    ledger, unreadable = Ledger(), []
    for record in past:
        try:
            ledger.apply(decode(Command, record.value))
        except msgspec.DecodeError as error:
            unreadable.append((record, f"not a message of {record.topic}: {error}"))
    return ledger, unreadable


def looks_back_ms(use_cases: Mapping[str, UseCase]) -> int:
    """How far before now the commands lie that a decision depends on: the changes of an hour, each beside the order before it, of which an
    hour counts too; a dwell may be longer."""
    spans = [_ms(use_case.acts.dwell) + _ms(use_case.acts.time_to_live) for use_case in use_cases.values() if use_case.acts]
    return 2 * HOUR_MS + max(spans, default=0)


def _ordered(prediction: Prediction, ledger: Ledger, use_cases: Mapping[str, UseCase], out: Outcome) -> list[Command]:
    use_case = use_cases.get(prediction.use_case)
    if use_case is None or use_case.acts is None:
        return []
    if prediction.shadow:
        out.counts["shadow"] += 1
        return []
    device = use_case.acts.devices.format(place_id=prediction.place_id)
    why_not = judge(prediction, use_case.acts, ledger, device, out.now_ms)
    if why_not:
        out.counts[f"withheld_{why_not.partition(':')[0].replace(' ', '_')}"] += 1
    return [order(prediction, use_case.acts, device, out.now_ms, why_not)]


def _answered(ack: Ack, ledger: Ledger, out: Outcome) -> list[Command]:
    command = ledger.underway.get(ack.command_id)
    if command is None or command.device != ack.device:
        out.counts["ack_of_none_under_way"] += 1
        return []
    sent = [moved(command, "sent", out.now_ms)] if command.state == "queued" else []  # it was, and a crash kept that from the log
    return [*sent, moved(command, "acked" if ack.ok else "failed", out.now_ms, ack.reason)]


def _record(command: Command, ledger: Ledger, out: Outcome, traceparent: str) -> None:
    ledger.apply(command)
    out.emit(command, place_of(command.command_id), traceparent)
    out.counts[command.state] += 1


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def run(settings: Settings) -> None:
    """The commands service as a process, until it is told to stop."""
    use_cases = load_use_cases(settings.usecases)
    with MqttBroker(settings.mqtt_address, f"mliot-commands-{settings.instance}", ()) as broker:
        serve(
            settings,
            "commands",
            lambda: commands(use_cases, settings.batch_rows, settings.commit_ms),
            broker_performers(broker),
            probe=broker.probe,
        )


if __name__ == "__main__":
    main(run, "commands")
