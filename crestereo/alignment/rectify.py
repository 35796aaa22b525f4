"""Warp pairs for the network; map their disparity back to the left image."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.alignment.bars import Bars
from crestereo.alignment.check import REACH_SHARE, PairCheck, Verdict, check_pair, choose_shift
from crestereo.alignment.epipolar import Homography, transform
from crestereo.errors import SourceError, UsageError
from crestereo.types import BGRImage, DisparityMap

Size = tuple[int, int]
_Values = TypeVar("_Values", np.uint8, np.float32)


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
        move = _translation(-self.origin[0], -self.origin[1])
        return move @ self.check.model.left_homography(self.check.shape)

    @property
    def right_homography(self) -> Homography:
        """Return the map from the right image to the canvas."""
        move = _translation(self.shift_px - self.origin[0], -self.origin[1])
        return move @ self.check.model.right_homography(self.check.shape)

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
        """Map a disparity (H, W) [px] of the canvas to the left image.

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
        """Return the first and last column (H, 1) of the warped right image."""
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


def _translation(x: float, y: float) -> Homography:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def _moved(image: BGRImage, right_px: int, width: int) -> BGRImage:
    """Move an image right on a canvas of a width, its edges repeated."""
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
