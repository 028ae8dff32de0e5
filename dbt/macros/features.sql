{#
  What models see of windows: each macro is a feature model, whole, over the windows of the model `windows`. Grain, key and length of the rows
  are those of the windows; `lookback_s` is how far back a row looks, at most.
#}

{# The values of each window, and no more. #}
{% macro plain_features(windows) %}
{{- config(meta={'kind': 'feature', 'lookback_s': 0, 'source': windows}) }}
select
    {{- feature_columns('windows') }}
from {{ closing(windows) }} as windows
{% endmacro %}

{# A minute of a room's air: its values, the soft sensors that follow from them, and how they moved over the minute and the 15 before. #}
{% macro climate_minute(windows) %}
{{- config(meta={'kind': 'feature', 'lookback_s': 900, 'source': windows}) }}
with lookback as (
    select
        this.window_id,
        count(*)::double as lookback_minutes,
        {{ slope_per_hour('temperature_avg') }} as temperature_slope,
        {{ slope_per_hour('humidity_avg') }} as humidity_slope,
        {{ change('pressure_avg') }} as pressure_delta
    from {{ with_lookback(windows, 60, 900) }}
    group by this.window_id
)

select
    {{- feature_columns('windows') }},
    {{ dew_point('temperature_avg', 'humidity_avg') }} as dew_point_avg,
    {{ vapour_pressure_deficit('temperature_avg', 'humidity_avg') }} as vapour_pressure_deficit_avg,
    {{ absolute_humidity('temperature_avg', 'humidity_avg') }} as absolute_humidity_avg,
    lookback.lookback_minutes,
    lookback.temperature_slope,
    lookback.humidity_slope,
    lookback.pressure_delta
from {{ closing(windows) }} as windows
inner join lookback on lookback.window_id = windows.window_id
{% endmacro %}
