"""What the log tells about past decisions: which there were, from what each was made, and which evidence lies beside it. Pure."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from lineage.audit import LogRecord
from mliot.messages import Command, Feature, Label, Message, Prediction, Window, decode
from mliot.usecase import UseCase
from streaming.learning.merge import Item
from streaming.runtime.effects import Record
from streaming.services.online import Content

M = TypeVar("M", bound=Message)
Event = Item[Content]
"""What the online learner took in: a row or a label, under its address."""


class Address(NamedTuple):
    """Where a record lies in the log."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def of(cls, text: str) -> "Address":
        """The address in ``topic-partition-offset``."""
        topic, partition, offset = text.rsplit("-", 2)
        return cls(topic, int(partition), int(offset))


Extent = Mapping[int, tuple[int, int | None]]
"""By partition, the first offset and the one after the last; None: as far as it goes."""


def widened(extent: Extent, by: Extent) -> Extent:
    """The extent that holds both."""
    both = dict(extent)
    for partition, (first, end) in by.items():
        held, held_end = both.get(partition, (first, end))
        both[partition] = (min(first, held), None if end is None or held_end is None else max(end, held_end))
    return both


class Source(Protocol):
    """The log as a replay reads it: committed records only, each partition in order."""

    def read(self, topic: str, extent: Extent | None = None) -> Iterator[LogRecord]: ...

    def begins(self, topic: str) -> Mapping[int, int]:
        """By partition, the first offset that is still kept."""
        ...


@dataclass(frozen=True)
class Asked:
    """Which decisions to make again: so many drawn by ``seed``, or the predictions of these ids and the rows of these.

    ``extents`` narrows what is read of a topic, where it is known where the records lie.
    """

    sample: int | None = None
    seed: int = 0
    predictions: frozenset[str] = frozenset()
    rows: frozenset[str] = frozenset()
    extents: Mapping[str, Extent] = field(default_factory=dict)


class Chosen(NamedTuple):
    """Predictions by id, and of how many they were chosen."""

    predictions: dict[str, Prediction]
    total: int


class Served(NamedTuple):
    """A message as the log holds it, still encoded: most of it is looked at once."""

    address: Address
    value: bytes


class Evidence(NamedTuple):
    """What a closed window tells of its frames: how many, and the addresses of the first and last. ``home``: its own partition."""

    window_id: str
    grain: str
    key: str
    start_ms: int
    frames: int
    first: Address
    last: Address
    home: int


@dataclass
class Rows:
    """Feature rows: those asked for, and what the online learner learnt from.

    ``others``: by model and key, the newest start of a row that another version of the SQL made.
    """

    wanted: dict[str, Served] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    others: dict[tuple[str, str], int] = field(default_factory=dict)


class _Header(msgspec.Struct):
    model: str


class _RowHeader(msgspec.Struct):
    feature_id: str
    model: str
    version: str
    key: str
    start_ms: int


_READ_MODEL = msgspec.json.Decoder(_Header)
_READ_ROW = msgspec.json.Decoder(_RowHeader)


def readable(kind: type[M], records: Iterable[LogRecord]) -> Iterator[tuple[Address, M]]:
    """The messages with their addresses; a record that is none has been dead-lettered and decided nothing."""
    for record in records:
        try:
            message = decode(kind, record.value)
        except msgspec.DecodeError:
            continue
        yield Address(kind.topic_name, record.partition, record.offset), message


def choose(records: Iterable[LogRecord], asked: Asked) -> Chosen:
    """The predictions asked for. A sample depends on the seed and the ids alone, not on the order in which partitions are read."""
    found: dict[str, Prediction] = {}
    drawn: list[tuple[int, str, bytes]] = []
    total = 0
    for record in records:
        try:
            prediction = decode(Prediction, record.value)
        except msgspec.DecodeError:
            continue
        total += 1
        if asked.sample is None:
            if prediction.prediction_id in asked.predictions or prediction.feature_id in asked.rows:
                found.setdefault(prediction.prediction_id, prediction)
            continue
        rank = -_rank(prediction.prediction_id, asked.seed)  # the heap's least is the sample's greatest
        entry = (rank, prediction.prediction_id, record.value)
        if len(drawn) < asked.sample:
            heapq.heappush(drawn, entry)
        elif entry > drawn[0]:
            heapq.heapreplace(drawn, entry)
    found |= {id: decode(Prediction, value) for _, id, value in sorted(drawn, reverse=True)}
    return Chosen(found, total)


