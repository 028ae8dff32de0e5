"""When there is enough new data to be worth a refresh: a decision on counts, pure."""

from collections.abc import Collection
from hashlib import blake2b

import msgspec

from mliot.usecase import UseCase

WATCHED = ("stream-frame", "stream-feature", "stream-label")
"""Topics whose growth makes models better."""
GROWN_BY = 20_000
"""Records that make a refresh worth its minute: about an hour of the simulated fleet."""
STILL_SHARE = 0.02
"""Before the first champion: data that grew by less than this between two looks has arrived, and the first training may begin."""
RETRY_SHARE = 0.1
"""Still no champion after a refresh: it is tried again once there is so much more."""


class Seen(msgspec.Struct, frozen=True):
    """The sensor's memory: records in the watched topics at its last look, and when it last asked for a refresh.

    ``tried`` are the :func:`declared` use cases that had no champion at some refresh: one that is new, or declared anew, is not among them.
    """

    looked: int = 0
    asked: int = 0
    tried: tuple[str, ...] = ()

    def after(self, now: int, lacking: Collection[str], reason: str | None) -> "Seen":
        """The memory after a look at ``now`` records, with a refresh asked for where there is a ``reason``."""
        if reason is None:
            return Seen(now, self.asked, self.tried)
        return Seen(now, now, tuple(sorted({*self.tried, *lacking})))


def declared(use_case: UseCase) -> str:
    """``name@digest`` of all that its file says: who mends what the gate refused need not wait for more data."""
    return f"{use_case.name}@{blake2b(use_case.model_dump_json().encode(), digest_size=6).hexdigest()}"


def reason_to_refresh(seen: Seen, now: int, lacking: Collection[str]) -> str | None:
    """Why to refresh now, of ``now`` records in all. None where there is no reason.

    ``lacking`` are the :func:`declared` use cases without champion.
    """
    if now < seen.asked:
        return f"the topics were made anew and hold {now} records" if now else None
    grown = now - seen.asked
    if grown >= GROWN_BY and seen.asked:
        return f"{grown} new records"
    still = now > 0 and now - seen.looked <= now * STILL_SHARE
    untried = set(lacking) - set(seen.tried)
    if untried and still:
        return f"{_names(untried)}: no champion yet, {now} records to learn from"
    if lacking and still and grown > seen.asked * RETRY_SHARE:
        return f"{_names(lacking)}: still no champion, and {grown} new records"
    if not lacking and grown >= GROWN_BY:
        return f"{grown} new records"
    return None


def _names(lacking: Collection[str]) -> str:
    return ", ".join(sorted(one.partition("@")[0] for one in lacking))
