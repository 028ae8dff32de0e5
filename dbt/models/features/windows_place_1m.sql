{{ config(meta={'kind': 'window', 'grain': 'place_1m', 'window_s': 60, 'lookback_s': 0, 'source': 'frames'}, post_hook='{{ closing_is_all() }}') }}
{{ tumbling_windows('place_1m', 'place_id', 60) }}
