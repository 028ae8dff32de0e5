"""What closed windows tell about earlier feature rows: the labels that arrive by themselves. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mliot.featuremodels import FeatureModel, FeatureModels
from mliot.grains import Grain
from mliot.messages import Label, Window
from mliot.usecase import UseCase


@dataclass(frozen=True)
class LabelSource:
    """Where one use case's labels are read: ``column`` in windows of ``grain`` (of one device's, where the label names a sensor)."""

    use_case: UseCase
    features: FeatureModel
    grain: Grain
    column: str

    @classmethod
    def of(cls, use_case: UseCase, models: FeatureModels) -> "LabelSource | None":
        """None where no window holds them, so that labels come on their own topic only."""
        features, column = models.feature(use_case.features), use_case.label.column
        if column is None or not features.window_ms:
            return None
        windows = models.windows_like(features, of_devices=True) if use_case.label.sensor else models.window(features.grain)
        return cls(use_case, features, Grain.of(windows), column) if windows else None

    def read(self, window: Window) -> Label | None:
        """The label in ``window``, or None where it holds none for this use case: no reading, or one that is no class."""
        label = self.use_case.label
        value = window.values.get(self.column)
        if window.grain != self.grain.name or value is None:
            return None
        if label.sensor and self.grain.values(window.key)["device"] != label.sensor:
            return None
        if not self.use_case.serves(window.place_id) or not self.use_case.has_label(value):
            return None
        key = window.key if "device" in self.features.key else window.place_id
        return Label(
            use_case=self.use_case.name,
            feature_id=f"{self.features.grain}:{key}@{window.start_ms - label.horizon_ms}",
            key=key,
            place_id=window.place_id,
            label_ms=window.end_ms,
            available_ms=window.end_ms + label.arrives_after_ms,
            value=value,
        )


def label_sources(use_cases: Mapping[str, UseCase], models: FeatureModels) -> tuple[LabelSource, ...]:
    """The sources of all use cases whose labels arrive by themselves."""
    return tuple(source for source in (LabelSource.of(use_case, models) for use_case in use_cases.values()) if source)


def labels_in(windows: Iterable[Window], sources: Iterable[LabelSource]) -> list[Label]:
    """Every label that the windows hold, in their order."""
    sources = tuple(sources)
    return [label for window in windows for source in sources if (label := source.read(window)) is not None]
