"""MQTT to Kafka: frames, LoRaWAN uplinks and command acks become records; what cannot be read becomes a dead letter.

A message is acknowledged to MQTT only after Kafka has it. Kafka away: nothing is acknowledged, and the broker holds back what is over
Receive Maximum.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import msgspec

from mliot.clock import SystemClock
from mliot.devicemessages import ACK_TOPIC, FRAME_TOPICS, DeviceAck, topic_filter
from mliot.errors import Rejected
from mliot.fields import holds_zero, is_name
from mliot.frames import parse_frame
from mliot.lorawan import UPLINK_FILTERS, decode_uplink
from mliot.measurements import Measurement, load_measurements
from mliot.messages import Ack, place_of, traceparent_of
from mliot.mqttaddress import BrokerAddress
from mliot.mqttsession import KnownSession
from mliot.settings import Settings
from streaming.adapters.mqtt import MqttBroker
from streaming.adapters.queuedepth import QueueDepth
from streaming.intake.newnames import NamesFile, NewNames
from streaming.process import main, serve
from streaming.runtime.driver import broker_performers
from streaming.runtime.effects import Acknowledge, Deliver, Effects, Outcome, Receive, Received

FRAME_SUBSCRIPTIONS = (*map(topic_filter, FRAME_TOPICS), *UPLINK_FILTERS)
SUBSCRIPTIONS = (*FRAME_SUBSCRIPTIONS, topic_filter(ACK_TOPIC))
_DOORS = {subscription.partition("/")[0]: subscription for subscription in FRAME_SUBSCRIPTIONS}
_ACKS = msgspec.json.Decoder(DeviceAck)
FLEET_NAMES_A_ROOM = 4
"""The simulated fleet may be as large as its settings say: those names are no surprise."""
MIN_AHEAD_MS = 1_000
"""A clock that is set by the network is right to some milliseconds."""


def decide(
    batch: Sequence[Received], *, measurements: Mapping[str, Measurement], retention_ms: int, now_ms: int, names: NewNames | None = None
) -> Outcome:
    """One record a message, in order: a frame, an ack, or a dead letter with its reason. Pure, but for ``names``, which learns.

    Without ``names`` as many new ones may come as will.
    """
    out = Outcome("bridge", now_ms)
    out.counts["read"] = len(batch)
    for message in batch:
        try:
            if message.topic.endswith("/command/ack"):
                ack = parse_ack(message)
                out.emit(ack, place_of(ack.command_id), message.traceparent or traceparent_of(ack.command_id))
            else:
                frame = parse_frame(
                    message.payload,
                    mqtt_topic=message.topic,
                    arrived_ms=message.arrived_ms,
                    measurements=measurements,
                    retention_ms=retention_ms,
                    body=decode_uplink(message.topic, message.payload),
                )
                if names and (why := names.refusal(frame, door(message.topic), measurements, now_ms)):
                    out.counts["too_many_new"] += 1
                    raise Rejected(why)
                out.emit(frame, frame.place_id, message.traceparent or traceparent_of(frame.frame_id))
                if frame.undated:
                    out.counts["undated"] += 1
                elif (ahead_ms := frame.event_ms - frame.arrived_ms) >= MIN_AHEAD_MS:
                    out.ahead_ms[frame.device] = max(ahead_ms, out.ahead_ms.get(frame.device, 0))
                    out.counts["ahead"] += 1
            out.counts["used"] += 1
        except Rejected as reason:
            out.reject(message.payload, source=message.topic, reason=str(reason), traceparent=message.traceparent)
            out.counts["rejected"] += 1
    return out


def parse_ack(message: Received) -> Ack:
    """The ack in an MQTT message. Raises :class:`Rejected` naming the field."""
    device = message.topic.split("/")[1]
    if not is_name(device):
        raise Rejected(f"ack: device {device[:80]!a} may hold only letters, digits and _ . : -, at most 64")
    try:
        body = _ACKS.decode(message.payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Rejected(f"ack: {error}") from error
    if holds_zero(message.payload):
        raise Rejected("ack: a text holds a zero byte")
    return Ack(
        command_id=body.command_id,
        device=device,
        ok=body.ok,
        at_ms=message.arrived_ms if body.at_ms is None else body.at_ms,
        arrived_ms=message.arrived_ms,
        reason=body.reason,
    )


def door(topic: str) -> str:
    """The subscription through which a message on ``topic`` came. Whoever publishes may make up a level, but not the subscription."""
    return _DOORS[topic.partition("/")[0]]


def bridge(rows: int, decide: Callable[[Sequence[Received]], Outcome]) -> Effects:
    """Receive, decide, deliver, acknowledge; in this order, or a crash would lose what was acknowledged too early."""
    while True:
        messages: list[Received] = yield Receive(rows)
        if messages:
            yield Deliver(decide(messages))
            yield Acknowledge([message.ticket for message in messages])


def run(settings: Settings) -> None:
    """The bridge as a process, until it is told to stop."""
    measurements, clock = load_measurements(settings.measurements), SystemClock()
    file = NamesFile(settings)
    names = file.read(settings.new_names + FLEET_NAMES_A_ROOM * settings.fleet_rooms)

    def decided(batch: Sequence[Received]) -> Outcome:
        now_ms = clock.now_ms()
        outcome = decide(batch, measurements=measurements, retention_ms=settings.retention_ms, now_ms=now_ms, names=names)
        file.save(names, now_ms)
        return outcome

    name, address, filters = f"mliot-bridge-{settings.instance}", settings.mqtt_address, subscriptions(settings)
    metrics, session = settings.mqtt_metrics_address, KnownSession(settings.sessions_path, name, BrokerAddress.of(address).shown, clock)
    client_id = BrokerAddress.of(address).reserved(name)
    asked = QueueDepth(metrics, client_id, filters) if metrics else nullcontext(lambda: None)
    with MqttBroker(address, name, filters, session=session) as broker, asked as lag:
        serve(settings, "bridge", lambda: bridge(settings.batch_rows, decided), broker_performers(broker), notice=session.notice, lag=lag)


def subscriptions(settings: Settings) -> tuple[str, ...]:
    """The topic filters to subscribe to: shared (MQTT 5, section 4.8.2) where several bridges take turns."""
    if not settings.mqtt_share:
        return SUBSCRIPTIONS
    share = BrokerAddress.of(settings.mqtt_address).reserved(settings.mqtt_share)
    return tuple(f"$share/{share}/{topic}" for topic in SUBSCRIPTIONS)


if __name__ == "__main__":
    main(run, "bridge")
