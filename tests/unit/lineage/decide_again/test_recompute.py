"""Windows and rows from frames, each from the frames that it held: late ones, duplicates, and frames spread over partitions."""

import msgspec

from lineage.audit import LogRecord
from lineage.decide_again.past import Address, Evidence
from lineage.decide_again.recompute import Recomputation
from mliot.featuremodels import FeatureModels
from mliot.messages import Feature, Frame

START = 1_764_000_000_000
DEVICE = "room-1-air"


def frame(partition: int, offset: int, second: int, temperature: float, place: str = "room-1") -> LogRecord:
    at = START + second * 1000
    made = Frame(
        frame_id=f"{DEVICE}@{at}#00000000", device=DEVICE, place_id=place, event_ms=at, arrived_ms=at, mqtt_topic="iot-frames-sensor",
        payload={"temperature": temperature},
    )  # fmt: skip
    return LogRecord(partition, offset, made.encode())


def evidence(grain: str, key: str, frames: int, first: tuple[int, int], last: tuple[int, int]) -> Evidence:
    places = [Address("stream-frame", *place) for place in (first, last)]
    return Evidence(f"{grain}:{key}@{START}", grain, key, START, frames, *places, home=first[0])


def row(models: FeatureModels, told: Evidence) -> Feature:
    (model,) = [model for model in models.features if model.grain == told.grain]
    first, last = ("-".join(map(str, place)) for place in (told.first, told.last))
    return Feature(
        feature_id=told.window_id, model=model.name, version=model.version, grain=told.grain, key=told.key, place_id="room-1",
        start_ms=START, end_ms=START + model.window_ms, frames=told.frames, first=first, last=last, made_ms=0, values={},
    )  # fmt: skip


def recomputed(models: FeatureModels, told: Evidence, frames: list[LogRecord], begins: dict[int, int] | None = None):
    with Recomputation(models) as past:
        past.want([row(models, told)], [told])
        past.add(frames)
        past.compute()
        lost = past.lost(begins or {})
        return list(past.windows()), list(past.rows()), past.came_late(), past.in_doubt(), lost, past.extent(whole=False)


def test_frames_after_the_windows_last_came_late_and_are_no_part_of_it(models: FeatureModels) -> None:
    told = evidence("place_1m", "room-1", 2, (0, 1), (0, 4))
    frames = [frame(0, 1, 5, 20.0), frame(0, 2, 5, 20.0), frame(0, 4, 50, 22.0), frame(0, 7, 30, 99.0), frame(0, 9, 50, 22.0)]
    (window,), (feature,), late, doubt, lost, extent = recomputed(models, told, frames)
    assert (window.frames, window.values["temperature_avg"], window.first, window.last) == (2, 21.0, "stream-frame-0-1", "stream-frame-0-4")
    assert feature.values["temperature_avg"] == 21.0
    assert late == {told.window_id: ["stream-frame-0-7"]}, "the redelivered one is none"
    assert (doubt, lost) == (set(), set())
    assert extent == {0: (1, 5)}


def test_of_frames_in_several_partitions_the_count_must_agree(models: FeatureModels) -> None:
    told = evidence("sensor_1m", DEVICE, 2, (0, 1), (1, 3))
    both = [frame(0, 1, 5, 20.0), frame(1, 3, 50, 22.0, "room-2")]
    (window,), _, _, doubt, _, extent = recomputed(models, told, both)
    assert (window.frames, doubt) == (2, set())
    assert extent == {0: (1, None), 1: (0, None)}
    _, _, _, doubt, _, _ = recomputed(models, told, [*both, frame(0, 8, 30, 99.0)])
    assert doubt == {told.window_id}


def test_rows_whose_frames_are_dropped_are_lost(models: FeatureModels) -> None:
    told = evidence("place_1m", "room-1", 1, (0, 4), (0, 4))
    *_, lost, _ = recomputed(models, told, [frame(0, 4, 5, 20.0)], {0: 5})
    assert lost == {told.window_id}
    *_, lost, _ = recomputed(models, told, [frame(0, 4, 5, 20.0)], {0: 4, 1: 9})
    assert lost == set()


def test_a_row_of_one_frame_is_made_from_the_first_delivery(models: FeatureModels) -> None:
    frames = [frame(0, 1, 5, 20.0), frame(0, 2, 5, 20.0), frame(0, 3, 6, 21.0)]
    id = msgspec.json.decode(frames[0].value)["frame_id"]
    (model,) = [model for model in models.features if not model.window_ms]
    asked = Feature(
        feature_id=f"sensor_frame:{id}", model=model.name, version=model.version, grain="sensor_frame", key=DEVICE, place_id="room-1",
        start_ms=START + 5000, end_ms=START + 5000, frames=1, first="stream-frame-0-1", last="stream-frame-0-1", made_ms=0, values={},
    )  # fmt: skip
    with Recomputation(models) as past:
        past.want([asked], [])
        past.add(frames)
        past.compute()
        (made,) = past.rows()
        assert past.extent(whole=False) == {0: (1, 2)}
    assert (made.feature_id, made.first, made.values) == (asked.feature_id, "stream-frame-0-1", {"temperature": 20.0})
