"""The online learner's answers of the past: its own code, run over the log batch by batch as its checkpoints tell.

The order in which it learnt depends on what lay in which batch, so each checkpoint says which records its batch held. Where batches
follow each other without a gap, the learner goes on from its own state; after a gap (Kafka compacts the topic) it starts from the
checkpoint behind the gap, and what was answered inside it is not known.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from mliot.lineage.audit import LogRecord
from mliot.messages import Feature, Label, Prediction, decode
from mliot.usecase import UseCase
from streaming import online
from streaming.learner import learner_for
from streaming.ports import Outcome, Partition, Record
from streaming.replay.past import Lesson

Answers = dict[tuple[str, str], Prediction]
"""By feature row and use case."""


class _Learnt(msgspec.Struct):
    learnt: int


class _Checkpoint(msgspec.Struct):
    """What is looked at of a checkpoint; one of an earlier version lacks the first two, and nothing can be made of it."""

    learner: _Learnt
    use_case: str = ""
    took: dict[str, tuple[int, int]] = {}


_READ = msgspec.json.Decoder(_Checkpoint)


class Lessons:
    """Every row and label that concerns a learner, by partition and in its order."""

    def __init__(self, lessons: Iterable[Lesson]) -> None:
        self._by_place: dict[str, list[Lesson]] = defaultdict(list)
        for lesson in lessons:
            self._by_place[f"{lesson.record.topic}-{lesson.record.partition}"].append(lesson)
        for found in self._by_place.values():
            found.sort(key=_offset)
        self._offsets = {place: [_offset(lesson) for lesson in found] for place, found in self._by_place.items()}

    def __len__(self) -> int:
        return sum(len(found) for found in self._by_place.values())

    def span(self, place: str, first: int, last: int) -> tuple[int, int]:
        """Where the lessons of these offsets stand among those of their partition."""
        offsets = self._offsets.get(place, [])
        return bisect_left(offsets, first), bisect_right(offsets, last)

    def between(self, place: str, begin: int, end: int) -> list[Lesson]:
        return self._by_place[place][begin:end] if end > begin else []

    def places(self) -> Iterable[str]:
        return self._by_place.keys()


class Pupil:
    """One use case's learner on its way through the log."""

    def __init__(self, use_case: UseCase, lessons: Lessons, *, gone: bool) -> None:
        """``gone``: Kafka has dropped the oldest rows, so that a label may be learnt whose row is not there any more."""
        self._use_case = use_case
        self._lessons = lessons
        self._gone = gone
        self._at = dict.fromkeys(lessons.places(), 0)
        self._student: online.Student | None = online.Student(use_case, learner_for(use_case))
        self._state = b""

    def attend(self, took: Mapping[str, tuple[int, int]], learnt: int, state: bytes) -> list[Prediction]:
        """What the learner says in one batch, after which it had ``learnt`` so many labels and was in ``state``; nothing if not known."""
        spans = {place: self._lessons.span(place, first, last) for place, (first, last) in took.items()}
        taken = [lesson for place, (begin, end) in spans.items() for lesson in self._lessons.between(place, begin, end)]
        before, self._at = self._at, self._at | {place: end for place, (_, end) in spans.items()}
        if not taken:
            self._state = state
            return []
        if any(begin != before.get(place, 0) for place, (begin, _) in spans.items()):
            self._student, self._state = None, state
            return []
        student = self._student or self._restored(before)
        if student is None:
            self._state = state
            return []
        said = self._decide(student, taken)
        if self._gone and student.learner.version != f"online-{learnt}":
            self._student, self._state = None, state
            return []
        self._student, self._state = student, state
        return said

    def _decide(self, student: online.Student, taken: Sequence[Lesson]) -> list[Prediction]:
        name, out = self._use_case.name, Outcome("online", 0)
        mine = [item for item in _merged(taken) if not isinstance(item.message, Label) or item.message.use_case == name]
        online.decide(mine, {name: student}, out)
        return [decode(Prediction, emit.value) for emit in out.emits if emit.topic == Prediction.topic_name]

    def _restored(self, before: Mapping[str, int]) -> online.Student | None:
        """The learner as a restart of the service makes it: the last state, and the rows and labels that still wait.

        None where the state is none that could be restored.
        """
        student = online.Student(self._use_case, learner_for(self._use_case))
        if self._state:
            try:
                student.restore(self._state)
            except msgspec.DecodeError:
                return None
        past = [lesson for place, at in before.items() for lesson in self._lessons.between(place, 0, at)]
        online.remember([_encoded(lesson) for lesson in past if _may_wait(lesson, student)], {self._use_case.name: student})
        return student


def answers(
    checkpoints: Iterable[LogRecord],
    lessons: Lessons,
    use_cases: Mapping[str, UseCase],
    wanted: frozenset[str],
    *,
    gone: bool,
    note: Callable[[int], None],
) -> Answers:
    """What the learner says now about the feature rows ``wanted``; what is not known is missing.

    ``checkpoints`` in the order of their partitions; ``note`` is told by and by of how many answers there are more.
    """
    pupils = {name: Pupil(use_case, lessons, gone=gone) for name, use_case in use_cases.items()}
    found: Answers = {}
    for record in checkpoints:
        try:
            checkpoint = _READ.decode(record.value)
        except msgspec.DecodeError:
            continue
        pupil = pupils.get(checkpoint.use_case)
        if pupil is None or not checkpoint.took:
            continue
        said = pupil.attend(checkpoint.took, checkpoint.learner.learnt, record.value)
        found |= {(one.feature_id, one.use_case): one for one in said if one.feature_id in wanted}
        note(len(said))
    return found


def _merged(lessons: Sequence[Lesson]) -> list[Lesson]:
    """In the order in which the learner met them: what a batch took is a prefix of each partition, merged by event time."""
    partitions = frozenset(Partition(lesson.record.topic, lesson.record.partition) for lesson in lessons)
    waiting = online.Waiting(partitions)
    waiting.add(lessons)
    return waiting.ready(partitions)


def _may_wait(lesson: Lesson, student: online.Student) -> bool:
    """False where the learner has let go of the row or learnt the label: those need not be encoded."""
    message, times = lesson.message, student.times
    if isinstance(message, Feature):
        return message.end_ms >= times.get(message.key, 0) - student.use_case.delay_ms - online.PATIENCE_MS
    return isinstance(message, Label) and message.available_ms > times.get(message.key, 0)


def _encoded(lesson: Lesson) -> Record:
    assert isinstance(lesson.message, Feature | Label), lesson
    return lesson.record._replace(value=lesson.message.encode())


def _offset(lesson: Lesson) -> int:
    return lesson.record.offset
