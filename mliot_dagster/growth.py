"""When there is enough new data to be worth a refresh: a decision on counts, pure."""

from collections.abc import Mapping

import msgspec

WATCHED = ("stream-frame", "stream-feature", "stream-label")
"""Topics whose growth makes models better."""
GROWN_BY = 20_000
"""Records that make a refresh worth its minute: about an hour of the simulated fleet."""
STILL_SHARE = 0.02
"""Before the first champion: data that grew by less than this between two looks has arrived, and the first training may begin."""
RETRY_SHARE = 0.1
"""Still no champion after a refresh: it is tried again once there is so much more."""


class Seen(msgspec.Struct, frozen=True):
    """The sensor's memory: records in the watched topics at its last look, and when it last asked for a refresh."""

    looked: int = 0
    asked: int = 0


def total(ends: Mapping[str, int]) -> int:
    """Records ever written to the watched topics."""
    return sum(ends.values())


def reason_to_refresh(seen: Seen, now: int, *, without_champion: int) -> str | None:
    """Why to refresh now, of ``now`` records in all and so many use cases without champion; None where there is no reason."""
    if now < seen.asked:
        return f"the topics were made anew and hold {now} records" if now else None
    grown = now - seen.asked
    if grown >= GROWN_BY and seen.asked:
        return f"{grown} new records"
    if without_champion and grown > seen.asked * RETRY_SHARE and now - seen.looked <= now * STILL_SHARE:
        return f"{without_champion} use case{'s' if without_champion > 1 else ''} without a champion, and {grown} new records"
    if not without_champion and grown >= GROWN_BY:
        return f"{grown} new records"
    return None
