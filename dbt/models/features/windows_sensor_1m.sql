{{ config(meta={'kind': 'window', 'grain': 'sensor_1m', 'window_s': 60, 'lookback_s': 0, 'source': 'frames'}) }}
{{ tumbling_windows('sensor_1m', 'device', 60) }}
