"""The short way answers nothing that the long way would refuse, and nothing differently; the rest goes the long way as it came."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.store import ModelStore
from mliot.clock import ManualClock
from serving import fast_path as direct
from serving.counters import Counters
from serving.endpoint import Endpoint
from serving.live import LiveModels
from serving.middleware import Edge
from serving.schema import PredictRequest, PredictResponse
from usecases import load_use_cases

USE_CASES = load_use_cases()
FAN = USE_CASES["fan_speed"]
ROW = dict.fromkeys(FAN.columns, 1.5)
RIGHT = json.dumps({"use_case": "fan_speed", "rows": [ROW]}).encode()


class Asked:
    """Stands for the endpoint: keeps what it is asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, list[dict[str, float | None]], str]] = []

    async def predict(self, use_case: str, rows: list[dict[str, float | None]], alias: str) -> PredictResponse:
        self.seen.append((use_case, rows, alias))
        return PredictResponse(use_case=use_case, model_version="v", feature_version="f", predictions=[])


numbers = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just([1]))
texts = st.sampled_from(["1e400", "1e39", "NaN", "-0", "0.1e-320", "9" * 400, '"1"', "1.0000000000000000001", "tru"])
bodies = st.one_of(
    st.fixed_dictionaries(
        {"use_case": st.one_of(st.text(max_size=5), st.integers())},
        optional={
            "rows": st.lists(st.one_of(st.dictionaries(st.text(max_size=3), numbers, max_size=3), numbers), max_size=3),
            "alias": st.sampled_from(["champion", "challenger", "winner", None]),
            "more": st.none(),
        },
    ).map(lambda body: json.dumps(body).encode()),
    texts.map(lambda text: f'{{"use_case": "a", "rows": [{{"x": {text}}}]}}'.encode()),
    st.binary(max_size=30),
)


@given(bodies)
def test_what_it_takes_the_long_way_takes_too_and_reads_alike(body: bytes) -> None:
    endpoint = Asked()
    answer = asyncio.run(direct.answered(endpoint, body))  # type: ignore[arg-type]
    assert (answer is None) == (endpoint.seen == [])
    if endpoint.seen:
        read = PredictRequest.model_validate_json(body)
        assert endpoint.seen == [(read.use_case, read.rows, read.alias)]


def test_an_ordinary_request_is_among_those(made: "Made") -> None:
    answer = asyncio.run(direct.answered(made.endpoint, RIGHT))
    assert answer is not None
    assert json.loads(answer)["predictions"] == [{"value": 2, "probability": 0.75, "low": None, "high": None}]
    PredictRequest.model_validate_json(RIGHT)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 100_000,
        b'{"use_case": "\xff", "rows": [{"x": 1}]}',
        b'{"use_case": "fan_speed", "rows": []}',
        b'{"use_case": "fan_speed", "rows": [{"x": 1}]}',
        b'{"use_case": "nothing", "rows": [{"x": 1}]}',
        RIGHT.replace(b"1.5", b"1e39", 1),
    ],
)
def test_what_is_wrong_has_no_answer_here_and_goes_the_long_way_as_it_came(made: "Made", body: bytes) -> None:
    assert made.sent(body) == made.long_way == [body]


def test_an_ordinary_request_does_not_go_the_long_way(made: "Made") -> None:
    assert json.loads(made.sent(RIGHT)[0])["use_case"] == "fan_speed"
    assert made.long_way == []


def test_a_client_that_leaves_is_left_to_the_long_way(made: "Made") -> None:
    made.sent(RIGHT, leaves=True)
    assert made.long_way == [RIGHT, "http.disconnect"]


class Made:
    """The edge over an endpoint with a champion, and a long way that answers with the body it was given."""

    def __init__(self, path: Path) -> None:
        clock = ManualClock()
        self.store = ModelStore(path, clock)
        self.live = LiveModels(self.store, clock)
        self.counters = Counters(self.live)
        self.endpoint = Endpoint(self.store, self.live, None, USE_CASES, counters=self.counters, clock=clock)  # type: ignore[arg-type]
        self.long_way: list[bytes | str] = []

    def sent(self, body: bytes, *, leaves: bool = False) -> list[bytes]:
        """The parts of the answer to ``body``, which comes in two parts."""
        half = len(body) // 2
        coming = [
            {"type": "http.request", "body": body[:half], "more_body": True},
            {"type": "http.request", "body": body[half:], "more_body": leaves},
            {"type": "http.disconnect"},
        ]
        parts: list[bytes] = []

        async def receive() -> Any:
            return coming.pop(0)

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                parts.append(message["body"])

        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"content-length", str(len(body)).encode())]}
        asyncio.run(Edge(self._long_way, self.counters, self.endpoint)(scope, receive, send))  # type: ignore[arg-type]
        return parts

    async def _long_way(self, scope: Any, receive: Any, send: Any) -> None:
        got = b""
        while (message := await receive())["type"] == "http.request":
            got += message["body"]
            if not message["more_body"]:
                break
        self.long_way += [got] if message["type"] == "http.request" else [got, message["type"]]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": got})


@pytest.fixture
def made(tmp_path: Path, save_constant_model) -> Made:
    made = Made(tmp_path)
    made.store.move("fan_speed", "champion", save_constant_model(made.store, FAN, 2), who="t", why="t")
    made.live.refresh()
    return made
