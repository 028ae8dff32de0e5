"""``python -m benchmarks.minutegrains``: the features service, whole, on a project whose only grains are of a minute."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.servers import process
from mliot.featuremodels import FeatureModels, load_feature_models
from mliot.settings import Settings
from mliot.usecase import UseCase
from streaming import process as service_process
from streaming.services import features
from usecases import load_use_cases

MINUTE_MS = 60_000


def load_minute_grains(manifest: Path) -> FeatureModels:
    """The models of a manifest without those of a frame and of an hour."""
    models = load_feature_models(manifest)
    return replace(
        models,
        windows=tuple(model for model in models.windows if model.window_ms == MINUTE_MS),
        features=tuple(model for model in models.features if model.window_ms == MINUTE_MS),
    )


def load_minute_use_cases(folder: Path) -> dict[str, UseCase]:
    """The use cases in ``folder`` that look at minutes."""
    return {name: use_case for name, use_case in load_use_cases(folder).items() if use_case.features.endswith("_1m")}


@contextmanager
def started_with_minute_grains(settings: Settings, service: str) -> Iterator[None]:
    """The service as a process on these models."""
    with process(settings, service, "benchmarks.minutegrains"):
        yield


if __name__ == "__main__":
    setattr(features, "load_feature_models", load_minute_grains)  # noqa: B010 - all that differs; not exported for assignment
    setattr(features, "load_use_cases", load_minute_use_cases)  # noqa: B010
    service_process.main(features.run, "features")
