"""The dashboard's SQL: every statement is bounded and served by an index, so that asking once a second costs little."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import class_row

from dashboard.data.rows import Answer, CommandRow, ParityRow, Point, Reading, Refusal, Scored, UnknownName

T = TypeVar("T")
Connection = AsyncConnection[Any]

PLACES = 48
"""Most places that the page shows: those that were heard of last."""
DEVICES = 4
"""Most devices of a place: those that were heard of last. Any other is found by its name."""
VALUES = 16
"""Most values of a frame: those with a declared measurement first."""
COMMANDS = 20
LABELLED = 200
"""Over how many labelled rows a live score is taken."""
SCORED_OVER_MS = 7 * 24 * 3_600_000
"""No label older than this is counted: what is newly labelled only, and never a search through all there is."""
REFUSALS_OVER_MS = 24 * 3_600_000
REFUSED_ROWS = 20_000
UNKNOWN_ROWS = 5_000
UNKNOWN_NAMES = 8
HISTORY_ROWS = 120
INTERVAL_FRAMES = 20

_READINGS = """
with shown as (
    select place_id, max(event_ms) as newest_ms, count(*) as devices, count(*) over () as places
    from mliot.frame_latest group by place_id order by newest_ms desc limit %(places)s
), newest as (
    select device, devices, places from (
        select l.device, shown.devices, shown.places, row_number() over (partition by l.place_id order by l.event_ms desc, l.device) as nth
        from mliot.frame_latest l join shown using (place_id)
    ) ranked where nth <= %(devices)s
)
select l.device, l.place_id, l.event_ms, l.frame_id, size.measured, newest.devices, newest.places,
    case when size.measured <= %(values)s then l.payload else (
        select jsonb_object_agg(key, value) from (
            select key, value from jsonb_each(l.payload) order by array_position(%(known)s::text[], key), key limit %(values)s
        ) kept
    ) end as payload
from mliot.frame_latest l join newest using (device)
cross join lateral (select count(*) as measured from jsonb_object_keys(l.payload)) size
order by l.place_id, l.device
"""

_INTERVALS = """
select device, percentile_disc(0.5) within group (order by gap_ms)
from (
    select of.device, r.event_ms - lag(r.event_ms) over (partition by of.device order by r.event_ms) as gap_ms
    from unnest(%(devices)s::text[]) as of(device)
    cross join lateral (select event_ms from mliot.frame f where f.device = of.device order by event_ms desc limit %(frames)s) r
) gaps
where gap_ms > 0
group by device
"""

_NEWEST = """
select p.id, p.use_case, p.place_id, p.key, p.model_version, p.at_ms, p.for_ms, p.made_ms, p.value, p.probability, p.low, p.high
from unnest(%(use_cases)s::text[], %(places)s::text[]) as pair(use_case, place_id)
cross join lateral (
    select * from mliot.prediction n where n.use_case = pair.use_case and n.place_id = pair.place_id and not n.shadow
    order by n.at_ms desc, n.made_ms desc limit 1
) p
"""

_HISTORY = """
select p.id, p.use_case, p.place_id, p.key, p.model_version, p.at_ms, p.for_ms, p.made_ms, p.value, p.probability, p.low, p.high,
    l.value as label
from unnest(%(use_cases)s::text[], %(places)s::text[], %(since)s::bigint[]) as pair(use_case, place_id, since_ms)
cross join lateral (
    select * from mliot.prediction n
    where n.use_case = pair.use_case and n.place_id = pair.place_id and n.at_ms >= pair.since_ms and not n.shadow
    order by n.at_ms desc limit %(rows)s
) p
left join mliot.label l on l.use_case = p.use_case and l.feature_id = p.feature_id
order by p.at_ms, p.id
"""

_POINTS = """
select w.id, w.place_id, pair.col as "column", w.end_ms, (w."values" ->> pair.col)::double precision as value
from unnest(%(places)s::text[], %(grains)s::text[], %(columns)s::text[], %(since)s::bigint[]) as pair(place_id, grain, col, since_ms)
cross join lateral (
    select * from mliot."window" n where n.place_id = pair.place_id and n.grain = pair.grain and n.start_ms >= pair.since_ms
    order by n.start_ms desc limit %(rows)s
) w
where w."values" ->> pair.col is not null
order by w.end_ms, w.id
"""

_COMMANDS = """
with newest as (
    select distinct c.command_id, c.decided_ms
    from unnest(%(places)s::text[]) as place(id)
    cross join lateral (
        select command_id, decided_ms from mliot.command n where n.place_id = place.id order by n.decided_ms desc limit %(states)s
    ) c
    order by decided_ms desc limit %(commands)s
)
select now.command_id, now.state, now.device, now.place_id, now.use_case, now.action, now.value,
    now.decided_ms, now.expires_ms, now.at_ms, now.reason, a.arrived_ms as acked_ms
from newest
cross join lateral (select * from mliot.command_now c where c.command_id = newest.command_id) now
left join mliot.ack a on a.id = now.command_id
order by now.decided_ms desc, now.command_id
"""

_REFUSALS = """
select service, reason, count(*) as letters, max(at_ms) as newest_ms, (array_agg(id order by at_ms desc))[1] as newest_id
from (
    select id, service, left(reason, 200) as reason, at_ms from mliot.deadletter where at_ms >= %(since)s order by at_ms desc limit %(rows)s
) newest
group by service, reason
order by letters desc, newest_ms desc
"""

_UNKNOWN = """
select name, sum(frames)::bigint as frames, count(*) as devices, (array_agg(device order by frames desc))[1] as device,
    max(last_ms) as newest_ms
