"""Several instances of one service, as an operator starts them: one home, one set of ports and one number each."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pydantic import SecretStr

from benchmarks import log
from benchmarks.servers import Health, free_metrics_port, started
from mliot.settings import Settings
from streaming.ports import Emit


def instance(settings: Settings, number: int, *, share: str = "") -> Settings:
    """Of one of several: each has a folder of its own, since a part that starts ends what an earlier life of it left in its folder."""
    return settings.model_copy(
        update={
            "home": settings.home / f"instance-{number}",
            "instance": str(number),
            "mqtt_share": share,
            "metrics_port": free_metrics_port(),
            "postgres_dsn": SecretStr(settings.postgres_address),  # its password lies in the first folder
        }
    )


@contextmanager
def started_instances(settings: Settings, service: str, instances: int) -> Iterator[Health]:
    """So many instances of ``service``, all of them working, and what they say of themselves."""
    with ExitStack() as stack:
        each = []
        for number in range(instances):
            each.append(instance(settings, number))
            stack.enter_context(started(each[-1], service))
        health = Health(*((one, service) for one in each))
        health.wait_ok()
        yield health


def drained_s(settings: Settings, service: str, emits: Sequence[Emit], instances: int) -> float:
    """Seconds that so many instances take for ``emits``, which all come into sight at once."""
    log.empty(settings, service)
    with started_instances(settings, service, instances) as health:
        return health.seconds_to_read(len(emits), log.Backlog(settings, emits).show())
