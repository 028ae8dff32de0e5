import itertools
import json

import pytest

from devices.faults import EPISODES, MINUTE_MS, Faults
from devices.outgoing import plain
from mliot.messages import DeadLetter

START_MS = 1_764_000_000_000
TRUE = {"temperature": 21.0, "humidity": 50.0}


def day(kind: str, device: str = "a") -> list[dict[str, float] | None]:
    faults = Faults(1, frozenset({kind}))
    seen = []
    for minute in range(5 * 24 * 60):
        readings = faults.readings(device, START_MS + minute * MINUTE_MS, {**TRUE, "temperature": 21.0 + minute % 10 / 10})
        seen.append(None if readings is None else dict(readings))
    return seen


def test_without_faults_everything_is_as_it_is() -> None:
    faults = Faults(1)
    sound = plain({"a": 1}, "t", "d", START_MS)
    assert all(faults.readings("a", START_MS + minute * MINUTE_MS, TRUE) == TRUE for minute in range(2000))
    assert faults.message("a", sound) is sound


def test_a_gap_lasts() -> None:
    silent = [readings is None for readings in day("gap")]
    assert 0.01 < sum(silent) / len(silent) < 0.2
    starts = sum(now and not before for before, now in itertools.pairwise(silent))
    assert sum(silent) / max(starts, 1) >= EPISODES["gap"][0] - 1


def test_a_stuck_sensor_repeats_itself() -> None:
    temperatures = [readings["temperature"] for readings in day("stuck") if readings]
    equal = [a == b for a, b in itertools.pairwise(temperatures)]
    assert 0.01 < sum(equal) / len(equal) < 0.2


def test_spikes_are_rare_far_off_and_plausible() -> None:
    odd = [readings["temperature"] for readings in day("spike") if readings and readings["temperature"] > 30]
    assert 5 <= len(odd) <= 80
    assert max(odd) < 60


def test_a_drift_creeps() -> None:
    off = [readings["temperature"] - 21.0 - index % 10 / 10 for index, readings in enumerate(day("drift")) if readings]
    assert max(off) > 3
    assert max(abs(b - a) for a, b in itertools.pairwise(off) if b > a) < 0.05


def test_a_cut_message_is_known_by_the_id_of_its_dead_letter() -> None:
    faults = Faults(1, frozenset({"bad_json"}))
    messages = [plain({"id": "a", "n": n}, "iot-frames-sensor", "a", START_MS + n * MINUTE_MS) for n in range(5000)]
    cut = [after for before in messages if (after := faults.message("a", before)).broken]
    assert 5 <= len(cut) <= 60
    for outgoing in cut:
        with pytest.raises(json.JSONDecodeError):
            json.loads(outgoing.message)
        letter = DeadLetter.of(outgoing.message, source=outgoing.topic, service="bridge", reason="any", at_ms=0)
        assert outgoing.id == letter.dead_id
