"""The model server's absence, as its client tells it."""

import httpx
import pytest

from streaming.adapters.model import ModelClient


def _answering(answer: httpx.Response | Exception) -> ModelClient:
    def handle(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/readyz"
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ModelClient("http://endpoint", httpx.MockTransport(handle))


def test_a_server_that_answers_is_not_absent() -> None:
    with _answering(httpx.Response(200)) as model:
        assert model.absent() == ""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (httpx.Response(503), "model server at http://endpoint: HTTP 503"),
        (httpx.ReadTimeout("timed out"), "model server at http://endpoint: ReadTimeout: timed out"),
    ],
)
def test_a_server_that_is_not_ready_or_hangs_is_named(answer: httpx.Response | Exception, why: str) -> None:
    with _answering(answer) as model:
        assert model.absent() == why