from (
    select device, name, frames, last_ms from mliot.unknown_measurement
    where last_ms >= %(since)s and not name = any(%(known)s) order by last_ms desc limit %(rows)s
) newest
group by name
order by frames desc, name limit %(names)s
"""

_SCORED = """
select model_version, value, baseline, label from mliot.scored
where use_case = %(use_case)s and shadow = %(shadow)s and available_ms >= %(since)s
order by available_ms desc limit %(rows)s
"""


_PARITY = """
select checked_ms, sum("values")::bigint as "values", sum(differ)::bigint as differ,
    sum(missing - missing_late + extra)::bigint as faults, sum(late_rows)::bigint as late_rows
from mliot.parity where checked_ms = (select max(checked_ms) from mliot.parity)
group by checked_ms
"""


class Pair(NamedTuple):
    """A use case at one of the places that it serves, from ``since_ms`` on."""

    use_case: str
    place_id: str
    since_ms: int


class Line(NamedTuple):
    """One column of a place's windows of one grain, from ``since_ms`` on."""

    place_id: str
    grain: str
    column: str
    since_ms: int


async def readings(store: Connection, known: Iterable[str]) -> tuple[Reading, ...]:
    """The newest frames of the places that were heard of last, with so many values as are shown, those named in ``known`` first."""
    return await _rows(store, Reading, _READINGS, {"places": PLACES, "devices": DEVICES, "values": VALUES, "known": list(known)})


async def intervals(store: Connection, devices: Sequence[str]) -> Mapping[str, int]:
    """Each device's usual time between two frames in milliseconds: the median of its newest few; devices with one frame are left out."""
    cursor = await store.execute(_INTERVALS, {"devices": list(devices), "frames": INTERVAL_FRAMES})
    return {device: int(gap_ms) for device, gap_ms in await cursor.fetchall()}


async def newest_answers(store: Connection, pairs: Sequence[Pair]) -> tuple[Answer, ...]:
    """The champion's newest answer of each pair, however old; without labels."""
    return await _rows(store, Answer, _NEWEST, {"use_cases": [p.use_case for p in pairs], "places": [p.place_id for p in pairs]})


async def history(store: Connection, pairs: Sequence[Pair]) -> tuple[Answer, ...]:
    """The champion's answers of each pair since its time, with their labels, oldest first."""
    given = {"use_cases": [p.use_case for p in pairs], "places": [p.place_id for p in pairs], "since": [p.since_ms for p in pairs]}
    return await _rows(store, Answer, _HISTORY, {**given, "rows": HISTORY_ROWS})


async def points(store: Connection, lines: Sequence[Line]) -> tuple[Point, ...]:
    """The values of each line, oldest first."""
    given = {
        "places": [line.place_id for line in lines],
        "grains": [line.grain for line in lines],
        "columns": [line.column for line in lines],
        "since": [line.since_ms for line in lines],
    }
    return await _rows(store, Point, _POINTS, {**given, "rows": HISTORY_ROWS})


async def commands(store: Connection, places: Sequence[str]) -> tuple[CommandRow, ...]:
    """The newest commands of ``places``, newest first, where each stands."""
    given = {"places": list(places), "commands": COMMANDS, "states": 3 * COMMANDS}
    return await _rows(store, CommandRow, _COMMANDS, given)


async def refusals(store: Connection, now_ms: int) -> tuple[Refusal, ...]:
    """The dead letters of the last day by service and reason, most first; at most the newest :data:`REFUSED_ROWS` are counted."""
    return await _rows(store, Refusal, _REFUSALS, {"since": now_ms - REFUSALS_OVER_MS, "rows": REFUSED_ROWS})


async def unknown(store: Connection, known: Collection[str], now_ms: int) -> tuple[UnknownName, ...]:
    """The names not ``known`` that came in the last day, most frames first; of the newest :data:`UNKNOWN_ROWS` counts."""
    given = {"since": now_ms - REFUSALS_OVER_MS, "known": list(known), "rows": UNKNOWN_ROWS, "names": UNKNOWN_NAMES}
    return await _rows(store, UnknownName, _UNKNOWN, given)


async def scored(store: Connection, use_case: str, now_ms: int, *, shadow: bool) -> tuple[Scored, ...]:
    """The newest labelled answers of a use case, of its champions or of what runs in their shadow, newest first."""
    given = {"use_case": use_case, "shadow": shadow, "since": now_ms - SCORED_OVER_MS, "rows": 2 * LABELLED if shadow else LABELLED}
    return await _rows(store, Scored, _SCORED, given)


async def parity(store: Connection) -> ParityRow | None:
    """The newest comparison; None before the first."""
    return next(iter(await _rows(store, ParityRow, _PARITY, {})), None)


async def _rows(store: Connection, kind: type[T], query: str, given: Mapping[str, object]) -> tuple[T, ...]:
    async with store.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(query, given)
        return tuple(await cursor.fetchall())
