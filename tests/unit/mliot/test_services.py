"""What a service says of itself, and that it can always be asked."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mliot import services
from mliot.clock import Deadline, ManualClock, SystemClock
from mliot.errors import PortTaken
from mliot.listener import MAX_CONNECTIONS
from mliot.services import STALLED_S, Progress, ServiceStatus, listening, metrics_port
from mliot.settings import HOST, Settings

CLIENTS = 200
PROMPT_S = 3.0


@pytest.fixture
def settings(free_ports: Callable[[int], list[int]]) -> Settings:
    return Settings(_env_file=None, metrics_port=free_ports(1)[0])


@contextmanager
def clients(settings: Settings, send: bytes, count: int = CLIENTS) -> Iterator[list[socket.socket]]:
    """So many connections that each send ``send``, which is no whole request, and then nothing."""
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(stack.enter_context(socket.create_connection((HOST, metrics_port(settings, "bridge")), PROMPT_S)))
            made[-1].sendall(send)
        yield made


def get(settings: Settings, path: str = "/health") -> httpx.Response:
    return httpx.get(f"http://{HOST}:{metrics_port(settings, 'bridge')}{path}", timeout=PROMPT_S, trust_env=False)


class TestProgress:
    def test_who_is_behind_and_reads_nothing_stands_still_after_a_while(self) -> None:
        progress = Progress(0.0).after(1.0, lag=72_000)
        assert progress.stalled(STALLED_S - 1, 72_000) == ""
        assert progress.stalled(45.0, 72_000) == "stands still: nothing was read for 45 s, 72,000 records are waiting"

    @pytest.mark.parametrize("lag", [0, None], ids=["nothing waits", "what waits is not known"])
    def test_nobody_stands_still_where(self, lag: int | None) -> None:
        assert Progress(0.0).stalled(10**6, lag) == ""

    @pytest.mark.parametrize(("lag", "read"), [(0, 0), (9, 0), (50, 1)], ids=["nothing is left", "less is left", "something was read"])
    def test_it_gets_further_where(self, lag: int, read: int) -> None:
        assert Progress(0.0, 10).after(60.0, lag=lag, read=read) == Progress(60.0, lag)

    def test_reading_the_same_again_and_again_is_no_progress(self) -> None:
        """A service that cannot commit what it reads begins anew: its lag goes up and down."""
        progress = Progress(0.0, 72_000)
        for second in range(1, 100):
            progress = progress.after(second, lag=70_000 if second % 2 else 72_000)
        assert progress.at == 1.0

    @given(st.lists(st.tuples(st.integers(1, 20), st.none() | st.integers(0, 5), st.integers(0, 2)), max_size=30))
    def test_it_stands_still_only_where_nothing_was_read_and_something_waited_all_the_time(self, course: list) -> None:
        progress, now, read_at, free_at, lag = Progress(0.0), 0, 0, 0, None
        for seconds, lag, read in course:
            now += seconds
            progress = progress.after(now, lag=lag, read=read)
            read_at, free_at = (now if read else read_at), (free_at if lag else now)
        if progress.stalled(now, lag):
            assert now - max(read_at, free_at) > STALLED_S
            assert lag


class TestStatus:
    def test_a_service_that_stands_still_is_not_well(self) -> None:
        clock = ManualClock()
        status = ServiceStatus("online", clock)
        status.ok()
        status.count({"read": 10})
        status.lag(500)
        assert status.snapshot()["state"] == "ok"
        clock.advance(31_000)
        status.lag(900)
        told = status.snapshot()
        assert (told["state"], told["lag"]) == ("stalled", 900)
        assert told["stalled"] == "stands still: nothing was read for 31 s, 900 records are waiting"
        assert up(status) == 0
        status.count({"read": 1})
        assert (status.snapshot()["state"], up(status)) == ("ok", 1)

    def test_a_problem_keeps_it_from_being_ok_until_it_is_over(self) -> None:
        status = ServiceStatus("commands", ManualClock(0))
        status.ok()
        status.problem("room-1-fan hears nothing")
        assert said(status) == ("waiting", "room-1-fan hears nothing")
        status.error("rewound: a rebalance")
        assert said(status) == ("waiting", "room-1-fan hears nothing"), "what is wrong now, not what was last"
        status.waiting("Kafka is away")
        assert said(status) == ("waiting", "Kafka is away")
        status.ok()
        status.problem("room-1-fan hears nothing")
        assert status.snapshot()["counts"]["errors"] == 3, "said once as long as it is the same"
        status.problem("")
        assert said(status)[0] == "ok"

    def test_a_part_that_is_away_is_the_better_reason(self) -> None:
        clock = ManualClock()
        status = ServiceStatus("online", clock)
        status.lag(500)
        clock.advance(60_000)
        status.waiting("Kafka is away")
        assert status.snapshot()["state"] == "waiting"

    def test_a_lag_that_is_not_known_is_no_zero(self) -> None:
        status = ServiceStatus("bridge", ManualClock())
        assert status.snapshot()["lag"] is None
        assert "mliot_lag_records" not in {metric.name for metric in status.collect()}
        status.lag(0)
        assert status.snapshot()["lag"] == 0
        assert "mliot_lag_records" in {metric.name for metric in status.collect()}


class TestRemarks:
    def test_devices_whose_clocks_run_ahead_are_named_the_furthest_first_and_forgotten_once_they_are_right(self) -> None:
        clock = ManualClock()
        status = ServiceStatus("bridge", clock)
        status.ahead({"slightly": 1_500, "far": 299_000})
        assert status.snapshot()["ahead_ms"] == {"far": 299_000, "slightly": 1_500}
        assert status.snapshot()["remarks"] == ["the clock of far is 299 s ahead, 1 more device is ahead too"]
        clock.advance(services.AHEAD_FOR_S * 1000)
        status.ahead({"slightly": 1_400})
        assert status.snapshot()["ahead_ms"] == {"slightly": 1_400}

    def test_however_many_devices_run_ahead_only_the_newest_are_remembered(self) -> None:
        status = ServiceStatus("bridge", ManualClock())
        for number in range(services.MAX_AHEAD + 5):
            status.ahead({f"device-{number}": 2_000 + number})
        status.ahead({"device-5": 1_000_000})
        assert len(status._ahead) == services.MAX_AHEAD
        told = status.snapshot()["ahead_ms"]
        assert len(told) == services.TOLD_AHEAD
        assert next(iter(told)) == "device-5"

    def test_the_share_of_late_frames_is_said_where_there_are_any(self) -> None:
        status = ServiceStatus("features", ManualClock())
        status.count({"read": 100, "used": 100})
        assert status.snapshot()["remarks"] == []
        status.count({"read": 100, "used": 90, "late": 10, "late_for_shortest": 5})
        assert status.snapshot()["remarks"] == ["7.50% of the frames came late for a window (15)"]


def said(status: ServiceStatus) -> tuple[object, object]:
    now = status.snapshot()
    return now["state"], now["waits_for"]


def up(status: ServiceStatus) -> float:
    (metric,) = (metric for metric in status.collect() if metric.name == "mliot_up")
    return metric.samples[0].value


class TestListening:
    def test_health_and_metrics_answer_and_anything_else_is_not_found(self, settings: Settings) -> None:
        with listening(ServiceStatus("bridge"), settings):
            assert get(settings).json()["state"] == "starting"
            assert 'mliot_up{service="bridge"} 0.0' in get(settings, "/metrics").text

    @pytest.mark.parametrize(
        ("header", "value"), [("Host", "evil.example"), ("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")]
    )
    @pytest.mark.parametrize("path", ["/health", "/metrics"])
    def test_a_page_of_another_site_is_told_nothing(self, settings: Settings, path: str, header: str, value: str) -> None:
        url = f"http://{HOST}:{metrics_port(settings, 'bridge')}{path}"
        with listening(ServiceStatus("bridge"), settings):
            answer = httpx.get(url, headers={header: value}, timeout=PROMPT_S, trust_env=False)
        assert answer.status_code in (403, 421)
        assert "bridge" not in answer.text

    def test_a_port_that_is_taken_is_named_with_its_setting(self, settings: Settings) -> None:
        again = listening(ServiceStatus("bridge"), settings)
        with listening(ServiceStatus("bridge"), settings), pytest.raises(PortTaken, match="MLIOT_METRICS_PORT"):
            again.__enter__()

    @pytest.mark.parametrize("send", [b"", b"GET /hea"], ids=["silent", "slow"])
    def test_clients_that_send_no_whole_request_block_nobody_nor_the_stop(self, settings: Settings, send: bytes) -> None:
        clock = SystemClock()
        with ExitStack() as after:
            with listening(ServiceStatus("bridge"), settings):
                after.enter_context(clients(settings, send))
                for path in ("/health", "/metrics"):
                    assert get(settings, path).status_code == 200
                stopped = clock.monotonic()
            assert clock.monotonic() - stopped < PROMPT_S

    def test_a_client_that_sends_a_byte_now_and_then_is_ended(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mliot.listener.MAX_REQUEST_S", 0.5)
        with listening(ServiceStatus("bridge"), settings), clients(settings, b"GET ", 1) as (slow,):
            slow.settimeout(0.05)
            deadline = Deadline.after(SystemClock(), 10 * PROMPT_S)
            while not ended(slow):
                assert not deadline.passed(), "the connection is kept for ever"

    def test_its_connections_are_bounded(self, settings: Settings) -> None:
        before = threading.active_count()
        with listening(ServiceStatus("bridge"), settings), clients(settings, b"") as made:
            assert get(settings).status_code == 200
            deadline = Deadline.after(SystemClock(), PROMPT_S)
            while threading.active_count() - before > MAX_CONNECTIONS + 1:
                assert not deadline.passed(), f"{threading.active_count() - before} threads"
            made[0].settimeout(PROMPT_S)
            assert made[0].recv(1) == b"", "the oldest made room"

    def test_a_client_that_does_not_read_its_answer_is_ended(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mliot.listener.MAX_REQUEST_S", 0.5)
        status = ServiceStatus("bridge")
        status.count({f"outcome_{n:0100}": 1 for n in range(60_000)})  # more than the sockets buffer
        before = threading.active_count()
        with listening(status, settings), clients(settings, b"GET /health HTTP/1.0\r\n\r\n", 3):
            deadline = Deadline.after(SystemClock(), 10 * PROMPT_S)
            while threading.active_count() - before > 1:
                assert not deadline.passed(), "its thread waits for ever"


def ended(client: socket.socket) -> bool:
    """Sends one more byte; True where the connection is over."""
    try:
        client.sendall(b"x")
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
