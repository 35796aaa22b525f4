"""A look at a pair before it is matched: related, rectified, or to be aligned."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.alignment.dense import lowest_disparity
from crestereo.alignment.epipolar import AlignmentModel, choose_model, transform
from crestereo.alignment.matches import Matches, WorkingCopies, match_copies
from crestereo.preprocess import check_pictures
from crestereo.types import BGRImage

NEGATIVE_SHARE = 0.001  # of the width: a smallest disparity below minus this is really negative
HIGH_SHARE = 0.08  # of the width: a smallest disparity above this wastes the network's range
MAX_SHARE = 0.5  # of the width: a larger shift leaves nothing to match
MARGIN_SHARE = 0.01  # of the width, and
MARGIN_OF_RANGE = 0.5  # of the range: a plain wall behind everything has no features that show it


def choose_shift(disparity_range: tuple[float, float], width_px: int) -> int:
    """Return the whole number of pixels that the smallest disparity lies too high.

    Parameters
    ----------
    disparity_range : (float, float)
        Robust smallest and largest disparity, pixels; NaN where unknown.
    width_px : int
        Width of the picture.

    Returns
    -------
    int
        To be subtracted from every disparity; negative for pairs with negative disparities, and
        zero where the range suits a network as it is.
    """
    low, high = disparity_range
    if not math.isfinite(low) or -NEGATIVE_SHARE * width_px <= low <= HIGH_SHARE * width_px:
        return 0
    margin = MARGIN_SHARE * width_px + MARGIN_OF_RANGE * (high - low)
    most = int(MAX_SHARE * width_px)
    shift = max(-most, min(most, math.floor(low - margin)))
    return max(shift, 0) if low > 0 else shift  # a close-up is never moved away


REFERENCE_WIDTH_PX = 640  # tolerances below are pixels of a picture this wide
RECTIFIED_MEDIAN_PX = 0.5
RECTIFIED_MOST_PX = 1.2  # nine matches of ten
ROW_TOLERANCE_PX = 3.0  # a match farther from its row than this contradicts the model
MIN_MATCHES = 20  # unrelated pictures of the same size gave up to 13
MIN_SHARE = 0.35  # of the candidates that agree: up to 0.45 among few, but rarely with MIN_MATCHES
MIN_FEATURES = 60  # fewer in either picture: there is little to compare
MIN_AGREEING = 0.6  # share of the matches that has to fit the model
MAX_CORNER_MOVE = 0.35  # of the long side: a warp that moves a corner farther is not a mend
MAX_ROLL_DEG = 20.0
MAX_ZOOM = 1.3
SAME_PICTURE_GREY = 2.0  # mean difference of grey levels below which two pictures are one
SAME_PICTURE_SHARE = 0.1  # of their spread, which counts in the dark
SAME_PLACE_PX = 0.5  # median difference of the columns of matches in one picture seen twice


class Verdict(str, Enum):
    """Say what a pair is."""

    RECTIFIED = "rectified"
    ALIGNED = "aligned"
    UNRELATED = "unrelated pictures"
    UNKNOWN = "too little texture to tell"
    SAME = "the same picture twice"


@dataclass(frozen=True)
class PairCheck:
    """Hold what the matches of a pair tell.

    Parameters
    ----------
    matches : int
        Matching points that agree with one camera geometry.
    vertical_offset_px, vertical_offset_p95_px : float
        Median and 95 % of the absolute row difference of matching points, full pixels, as the
        pictures came; NaN without matches.
    residual_px, residual_p95_px : float
        The same with the model applied.
    roll_deg : float
        Rotation of the right picture against the left one, positive clockwise.
    zoom : float
        Size of things in the right picture over their size in the left one.
    disparity_range : (float, float)
        2 and 98 % of the matches' disparity after alignment, pixels, signed; of close-ups the
        low end is looked for between the matches too.
    brightness_difference : float
        Mean grey level of the right picture minus that of the left one, of 255.
    verdict : Verdict
        RECTIFIED: use the pair as it is. ALIGNED: the model mends it. Otherwise nothing is done.
    model : AlignmentModel
        Does nothing unless the verdict is ALIGNED.
    shape : (int, int)
        Height and width of both pictures.
    """

    matches: int
    vertical_offset_px: float
    vertical_offset_p95_px: float
    residual_px: float
    residual_p95_px: float
    roll_deg: float
    zoom: float
    disparity_range: tuple[float, float]
    brightness_difference: float
    verdict: Verdict
    model: AlignmentModel
    shape: tuple[int, int]

    @property
    def usable(self) -> bool:
        """Tell whether the matches describe the pair."""
        return self.verdict in (Verdict.RECTIFIED, Verdict.ALIGNED)

    def __str__(self) -> str:
        """Return the one line a user reads."""
        light = f"brightness {self.brightness_difference:+.0f}"
        if not self.usable:
            return f"{self.verdict.value}: {self.matches} matches, {light}"
        offset = f"vertical offset {self.vertical_offset_px:.1f} px"
        offset += f" (95 %: {self.vertical_offset_p95_px:.1f})"
        if self.verdict is Verdict.ALIGNED:
            offset += f", after alignment {self.residual_px:.1f} ({self.residual_p95_px:.1f})"
        low, high = self.disparity_range
        return (
            f"{self.verdict.value}: {self.matches} matches, {offset}, "
            f"roll {self.roll_deg:+.1f} deg, zoom {self.zoom:.3f}, "
            f"disparity {low:.0f} to {high:.0f} px, {light}"
        )


def check_pair(left: BGRImage, right: BGRImage) -> PairCheck:
    """Find out whether two pictures are a stereo pair and what would align it.

    Parameters
    ----------
    left, right : (H, W, 3) uint8
        BGR pictures of the same size.

    Returns
    -------
    PairCheck
        `str()` of it is one line for the user.

    Raises
    ------
    UsageError
        If one is not (H, W, 3) uint8.
    SourceError
        If they are empty or differ in size.
    """
    check_pictures(left, right)
    shape = (left.shape[0], left.shape[1])
    copies = WorkingCopies.of(left, right)
    found = match_copies(copies)
    light = _brightness(right) - _brightness(left)
    if too_few(found):
        return _without_model(found, light, shape, _verdict_of_few(found, left, right))
    model = choose_model(found.left, found.right, shape)
    unit = shape[1] / REFERENCE_WIDTH_PX
    rows = np.abs(_offsets(found, model, shape)[:, 1])
    if not _is_believable(model, shape, float((rows < ROW_TOLERANCE_PX * unit).mean())):
        return _without_model(found, light, shape, Verdict.UNRELATED)
    verdict = Verdict.ALIGNED
    apart = np.abs(found.left - found.right) / unit
    if _is_rectified(apart[:, 1]):
        same = np.median(apart[:, 0]) < SAME_PLACE_PX and _is_same_picture(left, right)
        verdict = Verdict.SAME if same else Verdict.RECTIFIED
    check = _with_model(found, light, shape, verdict, model)
    low, high = check.disparity_range
    if low <= HIGH_SHARE * shape[1]:
        return check
    # Features may all lie on near things; what is moved too far would be lost, so look closer.
    closer = lowest_disparity(copies.left, copies.right, check.model, high / copies.scale)
    low = max(0.0, min(low, closer * copies.scale))
    return replace(check, disparity_range=(low, high))


def too_few(found: Matches) -> bool:
    """Tell whether matches are so few that they may agree by chance."""
    return len(found) < max(MIN_MATCHES, MIN_SHARE * found.candidates)


def _with_model(
    found: Matches, light: float, shape: tuple[int, int], verdict: Verdict, fitted: AlignmentModel
) -> PairCheck:
    model = fitted if verdict is Verdict.ALIGNED else AlignmentModel()
    before = np.abs(found.left - found.right)[:, 1]
    after = _offsets(found, model, shape)
    rows = np.abs(after[:, 1])
    agreeing = rows < ROW_TOLERANCE_PX * shape[1] / REFERENCE_WIDTH_PX
    low, high = np.percentile(after[agreeing, 0], [2, 98])
    return PairCheck(
        matches=len(found),
        vertical_offset_px=float(np.median(before)),
        vertical_offset_p95_px=float(np.percentile(before, 95)),
        residual_px=float(np.median(rows)),
        residual_p95_px=float(np.percentile(rows, 95)),
        roll_deg=math.degrees(math.atan(fitted.left_roll) - math.atan(fitted.roll / fitted.zoom)),
        zoom=1 / _scale_of(fitted),
        disparity_range=(float(low), float(high)),
        brightness_difference=light,
        verdict=verdict,
        model=model,
        shape=shape,
    )


def _scale_of(model: AlignmentModel) -> float:
    """Return how much larger the model makes things in the right picture than in the left one."""
    return math.hypot(model.zoom, model.roll) / math.hypot(1, model.left_roll)


def _offsets(found: Matches, model: AlignmentModel, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return left minus right positions (N, 2) after the model, in full pixels."""
    left = transform(model.left_homography(shape), found.left)
    return left - transform(model.right_homography(shape), found.right)


