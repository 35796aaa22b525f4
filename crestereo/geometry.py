"""Convert disparity to depth and to points in space; fill unknown pixels.

Axes are OpenCV's: x right, y down, z forward, the origin in the left camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crestereo.camera import CameraConfig
from crestereo.errors import UsageError
from crestereo.types import BGRImage, DepthMap, DisparityMap


def disparity_to_depth(disparity: DisparityMap, camera: CameraConfig) -> DepthMap:
    """Convert disparity to depth, focal * baseline / (disparity + doffs).

    Parameters
    ----------
    disparity : (H, W) float32
        Pixels of an image W wide, NaN or infinite where unknown.
    camera : CameraConfig
        Of any width: it is scaled to W.

    Returns
    -------
    (H, W) float32
        Depth [m]; NaN where the disparity is unknown or disparity + doffs is not above zero.
    """
    scaled = camera.scaled_to(disparity.shape[1])
    values = disparity + np.float32(scaled.doffs_px)
    depth = np.full(values.shape, np.nan, np.float32)
    focal_baseline = np.float32(scaled.focal_px * scaled.baseline_m)
    np.divide(focal_baseline, values, out=depth, where=(values > 0) & np.isfinite(values))
    return depth


def point_cloud(
    depth: DepthMap,
    image: BGRImage,
    camera: CameraConfig,
    *,
    pixels: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return points (N, 3) [m] of known depth and RGB colours.

    `pixels` (H, W, 2): where each pixel is in the rectified image, for a map of a raw one.
    """
    height, width = depth.shape
    if image.shape[:2] != (height, width):
        raise UsageError(
            f"the depth is {width}x{height} but its image {image.shape[1]}x{image.shape[0]}"
        )
    if image.shape[2:] != (3,):
        raise UsageError(f"the image must be (H, W, 3), not {image.shape}")
    scaled = camera.scaled_to(width)
    centre_x, centre_y = scaled.principal_px or ((width - 1) / 2, (height - 1) / 2)
    known = np.isfinite(depth)
    rows, columns = np.nonzero(known) if pixels is None else pixels[known].T[::-1]
    z = depth[known]
    points = np.empty((z.size, 3), np.float32)
    points[:, 0] = (columns - centre_x) * z / scaled.focal_px
    points[:, 1] = (rows - centre_y) * z / scaled.focal_px
    points[:, 2] = z
    return points, np.ascontiguousarray(image[known][:, ::-1])


def baseline_of_length(
    disparity: DisparityMap,
    camera: CameraConfig,
    ends: Sequence[tuple[int, int]],
    length_m: float,
    *,
    pixels: NDArray[np.float32] | None = None,
) -> float:
    """Return the baseline [m] that a known length implies.

    With it the points `ends` (row, column) of the map, each the median of its neighbourhood, are
    `length_m` apart. `pixels` as in `point_cloud`.
    """
    depth = disparity_to_depth(disparity, replace(camera, baseline_m=1.0))
    height, width = depth.shape
    image = np.zeros((height, width, 3), np.uint8)
    places = []
    for row, column in ends:
        part = np.zeros(depth.shape, np.bool_)
        if 0 <= row < height and 0 <= column < width:
            part[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = True
        values = np.where(part, depth, np.float32(np.nan))
        points, _ = point_cloud(values, image, camera, pixels=pixels)
        if not len(points):
            raise UsageError(
                f"there is no depth at row {row}, column {column} of the {width}x{height} px map; "
                "choose another point for the known length"
            )
        places.append(np.median(points, axis=0))
    apart = float(np.linalg.norm(places[0] - places[1]))
    if apart == 0 or length_m <= 0:
        raise UsageError("a known length must be above zero, between two different points")
    return length_m / apart


def fill_from_background(disparity: DisparityMap) -> DisparityMap:
    """Replace unknown pixels by the farther known neighbour in the row.

    Rows without any known value are filled from the nearest rows. This is the interpolation of
    KITTI's development kit: what one camera alone sees is the background.
    """
    known = np.where(np.isfinite(disparity), disparity, np.float32(np.nan))
    filled = np.fmin(_carry_right(known), _carry_right(known[:, ::-1])[:, ::-1])
    empty = np.isnan(filled[:, 0])
    if empty.any() and not empty.all():
        rows = np.flatnonzero(~empty)
        below = np.searchsorted(rows, np.flatnonzero(empty))
        nearest = rows[np.maximum(below - 1, 0)], rows[np.minimum(below, len(rows) - 1)]
        filled[empty] = np.minimum(filled[nearest[0]], filled[nearest[1]])
    return filled


def _carry_right(values: DisparityMap) -> DisparityMap:
    """Replace NaN by the last known value to its left, if any."""
    columns = np.arange(values.shape[1])
    last = np.maximum.accumulate(np.where(np.isfinite(values), columns, 0), axis=1)
    return np.take_along_axis(values, last, axis=1)
