{{ config(materialized='view') }}
{#-
  A record that is not a frame's JSON parses to nulls and is left out here; a test of the source names it.
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
    frame.payload."{{ name }}" as "{{ name }}"
    {%- endfor %}
from parsed
where frame.frame_id is not null and frame.device is not null and frame.place_id is not null and frame.event_ms is not null