def _is_rectified(rows_640_px: NDArray[np.float64]) -> bool:
    middle, most = np.percentile(rows_640_px, [50, 90])
    return bool(middle <= RECTIFIED_MEDIAN_PX and most <= RECTIFIED_MOST_PX)


def _is_believable(model: AlignmentModel, shape: tuple[int, int], agreeing: float) -> bool:
    """Tell a mend from a wild warp."""
    height, width = shape
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    numbers = np.abs(np.array(astuple(model)))
    if agreeing < MIN_AGREEING or not np.isfinite(numbers).all():
        return False
    moves = [
        np.abs(transform(homography, corners) - corners).max()
        for homography in (model.left_homography(shape), model.right_homography(shape))
    ]
    return bool(
        max(moves) < MAX_CORNER_MOVE * max(shape)
        and max(numbers[1], numbers[5]) < math.tan(math.radians(MAX_ROLL_DEG))
        and 1 / MAX_ZOOM < _scale_of(model) < MAX_ZOOM
    )


def _verdict_of_few(found: Matches, left: BGRImage, right: BGRImage) -> Verdict:
    if _is_same_picture(left, right):
        return Verdict.SAME
    return Verdict.UNKNOWN if min(found.features) < MIN_FEATURES else Verdict.UNRELATED


def _brightness(image: BGRImage) -> float:
    step = max(1, max(image.shape[:2]) // 300)
    return float(np.mean(image[::step, ::step]))


def _is_same_picture(left: BGRImage, right: BGRImage) -> bool:
    step = max(1, max(left.shape[:2]) // 600)
    first, second = (np.ascontiguousarray(p[::step, ::step]) for p in (left, right))
    spread = float(np.std(first))
    most = min(SAME_PICTURE_GREY, SAME_PICTURE_SHARE * spread)
    return spread > 3 and float(np.mean(cv2.absdiff(first, second))) < most


def _without_model(
    found: Matches, light: float, shape: tuple[int, int], verdict: Verdict
) -> PairCheck:
    nan = math.nan
    range_px = (nan, nan)
    return PairCheck(
        len(found), nan, nan, nan, nan, nan, nan, range_px, light, verdict, AlignmentModel(), shape
    )
