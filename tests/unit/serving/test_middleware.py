"""What is refused by its headers, before a body is read."""

import pytest

from learning.answers import MAX_BYTES
from serving.middleware import unusable


def test_a_json_post_passes() -> None:
    assert unusable("POST", {b"content-type": b"application/json; charset=utf-8", b"content-length": b"10"}) is None
    assert unusable("POST", {b"content-length": b"10"}) is None
    assert unusable("GET", {}) is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({b"content-type": b"application/vnd.bentoml+pickle", b"content-length": b"1"}, 415),
        ({b"content-type": b"multipart/form-data; boundary=x", b"content-length": b"1"}, 415),
        ({b"content-type": b"text/plain", b"content-length": b"1"}, 415),
        ({b"content-type": b"application/json"}, 411),
        ({b"content-length": b"-1"}, 411),
        ({b"content-length": str(MAX_BYTES + 1).encode()}, 413),
    ],
)
def test_anything_else_does_not(headers: dict[bytes, bytes], status: int) -> None:
    refused = unusable("POST", headers)
    assert refused is not None
    assert refused.status == status
