"""A use case file of the user's own and nothing else: the running stack brings it a champion, live predictions and a dashboard section.

Then a worse candidate stays outside and a better one takes over, while clients ask the endpoint.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition
from playwright.sync_api import expect, sync_playwright

from learning.store import ModelStore
from lineage.store import connected
from mliot.clock import Deadline, SystemClock
from mliot.frames import frame_id
from mliot.messages import Prediction, decode
from mliot.mqtt import MqttClient
from mliot.settings import Settings
from tests.e2e.clients import asking
from tests.e2e.dagster_page import Dagster
from tests.e2e.stack import Stack, running, until
from usecases import load_use_cases

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

NAME, TITLE = "next_temperature", "Temperature in a minute"
COLUMNS = ("temperature_avg", "humidity_avg", "luminosity_avg")
RETRAIN = f"retrain_{NAME}"
USE_CASE = """
from datetime import timedelta
from mliot.usecase import Gate, Label, Linear, RandomForest, UseCase

COMFORT = UseCase(
    name="next_temperature", title="Temperature in a minute", kind="regression", unit="°C",
    features="features_place_1m", columns=("temperature_avg", "humidity_avg", "luminosity_avg"),
    label=Label(measurement="temperature", statistic="avg", horizon=timedelta(minutes=1)),
    candidates=({candidate},), gate=Gate(over_baseline=-100, p99_ms=1000), retrain_cron="0 0 29 2 *")
"""
FIRST, WORSE, BETTER = "RandomForest(trees=5, depth=2)", "RandomForest(trees=1, depth=1)", "Linear(penalty=30)"
"""In this order at every hour of the simulated climate: over the first one's error the stump has at least 1.4 times, the linear model at
most two thirds of it."""
HISTORY_DAYS = 0.15
PLACE, DEVICE = "attic", "attic-thermometer"
CLIENTS = 32
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass(frozen=True)
class Site:
    """A whole running stack, and the folder with the user's use case file."""

    stack: Stack
    use_cases: Path

    @property
    def endpoint(self) -> str:
        return self.stack.settings.endpoint_address

    @property
    def store(self) -> ModelStore:
        return ModelStore(self.stack.settings.models_path)

    def declare(self, candidate: str) -> None:
        """Rewrites the file. A run of Dagster reads it in a process of its own, so the next one trains what stands there now."""
        (self.use_cases / f"{NAME}.py").write_text(USE_CASE.format(candidate=candidate))

    def in_charge(self) -> str | None:
        """The version that the endpoint answers with, None before there is one."""
        models = httpx.get(f"{self.endpoint}/models", timeout=30, trust_env=False).raise_for_status().json()
        return next((one["model_version"] for one in models if (one["use_case"], one["alias"]) == (NAME, "champion")), None)

    def select(self, query: str, *given: object) -> list[dict]:
        with connected(self.stack.settings) as store:
            return store.execute(query, given).fetchall()

    def publish(self, temperature: float) -> str:
        """One frame of the user's own device; its id, once the broker has the frame."""
        now_ms = SystemClock().now_ms()
        payload = {"temperature": temperature, "humidity": 55, "timestamp": now_ms}
        message = json.dumps({"name": DEVICE, "place_id": PLACE, "payload": payload}).encode()
        client = MqttClient(self.stack.settings.mqtt_address, DEVICE)
        client.start()
        client.wait_ready(60)
        client.publish("iot-frames-sensor", message)
        assert client.stop(Deadline.after(SystemClock(), 60)) == 0
        return frame_id(DEVICE, now_ms, message)


@pytest.fixture(scope="module")
def site(make_settings: Callable[..., Settings], save_constant_model: Callable[..., str], tmp_path_factory) -> Iterator[Site]:
    """The stack with every part, a few hours of history, and the new file. The built-in use cases have their models already."""
    folder = tmp_path_factory.mktemp("usecases")
    settings = make_settings(usecases=folder, fleet_history_days=HISTORY_DAYS, replay="", seed=1)
    site = Site(Stack(settings), folder)
    for use_case in load_use_cases().values():
        site.store.move(use_case.name, "champion", save_constant_model(site.store, use_case, 1.0), who="test", why="not what is tested")
    site.declare(FIRST)
    with running(settings):
        yield site


