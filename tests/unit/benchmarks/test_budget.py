"""The picture of the latency budget is drawn of any frames, on white."""

from pathlib import Path

import numpy as np
from matplotlib.image import imread

from benchmarks.budget import COLOURS, HOPS, picture


def test_each_hop_has_a_colour_and_the_picture_is_opaque_and_white_at_its_edge(tmp_path: Path) -> None:
    assert len(COLOURS) == len(HOPS)
    times = np.random.default_rng(1).uniform(1, 50, (200, len(HOPS)))
    picture(times, tmp_path / "images" / "budget.png", "200 frames/s")
    pixels = imread(tmp_path / "images" / "budget.png")
    assert (pixels[0, :, :3] == 1).all()
    assert (pixels[..., 3] == 1).all()
