{{ config(materialized='view') }}
{#-
  A record that is not a frame's JSON parses to nulls and is left out here; a test of the source names it. So is one that no bridge can
  have written: a name outside the alphabet, a time that no window can hold, a reading out of its measurement's range.
  A length is looked at apart: in a pattern it makes the pattern sixty times as long, which is compiled for each batch.
  Materialized: else the filter below is pushed to the scan and parses each value once for every column that it looks at.
-#}
with parsed as materialized (
    select
        try(json_transform(value, '{
            "frame_id": "VARCHAR", "device": "VARCHAR", "place_id": "VARCHAR",
            "event_ms": "BIGINT", "arrived_ms": "BIGINT", "undated": "BOOLEAN",
            "payload": { {%- for name in var('measurements') %}"{{ name }}": "DOUBLE"{{ ", " if not loop.last }}{% endfor -%} }
        }')) as frame,
        kafka_topic,
        kafka_partition,
        kafka_offset
    from {{ source('raw', 'frame') }}
)

select
    frame.frame_id,
    frame.device,
    frame.place_id,
    frame.event_ms,
    frame.arrived_ms,
    coalesce(frame.undated, false) as undated,
    kafka_partition,
    kafka_offset,
    kafka_topic || '-' || kafka_partition || '-' || kafka_offset as address
    {%- for name in var('measurements') %},
    frame.payload."{{ name }}" + 0 as "{{ name }}"
    {%- endfor %}
from parsed
where regexp_full_match(frame.frame_id, '[A-Za-z0-9_.:\-]+@[0-9]{1,15}#[0-9a-f]{1,8}')
    and starts_with(frame.frame_id, frame.device || '@')
    and length(frame.device) <= 64
    and regexp_full_match(frame.place_id, '[A-Za-z0-9_.:\-]+')
    and length(frame.place_id) <= 64
    and frame.event_ms between 0 and 253402300799999
    and frame.arrived_ms between 0 and 253402300799999
    {%- for name, ends in var('measurements').items() %}
    and coalesce(frame.payload."{{ name }}" between {{ ends[0] }} and {{ ends[1] }}, true)
    {%- endfor %}
