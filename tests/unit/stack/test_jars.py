import hashlib
from pathlib import Path

import pytest
import requests

from mliot.errors import DownloadFailed
from stack import jars
from stack.jarlock import SERVERS, jar_at, project
from stack.jars import LOCK, Jar, fetch, locked, missing

CONTENT = b"an archive"


def line(name: str, content: bytes, server: str = "kafka") -> str:
    return f"{server} org.example:{name}:1.0 sha256:{hashlib.sha256(content).hexdigest()}\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M2_REPO", str(tmp_path / "repository"))
    return tmp_path / "repository"


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "jars.lock"
    path.write_text("# head\n" + line("a", CONTENT) + line("b", CONTENT) + line("b", CONTENT, server="artemis"))
    monkeypatch.setattr(jars, "locked", lambda server: locked(server, path))
    return path


def serve(monkeypatch: pytest.MonkeyPatch, content: bytes) -> list[str]:
    """Have every download write ``content``; returns the coordinates asked for, as they come."""
    asked: list[str] = []

    def download(jar: Jar, staging: Path) -> Path:
        asked.append(jar.coordinate)
        path = staging / jar.path
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return path

    monkeypatch.setattr(jars, "_download", download)
    return asked


@pytest.mark.parametrize("server", list(SERVERS))
def test_lock_names_what_the_server_needs_with_a_hash_and_no_address(server: str) -> None:
    found = locked(server)
    coordinates = {jar.coordinate for jar in found}
    assert set(SERVERS[server]) <= coordinates
    assert len(coordinates) == len(found) > 40
    assert all(len(jar.sha256) == 64 and int(jar.sha256, 16) for jar in found)
    assert "//" not in LOCK.read_text("utf-8")


def test_line_of_the_lock_reads_back_as_the_same_archive() -> None:
    lines = [text for text in LOCK.read_text("utf-8").splitlines() if not text.startswith("#")]
    assert [Jar.of(text).line for text in lines] == lines


@pytest.mark.parametrize("classifier", ["", "linux-x86_64"])
def test_path_in_a_maven_repository_and_coordinate_are_two_words_for_one_archive(classifier: str) -> None:
    jar = Jar("artemis", "io.netty", "netty-transport", "4.1.128.Final", classifier, "00")
    assert jar_at("artemis", jar.path, "00") == jar


def test_project_for_maven_names_every_coordinate() -> None:
    text = project("kafka", ("org.example:a:1.0", "org.example:b:2.0"))
    assert "<artifactId>a</artifactId><version>1.0</version>" in text
    assert text.count("<dependency>") == 2


def test_archive_with_other_bytes_counts_as_missing(tmp_path: Path) -> None:
    jar = Jar.of(line("a", CONTENT))
    assert missing([jar], tmp_path) == [jar]
    path = tmp_path / jar.path
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:3])
    assert missing([jar], tmp_path) == [jar]
    path.write_bytes(CONTENT)
    assert missing([jar], tmp_path) == []


def test_fetch_fetches_each_missing_archive_once_and_leaves_nothing_else(
    repository: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = serve(monkeypatch, CONTENT)
    assert fetch(["kafka", "artemis"]) == 2
    assert sorted(asked) == ["org.example:a:1.0", "org.example:b:1.0"]
    assert sorted(path.name for path in repository.rglob("*") if path.is_file()) == ["a-1.0.jar", "b-1.0.jar"]
    assert [path.name for path in repository.iterdir()] == ["org"]
    assert fetch(["kafka", "artemis"]) == 0
    assert len(asked) == 2


def test_fetch_goes_on_where_it_stopped(repository: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = repository / Jar.of(line("a", CONTENT)).path
    half.parent.mkdir(parents=True)
    half.write_bytes(CONTENT[:3])
    serve(monkeypatch, CONTENT)
    assert fetch(["kafka"]) == 2
    assert half.read_bytes() == CONTENT


def test_changed_archive_is_refused_in_one_line_and_not_kept(repository: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, b"something else")
    with pytest.raises(DownloadFailed, match=r"org\.example:[ab]:1\.0: has sha256 .*another network") as failed:
        fetch(["kafka"])
    assert "\n" not in str(failed.value)
    assert list(repository.rglob("*.jar")) == []


def test_unreachable_repository_is_one_line_that_says_what_to_do(repository: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(jar: Jar, staging: Path) -> Path:
        raise requests.ConnectionError("no route\nto host")

    monkeypatch.setattr(jars, "_download", refuse)
    with pytest.raises(DownloadFailed, match=r"no route\); check the network .* run the same command again") as failed:
        fetch(["kafka"])
    assert "\n" not in str(failed.value)


def test_class_path_names_every_archive_of_the_server(repository: Path) -> None:
    paths = jars.classpath("kafka").split(":")
    assert len(paths) == len(locked("kafka"))
    assert all(path.startswith(str(repository)) for path in paths)
