"""The next hour's flow in a water pipeline's branch; its label arrives by itself one hour later."""

from datetime import timedelta

from mliot.usecase import Gate, HistGradientBoosting, Label, Linear, RandomForest, UseCase

WATER_FLOW = UseCase(
    name="water_flow",
    title="Water flow, next hour",
    kind="regression",
    unit="L/s",
    features="features_place_1h",
    columns=(
        "water_flow_avg",
        "water_flow_lag_1",
        "water_flow_lag_2",
        "water_flow_lag_23",
        "water_flow_lag_24",
        "water_flow_mean_24",
        "hour_sin",
        "hour_cos",
        "weekday",
    ),
    label=Label(measurement="water_flow", statistic="avg", horizon=timedelta(hours=1)),
    relative_to="water_flow_avg",
    candidates=(RandomForest(trees=200), HistGradientBoosting(iterations=150, rate=0.05), Linear()),
    gate=Gate(over_baseline=0.02),
    places=r"water-.*",
)
