"""The driver: what a failure of an effect means."""

import pytest

from mliot.clock import Deadline, ManualClock, SystemClock
from mliot.errors import Fatal, Transient
from mliot.services import SLOW_S, ServiceStatus
from streaming.runtime.driver import drive, probed, watched
from streaming.runtime.effects import Batch, Commit, Effects, Open, Outcome, Positions, Read, Rewound


class Script:
    """Answers each effect with the next item of its list; an exception is raised."""

    def __init__(self, **answers: list) -> None:
        self.answers = answers
        self.seen: list[str] = []

    def __call__(self, effect):
        name = type(effect).__name__
        self.seen.append(name)
        answer = self.answers[name].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def done(self) -> bool:
        return not self.answers["Read"]


def service() -> Effects:
    yield Open(("t",))
    while True:
        batch = yield Read(1)
        out = Outcome("s", batch.now_ms)
        out.counts["read"] = 1
        yield Commit(out, {})


def run(script: Script) -> ServiceStatus:
    status = ServiceStatus("bridge", ManualClock())
    drive(service, dict.fromkeys((Open, Read, Commit), script), status=status, stopped=lambda: script.done, idle=lambda _: None)
    return status


BATCH = Batch([], frozenset(), 0)


def test_a_passing_failure_is_tried_again_with_the_same_effect() -> None:
    script = Script(Open=[None], Read=[Transient("away"), Transient("away"), BATCH, BATCH], Commit=[None])
    status = run(script)
    assert script.seen == ["Open", "Read", "Read", "Read", "Commit", "Read"]
    assert status.snapshot()["last_error"] == "away"


def test_a_rewind_starts_a_new_generator() -> None:
    script = Script(Open=[None, None], Read=[BATCH, BATCH], Commit=[Rewound("aborted"), None])
    status = run(script)
    assert script.seen == ["Open", "Read", "Commit", "Open", "Read"]
    assert status.snapshot()["counts"]["rewinds"] == 1


def test_what_can_not_go_on_ends_the_process() -> None:
    with pytest.raises(Fatal, match="fenced"):
        run(Script(Open=[Fatal("fenced")], Read=[BATCH], Commit=[]))


def test_only_what_was_committed_is_counted() -> None:
    script = Script(Open=[None, None], Read=[BATCH, BATCH, BATCH], Commit=[Rewound("aborted"), None])
    assert run(script).snapshot()["counts"]["read"] == 1


def test_a_stop_does_not_wait_for_a_part_that_is_away() -> None:
    status = ServiceStatus("bridge", ManualClock())
    tries: list[int] = []

    def away(_) -> None:
        tries.append(1)
        raise Transient("away")

    drive(service, {Open: away}, status=status, stopped=lambda: len(tries) > 3, idle=lambda _: None)
    assert status.snapshot()["state"] == "stopping"


def test_a_part_that_hangs_is_waited_for_until_it_answers() -> None:
    clock = ManualClock()
    status = ServiceStatus("store", clock)
    seen: list[str] = []

    def hangs(_) -> None:
        clock.advance(round(SLOW_S * 1000))
        deadline = Deadline.after(SystemClock(), 10)
        while status.snapshot()["state"] != "waiting":
            assert not deadline.passed()
        seen.append(status.snapshot()["last_error"])

    def asks() -> Effects:
        yield Positions({})
        seen.append(status.snapshot()["state"])
        yield Read(1)

    with watched(status):
        drive(asks, {Positions: hangs, Read: lambda _: BATCH}, status=status, stopped=lambda: len(seen) == 2, idle=lambda _: None)
    assert seen == ["PostgreSQL has not answered for 3 s", "ok"]
    assert status.snapshot()["counts"]["errors"] == 1


def test_a_part_that_is_seldom_asked_is_told_of_while_nothing_is_asked_of_it() -> None:
    status = ServiceStatus("inference", ManualClock())
    answers = iter(["model server: away", "model server: away", ""])
    status.ok()
    states: list[str] = []

    def probe() -> str:
        states.append(status.snapshot()["state"])
        return next(answers, "")

    with probed(status, probe):
        deadline = Deadline.after(SystemClock(), 10)
        while len(states) < 4:
            status.ok()  # the loop goes on reading meanwhile
            assert not deadline.passed()
    assert states == ["ok", "waiting", "waiting", "ok"]
    assert (status.snapshot()["last_error"], status.snapshot()["counts"]["errors"]) == ("model server: away", 1)
