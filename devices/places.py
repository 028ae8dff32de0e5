"""Rooms with their sensors and fans: what each device publishes, when, as its room goes on. No I/O: time comes in, messages come out."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from devices.climate import Around, around
from devices.controller import REFERENCE, Held
from devices.fan import Fan
from devices.faults import Faults
from devices.lorawan import Uplink, chirpstack_uplink, things_stack_uplink
from devices.noise import gaussian, uniform
from devices.outgoing import MODEL_TOPIC, SENSOR_TOPIC, Outgoing, date_of, lorawan, plain
from devices.room import Room, RoomState, dew_point, relative_humidity, step

REFERENCE_PLACE = "000000000"
REFERENCE_SENSOR = "iot_sensor_0"
APPLICATION = "mliot-rooms"
TICK_MS = 15_000
"""How often a room's balance goes on and its controller decides."""
TOGETHER_MS = 2_000
"""All devices report within so much of a period's start. So history goes out a minute at a time (see :mod:`devices.publisher`), and a
minute that overtakes another one on its way through the broker's queues does not yet close the other one's windows."""
WARM_UP_MS = 6 * 3_600_000
"""A room is simulated this long before its first frame, so that where it began no longer shows."""

FAN_CURRENT_MA = (4.0, 180.0, 320.0, 520.0)
FAN_VIBRATION_G = (0.005, 0.08, 0.16, 0.31)
SPREAD: Mapping[str, float] = {"temperature": 0.08, "humidity": 0.4, "pressure": 8.0}
"""Sensor noise: standard deviation in the measurement's unit."""
RELATIVE_SPREAD: Mapping[str, float] = {"luminosity": 0.02, "fan_current": 0.03, "fan_vibration": 0.08}
"""Sensor noise: standard deviation as a fraction of the value."""
DECIMALS: Mapping[str, int] = {"temperature": 2, "humidity": 1, "pressure": 0, "luminosity": 0, "fan_current": 0, "fan_vibration": 3}


@dataclass(frozen=True)
class Device:
    """A device's name, which measurements it has, and how it puts them into a message."""

    name: str
    measurements: tuple[str, ...]
    publish: Callable[[Mapping[str, float], int], Outgoing]


