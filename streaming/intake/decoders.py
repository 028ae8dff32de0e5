"""The decoders: what each takes, and where they are found. A decoder is a file, and its examples are tests that run whenever it is read.

    TOPICS = ("acme/{device}/up",)          # MQTT topic filters; a level may have a name instead of +
    MESSAGE = AcmeUplink                    # if you like: the msgspec type of a message, for docs/asyncapi.yaml

    def decode(topic, message):             # bytes to frames, each as a dictionary in the shape of DeviceFrame
        yield {"id": ..., "payload": {...}}

``decode`` may raise :class:`mliot.errors.Rejected` with a reason for people. Whatever it raises, and whatever it answers that is no frame,
makes a dead letter of the message. Beside ``NAME.py`` stands ``NAME.examples.yaml``: a list of messages (``json``, ``text`` or ``base64``)
on a ``topic``, each with the ``frames`` that it holds or a part of the reason for which it is ``refused``.
"""

import importlib.util
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, islice
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, model_validator

from mliot.declarations import read_yaml
from mliot.devicemessages import ACK_TOPIC, COMMAND_TOPIC
from mliot.errors import DeclarationError, Rejected
from mliot.fields import LATEST_MS
from mliot.frames import MAX_BYTES, parse_frame
from streaming.intake.topicfilters import TopicFilter
from streaming.intake.uplinks import Undecoded

BUILT_IN = Path(__file__).parents[1] / "decoders"
MAX_FRAMES = 256
"""In one message: each is a record of its own."""
KNOWN_TOPICS = 10_000
"""Whose decoder need not be looked for again."""
OWN_TOPICS = tuple(map(TopicFilter.of, (ACK_TOPIC, COMMAND_TOPIC)))
"""The bridge and the devices have these to themselves."""
_SHOWN = 200
Body = Mapping[str, object]


@dataclass(frozen=True)
class Decoder:
    """One decoder: its file's name, what it takes, and the type of a message where it names one (else they are frames as they stand)."""

    name: str
    path: Path
    topics: tuple[str, ...]
    filters: tuple[TopicFilter, ...]
    decode: Callable[[str, bytes], Iterable[Body | Undecoded]]
    message: type[msgspec.Struct] | None

    def bodies(self, topic: str, message: bytes) -> list[Body | Undecoded]:
        """The frames in ``message``, as :func:`mliot.frames.parse_frame` takes them. Raises :class:`Rejected` with the reason."""
        if len(message) > MAX_BYTES:
            raise Rejected(f"message is {len(message)} bytes long; at most {MAX_BYTES} are allowed")
        try:
            bodies = list(islice(self.decode(topic, message), MAX_FRAMES + 1))
        except Rejected:
            raise
        except Exception as error:  # a decoder of the user's may raise anything, and no message may stop the bridge
            raise Rejected(f"decoder {self.name}: {type(error).__name__}: {error}") from error
        if not bodies:
            raise Rejected(f"decoder {self.name} finds no frame in it")
        if len(bodies) > MAX_FRAMES:
            raise Rejected(f"decoder {self.name} makes more than {MAX_FRAMES} frames of it; at most that many are allowed")
        for body in bodies:
            if not isinstance(body, dict | Undecoded):
                raise Rejected(f"decoder {self.name} makes a {type(body).__name__} of it, where a frame is a dict")
        return bodies


class Decoders(Sequence[Decoder]):
    """The decoders, and which of them takes a topic: at most one."""

    def __init__(self, decoders: Sequence[Decoder]) -> None:
        self._decoders = tuple(decoders)
        self._by_first: dict[str, list[tuple[TopicFilter, Decoder]]] = defaultdict(list)
        for decoder in self._decoders:
            for each in decoder.filters:
                self._by_first[each.levels[0]].append((each, decoder))
        self._anywhere = self._by_first.pop("+", []) + self._by_first.pop("#", [])
        self._taker = lru_cache(KNOWN_TOPICS)(self._find_taker)

    def __getitem__(self, index: Any) -> Any:
        return self._decoders[index]

    def __len__(self) -> int:
        return len(self._decoders)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """The topic filters of all of them."""
        return tuple(each.text for decoder in self._decoders for each in decoder.filters)

    def door(self, topic: str) -> str:
        """The subscription through which a message on ``topic`` came. Whoever publishes may make up a level, but not the subscription."""
        return self._taker(topic)[0].text

    def bodies(self, topic: str, message: bytes) -> list[Body | Undecoded]:
        """The frames in ``message``, at least one. Raises :class:`Rejected` with the reason."""
        return self._taker(topic)[1].bodies(topic, message)

    def _find_taker(self, topic: str) -> tuple[TopicFilter, Decoder]:
        levels = topic.split("/")
        for each, decoder in (*self._by_first.get(levels[0], ()), *self._anywhere):
            if each.matches(levels):
                return each, decoder
        # the broker keeps the subscriptions of a session: those too of a decoder that was taken away
        raise Rejected("there is no decoder for its topic (any more)")


