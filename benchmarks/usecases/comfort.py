"""A level for every single frame."""

from mliot.usecase import Label, RandomForest, UseCase

COMFORT = UseCase(
    name="comfort",
    title="Comfort",
    kind="classification",
    classes=(0, 1, 2, 3),
    features="features_sensor_frame",
    columns=("temperature", "humidity", "pressure", "luminosity", "dew_point", "vapour_pressure_deficit", "absolute_humidity"),
    label=Label(),
    candidates=(RandomForest(),),
)
