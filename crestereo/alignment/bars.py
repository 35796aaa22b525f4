"""Find, crop and restore black bars around the images of a film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.errors import SourceError
from crestereo.types import BGRImage, DisparityMap

BLACK_GREY = 24.0  # mean of a line of a bar; video black is 16 in limited range
QUIET_GREY = 6.0  # standard deviation along it: noise and compression
STEP_GREY = 5.0  # by which the first line of the content differs, in mean or deviation
LEAST_SHARE = 0.25  # of a side that bars may leave: upright content in a wide frame has a third
LEAST_OF_FRAMED = 0.4  # of the area that bars on all sides may leave
LONGEST_SHARE = 0.45  # of the side: a wider bar is a dark image
SOFT_EDGE_PX = 2  # lines over which compression smears the edge of a bar
SHORTEST_PX = 3


@dataclass(frozen=True)
class Bars:
    """Widths of the bars that both views are cropped by [px]."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def __bool__(self) -> bool:
        return any((self.top, self.bottom, self.left, self.right))

    def __str__(self) -> str:
        sides = [f"{name} {width} px" for name, width in vars(self).items() if width]
        return "black bars: " + (", ".join(sides) if sides else "none")

    def crop(self, image: BGRImage) -> BGRImage:
        """Return the image without its bars."""
        height, width = image.shape[:2]
        return image[self.top : height - self.bottom, self.left : width - self.right]

    def restore(self, values: DisparityMap) -> DisparityMap:
        """Pad a map of the cropped image; the bars become NaN."""
        sides = ((self.top, self.bottom), (self.left, self.right))
        return np.pad(values, sides, constant_values=np.nan)


def find_bars(frames_left: Sequence[BGRImage], frames_right: Sequence[BGRImage]) -> Bars:
    """Find the bars of both views in frames of one size spread over a video."""
    frames = [*frames_left, *frames_right]
    if not frames or len({frame.shape for frame in frames}) != 1:
        raise SourceError("black bars are searched in one or more frames of the same size")
    views = [_bars_of(list(view)) for view in (frames_left, frames_right) if len(view)]
    bars = Bars(*(int(width) for width in np.max(views, axis=0)))  # the wider one of both views
    height, width = frames[0].shape[:2]
    down, across = 1 - (bars.top + bars.bottom) / height, 1 - (bars.left + bars.right) / width
    framed = down < 1 and across < 1  # may be a thing in front of a black wall
    return Bars() if framed and down * across < LEAST_OF_FRAMED else bars


def _bars_of(frames: list[BGRImage]) -> tuple[int, int, int, int]:
    mean = np.full((1, 3), 1 / 3, np.float32)  # of the channels
    grey = np.asarray([cv2.transform(frame, mean) for frame in frames], np.uint8)
    top, bottom = _ends(grey)  # (N, H, W)
    inside = grey[:, top : grey.shape[1] - bottom]
    left, right = _ends(np.swapaxes(inside, 1, 2))
    return top, bottom, left, right


def _ends(grey: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the widths of the bars at both ends of (N, lines, across)."""
    lines = grey.mean(axis=2, dtype=np.float32)  # (N, lines)
    mean = lines.mean(axis=0)
    # Within a line of the worst frame, and over time: a bar does not move.
    within = grey.std(axis=2, dtype=np.float32).max(axis=0)
    spread = np.maximum(within, lines.std(axis=0))
    first, last = _one_end(mean, spread), _one_end(mean[::-1], spread[::-1])
    return (first, last) if len(mean) - first - last >= LEAST_SHARE * len(mean) else (0, 0)


def _one_end(mean: NDArray[np.floating], spread: NDArray[np.floating]) -> int:
    is_bar = (mean < BLACK_GREY) & (spread < QUIET_GREY)
    width = len(is_bar) if is_bar.all() else int(np.argmin(is_bar))
    if not SHORTEST_PX <= width <= LONGEST_SHARE * len(is_bar):
        return 0
    inside = min(width + SOFT_EDGE_PX, len(mean) - 1)
    outside = max(width - SOFT_EDGE_PX - 1, 0)
    step = max(mean[inside] - mean[outside], spread[inside] - spread[outside])
    return width + SOFT_EDGE_PX if step >= STEP_GREY else 0
