{{ climate_minute('windows_sensor_1m') }}
