{{ config(meta={'kind': 'window', 'grain': 'place_1h', 'window_s': 3600, 'lookback_s': 0, 'source': 'frames'}, post_hook='{{ closing_is_all() }}') }}
{{ tumbling_windows('place_1h', 'place_id', 3600) }}
