"""Whatever order things go wrong in: no transaction is begun on a producer that any doubt ever hung over."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mliot.errors import Fatal, Transient
from streaming.kafka.transactions import Transactions
from streaming.runtime.effects import Commit, Outcome, Rewound


def an_effect() -> Commit:
    return Commit(Outcome("s", 0), {})


@dataclass(frozen=True)
class Course:
    """How a transaction goes: so often it is asked for in vain, then it commits or fails; ``doubt`` is what may have been sent twice."""

    slow: int = 0
    failure: Exception | None = None
    doubt: str = ""


@dataclass
class ScriptedProducer:
    """A producer whose transactions take the course that ``next_course`` says. As on the real one, each ``begin`` clears the doubt."""

    next_course: Callable[[], Course]
    begun: list[Commit] = field(default_factory=list)
    committed: list[Commit] = field(default_factory=list)
    closed: bool = False
    spoilt: str = ""
    wrong: list[str] = field(default_factory=list)
    _course: Course = field(default_factory=Course)
    _asked: int = 0

    def begin(self, effect: Commit, group: Any) -> None:
        if self.spoilt or self.closed:
            self.wrong.append(f"begun although {self.spoilt or 'closed'}")
        if self._asked <= self._course.slow and self.begun:
            self.wrong.append("begun while another transaction runs")
        self._course, self._asked = self.next_course(), 0
        self.begun.append(effect)
        self.spoilt = self.spoilt or self._course.doubt or ("failed" if self._course.failure else "")

    def outcome(self) -> Exception | None:
        self._asked += 1
        if self._asked <= self._course.slow:
            raise Transient("not committed yet")
        if self._course.failure is None and len(self.committed) < len(self.begun):
            self.committed.append(self.begun[-1])
        return self._course.failure

    def doubt(self) -> str:
        return self._course.doubt

    def close(self) -> None:
        self.closed = True


class Producers:
    """Makes producers; ``courses`` are those of the next transactions, calm ones after them. ``away``: so often none can be made."""

    def __init__(self, *courses: Course, away: int = 0) -> None:
        self.courses, self.made, self.away = list(courses), [], away

    def __call__(self) -> ScriptedProducer:
        if self.away:
            self.away -= 1
            raise Transient("Kafka is away")
        assert all(producer.closed for producer in self.made), "a new producer beside one that is still in use"
        self.made.append(ScriptedProducer(lambda: self.courses.pop(0) if self.courses else Course()))
        return self.made[-1]

    @property
    def wrong(self) -> list[str]:
        return [each for producer in self.made for each in producer.wrong]


def test_one_producer_serves_as_long_as_nothing_speaks_against_it() -> None:
    producers = Producers()
    transactions = Transactions(producers)
    for _ in range(3):
        transactions.commit(an_effect(), None)
    assert [len(producer.committed) for producer in producers.made] == [3]


@pytest.mark.parametrize("course", [Course(failure=ValueError("aborted")), Course(doubt="REQTMOUT")], ids=["a failure", "a doubt"])
def test_the_next_transaction_runs_on_another_producer_after(course: Course) -> None:
    producers = Producers(course)
    transactions = Transactions(producers)
    with pytest.raises(Rewound):
        transactions.commit(an_effect(), None)
    transactions.ready()
    transactions.commit(an_effect(), None)
    assert [len(producer.begun) for producer in producers.made] == [1, 1]
    assert producers.wrong == []


def test_a_doubt_is_not_forgotten_where_a_slow_commit_ends_while_partitions_are_opened_anew() -> None:
    producers = Producers(Course(slow=1, doubt="REQTMOUT: EndTxnRequest timed out"))
    transactions = Transactions(producers)
    with pytest.raises(Transient):
        transactions.commit(an_effect(), None)
    transactions.ready()  # partitions moved: the service begins anew with Open
    transactions.commit(an_effect(), None)
    assert producers.wrong == []
    assert [len(producer.begun) for producer in producers.made] == [1, 1]


def test_a_commit_that_is_asked_for_again_waits_on() -> None:
    producers = Producers(Course(slow=2))
    transactions, effect = Transactions(producers), an_effect()
    for _ in range(2):
        with pytest.raises(Transient):
            transactions.commit(effect, None)
    transactions.commit(effect, None)
    assert producers.made[0].begun == [effect]


def test_a_commit_that_another_one_left_running_is_not_taken_for_its_own() -> None:
    producers = Producers(Course(slow=1))
    transactions, first, second = Transactions(producers), an_effect(), an_effect()
    with pytest.raises(Transient):
        transactions.commit(first, None)
    transactions.commit(second, None)
    assert [id(effect) for effect in producers.made[0].committed] == [id(first), id(second)]


def test_nobody_says_what_became_of_a_commit_whose_producer_was_let_go() -> None:
    """It may have committed or not: only the committed positions tell."""
    producers = Producers(Course(slow=1))
    transactions, effect = Transactions(producers), an_effect()
    with pytest.raises(Transient):
        transactions.commit(effect, None)
    transactions.drop()
    with pytest.raises(Rewound):
        transactions.commit(effect, None)
    assert [len(producer.begun) for producer in producers.made] == [1]


def test_a_client_that_never_comes_back_ends_the_process() -> None:
    class Lost(ScriptedProducer):
        def outcome(self) -> Exception | None:
            raise Fatal("does not come back")

    with pytest.raises(Fatal):
        Transactions(lambda: Lost(Course)).commit(an_effect(), None)


class AnyOrder(RuleBasedStateMachine):
    """The driver's moves in any order: commit, again after a Transient, opened anew after a Rewound or a rebalance, closed."""

    @initialize(away=st.integers(0, 1))
    def begin(self, away: int) -> None:
        self.producers = Producers(away=away)
        self.transactions = Transactions(self.producers)
        self.effect: Commit | None = None
        self.is_open = False
        self.confirmed: list[Commit] = []

    @precondition(lambda self: self.effect is None and self.is_open)
    @rule(slow=st.integers(0, 3), fails=st.booleans(), doubt=st.sampled_from(["", "", "REQTMOUT", "FAIL"]))
    def decide(self, slow: int, fails: bool, doubt: str) -> None:
        self.effect = an_effect()
        self.producers.courses = [Course(slow, RuntimeError("aborted") if fails else None, doubt)]

    @precondition(lambda self: self.effect is not None)
    @rule()
    def commit(self) -> None:
        assert self.effect is not None
        try:
            self.transactions.commit(self.effect, None)
        except Transient:
            return
        except Rewound:
            self.is_open = False
        else:
            self.confirmed.append(self.effect)
        self.effect = None

    @rule()
    def rebalance(self) -> None:
        """The service is closed wherever it stands, and begins with Open."""
        self.effect, self.is_open = None, False

    @precondition(lambda self: not self.is_open)
    @rule(away=st.integers(0, 2))
    def open_anew(self, away: int) -> None:
        self.producers.away = away
        try:
            self.transactions.ready()
        except Transient:
            return
        self.is_open = True

    @rule()
    def close(self) -> None:
        self.transactions.drop()

    @invariant()
    def no_begin_in_doubt(self) -> None:
        assert getattr(self, "producers", Producers()).wrong == []

    @invariant()
    def confirmed_is_committed(self) -> None:
        made = getattr(self, "producers", Producers()).made
        committed = {id(effect) for producer in made for effect in producer.committed}
        assert all(id(effect) in committed for effect in getattr(self, "confirmed", []))
        begun = [id(effect) for producer in made for effect in producer.begun]
        assert len(set(begun)) == len(begun), "a commit was begun twice"


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
