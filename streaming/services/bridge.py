"""MQTT to Kafka: what a decoder finds frames in, and command acks, become records; what cannot be read becomes a dead letter.

A message is acknowledged to MQTT only after Kafka has it. Kafka away: nothing is acknowledged, and the broker holds back what is over
Receive Maximum.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import msgspec

from mliot.clock import SystemClock
from mliot.devicemessages import ACK_TOPIC, DeviceAck
from mliot.errors import Rejected
from mliot.fields import holds_zero, is_name
from mliot.frames import parse_frame
from mliot.measurements import Measurement, load_measurements
from mliot.messages import Ack, Frame, place_of, traceparent_of
from mliot.mqttaddress import BrokerAddress
from mliot.mqttsession import KnownSession
from mliot.settings import Settings
from streaming.adapters.codecs import Codecs
from streaming.adapters.mqtt import MqttBroker
from streaming.adapters.queuedepth import QueueDepth
from streaming.intake.decoders import Body, Decoders, load_decoders
from streaming.intake.newnames import NamesFile, NewNames
from streaming.intake.topicfilters import TopicFilter
from streaming.intake.uplinks import Undecoded
from streaming.process import main, serve
from streaming.runtime.driver import broker_performers
from streaming.runtime.effects import Acknowledge, Deliver, Effects, Outcome, Receive, Received

ACKS = TopicFilter.of(ACK_TOPIC)
_ACK_END = ACKS.levels[-1]
_ACKS = msgspec.json.Decoder(DeviceAck)
DECODED_TOGETHER = 256
"""Messages, for whose uplinks codecs are asked at once. Decoded frames of more would fall out of the processor's cache."""
FLEET_NAMES_A_ROOM = 4
"""The simulated fleet may be as large as its settings say: those names are no surprise."""
MIN_AHEAD_MS = 1_000
"""A clock that is set by the network is right to some milliseconds."""


def decide(
    batch: Sequence[Received],
    *,
    decoders: Decoders,
    measurements: Mapping[str, Measurement],
    retention_ms: int,
    now_ms: int,
    names: NewNames | None = None,
    codecs: Codecs | None = None,
) -> Outcome:
    """What became of each message, in order: its frames, an ack, or a dead letter with its reason. Pure, but for ``names``, which learns.

    A message of several frames is used whole or not at all. Without ``names`` as many new ones may come as will; ``codecs`` are asked for
    what no network server decoded, for the whole batch at once.
    """
    out = Outcome("bridge", now_ms)
    out.counts["read"] = len(batch)
    for message, bodies in zip(batch, decoded(batch, decoders, codecs), strict=True):
        try:
            if bodies is None:
                ack = parse_ack(message)
                out.emit(ack, place_of(ack.command_id), message.traceparent or traceparent_of(ack.command_id))
            else:
                frames = parse_frames(message, bodies, measurements, retention_ms)
                for frame in frames:
                    if names and (why := names.refusal(frame, decoders.door(message.topic), measurements, now_ms)):
                        out.counts["too_many_new"] += 1
                        raise Rejected(why)
                for frame in frames:
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


def decoded(batch: Sequence[Received], decoders: Decoders, codecs: Codecs | None = None) -> Iterator[Sequence[Body] | Rejected | None]:
    """What each message holds: the frames as a decoder makes them, or why there are none; None of an ack."""
    for start in range(0, len(batch), DECODED_TOGETHER):
        yield from _decoded(batch[start : start + DECODED_TOGETHER], decoders, codecs)


def _decoded(messages: Sequence[Received], decoders: Decoders, codecs: Codecs | None) -> list[Any]:
    found: list[list[Body | Undecoded] | Rejected | None] = []
    for message in messages:
        try:
            is_ack = message.topic.endswith(_ACK_END) and ACKS.matches(message.topic.split("/"))
            found.append(None if is_ack else decoders.bodies(message.topic, message.payload))
        except Rejected as reason:
            found.append(reason)
    return _with_codecs(found, codecs)


