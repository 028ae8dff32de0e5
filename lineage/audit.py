"""Reconciles by id: what publishers were promised, what Kafka holds, what follows from it, what store and warehouse hold. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from lineage.expected_orders import OrdersOwed
from lineage.expected_predictions import PredictionsOwed
from lineage.expected_windows import WindowsOwed
from lineage.ledger import LOADABLE, LOADED, LOGGED, OUTSIDE, OWED, PUBLISHED, STORED, Finding, Ledger, Report
from mliot.grains import Grains
from mliot.journal import Acknowledged
from mliot.messages import MESSAGES, Ack, Command, DeadLetter, Feature, Frame, Label, Message, Prediction, Window, decode
from mliot.usecase import UseCase

READ_ORDER: tuple[type[Message], ...] = (DeadLetter, Ack, Command, Label, Prediction, Window, Feature, Frame)
"""Effects before causes: whatever an effect names is then among the causes that are read after it, also while data flow."""
STRICTLY_ONCE: tuple[type[Message], ...] = (Window, Feature, Prediction, Command)
"""Written in transactions; frames, acks and dead letters may be redelivered and collapse by their ids."""
_BY_TOPIC = {kind.topic_name: kind for kind in MESSAGES}


class LogRecord(NamedTuple):
    """One record of a topic. ``settled``: it was there long enough for what follows from it to be there too."""

    partition: int
    offset: int
    value: bytes
    settled: bool = True


Place = tuple[str, int]
"""Topic and partition."""


class _Later(NamedTuple):
    """A row of store or warehouse (``flag``) that says to be of a record at or after the end of reading."""

    kind: type[Message]
    id: str
    place: Place
    offset: int
    flag: int


@dataclass(frozen=True)
class Scope:
    """How far the audit looks. Offsets by topic and partition: the first still kept, the end of reading, the warehouse's next."""

    use_cases: Mapping[str, UseCase]
    grains: Grains
    now_ms: int
    grace_ms: int
    idle_ms: int
    begins: Mapping[Place, int] = field(default_factory=dict)
    ends: Mapping[Place, int] = field(default_factory=dict)
    loaded_to: Mapping[Place, int] | None = None
    """None where there is no warehouse to compare with."""


