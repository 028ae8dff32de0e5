{{ config(meta={'kind': 'feature', 'grain': 'sensor_frame', 'lookback_s': 0, 'source': 'frames'}) }}
select
    'sensor_frame:' || frame_id as feature_id,
    '{{ model.name }}' as model,
    'sensor_frame' as grain,
    device as key,
    place_id,
    event_ms as start_ms,
    event_ms as end_ms,
    1::bigint as frames,
    address as first,
    address as last
    {%- for name in var('measurements') %},
    "{{ name }}"
    {%- endfor %},
    {{ dew_point('temperature', 'humidity') }} as dew_point,
    {{ vapour_pressure_deficit('temperature', 'humidity') }} as vapour_pressure_deficit,
    {{ absolute_humidity('temperature', 'humidity') }} as absolute_humidity
from {{ ref('frames') }}
