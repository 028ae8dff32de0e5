"""From a day and a half of the simulated reference room to a champion, with the real dlt, dbt, scikit-learn, ONNX, Evidently and Dagster.

Only Kafka is a list in memory here; ``tests/integration/test_ingest.py`` reads the real one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from assets import keys
from devices.faults import Faults
from devices.places import REFERENCE_PLACE, rooms
from learning.monitoring.reports import Reports
from learning.store import ModelStore
from mliot.frames import parse_frame
from mliot.measurements import load_measurements
from mliot.messages import Feature, Label, Message
from mliot.settings import Settings
from mliot_dagster.definitions import compose
from warehouse.access import open_warehouse
from warehouse.records import Batch, Columns, Span, Topic

NOW_MS = 1_764_000_000_000
HISTORY_MS = 36 * 3_600_000
NAME = "fan_level"
USE_CASE = """
from datetime import timedelta
from mliot.usecase import Gate, HistGradientBoosting, Label, Linear, RandomForest, UseCase
USE_CASE = UseCase(name="fan_level", title="Fan level", kind="classification", unit="level", classes=(0, 1, 2, 3),
    features="features_place_1m",
    columns=("temperature_avg", "humidity_avg", "dew_point_avg"),
    label=Label(measurement="fan_speed", sensor="iot_sensor_0", arrives_after=timedelta(minutes=10)),
    candidates=({candidates},), gate=Gate(over_baseline={over_baseline}), places="0{{9}}")
"""


@dataclass
class MemoryRecords:
    """A Kafka of one partition a topic, in memory."""

    logs: dict[str, list[tuple[int, int, int, str, str, None]]] = field(default_factory=dict)

    def put(self, message: Message, key: str) -> None:
        log = self.logs.setdefault(message.topic_name, [])
        log.append((0, len(log), NOW_MS, key, message.encode().decode(), None))

    def topic(self, name: str) -> Topic | None:
        return Topic(name, name, {0: Span(0, len(self.logs[name]))}) if name in self.logs else None

    def read(self, name: str, starts: Mapping[int, int]) -> Iterator[Batch]:
        for partition, start in starts.items():
            records = self.logs[name][start:]
            yield Batch(Columns(*zip(*records, strict=True)), {partition: start + len(records)})


class Site:
    """A home with history in its Kafka, and a Dagster instance that runs jobs in this process."""

    def __init__(self, home: Path, instance: dg.DagsterInstance, settings: Callable[..., Settings]) -> None:
        self.folder = home / "usecases"
        self.folder.mkdir()
        self.settings = settings(home=home / "data", usecases=self.folder, postgres_dsn="postgresql://nobody@127.0.0.1:1/none")
        self.instance = instance
        self.records = MemoryRecords()
        self.store = ModelStore(self.settings.models_path)
        self.first: dg.ExecuteInProcessResult

    def declare(self, candidates: str, *, over_baseline: float = 0.02) -> None:
        (self.folder / f"{NAME}.py").write_text(USE_CASE.format(candidates=candidates, over_baseline=over_baseline))

    def run(self, job: str, *only: dg.AssetKey) -> dg.ExecuteInProcessResult:
        found = compose(self.settings, records=self.records).resolve_job_def(job)
        return found.execute_in_process(instance=self.instance, raise_on_error=False, asset_selection=only or None)

    @property
    def champion(self) -> str | None:
        pointer = self.store.aliases(NAME).champion
        return pointer.version if pointer else None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, compiled_settings: Callable[..., Settings]) -> Iterator[Site]:
    """The site after its first refresh, with a linear model of the fan's level in charge."""
    with dg.instance_for_test() as instance:
        made = Site(tmp_path_factory.mktemp("site"), instance, compiled_settings)
        made.declare("Linear()")
        measurements = load_measurements()
        for sent in rooms(1, seed=1, faults=Faults(1, frozenset()))[0].frames(NOW_MS - HISTORY_MS, NOW_MS, 60_000):
            frame = parse_frame(sent.message, mqtt_topic=sent.topic, arrived_ms=NOW_MS, measurements=measurements, retention_ms=HISTORY_MS)
            made.records.put(frame, frame.place_id)
        made.first = made.run("refresh")
        yield made


def gate_of(result: dg.ExecuteInProcessResult, use_case: str = NAME) -> dg.AssetCheckEvaluation:
    (found,) = [check for check in result.get_asset_check_evaluations() if check.asset_key == keys.candidate(use_case)]
    return found


def metadata_of(site: Site, asset: dg.AssetKey) -> Mapping[str, object]:
    event = site.instance.get_latest_materialization_event(asset)
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_one_refresh_leads_from_kafka_to_a_champion(site: Site) -> None:
    frames = len(site.records.logs["stream-frame"])
    assert metadata_of(site, keys.raw("frame"))["dagster/row_count"] == frames == HISTORY_MS // 60_000
    assert metadata_of(site, keys.raw("ack"))["dagster/row_count"] == 0
    failed = [check for check in site.first.get_asset_check_evaluations() if not check.passed]
    assert [check for check in failed if check.asset_key.path[0] in ("raw", "staging", "features", NAME)] == []
    candidate = metadata_of(site, keys.candidate(NAME))
    assert site.champion == candidate["version"] == metadata_of(site, keys.champion(NAME))["version"]
    assert "| linear(penalty=1.0) **chosen** | calibration |" in str(candidate["candidates"])
    assert "data:image/png;base64," in str(candidate["answers"])
    assert float(str(candidate["macro_f1"])) > float(str(candidate["baseline_macro_f1"]))


