"""Where a replay reads: Kafka, the store, the model store."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from psycopg import sql

from learning.card import ModelCard
from learning.scoring import Scorer
from learning.store import ModelStore
from lineage.audit import LogRecord
from lineage.chain import Stored
from lineage.decide_again.parts import M
from lineage.decide_again.past import Extent
from lineage.log_reader import LogReader
from lineage.store import Store
from mliot.clock import Clock
from mliot.messages import Message


class KafkaSource:
    """The log in a Kafka, as far as it went when it was first asked for. Raises :class:`mliot.errors.Transient` where it is away."""

    def __init__(self, bootstrap: str, clock: Clock) -> None:
        self._reader = LogReader(bootstrap, clock)
        self._places = cache(self._find)

    def read(self, topic: str, extent: Extent | None = None) -> Iterator[LogRecord]:
        begins, ends = self._places(topic)
        if extent is not None:
            begins = {p: max(first, begins[p]) for p, (first, _) in extent.items() if p in begins}
            ends = {p: min(extent[p][1] or ends[p], ends[p]) for p in begins}
        yield from self._reader.read(topic, {(topic, p): at for p, at in begins.items()}, {(topic, p): at for p, at in ends.items()}, {})

    def begins(self, topic: str) -> Mapping[int, int]:
        return self._places(topic)[0]

    def _find(self, topic: str) -> tuple[dict[int, int], dict[int, int]]:
        numbers = self._reader.partitions((topic,)).get(topic, ())
        if not numbers:
            return {}, {}
        begins, ends = self._reader.begins(topic, numbers), self._reader.ends(topic, numbers)
        return {number: at for (_, number), at in begins.items()}, {number: at for (_, number), at in ends.items()}


class StoredMessages:
    """The messages that the store holds."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, kind: type[M], ids: Sequence[str]) -> Mapping[str, M]:
        table = sql.Identifier("mliot", table_of(kind))
        rows = self._store.execute(sql.SQL("select * from {} where id = any(%s)").format(table), [list(ids)])
        messages = [Stored.of(kind, row).message for row in rows]
        return {message.id: message for message in messages}


def table_of(kind: type[Message]) -> str:
    """The store's table of a kind of message."""
    return kind.topic_name.removeprefix("stream-")


class Models:
    """The models of a model store, each loaded once."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._load = cache(self._loaded)

    def __call__(self, use_case: str, version: str) -> tuple[ModelCard, Scorer]:
        """Raises :class:`mliot.errors.UserError` where it is not stored any more."""
        return self._load(use_case, version)

    def _loaded(self, use_case: str, version: str) -> tuple[ModelCard, Scorer]:
        stored = self._store.get(use_case, version)
        return stored.card, Scorer(stored.onnx_path, kind=stored.card.kind, columns=len(stored.card.columns))
