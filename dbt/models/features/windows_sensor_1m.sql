{{ config(meta={'kind': 'window', 'grain': 'sensor_1m', 'window_s': 60, 'lookback_s': 0, 'source': 'frames'}, post_hook='{{ closing_is_all() }}') }}
{{ tumbling_windows('sensor_1m', 'device', 60) }}
