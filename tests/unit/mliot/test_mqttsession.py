"""A session that the broker no longer has is told; one that was never there is none that was lost."""

import json
from pathlib import Path

import pytest

from mliot.clock import ManualClock
from mliot.mqttsession import TOLD_FOR_MS, KnownSession
from mliot.services import ServiceStatus

BROKER = "127.0.0.1:11883"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def known(folder: Path, clock: ManualClock, broker: str = BROKER) -> KnownSession:
    """The session as a process that starts now knows it."""
    return KnownSession(folder, "mliot-bridge-0", broker, clock)


def test_the_first_start_ever_has_lost_nothing(tmp_path: Path, clock: ManualClock) -> None:
    session = known(tmp_path, clock)
    session.resumed(False)
    assert session.notice() is None


def test_a_start_that_ended_before_it_had_subscribed_had_no_session_to_lose(tmp_path: Path, clock: ManualClock) -> None:
    known(tmp_path, clock).resumed(False)
    again = known(tmp_path, clock)
    again.resumed(False)
    assert again.notice() is None


def test_a_session_that_is_there_again_is_no_problem(tmp_path: Path, clock: ManualClock) -> None:
    known(tmp_path, clock).subscribed()
    again = known(tmp_path, clock)
    again.resumed(True)
    assert again.notice() is None


@pytest.mark.parametrize("restarted", [True, False])
def test_a_lost_session_is_told_for_a_day_also_after_a_restart(tmp_path: Path, clock: ManualClock, restarted: bool) -> None:
    session = known(tmp_path, clock)
    session.subscribed()
    if restarted:
        session = known(tmp_path, clock)
    session.resumed(False)
    session.subscribed()
    lost_ms = clock.now_ms()
    for told in (session, known(tmp_path, clock)):
        notice = told.notice()
        assert notice is not None
        assert (BROKER in notice[0], "mliot-bridge-0" in notice[0], notice[1]) == (True, True, lost_ms)
    clock.advance(TOLD_FOR_MS + 1)
    assert known(tmp_path, clock).notice() is None


def test_another_brokers_session_is_another_one(tmp_path: Path, clock: ManualClock) -> None:
    known(tmp_path, clock).subscribed()
    moved = known(tmp_path, clock, "broker:1883")
    moved.resumed(False)
    assert moved.notice() is None


def test_a_note_that_cannot_be_read_is_taken_for_a_session(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "mliot-bridge-0.json").write_text("{")
    session = known(tmp_path, clock)
    session.resumed(False)
    assert session.notice() is not None


def test_a_note_that_cannot_be_written_ends_nothing(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "mliot-bridge-0.new").mkdir()
    session = known(tmp_path, clock)
    session.subscribed()
    session.resumed(False)
    assert session.notice() is not None


def test_the_service_shows_it(tmp_path: Path, clock: ManualClock) -> None:
    session = known(tmp_path, clock)
    status = ServiceStatus("bridge", clock, session.notice)
    status.ok()
    assert (status.snapshot()["notice"], status.snapshot()["notice_ms"]) == ("", None)
    session.subscribed()
    session.resumed(False)
    shown = status.snapshot()
    assert (shown["state"], shown["notice_ms"]) == ("ok", clock.now_ms())
    assert "session mliot-bridge-0" in shown["notice"]
    assert json.dumps(shown)
    assert {sample.name: sample.value for metric in status.collect() for sample in metric.samples}["mliot_notice"] == 1
