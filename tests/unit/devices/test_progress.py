from pathlib import Path

import pytest

from devices.progress import DAY_MS, read_progress, resumed, write_progress
from mliot.errors import UserError

NOW_MS = 1_764_000_000_000


def test_a_first_run_has_its_history_before_it() -> None:
    progress = resumed(None, now_ms=NOW_MS, history_days=1.5, replay="water_flow")
    assert (progress.history_from_ms, progress.live_from_ms) == (NOW_MS - DAY_MS * 3 // 2, NOW_MS)
    assert not progress.history_sent
    assert progress.reached(NOW_MS).history_sent


def test_a_restart_goes_on_and_another_replay_begins_now(tmp_path: Path) -> None:
    file = tmp_path / "new" / "fleet.json"
    assert read_progress(file) is None
    write_progress(file, resumed(None, now_ms=NOW_MS, history_days=1, replay="water_flow").reached(NOW_MS + 5))
    found = read_progress(file)
    assert found is not None
    assert resumed(found, now_ms=NOW_MS + 99, history_days=7, replay="water_flow") == found
    other = resumed(found, now_ms=NOW_MS + 99, history_days=7, replay="mine.yaml")
    assert (other.sent_ms, other.replay_from_ms, other.replay_sent_ms) == (NOW_MS + 5, NOW_MS + 99, 0)


def test_progress_never_goes_back() -> None:
    progress = resumed(None, now_ms=NOW_MS, history_days=1, replay="").reached(100)
    assert progress.reached(50) == progress


def test_a_spoilt_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "fleet.json"
    file.write_text('{"history_from_ms": 1}')
    with pytest.raises(UserError, match=r"fleet\.json.*delete it"):
        read_progress(file)