@pytest.fixture(scope="module")
def dagster(site: Site) -> Dagster:
    return Dagster(site.stack.settings.dagster_address)


@pytest.fixture(scope="module")
def champion(site: Site) -> str:
    """The first version in charge. Nobody launches anything: the new-data sensor does."""
    return until("a first champion answers", site.in_charge, within_s=400)


def test_its_assets_checks_jobs_and_schedule_are_in_dagster(dagster: Dagster) -> None:
    assets = dagster.assets(NAME)
    assert set(assets) == {"training_set", "candidate", "champion", "drift", "live_score"}
    assert assets["candidate"].checks["passes_gate"].blocking
    assert not assets["drift"].checks["has_not_drifted"].blocking
    assert {name.removeprefix(f"training_{NAME}_") for name in assets["training_set"].checks} >= {"feature_id_unique", "finite", "filled"}
    assert {"refresh", RETRAIN} <= assets["champion"].jobs
    assert f"{RETRAIN}_schedule" in dagster.schedules()


def test_new_data_alone_leads_through_the_gate_to_a_champion(site: Site, dagster: Dagster, champion: str) -> None:
    assets = dagster.assets(NAME)
    run = dagster.ended(assets["champion"].run_id)
    assert (run.job, run.sensor) == ("refresh", "new_data")
    assert assets["champion"].metadata["version"] == champion
    gate = assets["candidate"].checks["passes_gate"]
    assert (gate.status, gate.run_id) == ("SUCCEEDED", run.id)
    assert [(move.was, move.now, move.who) for move in site.store.history(NAME)] == [(None, champion, "gate")]


def test_the_endpoint_answers_for_it_and_describes_it(site: Site, champion: str) -> None:
    answer = httpx.post(f"{site.endpoint}/predict", json={"use_case": NAME, "rows": [dict.fromkeys(COLUMNS, 24.0)]}, timeout=30).json()
    assert answer["model_version"] == champion
    assert -10 < answer["predictions"][0]["low"] < answer["predictions"][0]["value"] < answer["predictions"][0]["high"] < 60
    page = httpx.get(f"{site.endpoint}/docs.json", timeout=30).json()
    row = page["components"]["schemas"]["NextTemperatureRow"]
    assert tuple(row["required"]) == COLUMNS
    assert row["properties"]["temperature_avg"]["x-unit"] == "°C"
    assert f"### {NAME}\n\n{TITLE} (°C)" in page["info"]["description"]
    assert NAME in page["paths"]["/predict_entity"]["post"]["requestBody"]["content"]["application/json"]["examples"]


def test_a_frame_sent_now_is_predicted_live_and_in_shadow(site: Site, champion: str) -> None:
    frame = site.publish(temperature=23.5)
    query = "select * from mliot.prediction where use_case = %s and place_id = %s and shadow = %s"
    (live,) = until("a live prediction is in the store", lambda: site.select(query, NAME, PLACE, False))
    assert live["model_version"] == champion
    assert live["low"] < live["value"] < live["high"]
    (shadow,) = until("a shadow prediction is in the store", lambda: site.select(query, NAME, PLACE, True))
    assert shadow["model_version"].startswith("online-")
    assert shadow["feature_id"] == live["feature_id"]

    logged = decode(Prediction, record_at(site.stack.settings, live["address"]))
    assert (logged.prediction_id, logged.model_version, logged.value) == (live["id"], champion, live["value"])

    asked = httpx.post(f"{site.endpoint}/predict_entity", json={"use_case": NAME, "place_id": PLACE}, timeout=30).json()
    assert (asked["model_version"], asked["feature_id"]) == (champion, live["feature_id"])
    assert asked["predictions"][0]["value"] == pytest.approx(live["value"])

    chain = json.loads(site.stack.mliot("trace", frame, "--json").stdout)["chain"]
    assert chain["id"] == frame
    assert {live["id"], shadow["id"]} <= {node["id"] for node in steps(chain)}


