"""The Java archives of Kafka and Artemis: which they are (``jars.lock``), where they lie, and how they are fetched and checked."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import requests
from jgo.maven import MavenContext
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

from mliot.errors import DownloadFailed

LOCK = Path(__file__).with_name("jars.lock")
CONNECTIONS = 8
TIMEOUT_S = 30


@dataclass(frozen=True)
class Jar:
    """One archive of one server: its Maven coordinate and the SHA-256 that its bytes must have."""

    server: str
    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str

    @property
    def coordinate(self) -> str:
        """``group:artifact:version[:classifier]``, as ``jars.lock`` has it."""
        return ":".join(filter(None, (self.group, self.artifact, self.version, self.classifier)))

    @property
    def path(self) -> Path:
        """Where the archive lies inside a Maven repository."""
        suffix = f"-{self.classifier}" if self.classifier else ""
        return Path(*self.group.split("."), self.artifact, self.version, f"{self.artifact}-{self.version}{suffix}.jar")

    @property
    def line(self) -> str:
        return f"{self.server} {self.coordinate} sha256:{self.sha256}"

    @classmethod
    def of(cls, line: str) -> "Jar":
        """The archive that a line of ``jars.lock`` names."""
        server, coordinate, sha256 = line.split()
        group, artifact, version, *classifier = coordinate.split(":")
        return cls(server, group, artifact, version, classifier[0] if classifier else "", sha256.removeprefix("sha256:"))


def locked(server: str, lock: Path = LOCK) -> list[Jar]:
    """The archives of ``server`` (``kafka`` or ``artemis``), in the lock's order."""
    lines = (line for line in lock.read_text("utf-8").splitlines() if line and not line.startswith("#"))
    return [jar for jar in map(Jar.of, lines) if jar.server == server]


def repository() -> Path:
    """Maven's local repository (``M2_REPO``, else ``~/.m2/repository``): archives that Maven or jgo fetched before are used as they are."""
    return Path(MavenContext().repo_cache)


def classpath(server: str) -> str:
    """The class path of ``server``; :func:`fetch` makes its files exist."""
    return os.pathsep.join(str(repository() / jar.path) for jar in locked(server))


def archive(server: str, artifact: str) -> Path:
    """The file of one archive of ``server``."""
    (jar,) = (jar for jar in locked(server) if jar.artifact == artifact)
    return repository() / jar.path


def missing(jars: Iterable[Jar], folder: Path) -> list[Jar]:
    """Those of ``jars`` that ``folder`` lacks or holds with other bytes than the lock names (an interrupted download, for one)."""
    return [jar for jar in jars if not (folder / jar.path).is_file() or _sha256(folder / jar.path) != jar.sha256]


def fetch(servers: Iterable[str]) -> int:
    """Fetch what is missing of the archives of ``servers``, side by side, with a progress bar; returns how many were fetched.

    Each file is downloaded into a folder of its own, checked, and then renamed into Maven's local repository: an interrupted run
    leaves no half file, the next one fetches only what is still missing, and two runs at once do not disturb each other.

    Raises :class:`DownloadFailed`, one line that says what to do.
    """
    folder = repository()
    needed = {jar.path: jar for server in servers for jar in locked(server)}  # the servers share some
    wanted = missing(needed.values(), folder)
    if not wanted:
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with bar, tempfile.TemporaryDirectory(prefix=".mliot-", dir=folder) as staging, ThreadPoolExecutor(CONNECTIONS) as pool:
        task = bar.add_task("Java archives of the local stack", total=len(wanted))
        downloads = [pool.submit(_fetch_one, jar, Path(staging), folder) for jar in wanted]
        try:
            for download in as_completed(downloads):
                download.result()
                bar.advance(task)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return len(wanted)


def _fetch_one(jar: Jar, staging: Path, folder: Path) -> None:
    try:
        fresh = _download(jar, staging)
    except (requests.RequestException, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise DownloadFailed(
            f"{jar.coordinate}: cannot be fetched ({type(error).__name__}: {reason}); "
            f"check the network (HTTPS_PROXY where there is a proxy) and run the same command again: it goes on where it stopped"
        ) from error
    found = _sha256(fresh)
    if found != jar.sha256:
        raise DownloadFailed(
            f"{jar.coordinate}: has sha256 {found[:16]}…, jars.lock demands {jar.sha256[:16]}…; "
            "something between here and the Maven repository changed it: fetch it over another network and run the same command again"
        )
    target = folder / jar.path
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh.replace(target)


@retry(retry=retry_if_exception_type(requests.RequestException), stop=stop_after_attempt(3), wait=wait_exponential(max=4), reraise=True)
def _download(jar: Jar, staging: Path) -> Path:
    partial = staging / jar.path
    partial.unlink(missing_ok=True)  # what a broken connection left: jgo would take it for the whole file
    context = MavenContext(repo_cache=staging, timeout=TIMEOUT_S)
    return Path(context.project(jar.group, jar.artifact).at_version(jar.version).artifact(jar.classifier).resolve())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
