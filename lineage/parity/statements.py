"""The DuckDB statements of the comparison. The warehouse's file is attached as ``history``; the tables made here are temporary."""

from collections.abc import Iterable

from mliot.featuremodels import STG_FRAMES, FeatureModel, WindowModel
from mliot.grains import Grain
from mliot.messages import Feature, Frame

RELATIVE = 1e-9
"""How far sums, averages, deviations and what is derived from them may differ, relative to the larger; all else is compared exactly."""
_OF_NOW = f"starts_with({{}}, '{Frame.topic_name}-')"
"""Not of a former incarnation of the topic, whose offsets mean nothing beside those of now; see warehouse/incarnations.py."""
_EXACT = ("_count", "_min", "_max", "_last")
_PARTITION = "try_cast(split_part({0}, '-', -2) as integer) as kafka_partition"
_PLACE = _PARTITION + ", try_cast(split_part({0}, '-', -1) as bigint) as kafka_offset"
"""Of an address, null where a foreign writer left something else there: such a row is not compared."""


def tolerance(model: FeatureModel, column: str) -> float:
    """0 where a column is to be equal bit by bit. A frame's own readings pass through both ways untouched."""
    derived = model.window_ms == 0 and column in ("dew_point", "vapour_pressure_deficit", "absolute_humidity")
    exact = column.endswith(_EXACT) or column in ("frames", "lookback_minutes", "weekday") or (model.window_ms == 0 and not derived)
    return 0.0 if exact else RELATIVE


BUILT_COLUMNS = """
    select column_name from information_schema.columns
    where table_catalog = 'history' and table_schema = 'features' and table_name = ?
"""
"""The columns of one of dbt's feature tables; none where it was not built yet."""


def newest(model: FeatureModel) -> str:
    """When the newest row that dbt built ends."""
    return f'select coalesce(max(end_ms), 0) from history.features."{model.name}"'


CLOSINGS = f"""
    with messages as materialized (
        select try(json_transform(value, '{{"start_ms": "BIGINT", "end_ms": "BIGINT", "made_ms": "BIGINT", "last": "VARCHAR"}}')) as m
        from history.raw.feature where kafka_topic = '{Feature.topic_name}'
    )
    select m.end_ms, {_PARTITION.format("m.last")}, min(m.made_ms), max(m.made_ms)
    from messages where m.end_ms > m.start_ms and m.made_ms is not null group by 1, 2
    having kafka_partition is not null
"""
"""When the windows of each end and partition were served, first and last."""


def served(model: FeatureModel, from_ms: int) -> str:
    """``served``: each row of the model that ends after ``from_ms``, the first record of each id, with the place of its last frame."""
    values = ", ".join(f'"{column}": "DOUBLE"' for column in model.columns)
    columns = ", ".join(f'm."values"."{column}" as "{column}"' for column in model.columns)
    return f"""
        create or replace temp table served as
        with messages as materialized (
            select kafka_partition as p, kafka_offset as o, try(json_transform(value, '{{
                "feature_id": "VARCHAR", "model": "VARCHAR", "version": "VARCHAR", "key": "VARCHAR", "start_ms": "BIGINT",
                "end_ms": "BIGINT", "made_ms": "BIGINT", "frames": "DOUBLE", "last": "VARCHAR", "values": {{{values}}}
            }}')) as m
            from history.raw.feature
            where kafka_topic = '{Feature.topic_name}' and contains(value, '"{model.name}"')
        )
        select m.feature_id, m.version, m.key, m.start_ms, m.end_ms, m.made_ms, m.frames, {_PLACE.format("m.last")}, {columns}
        from messages
        where m.model = '{model.name}' and m.end_ms > {from_ms}
        qualify row_number() over (partition by m.feature_id order by p, o) = 1
    """


def built(model: FeatureModel, from_ms: int) -> str:
    """``built``: the same rows as dbt built them."""
    columns = ", ".join(f'"{column}"::double as "{column}"' for column in model.columns)
    return f"""
        create or replace temp table built as
        select feature_id, end_ms, frames::double as frames, {_PLACE.format("last")}, {columns}
        from history.features."{model.name}" where end_ms > {from_ms} and {_OF_NOW.format("last")}
    """


KNOWN = "create or replace temp table known as select kafka_partition, max(kafka_offset) as to_offset from built group by all"
"""``known``: how far into each partition of the frames the batch has seen."""

CLOSED = """
    create or replace temp table closed as
    select kafka_partition, max(end_ms) as to_ms, max(kafka_offset) as to_offset
    from served join (select kafka_partition, max(made_ms) as newest_ms from served group by all) using (kafka_partition)
    where made_ms < newest_ms
    group by all
"""
"""``closed``: how far each partition has surely been served; its newest commit may have been loaded in part."""


def comparable(model: FeatureModel, since_ms: int) -> str:
    """``comparable``: served rows of the SQL of now whose frames, those of the rows that they look back to too, the batch has seen."""
    return f"""
        create or replace temp table comparable as
        select * exclude (needs, to_offset)
        from (
            select *, max(kafka_offset) over (
                partition by key, kafka_partition order by start_ms range between {model.lookback_ms} preceding and current row
            ) as needs
            from served
        )
        join known using (kafka_partition)
        where version = '{model.version}' and end_ms > {since_ms} and needs <= to_offset
    """


