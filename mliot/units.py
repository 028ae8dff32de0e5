"""A number and its unit as people say them. Pure."""

MIN_WORD = 4
"""Letters from which on a unit is a word, such as level, and no symbol, such as lx or Pa."""


def is_word(unit: str) -> bool:
    return unit.isalpha() and len(unit) >= MIN_WORD


def with_unit(shown: str, unit: str, gap: str = " ") -> str:
    """``24.7 °C``; a unit that is a word goes before: ``level 2``."""
    if not unit:
        return shown
    return f"{unit} {shown}" if is_word(unit) else f"{shown}{gap}{unit}"
