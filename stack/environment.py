"""The settings as environment variables: how a stack hands them, whole, to its processes, and how they are read back from one of those."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from mliot.settings import PREFIX, Settings, shown

ADDRESSES = {
    "kafka_bootstrap": "kafka_address",
    "mqtt_url": "mqtt_device_address",
    "postgres_dsn": "postgres_address",
    "endpoint_url": "endpoint_address",
    "dagster_url": "dagster_address",
    "dashboard_url": "dashboard_address",
}
"""The settings that name a server of the user's own, each with the property that says where it is, or the local one."""


def environment(settings: Settings) -> dict[str, str]:
    """Every setting as ``MLIOT_*``, defaults and what is not set too (an ``.env`` file must not come in between).

    It holds secrets: never log it. Paths are absolute: the processes' folder may be another.
    """
    return {_variable(name): _text(getattr(settings, name)) for name in Settings.model_fields}


def settings_in(variables: Mapping[str, str]) -> Settings:
    """The settings that ``variables``, a process's environment, got from :func:`environment`."""
    fields = Settings.model_fields.items()
    return Settings(_env_file=None, **{name: variables.get(_variable(name), field.default) for name, field in fields})


def own_servers(settings: Settings) -> Settings:
    """``settings``, with every address empty that names the local server itself (out of ``mliot env``, say)."""
    none = {name: Settings.model_fields[name].default for name in ADDRESSES}
    local = settings.model_copy(update=none)
    same = [name for name, address in ADDRESSES.items() if getattr(settings, address) == getattr(local, address)]
    return settings.model_copy(update={name: none[name] for name in same})


def differences(here: Settings, there: Settings) -> list[str]:
    """One phrase for each setting that means something else ``here`` than ``there``: its variable and both values, no secrets. Pure."""
    ours, theirs = (environment(own_servers(settings)) for settings in (here, there))
    pairs = {name: (ours.get(_variable(name), ""), theirs.get(_variable(name), "")) for name in Settings.model_fields}
    return [
        f"{_variable(name)} is {shown(name, theirs_is)} there and {shown(name, ours_is)} here"
        for name, (ours_is, theirs_is) in pairs.items()
        if ours_is != theirs_is
    ]


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case SecretStr():
            return value.get_secret_value()
        case Path():
            return str(value.absolute())
        case _:
            return str(value)
