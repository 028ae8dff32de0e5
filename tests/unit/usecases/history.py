"""From closed windows to a training set, without a warehouse."""

from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa

from mliot.messages import Feature, Label
from mliot.usecase import UseCase


def training_set(use_case: UseCase, features: Sequence[Feature], labels: Sequence[Label]) -> pa.Table:
    """As dbt builds it: each labelled row with its columns, and its key's newest label that was known when its window ended."""
    by_feature = {label.feature_id: label for label in labels}
    rows = []
    known: dict[str, list[Label]] = defaultdict(list)
    for feature in sorted(features, key=lambda feature: feature.end_ms):
        if label := by_feature.get(feature.feature_id):
            baseline = next((one.value for one in reversed(known[feature.key]) if one.available_ms <= feature.end_ms), None)
            known[feature.key].append(label)
            rows.append(
                {
                    "feature_id": feature.feature_id,
                    "key": feature.key,
                    "place_id": feature.place_id,
                    "start_ms": feature.start_ms,
                    "end_ms": feature.end_ms,
                    "label_ms": label.label_ms,
                    "available_ms": label.available_ms,
                    "label": float(label.value),
                    "served": True,
                    "baseline": baseline,
                    **{column: feature.values.get(column) for column in use_case.columns},
                }
            )
    return pa.Table.from_pylist(rows)
