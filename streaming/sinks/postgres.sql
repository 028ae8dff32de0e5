-- The store: one table a topic, one row an id, and the position that each consumer had reached in the same transaction.
-- Times are milliseconds since 1970-01-01 UTC as in the messages; stored_ms is when the row was written.
create schema if not exists mliot;
set search_path to mliot;

create table if not exists position (
    consumer text not null, kafka_topic text not null, kafka_partition int not null, next_offset bigint not null,
    primary key (consumer, kafka_topic, kafka_partition)
);
-- a topic that was deleted and made again counts from 0: an offset of its former incarnation means nothing
do $$ begin  -- the column's former name
    if exists (select from information_schema.columns where table_schema = 'mliot' and table_name = 'position' and column_name = 'topic_life') then
        alter table position rename topic_life to topic_id;
    end if;
end $$;
alter table position add column if not exists topic_id text not null default '';

create table if not exists frame (
    id text primary key, device text not null, place_id text not null, event_ms bigint not null, arrived_ms bigint not null,
    undated boolean not null, mqtt_topic text not null, payload jsonb not null,
    address text not null, traceparent text, stored_ms bigint not null
);
create index if not exists frame_device on frame (device, event_ms desc);
create index if not exists frame_place on frame (place_id, event_ms desc);

create table if not exists frame_latest (
    device text primary key, place_id text not null, event_ms bigint not null, arrived_ms bigint not null, frame_id text not null, payload jsonb not null
);

-- Frames that carried a measurement of an unknown name, by device; mliot/unknown.py says how their number is bounded.
create table if not exists unknown_measurement (
    device text not null, name text not null, frames bigint not null, first_ms bigint not null, last_ms bigint not null,
    primary key (device, name)
);
create index if not exists unknown_measurement_newest on unknown_measurement (last_ms desc);

create table if not exists "window" (
    id text primary key, grain text not null, key text not null, place_id text not null, start_ms bigint not null, end_ms bigint not null,
    frames int not null, first text not null, last text not null, closed_by text not null, "values" jsonb not null,
    address text not null, traceparent text, stored_ms bigint not null
);
create index if not exists window_place on "window" (place_id, start_ms desc);

create table if not exists feature (
    id text primary key, model text not null, version text not null, grain text not null, key text not null, place_id text not null,
    start_ms bigint not null, end_ms bigint not null, frames int not null, first text not null, last text not null,
    made_ms bigint not null, "values" jsonb not null,
    address text not null, traceparent text, stored_ms bigint not null
);
create index if not exists feature_newest on feature (model, key, start_ms desc);
create index if not exists feature_place on feature (place_id, start_ms desc);

create table if not exists prediction (
    id text primary key, use_case text not null, feature_id text not null, model_version text not null, feature_version text not null,
    key text not null, place_id text not null, at_ms bigint not null, for_ms bigint not null, made_ms bigint not null,
    value double precision not null, probability double precision, low double precision, high double precision,
    shadow boolean not null,
    address text not null, traceparent text, stored_ms bigint not null
);
create index if not exists prediction_feature on prediction (feature_id);
create index if not exists prediction_first on prediction (use_case, made_ms) where not shadow;
create index if not exists prediction_newest on prediction (use_case, place_id, at_ms desc);

create table if not exists label (
    id text primary key, use_case text not null, feature_id text not null, key text not null, place_id text not null,
    label_ms bigint not null, available_ms bigint not null, value double precision not null,
    address text not null, traceparent text, stored_ms bigint not null
);
create index if not exists label_newest on label (use_case, place_id, label_ms desc);
create index if not exists label_scored on label (use_case, available_ms desc);
create index if not exists label_feature on label (feature_id);
create index if not exists label_available on label (use_case, key, available_ms desc);

-- One row a state of a command; command_now is where each stands.
create table if not exists command (
    id text primary key, command_id text not null, state text not null, device text not null, place_id text not null, use_case text not null,
    prediction_id text not null, action text not null, value double precision not null,
    decided_ms bigint not null, expires_ms bigint not null, at_ms bigint not null, reason text not null,
    address text not null, traceparent text, stored_ms bigint not null
);
create index if not exists command_of on command (command_id);
create index if not exists command_newest on command (place_id, decided_ms desc);
create index if not exists command_prediction on command (prediction_id);

create or replace view command_now as
select distinct on (command_id) *
from command
order by command_id, case state when 'queued' then 0 when 'sent' then 1 else 2 end desc, at_ms;

create table if not exists ack (
    id text primary key, device text not null, ok boolean not null, at_ms bigint not null, arrived_ms bigint not null, reason text not null,
    address text not null, traceparent text, stored_ms bigint not null
);

create table if not exists deadletter (
    id text primary key, service text not null, reason text not null, source text not null, key text not null, at_ms bigint not null,
    original bytea not null, address text not null, traceparent text, stored_ms bigint not null
);
create index if not exists deadletter_newest on deadletter (at_ms desc);

-- Where live answers stand beside the last-value baseline at the same delay: every answer whose label has come.
create or replace view scored as
select p.use_case, p.place_id, p.at_ms, p.model_version, p.shadow, p.value, b.value as baseline, l.value as label, l.available_ms
from prediction p
join label l on l.use_case = p.use_case and l.feature_id = p.feature_id
left join lateral (
    select e.value from label e
    where e.use_case = p.use_case and e.key = l.key and e.available_ms <= p.at_ms
    order by e.available_ms desc limit 1
) b on true;

-- When a dead letter was published again to where it came from, and by whom.
create table if not exists replayed (
    dead_id text not null, at_ms bigint not null, "by" text not null
);
create index if not exists replayed_letter on replayed (dead_id, at_ms desc);

-- What was served beside what dbt built, as of each comparison; lineage/parity/result.py says what is counted.
create table if not exists parity (
    model text not null, version text not null, checked_ms bigint not null, since_ms bigint not null, until_ms bigint not null,
    "rows" bigint not null, "values" bigint not null, differ bigint not null, late_rows bigint not null,
    missing bigint not null, missing_late bigint not null, extra bigint not null, largest double precision not null, example text not null,
    primary key (model, checked_ms)
);
create index if not exists parity_newest on parity (checked_ms desc);