class RoomPlace:
    """One room; ``commandable`` fans act on it, else the reference controller does and the fan only takes advice."""

    def __init__(self, place_id: str, seed: int, faults: Faults, *, number: int) -> None:
        self.place_id = place_id
        self.fan = Fan(f"{place_id}-fan")
        self._commandable = place_id != REFERENCE_PLACE
        self._seed = seed
        self._faults = faults
        self._room = Room()
        self._held = Held(0, 0)
        self._tick: int | None = None
        self._state = RoomState(22.0, 9.0)
        devices = _room_devices(place_id, number) if self._commandable else [_reference_sensor()]
        moments = ((uniform(seed, device.name, 0), device) for device in devices)
        self._moments = sorted(moments, key=lambda moment: moment[0])  # two may have the same

    @property
    def state(self) -> RoomState:
        return self._state

    @property
    def level(self) -> int:
        """The level at which the room's fan runs."""
        return self._held.level

    def frames(self, after_ms: int, to_ms: int, period_ms: int) -> Iterator[Outgoing]:
        """Those with ``after_ms`` < event time <= ``to_ms``, in time order: one of each device in each period, at a moment of its own.

        Spans asked for must follow each other: the room has gone on.
        """
        within_ms = min(period_ms, TOGETHER_MS)
        for start in range(after_ms // period_ms * period_ms, to_ms + 1, period_ms):
            for moment, device in self._moments:
                at_ms = start + int(moment * within_ms)
                if after_ms < at_ms <= to_ms:
                    self.advance(at_ms)
                    yield from self._frame(device, at_ms)

    def advance(self, to_ms: int) -> None:
        """Lets the room go on until ``to_ms``."""
        last = to_ms // TICK_MS
        if self._tick is None:
            self._tick = last - WARM_UP_MS // TICK_MS
        while self._tick < last:
            at_ms = self._tick * TICK_MS
            self._state = step(self._room, self._state, self._around(at_ms).air, self._held.level, TICK_MS / 1000)
            self._tick += 1
            self._held = self._control((self._tick) * TICK_MS)

    def _control(self, now_ms: int) -> Held:
        temperature = self._state.temperature
        if self._commandable:
            level = self.fan.run(temperature, now_ms)
            return self._held if level == self._held.level else Held(level, now_ms)
        return REFERENCE.decide(self._held, temperature, dew_point(temperature, relative_humidity(self._state)), now_ms)

    def _frame(self, device: Device, at_ms: int) -> Iterator[Outgoing]:
        true = self._true(self._around(at_ms))
        sensed = {name: self._sensed(device.name, name, true[name], at_ms) for name in device.measurements}
        seen = self._faults.readings(device.name, at_ms, sensed)
        if seen is not None:
            controlled = {"fan_speed": self._held.level} if device.name == REFERENCE_SENSOR else {}
            yield self._faults.message(device.name, device.publish({**seen, **controlled}, at_ms))

    def _true(self, around_it: Around) -> Mapping[str, float]:
        return {
            "temperature": self._state.temperature,
            "humidity": relative_humidity(self._state),
            "pressure": around_it.pressure,
            "luminosity": around_it.luminosity,
            "fan_current": FAN_CURRENT_MA[self._held.level],
            "fan_vibration": FAN_VIBRATION_G[self._held.level],
            "fan_level": self._held.level,
        }

    def _sensed(self, device: str, name: str, true: float, at_ms: int) -> float:
        spread = SPREAD.get(name, 0.0) + abs(true) * RELATIVE_SPREAD.get(name, 0.0)
        value = true + (spread * gaussian(self._seed, f"{device} {name}", at_ms) if spread else 0.0)
        highest = 100.0 if name == "humidity" else float("inf")
        return round(min(max(value, 0.0) if name != "temperature" else value, highest), DECIMALS.get(name, 0))

    def _around(self, at_ms: int) -> Around:
        return around(self._seed, self.place_id, at_ms)


def rooms(count: int, seed: int, faults: Faults) -> list[RoomPlace]:
    """The reference room and ``count - 1`` more, room-1, room-2, ..."""
    return [RoomPlace(REFERENCE_PLACE if number == 0 else f"room-{number}", seed, faults, number=number) for number in range(count)]


def _reference_sensor() -> Device:
    def publish(readings: Mapping[str, float], at_ms: int) -> Outgoing:
        payload = {**readings, "timestamp": at_ms, "date": date_of(at_ms)}
        body = {"id": REFERENCE_PLACE, "name": REFERENCE_SENSOR, "place_id": REFERENCE_PLACE, "payload": payload}
        return plain(body, MODEL_TOPIC, REFERENCE_SENSOR, at_ms)

    return Device(REFERENCE_SENSOR, ("temperature", "humidity", "pressure", "luminosity"), publish)


def _room_devices(place_id: str, number: int) -> list[Device]:
    """A sensor of the air, one of light that speaks LoRaWAN (odd rooms over ChirpStack, even ones over The Things Stack), and the fan."""
    air, light, fan = f"{place_id}-air", f"{place_id}-light", f"{place_id}-fan"

    def publish_plain(device: str, topic: str) -> Callable[[Mapping[str, float], int], Outgoing]:
        def publish(readings: Mapping[str, float], at_ms: int) -> Outgoing:
            body = {"id": device, "name": device, "place_id": place_id, "payload": {**readings, "timestamp": at_ms}}
            return plain(body, topic, device, at_ms)

        return publish

    def publish_lorawan(readings: Mapping[str, float], at_ms: int) -> Outgoing:
        rssi = -70 - int(40 * uniform(number, light, at_ms))
        uplink = Uplink(APPLICATION, light, place_id, at_ms, readings, at_ms // 1000 % 2**32, rssi, round(10 + (rssi + 70) / 3, 1))
        return lorawan(uplink, chirpstack_uplink if number % 2 else things_stack_uplink)

    return [
        Device(air, ("temperature", "humidity", "pressure"), publish_plain(air, SENSOR_TOPIC)),
        Device(light, ("luminosity", "temperature"), publish_lorawan),
        Device(fan, ("fan_current", "fan_vibration", "fan_level"), publish_plain(fan, f"iot/{fan}/frames")),
    ]
