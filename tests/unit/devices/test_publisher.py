import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.outgoing import Outgoing
from devices.publisher import Publisher
from mliot.clock import ManualClock
from mliot.errors import Transient
from mliot.journal import Acknowledged, Journal, read_journals
from mliot.mqtt import MqttClient


class Broker:
    """An MQTT client whose broker confirms only when it is waited for, and is away for the first ``away_for`` attempts."""

    broker = "test:1"
    away: str | None = None

    def __init__(self, away_for: int = 0) -> None:
        self.away_for = away_for
        self.on_the_way: list[tuple[bytes, Callable[[], None]]] = []
        self.together: list[list[bytes]] = []

    @property
    def unconfirmed(self) -> int:
        return len(self.on_the_way)

    def publish(self, _topic: str, message: bytes, *, confirmed: Callable[[], None], wait_s: float) -> None:
        if self.away_for:
            self.away_for -= 1
            raise Transient("away")
        self.on_the_way.append((message, confirmed))

    def drain(self, wait_s: float) -> int:
        if self.on_the_way:
            self.together.append([message for message, _ in self.on_the_way])
        for _, confirmed in self.on_the_way:
            confirmed()
        self.on_the_way.clear()
        return 0


def publisher(broker: Broker, journal: Journal, stop: threading.Event | None = None, apart_ms: int = 100) -> Publisher:
    return Publisher(cast(MqttClient, broker), journal, ManualClock(7), stop or threading.Event(), apart_ms=apart_ms)


def at(event_ms: int, *, broken: bool = False) -> Outgoing:
    return Outgoing(event_ms, "t", b"%d" % event_ms, f"d@{event_ms}", broken)


@given(st.lists(st.integers(0, 2000), min_size=1).map(sorted), st.integers(0, 300))
def test_messages_on_their_way_together_are_never_further_apart(times: list[int], apart_ms: int) -> None:
    broker = Broker()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "write", lambda *_: None)
        patch.setattr(Journal, "__init__", lambda *_: None)
        sender = publisher(broker, Journal(Path(), "p"), apart_ms=apart_ms)
        assert sender.send_all(map(at, times))
        sender.drain()
    assert [int(message) for group in broker.together for message in group] == times
    assert all(int(group[-1]) - int(group[0]) <= apart_ms for group in broker.together)


def test_only_what_the_broker_confirmed_is_in_the_journal(tmp_path: Path) -> None:
    broker = Broker()
    with Journal(tmp_path, "p") as journal:
        sender = publisher(broker, journal)
        sender.send_all([at(10), at(20, broken=True)])
        assert list(read_journals(tmp_path)) == []
        sender.drain()
    assert list(read_journals(tmp_path)) == [Acknowledged("frame", "d@10", "t", 7), Acknowledged("dead", "d@20", "t", 7)]
    assert (sender.acked, sender.acked_event_ms) == (2, 20)


def test_a_broker_that_is_away_is_waited_for(tmp_path: Path) -> None:
    broker = Broker(away_for=3)
    with Journal(tmp_path, "p") as journal:
        assert publisher(broker, journal).send(at(1))
    assert broker.unconfirmed == 1


def test_a_stop_ends_the_waiting(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with Journal(tmp_path, "p") as journal:
        assert not publisher(Broker(away_for=1), journal, stop).send_all([at(1)])
