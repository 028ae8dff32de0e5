"""A request that is not answered: its status, what is wrong, and the field at fault. BentoML's own refusals are put into the same words."""

import json
from collections.abc import Sequence

from starlette.responses import JSONResponse

JSON_STATUS = 422


class Refused(Exception):
    """The request cannot be answered: 4xx where it must change, 503 where it may be asked again later."""

    def __init__(self, status: int, error: str, field: str | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.field = field

    def response(self) -> JSONResponse:
        return JSONResponse({"error": str(self), "field": self.field}, status_code=self.status)


def place_of(location: Sequence[str | int]) -> str:
    """A location such as ``("rows", 3, "temperature_avg")`` as ``rows[3].temperature_avg``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def reworded(status: int, body: bytes) -> Refused:
    """BentoML's error answer as ours. A validation error names its first field; one that says nothing useful stays as it is."""
    try:
        answer = json.loads(body)
    except ValueError:
        return Refused(status, body.decode(errors="replace").strip() or "the request failed")
    if isinstance(answer, list) and answer:
        answer = answer[0]
    if not isinstance(answer, dict):
        return Refused(status, str(answer))
    details = answer.get("detail")
    if not isinstance(details, list) or not details:
        return Refused(status, str(answer.get("error", "the request failed")), answer.get("field"))
    first = details[0]
    field = place_of(first["loc"])
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return Refused(JSON_STATUS, f"{field or 'body'}: {_plain(first['type'], first['msg'])}{more}", field or None)


def _plain(kind: str, message: str) -> str:
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not known here"
        case "float_type":
            return "must be a number or null"
        case "finite_number":
            return "must be finite; null is a missing reading"
        case "json_invalid":
            return f"is not JSON: {message.removeprefix('Invalid JSON: ')}"
        case _:
            return message[:1].lower() + message[1:]
