"""Kafka into the warehouse: one asset a topic."""

from collections.abc import Iterator, Mapping

import dagster as dg
from dagster_dlt import DagsterDltTranslator, dlt_assets
from dagster_dlt.translator import DltResourceTranslatorData

from assets import keys
from mliot.messages import MESSAGES
from mliot.settings import Settings
from warehouse.access import open_warehouse
from warehouse.ingest import Reading, TopicReport, ingest, kafka_source, make_pipeline
from warehouse.raw import RAW, TABLES
from warehouse.records import KafkaRecords, Records

ABOUT: Mapping[str, str] = {message.topic_name: (message.__doc__ or "").partition("\n")[0] for message in MESSAGES}


class TopicTranslator(DagsterDltTranslator):
    """A dlt resource is a Kafka topic, its table the asset."""

    def get_asset_spec(self, data: DltResourceTranslatorData) -> dg.AssetSpec:
        topic = data.resource.name
        return (
            super()
            .get_asset_spec(data)
            .replace_attributes(
                key=keys.raw(str(data.resource.table_name)),
                deps=[keys.stream(topic)],
                description=f"Every committed record of {topic}, each once. {ABOUT[topic]}",
                group_name=keys.INGEST,
                kinds={"dlt", "kafka", "duckdb"},
            )
        )


def ingest_assets(settings: Settings) -> dg.AssetsDefinition:
    """One asset a topic that the warehouse keeps, loaded together or any of them alone."""
    topics = tuple(Reading(topic, table, generation="", starts={}) for topic, table in TABLES.items())

    @dlt_assets(
        name="ingest",
        dlt_source=kafka_source(topics, KafkaRecords(settings.kafka_address), {}),  # names the topics; each run makes its own to read
        dlt_pipeline=make_pipeline(settings),
        dagster_dlt_translator=TopicTranslator(),
        pool=keys.WAREHOUSE_POOL,
    )
    def kafka_topics(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], records: dg.ResourceParam[Records]
    ) -> Iterator[dg.MaterializeResult[None]]:
        # MLIoT's own ingest around the same source and pipeline, not DagsterDltResource.run: that one throws away what a killed
        # run had read already, and knows neither where each topic is to be read from nor the check that every record is there once.
        wanted = {topic: table for topic, table in TABLES.items() if keys.raw(table) in context.selected_asset_keys}
        report = ingest(settings, wanted, records=records, say=context.log.warning)
        loaded = {topic.topic: topic for topic in report.topics}
        for topic, table in wanted.items():
            done = loaded.get(topic, TopicReport(topic, table, read=0, lag=0, expired=0, set_aside=0))  # it does not exist yet
            yield dg.MaterializeResult(asset_key=keys.raw(table), metadata=_metadata(done, _rows(settings, table)))

    return kafka_topics


def _rows(settings: Settings, table: str) -> int:
    with open_warehouse(settings) as con:
        return int(con.table(f'{RAW}."{table}"').count("*").fetchall()[0][0])


def _metadata(report: TopicReport, rows: int) -> Mapping[str, int]:
    return {
        "dagster/row_count": rows,
        "read": report.read,
        "lag": report.lag,
        "expired_unread": report.expired,
        "set_aside": report.set_aside,
    }
