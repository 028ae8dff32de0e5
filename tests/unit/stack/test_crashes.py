import time

from stack.crashes import crashes

NOW_S = 1_764_000_000.0


def line(ago_s: float, text: str) -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(NOW_S - ago_s))},123 {text}"


def test_only_ends_that_nobody_asked_for_are_counted_each_with_its_part() -> None:
    lines = [
        line(50, "INFO spawned: 'store' with pid 7"),
        line(40, "WARN exited: store (exit status 1; not expected)"),
        line(30, "WARN exited: store (terminated by SIGKILL; not expected)"),
        line(20, "WARN stopped: kafka (exit status 143)"),
        line(10, "WARN exited: dagster-code (exit status 1; not expected)"),
        "  exited: bridge (in a line that is not the supervisor's)",
    ]
    assert crashes(lines, NOW_S - 600) == {"store": 2, "dagster-code": 1}


def test_what_is_long_past_or_was_another_supervisors_is_not_counted() -> None:
    lines = [
        line(601, "WARN exited: bridge (exit status 1; not expected)"),
        line(90, "WARN exited: store (exit status 1; not expected)"),
    ]
    assert crashes(lines, NOW_S - 600) == {"store": 1}
    assert crashes([*lines, line(80, "INFO supervisord started with pid 9")], NOW_S - 600) == {}
