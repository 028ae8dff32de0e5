from typing import Any

import pytest

from stack.health import Health
from stack.plan import Part
from stack.status import WELL_AGAIN_MS, PartStatus, as_json, healthy, merge
from stack.supervise import Running


def part(external: bool = False) -> Part:
    return Part("store", "Kafka to PostgreSQL", (), lambda _: Health("ok"), external=external)


def status(**changes: Any) -> PartStatus:
    told = {"state": "RUNNING", "pid": 7, "since_s": 60} | changes.pop("told", {})
    return merge(part(), Running("store", **told), changes.pop("health", Health("ok", rate_per_s=2.5, lag=4)), 50)


def test_part_that_runs_says_itself_how_it_is() -> None:
    one = status()
    assert (one.state, one.pid, one.up_s, one.rate_per_s, one.lag, one.memory_mb) == ("ok", 7, 60, 2.5, 4, 50)
    assert status(health=Health("waiting", "Kafka is away", last_error="Kafka is away", last_error_ms=9)).detail == "Kafka is away"


@pytest.mark.parametrize("state", ["BACKOFF", "FATAL", "EXITED"])
def test_part_that_ends_again_and_again_is_crashing(state: str) -> None:
    one = status(told={"state": state, "pid": 0}, health=None)
    assert (one.state, one.pid) == ("crashing", None)
    assert "mliot logs store" in one.remark(0)


def test_part_that_crashed_lately_says_how_often_and_what_it_wrote_last() -> None:
    crashing = merge(part(), Running("store", "BACKOFF", 0, 0), None, None, crashed=7, wrote="KeyError: 'x'")
    assert crashing.remark(0) == "see mliot logs store; ended 7 times in 10 min; wrote last: KeyError: 'x'"
    again = merge(part(), Running("store", "RUNNING", 7, 4), Health("ok"), 50, crashed=1, wrote="KeyError: 'x'")
    assert (again.state, again.remark(0)) == ("ok", "ended once in 10 min")
    assert as_json([crashing])["parts"][0]["crashes"] == 7


def test_last_error_has_its_age_and_is_dropped_when_the_part_was_well_for_a_while() -> None:
    one = status(health=Health("ok", last_error="Kafka is away", last_error_ms=1_000))
    assert one.remark(66_000) == "last error 1 min 5 s ago: Kafka is away"
    assert one.remark(1_000 + WELL_AGAIN_MS) == "Kafka to PostgreSQL"
    assert as_json([one])["parts"][0]["last_error"] == "Kafka is away"
    starting = status(health=Health("starting", last_error="Kafka is away", last_error_ms=1_000))
    assert starting.remark(3_601_000) == "last error 1 h ago: Kafka is away"


def test_part_that_nobody_started_is_stopped() -> None:
    assert merge(part(), None, None, None).state == "stopped"
    assert status(told={"state": "STOPPED", "pid": 0}, health=None).state == "stopped"


def test_external_part_has_its_own_word_and_no_process() -> None:
    one = merge(part(external=True), None, Health("away", "refused"), None)
    assert (one.state, one.detail, one.pid) == ("away", "refused", None)


def test_healthy_is_everything_that_was_started_and_something_was() -> None:
    ok, stopped, waiting = status(), merge(part(), None, None, None), status(health=Health("waiting"))
    assert healthy([ok, stopped])
    assert not healthy([ok, waiting])
    assert not healthy([stopped])
    assert not healthy([])


def test_json_has_every_field_of_every_part() -> None:
    told = as_json([status()])
    assert told["healthy"] is True
    assert set(told["parts"][0]) == set(PartStatus.__dataclass_fields__)
