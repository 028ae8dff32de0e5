"""The grains that dbt/ declares, for tests that need no compiled project; ``tests/unit/mliot/test_grains.py`` holds them equal."""

from mliot.grains import Grain, Grains

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
FRAME_GRAIN = "sensor_frame"
GRAINS = Grains(
    [
        Grain("place_1h", HOUR_MS, ("place_id",)),
        Grain("place_1m", MINUTE_MS, ("place_id",)),
        Grain("sensor_1m", MINUTE_MS, ("device",)),
    ],
    (FRAME_GRAIN,),
    {f"features_{grain}": grain for grain in ("place_1h", "place_1m", "sensor_1m", FRAME_GRAIN)},
)
