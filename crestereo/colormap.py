"""Colour disparity and depth: near bright, far dark, unknown black."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.errors import UsageError
from crestereo.types import BGRImage, DepthMap

COLORMAPS = (
    *sorted(name[9:].lower() for name in dir(cv2) if name.startswith("COLORMAP_")),
    "gray",
)
"""Names of OpenCV's colour maps, in lower case, and gray."""

_USUAL_OUTSIDE = 0.1  # share of the pixels; 0.04 are outliers of the range of the frame itself
_RANGE_SAMPLES = 20_000  # percentiles are then exact to 0.1 %


def check_colormap(name: str) -> str:
    """Return the name as `COLORMAPS` spells it, or raise UsageError."""
    lower = name.lower()
    if lower not in COLORMAPS:
        raise UsageError(
            f"the colour map {name!r} does not exist; choose one of {', '.join(COLORMAPS)}"
        )
    return lower


@functools.cache
def _palette(name: str) -> NDArray[np.uint8]:
    """Return the (256, 3) BGR colours of a map."""
    ramp = np.arange(256, dtype=np.uint8).reshape(256, 1)
    if name.lower() == "gray":
        return ramp.repeat(3, axis=1)
    code = int(getattr(cv2, "COLORMAP_" + check_colormap(name).upper()))
    return np.asarray(cv2.applyColorMap(ramp, code), dtype=np.uint8).reshape(256, 3)


def colorize(
    values: NDArray[np.float32],
    *,
    low: float,
    high: float,
    colormap: str = "magma",
    invert: bool = False,
) -> BGRImage:
    """Colour a map of numbers."""
    if values.size == 0:
        raise UsageError(f"a map of {values.shape} has nothing to colour")
    span = max(high - low, 1e-6 * max(1.0, abs(low), abs(high)))
    start, gain = (high, -255 / span) if invert else (low, 255 / span)
    known = np.equal(values, values).view(np.uint8)  # 0 where NaN
    # Before the conversion to bytes, in which values far outside would wrap.
    inside = np.clip(values, low, low + span)
    levels = cv2.addWeighted(inside, gain, inside, 0.0, -start * gain, dtype=cv2.CV_8U)
    colored = cv2.applyColorMap(levels, _palette(colormap)[:, None])
    if not known.all():
        colored = cv2.bitwise_and(colored, colored, mask=known)
    return np.asarray(colored, dtype=np.uint8)


def colorize_depth(depth: DepthMap, *, max_distance_m: float, colormap: str = "magma") -> BGRImage:
    """Colour depth from 0 to `max_distance_m` [m], beyond it black."""
    if not max_distance_m > 0:
        raise UsageError(f"max_distance must be above zero metres, not {max_distance_m!r}")
    seen = np.where(depth <= max_distance_m, depth, np.float32(np.nan))
    return colorize(seen, low=0.0, high=max_distance_m, colormap=colormap, invert=True)


def robust_range(values: NDArray[np.float32], *, least: float = 1.0) -> tuple[float, float]:
    """Measure the 2nd to 98th percentile of a map, widened to `least`."""
    known = _known_sample(values)
    return _range_of(known, least) if known.size else (0.0, 1.0)


def _range_of(known: NDArray[np.float32], least: float = 1.0) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(known, [2, 98]))
    missing = max(0.0, least - (high - low))
    return low - missing / 2, high + missing / 2


def _known_sample(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # Every nth row and column: every nth pixel could be the same few columns of each row.
    step = max(1, math.isqrt(values.size // _RANGE_SAMPLES))
    sample = values[::step, ::step]
    return sample[np.isfinite(sample)]


@dataclass(frozen=True)
class RangeSmoother:
    """Smoothed colour range; `weight` is the share of a new frame.

    The range follows faster the more pixels are outside of it, where colours show nothing.
    """

    low: float | None = None
    high: float | None = None
    weight: float = 0.1

    def updated(self, values: NDArray[np.float32]) -> RangeSmoother:
        """Return the state after a frame (H, W), NaN where unknown."""
        known = _known_sample(values)
        if known.size == 0:
            return self
        low, high = _range_of(known)
        if self.low is not None and self.high is not None:
            outside = float(np.mean((known < self.low) | (known > self.high)))
            weight = min(self.weight + max(outside - _USUAL_OUTSIDE, 0.0), 1.0)
            low = self.low + weight * (low - self.low)
            high = self.high + weight * (high - self.high)
        return RangeSmoother(low, high, self.weight)

    @property
    def bounds(self) -> tuple[float, float]:
        """Return (low, high); (0, 1) before the first frame."""
        if self.low is None or self.high is None:
            return 0.0, 1.0
        return self.low, self.high
