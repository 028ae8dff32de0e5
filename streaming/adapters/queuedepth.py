"""How many messages wait in a client's subscriptions on the local MQTT broker: those not yet sent, and those not yet acknowledged.

MQTT itself has no such question. Each subscription is a queue of Artemis', whose length its Jolokia agent tells
(``stack/artemis.py``). A broker of the user's own is not asked: then it is not known.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx
import structlog

from mliot.errors import Transient
from mliot.settings import HOST

ASKED_EVERY_S = 3.0
ANSWER_S = 2.0
ATTRIBUTE = "MessageCount"
HEADERS = {"Origin": f"http://{HOST}"}
"""The agent answers nobody who does not say so, as no web page of elsewhere can."""
log = structlog.get_logger()


def queue_bean(client_id: str, subscription: str) -> str:
    """The name of a subscription's queue among Artemis' management objects."""
    share, topic = subscription.split("/", 2)[1:] if subscription.startswith("$share/") else (client_id, subscription)
    address, queue = _quoted(topic), _quoted(f"{share}.{topic}")
    parts = f'component=addresses,address={address},subcomponent=queues,routing-type="multicast",queue={queue}'
    return f'org.apache.activemq.artemis:broker="mliot",{parts}'


def waiting(answers: Sequence[dict[str, Any]]) -> int:
    """The messages in all the queues. Raises :class:`Transient` where one is not told: a subscription may not be made yet. Pure."""
    for answer in answers:
        if answer["status"] != 200:
            raise Transient(str(answer.get("error", answer["status"])))
    return sum(int(answer["value"]) for answer in answers)


def ask(client: httpx.Client, beans: Iterable[str]) -> int:
    """The messages in these queues. Raises :class:`Transient` where the broker does not tell."""
    try:
        answer = client.post("/jolokia/", json=[{"type": "read", "mbean": bean, "attribute": ATTRIBUTE} for bean in beans])
        answer.raise_for_status()
        return waiting(answer.json())
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise Transient(str(error) or type(error).__name__) from error


class QueueDepth:
    """What waits in the subscriptions of ``client_id``, asked by a thread of its own while the block runs: nobody waits for it."""

    def __init__(self, address: str, client_id: str, subscriptions: Iterable[str]) -> None:
        self._beans = [queue_bean(client_id, subscription) for subscription in subscriptions]
        self._address = address
        self._messages: int | None = None
        self._why = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queue depth", daemon=True)

    def __enter__(self) -> Callable[[], int | None]:
        self._thread.start()
        return self.messages

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def messages(self) -> int | None:
        """As of some seconds ago; None while it is not known."""
        return self._messages

    def _run(self) -> None:
        with httpx.Client(base_url=self._address, headers=HEADERS, timeout=ANSWER_S, trust_env=False) as client:
            while not self._over.is_set():
                self._look(client)
                self._over.wait(ASKED_EVERY_S)

    def _look(self, client: httpx.Client) -> None:
        try:
            self._messages, why = ask(client, self._beans), ""
        except Transient as error:
            self._messages, why = None, str(error)
        if why and not self._why:
            log.warning("it is not known how many messages wait in the MQTT broker", reason=why)
        self._why = why


def _quoted(value: str) -> str:
    """A value of a management object's name, as ``javax.management.ObjectName.quote`` writes it."""
    for character in '\\"*?':
        value = value.replace(character, f"\\{character}")
    return f'"{value}"'
