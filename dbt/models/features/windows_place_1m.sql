{{ window_grain('place_1m', key=['place_id'], window_s=60) }}
