"""The model store: what is saved comes back, aliases move whole and on record, also after a crash and with many movers."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import run
from sys import executable

import msgspec
import numpy as np
import pytest

from learning.scoring import Scorer
from learning.store import Aliases, ModelStore
from mliot.clock import ManualClock
from mliot.errors import UserError
from usecases import load_use_cases

FAN = load_use_cases()["fan_speed"]
FLOW = load_use_cases()["water_flow"]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> ModelStore:
    return ModelStore(tmp_path / "models", clock)


def test_a_saved_model_comes_back_and_answers(store: ModelStore, save_constant_model) -> None:
    version = save_constant_model(store, FAN, 2)
    assert version.startswith("20251124-160000-")
    stored = store.get("fan_speed", version)
    assert stored.card.columns == FAN.columns
    scores = Scorer(stored.onnx_path, kind="classification", columns=len(FAN.columns)).score(
        np.full((3, len(FAN.columns)), np.nan, np.float32)
    )
    assert scores.values.tolist() == [2, 2, 2]
    assert scores.probabilities is not None
    assert scores.probabilities.tolist() == [0.75] * 3


@pytest.mark.parametrize(("use_case", "old"), [(FAN, "class"), (FLOW, "number")], ids=["class", "number"])
def test_a_card_with_a_kind_s_old_name_is_read_with_the_new_one(store: ModelStore, save_constant_model, use_case, old: str) -> None:
    version = save_constant_model(store, use_case, 2)
    path = store.get(use_case.name, version).onnx_path.with_name("card.json")
    path.write_text(path.read_text().replace(f'"kind":"{use_case.kind}"', f'"kind":"{old}"'))
    assert f'"kind":"{old}"' in path.read_text()
    stored = store.get(use_case.name, version)
    assert stored.card.kind == use_case.kind
    scorer = Scorer(stored.onnx_path, kind=stored.card.kind, columns=len(use_case.columns))
    assert scorer.score(np.zeros((1, len(use_case.columns)), np.float32)).values.tolist() == [2.0]


def test_the_same_model_has_the_same_version_and_another_has_another(store: ModelStore, save_constant_model) -> None:
    first, again, other = (save_constant_model(store, FAN, answer) for answer in (1, 1, 2))
    assert first == again != other
    assert store.versions("fan_speed") == sorted([first, other])


def test_bentoml_lists_it(store: ModelStore, save_constant_model, tmp_path: Path) -> None:
    version = save_constant_model(store, FAN, 1)
    from bentoml._internal.models import ModelStore as BentoModels

    listed = BentoModels(tmp_path / "models" / "models").list("fan_speed")
    assert [str(model.tag) for model in listed] == [f"fan_speed:{version}"]
    assert listed[0].info.metadata["feature_version"] == "feature-1"


def test_no_pickle_is_written(store: ModelStore, save_constant_model, tmp_path: Path) -> None:
    save_constant_model(store, FAN, 1)
    names = {path.name for path in (tmp_path / "models" / "models").rglob("*") if path.is_file()}
    assert names == {"model.onnx", "card.json", "model.yaml", "latest"}


def test_aliases_move_on_record(store: ModelStore, clock: ManualClock, save_constant_model) -> None:
    first, second = save_constant_model(store, FAN, 1), save_constant_model(store, FAN, 2)
    assert store.in_charge("fan_speed") is None
    store.move("fan_speed", "champion", first, who="gate", why="first")
    clock.advance(1000)
    store.move("fan_speed", "challenger", second, who="gate", why="shadow")
    clock.advance(1000)
    store.move("fan_speed", "champion", second, who="ada", why="better")
    store.move("fan_speed", "challenger", None, who="ada", why="promoted")

    champion = store.in_charge("fan_speed")
    assert champion is not None
    assert champion.version == second
    assert store.in_charge("fan_speed", "challenger") is None
    moves = store.history("fan_speed")
    assert [(move.alias, move.was, move.now, move.who, move.why) for move in moves] == [
        ("champion", None, first, "gate", "first"),
        ("challenger", None, second, "gate", "shadow"),
        ("champion", first, second, "ada", "better"),
        ("challenger", second, None, "ada", "promoted"),
    ]
    assert [move.at_ms - moves[0].at_ms for move in moves] == [0, 1000, 2000, 2000]
    assert moves[2].metrics == {"macro_f1": 0.5}
    assert moves[2].data is not None
    assert store.use_cases() == ["fan_speed"]


def test_an_alias_stands_only_for_what_is_stored(store: ModelStore) -> None:
    with pytest.raises(UserError, match="no model 20251124-160000-00000000 of fan_speed is stored"):
        store.move("fan_speed", "champion", "20251124-160000-00000000", who="x", why="y")
    assert store.history("fan_speed") == []


@pytest.mark.parametrize("name", ["../fan_speed", "fan_speed/..", "", "Fan", "a" * 41])
def test_names_cannot_leave_the_store(store: ModelStore, name: str) -> None:
    with pytest.raises(UserError, match="is not a use case's name or a version"):
        store.alias_path(name)
    with pytest.raises(UserError, match="is not a use case's name or a version"):
        store.get("fan_speed", name)


def test_a_crash_between_alias_and_history_loses_no_move(store: ModelStore, tmp_path: Path, save_constant_model) -> None:
    first, second = save_constant_model(store, FAN, 1), save_constant_model(store, FAN, 2)
    store.move("fan_speed", "champion", first, who="gate", why="first")
    lines = tmp_path / "models" / "history" / "fan_speed.jsonl"
    before = lines.read_bytes()
    store.move("fan_speed", "champion", second, who="gate", why="second")
    lines.write_bytes(before + lines.read_bytes()[len(before) : len(before) + 10])  # the second line cut short

    assert [move.why for move in store.history("fan_speed")] == ["first", "second"]
    store.move("fan_speed", "champion", first, who="gate", why="third")
    assert [move.why for move in store.history("fan_speed")] == ["first", "second", "third"]
    assert len(lines.read_bytes().splitlines()) == 3


def test_many_movers_leave_one_unbroken_history(store: ModelStore, save_constant_model) -> None:
    versions = [save_constant_model(store, FAN, answer) for answer in (0, 1, 2, 3)]

    def move(turn: int) -> None:
        store.move("fan_speed", "champion", versions[turn % 4], who=f"mover-{turn}", why="race")

    with ThreadPoolExecutor(8) as movers:
        list(movers.map(move, range(40)))
    moves = store.history("fan_speed")
    assert {move.who for move in moves} == {f"mover-{turn}" for turn in range(40)}
    assert [move.was for move in moves[1:]] == [move.now for move in moves[:-1]]
    champion = store.in_charge("fan_speed")
    assert champion is not None
    assert champion.version == moves[-1].now


def test_a_reader_never_sees_half_an_alias_file(store: ModelStore, save_constant_model) -> None:
    versions = [save_constant_model(store, FAN, answer) for answer in (0, 1)]
    store.move("fan_speed", "champion", versions[0], who="x", why="y")
    with ThreadPoolExecutor(1) as mover:
        moving = mover.submit(lambda: [store.move("fan_speed", "champion", versions[n % 2], who="x", why="y") for n in range(50)])
        seen = set()
        while not moving.done():
            pointer = store.aliases("fan_speed").champion
            assert pointer is not None
            seen.add(pointer.version)
        moving.result()
    assert seen <= set(versions)


def test_a_card_that_is_no_card_is_named(store: ModelStore, save_constant_model) -> None:
    stored = store.get("fan_speed", save_constant_model(store, FAN, 1))
    (stored.onnx_path.parent / "card.json").write_text('{"use_case": 1}')
    with pytest.raises(UserError, match=r"card.json: is not a model card: .*use_case"):
        store.get("fan_speed", stored.version)


def test_aliases_survive_unknown_fields_of_a_later_release() -> None:
    assert msgspec.json.decode(b'{"champion": null, "canary": {"version": "x"}}', type=Aliases) == Aliases()


def test_readers_do_not_import_bentoml() -> None:
    code = "import sys, learning.store, learning.scoring; sys.exit('bentoml' in sys.modules)"
    assert run([executable, "-c", code], env=dict(os.environ), check=False).returncode == 0
