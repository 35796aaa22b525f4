"""Filter the disparity of a video over time."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.preprocess import shrink
from crestereo.types import BGRImage, DisparityMap

NEW_SHARE, REST_SHARE = 0.35, 0.2
"""Share of the new frame where it agrees with the last one, and where the image is at rest."""
AGREE_PX, JUMP_PX = 0.5, 1.5
"""Change up to which both agree, and from which the new frame counts alone."""
HOLD_FRAMES, HOLD_STEP_PX, REST_FRAMES = 20, 0.3, 10
"""Frames in a row after which a jump is believed where the image stands still; step until then;
and how long it must have stood still before."""
STILL_EDGES = 0.6  # share of the strongest edges that are still when the camera is
LEAST_TRACKED = 0.4  # of a frame; less is a cut
CUT_CELLS, CUT_CORRELATION, CUT_GREY = (20, 15), 0.5, 6.0
"""A cut is also a frame whose coarse image correlates less, and differs by more grey levels."""
GRID_PX = 240 * 320
"""Pixels of the grid of the filter; four times as many took five times as long."""
LEAST_SIDE_PX = 32  # below it OpenCV's optical flow may read outside of its memory
DRIFT_PX = 15  # window of the common change that the filter must not delay

Plane = NDArray[Any]  # (h, w) float32, on the filter's grid


class Steady:
    """Temporal filter of disparity along the optical flow of the left image."""

    def __init__(self) -> None:
        self.cut = False  # whether the last frame began anew
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self.state: tuple[NDArray[np.uint8], Plane, Plane, Plane] | None = None
        """Last frame, its disparity, how long jumps were held and how long it was at rest."""

    def update(self, left_image: BGRImage, disparity: DisparityMap) -> DisparityMap:
        """Return the disparity [px] of a frame, filtered over time.

        A cut, or another size, starts again and sets `cut`.
        """
        height, width = disparity.shape
        scale = min(1.0, math.sqrt(GRID_PX / (height * width)))
        grid = round(scale * height), round(scale * width)
        if min(grid) < LEAST_SIDE_PX:
            return disparity
        grey = shrink(np.asarray(cv2.cvtColor(left_image, code=cv2.COLOR_BGR2GRAY)), grid)
        found = shrink(disparity, grid)
        start = np.zeros_like(found), np.full_like(found, REST_FRAMES)
        last, self.state = self.state, (grey, found, *start)
        tracked = None
        if last is not None and last[0].shape == grey.shape:
            tracked = self._track(last[0], grey)
        self.cut = last is not None and tracked is None
        if tracked is None or last is None:
            return disparity
        x, y, match, still = tracked
        carried, held, rest = (cv2.remap(m, x, y, interpolation=cv2.INTER_LINEAR) for m in last[1:])
        edge = cv2.dilate(carried, np.ones((5, 5))) - found > JUMP_PX
        match[edge & (still == 0)] = 0  # what a moving thing uncovers has no past
        # noise interrupts the rest for a frame, a thing that moves for more
        rest = np.where(still > 0, np.minimum(rest + 1, 2 * REST_FRAMES), rest / 2)
        rest = rest.astype(np.float32)
        correction, held = _correct(found - carried, match, rest * still, held)
        self.state = grey, found + correction, held, rest
        return disparity + cv2.resize(correction, (width, height), interpolation=cv2.INTER_LINEAR)

    def _track(
        self, before: NDArray[np.uint8], grey: NDArray[np.uint8]
    ) -> tuple[Plane, Plane, Plane, Plane] | None:
        """Return positions in the frame before, fit, rest; None at a cut."""
        if _differs(before, grey):
            return None
        flow = self._flow.calc(grey, before, np.zeros((*grey.shape, 2), np.float32))
        height, width = grey.shape
        columns = np.arange(width, dtype=np.float32)
        rows = np.arange(height, dtype=np.float32)[:, None]
        x, y = flow[..., 0] + columns, flow[..., 1] + rows
        moved = cv2.remap(before, x, y, interpolation=cv2.INTER_LINEAR)
        change = cv2.blur(cv2.subtract(moved, grey, dtype=cv2.CV_32F), (5, 5))
        change = np.abs(change - np.median(change[::4, ::4]))
        noise = float(np.median(change[::4, ::4]))  # grey levels
        limit = 4 + 3 * min(noise, 4.0)
        if (change < limit).mean() < LEAST_TRACKED:
            return None
        match = np.clip(2 - change / limit, 0, 1)
        match[(x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)] = 0
        rest = np.abs(cv2.blur(cv2.subtract(before, grey, dtype=cv2.CV_32F), (5, 5)))
        quiet = rest < 1.2 + 3 * min(noise, 1.6)
        still = cv2.erode(quiet.astype(np.float32), np.ones((9, 9)))
        if not _camera_rests(grey, quiet):
            still[:] = 0
        x, y = (np.where(still > 0, at, to) for at, to in ((columns, x), (rows, y)))
        match = cv2.erode(match, np.ones((3, 3)))
        return x, y, np.maximum(match, still), still


def _camera_rests(grey: NDArray[np.uint8], still: NDArray[np.bool_]) -> bool:
    """Return whether most edges are still, as plain walls always are."""
    smooth = cv2.blur(grey.astype(np.float32), (5, 5))
    slope = np.abs(cv2.Sobel(smooth, cv2.CV_32F, dx=1, dy=0))
    slope += np.abs(cv2.Sobel(smooth, cv2.CV_32F, dx=0, dy=1))
    edges = slope > np.percentile(slope[::4, ::4], 75)
    return bool(edges.any()) and float(still[edges].mean()) > STILL_EDGES


def _differs(before: NDArray[np.uint8], grey: NDArray[np.uint8]) -> bool:
    a, b = (cv2.resize(m, CUT_CELLS, interpolation=cv2.INTER_AREA) for m in (before, grey))
    distinct = float(cv2.absdiff(a, b).mean()) > CUT_GREY
    fit = cv2.matchTemplate(a, b, method=cv2.TM_CCOEFF_NORMED).item()
    return distinct and float(fit) < CUT_CORRELATION


def _correct(change: Plane, match: Plane, rest: Plane, held: Plane) -> tuple[Plane, Plane]:
    """Return the correction of a frame and ages of held jumps."""
    change = np.nan_to_num(change)
    # A common change is motion in depth: the filter takes out only what differs from it.
    near = cv2.threshold(np.abs(change), AGREE_PX, 1, cv2.THRESH_BINARY_INV)[1]
    window = (DRIFT_PX, DRIFT_PX)
    drift = cv2.blur(change * near, window) / np.maximum(cv2.blur(near, window), 0.1)
    change -= np.where(rest > 0, 0, drift)
    size = np.abs(change)
    agree = match * np.clip((JUMP_PX - size) / (JUMP_PX - AGREE_PX), 0, 1)
    past = np.where(rest > REST_FRAMES, np.float32(1 - REST_SHARE), np.float32(1 - NEW_SHARE))
    correction = -past * agree * change
    jump = (size > AGREE_PX) & (rest > REST_FRAMES)
    held = np.where(jump, held + 1, 0).astype(np.float32)
    slow = np.copysign(np.maximum(size - HOLD_STEP_PX, past * size), -change)
    return np.where(jump & (held <= HOLD_FRAMES), slow, correction), held
