"""People who have the warehouse open while Dagster writes it: those on the readers' copy are never in the way, others are waited for."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from assets import keys
from mliot.frames import parse_frame
from mliot.measurements import load_measurements
from mliot.settings import Settings
from mliot_dagster.definitions import compose
from mliot_dagster.resources import Dbt
from warehouse.records import Batch, Columns, Span, Topic

ROOT = Path(__file__).parents[2]
NOW_MS = 1_764_000_000_000
WAIT_S = 240.0
SESSION = """
import sys, duckdb
con = duckdb.connect(sys.argv[1], read_only=True)
for line in sys.stdin:
    print(con.sql(line).fetchall(), flush=True)
"""


class Session:
    """A person's read-only session in a process of its own."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SESSION, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self.ask("select 1") == "[(1,)]"

    def ask(self, question: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.communicate("", timeout=30)


@contextmanager
def session(path: Path) -> Iterator[Session]:
    opened = Session(path)
    try:
        yield opened
    finally:
        opened.end()


class OneTopic:
    """A Kafka that holds the frames of one device, in memory."""

    def __init__(self) -> None:
        self.values: list[str] = []

    def add(self, count: int) -> None:
        for _ in range(count):
            at = NOW_MS + len(self.values) * 1000
            message = f'{{"name":"d","place_id":"room-1","payload":{{"temperature":20,"timestamp":{at}}}}}'.encode()
            frame = parse_frame(message, mqtt_topic="t", arrived_ms=at, measurements=load_measurements(), retention_ms=10**9)
            self.values.append(frame.encode().decode())

    def topic(self, name: str) -> Topic | None:
        return Topic(name, "life-1", {0: Span(0, len(self.values))}) if name == "stream-frame" else None

    def read(self, name: str, starts: dict[int, int]) -> Iterator[Batch]:
        for partition, start in starts.items():
            rows = [(partition, at, NOW_MS, "room-1", self.values[at], None) for at in range(start, len(self.values))]
            yield Batch(Columns(*zip(*rows, strict=True)), {partition: len(self.values)})


class Site:
    """A home, a Kafka and a Dagster instance that runs the first stages in this process."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings = settings
        self.instance = instance
        self.kafka = OneTopic()

    def refresh(self) -> dg.ExecuteInProcessResult:
        wanted = [keys.raw("frame"), dg.AssetKey(["staging", "stg_frames"]), dg.AssetKey(["staging", "frames"])]
        job = compose(self.settings, records=self.kafka).resolve_job_def("refresh")
        return job.execute_in_process(instance=self.instance, raise_on_error=False, asset_selection=wanted)

    def log(self, run_id: str) -> list[str]:
        return [entry.user_message for entry in self.instance.all_logs(run_id)]

    def when_told(self, word: str, act: Callable[[], None]) -> threading.Thread:
        """Does ``act`` once a run's log has said ``word``."""

        def watch() -> None:
            deadline = time.monotonic() + WAIT_S
            while time.monotonic() < deadline:
                if any(word in line for run in self.instance.get_run_ids() for line in self.log(run)):
                    act()
                    return
                time.sleep(0.1)

        watcher = threading.Thread(target=watch)
        watcher.start()
        return watcher


@pytest.fixture
def site(tmp_path: Path, compiled_settings: Callable[..., Settings]) -> Iterator[Site]:
    with dg.instance_for_test() as instance:
        yield Site(compiled_settings(home=tmp_path / "data", postgres_dsn="postgresql://nobody@127.0.0.1:1/none"), instance)


def test_an_open_session_on_the_readers_copy_is_in_nobodys_way_and_answers_all_the_while(site: Site) -> None:
    site.kafka.add(10)
    assert site.refresh().success
    count = "select count(*) from staging.frames"
    with session(site.settings.readers_copy_path) as early:
        assert early.ask(count) == "[(10,)]"
        site.kafka.add(5)
        result = site.refresh()
        assert result.success
        assert not [line for line in site.log(result.run_id) if line.startswith("waiting")]
        assert early.ask(count) == "[(10,)]", "an open session keeps what it opened, whole"
        with session(site.settings.readers_copy_path) as late:
            assert late.ask(count) == "[(15,)]"
            assert late.ask("select count(*) from staging.stg_frames") == "[(15,)]", "views name the database that the copy's file makes"


def test_a_run_waits_for_whoever_has_the_file_itself_open_says_so_and_goes_on(site: Site) -> None:
    site.kafka.add(10)
    assert site.refresh().success
    site.kafka.add(5)
    with session(site.settings.warehouse_path) as person:
        watcher = site.when_told("waiting:", person.end)
        result = site.refresh()
        watcher.join()
    assert result.success
    log = site.log(result.run_id)
    told = [line for line in log if line.startswith("waiting:")]
    python = f"python{sys.version_info[0]}.{sys.version_info[1]} (process {person.process.pid})"
    instead = f"close it there, and read {site.settings.readers_copy_path} instead"
    assert told == [f"waiting: {site.settings.warehouse_path} is open in {python}; {instead}"]
    assert "going on: it is free" in log
    assert site.refresh().success


def test_dbt_runs_again_where_somebody_opened_the_file_before_it_did(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.kafka.add(10)
    assert site.refresh().success
    people: list[Session] = []
    whole = Dbt.cli

    def cli(self: Dbt, *args: object, **options: object) -> object:
        if not people:  # opened between our look at the file and dbt's own
            people.append(Session(site.settings.warehouse_path))
        return whole(self, *args, **options)  # type: ignore[arg-type]

    def end_it() -> None:
        people[0].end()

    monkeypatch.setattr(Dbt, "cli", cli)
    watcher = site.when_told("waiting:", end_it)
    site.kafka.add(5)
    result = site.refresh()
    watcher.join()
    assert result.success
    assert len(people) == 1
    with session(site.settings.readers_copy_path) as reader:
        assert reader.ask("select count(*) from staging.frames") == "[(15,)]"


def test_a_reader_killed_in_the_middle_leaves_nothing_behind(site: Site) -> None:
    site.kafka.add(10)
    assert site.refresh().success
    reader = Session(site.settings.readers_copy_path)
    reader.process.kill()
    reader.process.wait(30)
    reader.process.stdin.close()  # type: ignore[union-attr]
    reader.process.stdout.close()  # type: ignore[union-attr]
    site.kafka.add(1)
    assert site.refresh().success
    with session(site.settings.readers_copy_path) as late:
        assert late.ask("select count(*) from raw.frame") == "[(11,)]"
    assert [path.name for path in site.settings.readers_copy_path.parent.iterdir()] == ["warehouse.duckdb"]


def test_the_documented_session_reads_while_a_run_writes(site: Site) -> None:
    """The Python block of docs/data.md, as it stands there, in a process of its own while a refresh is under way."""
    site.kafka.add(10)
    assert site.refresh().success
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "data.md").read_text(), re.DOTALL)
    done = threading.Event()
    answers: list[subprocess.CompletedProcess[str]] = []

    def read() -> None:
        while not done.is_set():
            answers.append(
                subprocess.run(
                    [sys.executable, "-c", snippet],
                    capture_output=True,
                    text=True,
                    timeout=WAIT_S,
                    check=False,
                    env={"MLIOT_HOME": str(site.settings.home), "PATH": ""},
                    cwd=ROOT,
                )
            )

    reader = threading.Thread(target=read)
    reader.start()
    site.kafka.add(5)
    result = site.refresh()
    done.set()
    reader.join()
    assert result.success
    assert answers
    assert {(answer.returncode, answer.stderr) for answer in answers} == {(0, "")}
