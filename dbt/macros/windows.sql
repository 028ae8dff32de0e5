{#
  A window grain, whole: its file is this one call. `grain` is its name and the beginning of its windows' ids, `key` the columns of a frame
  that tell whose window it is, `window_s` its length (a multiple of the shortest grain's). Everything else follows from these three: the
  windows in stream and warehouse, audit, trace, parity and, where no feature model reads it, feature rows of its values (`plain_features`).
#}
{% macro window_grain(grain, key, window_s) %}
{{- config(
    meta={'kind': 'window', 'grain': grain, 'key': key, 'window_s': window_s, 'lookback_s': 0, 'source': 'frames'},
    post_hook='{{ closing_is_all() }}'
) }}
{{- tumbling_windows(grain, key | join(" || '/' || "), window_s) }}
{% endmacro %}

{#
  Tumbling windows of `window_s` seconds over staging.frames, one row for each `key` that has a frame in it.

  A floating-point sum depends on its order, so each measurement's readings are summed from the least to the greatest: a window's numbers
  are the same bits in batch and stream, whatever order the frames came in. That is cheaper than a list in time order for each of them.
  `in_time` is time, partition and offset (48, 15 and 63 bits) as one number: a maximum by it costs a third of one by three columns.
#}
{% macro tumbling_windows(grain, key, window_s) %}
{%- set window_ms = window_s * 1000 -%}
with placed as (
    select
        *,
        {{ key }} as key,
        event_ms - event_ms % {{ window_ms }} as start_ms,
        kafka_partition * 9223372036854775808::hugeint + kafka_offset as in_log,
        event_ms * 302231454903657293676544::hugeint + kafka_partition * 9223372036854775808::hugeint + kafka_offset as in_time
    from {{ ref('frames') }}
),

gathered as (
    select
        key,
        start_ms,
        arg_max(place_id, in_time) as place_id,
        count(*) as frames,
        arg_min(address, in_log) as first,
        arg_max(address, in_log) as last
        {%- for name in var('measurements') %},
        list_sort(list("{{ name }}") filter ("{{ name }}" is not null)) as "{{ name }}",
        arg_max("{{ name }}", in_time) as {{ name }}_last
        {%- endfor %}
    from placed
    group by 1, 2
)

select
    '{{ grain }}:' || key || '@' || start_ms as window_id,
    '{{ grain }}' as grain,
    key,
    place_id,
    start_ms,
    start_ms + {{ window_ms }} as end_ms,
    frames,
    first,
    last
    {%- for name in var('measurements') %},
    coalesce(len("{{ name }}"), 0)::double as {{ name }}_count,
    "{{ name }}"[1] as {{ name }}_min,
    "{{ name }}"[-1] as {{ name }}_max,
    list_avg("{{ name }}") as {{ name }}_avg,
    list_stddev_pop("{{ name }}") as {{ name }}_stddev,
    {{ name }}_last
    {%- endfor %}
from gathered
{% endmacro %}

{#
  The windows of the model `windows` whose feature rows are asked for: in the warehouse a view of all of them, in the stream a table of
  those that are being closed (mliot/featuremodels.py). What reads it is computed for them alone, whatever lies behind them.
#}
{% macro closing(windows) -%}
    {{ beside(ref(windows)) }}
{%- endmacro %}

{# A window model's post-hook. #}
{% macro closing_is_all() -%}
    create or replace view {{ beside(this) }} as from {{ this }}
{%- endmacro %}

{% macro beside(windows) -%}
    {{ api.Relation.create(windows.database, windows.schema, windows.identifier ~ '_closing') }}
{%- endmacro %}

{# The columns that a feature row takes over from the window it describes, its values included. #}
{% macro feature_columns(window) %}
    {{ window }}.window_id as feature_id,
    '{{ model.name }}' as model,
    {{ window }}.* exclude (window_id)
{%- endmacro %}

{#
  Each closing window of `windows` beside the windows of its key that start at most `lookback_s` before it, itself included:
  window_id, back_ms (0 or more), and the columns of the earlier window as `earlier`.
  Looks each start up by equality, so that history costs the same for each row however long it is.
#}
{% macro with_lookback(windows, window_s, lookback_s) %}
    {{ closing(windows) }} as this
    cross join range(0, {{ lookback_s * 1000 + 1 }}, {{ window_s * 1000 }}) as ago(back_ms)
    inner join {{ ref(windows) }} as earlier on earlier.key = this.key and earlier.start_ms = this.start_ms - ago.back_ms
{%- endmacro %}

{# Least-squares slope of `column` per hour over the rows of `with_lookback`, in time order; null below two readings. #}
{% macro slope_per_hour(column) -%}
    case when count(earlier.{{ column }}) > 1
        then regr_slope(earlier.{{ column }}, -ago.back_ms / 3600000.0 order by ago.back_ms desc)
    end
{%- endmacro %}

{# `column` of this window minus that of the earliest one in its lookback that has a value; null where there is no earlier one. #}
{% macro change(column) -%}
    last(earlier.{{ column }} order by ago.back_ms desc) filter (ago.back_ms = 0)
        - first(earlier.{{ column }} order by ago.back_ms desc) filter (ago.back_ms > 0 and earlier.{{ column }} is not null)
{%- endmacro %}

{# `column` of the window that started exactly `hours` before; null where the key had none. #}
{% macro hours_ago(column, hours) -%}
    max({{ column }}) over (
        partition by key order by start_ms range between {{ hours * 3600000 }} preceding and {{ hours * 3600000 }} preceding
    )
{%- endmacro %}
