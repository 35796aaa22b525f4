"""Check whether two images are a stereo pair; estimate its geometry."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.alignment.epipolar import (
    NOTHING,
    AlignmentModel,
    Orientation,
    choose_model,
    transform,
)
from crestereo.alignment.matches import Matches, WorkingCopies, dense_range, match_copies
from crestereo.preprocess import check_images
from crestereo.types import BGRImage, StereoPair

REFERENCE_WIDTH_PX = 640  # tolerances in pixels are those of an image this wide
LEAST_WIDTH_PX = 400  # in narrower images features are not located more precisely
RECTIFIED_MEDIAN_PX = 0.5
RECTIFIED_MOST_PX = 1.2  # nine matches of ten
COMPRESSED = 2.0  # times these of matches in compressed images
ROW_TOLERANCE_PX = 3.0  # a match farther from its row contradicts the model
MIN_MATCHES = 20  # unrelated images of the same size gave up to 13
MIN_SHARE = 0.35  # of the candidates: up to 0.45 among few, but rarely with MIN_MATCHES
MIN_FEATURES = 60  # fewer in either image: too little texture
MIN_AGREEING = 0.75  # share of the matches that has to fit the model
CLEARLY_MORE = 0.1  # share by which another orientation must fit more matches than upright
TURNED = list(Orientation)[1:]
MIN_IN_ORDER = 0.9  # share of pairs of matches near in row whose columns keep their order
IN_ORDER_FROM_SHARE = 0.05  # of the width between them
NEIGHBOURS = 8
BANDS, MIN_BANDS = 24, 4  # of rows, and how many of them hold matches
STRAY_SHARE = 0.05  # of the width: matches farther outside of the dense range are mistakes
MAX_SPREAD_SHARE = 0.5  # of the width: disparities of one scene do not spread farther
MAX_THETA = (0.7, 0.36, 0.6, 0.3, 0.3, 0.36, 0.3)  # 0.35 of the long side, rolls of 20 degrees
MAX_ZOOM = 1.3
SAME_IMAGE_GREY = 2.0  # mean difference of grey levels of one image seen twice
SAME_IMAGE_SHARE = 0.1  # of their spread, which counts in the dark
SAME_PLACE_PX = 0.5  # median difference of the columns of matches in one image seen twice
RESIDUAL_PX = 0.1  # vertical disparity of a rectified pair that is worth removing
RESIDUAL_MATCHES = 60
RESIDUAL_ERRORS = 4.0  # standard errors that it must exceed

NEGATIVE_SHARE = 0.001  # of the width: a smallest disparity below minus this is negative
HIGH_SHARE = 0.08  # of the width: a smallest disparity above this wastes the network's reach
MAX_SHARE = 0.5  # of the width: a larger shift leaves nothing to match
MARGIN_SHARE = 0.01  # of the width, and
MARGIN_OF_RANGE = 0.5  # of the range: a plain wall behind everything has no features
REACH_SHARE = 0.4  # of the width: largest disparity that the network finds


class Verdict(str, Enum):
    """Outcome of a pair check."""

    RECTIFIED = "rectified"
    ALIGNED = "aligned"
    UNRELATED = "unrelated images"
    UNKNOWN = "too little texture to check the pair"
    SAME = "the same image twice"


@dataclass(frozen=True)
class PairCheck:
    """Geometry of a pair; `str()` of it is one line."""

    verdict: Verdict
    matches: int  # points that agree with one camera geometry
    brightness_difference: float  # mean grey level, right minus left
    shape: tuple[int, int]  # height and width of both images
    vertical_offset_px: float = math.nan  # median absolute vertical disparity as given
    vertical_offset_p95_px: float = math.nan
    residual_px: float = math.nan  # the same with the model applied
    residual_p95_px: float = math.nan
    roll_deg: float = math.nan  # of the right image against the left one, clockwise
    zoom: float = math.nan  # scale of the right image over that of the left one
    disparity_range: tuple[float, float] = (math.nan, math.nan)  # robust, after alignment [px]
    model: AlignmentModel = AlignmentModel()  # noqa: RUF009  it is immutable

    @property
    def usable(self) -> bool:
        """Return whether the matches describe the pair."""
        return self.verdict in (Verdict.RECTIFIED, Verdict.ALIGNED)

    def __str__(self) -> str:
        text = f"{self.verdict.value}: {self.matches} matches, "
        if self.usable:
            text += f"vertical offset {self.vertical_offset_px:.1f} px "
            text += f"(95 %: {self.vertical_offset_p95_px:.1f}), "
            if not self.model.does_nothing:
                text += f"after alignment {self.residual_px:.1f} ({self.residual_p95_px:.1f}), "
            text += f"roll {self.roll_deg:+.1f} deg, zoom {self.zoom:.3f}, disparity "
            text += "{:.0f} to {:.0f} px, ".format(*self.disparity_range)
        return f"{text}brightness {self.brightness_difference:+.0f}"


class _Fit(NamedTuple):
    found: Matches
    model: AlignmentModel
    agreeing: float  # share of the matches
    positive: float  # share that agrees and has a positive disparity


class RowsCheck(NamedTuple):
    """Matches of pairs that should be rectified [px]."""

    apart_px: float  # median absolute vertical disparity
    disparities: NDArray[np.float64]


def check_rows(pairs: Iterable[StereoPair]) -> RowsCheck | None:
    """Return how far matches are from their rows; None for few."""
    copies = [WorkingCopies.of(pair.left, pair.right) for pair in pairs]
    found = [each for each in map(match_copies, copies) if not too_few(each)]
    if not found:
        return None
    columns, rows = np.concatenate([each.left - each.right for each in found]).T
    return RowsCheck(float(np.median(np.abs(rows))), columns)


def check_pair(
    left: BGRImage, right: BGRImage, *, turned: bool = False, rows_only: bool = False
) -> PairCheck:
    """Check whether two images are a stereo pair; estimate its geometry.

    `turned`: try mirrored, upside-down and turned images too before calling a pair unrelated.
    `rows_only`: correct rows only, as a calibration needs it, which gives columns their meaning.
    """
    check_images(left, right)
    copies = WorkingCopies.of(left, right)
    found = match_copies(copies)
    few = too_few(found)
    if few and _is_same_image(copies):
        return _described(found, copies, Verdict.SAME)
    if few and min(found.features) < MIN_FEATURES:
        return _described(found, copies, Verdict.UNKNOWN)
    best = next(_fits(found, copies.shape, [Orientation.UPRIGHT]), None)
    if turned and (best is None or best.agreeing < 1 - CLEARLY_MORE):
        others = [*_fits(found, copies.shape, [o for o in TURNED if not o.mirrored])]
        mirrored = match_copies(copies, mirrored=True)
        others += _fits(mirrored, copies.shape, [o for o in TURNED if o.mirrored])
        # in a repeated pattern most matches fit a wrong turn too
        others = [fit for fit in others if fit.agreeing >= 1 - CLEARLY_MORE]
        # of a turn and its opposite the one with positive disparities
        other = max(others, key=lambda fit: fit.agreeing + fit.positive, default=best)
        # small disparities fit turned pairs too
        if other and (best is None or other.agreeing >= best.agreeing + CLEARLY_MORE):
            best = other
    if best is None:
        return _described(found, copies, Verdict.UNRELATED)
    found, model = best.found, best.model
    verdict = Verdict.ALIGNED
    if model.orientation is Orientation.UPRIGHT and _is_rectified(found, model, copies.shape):
        verdict = Verdict.SAME if _is_same_place(found, copies) else Verdict.RECTIFIED
    return _described(found, copies, verdict, model, rows_only=rows_only)


def too_few(found: Matches) -> bool:
    """Return whether matches are so few that they may agree by chance."""
    return len(found) < max(MIN_MATCHES, MIN_SHARE * found.candidates)


def median_rows_px(found: Matches, shape: tuple[int, int]) -> float:
    """Return the median absolute vertical disparity of matches at the reference width."""
    return float(np.median(np.abs(found.left - found.right)[:, 1])) / unit_px(shape)


def unit_px(shape: tuple[int, int]) -> float:
    """Return the length of one pixel at the reference width."""
    return max(shape[1], LEAST_WIDTH_PX) / REFERENCE_WIDTH_PX


def disparity_range(
    found: Matches, copies: WorkingCopies, model: AlignmentModel
) -> tuple[float, float] | None:
    """Return the disparity range of matches and of a coarse search [px]."""
    columns, rows = _offsets(found, model, copies.shape).T
    columns = columns[_on_row(rows, copies.shape)]
    low, high = math.inf, -math.inf
    if len(columns) >= MIN_MATCHES:
        low, high = map(float, np.percentile(columns, [2, 98]))
    dense = dense_range(copies.left, copies.right, model)
    if dense is None:
        return (low, high) if low <= high else None
    far, near = (value * copies.scale for value in dense)
    # a few wrong matches may lie anywhere
    stray_px = STRAY_SHARE * model.orientation.canvas(copies.shape)[1]
    return min(far, max(low, far - stray_px)), max(near, min(high, near + stray_px))


def choose_shift(disparity_range: tuple[float, float], width_px: int) -> int:
    """Return the pixels to subtract from every disparity to suit a network."""
    low, high = disparity_range
    if not math.isfinite(low):
        return 0
    lowest, highest = -NEGATIVE_SHARE * width_px, HIGH_SHARE * width_px
    margin = MARGIN_SHARE * width_px
    shift = 0
    if not lowest <= low <= highest:
        shift = math.floor(low - margin - MARGIN_OF_RANGE * (high - low))
    shift = max(shift, math.ceil(high + margin - REACH_SHARE * width_px))  # near parts in reach
    shift = min(shift, math.floor(low - margin))  # far parts rather
    if low >= lowest:  # a close-up is never moved away
        shift = max(shift, 0)
    most = int(MAX_SHARE * width_px)
    return max(-most, min(most, shift))


def _fits(
    found: Matches, shape: tuple[int, int], orientations: Iterable[Orientation]
) -> Iterator[_Fit]:
    """Yield a model for each orientation in which the matches are believable."""
    for orientation in [] if too_few(found) else orientations:
        model = AlignmentModel(orientation=orientation)
        if orientation is Orientation.UPRIGHT or not _is_in_rows(
            _offsets(found, model, shape)[:, 1], shape
        ):
            model = choose_model(found.left, found.right, shape, orientation)
        if _is_believable(found, model, shape):
            columns, rows = _offsets(found, model, shape).T
            on_row = _on_row(rows, shape)
            yield _Fit(found, model, float(on_row.mean()), float((on_row & (columns > 0)).mean()))


def _described(
    found: Matches,
    copies: WorkingCopies,
    verdict: Verdict,
    fitted: AlignmentModel | None = None,
    *,
    rows_only: bool = False,
) -> PairCheck:
    light = float(np.mean(copies.right) - np.mean(copies.left))
    check = PairCheck(verdict, len(found), light, copies.shape)
    if fitted is None:
        return check
    shape, model = copies.shape, fitted
    upright = model.orientation is Orientation.UPRIGHT
    if verdict is Verdict.RECTIFIED or (verdict is Verdict.ALIGNED and rows_only and upright):
        model = _residual_model(found, shape)
    elif verdict is not Verdict.ALIGNED:
        model = AlignmentModel()
    before = np.abs(found.left - found.right)[:, 1]
    rows = np.abs(_offsets(found, model, shape)[:, 1])
    _, roll, zoom, *_, left_roll, _ = fitted.theta
    return replace(
        check,
        vertical_offset_px=float(np.median(before)),
        vertical_offset_p95_px=float(np.percentile(before, 95)),
        residual_px=float(np.median(rows)),
        residual_p95_px=float(np.percentile(rows, 95)),
        roll_deg=math.degrees(math.atan(left_roll) - math.atan(roll / zoom)),
        zoom=1 / _scale_of(fitted),
        disparity_range=disparity_range(found, copies, model) or check.disparity_range,
        model=model,
    )


def _residual_model(found: Matches, shape: tuple[int, int]) -> AlignmentModel:
    """Return the correction of a rectified pair's rows, where clear."""
    fitted = replace(choose_model(found.left, found.right, shape, free=3), rows_only=True)
    rows = _offsets(found, fitted, shape)[:, 1]
    correction = rows - (found.left - found.right)[:, 1]
    size_px = float(np.sqrt(np.mean(correction**2)))
    # three numbers are fitted: the mean square of the correction that noise alone causes
    error_px = 1.4826 * float(np.median(np.abs(rows))) * math.sqrt(3 / len(found))
    least_px = RESIDUAL_PX * max(1.0, unit_px(shape))
    clear = size_px >= max(least_px, RESIDUAL_ERRORS * error_px)
    return fitted if clear and len(found) >= RESIDUAL_MATCHES else AlignmentModel()


