"""The settings as environment variables: how a stack hands them, whole, to the processes that it starts."""

from pydantic import SecretStr

from mliot.settings import PREFIX, Settings


def environment(settings: Settings) -> dict[str, str]:
    """Every setting as ``MLIOT_*``, defaults too (an ``.env`` file must not come in between). It holds secrets: never log it."""
    values = {name: getattr(settings, name) for name in Settings.model_fields} | {
        "home": settings.home.absolute()
    }  # their folder may be another
    return {
        f"{PREFIX}{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in values.items()
        if value is not None
    }
