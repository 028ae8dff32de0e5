"""MQTT topic filters (MQTT 5, section 4.7): which topics one matches, and whether two match one together. Pure."""

import re
from typing import NamedTuple

MAX_BYTES = 65_535
_NAMED_LEVEL = re.compile(r"(?<=/)\{\w+\}(?=/|$)|^\{\w+\}(?=/|$)")


class TopicFilter(NamedTuple):
    """A filter, level by level: ``+`` is any one level, ``#`` at the end all that follow, and the level above."""

    levels: tuple[str, ...]

    @classmethod
    def of(cls, topics: str) -> "TopicFilter":
        """From a filter in which a level may have a name: ``iot/{device}/frames`` is ``iot/+/frames``.

        Raises :class:`ValueError` with what is wrong with it.
        """
        text = _NAMED_LEVEL.sub("+", topics)
        levels = tuple(text.split("/"))
        if not text or "\0" in text or len(text.encode()) > MAX_BYTES:
            raise ValueError(f"must have 1 to {MAX_BYTES} bytes, none of them zero")
        if text.startswith("$"):
            raise ValueError("must not begin with $: those topics are the broker's own")
        if any(("+" in level or "#" in level) and level not in ("+", "#") for level in levels) or "#" in levels[:-1]:
            raise ValueError("+ stands for a whole level, # for all levels that follow, at the end")
        return cls(levels)

    @property
    def text(self) -> str:
        return "/".join(self.levels)

    def matches(self, topic: tuple[str, ...] | list[str]) -> bool:
        """True where it matches the topic of these levels."""
        rest = self.levels[-1] == "#"
        levels = self.levels[:-1] if rest else self.levels
        if len(topic) < len(levels) if rest else len(topic) != len(levels):
            return False
        return all(level in ("+", found) for level, found in zip(levels, topic, strict=False))

    def overlaps(self, other: "TopicFilter") -> bool:
        """True where there is a topic that both match."""
        for own, others in zip(self.levels, other.levels, strict=False):
            if "#" in (own, others):
                return True
            if own != others and "+" not in (own, others):
                return False
        shorter, longer = sorted((self.levels, other.levels), key=len)
        return len(shorter) == len(longer) or longer[len(shorter) :] == ("#",)
