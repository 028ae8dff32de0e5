"""Ids in the order of a time each: what is due is found without a look at what is not."""

import heapq
from collections.abc import Iterator


class TimeQueue:
    """Ids of the same time stand together, since many rows end at the same moment. Nothing is taken out early: whoever is told that an id
    is due knows whether that still holds."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._ids: dict[int, list[str]] = {}

    def add(self, ms: int, id: str) -> None:
        ids = self._ids.get(ms)
        if ids is None:
            heapq.heappush(self._times, ms)
            self._ids[ms] = [id]
        else:
            ids.append(id)

    def until(self, ms: int) -> Iterator[tuple[int, str]]:
        """Takes out everything of a time up to and with ``ms``, ordered by time and id."""
        while self._times and self._times[0] <= ms:
            at = heapq.heappop(self._times)
            for id in sorted(self._ids.pop(at)):
                yield at, id
