"""What a service says of itself."""

from mliot.clock import ManualClock
from mliot.services import ServiceStatus


def said(status: ServiceStatus) -> tuple[object, object]:
    now = status.snapshot()
    return now["state"], now["waits_for"]


def test_a_problem_keeps_it_from_being_ok_until_it_is_over() -> None:
    status = ServiceStatus("commands", ManualClock(0))
    status.ok()
    status.problem("room-1-fan hears nothing")
    assert said(status) == ("waiting", "room-1-fan hears nothing")
    status.error("rewound: a rebalance")
    assert said(status) == ("waiting", "room-1-fan hears nothing"), "what is wrong now, not what was last"
    status.waiting("Kafka is away")
    assert said(status) == ("waiting", "Kafka is away")
    status.ok()
    status.problem("room-1-fan hears nothing")
    assert status.snapshot()["counts"]["errors"] == 3, "said once as long as it is the same"
    status.problem("")
    assert said(status)[0] == "ok"
