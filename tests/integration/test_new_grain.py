"""A window grain is one file: five-minute windows of a place, declared nowhere else, wherever windows are made, kept, judged or shown."""

from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import duckdb
import msgspec
import psycopg
import pytest

from assets.training import read_training_set
from dashboard.data.plan import lines, pairs
from dashboard.data.rows import Point, Reading, StoreRows
from dashboard.page.tracing import read_trace
from dashboard.view.places import Known, place_views
from devices.faults import Faults
from devices.places import REFERENCE_PLACE, rooms
from learning.training.train import train
from lineage.audit import READ_ORDER, Audit, LogRecord, Scope
from lineage.ledger import Report
from lineage.parity.measure import measure_parity
from mliot.errors import UserError
from mliot.featuremodels import FeatureModels
from mliot.frames import parse_frame
from mliot.grains import Grains
from mliot.measurements import load_measurements
from mliot.messages import MESSAGES, Feature, Frame, Label, Message, Window
from mliot.settings import Settings
from mliot_dagster.definitions import compose
from streaming.features.labels import label_sources, labels_in
from streaming.features.openwindows import OpenWindows
from streaming.runtime.effects import Partition, Record, Save
from streaming.services.store import decide
from streaming.sinks.postgres import PostgresStore
from usecases import load_use_cases
from warehouse.access import open_warehouse, writing
from warehouse.dbt import build, check_declarations, feature_models
from warehouse.raw import create_raw_tables

GRAIN = "{{ window_grain('place_5m', key=['place_id'], window_s=300) }}\n"
NAME, MODEL, LENGTH = "soon", "features_place_5m", 300_000
USE_CASE = """
from datetime import timedelta
from mliot.usecase import Label, Linear, UseCase
SOON = UseCase(name="soon", title="Temperature in five minutes", kind="regression", unit="°C", features="features_place_5m",
    columns=("humidity_avg", "temperature_avg"), label=Label(measurement="temperature", statistic="avg", horizon=timedelta(minutes=5)),
    candidates=(Linear(),))
"""
NOW_MS = 1_764_000_000_000 // 3_600_000 * 3_600_000
GRACE_MS = 5_000


@dataclass
class World:
    """What the platform makes of thirty hours of one room, one partition, served in order."""

    settings: Settings
    models: FeatureModels
    log: dict[type[Message], list[Message]] = field(default_factory=lambda: {kind: [] for kind in MESSAGES})

    def records(self, kind: type[Message]) -> list[Record]:
        return [
            Record(kind.topic_name, 0, offset, NOW_MS, REFERENCE_PLACE, message.encode(), "")
            for offset, message in enumerate(self.log[kind])
        ]

    def audit(self, *without: str) -> Report:
        """``without`` are ids that were lost."""
        now_ms = self.log[Frame][-1].arrived_ms + 1000  # type: ignore[attr-defined]
        audit = Audit(Scope(load_use_cases(), Grains.of(self.models), now_ms, GRACE_MS, 5_000))
        for kind in READ_ORDER:
            kept = (record for record, message in zip(self.records(kind), self.log[kind], strict=True) if message.id not in without)
            audit.logged(kind, [LogRecord(0, record.offset, record.value) for record in kept])
        for kind in MESSAGES:
            audit.stored(kind, [(m.id, f"{kind.topic_name}-0-{n}") for n, m in enumerate(self.log[kind]) if m.id not in without])
        return audit.report()


