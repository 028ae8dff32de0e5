"""A fan that can be commanded: what it makes of a command, and which level it runs at. Pure.

It obeys a command once, however often it comes, and answers each time; without a command for ten minutes it is on its own again.
"""

from dataclasses import dataclass, field

import msgspec

from devices.controller import THERMOSTAT, Held
from devices.room import LEVELS
from mliot.devicemessages import ACK_TOPIC, COMMAND_TOPIC, DeviceCommand
from mliot.errors import Rejected

ALONE_AFTER_MS = 10 * 60_000
ACTION = "fan_speed"
REMEMBERED = 256
"""Commands whose answers a fan still knows."""
NEVER = Held(0, 0)


class Answer(msgspec.Struct, frozen=True):
    """A fan's ack, as it is published."""

    command_id: str
    device: str
    ok: bool
    at_ms: int
    reason: str = ""


@dataclass
class Fan:
    """A fan by the name of ``device``; ``commanded`` is the last level obeyed and when (ms)."""

    device: str
    alone: Held = NEVER
    commanded: Held | None = None
    answers: dict[str, Answer] = field(default_factory=dict)

    @property
    def command_topic(self) -> str:
        return COMMAND_TOPIC.format(device=self.device)

    @property
    def ack_topic(self) -> str:
        return ACK_TOPIC.format(device=self.device)

    def obey(self, message: bytes, now_ms: int) -> Answer:
        """Does what ``message`` says, if it may, and answers.

        Raises :class:`Rejected` where it is no command, so that there is nobody to answer.
        """
        order = _order(message)
        known = self.answers.get(order.command_id)
        if known is not None:
            return known
        reason = _refusal(order, now_ms)
        if not reason:
            self.commanded = Held(int(order.value), now_ms)
        answer = Answer(order.command_id, self.device, not reason, now_ms, reason)
        self.answers[order.command_id] = answer
        if len(self.answers) > REMEMBERED:
            del self.answers[next(iter(self.answers))]
        return answer

    def run(self, temperature: float, now_ms: int) -> int:
        """The level from now on, at the room's ``temperature`` in °C: the commanded one, or its own thermostat's once it is left alone."""
        if self.commanded is not None and now_ms - self.commanded.since_ms < ALONE_AFTER_MS:
            self.alone = Held(self.commanded.level, self.commanded.since_ms)
        else:
            self.commanded = None
            self.alone = THERMOSTAT.decide(self.alone, temperature, dew_point=0.0, now_ms=now_ms)
        return self.alone.level


def _order(message: bytes) -> DeviceCommand:
    try:
        return msgspec.json.decode(message, type=DeviceCommand)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(f"not a command: {error}") from error


def _refusal(order: DeviceCommand, now_ms: int) -> str:
    if order.action != ACTION:
        return f"unknown action {order.action[:40]!a}; {ACTION} is known"
    if order.value not in LEVELS:
        return f"level {order.value:g} is not one of {', '.join(map(str, LEVELS))}"
    if now_ms >= order.expires_ms:
        return f"expired {now_ms - order.expires_ms} ms ago"
    return ""
