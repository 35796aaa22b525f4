"""Simulate hand-held cameras by disturbing rectified pairs with ground truth."""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.alignment import AlignmentPlan, transform
from crestereo.types import BGRImage, DisparityMap

from .datasets import Scene, SceneData

ROLL_DEG, ZOOM, VERTICAL_SHIFT, TURN_DEG = 3.0, 0.04, 0.05, 2.0  # each drawn from -it to +it
FOCAL_OF_WIDTH = 1.0  # where no calibration has the focal length


@dataclass(frozen=True)
class DisturbedPair:
    """Pair with a disturbed pose of the right camera.

    Parameters
    ----------
    left, right : (H, W, 3) uint8
    match : (H, W, 2) float64
        True position, x and y in `right`, of each pixel of `left`; NaN where unknown.
    region : (H, W) bool
        Pixels seen by both cameras that are still inside the disturbed image.
    """

    left: BGRImage
    right: BGRImage
    match: NDArray[np.float64]
    region: NDArray[np.bool_]


def focal_px(scene: Scene, width: int) -> float:
    """Return the calibrated focal length [px], else a typical one."""
    if scene.calibration is not None:
        found = re.search(r"cam0\s*=\s*\[\s*([\d.]+)", scene.calibration.read_text("utf-8"))
        if found:
            return float(found[1])
    return FOCAL_OF_WIDTH * width


def draw_homography(
    rng: np.random.Generator, shape: tuple[int, int], focal: float
) -> NDArray[np.float64]:
    """Draw a homography (3, 3) of the right image."""
    height, width = shape
    roll = np.radians(rng.uniform(-ROLL_DEG, ROLL_DEG))
    zoom = 1 + rng.uniform(-ZOOM, ZOOM)
    shift = height * rng.uniform(-VERTICAL_SHIFT, VERTICAL_SHIFT)
    pitch, yaw = np.radians(rng.uniform(-TURN_DEG, TURN_DEG, 2))
    camera = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    turn = cv2.Rodrigues(np.array([pitch, 0, 0]))[0]
    turn = cv2.Rodrigues(np.array([0, yaw, 0]))[0] @ turn
    turn = cv2.Rodrigues(np.array([0, 0, roll]))[0] @ turn
    zoomed = np.diag([zoom, zoom, 1.0])
    moved = np.array([[1.0, 0, 0], [0, 1, shift], [0, 0, 1]])
    return np.asarray(moved @ camera @ zoomed @ turn @ np.linalg.inv(camera))


def disturb(data: SceneData, homography: NDArray[np.float64]) -> DisturbedPair:
    """Warp the right image and the ground truth by a homography."""
    height, width = data.ground_truth.shape
    columns, rows = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    points = np.stack([columns - data.ground_truth, rows], axis=-1)  # (H, W, 2)
    match = transform(homography, points.reshape(-1, 2)).reshape(points.shape)
    inside = (match >= 0).all(axis=-1) & (match <= [width - 1, height - 1]).all(axis=-1)
    seen = np.isfinite(data.ground_truth) if data.non_occluded is None else data.non_occluded
    right = cv2.warpPerspective(
        data.pair.right, homography, (width, height), flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
    )  # fmt: skip
    return DisturbedPair(data.pair.left, np.asarray(right, np.uint8), match, seen & inside)


def aligned_truth(pair: DisturbedPair, plan: AlignmentPlan) -> tuple[DisparityMap, DisparityMap]:
    """Return true disparity and row error of an aligned pair.

    Returns
    -------
    disparity : (H, W) float32
        True disparity between the aligned images, on the left grid.
    row_error : (H, W) float32
        Vertical disparity of true matches, pixels.
    """
    height, width = pair.region.shape
    model, shape = plan.check.model, (height, width)
    columns, rows = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    left = np.stack([columns, rows], axis=-1).reshape(-1, 2)
    left = transform(model.left_homography(shape), left)
    right = transform(model.right_homography(shape), pair.match.reshape(-1, 2))
    difference = (left - right).reshape(height, width, 2).astype(np.float32)
    return difference[..., 0], difference[..., 1]
