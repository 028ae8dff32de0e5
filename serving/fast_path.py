"""The short way of ``POST /predict``: a request that is right is answered without the layers between, which take most of its time.

Any other one has no answer here and goes the long way, BentoML's: what is wrong with it is found and worded there, and there alone.
"""

from typing import Annotated

import msgspec

from learning.answers import MAX_ROWS
from learning.store import Alias
from serving.endpoint import Endpoint
from serving.problems import Refused
from serving.schema import Row


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    """What :class:`serving.schema.PredictRequest` accepts, or less."""

    use_case: str
    rows: Annotated[list[Row], msgspec.Meta(min_length=1, max_length=MAX_ROWS)]
    alias: Alias = "champion"


_READ = msgspec.json.Decoder(_Request)


async def answered(endpoint: Endpoint, body: bytes) -> bytes | None:
    """The answer to ``body`` as JSON, or None where it is not right or cannot be answered."""
    try:
        asked = _READ.decode(body)
        answer = await endpoint.predict(asked.use_case, asked.rows, asked.alias)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Refused):
        return None
    return answer.model_dump_json().encode()
