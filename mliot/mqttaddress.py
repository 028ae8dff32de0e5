"""An MQTT broker's address, taken apart: where it is, who is asked in, and under which client ids the platform connects."""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

PLATFORM_USER = "mliot-platform"
"""As whom the platform's own parts speak to the broker that the local stack runs."""
PORT, TLS_PORT = 1883, 8883
"""Where a broker listens whose address says no port (IANA)."""


@dataclass(frozen=True)
class BrokerAddress:
    """``mqtt[s]://[user[:password]@]host[:port][?ca=FILE&certificate=FILE&key=FILE]``, percent-decoded (RFC 3986, section 2.1)."""

    host: str
    port: int
    tls: bool
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""
    certificate: str = ""
    key: str = ""

    @classmethod
    def of(cls, url: str) -> Self:
        parts = urlsplit(url)
        tls = parts.scheme == "mqtts"
        port = parts.port or (TLS_PORT if tls else PORT)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(parts.hostname or "", port, tls, user, password, **dict(parse_qsl(parts.query)))

    @property
    def shown(self) -> str:
        """``host:port``: what may be shown of it."""
        return f"{self.host}:{self.port}"

    def reserved(self, name: str) -> str:
        """``name`` as a client id, or as a shared subscription's name, that nobody else can use: see :func:`reserved_suffix`.

        On a broker of the user's own it is ``name`` itself: there, rules of that broker keep it for the platform.
        """
        return f"{name}-{reserved_suffix(self.password)}" if self.user == PLATFORM_USER else name


def reserved_suffix(password: str) -> str:
    """What the platform's client ids end in at the local broker, which refuses all others that begin like them.

    Who knows the client id of a session can take it over, and with a clean start end it with all that waits in it (MQTT 5, section
    3.1.2.4); who knows a queue's name, which is made of the client id, can name it in a subscription. So both hold a secret.
    """
    return blake2b(password.encode(), digest_size=16, person=b"mqtt client id").hexdigest()