def _scale_of(model: AlignmentModel) -> float:
    """Return how much a model enlarges right images against left ones."""
    _, roll, zoom, *_, left_roll, _ = model.theta
    return math.hypot(zoom, roll) / math.hypot(1, left_roll)


def _offsets(found: Matches, model: AlignmentModel, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return left minus right positions (N, 2) after the model [px]."""
    left = transform(model.left_homography(shape), found.left)
    return left - transform(model.right_homography(shape), found.right)


def _on_row(rows: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(rows) < ROW_TOLERANCE_PX * unit_px(shape))


def _is_rectified(found: Matches, model: AlignmentModel, shape: tuple[int, int]) -> bool:
    """Return whether rows agree, or scatter by compression but need no correction."""
    given = (found.left - found.right)[:, 1]
    correction = np.abs(_offsets(found, model, shape)[:, 1] - given)
    small = np.percentile(correction, 90) <= RECTIFIED_MEDIAN_PX * unit_px(shape)
    return _is_in_rows(given, shape, COMPRESSED if small else 1.0)


def _is_in_rows(rows: NDArray[np.float64], shape: tuple[int, int], tolerance: float = 1.0) -> bool:
    middle, most = np.percentile(np.abs(rows), [50, 90]) / (tolerance * unit_px(shape))
    return bool(middle <= RECTIFIED_MEDIAN_PX and most <= RECTIFIED_MOST_PX)


def _is_believable(found: Matches, model: AlignmentModel, shape: tuple[int, int]) -> bool:
    """Return whether a model is a small correction that most matches support."""
    offsets = _offsets(found, model, shape)
    kept = _on_row(offsets[:, 1], shape)
    small = (np.abs(np.subtract(model.theta, NOTHING)) < MAX_THETA).all()
    if not small or kept.mean() < MIN_AGREEING:
        return False
    left = transform(model.left_homography(shape), found.left)[kept]
    return 1 / MAX_ZOOM < _scale_of(model) < MAX_ZOOM and _is_possible(
        left, offsets[kept], model.orientation.canvas(shape)
    )


def _is_possible(
    left: NDArray[np.float64], offsets: NDArray[np.float64], canvas: tuple[int, int]
) -> bool:
    """Return whether columns keep their order, on more than a few rows."""
    by_row = np.argsort(left[:, 1], kind="stable")
    columns = left[by_row, 0]
    right = columns - offsets[by_row, 0]
    in_order = counted = 0
    for step in range(1, NEIGHBOURS + 1):  # of every match the next ones in row order
        apart, apart_right = columns[step:] - columns[:-step], right[step:] - right[:-step]
        far = np.abs(apart) > IN_ORDER_FROM_SHARE * canvas[1]
        counted += int(far.sum())
        in_order += int((np.sign(apart[far]) == np.sign(apart_right[far])).sum())
    low, high = np.percentile(offsets[:, 0], [5, 95]) / canvas[1]
    bands = np.unique(np.floor(left[:, 1] * BANDS / canvas[0]))
    return bool(
        in_order >= MIN_IN_ORDER * counted
        and high - low <= MAX_SPREAD_SHARE
        and len(bands) >= MIN_BANDS
    )


def _is_same_place(found: Matches, copies: WorkingCopies) -> bool:
    columns = np.abs(found.left - found.right)[:, 0] / unit_px(copies.shape)
    return bool(np.median(columns) < SAME_PLACE_PX) and _is_same_image(copies)


def _is_same_image(copies: WorkingCopies) -> bool:
    spread = float(np.std(copies.left))
    most = min(SAME_IMAGE_GREY, SAME_IMAGE_SHARE * spread)
    return spread > 3 and float(np.mean(cv2.absdiff(copies.left, copies.right))) < most
