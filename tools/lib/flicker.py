"""Measure the temporal stability of disparity and of a temporal filter."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from crestereo.formats import read_image
from crestereo.types import BGRImage, DisparityMap

from .metrics import end_point_error
from .moving_scene import Stage, shaky_path, with_noise

Shot = tuple[BGRImage, BGRImage, DisparityMap | None]
"""Left, right, and ground truth where it is known."""

SETTLED = 4  # frames until a filter has history
RECENT_FRAMES = 10
UNCOVERED_PX = 1.0  # decrease of the true disparity where a surface is uncovered
INPUTS = Path(__file__).resolve().parents[2] / "input_files"


def still_shots(
    name: str, count: int, noise: float = 2.0, light: float = 1.0, crf: int | None = None
) -> list[Shot]:
    """Return a sample pair `count` times, with fresh noise in every frame."""
    rng = np.random.default_rng(1)
    views = [read_image(INPUTS / f"{name}_{side}.png") for side in ("left", "right")]
    lit = [np.asarray(view * light, np.uint8) for view in views]
    clips = [[with_noise(view, rng, noise) for _ in range(count)] for view in lit]
    left, right = (clip if crf is None else compressed_h264(clip, crf) for clip in clips)
    return [(a, b, None) for a, b in zip(left, right, strict=True)]


def card_shots(seed: int, count: int, *, camera: bool, crf: int | None = None) -> list[Shot]:
    """Render cards: moving, or static before a hand-held camera."""
    rng = np.random.default_rng(seed)
    stage = Stage(seed, (240, 320))
    path = shaky_path(rng, count, 2.0) if camera else np.zeros((count, 2))
    speed = np.zeros((len(stage.cards), 2)) if camera else rng.uniform(-4, 4, (len(stage.cards), 2))
    views: list[list[BGRImage]] = [[], []]
    truth = []
    for number in range(count):
        for right, clip in enumerate(views):
            image, disparity = stage.view(bool(right), tuple(path[number]), speed * number)
            clip.append(with_noise(image, rng))
            if not right:
                truth.append(disparity)
    left, right_clip = (clip if crf is None else compressed_h264(clip, crf) for clip in views)
    return list(zip(left, right_clip, truth, strict=True))


def compressed_h264(frames: Sequence[BGRImage], crf: int) -> list[BGRImage]:
    """Return the frames after encoding and decoding as H.264."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "clip.mp4")
        with av.open(path, "w") as file:
            stream = file.add_stream("libx264", rate=30, options={"crf": str(crf)})
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            for frame in frames:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
            file.mux(stream.encode())
        with av.open(path) as file:
            return [frame.to_ndarray(format="bgr24") for frame in file.decode(video=0)]


SHOTS: dict[str, Callable[[int], list[Shot]]] = {
    "still room, noise 2": lambda n: still_shots("room", n),
    "still table, noise 2": lambda n: still_shots("table", n),
    "still street, noise 5": lambda n: still_shots("street", n, 5),
    "still table, dark, noise 2": lambda n: still_shots("table", n, 2, 0.25),
    "still room, crf 35": lambda n: still_shots("room", n, crf=35),
    "moving cards 1": lambda n: card_shots(1, n, camera=False),
    "moving cards 2, crf 35": lambda n: card_shots(2, n, camera=False, crf=35),
    "shaking camera 3": lambda n: card_shots(3, n, camera=True),
    "shaking camera 4, crf 35": lambda n: card_shots(4, n, camera=True, crf=35),
}
"""Clips by name; the filter was tuned on the first two and the moving cards 1."""


def flicker(maps: Sequence[DisparityMap]) -> tuple[float, float]:
    """Return mean change [px] and share of jumps [%] between frames.

    A jump is a change by more than 1 px.
    """
    changes = [np.abs(after - before) for before, after in pairwise(maps[SETTLED:])]
    jumps = [100 * np.nanmean(change > 1) for change in changes]
    return float(np.mean([np.nanmean(change) for change in changes])), float(np.mean(jumps))


def errors(maps: Sequence[DisparityMap], truth: Sequence[DisparityMap]) -> tuple[float, float]:
    """Return EPE [px] of all and of recently uncovered pixels."""
    every = [end_point_error(a, b) for a, b in zip(maps, truth, strict=True)]
    late = [
        np.abs(found - true)[recent]
        for found, true, recent in zip(maps, truth, uncovered(truth), strict=True)
    ]
    late_all = np.concatenate(late)
    return float(np.mean(every)), float(np.nanmean(late_all)) if late_all.size else float("nan")


def uncovered(truth: Sequence[DisparityMap]) -> Iterator[NDArray[np.bool_]]:
    """Yield a mask of the recently uncovered pixels of each frame.

    Recently: within the last ten frames.
    """
    age = np.full(truth[0].shape, RECENT_FRAMES)
    for before, after in zip((truth[0], *truth), truth, strict=False):
        age = np.where(before - after > UNCOVERED_PX, 0, age + 1)
        yield age < RECENT_FRAMES
