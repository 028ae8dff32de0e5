"""Which life of a Kafka topic the warehouse's rows are from.

A topic that was deleted and made again counts its offsets from 0, and its records would take the places of the old ones. So each life of a
topic, in one warehouse file, has a *generation*. When the topic turns out to be another one, or to end before what was loaded from it, the
old rows keep everything but their topic's name, which becomes ``<topic>@until-<ms>``, and a new generation begins. Positions in dlt's
state name their generation, and mean nothing in another one, nor in another warehouse file.
"""

# ruff: noqa: S608 -- the only names put into SQL are this package's own table names

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

import duckdb

from warehouse.raw import RAW
from warehouse.records import Topic

_TABLE = f"{RAW}._generations"


@dataclass(frozen=True)
class Generation:
    """The current life of a topic in this warehouse; ``renamed`` counts the rows of former ones that were set aside just now."""

    name: str
    renamed: int = 0


def settle_generation(con: duckdb.DuckDBPyConnection, topic: Topic, table: str, now_ms: int) -> Generation:
    """The generation of ``topic``'s records now, begun if need be, in one transaction: a crash leaves either none or all of it."""
    con.execute(
        f"create table if not exists {_TABLE} (kafka_topic varchar primary key, topic_id varchar not null, generation varchar not null)"
    )
    con.begin()
    try:
        known = con.execute(f"select topic_id, generation from {_TABLE} where kafka_topic = ?", [topic.name]).fetchone()
        loaded = _loaded_ends(con, topic.name, table)
        gone = _gone(topic, loaded, None if known is None else known[0])
        if known is not None and not gone and known[0] == topic.topic_id:
            generation = Generation(known[1])
        else:
            renamed = 0
            for partition in gone:
                renamed += _rename(con, topic.name, table, partition, now_ms)
            generation = Generation(uuid4().hex, renamed)
            con.execute(f"insert or replace into {_TABLE} values (?, ?, ?)", [topic.name, topic.topic_id, generation.name]).fetchall()
        con.commit()
    except BaseException:
        con.rollback()
        raise
    return generation


def forget_generation(con: duckdb.DuckDBPyConnection, topic: str) -> None:
    """Makes the next run read ``topic`` from its start; what is loaded stays, and the merge drops what comes again."""
    con.execute(f"delete from {_TABLE} where kafka_topic = ?", [topic]).fetchall()


def _gone(topic: Topic, loaded: Mapping[int, int], topic_id: str | None) -> list[int]:
    """Partitions whose loaded rows are of a log that is no more: another topic's, or beyond the end of this one."""
    if topic_id is not None and topic_id != topic.topic_id:
        return sorted(loaded)
    ends = {partition: span.end for partition, span in topic.spans.items()}
    return sorted(partition for partition, end in loaded.items() if end > ends.get(partition, 0))


def _loaded_ends(con: duckdb.DuckDBPyConnection, topic: str, table: str) -> dict[int, int]:
    rows = con.execute(
        f'select kafka_partition, max(kafka_offset) + 1 from {RAW}."{table}" where kafka_topic = ? group by kafka_partition', [topic]
    ).fetchall()
    return dict(rows)


def _rename(con: duckdb.DuckDBPyConnection, topic: str, table: str, partition: int, now_ms: int) -> int:
    changed = con.execute(
        f'update {RAW}."{table}" set kafka_topic = ? where kafka_topic = ? and kafka_partition = ?',
        [f"{topic}@until-{now_ms}", topic, partition],
    ).fetchone()
    return int(changed[0]) if changed else 0
