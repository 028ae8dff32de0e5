{{ config(meta={'kind': 'feature', 'grain': 'sensor_1m', 'window_s': 60, 'lookback_s': 900, 'source': 'windows_sensor_1m'}) }}
with lookback as (
    select
        this.window_id,
        count(*)::double as lookback_minutes,
        {{ slope_per_hour('temperature_avg') }} as temperature_slope,
        {{ slope_per_hour('humidity_avg') }} as humidity_slope,
        {{ change('pressure_avg') }} as pressure_delta
    from {{ with_lookback('windows_sensor_1m', 60, 900) }}
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
from {{ closing('windows_sensor_1m') }} as windows
inner join lookback on lookback.window_id = windows.window_id
