"""How long a service of ours takes for records that all come into sight at once."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack

from benchmarks import log
from benchmarks.servers import Health, started
from mliot.settings import Settings
from streaming.runtime.effects import Emit

Start = Callable[[Settings, str], AbstractContextManager[object]]


def drain_s(
    settings: Settings, service: str, emits: Sequence[Emit], start: Start = started, instances: Sequence[Settings] | None = None
) -> float:
    """Seconds from the moment when the running ``service`` may see ``emits`` until it has committed what it made of the last one.

    The topics are emptied before. ``start`` starts its process, or one for each of ``instances``, which share the work.
    """
    log.empty(settings, service)
    each = instances or (settings,)
    with ExitStack() as stack:
        for one in each:
            stack.enter_context(start(one, service))
        health = Health(*((one, service) for one in each))
        health.wait_ok()
        backlog = log.Backlog(settings, emits)
        return health.seconds_to_read(len(emits), backlog.show())
