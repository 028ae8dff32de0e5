"""Every setting of MLIoT in one typed object, read once from ``MLIOT_*`` variables (and ``.env``) and passed down."""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlencode, urlsplit

from pydantic import Field, FilePath, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict

from mliot.errors import SettingError
from mliot.mqttaddress import PLATFORM_USER

PREFIX = "MLIOT_"
HOST = "127.0.0.1"
STACK_MARK = "_MLIOT_STACK"
"""In the environment of every process of a local stack: the stack's home. Such a process has all its settings from that environment."""
HOME = ".mliot"
ENV_FILE = ".env"
Port = Annotated[int, Field(ge=1, le=65535)]
NO_SETTINGS = frozenset({"MLIOT_WAREHOUSE", "MLIOT_DAGSTER_STORAGE", "MLIOT_DATA"})
"""Variables of ours that are no settings: the stack hands the first two to dbt and Dagster, benchmarks read their data from the third."""


class Settings(BaseSettings):
    """The settings. Each field is the variable ``MLIOT_<FIELD>``; its description is what ``docs/settings.md`` prints."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=ENV_FILE, extra="ignore", frozen=True, hide_input_in_errors=False)

    home: Path = Field(
        Path(HOME),
        description="Folder of everything the local stack keeps: data, logs, models, journals; "
        "where it is not set, the nearest .mliot in the working folder or above it.",
    )
    usecases: Path | None = Field(None, description="Folder of further use case files, beside the built-in ones.")
    features: Path | None = Field(None, description="Folder of further dbt models, one SQL file a window grain or feature model.")
    decoders: Path | None = Field(
        None, description="Folder of further decoders of MQTT messages, each a Python file with its examples beside it."
    )
    codecs: Path | None = Field(
        None, description="Folder of makers' LoRaWAN codecs, JavaScript files, for uplinks that the network server did not decode."
    )
    measurements: Path | None = Field(None, description="YAML file of further measurements, in the shape of mliot/measurements.yaml.")
    retention_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        120, description="Frames older than this are dead-lettered; Kafka keeps its topics as long."
    )

    kafka_bootstrap: str = Field("", description="Kafka of your own, host:port[,host:port]; empty: the local stack runs one.")
    mqtt_url: str = Field("", description="MQTT 5 broker of your own, mqtt://[user:password@]host:port; empty: the local stack runs one.")
    mqtt_ca: FilePath | None = Field(
        None, description="PEM file of the authorities that may have signed the certificate of your mqtts:// broker; empty: the system's."
    )
    mqtt_certificate: FilePath | None = Field(None, description="PEM file of the certificate that an mqtts:// broker wants of its clients.")
    mqtt_key: FilePath | None = Field(None, description="PEM file of that certificate's private key; empty: it is in the same file.")
    postgres_dsn: SecretStr = Field(
        SecretStr(""), description="PostgreSQL of your own, postgresql://user:password@host:port/database; empty: the local stack runs one."
    )
    endpoint_url: str = Field("", description="Prediction endpoint, http://host:port; empty: the local stack runs one.")
    dagster_url: str = Field("", description="Dagster's web server, http://host:port; empty: the local stack runs one.")
    dashboard_url: str = Field("", description="Operators' dashboard, http://host:port; empty: the local stack runs one.")

    kafka_port: Port = Field(19092, description="Port of the local Kafka.")
    kafka_controller_port: Port = Field(19093, description="Port of the local Kafka's controller.")
    mqtt_port: Port = Field(11883, description="Port of the local MQTT broker.")
    mqtt_metrics_port: Port = Field(11884, description="Port on which the local MQTT broker says how many messages wait in it.")
    mqtt_cluster_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0, description="Port on which the local MQTT broker is spoken to by the others of its cluster."
    )
    mqtt_cluster: str = Field("", description="Cluster ports of the other MQTT brokers, host:port[,host:port]; empty: it stands alone.")
    mqtt_password: SecretStr = Field(
        SecretStr(""),
        description="Password of the platform at the local MQTT broker, one for all of a cluster; empty: it is made at the first start.",
    )
    postgres_port: Port = Field(15432, description="Port of the local PostgreSQL.")
    endpoint_port: Port = Field(13000, description="Port of the prediction endpoint.")
    dagster_port: Port = Field(13070, description="Port of Dagster's web server.")
    dagster_code_port: Port = Field(13071, description="Port of Dagster's code server.")
    dashboard_port: Port = Field(18080, description="Port of the dashboard.")
    metrics_port: Annotated[int, Field(ge=1, le=65000)] = Field(
        19400, description="First of the ports on which the services answer /metrics and /health, one each."
    )

    hosts: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]*(,[A-Za-z0-9.-]+)*$")] = Field(
        "",
        description="Host names beside localhost to which the HTTP servers answer (behind your own proxy); comma-separated.",
    )

    partitions: Annotated[int, Field(ge=1, le=1024)] = Field(4, description="Partitions of each Kafka topic that MLIoT creates.")
    batch_rows: Annotated[int, Field(ge=1, le=100_000)] = Field(5000, description="Most records in one batch of a service.")
    commit_ms: Annotated[int, Field(ge=1, le=10_000)] = Field(10, description="Longest wait for a batch to fill, in milliseconds.")
    grace_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        5, description="How long after its end a window waits for frames that come late, in seconds."
    )
    idle_s: Annotated[float, Field(gt=0, le=86_400)] = Field(
        5, description="A partition silent for this long no longer holds windows open, in seconds."
    )
    new_names: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        2000,
        description="New device names, and as many new place names, that may come through one MQTT subscription in an hour, "
        "and a tenth as many new names of measurements; frames beyond that are dead letters.",
    )
    transaction_s: Annotated[float, Field(ge=1, le=900)] = Field(15, description="Budget of one commit, in seconds.")

    fleet_rooms: Annotated[int, Field(ge=1, le=10_000)] = Field(3, description="Rooms in the simulated fleet, the reference room included.")
    fleet_period_s: Annotated[float, Field(gt=0, le=3600)] = Field(5, description="Seconds between two frames of a simulated sensor.")
    fleet_history_days: Annotated[float, Field(ge=0, le=60)] = Field(2, description="Days of history that the simulated fleet sends first.")
    fleet_faults: str = Field("", description="Faults of the simulated fleet, of stuck, gap, spike, drift, bad_json; comma-separated.")
    replay: str = Field(
        "water_flow",
        description="Table that the fleet plays beside its rooms: a mapping of devices/mappings, or a mapping file's path; empty: none.",
    )
    seed: int = Field(1, description="Seed of the simulated fleet.")

    instance: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] = Field(
        "0", description="Which instance of its service a process is, where several run; it names its transactions."
    )
    mqtt_share: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = Field(
        "", description="Name of a shared subscription, where several bridges take turns; empty: one bridge reads all."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe log line that is written.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="Shape of log lines; auto: console on a terminal, else json."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _unset(cls, value: Any, info: ValidationInfo) -> Any:
        """An empty variable sets a setting that may be missing to that: so a stack can hand down also what it was not given."""
        return None if value == "" and info.field_name and cls.model_fields[info.field_name].default is None else value

    @field_validator("kafka_bootstrap", "mqtt_cluster")
    @classmethod
    def _host_ports(cls, value: str) -> str:
        for server in filter(None, value.split(",")):
            host, _, port = server.strip().rpartition(":")
            if not host or not port.isdigit():
                raise ValueError("must be host:port[,host:port]")
        return value

    @field_validator("mqtt_url", "endpoint_url", "dagster_url", "dashboard_url")
    @classmethod
    def _url(cls, value: str, info: object) -> str:
        schemes = ("mqtt", "mqtts") if getattr(info, "field_name", "") == "mqtt_url" else ("http", "https")
        if value:
            parts = urlsplit(value)
            if parts.scheme not in schemes or not parts.hostname or (parts.port is None and parts.scheme.startswith("mqtt")):
                raise ValueError(f"must be {schemes[0]}://host:port")
            if parts.query and parts.scheme.startswith("mqtt"):
                raise ValueError("takes nothing behind a ?; files of TLS are MLIOT_MQTT_CA, MLIOT_MQTT_CERTIFICATE and MLIOT_MQTT_KEY")
        return value.rstrip("/")

    @field_validator("postgres_dsn")
    @classmethod
    def _dsn(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and urlsplit(value.get_secret_value()).scheme not in ("postgresql", "postgres"):
            raise ValueError("must be postgresql://user:password@host:port/database")
        return value

    @field_validator("fleet_faults")
    @classmethod
    def _faults(cls, value: str) -> str:
        allowed = {"stuck", "gap", "spike", "drift", "bad_json"}
        unknown = {part.strip() for part in value.split(",") if part.strip()} - allowed
        if unknown:
            raise ValueError(f"unknown {', '.join(sorted(unknown))}; allowed are {', '.join(sorted(allowed))}")
        return value

    @property
    def host_names(self) -> tuple[str, ...]:
        """Of ``hosts``, in lower case."""
        return tuple(filter(None, self.hosts.lower().split(",")))

    @property
    def retention_ms(self) -> int:
        return self.retention_days * 86_400_000

    @property
    def kafka_address(self) -> str:
        return self.kafka_bootstrap or f"{HOST}:{self.kafka_port}"

    @property
    def mqtt_address(self) -> str:
        """Where the platform's own parts reach the broker, for :class:`mliot.mqttaddress.BrokerAddress`, password and TLS files included:
        never log it."""
        if not self._mqtt_is_local:
            files = {"ca": self.mqtt_ca, "certificate": self.mqtt_certificate, "key": self.mqtt_key}
            given = urlencode({name: str(path.absolute()) for name, path in files.items() if path})
            return f"{self.mqtt_url}?{given}" if given else self.mqtt_url
        return f"mqtt://{self._mqtt_login}{HOST}:{self.mqtt_port}"

    @property
    def _mqtt_login(self) -> str:
        """Who the platform is at the local broker, as it stands before the host in an address; empty before there is a password."""
        given = self.mqtt_password.get_secret_value()
        password = given or (self.mqtt_password_path.read_text("utf-8").strip() if self.mqtt_password_path.exists() else "")
        return f"{PLATFORM_USER}:{quote(password, safe='')}@" if password else ""

    @property
    def mqtt_open_address(self) -> str:
        """Where devices reach the local broker: it lets them in without a password, to less than the platform may."""
        return f"mqtt://{HOST}:{self.mqtt_port}"

    @property
    def mqtt_device_address(self) -> str:
        """Where devices reach the broker, the local one or the user's own."""
        return self.mqtt_url or self.mqtt_open_address

    @property
    def mqtt_password_path(self) -> Path:
        """File of the platform's password at the local broker; its owner alone may read it."""
        return self.home / "artemis" / "password"

    @property
    def mqtt_metrics_address(self) -> str:
        """Where the local MQTT broker says how many messages wait, its password included: never log it. Empty for one elsewhere."""
        return f"http://{self._mqtt_login}{HOST}:{self.mqtt_metrics_port}" if self._mqtt_is_local else ""

    @property
    def _mqtt_is_local(self) -> bool:
        return self.mqtt_url in ("", self.mqtt_open_address)

    @property
    def postgres_address(self) -> str:
        """The DSN, password included where there is one: never log it."""
        given = self.postgres_dsn.get_secret_value()
        if given or not self.postgres_password_path.exists():
            return given or f"postgresql://mliot@{HOST}:{self.postgres_port}/mliot"
        password = self.postgres_password_path.read_text("utf-8").strip()
        return f"postgresql://mliot:{password}@{HOST}:{self.postgres_port}/mliot"

    @property
    def postgres_password_path(self) -> Path:
        """File of the password that the local PostgreSQL was made with; its owner alone may read it."""
        return self.home / "postgres" / "password"

    @property
    def endpoint_address(self) -> str:
        return self.endpoint_url or f"http://{HOST}:{self.endpoint_port}"

    @property
    def dagster_address(self) -> str:
        return self.dagster_url or f"http://{HOST}:{self.dagster_port}"

    @property
    def dashboard_address(self) -> str:
        return self.dashboard_url or f"http://{HOST}:{self.dashboard_port}"

    @property
    def warehouse_path(self) -> Path:
        """The DuckDB file that ingest and dbt write; its stem is the database name that dbt's compiled SQL uses."""
        return self.home / "warehouse.duckdb"

    @property
    def readers_copy_path(self) -> Path:
        """The copy of the warehouse for everybody else, to be opened at any time; made anew after each ingest and build."""
        return self.home / "readers" / "warehouse.duckdb"

    @property
    def models_path(self) -> Path:
        return self.home / "models"

    @property
    def journal_path(self) -> Path:
        """Folder of the journals in which publishers note what the broker acknowledged."""
        return self.home / "journal"

    @property
    def sessions_path(self) -> Path:
        """Folder of the notes on which sessions the MQTT broker was asked to keep."""
        return self.home / "sessions"

    @property
    def reports_path(self) -> Path:
        """Folder of the drift reports, and of the training rows that they compare with."""
        return self.home / "reports"

    @property
    def dbt_path(self) -> Path:
        """Folder of what is generated for dbt and compiled by it."""
        return self.home / "dbt"

    @classmethod
    def read(cls) -> Self:
        """The settings as environment and ``.env`` have them, with the home that is set or the nearest above the working folder.

        ``.env`` is that of the working folder, and before it that beside the home; a process of a stack reads none.
        Raises :class:`SettingError`: variable, value, what is allowed; or which variable ``MLIOT_*`` is no setting.
        """
        given = EnvSettingsSource(cls).env_vars
        home, files = None, [] if STACK_MARK in os.environ else [Path(ENV_FILE).absolute()]
        if not any(f"{PREFIX}home".lower() in names for names in (given, *map(_in_file, files))):
            home = nearest_home(Path.cwd())
            files = [home.with_name(ENV_FILE), *files] if home and files else files
        unknown = [
            *(_unknown(name) for name in _not_known(given)),
            *(f"{_unknown(name)} (in {_near(file)})" for file in dict.fromkeys(files) for name in _not_known(_in_file(file))),
        ]
        if unknown:
            raise SettingError("; ".join(unknown))
        try:
            found = cls(_env_file=files)
        except ValidationError as error:
            raise SettingError("; ".join(_line(e["loc"], e["input"], e["msg"]) for e in error.errors())) from None
        return found if home is None else found.model_copy(update={"home": home})

    @classmethod
    def read_of_stack(cls) -> Self:
        """As :meth:`read`, for what only makes sense beside a stack, or a store, that is there already.

        Raises :class:`SettingError` too where no home is set, none is found, and the store is no server of the user's own.
        """
        found = cls.read()
        if "home" not in found.model_fields_set and not found.postgres_dsn.get_secret_value():
            raise SettingError(
                f"there is no stack: no {HOME} in {Path.cwd()} or above it; "
                f"go where 'mliot up' was called, or set {PREFIX}HOME to its folder"
            )
        return found


