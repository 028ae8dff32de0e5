"""A property must not fail because another stack runs on the machine."""

import hypothesis


def test_no_property_has_a_deadline_and_no_slow_machine_is_a_finding() -> None:
    assert hypothesis.settings().deadline is None
    assert hypothesis.HealthCheck.too_slow in hypothesis.settings().suppress_health_check
