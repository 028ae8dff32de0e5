"""What inference counts on in a model server, on the real endpoint and on the simulated one: one suite for both."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from learning.answers import MAX_ROWS
from learning.store import ModelStore
from mliot.errors import Transient
from streaming.adapters.model import ModelClient
from streaming.runtime.effects import Champion, Champions, ModelServer, NotScored, Score, Scores
from streaming.simulated import SimulatedModelServer
from usecases import load_use_cases

FLOW = load_use_cases()["water_flow"]
FAN = load_use_cases()["fan_speed"]
DEADLINE_S = 60
FAILS_ON = 50.0
"""A reading on which the model :func:`picky` fails."""


def logarithm(row: Mapping[str, float | None]) -> float:
    """The natural logarithm of the row's first column: not finite where that is 0 or less."""
    value = next(iter(row.values()))
    assert value is not None
    return math.log(value) if value > 0 else math.nan


def picky(row: Mapping[str, float | None]) -> float:
    """The row's first column as it is, where it is a whole number below ten; on any other one the model fails."""
    value = next(iter(row.values()))
    assert value is not None
    return value


def as_onnx(answer: Callable[[Mapping[str, float | None]], float], columns: int) -> bytes:
    """``answer`` as training would have made it."""
    first = numpy_helper.from_array(np.array([0], np.int64), "first")
    table = numpy_helper.from_array(np.arange(10, dtype=np.float32), "table")
    nodes = [helper.make_node("Gather", ["features", "first"], ["value"], axis=1)]
    if answer is logarithm:
        nodes += [helper.make_node("Log", ["value"], ["variable"])]
    else:
        nodes += [
            helper.make_node("Cast", ["value"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["variable"]),
        ]
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, columns])]
    outputs = [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph(nodes, "made", inputs, outputs, [first, table])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


class Side(Protocol):
    """A model server and how a test puts models into it. ``put`` returns the version that is in charge then, of columns as declared."""

    port: ModelServer

    def put(self, answer: Callable[[Mapping[str, float | None]], float], *columns: str) -> str: ...
    def forget(self) -> None: ...
    def absent(self) -> ModelServer: ...


class Simulated:
    """The simulated server."""

    def __init__(self) -> None:
        self.port = self.server = SimulatedModelServer(known=("fan_speed", "water_flow"))
        self.server.models["fan_speed"] = (Champion("fan-1", FAN.features, FAN.columns), lambda version, row: 1.0)
        self._versions = iter(range(1, 1000))

    def put(self, answer: Callable[[Mapping[str, float | None]], float], *columns: str) -> str:
        version = f"v{next(self._versions)}"
        self.server.models["water_flow"] = (Champion(version, FLOW.features, columns), lambda _, row: answer(row))
        self.server.fails = {"water_flow": lambda row: answer is picky and picky(row) == FAILS_ON}
        return version

    def forget(self) -> None:
        self.server.models.pop("water_flow", None)

    def absent(self) -> ModelServer:
        return SimulatedModelServer(away="it is away")


class Endpoint:
    """The endpoint as a process of its own, with a store of its own."""

    def __init__(self, home: Path, port: int, save: Callable[..., str]) -> None:
        self.store = ModelStore(home / "models")
        self.client = ModelClient(f"http://127.0.0.1:{port}", timeout_s=30)
        self.nobody = ModelClient("http://127.0.0.1:1")
        self.port: ModelServer = self.client
        self._save = save
        self._made = iter(range(1_764_000_000_000, 1_765_000_000_000, 1000))
        fan = save(self.store, FAN, 1.0)
        self.store.move("fan_speed", "champion", fan, who="test", why="test")

    def put(self, answer: Callable[[Mapping[str, float | None]], float], *columns: str) -> str:
        version = self._save(self.store, FLOW, 1.0, columns=columns, created_ms=next(self._made))
        self.store.get("water_flow", version).onnx_path.write_bytes(as_onnx(answer, len(columns)))
        self.store.move("water_flow", "champion", version, who="test", why="test")
        self._until(lambda now: isinstance(now, Champion) and now.version == version)
        return version

    def forget(self) -> None:
        self.store.move("water_flow", "champion", None, who="test", why="test")
        self._until(lambda now: isinstance(now, NotScored))

    def absent(self) -> ModelServer:
        return self.nobody

    def _until(self, condition: Callable[[Champion | NotScored], bool]) -> None:
        give_up = time.monotonic() + DEADLINE_S
        while not condition(self.port.champions(Champions())["water_flow"]):
            assert time.monotonic() < give_up, f"not within {DEADLINE_S} s"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory, save_constant_model, free_ports) -> Iterator[Endpoint]:
    home = tmp_path_factory.mktemp("home")
    (port,) = free_ports(1)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLIOT_")}
    environment = {**kept, "MLIOT_HOME": str(home), "MLIOT_ENDPOINT_PORT": str(port), "MLIOT_POSTGRES_DSN": "postgresql://x@127.0.0.1:1/x"}
    with (home / "serving.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "serving"], env=environment, stdout=log, stderr=log)
    made = Endpoint(home, port, save_constant_model)
    try:
        give_up = time.monotonic() + 2 * DEADLINE_S
        while made.client.absent():
            assert process.poll() is None, (home / "serving.log").read_text()
            assert time.monotonic() < give_up, "the endpoint does not answer"
            time.sleep(0.1)
        with made.client, made.nobody:
            yield made
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["simulated", pytest.param("endpoint", marks=pytest.mark.stack)])
def side(request: pytest.FixtureRequest) -> Side:
    return Simulated() if request.param == "simulated" else request.getfixturevalue("endpoint")


