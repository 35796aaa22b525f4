"""Crop and warp pairs for the network; map their disparity back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.alignment.check import REACH_SHARE, PairCheck, Verdict, check_pair, choose_shift
from crestereo.alignment.epipolar import Homography, transform
from crestereo.errors import SourceError, UsageError
from crestereo.types import BGRImage, DisparityMap

Size = tuple[int, int]
_Values = TypeVar("_Values", np.uint8, np.float32)

BLACK_GREY = 24.0  # mean of a line of a bar; video black is 16 in limited range
QUIET_GREY = 6.0  # standard deviation along it: noise and compression
STEP_GREY = 5.0  # by which the first line of the content differs, in mean or deviation
LEAST_SHARE = 0.25  # of a side that bars may leave: upright content in a wide frame has a third
LEAST_OF_FRAMED = 0.4  # of the area that bars on all sides may leave
LONGEST_SHARE = 0.45  # of the side: a wider bar is a dark image
SOFT_EDGE_PX = 2  # lines over which compression smears the edge of a bar
SHORTEST_PX = 3


@dataclass(frozen=True)
class AlignmentPlan:
    """Alignment of all pairs of one size."""

    check: PairCheck
    shift_px: int  # disparities of the aligned pair are smaller than the true ones by this
    origin: tuple[int, int]  # x and y, in the aligned left image, of the canvas's first pixel
    canvas: Size  # height and width of both aligned images

    @property
    def does_nothing(self) -> bool:
        """Return whether the images stay unchanged."""
        return self.check.model.does_nothing and self.shift_px == 0

    @property
    def reach_px(self) -> float:
        """Return the largest disparity that the network finds in pairs aligned so."""
        return REACH_SHARE * self.canvas[1] + self.shift_px

    @property
    def left_homography(self) -> Homography:
        """Return the map from the left image to the canvas."""
        return self._placed(self.check.model.left_homography(self.check.shape), 0)

    @property
    def right_homography(self) -> Homography:
        """Return the map from the right image to the canvas."""
        return self._placed(self.check.model.right_homography(self.check.shape), self.shift_px)

    def _placed(self, homography: Homography, shift_px: int) -> Homography:
        x, y = self.origin
        return np.array([[1.0, 0, shift_px - x], [0, 1, -y], [0, 0, 1]]) @ homography

    def apply(self, left: BGRImage, right: BGRImage) -> tuple[BGRImage, BGRImage]:
        """Return the aligned images; the given ones where `does_nothing`."""
        for image in (left, right):
            if image.shape[:2] != self.check.shape:
                raise SourceError(
                    f"an image of {image.shape[1]}x{image.shape[0]} px follows images of "
                    f"{self.check.shape[1]}x{self.check.shape[0]} px; all need one size"
                )
        if self.does_nothing:
            return left, right
        model, width, start = self.check.model, self.canvas[1], self.origin[0]
        edge = cv2.BORDER_REPLICATE
        if model.moves_left:
            left = _warp(left, self.left_homography, self.canvas, edge)
        else:
            left = _moved(left, -start, width)
        if model.does_nothing:
            right = _moved(right, self.shift_px - start, width)
        else:
            right = _warp(right, self.right_homography, self.canvas, edge)
        return left, right

    def restore(self, disparity: DisparityMap) -> DisparityMap:
        """Map a disparity [px] of the canvas to the left image.

        It is NaN where the warped right image has no data. Where both images were warped it is
        measured along the rows of the aligned pair.
        """
        if disparity.shape != self.canvas:
            raise UsageError(
                f"the map to restore is {disparity.shape[1]}x{disparity.shape[0]}, the aligned "
                f"pair {self.canvas[1]}x{self.canvas[0]} px; give the map of the aligned pair"
            )
        if self.does_nothing:
            return disparity
        if self.check.verdict is Verdict.ALIGNED:
            first, last = self._right_columns
            columns = np.arange(self.canvas[1], dtype=np.float32) - disparity
            inside = (columns >= first) & (columns < last)  # false where it is NaN
            disparity = np.where(inside, disparity, np.float32(np.nan))
        values = disparity + np.float32(self.shift_px)
        if not self.check.model.moves_left:
            x, y = -self.origin[0], -self.origin[1]
            height, width = self.check.shape
            return np.ascontiguousarray(values[y : y + height, x : x + width])
        back = np.asarray(np.linalg.inv(self.left_homography), np.float64)
        return _warp(values, back, self.check.shape, cv2.BORDER_CONSTANT, np.nan, exact=False)

    @cached_property
    def _right_columns(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return first and last column (H, 1) of the warped right image."""
        # A warped rectangle is convex: it fills one interval of a row, or none.
        full = np.full(self.check.shape, 255, np.uint8)
        seen = _warp(full, self.right_homography, self.canvas, cv2.BORDER_CONSTANT, exact=False) > 0
        width = self.canvas[1]
        first = np.where(seen.any(axis=1), seen.argmax(axis=1), width) - 0.5
        last = width - 0.5 - seen[:, ::-1].argmax(axis=1)
        return first[:, None].astype(np.float32), last[:, None].astype(np.float32)