class Audit:
    """Takes in everything once, topics in :data:`READ_ORDER` (partitions in the order of their offsets), then reports."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._ledgers: dict[type[Message], Ledger] = {kind: Ledger() for kind in MESSAGES}
        self._windows = WindowsOwed(scope.grains, scope.grace_ms, scope.idle_ms, scope.now_ms)
        self._counts: Counter[str] = Counter()
        self._unreadable: list[str] = []
        self._refused_addresses: set[str] = set()
        self._refused: dict[tuple[str, type[Message]], set[str]] = {}
        self._dead_hashes: set[str] = set()
        self._predictions = PredictionsOwed(scope.use_cases)
        self._orders = OrdersOwed(scope.use_cases)
        self._late_frames: set[str] = set()
        self._loaded_twice: dict[type[Message], list[str]] = {}
        self._later: list[_Later] = []

    # Taking in

    def published(self, entries: Iterable[Acknowledged]) -> None:
        """What brokers acknowledged to publishers."""
        for entry in entries:
            self._ledgers[Frame if entry.kind == "frame" else DeadLetter].mark(entry.id, PUBLISHED)

    def logged(self, kind: type[Message], records: Iterable[LogRecord]) -> None:
        """The records of one topic."""
        topic, ledger, scope = kind.topic_name, self._ledgers[kind], self._scope
        for record in records:
            try:
                message = decode(kind, record.value)
            except msgspec.DecodeError:
                if record.settled:
                    self._unreadable.append(f"{topic}-{record.partition}-{record.offset}")
                continue
            flags = OWED if record.settled else 0
            if record.offset < (scope.loaded_to or {}).get((topic, record.partition), 0):
                flags |= LOADABLE
            elif record.settled:
                self._counts["behind"] += 1
            first = ledger.log(message.id, flags)
            self._follow(message, record, first)

    def stored(self, kind: type[Message], rows: Iterable[tuple[str, str]]) -> None:
        """The (id, address) of each row of a kind's table in the store, read after the log."""
        self._found(kind, self._without_own(rows) if kind is DeadLetter else rows, STORED)

    def _without_own(self, rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """The store's own letters never travelled: they stand under the address of the record that they refuse."""
        for id, address in rows:
            if address.startswith(f"{DeadLetter.topic_name}-"):
                yield id, address
            else:
                self._refused_addresses.add(address)

    def loaded(self, kind: type[Message], rows: Iterable[tuple[str, str]], twice: Iterable[str]) -> None:
        """The (id, address) of each row of a kind's raw table in the warehouse, and the addresses that it holds more than once."""
        self._found(kind, rows, LOADED)
        self._loaded_twice[kind] = list(twice)

    def ended(self, ends: Mapping[Place, int]) -> None:
        """Where each partition ended once store and warehouse had been read: a row from there or beyond is of no record that ever was."""
        for row in self._later:
            if row.offset >= ends.get(row.place, 0):
                self._ledgers[row.kind].mark(row.id, row.flag)

    def _found(self, kind: type[Message], rows: Iterable[tuple[str, str]], flag: int) -> None:
        ledger = self._ledgers[kind]
        for id, address in rows:
            position = _position(kind, address)
            if position is None or ledger.has(id, LOGGED):
                ledger.mark(id, flag)
                continue
            place, offset = position
            if self._scope.begins.get(place, 0) <= offset < self._scope.ends.get(place, offset + 1):
                ledger.mark(id, flag)
                continue
            # The record has left Kafka by its age, or came after the end of reading: its id cannot be judged, or not yet.
            if ledger.has(id, PUBLISHED):
                ledger.mark(id, OUTSIDE)
            if offset >= self._scope.begins.get(place, 0):
                self._later.append(_Later(kind, id, place, offset, flag))

    # What follows from a record

    def _follow(self, message: Message, record: LogRecord, first: bool) -> None:
        match message:
            case Frame():
                self._frame(message, record, first)
            case Window():
                whole = self._kept_whole(message)
                self._windows.emitted(message, record.partition, settled=record.settled, whole=whole)
            case Feature() if first:
                self._feature(message, record)
            case Prediction():
                self._predictions.prediction(message)
                refused = self._is_refused("commands", Prediction, message.prediction_id)
                self._orders.prediction(message, owed=record.settled and not refused)
            case Command():
                self._orders.command(message)
            case DeadLetter() if first:
                self._letter(message)
            case _:
                pass

    def _frame(self, frame: Frame, record: LogRecord, first: bool) -> None:
        self._counts["undated"] += first and frame.undated
        counts = not self._is_refused("features", Frame, frame.frame_id)
        late = self._windows.frame(frame, record.partition, first=first, settled=record.settled, counts=counts)
        if late or not counts:
            self._late_frames.add(frame.frame_id)

    def _kept_whole(self, window: Window) -> bool:
        """False where Kafka no longer has the window's first frames."""
        position = _position(Frame, window.first)
        return position is None or position[1] >= self._scope.begins.get(position[0], 0)

    def _feature(self, feature: Feature, record: LogRecord) -> None:
        if feature.grain in self._scope.grains.windows:
            self._windows.closings.note(feature.end_ms, feature.made_ms, record.partition)
        if record.settled and not self._is_refused("inference", Feature, feature.feature_id):
            self._predictions.row(feature)

    def _letter(self, letter: DeadLetter) -> None:
        """What a dead letter excuses: the frame that its bytes were meant to be, or the message that its service refused."""
        try:
            original = letter.original
        except ValueError:
            return  # a foreign writer's letter without bytes: it excuses nothing
        if letter.service == "bridge":
            self._dead_hashes.add(blake2b(original, digest_size=4).hexdigest())
            return
        kind = _BY_TOPIC.get(letter.source)
        if kind is None:
            return
        try:
            refused = decode(kind, original)
        except msgspec.DecodeError:
            return  # what cannot be read has no id, and nothing is owed for it
        self._refused.setdefault((letter.service, kind), set()).add(refused.id)

    def _is_refused(self, service: str, kind: type[Message], id: str) -> bool:
        return id in self._refused.get((service, kind), ())

    # Reporting

    def report(self, *, strict: bool = False) -> Report:
        """Everything that was taken in, compared."""
        windows, doubts = self._windows.findings(self._ledgers[Window].repeated)
        findings = [
            *self._published(),
            self._frames(),
            *windows,
            self._features(),
            *self._predictions.findings(),
            self._all_predictions(),
            *self._orders.findings(whole=self._is_whole(Command)),
            self._commands(),
            self._acks(),
            self._unread(),
            *(self._in_store(kind) for kind in MESSAGES),
        ]
        if self._scope.loaded_to is None:
            return Report(findings, [], doubts, strict)
        findings += [self._in_warehouse(kind) for kind in MESSAGES]
        if self._counts["behind"]:
            doubts = [*doubts, f"the warehouse is {self._counts['behind']} records behind Kafka"]
        return Report(findings, [], doubts, strict)

    def _published(self) -> list[Finding]:
        """What a broker acknowledged must be in Kafka: as a frame, or as the dead letter of its bytes."""
        frames, letters = self._ledgers[Frame], self._ledgers[DeadLetter]
        owed = frames.count(PUBLISHED)
        absent = list(frames.where(all_of=PUBLISHED, none_of=LOGGED | STORED | OUTSIDE))
        missing = [id for id in absent if id.rpartition("#")[2] not in self._dead_hashes]
        refused = len(absent) - len(missing)
        note = f"{refused} were refused and are dead letters" if refused else ""
        bad_owed = letters.count(PUBLISHED)
        bad_missing = list(letters.where(all_of=PUBLISHED, none_of=LOGGED | STORED | OUTSIDE))
        return [
            Finding("published frames in Kafka", owed, owed - len(missing), missing, note=note),
            Finding("published bad messages dead-lettered", bad_owed, bad_owed - len(bad_missing), bad_missing),
        ]

    def _frames(self) -> Finding:
        ledger = self._ledgers[Frame]
        odd = [f"{n} {what}" for n, what in ((len(ledger.repeated), "redelivered"), (self._counts["undated"], "undated")) if n]
        return Finding("frames", ledger.count(LOGGED), ledger.count(LOGGED), note=", ".join(odd))

    def _features(self) -> Finding:
        """A row for every frame and every window, and none besides."""
        features, frames, windows = self._ledgers[Feature], self._ledgers[Frame], self._ledgers[Window]
        of_frame = self._scope.grains.rows_of_frame
        owed = [row for id in frames.where(all_of=LOGGED | OWED) if id not in self._late_frames for row in of_frame(id)]
        owed += windows.where(all_of=LOGGED | OWED)
        missing = [id for id in owed if not features.has(id, LOGGED)]
        foreign = [id for id in features.where(all_of=LOGGED) if not self._has_cause(id)]
        return Finding("features", len(owed), features.count(LOGGED), missing, list(features.repeated), foreign)

    def _has_cause(self, feature_id: str) -> bool:
        """True where the frame or window that a row describes is in Kafka, or can no longer be there."""
        frame_id = self._scope.grains.frame_of(feature_id)
        kind, cause = (Window, feature_id) if frame_id is None else (Frame, frame_id)
        return self._ledgers[kind].has(cause, LOGGED) or not self._is_whole(kind)

    def _all_predictions(self) -> Finding:
        """Every prediction, a shadow's too, is unique and about a row that exists."""
        ledger, about = self._ledgers[Prediction], self._predictions.about
        return self._caused("predictions, shadows included", ledger, about, Feature, twice=ledger.repeated)

    def _commands(self) -> Finding:
        ledger = self._ledgers[Command]
        return self._caused("commands, by state", ledger, self._orders.decided_by, Prediction, twice=ledger.repeated)

    def _acks(self) -> Finding:
        ledger = self._ledgers[Ack]
        orders = {id: f"{id}:queued" for id in ledger.where(all_of=LOGGED)}
        note = f"{len(ledger.repeated)} redelivered" if ledger.repeated else ""
        return self._caused("acks", ledger, orders, Command, note=note)

    def _caused(
        self, what: str, effects: Ledger, cause_of: Mapping[str, str], kind: type[Message], *, twice: Iterable[str] = (), note: str = ""
    ) -> Finding:
        """Foreign is what names a cause that does not exist; where Kafka has dropped the oldest causes this cannot be told."""
        causes, count = self._ledgers[kind], effects.count(LOGGED)
        foreign = [id for id, cause in cause_of.items() if not causes.has(cause, LOGGED)] if self._is_whole(kind) else []
        return Finding(what, count, count, twice=list(twice), foreign=foreign, note=note)

    def _is_whole(self, kind: type[Message]) -> bool:
        return not any(offset for (topic, _), offset in self._scope.begins.items() if topic == kind.topic_name)

    def _unread(self) -> Finding:
        """Records that are no message of their topic: nothing is owed for them but a dead letter, which the store makes."""
        missing = [address for address in self._unreadable if address not in self._refused_addresses]
        return Finding("unreadable records dead-lettered", len(self._unreadable), len(self._unreadable) - len(missing), missing)

    def _in_store(self, kind: type[Message]) -> Finding:
        ledger = self._ledgers[kind]
        owed = [id for id in ledger.where(all_of=LOGGED | OWED) if not self._is_refused("store", kind, id)]
        missing = [id for id in owed if not ledger.has(id, STORED)]
        foreign = list(ledger.where(all_of=STORED, none_of=LOGGED))
        seen = ledger.count(STORED)
        return Finding(f"store {_name(kind)}", len(owed), seen, missing, foreign=foreign)

    def _in_warehouse(self, kind: type[Message]) -> Finding:
        ledger = self._ledgers[kind]
        owed = ledger.count(LOGGED | LOADABLE)
        missing = list(ledger.where(all_of=LOGGED | LOADABLE, none_of=LOADED))
        foreign = list(ledger.where(all_of=LOADED, none_of=LOGGED))
        seen = ledger.count(LOADED)
        return Finding(f"warehouse {_name(kind)}", owed, seen, missing, self._loaded_twice.get(kind, []), foreign)


def _name(kind: type[Message]) -> str:
    return kind.topic_name.removeprefix("stream-")


def _position(kind: type[Message], address: str) -> tuple[Place, int] | None:
    """The place and offset of an address in the topic of ``kind``; None where it is no such address."""
    partition, _, offset = address.removeprefix(f"{kind.topic_name}-").partition("-")
    return ((kind.topic_name, int(partition)), int(offset)) if partition.isdecimal() and offset.isdecimal() else None
