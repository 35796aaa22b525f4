"""Match small aligned copies densely, signed and from both sides."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.alignment.epipolar import AlignmentModel
from crestereo.types import BGRImage

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

BLOCK_PX = 5  # of the matcher
AGREEMENT_PX = 1.5  # between the disparities found from both sides
RANGE_WIDTH_PX = 160  # of the copies searched for the disparity range
SEARCHED_SHARES = (-0.4, 0.65)  # of the width: smallest and largest disparity searched
LOWEST_PER_CENT = 1.0  # of the pixels that agree: fewer may be mistakes
SMALLEST_SHARE = 0.005  # of the image: a region that agrees by chance is smaller
MIN_KNOWN_SHARE = 0.1  # of the image: less does not show the range
MIN_SLOPE_GREY = 8.0  # nearby: without texture anything agrees


def aligned_copies(
    left: BGRImage, right: BGRImage, model: AlignmentModel, width_px: int
) -> list[tuple[BGRImage, Mask]]:
    """Return both images, small and aligned, each with its mask of data."""
    height, width = left.shape[:2]
    scale = min(1.0, width_px / model.orientation.canvas((height, width))[1])
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    canvas = model.orientation.canvas(shape)
    copies = []
    for image, homography in (
        (left, model.left_homography(shape)),
        (right, model.right_homography(shape)),
    ):
        copy = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
        data = np.full(shape, 255, np.uint8)
        if not model.does_nothing:
            size = canvas[::-1]
            copy = cv2.warpPerspective(copy, homography, size, flags=cv2.INTER_LINEAR)
            warped = cv2.warpPerspective(data, homography, size, flags=cv2.INTER_NEAREST)
            data = np.asarray(cv2.erode(warped, np.ones((BLOCK_PX, BLOCK_PX), np.uint8)), np.uint8)
        copies.append((np.asarray(copy, np.uint8), data > 0))
    return copies


def two_sided_disparity(
    left: BGRImage, right: BGRImage, low: int, high: int
) -> tuple[Field, Field]:
    """Return the disparity [px] on the grids of the left and right image."""
    border = max(abs(low), abs(high)) + 16  # the matcher leaves a border of its range unmatched
    wide = [
        np.asarray(
            cv2.copyMakeBorder(
                cv2.cvtColor(image, code=cv2.COLOR_BGR2GRAY),
                top=0, bottom=0, left=border, right=border, borderType=cv2.BORDER_REPLICATE,
            ),
            np.uint8,
        )
        for image in (left, right)
    ]  # fmt: skip
    mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in reversed(wide)]

    def matched(pair: list[NDArray[np.uint8]]) -> Field:
        matcher = cv2.StereoSGBM.create(
            minDisparity=low, numDisparities=16 * math.ceil((high - low) / 16),
            blockSize=BLOCK_PX, P1=8 * BLOCK_PX**2, P2=32 * BLOCK_PX**2, disp12MaxDiff=-1,
            uniquenessRatio=0, speckleWindowSize=0, mode=cv2.STEREO_SGBM_MODE_SGBM,
        )  # fmt: skip
        steps = matcher.compute(pair[0], pair[1])[:, border:-border]
        return np.asarray(steps / np.float32(16), np.float32)

    with ThreadPoolExecutor(2) as pool:
        from_left, from_right = pool.map(matched, (wide, mirrored))
    return from_left, from_right[:, ::-1]


def agrees(disparity: Field, other: Field, other_data: Mask, direction: int) -> Mask:
    """Return where the other image has data and the same disparity."""
    width = disparity.shape[1]
    target = np.rint(np.arange(width) + direction * disparity).astype(np.intp)
    inside = (target >= 0) & (target < width)
    target = np.clip(target, 0, width - 1)
    there = np.take_along_axis(other, target, axis=1)
    data = np.take_along_axis(other_data, target, axis=1)
    return np.asarray(inside & data & (np.abs(there - disparity) <= AGREEMENT_PX))


def dense_range(
    left: BGRImage, right: BGRImage, model: AlignmentModel
) -> tuple[float, float] | None:
    """Search the whole width coarsely for the disparity range [px], if any."""
    (small_left, data_left), (small_right, data_right) = aligned_copies(
        left, right, model, RANGE_WIDTH_PX
    )
    width = small_left.shape[1]
    lowest, highest = (math.floor(share * width) for share in SEARCHED_SHARES)
    found, back = two_sided_disparity(small_left, small_right, lowest, highest)
    grey = np.asarray(cv2.cvtColor(small_left, code=cv2.COLOR_BGR2GRAY), np.float32)
    slope = np.abs(cv2.Sobel(grey, ddepth=cv2.CV_32F, dx=1, dy=0))
    textured = np.asarray(cv2.GaussianBlur(slope, (0, 0), sigmaX=2.0)) > MIN_SLOPE_GREY
    known = data_left & textured & agrees(found, back, data_right, -1)
    known &= (found > lowest + 2) & (found < highest - 2)  # what ends there has no match at all
    none = 16 * (lowest - 2)  # sixteenths, as filterSpeckles takes them
    steps = np.where(known, np.rint(16 * found), none).astype(np.int16)
    cv2.filterSpeckles(
        steps, newVal=none, maxSpeckleSize=int(SMALLEST_SHARE * steps.size), maxDiff=16
    )
    values = found[steps > none]
    if values.size < MIN_KNOWN_SHARE * found.size:
        return None
    scale = model.orientation.canvas(left.shape[:2])[1] / width
    low, high = np.percentile(values, [LOWEST_PER_CENT, 100 - LOWEST_PER_CENT])
    # narrower by the error of the search
    return (float(low) + AGREEMENT_PX) * scale, (float(high) - AGREEMENT_PX) * scale