def test_it_has_its_section_on_the_dashboard(site: Site, champion: str) -> None:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: the dashboard is looked at with it (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(site.stack.settings.dashboard_address, timeout=60_000)
        model = page.locator(".model", has=page.get_by_role("heading", name=TITLE))
        expect(model).to_contain_text(champion, timeout=60_000)
        expect(model).to_contain_text(re.compile("in shadow.*online", re.DOTALL), timeout=60_000)
        room = page.locator(".place", has=page.get_by_role("heading", name="room-1"))
        expect(room.locator(".answer", has_text=TITLE)).to_contain_text("°C", timeout=60_000)
        browser.close()


def test_a_worse_candidate_stays_outside_and_a_better_one_takes_over_while_32_clients_ask(
    site: Site, dagster: Dagster, champion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"use_case": NAME, "rows": [{"temperature_avg": 24.0, "humidity_avg": 55.0, "luminosity_avg": 300.0}]}
    before = dagster.assets(NAME)["champion"]
    with asking(CLIENTS, site.endpoint, body) as clients:
        site.declare(WORSE)
        worse = dagster.run(RETRAIN)
        assets = dagster.assets(NAME)
        gate = assets["candidate"].checks["passes_gate"]
        assert (gate.status, gate.blocking, gate.run_id) == ("FAILED", True, worse.id), (worse, gate)
        assert re.match("candidate refused: .*over_champion", gate.description)
        assert assets["candidate"].metadata["version"] != champion
        assert assets["champion"] == before
        assert site.in_charge() == champion

        site.declare(BETTER)
        better = dagster.run(RETRAIN)
        assets = dagster.assets(NAME)
        gate = assets["candidate"].checks["passes_gate"]
        assert (better.status, gate.status, gate.run_id) == ("SUCCESS", "SUCCEEDED", better.id), (better, gate)
        version = assets["candidate"].metadata["version"]
        assert (assets["champion"].run_id, assets["champion"].metadata["version"]) == (better.id, version)
        until("every client is answered by the better one", lambda: all(client.versions.count(version) >= 10 for client in clients))
    with capsys.disabled():
        print(f"\n{CLIENTS} clients, {sum(len(one.answers) for one in clients)} answers, {sum(len(one.failed) for one in clients)} failed")

    assert [one.failed for one in clients if one.failed] == []
    for client in clients:
        assert [change for change in pairwise(client.versions) if change[0] != change[1]] == [(champion, version)]
    assert len({answer for client in clients for answer in client.answers}) == 2  # each version answers the same to everybody
    assert [(move.was, move.now, move.who) for move in site.store.history(NAME)] == [(None, champion, "gate"), (champion, version, "gate")]


def test_nothing_of_it_is_missing_or_twice(site: Site, champion: str) -> None:
    audit = site.stack.mliot("audit", "--wait", "60")
    assert audit.returncode == 0, audit.stdout[-6000:] + audit.stderr[-2000:]


def record_at(settings: Settings, address: str) -> bytes:
    """The committed record at ``address`` in Kafka."""
    topic, partition, offset = address.rsplit("-", 2)
    consumer = Consumer({"bootstrap.servers": settings.kafka_address, "group.id": "test", "isolation.level": "read_committed"})
    try:
        consumer.assign([TopicPartition(topic, int(partition), int(offset))])
        record = consumer.poll(60)
        assert record is not None, f"nothing at {address} within 60 s"
        assert (record.error(), record.offset()) == (None, int(offset))
        return bytes(record.value())
    finally:
        consumer.close()


def steps(node: dict) -> Iterator[dict]:
    """A step of a traced chain and all that follows from it."""
    yield node
    for child in node["children"]:
        yield from steps(child)
