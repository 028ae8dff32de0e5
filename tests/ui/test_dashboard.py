"""The dashboard as a person uses it: real PostgreSQL, real process, real browser."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from math import sin
from pathlib import Path
from urllib.parse import quote

import msgspec
import psycopg
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from psycopg.types.json import Jsonb

from learning.monitoring.reports import Reports
from lineage.parity.keep import keep_parity
from lineage.parity.result import Parity
from mliot.messages import Ack, Command, DeadLetter, Feature, Frame, Label, Message, Prediction, Window, command_id, prediction_id
from mliot.services import ServiceStatus, listening
from mliot.settings import HOST, Settings
from stack.postgres import make_password
from stack.standalone import StandaloneServer

pytestmark = pytest.mark.ui

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MINUTE = 60_000
CHAMPION = "20251124-160000-0a1b2c3d"
HOSTILE = b'{"id":"<img src=x onerror=\\"document.title=1\\">","payload":"<script>document.title=1</script>"}'
_TABLES = {Frame: "frame", Window: '"window"', Feature: "feature", Prediction: "prediction", Label: "label", Command: "command", Ack: "ack"}
_IDS = {
    Frame: "frame_id",
    Window: "window_id",
    Feature: "feature_id",
    Prediction: "prediction_id",
    Ack: "command_id",
    DeadLetter: "dead_id",
}


class Seed:
    """Writes messages into the store as the store service does."""

    def __init__(self, store: psycopg.Connection) -> None:
        self._store = store
        self._offset = 0

    def put(self, message: Message) -> None:
        kind = type(message)
        row = msgspec.structs.asdict(message)
        row.pop(_IDS.get(kind, ""), None) if kind is not Command else None
        if isinstance(message, DeadLetter):
            row.pop("original_base64")
            row["original"] = message.original
        row |= {"id": message.id, "address": f"{message.topic_name}-0-{self._offset}", "stored_ms": time.time_ns() // 1_000_000}
        self._offset += 1
        columns = ", ".join(f'"{name}"' for name in row)
        given = [Jsonb(value) if isinstance(value, dict) else value for value in row.values()]
        table = _TABLES.get(kind, "deadletter")
        self._store.execute(f"insert into mliot.{table} ({columns}) values ({', '.join(['%s'] * len(row))}) on conflict do nothing", given)
        if isinstance(message, Frame):
            self._store.execute(
                "insert into mliot.frame_latest values (%s, %s, %s, %s, %s, %s) on conflict (device) do update set"
                " event_ms = excluded.event_ms, arrived_ms = excluded.arrived_ms, frame_id = excluded.frame_id, payload = excluded.payload",
                [message.device, message.place_id, message.event_ms, message.arrived_ms, message.frame_id, Jsonb(message.payload)],
            )

    def frame(self, device: str, place: str, at_ms: int, payload: dict[str, float]) -> str:
        frame_id = f"{device}@{at_ms}#{at_ms % 0xFFFFFFFF:08x}"
        self.put(Frame(frame_id=frame_id, device=device, place_id=place, event_ms=at_ms, arrived_ms=at_ms + 40,
                       mqtt_topic="iot-frames-sensor", payload=payload))  # fmt: skip
        return frame_id

    def window(self, model: str, place: str, start_ms: int, size_ms: int, values: dict[str, float]) -> str:
        grain = model.removeprefix("features_")
        id = f"{grain}:{place}@{start_ms}"
        end_ms = start_ms + size_ms
        span = {"grain": grain, "key": place, "place_id": place, "start_ms": start_ms, "end_ms": end_ms, "frames": 12,
                "first": "stream-frame-0-1", "last": "stream-frame-0-12", "values": values}  # fmt: skip
        self.put(Window(window_id=id, **span))
        self.put(Feature(feature_id=id, model=model, version="5b1f00c2", made_ms=end_ms + 5200, **span))
        return id

    def answer(
        self,
        use_case: str,
        feature_id: str,
        place: str,
        end_ms: int,
        value: float,
        *,
        shadow: bool = False,
        version: str = CHAMPION,
        probability: float | None = None,
        interval: float | None = None,
        ahead_ms: int = 0,
    ) -> str:
        id = prediction_id(feature_id, use_case, version)
        self.put(Prediction(prediction_id=id, use_case=use_case, feature_id=feature_id, model_version=version, feature_version="5b1f00c2",
                            key=place, place_id=place, at_ms=end_ms, for_ms=end_ms + ahead_ms, made_ms=end_ms + 5260, value=value,
                            probability=probability, low=None if interval is None else value - interval,
                            high=None if interval is None else value + interval, shadow=shadow))  # fmt: skip
        return id

    def label(self, use_case: str, feature_id: str, place: str, end_ms: int, delay_ms: int, value: float) -> None:
        self.put(Label(use_case=use_case, feature_id=feature_id, key=place, place_id=place, label_ms=end_ms, available_ms=end_ms + delay_ms,
                       value=value))  # fmt: skip

    def command(self, prediction: str, place: str, decided_ms: int, value: float, *states: str, reason: str = "") -> str:
        device = f"{place}-fan"
        id = command_id(place, decided_ms, prediction, device)
        for at, state in enumerate(states):
            self.put(Command(command_id=id, state=state, device=device, place_id=place, use_case="fan_speed", prediction_id=prediction,
                             action="fan_speed", value=value, decided_ms=decided_ms, expires_ms=decided_ms + 90_000,
                             at_ms=decided_ms + (0, 30, 240)[at], reason=reason if at == len(states) - 1 else ""))  # fmt: skip
        if states[-1] in ("acked", "failed"):
            ok = states[-1] == "acked"
            self.put(Ack(command_id=id, device=device, ok=ok, at_ms=decided_ms + 180, arrived_ms=decided_ms + 212, reason=reason))
        return id

    def all(self, now_ms: int) -> None:
        """Three rooms with an hour of minutes, a pipeline with two days of hours, commands in every state, dead letters."""
        for number, place in enumerate(("000000000", "room-1", "room-2")):
            self.room(number, place, now_ms)
        self.pipeline(now_ms)
        for at, reason in enumerate(
            ("is not JSON", "temperature 999 is out of range [-60, 120]", "is not JSON", "payload: must be an object")
        ):
            original = HOSTILE if at == 3 else b"\xff\x00 not json %d" % at
            self.put(DeadLetter.of(original, source="iot-frames-sensor", service="bridge", reason=reason, at_ms=now_ms - 1000 * at))
        self._store.commit()

    def room(self, number: int, place: str, now_ms: int) -> None:
        age_ms = 2000 if number < 2 else 12 * MINUTE
        sensor = f"iot_sensor_{number}"
        for back in range(12, -1, -1):
            at_ms = now_ms - age_ms - 5000 * back
            payload = {"temperature": 24.71 + number, "humidity": 61, "pressure": 101_325.0, "luminosity": 420.4}
            self.frame(sensor, place, at_ms, {**payload, **({"fan_speed": 1} if number == 0 else {})})
            if number:
                self.frame(f"{place}-fan", place, at_ms - 700, {"fan_speed": 2, "fan_current": 310.5, "fan_vibration": 0.127})
        last = ""
        for back in range(70, 0, -1):
            start_ms = (now_ms // MINUTE - back) * MINUTE - (12 * MINUTE if number == 2 else 0)
            warm = 24.5 + number + 2 * sin(back / 9)
            feature_id = self.window("features_place_1m", place, start_ms, MINUTE, {"temperature_avg": warm, "humidity_avg": 60 - warm / 5})
            value = float(min(3, max(0, round(warm - 23 - number))))
            last = self.answer("fan_speed", feature_id, place, start_ms + MINUTE, value, probability=0.93)
            self.answer(
                "fan_speed", feature_id, place, start_ms + MINUTE, 1.0, shadow=True, version=f"online-{700 - back}", probability=0.6
            )
            if back > 10:
                truth = value if back % 9 else max(0.0, value - 1)
                self.label("fan_speed", feature_id, place, start_ms + MINUTE, 10 * MINUTE, truth)
        if number == 1:
            self.command(last, place, now_ms - 4000, 2, "queued", "sent", "acked")
            self.command(last, place, now_ms - 65_000, 1, "queued", "sent", "failed", reason="motor is blocked")
            self.command(last, place, now_ms - 400_000, 1, "queued", "sent", "expired", reason="no ack within 90 s")
        if number == 2:
            self.command(last, place, now_ms - 1000, 3, "queued", "sent")

    def pipeline(self, now_ms: int) -> None:
        hour = 60 * MINUTE
        place = "water-branch-1"
        for back in range(60, 0, -1):
            start_ms = (now_ms // hour - back) * hour
            flow = 38.0 + 9 * sin(back / 3.8)
            self.frame("waterflow_1", place, start_ms + 30 * MINUTE, {"water_flow": flow})
            feature_id = self.window("features_place_1h", place, start_ms, hour, {"water_flow_avg": flow})
            self.answer("water_flow", feature_id, place, start_ms + hour, flow + 0.6, interval=2.4, ahead_ms=hour)
            if back > 1:
                self.label("water_flow", feature_id, place, start_ms + hour, hour, 38.0 + 9 * sin((back - 1) / 3.8))


class _Endpoint(BaseHTTPRequestHandler):
    """Answers as the prediction endpoint and as Dagster do."""

    def do_GET(self) -> None:
        since_ms = time.time_ns() // 1_000_000 - 3 * 60 * MINUTE
        models = [
            {"use_case": name, "alias": "champion", "model_version": CHAMPION, "feature_version": "5b1f00c2", "since_ms": since_ms,
             "estimator": "random_forest(trees=100)"}
            for name in ("fan_speed",)
        ]  # fmt: skip
        models.append({"use_case": "water_flow", "alias": "champion", "model_version": None, "waits_for": "there is no champion yet"})
        body = json.dumps(models if self.path == "/models" else {"dagster_webserver_version": "1"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@dataclass
class Stack:
    """What the tests act on: the page's address, a way into the store, the server to stop."""

    url: str
    settings: Settings
    server: StandaloneServer
    dashboard: subprocess.Popen[bytes]

    @contextmanager
    def seed(self) -> Iterator[Seed]:
        with psycopg.connect(self.settings.postgres_address) as store:
            yield Seed(store)


