"""A part that is not well takes no other down."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mliot.errors import Transient, UserError
from mliot.settings import Settings
from stack import lifecycle, postgres, supervise
from stack.health import Health
from stack.plan import Part
from warehouse import dbt


def part(name: str, state: Any = "ok", *needs: str) -> Part:
    return Part(name, "", (), lambda _: Health(state, "" if state == "ok" else "slow"), needs=needs, start_s=0)


class Supervisor:
    """Starts nothing, and says what it was told to start."""

    def __init__(self, told: dict[str, str]) -> None:
        self.started: list[str] = []
        self.well_before: dict[str, list[str]] = {}
        self._told = told

    def start(self, part: Part) -> None:
        self.started.append(part.name)
        self.well_before[part.name] = [name for name, state in self._told.items() if state == "ok"]


def brought_up(
    monkeypatch: pytest.MonkeyPatch, home: Path, *parts: Part, **changed: Any
) -> tuple[lifecycle.Started, Supervisor, dict[str, str], list[str]]:
    """What ``up`` answers, what was started, what it told of each part; and what was taken down."""
    told: dict[str, str] = {}
    supervisor, ended = Supervisor(told), []
    monkeypatch.setattr(lifecycle, "plan", lambda _: parts)
    monkeypatch.setattr(supervise, "running", lambda _: None)
    monkeypatch.setattr(lifecycle, "_start_supervisor", lambda *_: supervisor)
    monkeypatch.setattr(lifecycle, "down", lambda _: ended.append("down"))
    monkeypatch.setattr(dbt, "check_declarations", lambda _: None)
    monkeypatch.setattr(postgres, "make_password", lambda _: "")
    settings = Settings(_env_file=None, home=home, **changed)
    try:
        started = lifecycle.up(settings, [], lambda one, health: told.update({one.name: health.state}))
    finally:
        told["ended"] = " ".join(ended)
    return started, supervisor, told, ended


def test_a_part_that_is_not_well_is_named_and_the_others_stay_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parts = (part("store"), part("page", "away", "store"), part("bridge", "waiting", "store"), part("link", "ok", "page"))
    started, supervisor, told, ended = brought_up(monkeypatch, tmp_path, *parts)
    assert ended == []
    assert [one.name for one in started.well] == ["store", "bridge"]
    assert started.not_well == {
        "page": "page is not well after 0 s: slow; see mliot logs page",
        "link": "link is not started, since it needs page",
    }
    assert (supervisor.started[0], sorted(supervisor.started)) == ("store", ["bridge", "page", "store"])
    assert supervisor.well_before["page"] == ["store"]
    assert told == {"store": "ok", "page": "away", "bridge": "waiting", "link": "stopped", "ended": ""}


def test_a_part_in_which_nothing_can_be_made_is_not_well_either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def away(_: Settings) -> None:
        raise Transient("its topics cannot be made")

    started, _, _, ended = brought_up(monkeypatch, tmp_path, part("store"), replace(part("log"), ready=away))
    assert (dict(started.not_well), ended) == ({"log": "its topics cannot be made"}, [])


def test_where_nothing_is_well_there_is_nothing_to_leave_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="store is not well after 0 s"):
        brought_up(monkeypatch, tmp_path, part("store", "away"), part("page", "ok", "store"))


def test_a_decoder_that_is_wrong_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def begun(_: Settings) -> None:
        raise AssertionError("the store was begun")

    (tmp_path / "acme.py").write_text("TOPICS = ('acme/up',)\ndef decode(topic, message)\n    return []\n")
    with pytest.raises(UserError, match=r"acme\.py: line 2: expected ':'"):
        brought_up(monkeypatch, tmp_path, replace(part("store"), prepare=begun), decoders=tmp_path)


def test_a_codec_folder_that_is_none_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: is not a folder of codecs \(MLIOT_CODECS\)"):
        brought_up(monkeypatch, tmp_path, part("store"), codecs=tmp_path / "nowhere")
