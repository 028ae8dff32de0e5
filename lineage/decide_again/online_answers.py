"""The online learner's answers of the past: its own code, run over the log batch by batch as its checkpoints tell.

The order in which it learnt depends on what lay in which batch, so each checkpoint says which records its batch held. Where batches
follow each other without a gap, the learner goes on from its own state; after a gap (Kafka compacts the topic) it starts from the
checkpoint behind the gap, as soon as there is one whose pieces are all still there; what was answered before that is not known.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from lineage.audit import LogRecord
from lineage.decide_again.past import Event
from mliot.messages import Feature, Label, Prediction, decode
from mliot.usecase import UseCase
from streaming.learning.changelog import Changelog, Head, Piece, read_head, read_piece
from streaming.learning.state import State
from streaming.runtime.effects import Outcome, Partition
from streaming.services import online

Answers = dict[tuple[str, str], Prediction]
"""By feature row and use case."""
Checkpoints = Callable[[], Iterable[LogRecord]]
"""Reads the topic of the checkpoints, each time from its beginning to the same end."""


class Events:
    """Every row and label that concerns a learner of ``use_cases``, by partition and in its order."""

    def __init__(self, events: Iterable[Event], use_cases: Mapping[str, UseCase]) -> None:
        states = [State(use_case) for use_case in use_cases.values()]
        self._by_place: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            if isinstance(event.message, Label) or any(isinstance(event.message, Feature) and s.concerns(event.message) for s in states):
                self._by_place[f"{event.record.topic}-{event.record.partition}"].append(event)
        for found in self._by_place.values():
            found.sort(key=_offset)
        self._offsets = {place: [_offset(event) for event in found] for place, found in self._by_place.items()}

    def of(self, took: Mapping[str, tuple[int, int]]) -> list[Event]:
        """Those of a batch, in the order in which the learner observed them: what a batch took is a prefix of what was left of each
        partition, merged by event time."""
        taken = [event for place, (first, last) in took.items() for event in self._between(place, first, last)]
        partitions = frozenset(Partition(event.record.topic, event.record.partition) for event in taken)
        waiting = online.Waiting(partitions)
        waiting.add(taken)
        return waiting.ready(partitions)

    def _between(self, place: str, first: int, last: int) -> Sequence[Event]:
        offsets = self._offsets.get(place, [])
        return self._by_place[place][bisect_left(offsets, first) : bisect_right(offsets, last)] if offsets else ()


class Pieces:
    """The pieces of checkpoints that Kafka still holds, read once where they are asked for: only after a gap."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._values: dict[str, list[tuple[int, bytes]]] | None = None

    def of(self, use_case: UseCase, head: Head) -> Iterator[Piece]:
        """Those of the head's batches, in the order of these."""
        if self._values is None:
            self._values = defaultdict(list)
            for record in self._checkpoints():
                if (found := _header(record.value)) is not None:
                    self._values[found.use_case].append((found.number, record.value))
            for values in self._values.values():
                values.sort(key=_number)
        for number, value in self._values.get(use_case.name, []):
            if head.first <= number <= head.number:
                yield read_piece(value, use_case.columns)


class ReplayLearner:
    """One use case's learner on its way through the log, checkpoint by checkpoint."""

    def __init__(self, use_case: UseCase, events: Events, pieces: Pieces, *, gone: bool) -> None:
        """``gone``: Kafka has dropped the oldest rows or labels, so that a batch may not be there whole any more."""
        self._use_case = use_case
        self._events = events
        self._pieces = pieces
        self._gone = gone
        self._state: State | None = State(use_case)
        self._head: Head | None = None
        self._incomplete = 0

    def observe(self, head: Head) -> list[Prediction]:
        """What the learner says in the batch that ``head`` ends; nothing if that is not known."""
        before, self._head = self._head, head
        if head.number != (before.number if before else 0) + 1:
            self._state = None
            return []
        if self._state is None and before is not None:
            self._state = self._restored(before)
        if self._state is None:
            return []
        said = self._said(self._state, head)
        if self._gone and self._state.learner.version != f"online-{msgspec.json.decode(head.learner, type=_Learnt).learnt}":
            self._state = None
            return []
        return said

    def _said(self, state: State, head: Head) -> list[Prediction]:
        name, out = self._use_case.name, Outcome("online", 0)
        events = self._events.of(head.took)
        mine = [event for event in events if not isinstance(event.message, Label) or event.message.use_case == name]
        online.observe(mine, {name: state}, out)
        return [decode(Prediction, emit.value) for emit in out.emits if emit.topic == Prediction.topic_name]

    def _restored(self, head: Head) -> State | None:
        """The learner as a restart of the service makes it; None where pieces are missing, or it is no state of this use case.

        It is tried again only once nothing waits any more of what was missing.
        """
        if head.number and head.first <= self._incomplete:
            return None
        log = Changelog(State(self._use_case))
        try:
            log.restore(head, (("", piece) for piece in self._pieces.of(self._use_case, head)))
        except msgspec.DecodeError:
            return None
        if not log.whole:
            self._incomplete = head.number
            return None
        return log.state


def answers(
    checkpoints: Checkpoints,
    events: Events,
    use_cases: Mapping[str, UseCase],
    wanted: frozenset[str],
    *,
    gone: bool,
    note: Callable[[int], None],
) -> Answers:
    """What the learner says now about the feature rows ``wanted``; what is not known is missing.

    ``note`` is told by and by of how many answers there are more.
    """
    pieces = Pieces(checkpoints)
    learners = {name: ReplayLearner(use_case, events, pieces, gone=gone) for name, use_case in use_cases.items()}
    found: Answers = {}
    for record in checkpoints():
        try:
            head = read_head(record.value)
        except msgspec.DecodeError:
            continue
        if (learner := learners.get(head.use_case)) is None:
            continue
        said = learner.observe(head)
        found |= {(one.feature_id, one.use_case): one for one in said if one.feature_id in wanted}
        note(len(said))
    return found


class _Learnt(msgspec.Struct):
    learnt: int


class _Header(msgspec.Struct):
    """What only a piece has."""

    use_case: str
    number: int
    gone: msgspec.Raw


_READ_HEADER = msgspec.json.Decoder(_Header)


def _header(value: bytes) -> _Header | None:
    try:
        return _READ_HEADER.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _number(numbered: tuple[int, bytes]) -> int:
    return numbered[0]


def _offset(event: Event) -> int:
    return event.record.offset
