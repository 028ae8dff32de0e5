"""What a service says of itself, and that it can always be asked."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from mliot.clock import Deadline, SystemClock
from mliot.errors import PortTaken
from mliot.listener import MAX_CONNECTIONS
from mliot.services import ServiceStatus, listening, metrics_port
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


class TestListening:
    def test_health_and_metrics_answer_and_anything_else_is_not_found(self, settings: Settings) -> None:
        with listening(ServiceStatus("bridge"), settings):
            assert get(settings).json()["state"] == "starting"
            assert 'mliot_up{service="bridge"} 0.0' in get(settings, "/metrics").text

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
