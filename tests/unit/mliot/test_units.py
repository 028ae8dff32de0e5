"""Units as people say them."""

import pytest

from mliot.units import is_word, with_unit


@pytest.mark.parametrize(("unit", "told"), [("level", "level 2"), ("L/s", "2 L/s"), ("lx", "2 lx"), ("%RH", "2 %RH"), ("", "2")])
def test_a_word_goes_before_its_number_and_a_symbol_after_it(unit: str, told: str) -> None:
    assert with_unit("2", unit) == told
    assert is_word(unit) is (unit == "level")
