"""Many sources as one stream in time order.

Windows close by the watermark, the least event time over partitions: what is published out of order by more than the grace comes late.
So the history of all devices and replays goes out merged, and :mod:`devices.publisher` keeps the broker from mixing it up.
"""

from collections.abc import Iterable, Iterator
from heapq import merge

from devices.outgoing import Outgoing


def merged(streams: Iterable[Iterator[Outgoing]]) -> Iterator[Outgoing]:
    """The messages of all ``streams`` (each in time order) in time order; lazily, so that a long history costs no memory."""
    return merge(*streams, key=lambda outgoing: outgoing.event_ms)
