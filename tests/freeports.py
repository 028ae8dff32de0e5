"""Ports for servers that a test starts."""

import random
import socket


def free_ports(count: int) -> list[int]:
    """``count`` free ports below those that the system hands to outgoing connections, so that they are still free a moment later."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found
