{{ window_grain('place_1h', key=['place_id'], window_s=3600) }}
