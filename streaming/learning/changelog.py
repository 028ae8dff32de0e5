"""The online learner's state as records of the compacted topic ``stream-checkpoint``: what changed since the last commit, and no more.

By use case there is one **head** (key: its name), written anew with each batch that concerns it: model, event time, and which records
the batch held. What waits is written once, in **pieces** of the batch that brought it (key: name, batch, number), each far below what a
record may hold; so is what waits no longer. The state is what the pieces of the batches from the head's ``first`` to its ``number``
amount to, in their order. A batch is taken back by tombstones once nothing of it nor of any before it waits; where little still waits of
many batches, it moves to the newest one. So the topic holds a few times what waits at most, whatever the past was.

All of it is committed in one transaction with the positions that it amounts to: what was learnt and what was read can not come apart, and
nothing is ever unpickled.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from mliot.fields import MAX_RECORD
from mliot.messages import CHECKPOINT_TOPIC
from mliot.usecase import UseCase
from streaming.learning.state import HeldLabel, HeldRow, State, packed, unpacked
from streaming.runtime.effects import Emit, Record

Took = Mapping[str, tuple[int, int]]
"""By ``topic-partition``, the offsets of the first and the last record of a batch."""
MAX_PIECE_BYTES = MAX_RECORD // 16
ENTRY_BYTES = 1000
"""At most, of a row or label beside its values: its id (200 characters of up to 4 bytes) and five numbers."""
MAX_TIMES, SLACK = 4, 1000
"""So many times what waits, and so many entries beside, the topic may hold. A row that comes, is labelled and goes makes three."""
SEPARATOR = "/"
"""It can not stand in a use case's name."""


class Head(msgspec.Struct):
    """The state after the records ``took`` but for what waits, of which there are so many ``rows`` and ``labels``.

    ``number`` counts the batches of this use case from 1 (0: written by an earlier version, which kept nothing but the model here),
    ``first`` is the oldest of which something waits, ``last`` the newest that has pieces. ``event_ms`` is event time by partition.
    """

    use_case: str
    took: dict[str, tuple[int, int]]
    learner: msgspec.Raw
    number: int = 0
    first: int = 0
    last: int = 0
    event_ms: dict[int, int] = {}
    rows: int = 0
    labels: int = 0


class Piece(msgspec.Struct):
    """A part of what one batch changed: entries that wait, and ids that wait no longer; none of a batch's is in both.

    The batch has so many pieces as ``of`` says, and ``before`` is the batch before it that has any: so it shows where one is missing.
    """

    use_case: str
    number: int
    of: int
    before: int
    columns: tuple[str, ...]
    rows: list[HeldRow]
    labels: list[HeldLabel]
    gone: list[str]


_READ_HEAD, _READ_PIECE = msgspec.json.Decoder(Head), msgspec.json.Decoder(Piece)
T = TypeVar("T")


def read_head(value: bytes) -> Head:
    """Raises ``msgspec.DecodeError`` where ``value`` is no head."""
    return _decoded(_READ_HEAD, value)


def read_piece(value: bytes, columns: tuple[str, ...]) -> Piece:
    """The piece, its values those of ``columns`` whatever was declared then. Raises ``msgspec.DecodeError`` where it is none."""
    piece = _decoded(_READ_PIECE, value)
    size = 8 * len(piece.columns)
    if any(len(row.values) != size for row in piece.rows):
        raise msgspec.ValidationError(f"a row has not the values of its {len(piece.columns)} columns")
    if piece.columns != columns:
        for row in piece.rows:
            row.values = packed(unpacked(row.values, piece.columns), columns)
    return piece


def _decoded(decoder: msgspec.json.Decoder[T], value: bytes) -> T:
    try:
        return decoder.decode(value)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def _entries(piece: Piece) -> list[HeldRow | HeldLabel]:
    return [*piece.rows, *piece.labels]


@dataclass
class Batch:
    """What the topic holds of one batch: the ids that its pieces brought, the keys of these, and how many ids they took away."""

    keys: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    gone: int = 0
    waiting: int = 0
    """How many of ``ids`` still wait, as of this batch."""

    @property
    def size(self) -> int:
        return len(self.ids) + self.gone