def until(true: Callable[[], bool], what: str, deadline_s: float = 30) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, f"{what}: not within {deadline_s:g} s"
        time.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@contextmanager
def running(settings: Settings) -> Iterator[Stack]:
    """PostgreSQL with made rows, an endpoint, one service, and the dashboard; all ended after the block."""
    make_password(settings)
    server = StandaloneServer(settings, "postgres")
    server.start()
    web = HTTPServer((HOST, settings.endpoint_port), _Endpoint)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    environment = {f"MLIOT_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set}
    dashboard: subprocess.Popen[bytes] | None = None
    try:
        with psycopg.connect(settings.postgres_address) as store:
            Seed(store).all(time.time_ns() // 1_000_000)
        status = ServiceStatus("bridge")
        status.ok()
        status.count({"read": 37, "used": 37})
        with listening(status, settings):
            dashboard = subprocess.Popen([sys.executable, "-m", "dashboard"], env={**os.environ, **environment})
            until(lambda: listens(settings.dashboard_port), "the dashboard")
            yield Stack(settings.dashboard_address, settings, server, dashboard)
    finally:
        if dashboard is not None:
            dashboard.send_signal(signal.SIGINT)
            dashboard.wait(20)
        server.stop()
        web.shutdown()
        web.server_close()


@pytest.fixture(scope="module")
def stack(free_ports: Callable[[int], list[int]]) -> Iterator[Stack]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: the dashboard's browser tests need it (apt-get install chromium)")
    home = Path(tempfile.mkdtemp(prefix="mliot-ui-"))
    home.chmod(0o755)  # as root, PostgreSQL runs under another account, which must get in
    store, page, endpoint, metrics = free_ports(4)
    settings = Settings(_env_file=None, home=home, postgres_port=store, dashboard_port=page, endpoint_port=endpoint,
                        dagster_url=f"http://{HOST}:{endpoint}", metrics_port=metrics)  # fmt: skip
    try:
        with running(settings) as found:
            yield found
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """A page that was opened by a person: what it logs as an error, and whom it calls outside, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if HOST not in request.url and ":" in request.url[:6] else None)
    yield page
    context.close()
    assert wrong == []


def opened(page: Page, url: str) -> Page:
    page.goto(url)
    page.wait_for_selector(".card, .step")
    return page


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def card(page: Page, place: str) -> Locator:
    return page.locator(".place", has=page.locator("h3", has_text=place))


def seconds(text: str) -> int:
    age = text.replace("old", "").strip()
    return 0 if age == "now" else int(age.split(maxsplit=1)[0])


def test_every_place_shows_readings_predictions_and_charts(page: Page, stack: Stack) -> None:
    opened(page, stack.url)
    room = card(page, "room-1")
    expect(room.locator(".answer")).to_contain_text("level")
    expect(room.locator(".answer")).to_contain_text("93% sure")
    expect(room.locator(".device").first).to_contain_text("101,325")
    expect(room.locator("svg")).to_have_count(2)
    assert room.locator("svg").last.locator(".ring").count() > 30
    expect(card(page, "water-branch-1").locator(".answer")).to_contain_text("L/s")


def test_an_age_grows_and_an_old_value_says_so(page: Page, stack: Stack) -> None:
    opened(page, stack.url)
    age = card(page, "000000000").locator(".device .age").first
    before = seconds(age.inner_text())
    grown = "([e, n]) => parseInt(e.innerText.replace('old', '')) > n"
    page.wait_for_function(grown, arg=[age.element_handle(), before + 1], timeout=8000)
    old = card(page, "room-2").locator(".device .age").first
    expect(old).to_contain_text("old")
    fresh = age.inner_text()  # read once: on a busy machine it grows old meanwhile
    assert "old" not in fresh or seconds(fresh) >= 10


def test_a_new_reading_and_a_new_command_appear_within_three_seconds(page: Page, stack: Stack) -> None:
    opened(page, stack.url)
    with stack.seed() as seed:
        seed.frame("iot_sensor_9", "room-9", now_ms(), {"temperature": 19.37})
        seed.command("p-new", "room-1", now_ms(), 3, "queued", "sent", "acked")
    expect(card(page, "room-9")).to_contain_text("19.4", timeout=3000)
    expect(page.locator(".command").first).to_contain_text("level 3", timeout=3000)
    expect(page.locator(".command").first).to_contain_text("answered in 212 ms")


def test_one_click_leads_from_a_prediction_to_its_trace_and_back(page: Page, stack: Stack) -> None:
    opened(page, stack.url)
    card(page, "room-1").locator(".answer a").click()
    page.wait_for_selector(".step.subject")
    kinds = page.locator(".step .kind").all_inner_texts()
    assert kinds[:3] == ["frames of the window", "feature", "prediction"]
    assert page.locator(".step .hop", has_text="+60 ms").count() >= 1
    page.locator(".brand").click()
    page.wait_for_selector(".place")


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (".device .origin a", "frame"),
        (".command a", "command"),
        (".refusal a", "dead letter"),
        (".chart a .hit", "prediction|frames of the window"),
    ],
)
def test_every_point_leads_to_its_trace(page: Page, stack: Stack, start: str, kind: str) -> None:
    opened(page, stack.url)
    page.locator(start).first.click(force=True)
    page.wait_for_selector(".step.subject")
    assert any(shown in kind for shown in page.locator(".step .kind").all_inner_texts())


def test_what_a_device_sent_is_shown_as_text(page: Page, stack: Stack) -> None:
    opened(page, stack.url)
    page.locator(".refusal a", has_text="payload: must be an object").click()
    expect(page.locator("pre")).to_contain_text("<script>document.title=1</script>")
    assert page.title() == "MLIoT trace"


def test_an_unknown_id_is_told(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.url}/trace/%3Cb%3Enobody%3C%2Fb%3E%23")
    expect(page.locator(".page")).to_contain_text("Trace of <b>nobody</b>#")
    expect(page.locator(".page")).to_contain_text("No such id in the store")


def test_a_trace_grows_by_itself_and_keeps_open_what_was_opened(page: Page, stack: Stack) -> None:
    at_ms = now_ms()
    with stack.seed() as seed:
        frame_id = seed.frame("iot_sensor_9", "room-9", at_ms, {"temperature": 21.0})
    opened(page, f"{stack.url}/trace/{quote(frame_id, safe='')}")
    expect(page.locator(".asked")).to_contain_text("it grows here by itself")
    page.locator("summary").first.click()
    start_ms = at_ms // MINUTE * MINUTE
    with stack.seed() as seed:
        seed.window("features_place_1m", "room-9", start_ms, MINUTE, {"temperature_avg": 21.0})
    expect(page.locator(".step .id", has_text=f"place_1m:room-9@{start_ms}").first).to_be_visible(timeout=8000)
    expect(page.locator(".step:not(.awaited)", has_text="features_place_1m: 1 values").first).to_be_visible(timeout=8000)
    assert page.locator("details").first.get_attribute("open") is not None


def test_an_id_that_comes_later_appears_by_itself(page: Page, stack: Stack) -> None:
    at_ms = now_ms()
    frame_id = f"iot_sensor_8@{at_ms}#{at_ms % 0xFFFFFFFF:08x}"
    page.goto(f"{stack.url}/trace/{quote(frame_id, safe='')}")
    expect(page.locator(".page")).to_contain_text("No such id in the store")
    with stack.seed() as seed:
        seed.frame("iot_sensor_8", "room-8", at_ms, {"temperature": 21.0})
    expect(page.locator(".step.subject")).to_be_visible(timeout=8000)


def test_drift_reports_are_listed_linked_and_served(page: Page, stack: Stack) -> None:
    report, path = Reports(stack.settings.reports_path).make("fan_speed", now_ms() - 3 * 60 * MINUTE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("<h1 id=made>made by a script</h1><script>document.getElementById('made').textContent += ' indeed'</script>")
    opened(page, stack.url)
    expect(page.locator(".model", has_text="Fan speed").locator(f"a[href='{report.url_path}']")).to_be_visible(timeout=20_000)
    page.locator("nav a", has_text="Reports").click()
    expect(page.locator(".card", has_text="Fan speed")).to_contain_text("3 h ago")
    page.locator(f"a[href='{report.url_path}']").click()
    expect(page.locator("h1")).to_have_text("made by a script indeed")
    assert page.request.get(f"{stack.url}/reports/fan_speed/%2e%2e%2f%2e%2e%2fpostgres%2fpassword").status == 404


def test_parity_is_one_quiet_line(page: Page, stack: Stack) -> None:
    opened(page, stack.url)
    expect(page.locator(".parity")).to_contain_text("not compared yet")
    row = Parity("features_place_1m", "v", now_ms(), 0, 1, 10, 1234, 0, 2, 1, 1, 0, 0.0)
    keep_parity(stack.settings, [row, replace(row, model="features_place_1h", values=1000)])
    expect(page.locator(".parity")).to_contain_text(
        "batch = stream: 2,234 values compared, 0 differ, 4 rows apart by late frames", timeout=20_000
    )
    keep_parity(stack.settings, [replace(row, checked_ms=row.checked_ms + 1, differ=3)])
    expect(page.locator(".parity .bad")).to_contain_text("batch ≠ stream: 1,234 values compared, 3 differ", timeout=20_000)


@pytest.mark.parametrize("width", [360, 390, 768, 1280, 1920])
@pytest.mark.parametrize("path", ["/", "trace"])
def test_nothing_is_wider_than_the_screen(page: Page, stack: Stack, width: int, path: str) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    opened(page, stack.url)
    if path == "trace":
        page.locator(".command a").last.click()
        page.wait_for_selector(".step.subject")
        for summary in page.locator("summary").all():
            summary.click()
    page.wait_for_timeout(200)  # the layout settles
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.evaluate(
        "[...document.querySelectorAll('.card, .step')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
    )
    assert cut == []


def test_models_services_and_dead_letters(page: Page, stack: Stack) -> None:
    opened(page, stack.url)
    model = page.locator(".model", has_text="Fan speed")
    expect(model).to_contain_text(CHAMPION)
    expect(model).to_contain_text("labelled rows")
    expect(model).to_contain_text("in shadow")
    expect(page.locator(".model", has_text="Water flow")).to_contain_text("no champion yet")
    expect(page.locator(".service", has_text="bridge")).to_contain_text("ok")
    expect(page.locator(".service", has_text="inference")).to_contain_text("no answer")
    expect(page.locator(".refusal", has_text="is not JSON").first).to_contain_text("2")


def test_colours_follow_the_system_until_one_is_chosen_and_the_choice_stays(page: Page, stack: Stack) -> None:
    opened(page, stack.url)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert light != dark
    page.get_by_label("Colours").select_option("light")
    assert page.evaluate(ground) == light
    opened(page, stack.url)
    assert page.evaluate(ground) == light
    page.get_by_label("Colours").select_option("system")
    assert page.evaluate(ground) == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(page: Page, stack: Stack, scheme: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 or more, for every text against the nearest ground below it."""
    page.emulate_media(color_scheme=scheme)
    opened(page, stack.url)
    assert page.evaluate(CONTRAST) == []


CONTRAST = """() => {
  const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const weak = [];
  for (const e of document.querySelectorAll(".top *, .page *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !e.offsetParent) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) weak.push([e.className, e.textContent, (a + 0.05) / (b + 0.05)]);
  }
  return weak;
}"""


def test_the_page_goes_on_while_the_store_is_away(page: Page, stack: Stack) -> None:
    opened(page, stack.url)
    value = card(page, "000000000").locator(".device .number").first.inner_text()
    stack.server.stop()
    expect(page.locator(".status")).to_have_text("store away", timeout=8000)
    expect(page.locator(".problems")).to_contain_text("what is shown was read at")
    assert card(page, "000000000").locator(".device .number").first.inner_text() == value
    stack.server.start()
    expect(page.locator(".status")).to_have_text("live", timeout=8000)
    with stack.seed() as seed:
        seed.frame("iot_sensor_0", "000000000", now_ms(), {"temperature": 11.13})
    expect(card(page, "000000000")).to_contain_text("11.1", timeout=3000)


def test_a_taken_port_is_one_line(stack: Stack) -> None:
    environment = {**os.environ, "MLIOT_DASHBOARD_PORT": str(stack.settings.dashboard_port), "MLIOT_HOME": str(stack.settings.home)}
    done = subprocess.run([sys.executable, "-m", "dashboard"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "MLIOT_DASHBOARD_PORT" in done.stderr
