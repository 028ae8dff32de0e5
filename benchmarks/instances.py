"""Several instances of one service, as an operator starts them: one home, one set of ports and one number each."""

from pydantic import SecretStr

from benchmarks.servers import free_metrics_port
from mliot.settings import Settings
from stack import artemis


def instance(settings: Settings, number: int, *, share: str = "") -> Settings:
    """Of one of several: each has a folder of its own, since a part that starts ends what an earlier life of it left in its folder."""
    return settings.model_copy(
        update={
            "home": settings.home / f"instance-{number}",
            "instance": str(number),
            "mqtt_share": share,
            "metrics_port": free_metrics_port(),
            "postgres_dsn": SecretStr(settings.postgres_address),  # its password lies in the first folder, as the broker's does
            "mqtt_password": SecretStr(artemis.make_password(settings)),
        }
    )
