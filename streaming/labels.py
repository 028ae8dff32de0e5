"""What closed windows tell about earlier feature rows: the labels that arrive by themselves. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mliot.featuremodels import FeatureModels
from mliot.messages import Label, Window
from mliot.usecase import UseCase


@dataclass(frozen=True)
class LabelSource:
    """Where one use case's labels are read: ``column`` in windows of ``grain`` (of one device's, where the label names a sensor)."""

    use_case: UseCase
    feature_grain: str
    grain: str
    column: str

    @classmethod
    def of(cls, use_case: UseCase, models: FeatureModels) -> "LabelSource | None":
        """None where no window holds them, so that labels come on their own topic only."""
        features, column = models.feature(use_case.features), use_case.label.column
        if column is None or not features.window_ms:
            return None
        span = features.grain.rpartition("_")[2]
        return cls(use_case, features.grain, f"sensor_{span}" if use_case.label.sensor else features.grain, column)

    def read(self, window: Window) -> Label | None:
        """The label in ``window``, or None where it holds none for this use case: no reading, or one that is no class."""
        label = self.use_case.label
        value = window.values.get(self.column)
        if window.grain != self.grain or value is None or (label.sensor and window.key != label.sensor):
            return None
        if not self.use_case.serves(window.place_id) or not self.use_case.has_label(value):
            return None
        key = window.place_id if self.feature_grain.startswith("place_") else window.key
        return Label(
            use_case=self.use_case.name,
            feature_id=f"{self.feature_grain}:{key}@{window.start_ms - label.horizon_ms}",
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
