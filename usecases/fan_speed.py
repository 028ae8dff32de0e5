"""Which level a room's fan should run at, learnt from the reference room's own controller."""

from datetime import timedelta

from mliot.usecase import Action, Gate, HistGradientBoosting, Label, Linear, RandomForest, UseCase

FAN_SPEED = UseCase(
    name="fan_speed",
    title="Fan speed",
    kind="classification",
    unit="level",
    classes=(0, 1, 2, 3),
    features="features_place_1m",
    columns=(
        "temperature_avg",
        "temperature_max",
        "temperature_slope",
        "humidity_avg",
        "humidity_max",
        "pressure_avg",
        "luminosity_avg",
        "dew_point_avg",
        "vapour_pressure_deficit_avg",
    ),
    label=Label(measurement="fan_speed", statistic="last", sensor="iot_sensor_0", arrives_after=timedelta(minutes=10)),
    candidates=(RandomForest(trees=100), HistGradientBoosting(iterations=150), Linear()),
    gate=Gate(over_baseline=0.02),
    places=r"room-.*|0{9}",
    acts=Action(action="fan_speed", dwell=timedelta(minutes=2), time_to_live=timedelta(seconds=90)),
)
