"""Warp a pair so that a network can match it, and bring the result back to the left picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.alignment.bars import Bars
from crestereo.alignment.check import PairCheck, check_pair, choose_shift
from crestereo.alignment.epipolar import Homography, transform
from crestereo.errors import SourceError, UsageError
from crestereo.types import BGRImage, ConfidenceMap, DisparityMap

Size = tuple[int, int]
_Values = TypeVar("_Values", np.uint8, np.float32)


@dataclass(frozen=True)
class AlignmentPlan:
    """Hold how pairs of one size are aligned; a video keeps one plan for all its frames.

    Parameters
    ----------
    check : PairCheck
        What the pair looked like.
    shift_px : int
        Disparities of the aligned pair are smaller than the true ones by this.
    origin : (int, int)
        x and y, in the aligned left picture, of the first pixel of the canvas.
    canvas : (int, int)
        Height and width of both aligned pictures.
    """

    check: PairCheck
    shift_px: int
    origin: tuple[int, int]
    canvas: Size

    @property
    def does_nothing(self) -> bool:
        """Tell whether the pictures go through untouched."""
        return self.check.model.does_nothing and self.shift_px == 0

    @property
    def left_homography(self) -> Homography:
        """Return the map from the left picture to the canvas."""
        move = _translation(-self.origin[0], -self.origin[1])
        return move @ self.check.model.left_homography(self.check.shape)

    @property
    def right_homography(self) -> Homography:
        """Return the map from the right picture to the canvas."""
        move = _translation(self.shift_px - self.origin[0], -self.origin[1])
        return move @ self.check.model.right_homography(self.check.shape)

    @cached_property
    def _right_columns(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return where the right picture begins and ends in every row of the canvas: (H, 1) each.

        A warped rectangle is convex, so that it fills one interval of a row, or none.
        """
        full = np.full(self.check.shape, 255, np.uint8)
        seen = _warp(full, self.right_homography, self.canvas, cv2.BORDER_CONSTANT, exact=False) > 0
        width = self.canvas[1]
        first = np.where(seen.any(axis=1), seen.argmax(axis=1), width) - 0.5
        last = width - 0.5 - seen[:, ::-1].argmax(axis=1)
        return first[:, None].astype(np.float32), last[:, None].astype(np.float32)

    def apply(self, left: BGRImage, right: BGRImage) -> tuple[BGRImage, BGRImage]:
        """Return the aligned left and right pictures; the given ones where nothing is to do.

        Raises
        ------
        SourceError
            If a picture has another size than the checked ones.
        """
        for picture in (left, right):
            if picture.shape[:2] != self.check.shape:
                raise SourceError(
                    f"A picture of {picture.shape[1]}x{picture.shape[0]} pixels came after "
                    f"pictures of {self.check.shape[1]}x{self.check.shape[0]}; all must be alike"
                )
        if self.does_nothing:
            return left, right
        model, width, start = self.check.model, self.canvas[1], self.origin[0]
        if model.moves_left:
            left = _warp(left, self.left_homography, self.canvas, cv2.BORDER_REPLICATE)
        else:
            left = _moved(left, -start, width)
        if not model.does_nothing:
            right = _warp(right, self.right_homography, self.canvas, cv2.BORDER_REPLICATE)
        else:
            right = _moved(right, self.shift_px - start, width)
        return left, right

    def restore(self, disparity: DisparityMap) -> DisparityMap:
        """Bring the disparity of the aligned pair back to the left picture.

        Parameters
        ----------
        disparity : (H, W) float32
            On the canvas, pixels.

        Returns
        -------
        (H, W) float32
            On the grid of the left picture, signed, NaN where the warped right picture has no
            data. Where both pictures were warped it is measured along the rows of the aligned
            pair.

        Raises
        ------
        UsageError
            If the disparity does not have the canvas's size.
        """
        self._must_fit(disparity)
        if self.does_nothing:
            return disparity
        result = disparity
        if not self.check.model.does_nothing:
            result = np.where(self._matched_in_right(disparity), disparity, np.float32(np.nan))
        return self._to_left(result + np.float32(self.shift_px), np.nan)

    def restore_confidence(
        self, confidence: ConfidenceMap, disparity: DisparityMap
    ) -> ConfidenceMap:
        """Bring the confidence of the aligned pair back, zero where the right has no data.

        Parameters
        ----------
        confidence, disparity : (H, W) float32
            Both on the canvas.
        """
        self._must_fit(confidence)
        if self.does_nothing:
            return confidence
        return self._to_left(
            np.where(self._matched_in_right(disparity), confidence, np.float32(0)), 0.0
        )

    def to_canvas(self, disparity: DisparityMap) -> DisparityMap:
        """Take a disparity of the left picture to the canvas, as a prior for the network."""
        if self.does_nothing:
            return disparity
        lowered = disparity - np.float32(self.shift_px)
        return _warp(
            lowered, self.left_homography, self.canvas, cv2.BORDER_CONSTANT, np.nan, exact=False
        )

    def _must_fit(self, values: NDArray[np.float32]) -> None:
        if values.shape != self.canvas:
            raise UsageError(
                f"The map to restore is {values.shape[1]}x{values.shape[0]}, the aligned pair "
                f"{self.canvas[1]}x{self.canvas[0]} pixels; give the map of the aligned pair"
            )

    def _matched_in_right(self, disparity: DisparityMap) -> NDArray[np.bool_]:
        """Return where the matching point lies on data of the right picture."""
        first, last = self._right_columns
        columns = np.arange(self.canvas[1], dtype=np.float32) - disparity
        return np.asarray((columns >= first) & (columns < last))  # never where it is NaN

    def _to_left(self, values: NDArray[np.float32], unknown: float) -> NDArray[np.float32]:
        if not self.check.model.moves_left:
            x, y = -self.origin[0], -self.origin[1]
            height, width = self.check.shape
            return np.ascontiguousarray(values[y : y + height, x : x + width])
        back = np.asarray(np.linalg.inv(self.left_homography), np.float64)
        return _warp(values, back, self.check.shape, cv2.BORDER_CONSTANT, unknown, exact=False)


