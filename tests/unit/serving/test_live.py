"""The models in memory follow the aliases, and a model that cannot be loaded takes nobody's place."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from learning.store import ModelStore
from mliot.clock import ManualClock
from serving.live import RETRY_S, LiveModels
from usecases import load_use_cases

FAN = load_use_cases()["fan_speed"]
FLOW = load_use_cases()["water_flow"]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> ModelStore:
    return ModelStore(tmp_path, clock)


@pytest.fixture
def live(store: ModelStore, clock: ManualClock) -> LiveModels:
    return LiveModels(store, clock)


def in_charge(live: LiveModels) -> dict[tuple[str, str], str]:
    return {(model.card.use_case, model.alias): model.version for model in live.all()}


def test_an_empty_store_has_no_models(live: LiveModels) -> None:
    live.refresh()
    assert live.all() == []
    assert live.get("fan_speed", "champion") is None


def test_models_follow_their_aliases(live: LiveModels, store: ModelStore, save_constant_model) -> None:
    first, second, flow = (save_constant_model(store, *pair) for pair in ((FAN, 1), (FAN, 2), (FLOW, 5.0)))
    store.move("fan_speed", "champion", first, who="t", why="t")
    store.move("water_flow", "champion", flow, who="t", why="t")
    live.refresh()
    assert in_charge(live) == {("fan_speed", "champion"): first, ("water_flow", "champion"): flow}

    kept = live.get("fan_speed", "champion")
    store.move("fan_speed", "challenger", second, who="t", why="t")
    live.refresh()
    assert in_charge(live)["fan_speed", "challenger"] == second
    champion = live.get("fan_speed", "champion")
    assert champion is not None
    assert kept is not None
    assert champion.scorer is kept.scorer, "a model that stays is not loaded again"

    store.move("fan_speed", "champion", second, who="t", why="t")
    store.move("fan_speed", "challenger", None, who="t", why="t")
    live.refresh()
    assert in_charge(live) == {("fan_speed", "champion"): second, ("water_flow", "champion"): flow}


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_in_charge(
    live: LiveModels, store: ModelStore, clock: ManualClock, save_constant_model
) -> None:
    first, second = save_constant_model(store, FAN, 1), save_constant_model(store, FAN, 2)
    store.move("fan_speed", "champion", first, who="t", why="t")
    live.refresh()
    whole = store.get("fan_speed", second).onnx_path.read_bytes()
    store.get("fan_speed", second).onnx_path.write_bytes(whole[:100])
    store.move("fan_speed", "champion", second, who="t", why="t")
    with capture_logs() as logged:
        for _ in range(3):
            live.refresh()
            clock.advance(int(RETRY_S * 1000))
    assert in_charge(live) == {("fan_speed", "champion"): first}
    assert "is not an ONNX model" in (live.failure("fan_speed", "champion") or "")
    assert [line["log_level"] for line in logged] == ["warning"], "said once, not at every try"

    store.get("fan_speed", second).onnx_path.write_bytes(whole)
    live.refresh()
    assert in_charge(live) == {("fan_speed", "champion"): second}
    assert live.failure("fan_speed", "champion") is None
    assert live.faults() == {}


def test_a_failed_load_is_not_tried_again_at_once(
    live: LiveModels, store: ModelStore, save_constant_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = save_constant_model(store, FAN, 1)
    store.move("fan_speed", "champion", version, who="t", why="t")
    store.get("fan_speed", version).onnx_path.write_bytes(b"no model")
    asked = []
    get = store.get
    monkeypatch.setattr(store, "get", lambda *names: asked.append(names) or get(*names))
    live.refresh()
    live.refresh()
    assert len(asked) == 1


def test_a_model_of_another_shape_is_not_loaded(live: LiveModels, store: ModelStore, save_constant_model) -> None:
    version = save_constant_model(store, FAN, 1, columns=("temperature_avg",))
    store.move("fan_speed", "champion", version, who="t", why="t")
    live.refresh()
    assert live.all() == []
    assert "over 1 columns" in (live.failure("fan_speed", "champion") or "")


def test_a_spoilt_alias_file_stops_nobody_else(live: LiveModels, store: ModelStore, save_constant_model) -> None:
    for use_case in (FAN, FLOW):
        store.move(use_case.name, "champion", save_constant_model(store, use_case, 1), who="t", why="t")
    store.alias_path("fan_speed").write_text("{")
    live.refresh()
    assert [model.card.use_case for model in live.all()] == ["water_flow"]
    assert "does not say where the aliases stand" in (live.failure("fan_speed", "champion") or "")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda folder: (folder / "Copy of fan_speed.json").write_text("{}"), id="a stray file"),
        pytest.param(lambda folder: (folder / "notes.txt").write_bytes(b"\xff"), id="a note"),
        pytest.param(lambda folder: (folder / "attic.json").mkdir(), id="a folder in an alias file's place"),
        pytest.param(lambda folder: (folder / "attic.json").write_bytes(b'{"champion": {"version": "2025'), id="a truncated alias"),
        pytest.param(lambda folder: (folder / "attic.json").write_bytes(b"[" * 100_000), id="a bottomless alias"),
        pytest.param(lambda folder: (folder / "attic.json").write_bytes(b"\xff\xfe"), id="no text"),
        pytest.param(
            lambda folder: (folder / "attic.json").write_text('{"champion": {"version": "20251124-160000-00000000", "since_ms": 1}}'),
            id="an alias to a missing version",
        ),
        pytest.param(
            lambda folder: (folder / "attic.json").write_text('{"champion": {"version": "../../secret", "since_ms": 1}}'),
            id="an alias to what is no version",
        ),
    ],
)
def test_what_cannot_be_read_is_named_once_and_the_rest_is_served(
    live: LiveModels, store: ModelStore, clock: ManualClock, save_constant_model, spoil: Callable[[Path], object]
) -> None:
    first, second = save_constant_model(store, FAN, 1), save_constant_model(store, FAN, 2)
    store.move("fan_speed", "champion", first, who="t", why="t")
    before = {path.name for path in store.alias_path("fan_speed").parent.iterdir()}
    spoil(store.alias_path("fan_speed").parent)
    (spoilt,) = {path.name for path in store.alias_path("fan_speed").parent.iterdir()} - before
    with capture_logs() as logged:
        for _ in range(3):
            live.refresh()
            clock.advance(int(RETRY_S * 1000) + 1)
    ((subject, reason),) = live.faults().items()
    assert subject in (f"aliases/{spoilt}", "attic", "attic/champion")
    assert reason
    assert [line["log_level"] for line in logged if line["event"] != "model loaded"] == ["warning"]
    store.move("fan_speed", "champion", second, who="t", why="t")
    live.refresh()
    assert in_charge(live) == {("fan_speed", "champion"): second}


def test_a_thread_that_meets_a_stray_file_follows_the_aliases_on(live: LiveModels, store: ModelStore, save_constant_model) -> None:
    first, second = save_constant_model(store, FAN, 1), save_constant_model(store, FAN, 2)
    store.move("fan_speed", "champion", first, who="t", why="t")
    live.start()
    try:
        (store.alias_path("fan_speed").parent / "Notes of mine.json").write_text("{}")
        wait_for(lambda: "aliases/Notes of mine.json" in live.faults())
        store.move("fan_speed", "champion", second, who="t", why="t")
        wait_for(lambda: in_charge(live) == {("fan_speed", "champion"): second})
    finally:
        live.stop()


def wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up, "not within 30 s"
        time.sleep(0.01)


def test_a_spoilt_challenger_takes_no_champion_away(live: LiveModels, store: ModelStore, save_constant_model) -> None:
    first, second = save_constant_model(store, FAN, 1), save_constant_model(store, FAN, 2)
    store.move("fan_speed", "champion", first, who="t", why="t")
    store.move("fan_speed", "challenger", second, who="t", why="t")
    store.get("fan_speed", second).onnx_path.write_bytes(b"no model")
    live.refresh()
    assert in_charge(live) == {("fan_speed", "champion"): first}
    assert list(live.faults()) == ["fan_speed/challenger"]


def test_a_removed_alias_file_stands_for_nothing_as_it_would_after_a_start(
    live: LiveModels, store: ModelStore, save_constant_model
) -> None:
    for use_case in (FAN, FLOW):
        store.move(use_case.name, "champion", save_constant_model(store, use_case, 1), who="t", why="t")
    live.refresh()
    store.alias_path("fan_speed").unlink()
    live.refresh()
    assert [model.card.use_case for model in live.all()] == ["water_flow"]
    assert live.faults() == {}


def test_a_folder_that_cannot_be_read_takes_nothing_away(
    live: LiveModels, store: ModelStore, save_constant_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = save_constant_model(store, FAN, 1)
    store.move("fan_speed", "champion", version, who="t", why="t")
    live.refresh()

    def refuse(_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as forbidden:
        forbidden.setattr("learning.store.Path.iterdir", refuse)
        live.refresh()
        assert in_charge(live) == {("fan_speed", "champion"): version}
        assert "Permission denied" in live.faults()["aliases"]
        assert "Permission denied" in (live.failure("water_flow", "champion") or ""), "nobody can say that it has no champion"
    live.refresh()
    assert live.faults() == {}


def test_the_thread_ends_when_told(live: LiveModels) -> None:
    live.start()
    live.stop()
    live.stop()
