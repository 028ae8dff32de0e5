"""Clients that ask the prediction endpoint over and over, and remember every answer."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread

import httpx

PAUSE_S = 0.1
"""Between two requests of a client: together 32 clients ask some 300 times a second, and leave the machine to what is tested."""
ANSWER_S = 60


class Client(Thread):
    """One client with a connection of its own. ``answers`` are versions and values in their order, ``failed`` whatever was no answer."""

    def __init__(self, address: str, body: Mapping[str, object], over: Event) -> None:
        super().__init__(name="client", daemon=True)
        self.answers: list[tuple[str, float]] = []
        self.failed: list[str] = []
        self._address, self._body, self._over = address, body, over

    @property
    def versions(self) -> list[str]:
        return [version for version, _ in self.answers]

    def run(self) -> None:
        with httpx.Client(base_url=self._address, timeout=ANSWER_S, trust_env=False) as http:
            while not self._over.wait(PAUSE_S):
                try:
                    response = http.post("/predict", json=self._body)
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))
                    continue
                if response.is_success:
                    answer = response.json()
                    self.answers.append((answer["model_version"], answer["predictions"][0]["value"]))
                else:
                    self.failed.append(f"{response.status_code}: {response.text}")


@contextmanager
def asking(count: int, address: str, body: Mapping[str, object]) -> Iterator[list[Client]]:
    """``count`` clients that ask for ``body`` at once and all through the block; every one has ended after it."""
    over = Event()
    clients = [Client(address, body, over) for _ in range(count)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        over.set()
        for client in clients:
            client.join()
