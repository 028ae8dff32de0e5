{{ climate_minute('windows_place_1m') }}