def _rank(id: str, seed: int) -> int:
    return int.from_bytes(blake2b(id.encode(), digest_size=8, salt=seed.to_bytes(8, "big", signed=True)).digest(), "big")


def read_rows(
    records: Iterable[LogRecord], *, wanted: frozenset[str], versions: Mapping[str, str], columns: Mapping[str, frozenset[str]]
) -> Rows:
    """The rows ``wanted``, whole, and as events every row of the models in ``columns``, with the values of these columns only.

    ``versions`` are the feature models' versions of now, by name.
    """
    rows = Rows()
    for record in records:
        try:
            if _READ_MODEL.decode(record.value).model not in versions:
                continue
            head = _READ_ROW.decode(record.value)
            address = Address(Feature.topic_name, record.partition, record.offset)
            if head.version != versions[head.model]:
                at = (head.model, head.key)
                rows.others[at] = max(head.start_ms, rows.others.get(at, head.start_ms))
            if head.feature_id in wanted:
                rows.wanted.setdefault(head.feature_id, Served(address, record.value))
            if head.model in columns:
                rows.events.append(_event(address, decode(Feature, record.value), columns[head.model]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return rows


def slim(row: Feature, columns: frozenset[str]) -> Feature:
    """The row with the values of ``columns`` only."""
    return msgspec.structs.replace(row, values={name: row.values[name] for name in columns if name in row.values})


def _event(address: Address, row: Feature, columns: frozenset[str]) -> Event:
    return Item(_record(address), slim(row, columns), row.end_ms)


def read_labels(records: Iterable[LogRecord], use_cases: Mapping[str, UseCase]) -> list[Event]:
    """Every label that a learner of ``use_cases`` takes, as an event."""
    return [
        Item(_record(address), label, label.label_ms)
        for address, label in readable(Label, records)
        if label.use_case in use_cases and use_cases[label.use_case].has_label(label.value)
    ]


def _record(address: Address) -> Record:
    return Record(*address, 0, "", b"", "")


def read_windows(
    records: Iterable[LogRecord], *, grains: frozenset[str], wanted: frozenset[str]
) -> tuple[list[Evidence], dict[str, Served]]:
    """The evidence of every window of ``grains``, and the windows ``wanted``."""
    evidence: dict[str, Evidence] = {}
    served: dict[str, Served] = {}
    for record, (address, window) in _beside(Window, records):
        if window.grain not in grains or window.window_id in evidence:
            continue
        evidence[window.window_id] = Evidence(
            window.window_id, window.grain, window.key, window.start_ms, window.frames,
            Address.of(window.first), Address.of(window.last), record.partition,
        )  # fmt: skip
        if window.window_id in wanted:
            served[window.window_id] = Served(address, record.value)
    return list(evidence.values()), served


def _beside(kind: type[M], records: Iterable[LogRecord]) -> Iterator[tuple[LogRecord, tuple[Address, M]]]:
    for record in records:
        for read in readable(kind, [record]):
            yield record, read


def read_commands(records: Iterable[LogRecord]) -> dict[int, list[Command]]:
    """The commands of each partition in its order, which is the order in which they were decided."""
    found: dict[int, list[Command]] = defaultdict(list)
    for address, command in readable(Command, records):
        found[address.partition].append(command)
    return dict(found)


def counted(records: Iterable[LogRecord], note: Callable[[int], None], every: int = 5000) -> Iterator[LogRecord]:
    """The same records; ``note`` is told how many came, every so often."""
    count = 0
    for count, record in enumerate(records, 1):
        yield record
        if count % every == 0:
            note(every)
    note(count % every)
