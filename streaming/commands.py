"""Predictions to commands and back: queued -> sent -> acked | failed | expired, each state a record.

A command is logged, in one transaction with the position of its prediction, before it is sent: a crash between logging and sending
sends it again under the same id, which the device obeys once. State is never saved: it is folded from the command log at each start.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from mliot.fields import is_name
from mliot.messages import Ack, Command, CommandState, Prediction, command_id, decode, place_of, readable, traceparent_of
from mliot.settings import Settings
from mliot.usecase import Action, UseCase, load_use_cases
from streaming.loop import broker_performers
from streaming.mqtt import MqttBroker
from streaming.ports import Batch, Commit, Effects, Open, Outcome, Outgoing, Publish, Read, Recall, Record, Seek
from streaming.process import main, serve

PREDICTIONS = "stream-prediction"
ACKS = "stream-ack"
COMMANDS = Command.topic_name
HOUR_MS = 3_600_000
FINAL: frozenset[CommandState] = frozenset({"acked", "failed", "expired"})


@dataclass
class Ledger:
    """What the command log says: the commands under way, and by use case and device what was last ordered and when that changed."""

    underway: dict[str, Command] = field(default_factory=dict)
    last: dict[tuple[str, str], Command] = field(default_factory=dict)
    changed_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    recent: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def apply(self, command: Command) -> None:
        """Takes one state of one command into account; the log's order is the order of calls."""
        at = (command.use_case, command.device)
        if command.state in FINAL:
            self.underway.pop(command.command_id, None)
            return
        self.underway[command.command_id] = command
        if command.state == "queued":
            before = self.last.get(at)
            if before is None or before.value != command.value:
                self.changed_ms[at] = command.decided_ms
            self.last[at] = command
            hour = [ms for ms in self.recent.get(at, []) if ms > command.decided_ms - HOUR_MS]
            self.recent[at] = [*hour, command.decided_ms]

    def unsent(self) -> list[Command]:
        return [command for command in self.underway.values() if command.state == "queued"]


def judge(prediction: Prediction, action: Action, ledger: Ledger, device: str, now_ms: int) -> str:
    """Why ``prediction`` must not become a command for ``device``: a counted reason, or '' where it may. Pure.

    The same order again is the heartbeat by which a device knows that it is still looked after, so dwell holds back changes only.
    """
    at = (prediction.use_case, device)
    if prediction.shadow:
        return "shadow"
    if not is_name(device):  # made of a place's name: it may be too long, and no device can have it
        return "device_name"
    if now_ms - prediction.at_ms > _ms(action.stalest):
        return "stale"
    last = ledger.last.get(at)
    if last is not None and last.value != prediction.value and now_ms - ledger.changed_ms[at] < _ms(action.dwell):
        return "dwell"
    if sum(ms > now_ms - HOUR_MS for ms in ledger.recent.get(at, [])) >= action.per_hour:
        return "rate_limit"
    return ""


def order(prediction: Prediction, action: Action, device: str, now_ms: int) -> Command:
    """The queued command that ``prediction`` becomes."""
    return Command(
        command_id=command_id(prediction.place_id, now_ms, prediction.prediction_id, device),
        state="queued",
        device=device,
        place_id=prediction.place_id,
        use_case=prediction.use_case,
        prediction_id=prediction.prediction_id,
        action=action.action,
        value=prediction.value,
        decided_ms=now_ms,
        expires_ms=now_ms + _ms(action.time_to_live),
        at_ms=now_ms,
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
    out.settle(records, used)
    return out


def expired(ledger: Ledger, now_ms: int) -> list[Command]:
    """The commands under way whose time to live is over."""
    return [
        moved(
            command, "expired", now_ms, "no ack within its time to live" if command.state == "sent" else "not sent within its time to live"
        )
        for command in ledger.underway.values()
        if now_ms >= command.expires_ms
    ]


def moved(command: Command, state: CommandState, at_ms: int, reason: str = "") -> Command:
    return msgspec.structs.replace(command, state=state, at_ms=at_ms, reason=reason)


def wire(command: Command, now_ms: int) -> Outgoing:
    """The MQTT message that carries ``command`` to its device; the broker drops it once its time to live is over."""
    body = {
        "command_id": command.command_id,
        "action": command.action,
        "value": command.value,
        "expires_ms": command.expires_ms,
        "decided_by": command.prediction_id,
    }
    expiry_s = max(1, (command.expires_ms - now_ms) // 1000)
    return Outgoing(f"iot/{command.device}/command", msgspec.json.encode(body), traceparent_of(command.command_id), expiry_s)


def commands(use_cases: Mapping[str, UseCase], rows: int, fill_ms: int) -> Effects:
    """Recall the log, finish what was under way, then: read, decide, commit, send, commit that it was sent."""
    assignment = yield Open((PREDICTIONS, ACKS))
    yield Seek({partition: position.offset for partition, position in assignment.items()})
    at = dict(assignment)  # part of every commit, new or not: by them Kafka tells an instance whose partitions another one has by now
    numbers = tuple(sorted({partition.number for partition in assignment}))
    ledger: Ledger | None = None
    while True:
        batch: Batch = yield Read(rows, fill_ms=fill_ms)
        if ledger is None:
            past: list[Record] = yield Recall(COMMANDS, numbers, batch.now_ms - HOUR_MS - _longest(use_cases))
            ledger = fold(past)
        out = decide(batch.records, ledger, use_cases, batch.now_ms)
        at |= batch.positions()
        if batch.records or out.emits:
            yield Commit(out, dict(at))
        unsent = ledger.unsent()
        if unsent:
            yield Publish([wire(command, batch.now_ms) for command in unsent])
            sent = Outcome("commands", batch.now_ms)
            for command in unsent:
                _record(moved(command, "sent", batch.now_ms), ledger, sent, traceparent_of(command.command_id))
            yield Commit(sent, dict(at))


def fold(past: Iterable[Record]) -> Ledger:
    """The ledger that the command log amounts to."""
    ledger = Ledger()
    for command in readable(Command, (record.value for record in past)):
        ledger.apply(command)
    return ledger


def _ordered(prediction: Prediction, ledger: Ledger, use_cases: Mapping[str, UseCase], out: Outcome) -> list[Command]:
    use_case = use_cases.get(prediction.use_case)
    if use_case is None or use_case.acts is None:
        return []
    device = use_case.acts.devices.format(place_id=prediction.place_id)
    why_not = judge(prediction, use_case.acts, ledger, device, out.now_ms)
    if why_not:
        out.counts[f"withheld_{why_not}"] += 1
        return []
    return [order(prediction, use_case.acts, device, out.now_ms)]


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


def _longest(use_cases: Mapping[str, UseCase]) -> int:
    return max((_ms(u.acts.dwell) + _ms(u.acts.time_to_live) for u in use_cases.values() if u.acts), default=0)


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def run(settings: Settings) -> None:
    """The commands service as a process, until it is told to stop."""
    use_cases = load_use_cases(settings.usecases)
    with MqttBroker(settings.mqtt_address, f"mliot-commands-{settings.instance}", ()) as broker:
        serve(settings, "commands", lambda: commands(use_cases, settings.batch_rows, settings.commit_ms), broker_performers(broker))


if __name__ == "__main__":
    main(run, "commands")
