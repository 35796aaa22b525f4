"""Run OpenCV's semi-global block matching with tuned parameters.

References
----------
.. [1] H. Hirschmüller, "Stereo Processing by Semiglobal Matching and Mutual Information",
       PAMI 30(2), 2008.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import cv2
import numpy as np

from crestereo.geometry import fill_from_background
from crestereo.preprocess import resize_disparity
from crestereo.types import BGRImage, DisparityMap

Mode: TypeAlias = Literal["full", "3way"]

MODES = {"full": cv2.STEREO_SGBM_MODE_HH, "3way": cv2.STEREO_SGBM_MODE_SGBM_3WAY}
BLOCK_SIZE_PX = 3
SMALL_STEP_PENALTY = (
    8 * 3 * BLOCK_SIZE_PX**2
)  # OpenCV's advice: 8 and 32 times channels * block area
LARGE_STEP_PENALTY = 32 * 3 * BLOCK_SIZE_PX**2
FIXED_POINT = 16.0  # the matcher returns sixteenths of a pixel


def sgbm_disparity(
    left: BGRImage,
    right: BGRImage,
    disparities: int,
    *,
    mode: Mode = "full",
    filled: bool = True,
) -> DisparityMap:
    """Estimate the disparity of the left image.

    Notes
    -----
    The matcher leaves the leftmost columns unknown because it would have to search outside of
    the right image; both are extended by repeating their left border so that it can.
    """
    count = -(-disparities // 16) * 16
    wide = [
        cv2.copyMakeBorder(image, 0, 0, count, 0, borderType=cv2.BORDER_REPLICATE)
        for image in (left, right)
    ]
    matcher = _matcher(count, mode)
    disparity = matcher.compute(wide[0], wide[1])[:, count:].astype(np.float32) / FIXED_POINT
    disparity[disparity < 0] = np.nan
    return fill_from_background(disparity) if filled else disparity


def _matcher(count: int, mode: Mode) -> cv2.StereoSGBM:
    return cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=count,
        blockSize=BLOCK_SIZE_PX,
        P1=SMALL_STEP_PENALTY,
        P2=LARGE_STEP_PENALTY,
        disp12MaxDiff=1,
        preFilterCap=63,
        uniquenessRatio=10,
        speckleWindowSize=100,
        speckleRange=2,
        mode=MODES[mode],
    )


def half_size_prior(left: BGRImage, right: BGRImage, disparities: int) -> DisparityMap:
    """Estimate a coarse disparity with the 3-way matcher at half size."""
    height, width = left.shape[:2]
    small = [
        cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        for image in (left, right)
    ]
    half = sgbm_disparity(
        small[0].astype(np.uint8),
        small[1].astype(np.uint8),
        -(-disparities // 2),
        mode="3way",
        filled=False,
    )
    return resize_disparity(half, (height, width))