def served(world: World) -> None:
    """The services' own code over the log, an hour at a time."""
    measurements = load_measurements()
    sources = label_sources(load_use_cases(world.settings.usecases), world.models)
    for sent in rooms(1, seed=1, faults=Faults(1, frozenset()))[0].frames(NOW_MS - 30 * 3_600_000, NOW_MS, 60_000):
        frame = parse_frame(sent.message, mqtt_topic=sent.topic, arrived_ms=NOW_MS, measurements=measurements, retention_ms=10**15)
        world.log[Frame].append(msgspec.structs.replace(frame, arrived_ms=frame.event_ms + 40))
    records = world.records(Frame)
    with OpenWindows(world.models) as windows:
        windows.start({0: 0})
        for at in range(0, len(records), 60):
            batch = records[at : at + 60]
            newest = max(frame.event_ms for frame in world.log[Frame][: at + 60])  # type: ignore[attr-defined]
            added = windows.add(batch, past=False, now_ms=newest + 100)
            closed = windows.close(newest - GRACE_MS, "watermark", newest + 100)
            world.log[Window] += closed.windows
            world.log[Feature] += [*added.features, *closed.features]
            world.log[Label] += labels_in(closed.windows, sources)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, postgres_server: object) -> World:
    folder = tmp_path_factory.mktemp("grain")
    for name, text in (("features/windows_place_5m.sql", GRAIN), ("usecases/soon.py", USE_CASE)):
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    address = postgres_server.settings.postgres_address  # type: ignore[attr-defined]
    settings = Settings(
        _env_file=None,
        home=folder / "home",
        features=folder / "features",
        usecases=folder / "usecases",
        grace_s=GRACE_MS / 1000,
        postgres_dsn=address,
    )
    made = World(settings, feature_models(settings))
    served(made)
    with writing(settings), duckdb.connect(settings.warehouse_path) as con:
        create_raw_tables(con)
        for kind, table in ((Frame, "frame"), (Feature, "feature"), (Window, "window")):
            appender = con.appender(f"raw.{table}")
            appender.append_rows([(r.topic, 0, r.offset, NOW_MS, r.key, r.value.decode(), None) for r in made.records(kind)])
            appender.flush()
    with psycopg.connect(address, autocommit=True, options="-c search_path=mliot") as store:
        store.execute('truncate frame, frame_latest, feature, "window", label, position')
    with PostgresStore(address, "grain") as store:
        for kind in (Frame, Window, Feature, Label):
            partition = Partition(kind.topic_name, 0)
            rows = made.records(kind)
            store.save(Save(decide(rows, NOW_MS)[0], len(rows), {partition: 0}, {partition: len(rows)}))
    build(settings)
    return made


def rows_of(world: World, kind: type[Message]) -> list[Message]:
    return [message for message in world.log[kind] if message.id.startswith("place_5m:")]


def test_the_stream_serves_its_windows_and_their_plain_feature_rows(world: World) -> None:
    windows, features = rows_of(world, Window), rows_of(world, Feature)
    assert len(windows) == len(features) == 30 * 12 - 1, "the last one is still open"
    assert {window.frames for window in windows} == {5}  # type: ignore[attr-defined]
    assert {feature.model for feature in features} == {MODEL}  # type: ignore[attr-defined]
    assert [feature.values for feature in features] == [window.values for window in windows]  # type: ignore[attr-defined]


def test_what_was_built_in_keeps_its_versions(world: World, models: FeatureModels) -> None:
    assert {name: world.models.versions[name] for name in models.versions} == models.versions


def test_the_audit_counts_its_windows_and_names_one_that_is_missing(world: World) -> None:
    report = world.audit()
    assert report.clean, [finding for finding in report.findings if not finding.clean]
    (found,) = [finding for finding in report.findings if finding.what == "windows place_5m"]
    assert (found.owed, found.seen) == (359, 359)
    lost = rows_of(world, Window)[100].id
    spoilt = {finding.what: finding.missing for finding in world.audit(lost).findings if finding.missing}
    assert spoilt["windows place_5m"] == [lost]


def test_parity_compares_its_rows_window_by_window(world: World) -> None:
    found = {one.model: one for one in measure_parity(world.settings, world.models, NOW_MS)}
    assert found[MODEL].rows > 300
    assert all(one.passed for one in found.values()), [one.summary for one in found.values()]
    assert found[MODEL].summary.endswith("values compared, 0 differ")


