{{ window_grain('sensor_1m', key=['device'], window_s=60) }}
