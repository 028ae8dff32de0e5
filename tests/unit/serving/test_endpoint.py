"""What the endpoint answers, without HTTP."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from learning.gate import Evidence
from learning.store import ModelStore
from mliot.clock import ManualClock
from mliot.errors import Transient
from serving.counters import Counters
from serving.endpoint import INLINE_ROWS, Endpoint
from serving.entity import NewestFeatures
from serving.live import LiveModels
from serving.problems import Refused
from usecases import load_use_cases

USE_CASES = load_use_cases()
FAN = USE_CASES["fan_speed"]
ROW: dict[str, float | None] = dict.fromkeys(FAN.columns, 1.0)


class MadeFeatures:
    """Stands for the store: answers with one row, with none, or is away."""

    def __init__(self) -> None:
        self.answer: NewestFeatures | Transient | None = None
        self.asked: list[tuple[str, str]] = []

    async def newest(self, model: str, key: str) -> NewestFeatures | None:
        self.asked.append((model, key))
        if isinstance(self.answer, Transient):
            raise self.answer
        return self.answer


class Made:
    """An endpoint over a store in a temporary folder."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock()
        self.store = ModelStore(path, self.clock)
        self.live = LiveModels(self.store, self.clock)
        self.features = MadeFeatures()
        self.counters = Counters(self.live)
        self.endpoint = Endpoint(self.store, self.live, self.features, USE_CASES, counters=self.counters, clock=self.clock)  # type: ignore[arg-type]

    def move(self, alias: str, version: str) -> None:
        self.store.move("fan_speed", alias, version, who="t", why="t")  # type: ignore[arg-type]
        self.live.refresh()


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def refusal(work: Coroutine[Any, Any, object]) -> Refused:
    with pytest.raises(Refused) as refused:
        asyncio.run(work)
    return refused.value


def test_before_the_first_champion_it_says_so(made: Made) -> None:
    refused = refusal(made.endpoint.predict("fan_speed", [ROW], "champion"))
    assert refused.status == 503
    assert str(refused).startswith("there is no champion of fan_speed yet: no candidate was trained; ")


def test_after_a_refusal_of_the_gate_it_says_which_when_and_where_to_look(made: Made, save_constant_model) -> None:
    save_constant_model(made.store, FAN, 1, created_ms=1_763_000_000_000)
    newest = save_constant_model(made.store, FAN, 1)
    refused = refusal(made.endpoint.predict("fan_speed", [ROW], "champion"))
    assert str(refused) == (
        f"there is no champion of fan_speed yet: the gate refused its candidate {newest}, trained at 2025-11-24 16:00:00.000 UTC: "
        "holdout_rows: 10, at least 100: refused; nothing needs to be done: it is trained again once there are more labelled rows; "
        "Dagster tells more at fan_speed/candidate, check passes_gate"
    )
    assert "no model was put beside the champion" in str(refusal(made.endpoint.predict("fan_speed", [ROW], "challenger")))


def test_a_candidate_that_passes_but_is_not_promoted_is_said(made: Made, save_constant_model) -> None:
    save_constant_model(
        made.store, FAN, 1, evidence=Evidence(rows=500, loss=0.1, baseline_loss=0.6, champion_loss=None, parity=0, p99_ms=1, size_mb=1)
    )
    refused = refusal(made.endpoint.predict("fan_speed", [ROW], "champion"))
    assert "passes the gate and is not promoted; Dagster tells why at fan_speed/champion" in str(refused)


def test_a_candidate_whose_card_is_spoilt_is_said(made: Made, save_constant_model) -> None:
    version = save_constant_model(made.store, FAN, 1)
    (made.store.get("fan_speed", version).onnx_path.parent / "card.json").write_text("no")
    refused = refusal(made.endpoint.predict("fan_speed", [ROW], "champion"))
    assert (refused.status, "it cannot be read: " in str(refused)) == (503, True)


def test_an_unknown_use_case_is_told_from_one_without_champion(made: Made) -> None:
    refused = refusal(made.endpoint.predict("fan_sped", [ROW], "champion"))
    assert (refused.status, refused.field) == (404, "use_case")
    assert "there are fan_speed, water_flow" in str(refused)


def test_a_model_that_cannot_be_loaded_is_the_reason(made: Made, save_constant_model) -> None:
    version = save_constant_model(made.store, FAN, 1)
    made.store.get("fan_speed", version).onnx_path.write_bytes(b"no")
    made.move("champion", version)
    assert "cannot be loaded" in str(refusal(made.endpoint.predict("fan_speed", [ROW], "champion")))


@pytest.mark.parametrize("rows", [1, INLINE_ROWS, INLINE_ROWS + 1, 5000])
def test_answers_name_the_versions(made: Made, save_constant_model, rows: int) -> None:
    champion = save_constant_model(made.store, FAN, 1)
    made.move("champion", champion)
    made.move("challenger", save_constant_model(made.store, FAN, 3))
    answer = asyncio.run(made.endpoint.predict("fan_speed", [ROW] * rows, "champion"))
    assert (answer.use_case, answer.model_version, answer.feature_version) == ("fan_speed", champion, "feature-1")
    assert [one.value for one in answer.predictions] == [1] * rows
    shadow = asyncio.run(made.endpoint.predict("fan_speed", [ROW], "challenger"))
    assert shadow.predictions[0].value == 3
    assert f'rows_total{{alias="champion",model_version="{champion}",use_case="fan_speed"}} {rows}' in made.counters.exposition().decode()