def nearest_home(start: Path) -> Path | None:
    """The folder ``.mliot`` in ``start`` or the nearest above it; None where there is none."""
    return next((folder / HOME for folder in (start, *start.parents) if (folder / HOME).is_dir()), None)


SECRET_FIELDS = frozenset(name for name, field in Settings.model_fields.items() if field.annotation is SecretStr)


def shown(name: str, value: object) -> str:
    """The setting's value for people; an address with a password in it, and every secret, only in that there is one."""
    hidden = name in SECRET_FIELDS or (isinstance(value, str) and "@" in value)
    return "(not shown)" if hidden and value else repr(value)


def _line(loc: tuple[int | str, ...], value: object, message: str) -> str:
    name = str(loc[0]) if loc else "?"
    return f"{PREFIX}{name.upper()}={shown(name, value)}: {message.removeprefix('Value error, ')}"


def _in_file(path: Path) -> Iterable[str]:
    return DotEnvSettingsSource(Settings, env_file=path).env_vars


def _near(file: Path) -> str:
    return ENV_FILE if file.parent == Path.cwd() else str(file)


def _not_known(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that begin like a setting of ours and are none, in capitals. Pure."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | NO_SETTINGS
    ours = {name.upper() for name in names if name.upper().startswith(PREFIX)}
    return sorted(ours - known)


def _unknown(variable: str) -> str:
    """Without the value: it may be a secret whose name was misspelt."""
    near = get_close_matches(variable.removeprefix(PREFIX).lower(), Settings.model_fields, n=1)
    instead = f"did you mean {PREFIX}{near[0].upper()}?" if near else "docs/settings.md names those there are"
    return f"{variable}: there is no such setting; {instead}"
