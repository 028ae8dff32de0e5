{{ config(meta={'kind': 'feature', 'lookback_s': 86400, 'source': 'windows_place_1h'}) }}
select
    {{- feature_columns('windows') }},
    {{ hours_ago('water_flow_avg', 1) }} as water_flow_lag_1,
    {{ hours_ago('water_flow_avg', 2) }} as water_flow_lag_2,
    {{ hours_ago('water_flow_avg', 23) }} as water_flow_lag_23,
    {{ hours_ago('water_flow_avg', 24) }} as water_flow_lag_24,
    list_avg(
        list(water_flow_avg) over (partition by key order by start_ms range between {{ 23 * 3600000 }} preceding and current row)
    ) as water_flow_mean_24,
    sin(2 * pi() * (start_ms // 3600000 % 24) / 24) as hour_sin,
    cos(2 * pi() * (start_ms // 3600000 % 24) / 24) as hour_cos,
    {#- 1970-01-01 was a Thursday #}
    ((start_ms // 86400000 + 3) % 7)::double as weekday
from {{ ref('windows_place_1h') }} as windows
