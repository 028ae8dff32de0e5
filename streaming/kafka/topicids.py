"""Which incarnation of a topic a position belongs to.

A topic that is deleted and made again counts its offsets from 0: a position in its former incarnation means nothing in it. Kafka gives each
incarnation an id (KIP-516). It is committed beside every position, so that one of another incarnation is known by whoever reads it, also
once the new topic has grown beyond the old offset; and while reading it is asked for now and then, since a client that has seen a higher
leader epoch takes the new topic's for old news (KIP-320) and would wait at the old offset for ever.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException, TopicCollection

from mliot.clock import Clock, Deadline
from mliot.errors import Transient
from streaming.kafka.client import MAX_CALL_S, Admin, KafkaSettings
from streaming.runtime.effects import Position

ASKED_EVERY_S = 3.0
_MARK = "@"


def marked(position: Position) -> str:
    """The text to commit beside ``position``'s offset: its topic id, then its note."""
    return f"{_MARK}{position.topic_id} {position.note}" if position.topic_id else position.note


def position_of(offset: int, text: str, topic_id: str) -> Position:
    """The position that was committed with ``text``, as it counts in ``topic_id``; a text of an earlier version tells none."""
    if not text.startswith(_MARK):
        return Position(offset, text, topic_id)
    then, _, note = text.removeprefix(_MARK).partition(" ")
    return Position(offset, note, then).counted_in(topic_id)


class TopicIds:
    """The ids of the topics that are read, as they were at :meth:`settle` (``known``), and whether one was made anew."""

    def __init__(self, settings: KafkaSettings, clock: Clock, admin: Admin) -> None:
        self._settings = settings
        self._clock = clock
        self._admin = admin
        self.known: Mapping[str, str] = {}
        self._asked: dict[str, Future[Any]] = {}
        self._next = Deadline.after(clock, ASKED_EVERY_S)

    def settle(self, topics: tuple[str, ...]) -> Mapping[str, str]:
        """Id by topic, from now on the ones to compare with. Raises :class:`Transient` where Kafka is away or a topic is."""
        known = {}
        for topic, future in self._ask(topics).items():
            try:
                known[topic] = _topic_id(future)
            except KafkaException as error:
                raise Transient(f"Kafka at {self._settings.bootstrap}: {topic}: {error.args[0].str()}") from error
        self.known, self._asked = known, {}
        return known

    def over(self) -> str:
        """A topic that is another one now, else ''. Never waits: the answer to one call's question is read by a later call."""
        if not self._asked and self._next.passed():
            self._next = Deadline.after(self._clock, ASKED_EVERY_S)
            self._asked = self._ask(tuple(self.known))
        if not all(future.done() for future in self._asked.values()):
            return ""
        asked, self._asked = self._asked, {}
        for topic, future in asked.items():
            if isinstance(future.exception(), KafkaException):
                continue  # Kafka is away, or the topic is: neither says that there is another one
            if _topic_id(future) != self.known[topic]:
                return topic
        return ""

    def _ask(self, topics: tuple[str, ...]) -> dict[str, Future[Any]]:
        return self._admin().describe_topics(TopicCollection(list(topics)), request_timeout=MAX_CALL_S) if topics else {}


def _topic_id(future: Future[Any]) -> str:
    return str(future.result().topic_id or "")