def test_a_trace_shows_its_row_below_a_frame_and_its_frames_above_it(world: World) -> None:
    grains, use_cases = Grains.of(world.models), load_use_cases(world.settings.usecases)
    window = rows_of(world, Window)[50]
    traced = read_trace(world.settings, use_cases, grains, window.id, NOW_MS)
    assert traced is not None
    assert f"5 frames of place {REFERENCE_PLACE}" in traced.root.text
    frame = next(f for f in world.log[Frame] if window.start_ms <= f.event_ms < window.end_ms)  # type: ignore[attr-defined]
    traced = read_trace(world.settings, use_cases, grains, frame.id, NOW_MS)
    assert traced is not None
    assert window.id in {step.id for step in traced.root.children}
    newest = world.log[Frame][-1]
    traced = read_trace(world.settings, use_cases, grains, newest.id, NOW_MS)
    assert traced is not None
    (open_still,) = [step for step in traced.root.children if step.id.startswith("place_5m:")]
    assert open_still.text.startswith("its 5 minutes")


def test_a_use_case_learns_from_it(world: World) -> None:
    use_case = load_use_cases(world.settings.usecases)[NAME]
    table = read_training_set(world.settings, use_case)
    assert table.num_rows > 300
    made = train(use_case, table, feature_version=world.models.versions[MODEL], created_ms=NOW_MS)
    assert made.card.columns == use_case.columns
    labels = rows_of_label(world)
    assert labels[0].feature_id == f"place_5m:{REFERENCE_PLACE}@{labels[0].label_ms - 2 * LENGTH}"
    assert {round(v, 9) for v in table["label"].to_pylist()} <= {round(label.value, 9) for label in labels}


def rows_of_label(world: World) -> list[Label]:
    return [label for label in world.log[Label] if isinstance(label, Label) and label.use_case == NAME]


def test_every_column_is_described_and_the_assets_stand_in_dagster(world: World) -> None:
    found = compose(world.settings)
    assets = {spec.key for spec in found.resolve_all_asset_specs()}
    assert {dg.AssetKey(["features", "windows_place_5m"]), dg.AssetKey(["features", MODEL]), dg.AssetKey([NAME, "training_set"])} <= assets
    checks = {key.name for key in found.resolve_asset_graph().asset_check_keys}
    assert {f"{MODEL}_as_built", "windows_place_5m_windows_on_grid", "windows_place_5m_statistics_plausible"} <= checks
    with open_warehouse(world.settings) as con:
        assert con.execute(f"select count(*) from features.{MODEL}").fetchall() == [(360,)]


def test_the_dashboard_draws_it(world: World) -> None:
    grains, use_case = Grains.of(world.models), load_use_cases(world.settings.usecases)[NAME]
    known = Known({NAME: use_case}, load_measurements(), grains)
    reading = Reading("iot_sensor_0", REFERENCE_PLACE, NOW_MS, "f", {"temperature": 20.0, "humidity": 50.0})
    (pair,) = pairs(known.use_cases, grains, [reading], NOW_MS)
    assert pair.since_ms == NOW_MS - 60 * LENGTH
    (line,) = lines(known.use_cases, known.measurements, grains, [reading], NOW_MS)
    assert (line.grain, line.column) == ("place_5m", "humidity_avg")
    window = rows_of(world, Window)[-1]
    point = Point(window.id, REFERENCE_PLACE, line.column, window.end_ms, 50.0)  # type: ignore[attr-defined]
    (place,) = place_views(StoreRows(readings=(reading,), points=(point,)), known, NOW_MS)
    assert place.answers[0].waits_for == "no prediction yet: one comes with the first 5 minutes that closes under a champion"
    assert place.charts
    assert place.charts[0].span == "last 5 h"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GRAIN.replace("300", "90"), "window_s must be a multiple of the shortest"),
        (GRAIN.replace("['place_id']", "['room']"), "key"),
        (GRAIN.replace("place_5m", "place_1m"), "are both of grain place_1m"),
        ("{{ window_grain('place_5m') }}", "windows_place_5m"),
        ("select 1 from {{ ref('nothing') }}", "windows_place_5m"),
    ],
)
def test_a_file_that_is_wrong_is_named_in_one_line_before_anything_starts(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "windows_place_5m.sql").write_text(text)
    settings = Settings(_env_file=None, home=tmp_path / "home", features=tmp_path / "features")
    with pytest.raises(UserError) as error:
        check_declarations(settings)
    assert told in str(error.value)
    assert "windows_place_5m" in str(error.value)
    assert "\n" not in str(error.value)