def plan_alignment(check: PairCheck, *, still: bool = True) -> AlignmentPlan:
    """Choose the shift and the canvas for a checked pair.

    `still`: the plan is for this pair alone. In a video near parts are moved into the network's
    reach only where they are beyond it, because later scenes may show farther ones.
    """
    # The canvas is the left image; it grows where a negative shift would push the right image out
    # of it, and, when the left image is warped too, until it holds all of that.
    height, width = check.model.orientation.canvas(check.shape)
    shift = choose_shift(check.disparity_range, width)
    if not still and check.disparity_range[1] <= REACH_SHARE * width:
        shift = min(shift, 0)
    if not check.usable or (check.model.does_nothing and shift == 0):
        return AlignmentPlan(check, 0, (0, 0), check.shape)
    left, top, right, bottom = 0, 0, width, height
    if check.model.moves_left:
        rows, columns = check.shape
        corners = np.array([[x, y] for x in (0, columns - 1) for y in (0, rows - 1)], float)
        moved = transform(check.model.left_homography(check.shape), corners).round(6)
        left, top = (int(v) for v in np.floor(moved.min(axis=0)))
        right, bottom = (int(v) + 1 for v in np.ceil(moved.max(axis=0)))
    left += min(shift, 0)
    return AlignmentPlan(check, shift, (left, top), (bottom - top, right - left))


def _moved(image: BGRImage, right_px: int, width: int) -> BGRImage:
    """Move an image right on a canvas, its edges repeated."""
    if right_px == 0 and width == image.shape[1]:
        return image
    rest = max(width - image.shape[1] - right_px, 0)
    return np.pad(image, ((0, 0), (right_px, rest), (0, 0)), mode="edge")[:, :width]


def _warp(
    values: NDArray[_Values],
    homography: Homography,
    size: Size,
    border: int,
    fill: float = 0.0,
    *,
    exact: bool = True,
) -> NDArray[_Values]:
    """Warp `values` to `size` (height, width), sharply where `exact`."""
    warped = cv2.warpPerspective(
        values, homography, (size[1], size[0]),
        flags=cv2.INTER_CUBIC if exact else cv2.INTER_LINEAR, borderMode=border,
        borderValue=(fill,) * 4,
    )  # fmt: skip
    return np.asarray(warped, values.dtype)


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


@dataclass(frozen=True)
class AlignedPair:
    """Pair that a network can match."""

    left: BGRImage
    right: BGRImage
    plan: AlignmentPlan | None = None  # how they were warped
    bars: Bars = field(default_factory=Bars)  # what was cropped before

    def restore(self, disparity: DisparityMap) -> DisparityMap:
        """Map a disparity of the aligned pair to the given left image."""
        restored = disparity if self.plan is None else self.plan.restore(disparity)
        return self.bars.restore(restored) if self.bars else restored


def align_pair(left: BGRImage, right: BGRImage, *, check: PairCheck | None = None) -> AlignedPair:
    """Align two images by their matches.

    Parameters
    ----------
    left, right : (H, W, 3) uint8
        BGR images of the same size.
    check : PairCheck, optional
        Result of `check_pair`; by default they are checked here, turned images too.

    Returns
    -------
    AlignedPair
        Its `restore` maps a disparity back to the left image.

    Raises
    ------
    SourceError
        The images differ in size.
    """
    plan = plan_alignment(check_pair(left, right, turned=True) if check is None else check)
    return AlignedPair(*plan.apply(left, right), plan)


def find_bars(frames_left: Sequence[BGRImage], frames_right: Sequence[BGRImage]) -> Bars:
    """Find the bars of both views in frames of a video."""
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
    """Return the bar widths at both ends of (N, lines, across)."""
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