def plan_alignment(check: PairCheck, *, still: bool = True) -> AlignmentPlan:
    """Choose the shift and the canvas for a checked pair.

    Parameters
    ----------
    check : PairCheck
    still : bool
        The plan is for this pair alone. Of a video nobody knows how far the scenes to come reach,
        so the right picture is never moved towards a near thing.

    Notes
    -----
    The canvas is the left picture. It grows where a negative shift would push the right picture
    out of it, and, when the left picture is warped too, until it holds all of that.
    """
    height, width = check.shape
    shift = choose_shift(check.disparity_range, width)
    if not still:
        shift = min(shift, 0)
    if not check.usable or (check.model.does_nothing and shift == 0):
        return AlignmentPlan(check, 0, (0, 0), check.shape)
    left, top, right, bottom = 0, 0, width, height
    if check.model.moves_left:
        corners = np.array(
            [[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], float
        )
        moved = transform(check.model.left_homography(check.shape), corners)
        left, top = (int(v) for v in np.floor(moved.min(axis=0)))
        right, bottom = (int(v) + 1 for v in np.ceil(moved.max(axis=0)))
    left += min(shift, 0)
    return AlignmentPlan(check, shift, (left, top), (bottom - top, right - left))


def _translation(x: float, y: float) -> Homography:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def _moved(picture: BGRImage, right_px: int, width: int) -> BGRImage:
    """Move a picture right by whole pixels on a canvas of a width, its edges repeated."""
    rest = max(width - picture.shape[1] - right_px, 0)
    border = cv2.BORDER_REPLICATE
    wide = cv2.copyMakeBorder(
        picture, top=0, bottom=0, left=right_px, right=rest, borderType=border
    )
    return np.asarray(wide, np.uint8)[:, :width]


def _warp(
    values: NDArray[_Values],
    homography: Homography,
    size: Size,
    border: int,
    fill: float = 0.0,
    *,
    exact: bool = True,
) -> NDArray[_Values]:
    """Warp `values` to `size` (height, width); `exact` keeps pictures sharp by cubic weights."""
    warped = cv2.warpPerspective(
        values, homography, (size[1], size[0]),
        flags=cv2.INTER_CUBIC if exact else cv2.INTER_LINEAR, borderMode=border,
        borderValue=(fill,) * 4,
    )  # fmt: skip
    return np.asarray(warped, values.dtype)


@dataclass(frozen=True)
class AlignedPair:
    """A pair that a network can match.

    Parameters
    ----------
    left, right : (H', W', 3) uint8
        The given images where nothing had to be done, else cropped or warped onto one canvas.
    plan : AlignmentPlan, optional
        How they were warped.
    bars : Bars
        What was cropped before.
    """

    left: BGRImage
    right: BGRImage
    plan: AlignmentPlan | None = None
    bars: Bars = field(default_factory=Bars)

    def restore(self, disparity: DisparityMap) -> DisparityMap:
        """Return the disparity of the aligned pair on the grid of the given left image."""
        restored = disparity if self.plan is None else self.plan.restore(disparity)
        return self.bars.restore(restored) if self.bars else restored


def align_pair(left: BGRImage, right: BGRImage, *, check: PairCheck | None = None) -> AlignedPair:
    """Align two pictures as far as their matches tell how.

    Parameters
    ----------
    left, right : (H, W, 3) uint8
        BGR pictures of the same size.
    check : PairCheck, optional
        What `check_pair` said; looked at anew by default.

    Returns
    -------
    AlignedPair
        Its `restore` brings a disparity back to the given left picture.

    Raises
    ------
    SourceError
        If the pictures differ in size.
    """
    plan = plan_alignment(check_pair(left, right) if check is None else check)
    return AlignedPair(*plan.apply(left, right), plan)
