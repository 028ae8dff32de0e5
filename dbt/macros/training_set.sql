{#
  What a use case learns from: one row a feature row whose label is known, features as they were when the label was not.

  features, columns       the feature model and those of its columns that the model sees
  labels, label_key       the window model that holds the label (none: it only arrives), and the one key of it that counts (none: every
                          place's own windows)
  label_column            its column; label_ms is the end of the label's window, available_ms = label_ms + arrives_after_ms
  horizon_ms              from the start of the feature row's window to the start of the label's
  places                  pattern that a place must match whole

  A feature row that the stream served (with the SQL of now) stands instead of the batch's: it is what the model is asked with.
  A label that arrived on its own topic stands instead of the one derived from windows. Rows whose label cannot have been known when the last
  frame arrived are left out, so that windows still open teach nothing. `baseline` is the newest label of the key that was known at end_ms.
#}
{% macro training_set(use_case, features, columns, labels, label_key, label_column, horizon_ms, arrives_after_ms, places) %}
{{- config(schema='training', meta={'kind': 'training', 'use_case': use_case}) }}
{%- set version = var('feature_versions').get(features) %}
{%- set row = ['feature_id', 'key', 'place_id', 'start_ms', 'end_ms'] %}
with batch as (
    select
        {{ row | join(', ') }}
        {%- for column in columns %},
        "{{ column }}"
        {%- endfor %}
    from {{ ref(features) }}
    where regexp_full_match(place_id, {{ literal(places) }})
),

served_messages as materialized (
    select
        kafka_partition,
        kafka_offset,
        try(json_transform(value, '{
            "feature_id": "VARCHAR", "model": "VARCHAR", "version": "VARCHAR", "key": "VARCHAR", "place_id": "VARCHAR",
            "start_ms": "BIGINT", "end_ms": "BIGINT",
            "values": { {%- for column in columns %}"{{ column }}": "DOUBLE"{{ ", " if not loop.last }}{% endfor -%} }
        }')) as message
    from {{ source('raw', 'feature') }}
),

served as (
    select
        {%- for column in row %}
        message.{{ column }},
        {%- endfor %}
        {%- for column in columns %}
        message.values."{{ column }}" as "{{ column }}"{{ "," if not loop.last }}
        {%- endfor %}
    from served_messages
    where message.model = '{{ features }}' and regexp_full_match(message.place_id, {{ literal(places) }})
        {%- if version %} and message.version = '{{ version }}'{% endif %}
    qualify row_number() over (partition by message.feature_id order by kafka_partition, kafka_offset) = 1
),

features as (
    select *, true as served from served
    union all by name
    select *, false as served from batch anti join served using (feature_id)
),

label_messages as materialized (
    select
        kafka_partition,
        kafka_offset,
        try(json_transform(value, '{
            "use_case": "VARCHAR", "feature_id": "VARCHAR", "label_ms": "BIGINT", "available_ms": "BIGINT", "value": "DOUBLE"
        }')) as message
    from {{ source('raw', 'label') }}
),

arrived as (
    select message.feature_id, message.label_ms, message.available_ms, message.value
    from label_messages
    where message.use_case = '{{ use_case }}' and message.value is not null
    qualify row_number() over (partition by message.feature_id order by kafka_partition desc, kafka_offset desc) = 1
),

derived as (
    {%- if labels %}
    select place_id, start_ms, end_ms as label_ms, end_ms + {{ arrives_after_ms }} as available_ms, {{ label_column }} as value
    from {{ ref(labels) }}
    where {{ label_column }} is not null {%- if label_key %} and key = {{ literal(label_key) }}{% endif %}
    {%- else %}
    select null::varchar as place_id, null::bigint as start_ms, null::bigint as label_ms, null::bigint as available_ms, null::double as value
    where false
    {%- endif %}
),

labelled as (
    select
        features.*,
        coalesce(arrived.value, derived.value) as label,
        case when arrived.value is null then derived.label_ms else arrived.label_ms end as label_ms,
        case when arrived.value is null then derived.available_ms else arrived.available_ms end as available_ms
    from features
    left join derived on derived.place_id = features.place_id and derived.start_ms = features.start_ms + {{ horizon_ms }}
    left join arrived on arrived.feature_id = features.feature_id
),

known as (
    select * from labelled
    where label is not null and available_ms <= (select max(arrived_ms) from {{ ref('frames') }})
),

newest as (
    select key, available_ms, arg_max(label, label_ms) as label
    from known
    group by key, available_ms
)

select
    {%- for column in row %}
    known.{{ column }},
    {%- endfor %}
    known.label_ms,
    known.available_ms,
    known.label,
    known.served,
    newest.label as baseline
    {%- for column in columns %},
    known."{{ column }}"
    {%- endfor %}
from known
asof left join newest on newest.key = known.key and known.end_ms >= newest.available_ms
order by known.end_ms, known.feature_id
{% endmacro %}

{# A SQL string literal. #}
{% macro literal(text) -%}
    '{{ text | replace("'", "''") }}'
{%- endmacro %}