def scored(side: Side, *rows: Mapping[str, float | None], use_case: str = "water_flow") -> Scores | NotScored:
    return side.port.score(Score(use_case, rows))


def others_are_scored(side: Side) -> bool:
    answer = scored(side, dict.fromkeys(FAN.columns, 1.5), use_case="fan_speed")
    return isinstance(answer, Scores) and [one.value for one in answer.scores] == [1.0]


def test_it_says_what_a_champion_wants_and_scores_that_in_order(side: Side) -> None:
    version = side.put(picky, "hour_sin", "water_flow_avg")
    assert side.port.champions(Champions())["water_flow"] == Champion(version, FLOW.features, ("hour_sin", "water_flow_avg"))
    answer = scored(side, *({"hour_sin": float(n), "water_flow_avg": None} for n in (3, 1, 2)))
    assert isinstance(answer, Scores)
    assert (answer.model_version, [one.value for one in answer.scores]) == (version, [3.0, 1.0, 2.0])


def test_a_use_case_without_a_champion_is_waited_for_and_one_that_nobody_knows_is_not(side: Side) -> None:
    side.forget()
    now = side.port.champions(Champions())
    assert isinstance(now["water_flow"], NotScored)
    assert now["water_flow"].expected
    assert "there is no champion" in now["water_flow"].why
    assert "attic" not in now
    for use_case in ("water_flow", "attic"):
        answer = scored(side, {"x": 1.0}, use_case=use_case)
        assert isinstance(answer, NotScored)
    assert others_are_scored(side)


@pytest.mark.parametrize("misfit", [{"hour_sin": 1.0}, {"hour_sin": 1.0, "water_flow_avg": 1.0, "weekday": 1.0}, {"weekday": 1.0}])
def test_a_row_of_other_columns_is_refused_by_name(side: Side, misfit: dict[str, float | None]) -> None:
    side.put(picky, "hour_sin", "water_flow_avg")
    answer = scored(side, {"hour_sin": 1.0, "water_flow_avg": 1.0}, misfit)
    assert isinstance(answer, NotScored)
    assert not answer.expected
    assert "rows[1]" in answer.why
    assert others_are_scored(side)


@pytest.mark.parametrize("value", [1e39, -3.5e38])
def test_a_reading_beyond_single_precision_is_refused_by_name(side: Side, value: float) -> None:
    side.put(logarithm, "water_flow_avg")
    answer = scored(side, {"water_flow_avg": 1.0}, {"water_flow_avg": value}, {"water_flow_avg": value})
    assert isinstance(answer, NotScored)
    assert "rows[1]" in answer.why
    assert "must be between" in answer.why


def test_an_answer_that_is_not_finite_is_that_rows_alone(side: Side) -> None:
    side.put(logarithm, "water_flow_avg")
    answer = scored(side, *({"water_flow_avg": value} for value in (1.0, -1.0, math.e)))
    assert isinstance(answer, Scores)
    assert [round(one.value, 5) for one in answer.scores[::2]] == [0.0, 1.0]
    assert math.isnan(answer.scores[1].value)


def test_a_model_that_fails_holds_up_no_other(side: Side) -> None:
    side.put(picky, "water_flow_avg")
    answer = scored(side, {"water_flow_avg": 1.0}, {"water_flow_avg": FAILS_ON})
    assert isinstance(answer, NotScored)
    assert not answer.expected
    assert "fails" in answer.why
    assert others_are_scored(side)
    again = scored(side, {"water_flow_avg": 1.0})
    assert isinstance(again, Scores)
    assert [one.value for one in again.scores] == [1.0]


def test_so_many_rows_are_scored_and_one_more_is_refused(side: Side) -> None:
    side.put(picky, "water_flow_avg")
    row: dict[str, float | None] = {"water_flow_avg": 7.0}
    most = scored(side, *[row] * MAX_ROWS)
    assert isinstance(most, Scores)
    assert {one.value for one in most.scores} == {7.0}
    assert len(most.scores) == MAX_ROWS
    for rows in ([row] * (MAX_ROWS + 1), []):
        assert isinstance(scored(side, *rows), NotScored)


def test_who_is_asked_with_what_the_last_champion_wanted_is_told_and_learns_what_this_one_wants(side: Side) -> None:
    side.put(picky, "water_flow_avg")
    version = side.put(picky, "hour_sin", "weekday")
    assert isinstance(scored(side, {"water_flow_avg": 1.0}), NotScored)
    now = side.port.champions(Champions())["water_flow"]
    assert now == Champion(version, FLOW.features, ("hour_sin", "weekday"))
    assert isinstance(scored(side, {"hour_sin": 1.0, "weekday": 1.0}), Scores)


def test_a_server_that_is_away_is_waited_for(side: Side) -> None:
    for ask in (lambda port: port.champions(Champions()), lambda port: port.score(Score("water_flow", [{"a": 1.0}]))):
        with pytest.raises(Transient):
            ask(side.absent())