class Changelog:
    """Writes one use case's state after each batch. What it says is to be committed, or the state to be restored from what was."""

    def __init__(self, state: State, *, piece_bytes: int = MAX_PIECE_BYTES) -> None:
        self.state = state
        self._number = 0
        self._batches: dict[int, Batch] = {}
        self._size = 0
        self._stale: list[str] = []
        self._last = 0
        self.whole = True
        self._at_once = max(1, piece_bytes // (ENTRY_BYTES + 11 * len(state.use_case.columns)))

    @property
    def use_case(self) -> UseCase:
        return self.state.use_case

    @property
    def batches(self) -> Iterable[Batch]:
        """Those that the topic holds pieces of, the oldest first."""
        return self._batches.values()

    def write(self, took: Took) -> list[Emit]:
        """The records that say what the batch of the records ``took`` has changed."""
        self._number += 1
        waiting, gone = self._changes()
        waiting += self._moved(len(waiting) + len(gone))
        while self._batches and not self._oldest().waiting:
            self._release()
        pieces = list(self._pieces(waiting, gone)) if waiting or self._batches else []  # what is gone is gone from an older batch
        if pieces:
            names = [entry.feature_id for entry in waiting]
            self._batches[self._number] = Batch([self._key(n) for n in range(len(pieces))], names, len(gone), len(names))
            self._size += len(names) + len(gone)
            self._last = self._number
        dropped, self._stale = self._stale, []
        emits = [Emit(CHECKPOINT_TOPIC, key, b"") for key in dropped]
        emits += [Emit(CHECKPOINT_TOPIC, self._key(n), msgspec.json.encode(piece)) for n, piece in enumerate(pieces)]
        return [*emits, Emit(CHECKPOINT_TOPIC, self.use_case.name, msgspec.json.encode(self._head(took)))]

    def restore(self, head: Head, pieces: Iterable[tuple[str, Piece]]) -> None:
        """Goes on from ``head``; ``pieces`` are those of its batches, in the order of these, each with its key.

        Raises ``msgspec.DecodeError`` where the model is none of this use case's kind; nothing has changed then.
        """
        self.state.learner.restore(head.learner)
        self.state.event_ms = dict(head.event_ms)
        self._number, self._last = head.number, head.last
        links: dict[int, tuple[int, int]] = {}
        entries: dict[str, HeldRow | HeldLabel] = {}
        for key, piece in pieces:
            batch = self._batches.setdefault(piece.number, Batch())
            batch.keys.append(key)
            links[piece.number] = (piece.of, piece.before)
            for entry in _entries(piece):
                entry.batch = piece.number
                entries[entry.feature_id] = entry
                batch.ids.append(entry.feature_id)
            for name in piece.gone:
                entries.pop(name, None)
            batch.gone += len(piece.gone)
        for entry in entries.values():
            self._batches[entry.batch].waiting += 1
        self.whole = self._is_whole(head, links)
        self._size = sum(batch.size for batch in self._batches.values())
        rows, labels = [e for e in entries.values() if isinstance(e, HeldRow)], [e for e in entries.values() if isinstance(e, HeldLabel)]
        self.state.keep(rows, labels)

    def _is_whole(self, head: Head, links: Mapping[int, tuple[int, int]]) -> bool:
        """False where a piece from ``first`` to ``last`` is missing. ``links``: how many pieces a batch has, and the batch before it."""
        number = head.last
        while number and number >= head.first:
            pieces, before = links.get(number, (0, 0))
            if not pieces or len(self._batches[number].keys) != pieces:
                return False
            number = before
        return True

    def discard(self, keys: Iterable[str], number: int) -> None:
        """With the next batch, whose number is beyond ``number``, the records of these ``keys`` are taken back."""
        self._stale += keys
        self._number = max(self._number, number)

    def _changes(self) -> tuple[list[HeldRow | HeldLabel], list[str]]:
        """What waits otherwise than the last batch said, and the ids of what waits no longer."""
        changed, self.state.changed = self.state.changed, {}
        waiting: list[HeldRow | HeldLabel] = []
        gone: list[str] = []
        for name, batch in changed.items():
            if batch:
                self._batches[batch].waiting -= 1
            entry = self.state.entry(name)
            if entry is not None:
                entry.batch = self._number
                waiting.append(entry)
            elif batch:
                gone.append(name)
        return waiting, gone

    def _moved(self, new: int) -> list[HeldRow | HeldLabel]:
        """What the oldest batches still hold, where most of what the topic holds waits no longer; so they can be taken back."""
        moved: list[HeldRow | HeldLabel] = []
        held = len(self.state.rows) + len(self.state.labels)
        while self._batches and self._size + new + len(moved) > MAX_TIMES * held + SLACK:
            number, batch = next(iter(self._batches.items()))
            for name in batch.ids if batch.waiting else ():
                entry = self.state.entry(name)
                if entry is not None and entry.batch == number:
                    entry.batch = self._number
                    moved.append(entry)
            self._release()
        return moved

    def _oldest(self) -> Batch:
        return next(iter(self._batches.values()))

    def _release(self) -> None:
        batch = self._batches.pop(next(iter(self._batches)))
        self._size -= batch.size
        self._stale += batch.keys

    def _pieces(self, waiting: Sequence[HeldRow | HeldLabel], gone: Sequence[str]) -> Iterator[Piece]:
        name, columns, most = self.use_case.name, self.use_case.columns, self._at_once
        begins = range(0, len(waiting) + len(gone), most)
        for begin in begins:
            some = waiting[begin : begin + most]
            rows, labels = [e for e in some if isinstance(e, HeldRow)], [e for e in some if isinstance(e, HeldLabel)]
            left = max(0, begin - len(waiting))
            names = list(gone[left : max(0, begin + most - len(waiting))])
            yield Piece(name, self._number, len(begins), self._last, columns, rows, labels, names)

    def _head(self, took: Took) -> Head:
        state = self.state
        learner = msgspec.Raw(msgspec.json.encode(state.learner.state()))
        first = next(iter(self._batches), self._number + 1)
        rows, labels = len(state.rows), len(state.labels)
        return Head(self.use_case.name, dict(took), learner, self._number, first, self._last, state.event_ms, rows, labels)

    def _key(self, n: int) -> str:
        return f"{self.use_case.name}{SEPARATOR}{self._number}{SEPARATOR}{n}"


@dataclass
class Found:
    """What the topic holds of one use case: heads in their order, and pieces by key without those that were taken back."""

    heads: list[Record] = field(default_factory=list)
    pieces: dict[str, Record] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        if SEPARATOR not in record.key:
            self.heads.append(record)
        elif record.value:
            self.pieces[record.key] = record
        else:
            self.pieces.pop(record.key, None)


def restored(
    records: Iterable[Record], use_cases: Mapping[str, UseCase], *, piece_bytes: int = MAX_PIECE_BYTES
) -> tuple[dict[str, Changelog], list[tuple[Record, str]]]:
    """By use case, the state that the topic's ``records`` amount to, ready to go on; and those that can not be used, with the reason.

    The newest head that can be used counts; an older one that can not was told of before a newer one was written.
    """
    found = {name: Found() for name in use_cases}
    for record in records:
        if (mine := found.get(record.key.partition(SEPARATOR)[0])) is not None:
            mine.add(record)
    unusable: list[tuple[Record, str]] = []
    logs: dict[str, Changelog] = {}
    for name, use_case in use_cases.items():
        logs[name] = Changelog(State(use_case), piece_bytes=piece_bytes)
        unusable += _restore(logs[name], found[name])
    return logs, unusable


def _restore(log: Changelog, found: Found) -> list[tuple[Record, str]]:
    pieces, unusable = _read_pieces(found, log.use_case)
    for place, record in enumerate(reversed(found.heads)):
        try:
            head = read_head(record.value)
            log.restore(head, [(key, piece) for key, piece in pieces if head.first <= piece.number <= head.number])
        except msgspec.DecodeError as error:
            if place == 0:
                unusable.append((record, f"not a checkpoint of {log.use_case.name}: {error}"))
            continue
        if not log.whole:
            rows, labels = len(log.state.rows), len(log.state.labels)
            told = f"{rows} rows and {labels} labels were found of the {head.rows} and {head.labels} that wait"
            unusable.append((record, f"a piece of checkpoint {head.number} of {log.use_case.name} is missing: {told}"))
        break
    kept = {key for batch in log.batches for key in batch.keys}
    log.discard([key for key in found.pieces if key not in kept], max((piece.number for _, piece in pieces), default=0))
    return unusable


def _read_pieces(found: Found, use_case: UseCase) -> tuple[list[tuple[str, Piece]], list[tuple[Record, str]]]:
    """The pieces in the order of their batches, and the records that are none."""
    pieces: list[tuple[str, Piece]] = []
    unusable: list[tuple[Record, str]] = []
    for key, record in found.pieces.items():
        try:
            pieces.append((key, read_piece(record.value, use_case.columns)))
        except msgspec.DecodeError as error:
            unusable.append((record, f"not a piece of a checkpoint of {use_case.name}: {error}"))
    return sorted(pieces, key=lambda each: each[1].number), unusable
