"""A device whose clock runs ahead, in the features service as it is: only its own windows are its own business."""

import json

from mliot.clock import ManualClock
from mliot.featuremodels import FeatureModels
from mliot.measurements import load_measurements
from mliot.services import ServiceStatus
from streaming.features.openwindows import OpenWindows
from streaming.intake.decoders import load_decoders
from streaming.runtime.driver import Driver, log_performers
from streaming.runtime.effects import Received
from streaming.services import bridge
from streaming.services.features import features
from streaming.simulated import SimulatedKafka, SimulatedLog

SECOND, MINUTE = 1_000, 60_000
START = 1_764_000_000_000
DECODERS = load_decoders()
GRACE = 10 * SECOND


def played(
    models: FeatureModels, ahead_ms: int, period_ms: int, honest: int, for_ms: int
) -> tuple[ServiceStatus, ServiceStatus, list[dict]]:
    """Status of the bridge and of features, and the windows, after so many honest devices and a fast one have sent for a while."""
    clock = ManualClock(START)
    kafka = SimulatedKafka(clock, 1)
    log = SimulatedLog(kafka, "mliot-features")
    told, passed = ServiceStatus("features", clock), ServiceStatus("bridge", clock)
    with OpenWindows(models) as windows:
        driver = Driver(
            lambda: features(windows, (), rows=1_000, fill_ms=1, grace_ms=GRACE, idle_ms=20 * SECOND),
            log_performers(log), status=told, idle=log.idle,
        )  # fmt: skip
        while clock.ms < START + for_ms:
            names = [("fast", ahead_ms), *((f"honest-{number}", 0) for number in range(honest))]
            batch = [message(name, clock.ms, clock.ms + ahead) for name, ahead in names]
            out = bridge.decide(batch, decoders=DECODERS, measurements=load_measurements(), retention_ms=30 * 86_400_000, now_ms=clock.ms)
            passed.ahead(out.ahead_ms)
            for emit in out.emits:
                kafka.append([emit])
                driver.step()  # a batch of its own for each frame, as under light load
            clock.advance(period_ms)
            for _ in range(4):
                driver.step()
        driver.close()
    return passed, told, [json.loads(record.value) for record in kafka.topic("stream-window")]


def message(name: str, now_ms: int, stamp_ms: int) -> Received:
    body = {"name": name, "place_id": f"at-{name}", "payload": {"temperature": 20.0, "timestamp": stamp_ms}}
    return Received(f"iot/{name}/frames", json.dumps(body).encode(), "", now_ms, (1, 1))


def test_a_device_299_s_ahead_makes_no_honest_frame_late_and_is_named(models: FeatureModels) -> None:
    passed, told, _ = played(models, 299 * SECOND, 10 * SECOND, 20, 2 * MINUTE)
    counts = told.snapshot()["counts"]
    assert (counts["late"], counts["late_for_shortest"]) == (0, 0)
    assert passed.snapshot()["ahead_ms"] == {"fast": 299 * SECOND}


def test_beside_a_device_240_s_fast_all_honest_places_get_their_minutes_and_the_fast_one_its_own(models: FeatureModels) -> None:
    _, _, windows = played(models, 240 * SECOND, 30 * SECOND, 5, 6 * MINUTE)
    starts = {}
    for window in windows:
        if window["grain"] == "place_1m":
            starts.setdefault(window["key"], []).append(window["start_ms"])
    assert starts.pop("at-fast") == [START + 4 * MINUTE]
    assert starts == {f"at-honest-{n}": [START + minute * MINUTE for minute in range(5)] for n in range(5)}