def test_a_use_case_without_declaration_is_served_from_its_card(made: Made, save_constant_model) -> None:
    other = FAN.model_copy(update={"name": "later_added", "columns": ("a", "b")})
    made.store.move("later_added", "champion", save_constant_model(made.store, other, 2), who="t", why="t")
    made.live.refresh()
    assert asyncio.run(made.endpoint.predict("later_added", [{"a": 1.0, "b": None}], "champion")).predictions[0].value == 2


def test_an_entity_is_scored_with_its_newest_features_and_their_age(made: Made, save_constant_model) -> None:
    made.move("champion", save_constant_model(made.store, FAN, 2))
    made.features.answer = NewestFeatures("place_1m:000000000@0", made.clock.now_ms() - 61_500, {"temperature_avg": 24.0, "co2_avg": 1.0})
    answer = asyncio.run(made.endpoint.predict_entity("fan_speed", "000000000", "champion"))
    assert made.features.asked == [("features_place_1m", "000000000")]
    assert (answer.feature_id, answer.age_s, answer.predictions[0].value) == ("place_1m:000000000@0", 61.5, 2)
    assert answer.at_ms == made.clock.now_ms() - 61_500


def test_an_entity_without_features_or_out_of_place_is_named(made: Made, save_constant_model) -> None:
    made.move("champion", save_constant_model(made.store, FAN, 2))
    nothing = refusal(made.endpoint.predict_entity("fan_speed", "room-9", "champion"))
    assert (nothing.status, nothing.field) == (404, "place_id")
    foreign = refusal(made.endpoint.predict_entity("fan_speed", "water-1", "champion"))
    assert (foreign.status, foreign.field) == (422, "place_id")


def test_a_store_that_is_away_is_the_reason(made: Made, save_constant_model) -> None:
    made.move("champion", save_constant_model(made.store, FAN, 2))
    made.features.answer = Transient("the store cannot be read: connection refused")
    refused = refusal(made.endpoint.predict_entity("fan_speed", "000000000", "champion"))
    assert (refused.status, str(refused)) == (503, "the store cannot be read: connection refused")


def test_models_lists_both_aliases_and_who_has_no_champion(made: Made, save_constant_model) -> None:
    champion, challenger = save_constant_model(made.store, FAN, 1), save_constant_model(made.store, FAN, 2)
    made.move("champion", champion)
    made.move("challenger", challenger)
    listed = made.endpoint.models()
    assert {(one.use_case, one.alias, one.model_version) for one in listed} == {
        ("fan_speed", "champion", champion),
        ("fan_speed", "challenger", challenger),
        ("water_flow", "champion", None),
    }
    (state,) = [one for one in listed if one.model_version == champion]
    assert (state.columns, state.since_ms, state.waits_for) == (list(FAN.columns), made.clock.now_ms(), "")
    (waiting,) = [one for one in listed if one.use_case == "water_flow"]
    assert waiting.waits_for.startswith("there is no champion yet: no candidate was trained")
    assert waiting.expected
    assert waiting.candidate is None


def test_models_say_which_candidate_was_refused_when_why_and_what_to_do(made: Made, save_constant_model) -> None:
    worse = Evidence(rows=500, loss=0.5, baseline_loss=0.6, champion_loss=0.4, parity=0, p99_ms=1, size_mb=1)
    champion = save_constant_model(made.store, FAN, 1)
    made.move("champion", champion)
    (state,) = [one for one in made.endpoint.models() if one.use_case == "fan_speed"]
    assert state.candidate is None, "the newest one is in charge"
    newest = save_constant_model(made.store, FAN, 2, created_ms=1_764_000_600_000, evidence=worse)
    (state,) = [one for one in made.endpoint.models() if one.use_case == "fan_speed"]
    assert state.candidate is not None
    assert (state.model_version, state.candidate.model_version) == (champion, newest)
    assert (state.candidate.outcome, state.candidate.trained_ms) == ("refused", 1_764_000_600_000)
    assert state.candidate.why.startswith("over_champion: -0.25, more than 0: refused")
    assert state.candidate.advice.startswith("nothing needs to be done: the champion stays")


def test_a_champion_that_cannot_be_loaded_is_no_matter_of_waiting(made: Made, save_constant_model) -> None:
    version = save_constant_model(made.store, FAN, 1)
    made.store.get("fan_speed", version).onnx_path.write_bytes(b"no")
    made.move("champion", version)
    (state,) = [one for one in made.endpoint.models() if one.use_case == "fan_speed"]
    assert (state.model_version, state.expected) == (None, False)
    assert "is not an ONNX model" in state.waits_for
    assert made.endpoint.health().state == "waiting"
    assert list(made.endpoint.health().faults) == ["fan_speed/champion"]


def test_a_model_that_fails_on_a_row_is_said_to_be_the_models_fault(made: Made, save_constant_model, monkeypatch) -> None:
    made.move("champion", save_constant_model(made.store, FAN, 1))
    model = made.live.get("fan_speed", "champion")
    assert model is not None

    def fail(_: object) -> None:
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(model.scorer, "score", fail)
    refused = refusal(made.endpoint.predict("fan_speed", [ROW], "champion"))
    assert (refused.status, refused.field) == (500, "use_case")
    assert str(refused).endswith("of fan_speed fails: out of memory")


def test_health_names_strays_and_use_cases_without_a_champion_and_waits_for_neither(made: Made) -> None:
    made.store.alias_path("fan_speed").parent.mkdir(parents=True)
    (made.store.alias_path("fan_speed").parent / "notes.txt").write_text("mine")
    made.live.refresh()
    health = made.endpoint.health()
    assert (health.state, list(health.faults)) == ("ok", ["aliases/notes.txt"])
    assert list(health.without_champion) == ["fan_speed", "water_flow"]
