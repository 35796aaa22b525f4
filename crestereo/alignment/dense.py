"""A quick dense disparity of small aligned copies, signed and seen from both sides."""

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
LOWEST_PER_CENT = 1.0  # of the pixels that agree: fewer may be mistakes
SMALLEST_SHARE = 0.005  # of the picture: a region that agrees by chance is smaller
MIN_SLOPE_GREY = 8.0  # nearby: without texture anything agrees


def aligned_copies(
    left: BGRImage, right: BGRImage, model: AlignmentModel, width_px: int
) -> list[tuple[BGRImage, Mask]]:
    """Return both pictures, small and aligned, each with where it has data to match."""
    height, width = left.shape[:2]
    scale = min(1.0, width_px / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shape = (size[1], size[0])
    copies = []
    for picture, homography in (
        (left, model.left_homography(shape)),
        (right, model.right_homography(shape)),
    ):
        copy = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        data = np.full(shape, 255, np.uint8)
        if not model.does_nothing:
            copy = cv2.warpPerspective(copy, homography, size, flags=cv2.INTER_LINEAR)
            warped = cv2.warpPerspective(data, homography, size, flags=cv2.INTER_NEAREST)
            data = np.asarray(cv2.erode(warped, np.ones((BLOCK_PX, BLOCK_PX), np.uint8)), np.uint8)
        copies.append((np.asarray(copy, np.uint8), data > 0))
    return copies


def two_sided_disparity(
    left: BGRImage, right: BGRImage, low: int, high: int
) -> tuple[Field, Field]:
    """Return left minus right position at the pixels of the left and of the right picture."""
    border = max(abs(low), abs(high)) + 16  # the matcher leaves a border of its range unmatched
    wide = [
        np.asarray(
            cv2.copyMakeBorder(
                cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY),
                0,
                0,
                border,
                border,
                cv2.BORDER_REPLICATE,
            ),
            np.uint8,
        )
        for picture in (left, right)
    ]
    mirrored = [np.ascontiguousarray(picture[:, ::-1]) for picture in reversed(wide)]

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
    """Return where the other picture has data and its own disparity says the same."""
    width = disparity.shape[1]
    target = np.rint(np.arange(width) + direction * disparity).astype(np.intp)
    inside = (target >= 0) & (target < width)
    target = np.clip(target, 0, width - 1)
    there = np.take_along_axis(other, target, axis=1)
    data = np.take_along_axis(other_data, target, axis=1)
    return np.asarray(inside & data & (np.abs(there - disparity) <= AGREEMENT_PX))


def lowest_disparity(
    left: BGRImage, right: BGRImage, model: AlignmentModel, highest_px: float, width_px: int = 240
) -> float:
    """Return the smallest positive disparity of a close-up, features or not [px].

    Parameters
    ----------
    left, right : (H, W, 3) uint8
        Not aligned; copies of any size do, the values are in their pixels.
    model : AlignmentModel
        What aligns them.
    highest_px : float
        Largest disparity to expect.
    width_px : int
        Of the copies that are matched.

    Returns
    -------
    float
        Infinity where nothing could be matched.
    """
    (left_small, left_data), (right_small, right_data) = aligned_copies(
        left, right, model, width_px
    )
    scale = left_small.shape[1] / left.shape[1]
    found, back = two_sided_disparity(left_small, right_small, 0, math.ceil(highest_px * scale) + 8)
    grey = np.asarray(cv2.cvtColor(left_small, cv2.COLOR_BGR2GRAY), np.float32)
    slope = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0))
    textured = np.asarray(cv2.GaussianBlur(slope, (0, 0), sigmaX=2.0)) > MIN_SLOPE_GREY
    known = left_data & textured & agrees(found, back, right_data, -1)
    none = -16 * 16  # below every disparity searched, in sixteenths as filterSpeckles takes them
    steps = np.where(known, np.rint(16 * found), none).astype(np.int16)
    cv2.filterSpeckles(steps, none, int(SMALLEST_SHARE * steps.size), 16)
    left_over = found[steps > none]
    return float(np.percentile(left_over, LOWEST_PER_CENT)) / scale if left_over.size else math.inf