def compare(model: FeatureModel, these: str, with_those: str) -> str:
    """A row for each of ``these``: whether it stands in ``with_those`` too, how many values there are, how many differ and how far."""
    columns = ("frames", *model.columns)
    sides = "\n".join(f', this."{c}" as s{i}, case when isfinite(that."{c}") then that."{c}" end as b{i}' for i, c in enumerate(columns))
    apart = "\n".join(
        f", case when s{i} is null and b{i} is null then 0 when s{i} is null or b{i} is null then 'inf'::double "
        f"when s{i} = b{i} then 0 else abs(s{i} - b{i}) / greatest(abs(s{i}), abs(b{i})) end as r{i}"
        for i, _ in enumerate(columns)
    )
    limits = [tolerance(model, column) for column in columns]
    return f"""
        with sides as (
            select this.feature_id, that.feature_id is not null as found {sides}
            from {these} this left join {with_those} that using (feature_id)
        ),
        apart as (select * {apart} from sides)
        select
            feature_id,
            found,
            {_sum(f"(s{i} is not null or b{i} is not null)" for i, _ in enumerate(columns))} as compared,
            {_sum(f"(r{i} > {limit})" for i, limit in enumerate(limits))} as differ,
            greatest({", ".join(f"r{i}" for i, _ in enumerate(columns))}) as largest,
            coalesce({
        ", ".join(
            f"case when r{i} > {limits[i]} then '{c}: ' || coalesce(s{i}::varchar, 'none') || ' served, ' || "
            f"coalesce(b{i}::varchar, 'none') || ' built' end"
            for i, c in enumerate(columns)
        )
    }) as example
        from apart
    """


def missing(model: FeatureModel, since_ms: int) -> str:
    """The rows that the batch built and that nobody was served, although their window is closed."""
    closed = "built.end_ms <= closed.to_ms" if model.window_ms else "built.kafka_offset <= closed.to_offset"
    return f"""
        create or replace temp table missing as
        select feature_id from built join closed using (kafka_partition) anti join served using (feature_id)
        where {closed} and built.end_ms > greatest({since_ms}, (select min(end_ms) from served) - 1)
    """


def unserved_frames(model: FeatureModel, longest_ms: int, from_ms: int) -> str:
    """The frames that a served row lacks, having come after its last one, and those of missing rows; each with what was before it.

    ``end_ms`` is when it would have been too late: its window's end, for a frame's own row that of the longest window.
    """
    length = model.window_ms or longest_ms
    of_window = f"{Grain.of(model).key_sql()} || '@' || (event_ms - event_ms % {length})"
    row = f"'{model.grain}:' || {of_window if model.window_ms else 'frame_id'}"
    return f"""
        with frames as (
            select frame_id, {row} as feature_id, kafka_partition, kafka_offset, arrived_ms,
                event_ms - event_ms % {length} + {length} as end_ms,
                coalesce(max(least(event_ms, arrived_ms)) over (
                    partition by kafka_partition order by kafka_offset rows between unbounded preceding and 1 preceding
                ), 0) as reached_before_ms
            from history.staging.frames
            where event_ms >= {from_ms} and {_OF_NOW.format("address")}
        )
        select f.frame_id, f.feature_id, f.kafka_partition, f.arrived_ms, f.end_ms, f.reached_before_ms, s.feature_id is not null as served
        from frames f
        join known using (kafka_partition)
        left join served s using (feature_id)
        where f.kafka_offset <= known.to_offset and (
            (s.kafka_partition = f.kafka_partition and f.kafka_offset > s.kafka_offset)
            or feature_id in (from missing)
        )
    """


def frames_without(late: str, from_ms: int) -> tuple[str, ...]:
    """Fills the stream's frames with those that the batch has seen from ``from_ms`` on, without those that the table ``late`` names."""
    return (
        f"delete from {STG_FRAMES}",
        f"""
        insert into {STG_FRAMES} by name
        select f.* from history.staging.frames f join known using (kafka_partition) anti join {late} using (frame_id)
        where f.event_ms >= {from_ms} and f.kafka_offset <= known.to_offset and {_OF_NOW.format("f.address")}
        """,
    )


def filled(window: WindowModel) -> tuple[str, ...]:
    """Computes the windows of the stream's frames."""
    return f"delete from {window.relation}", f"insert into {window.relation} from ({window.sql})"


def as_served(model: FeatureModel) -> str:
    """``as_served``: the model's rows over what the stream's tables hold."""
    return f"create or replace temp table as_served as select * replace (frames::double as frames) from ({model.sql})"


JUDGED = """
    with judged as (
        select c.feature_id, c.found, c.compared, coalesce(a.differ, c.differ) as differ, coalesce(a.largest, c.largest) as largest,
            coalesce(a.example, c.example) as example, c.differ > 0 and a.differ = 0 as late
        from compared c left join again a using (feature_id)
    )
    select
        count(*) as compared_rows,
        coalesce(sum(compared) filter (found), 0) as compared_values,
        coalesce(sum(differ) filter (found), 0) as differ,
        count(*) filter (found and late) as late_rows,
        count(*) filter (not found) as extra,
        coalesce(max(largest) filter (found), 0) as largest,
        coalesce(
            min(feature_id || ' ' || case when found then example else 'was not built' end) filter (not found or differ > 0), ''
        ) as example,
        coalesce((select max(end_ms) from comparable), 0) as until_ms
    from judged
"""
"""What came of ``compared``, where ``again`` holds the second comparison, without late frames, of the rows that differ."""


def _sum(conditions: Iterable[str]) -> str:
    return " + ".join(f"{condition}::int" for condition in conditions)
