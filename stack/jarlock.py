"""Write ``jars.lock`` anew: Maven resolves what Kafka and Artemis need to run, and the hash of each archive is noted.

Run by ``make jars-lock`` (it needs Maven and a JDK) when a version below changes; the local stack itself resolves nothing.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from stack.jars import LOCK, Jar

SERVERS = {
    "kafka": ("org.apache.kafka:kafka_2.13:4.1.1", "org.slf4j:slf4j-simple:1.7.36"),
    "artemis": (
        "org.apache.activemq:artemis-server:2.44.0",
        "org.apache.activemq:artemis-mqtt-protocol:2.44.0",
        "org.jolokia:jolokia-agent-jvm:2.6.0:javaagent",
        "org.slf4j:slf4j-simple:2.0.17",
    ),
}
HEADER = "# Java archives of the local stack: server, Maven coordinate, hash. Written by `make jars-lock`; do not edit.\n"


def project(server: str, coordinates: tuple[str, ...]) -> str:
    """A Maven project that depends on ``coordinates`` and builds nothing."""
    dependencies = "".join(map(_dependency, coordinates))
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>mliot</groupId>'
        f"<artifactId>{server}</artifactId><version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
    )


def _dependency(coordinate: str) -> str:
    """An archive with a classifier, an agent, holds all that it needs."""
    group, artifact, version, *classifier = coordinate.split(":")
    alone = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
        + (f"<classifier>{classifier[0]}</classifier>{alone}" if classifier else "")
        + "</dependency>"
    )


def jar_at(server: str, path: Path, sha256: str) -> Jar:
    """The archive at ``path`` inside a Maven repository: ``group/as/folders/artifact/version/artifact-version[-classifier].jar``."""
    *group, artifact, version, name = path.parts
    classifier = name.removeprefix(f"{artifact}-{version}").removesuffix(".jar").removeprefix("-")
    return Jar(server, ".".join(group), artifact, version, classifier, sha256)


def resolve(server: str, coordinates: tuple[str, ...]) -> list[Jar]:
    """Every archive that ``server`` needs at run time, sorted by coordinate."""
    with tempfile.TemporaryDirectory() as folder:
        pom, jars = Path(folder, "pom.xml"), Path(folder, "jars")
        pom.write_text(project(server, coordinates), "utf-8")
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=true", f"-DoutputDirectory={jars}"]
        subprocess.run(["mvn", "-q", "-B", "-f", str(pom), *goal], check=True)
        found = [(path, hashlib.sha256(path.read_bytes()).hexdigest()) for path in jars.rglob("*.jar")]
        return sorted((jar_at(server, path.relative_to(jars), digest) for path, digest in found), key=lambda jar: jar.coordinate)


def main() -> None:
    jars = [jar for server, coordinates in SERVERS.items() for jar in resolve(server, coordinates)]
    LOCK.write_text(HEADER + "".join(f"{jar.line}\n" for jar in jars), "utf-8")
    sys.stdout.write(f"{LOCK}: {len(jars)} archives\n")


if __name__ == "__main__":
    main()
