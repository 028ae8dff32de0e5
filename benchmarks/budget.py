"""Where the time of one frame goes: the stamps that messages, records and rows carry anyway, hop by hop, and their picture."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from matplotlib.figure import Figure

from benchmarks import log
from mliot.settings import Settings

Times = npt.NDArray[np.float64]
HOPS = (
    "broker: from the publisher to the bridge",
    "bridge: checks, until Kafka's client has the frame",
    "Kafka, and until the features service's batch is full",
    "features: the SQL",
    "its transaction, Kafka, and until inference's batch is full",
    "inference: the endpoint's answer",
    "its transaction, Kafka, and until the store's batch is full",
    "store: PostgreSQL's commit",
)
"""What the time of each hop is spent on."""
COLOURS = ("#8c510a", "#bf812d", "#c7d9ee", "#2166ac", "#d6c5e3", "#762a83", "#bfe3c5", "#1b7837")
PALE = (2, 4, 6)
"""The waits: pale, each beside the full colour of the work that it is a wait for."""
READABLE = 0.03
"""A hop shorter than this part of the bar has no number in it."""
STAMPS = """
select f.event_ms, f.arrived_ms, f.address, e.made_ms, e.address, p.made_ms, p.address, p.stored_ms,
    extract(epoch from pg_xact_commit_timestamp(p.xmin)) * 1000
from mliot.prediction p
join mliot.feature e on e.id = p.feature_id
join mliot.frame f on e.id = 'sensor_frame:' || f.id
where p.use_case = 'comfort'
order by f.event_ms
"""


def spent(settings: Settings, connection: psycopg.Connection[Any]) -> Times:
    """One row a frame that has a prediction, by event time: the milliseconds that it spent in each of :data:`HOPS`."""
    written = {
        f"{message.topic()}-{message.partition()}-{message.offset()}": message.timestamp()[1]
        for topic in ("stream-frame", "stream-feature", "stream-prediction")
        for message in log.everything(settings, topic)
    }
    stamps = [
        (due, arrived, written[frame], read, written[feature], asked, written[prediction], fetched, float(stored))
        for due, arrived, frame, read, feature, asked, prediction, fetched, stored in connection.execute(STAMPS)
    ]
    return np.diff(np.array(stamps, dtype=np.float64), axis=1)


def picture(times: Times, path: Path, title: str) -> None:
    """Two bars of the hops on white: all frames, and the slowest hundredth of them; means, since those add up."""
    totals = times.sum(axis=1)
    slowest = times[totals >= np.quantile(totals, 0.99)]
    bars = {"the slowest 1 %": slowest.mean(axis=0), "all frames": times.mean(axis=0)}
    figure = Figure(figsize=(10, 4.2), facecolor="white", layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(bars))
    for number, label in enumerate(HOPS):
        widths = np.array([means[number] for means in bars.values()])
        axes.barh(list(bars), widths, left=left, height=0.6, color=COLOURS[number], edgecolor="white", label=label)
        for bar, width in enumerate(widths):
            if width > READABLE * slowest.sum(axis=1).mean():
                axes.text(
                    left[bar] + width / 2, bar, f"{width:.0f}", ha="center", va="center", color="black" if number in PALE else "white"
                )
        left += widths
    axes.set_xlabel("ms from publish to the commit of the prediction")
    axes.set_title(f"{title}: p50 {np.quantile(totals, 0.5):.0f} ms, p99 {np.quantile(totals, 0.99):.0f} ms", loc="left")
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=8.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