def _with_codecs(found: list[list[Body | Undecoded] | Rejected | None], codecs: Codecs | None) -> list[Any]:
    """``found`` with what the codecs make of the uplinks in it."""
    calls = [
        (at, number, body)
        for at, bodies in enumerate(found)
        if isinstance(bodies, list)
        for number, body in enumerate(bodies)
        if isinstance(body, Undecoded)
    ]
    uplinks = [uplink for _, _, uplink in calls]
    answers = codecs(uplinks) if codecs and calls else [Rejected(uplink.without_codec) for uplink in uplinks]
    for (at, number, uplink), answer in zip(calls, answers, strict=True):
        bodies = found[at]
        if isinstance(answer, Rejected):
            found[at] = answer
        elif isinstance(bodies, list):
            try:
                bodies[number] = uplink.body(answer)
            except Rejected as reason:
                found[at] = reason
    return found


def parse_frames(
    message: Received, bodies: Sequence[Body] | Rejected, measurements: Mapping[str, Measurement], retention_ms: int
) -> list[Frame]:
    """The frames in an MQTT message, at least one, each with an id of its own. Raises :class:`Rejected` with the reason."""
    if isinstance(bodies, Rejected):
        raise bodies
    frames = [
        parse_frame(
            message.payload,
            body=body,
            mqtt_topic=message.topic,
            arrived_ms=message.arrived_ms,
            measurements=measurements,
            retention_ms=retention_ms,
        )
        for body in bodies
    ]
    if len(frames) > 1:
        (frame_id, times), *_ = Counter(frame.frame_id for frame in frames).most_common(1)
        if times > 1:
            raise Rejected(f"it holds {times} frames of the same device and time ({frame_id})")
    return frames


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


def bridge(rows: int, decide: Callable[[Sequence[Received]], Outcome]) -> Effects:
    """Receive, decide, deliver, acknowledge; in this order, or a crash would lose what was acknowledged too early."""
    while True:
        messages: list[Received] = yield Receive(rows)
        if messages:
            yield Deliver(decide(messages))
            yield Acknowledge([message.ticket for message in messages])


def run(settings: Settings) -> None:
    """The bridge as a process, until it is told to stop."""
    measurements, decoders, clock = load_measurements(settings.measurements), load_decoders(settings.decoders), SystemClock()
    file = NamesFile(settings)
    names = file.read(settings.new_names + FLEET_NAMES_A_ROOM * settings.fleet_rooms)

    def decided(batch: Sequence[Received]) -> Outcome:
        now_ms = clock.now_ms()
        outcome = decide(
            batch,
            decoders=decoders,
            measurements=measurements,
            retention_ms=settings.retention_ms,
            now_ms=now_ms,
            names=names,
            codecs=codecs,
        )
        file.save(names, now_ms)
        return outcome

    name, address, filters = f"mliot-bridge-{settings.instance}", settings.mqtt_address, subscriptions(settings, decoders)
    metrics, session = settings.mqtt_metrics_address, KnownSession(settings.sessions_path, name, BrokerAddress.of(address).shown, clock)
    client_id = BrokerAddress.of(address).reserved(name)
    asked = QueueDepth(metrics, client_id, filters) if metrics else nullcontext(lambda: None)
    codec_folder = Codecs(settings.codecs) if settings.codecs else nullcontext(None)
    with codec_folder as codecs, MqttBroker(address, name, filters, session=session) as broker, asked as lag:
        serve(settings, "bridge", lambda: bridge(settings.batch_rows, decided), broker_performers(broker), notice=session.notice, lag=lag)


def subscriptions(settings: Settings, decoders: Decoders) -> tuple[str, ...]:
    """The topic filters to subscribe to: shared (MQTT 5, section 4.8.2) where several bridges take turns."""
    filters = (*decoders.subscriptions, ACKS.text)
    if not settings.mqtt_share:
        return filters
    share = BrokerAddress.of(settings.mqtt_address).reserved(settings.mqtt_share)
    return tuple(f"$share/{share}/{each}" for each in filters)


if __name__ == "__main__":
    main(run, "bridge")
