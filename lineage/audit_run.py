"""One pass of the audit over the real parts: Kafka, publishers' journals, warehouse and store."""

import time
from collections.abc import Callable, Iterator, Mapping

from psycopg import sql
from psycopg.rows import tuple_row

from lineage.audit import READ_ORDER, Audit, Place, Scope
from lineage.ledger import Report
from lineage.log_reader import LogReader
from lineage.store import Store, connected
from lineage.warehouse_reader import raw_records
from mliot.clock import Clock, Deadline
from mliot.errors import Transient
from mliot.grains import Grains
from mliot.journal import Acknowledged, read_journals
from mliot.messages import MESSAGES, Message
from mliot.settings import Settings
from mliot.usecase import UseCase
from warehouse.dbt import feature_models

_BATCH = 20_000


def audit_until(
    settings: Settings, use_cases: Mapping[str, UseCase], clock: Clock, *, settle_s: float, wait_s: float, strict: bool
) -> Report:
    """The report of the first pass that is clean, or of the last one that began within ``wait_s``.

    Raises :class:`mliot.errors.Transient` where Kafka or store is away.
    """
    deadline = Deadline.after(clock, wait_s)
    while True:
        report = audit_once(settings, use_cases, clock, settle_s=settle_s, strict=strict)
        if report.clean or deadline.passed():
            return report


def audit_once(settings: Settings, use_cases: Mapping[str, UseCase], clock: Clock, *, settle_s: float, strict: bool) -> Report:
    """One pass. A record owes what follows from it once it has been in Kafka for ``settle_s``; data may flow meanwhile."""
    grains = Grains.of(feature_models(settings))
    log = LogReader(settings.kafka_address, clock)
    kinds: dict[str, tuple[int, ...]] = dict(log.partitions(tuple(kind.topic_name for kind in READ_ORDER)))
    began_ms = clock.now_ms()
    settled = _each(kinds, log.ends)
    time.sleep(settle_s)  # nothing is waited for: this is the age from which records count
    ends = _each(kinds, log.ends)
    begins = _each(kinds, log.begins)
    notes: list[str] = []
    if not settings.journal_path.is_dir():
        notes.append(f"no journals of publishers at {settings.journal_path}: what brokers acknowledged is not compared")

    def scope(loaded_to: Mapping[Place, int] | None) -> Scope:
        return Scope(use_cases, grains, began_ms, int(settings.grace_s * 1000), int(settings.idle_s * 1000), begins, ends, loaded_to)

    doubts: list[str] = []
    try:
        with raw_records(settings) as raw:
            audit = Audit(scope(raw.loaded_to()))
            for kind in MESSAGES:
                audit.loaded(kind, raw.rows(kind), raw.twice(kind))
    except Transient as reason:
        doubts.append(f"{reason}: it is not compared")
        audit = Audit(scope(None))
    audit.published(_acknowledged(settings, began_ms))
    for kind in READ_ORDER:
        audit.logged(kind, log.read(kind.topic_name, begins, ends, settled))
    with connected(settings) as store:
        for kind in MESSAGES:
            audit.stored(kind, _stored(store, kind))
    audit.ended(_each(kinds, log.ends))
    report = audit.report(strict=strict)
    report.notes.extend(notes)
    report.doubts.extend(doubts)
    return report


def _each(kinds: Mapping[str, tuple[int, ...]], offsets: Callable[[str, tuple[int, ...]], dict[Place, int]]) -> dict[Place, int]:
    """The offsets of every partition, topics in :data:`READ_ORDER`."""
    found: dict[Place, int] = {}
    for kind in READ_ORDER:
        if kind.topic_name in kinds:
            found |= offsets(kind.topic_name, kinds[kind.topic_name])
    return found


def _acknowledged(settings: Settings, until_ms: int) -> Iterator[Acknowledged]:
    return (entry for entry in read_journals(settings.journal_path) if entry.acked_ms <= until_ms)


def _stored(store: Store, kind: type[Message]) -> Iterator[tuple[str, str]]:
    table = sql.Identifier("mliot", kind.topic_name.removeprefix("stream-"))
    with store.cursor(name="audit", row_factory=tuple_row) as cursor:
        cursor.itersize = _BATCH
        yield from cursor.execute(sql.SQL("select id, address from {}").format(table))