def load_decoders(extra: Path | None = None) -> Decoders:
    """The built-in decoders and those of the folder ``extra``, each folder's in order of name, with their examples tried.

    Raises :class:`DeclarationError` that names the file, the place and what is allowed there.
    """
    found: dict[str, Decoder] = {}
    for folder in (BUILT_IN, *([extra] if extra else [])):
        if not folder.is_dir():
            raise DeclarationError(f"{folder}: is not a folder of decoders (MLIOT_DECODERS)")
        for path in sorted(folder.glob("[!_]*.py")):
            if path.stem in found:
                raise DeclarationError(f"{path}: a decoder named {path.stem!r} stands in {found[path.stem].path} already; rename the file")
            found[path.stem] = _read(path)
    _check_apart([*found.values()])
    for decoder in found.values():
        _try_examples(decoder)
    return Decoders([*found.values()])


def _read(path: Path) -> Decoder:
    module = _module(path)
    topics, decode, message = (getattr(module, name, None) for name in ("TOPICS", "decode", "MESSAGE"))
    if not isinstance(topics, tuple | list) or not topics or not all(isinstance(topic, str) for topic in topics):
        raise DeclarationError(f'{path}: TOPICS must be a tuple of MQTT topic filters, such as ("acme/{{device}}/up",)')
    if not callable(decode):
        raise DeclarationError(f"{path}: decode is missing: a function of topic and message that answers the frames")
    if message is not None and not (isinstance(message, type) and issubclass(message, msgspec.Struct)):
        raise DeclarationError(f"{path}: MESSAGE must be a msgspec.Struct, the type of a message")
    filters = []
    for topic in topics:
        try:
            filters.append(TopicFilter.of(topic))
        except ValueError as error:
            raise DeclarationError(f"{path}: TOPICS: {topic!r}: {error}") from error
    return Decoder(path.stem, path, tuple(topics), tuple(filters), decode, message)


def _module(path: Path) -> ModuleType:
    name = f"mliot_decoder_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and msgspec look the module of a type up there
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise DeclarationError(f"{path}: line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:  # a user's file may raise anything: named with its place, never a traceback
        lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == str(path)]
        place = f"line {lines[-1]}: " if lines else ""
        raise DeclarationError(f"{path}: {place}{type(error).__name__}: {' '.join(str(error).split())}") from error
    return module


class _Taken(NamedTuple):
    decoder: Decoder
    topic: str
    filter: TopicFilter


def _check_apart(decoders: Sequence[Decoder]) -> None:
    """A message has one decoder, and comes through one subscription: else it would come as often as there are some that match."""
    taken = [_Taken(decoder, *pair) for decoder in decoders for pair in zip(decoder.topics, decoder.filters, strict=True)]
    for each in taken:
        if own := next((own for own in OWN_TOPICS if own.overlaps(each.filter)), None):
            raise DeclarationError(f"{each.decoder.path}: TOPICS: {each.topic!r} overlaps {own.text!r}, on which commands and acks travel")
    for one, other in combinations(taken, 2):
        if one.filter.overlaps(other.filter):
            where = f"{one.topic!r} of {one.decoder.path}"
            raise DeclarationError(f"{other.decoder.path}: TOPICS: {other.topic!r} overlaps {where}; a topic may have one decoder")


class _Example(BaseModel):
    """A message, and what becomes of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: str
    as_json: JsonValue = Field(None, alias="json")
    text: str | None = None
    base64: Base64Bytes | None = None
    frames: list[dict[str, JsonValue]] | None = None
    refused: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> "_Example":
        if len(self.model_fields_set & {"as_json", "text", "base64"}) != 1:
            raise ValueError("the message stands there once: as json, text or base64")
        if (self.frames is None) == (self.refused is None):
            raise ValueError("it has either frames or refused")
        return self

    @property
    def message(self) -> bytes:
        if self.base64 is not None:
            return self.base64
        return msgspec.json.encode(self.as_json) if self.text is None else self.text.encode()


_EXAMPLES = TypeAdapter(list[_Example])


def _try_examples(decoder: Decoder) -> None:
    """Raises :class:`DeclarationError` naming the first example that is not as it says."""
    path = decoder.path.with_suffix(".examples.yaml")
    if not path.exists():
        raise DeclarationError(f"{decoder.path}: {path.name} is missing beside it: at least one message with the frames in it")
    examples = read_yaml(path, _EXAMPLES, "an example is {topic, json or text or base64, frames or refused}") if _holds_any(path) else []
    if not any(example.frames for example in examples):
        raise DeclarationError(f"{path}: holds no example with frames; at least one is needed")
    for number, example in enumerate(examples, 1):
        if why := _fault(decoder, example):
            raise DeclarationError(f"{path}: example {number}: {why}")


def _holds_any(path: Path) -> bool:
    return bool(path.read_bytes().strip())


def _fault(decoder: Decoder, example: _Example) -> str:
    """Why the example is not as it says; '' where it is."""
    if not any(each.matches(example.topic.split("/")) for each in decoder.filters):
        return f"topic {example.topic!r} is none of its TOPICS: {', '.join(decoder.topics)}"
    try:
        bodies = decoder.bodies(example.topic, example.message)
        for body in bodies:
            if isinstance(body, Undecoded):
                raise Rejected(body.without_codec)
            parse_frame(example.message, body=body, mqtt_topic=example.topic, arrived_ms=LATEST_MS, measurements={}, retention_ms=LATEST_MS)
    except Rejected as reason:
        return "" if example.refused and example.refused in str(reason) else f"it is refused: {reason}"
    if example.frames != bodies:
        return f"makes {_shown(bodies)}, not {_shown(example.frames) if example.frames is not None else 'refused'}"
    return ""


def _shown(frames: object) -> str:
    text = repr(frames)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