def test_a_use_case_without_rows_waits_and_holds_up_nobody(site: Site) -> None:
    skipped = {event.step_key for event in site.first.all_events if event.event_type_value == "STEP_SKIPPED"}
    assert {"water_flow__candidate_passes_gate", "water_flow__champion"} <= skipped
    (observed,) = [
        event.asset_observation_data.asset_observation
        for event in site.first.all_events
        if event.event_type_value == "ASSET_OBSERVATION"
        and event.asset_observation_data.asset_observation.asset_key.path[0] == "water_flow"
    ]
    assert observed.metadata["not enough rows"].value == "there are no labelled rows"


def test_parity_runs_by_itself_and_says_what_it_found_also_without_the_store(site: Site) -> None:
    result = site.run("parity")
    assert result.success
    checks = result.get_asset_check_evaluations()
    assert sorted(check.check_name for check in checks) == [
        f"features_{grain}_as_built" for grain in ("place_1h", "place_1m", "sensor_1m", "sensor_frame")
    ]
    assert {(check.passed, check.description) for check in checks} == {(True, "nothing to compare yet")}
    assert not result.get_asset_materialization_events()


def test_a_worse_candidate_does_not_move_the_champion_and_a_better_one_does(site: Site) -> None:
    in_charge = site.champion
    site.declare("RandomForest(trees=1, depth=1)", over_baseline=-100)
    worse = site.run(f"retrain_{NAME}")
    assert worse.success, "that a champion stays is no failed run"
    assert not gate_of(worse).passed
    assert gate_of(worse).blocking
    assert str(gate_of(worse).description).startswith("candidate refused: champion stays: over_champion")
    assert not worse.asset_materializations_for_node(f"{NAME}__champion")
    assert site.champion == in_charge
    assert metadata_of(site, keys.candidate(NAME))["version"] != in_charge

    site.declare("Linear()")
    equal = site.run(f"retrain_{NAME}")
    assert equal.success
    assert str(gate_of(equal).description).startswith("candidate refused: champion stays: over_champion: 0, more than 0")
    assert site.champion == in_charge

    site.declare("RandomForest(trees=60)")
    better = site.run(f"retrain_{NAME}")
    assert better.success, gate_of(better).description
    assert gate_of(better).passed
    assert site.champion == metadata_of(site, keys.candidate(NAME))["version"] != in_charge
    moves = [(move.was, move.now, move.who) for move in site.store.history(NAME)]
    assert moves == [(None, in_charge, "gate"), (in_charge, site.champion, "gate")]


def test_a_failed_data_test_holds_the_candidate_back(site: Site) -> None:
    in_charge = site.champion
    start = NOW_MS // 60_000 * 60_000 - 3_600_000
    row = f"place_1m:{REFERENCE_PLACE}@{start}"
    for value in (9.0, 1.0):  # a level that no fan has; then the label is sent once more, and right
        label = Label(
            use_case=NAME,
            feature_id=row,
            key=REFERENCE_PLACE,
            place_id=REFERENCE_PLACE,
            label_ms=start + 60_000,
            available_ms=start + 660_000,
            value=value,
        )
        site.records.put(label, REFERENCE_PLACE)
        stages = (keys.raw("label"), keys.training_set(NAME), keys.candidate(NAME), keys.champion(NAME))
        result = site.run("refresh", *stages)
        reasons = str(gate_of(result).metadata["reasons"].value)
        if value == 9.0:
            assert not result.success
            assert f"training_{NAME}_accepted_values" in reasons
            assert site.champion == in_charge
        else:
            assert "data_tests_failed: 0, at most 0: passed" in reasons


def test_drift_of_what_is_served_is_reported_and_warned_of(site: Site) -> None:
    with open_warehouse(site.settings) as con:
        found = con.execute(
            "select feature_id, start_ms, end_ms, temperature_avg, humidity_avg, dew_point_avg from features.features_place_1m "
            "order by start_ms"
        ).fetchall()
    for feature_id, start_ms, end_ms, temperature, humidity, dew_point in found[-600:]:
        values = {"temperature_avg": temperature + 9, "humidity_avg": humidity - 40, "dew_point_avg": dew_point}
        feature = Feature(
            feature_id=feature_id,
            model="features_place_1m",
            version="test",
            grain="place_1m",
            key=REFERENCE_PLACE,
            place_id=REFERENCE_PLACE,
            start_ms=start_ms,
            end_ms=end_ms,
            frames=1,
            first="a",
            last="a",
            made_ms=end_ms,
            values=values,
        )
        site.records.put(feature, REFERENCE_PLACE)
    result = site.run("monitor", keys.raw("feature"), keys.drift(NAME))
    assert result.success
    (check,) = [check for check in result.get_asset_check_evaluations() if check.asset_key == keys.drift(NAME)]
    assert (check.passed, check.severity, check.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    report = metadata_of(site, keys.drift(NAME))
    assert report["champion"] == site.champion
    assert report["served_rows"] == 600
    assert "| temperature_avg | " in str(report["columns"])
    use_case, name = str(report["report"]).removeprefix(f"{site.settings.dashboard_address}/reports/").split("/")
    page = Reports(site.settings.reports_path).path(use_case, name)
    assert page is not None
    assert page.stat().st_size > 100_000
