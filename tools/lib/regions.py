"""Divide the pixels of a scene by what makes them hard."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.types import BGRImage, DisparityMap

EDGE_STEP_PX = 2.0  # larger difference of the ground truth of neighbours: an edge
EDGE_REACH_PX = 6
WINDOW_PX = 11
BLANK, TEXTURED = 4.0, 8.0  # standard deviation of grey levels in the window, below and above
BORDER_PX = 3

SEEN = "seen"  # name of all known pixels that both cameras see, which the regions divide
REGIONS = ("near edges", "textured", "blank", "blank, at the left border")


def regions_of(left: BGRImage, ground_truth: DisparityMap) -> dict[str, NDArray[np.bool_]]:
    """Return a mask for each of `REGIONS`.

    Parameters
    ----------
    left : (H, W, 3) uint8
        BGR image.
    ground_truth : (H, W) float32
        Disparity [px], NaN where unknown.

    Returns
    -------
    dict of str to (H, W) bool
        Disjoint. Pixels of middling texture are in none of them.

    Notes
    -----
    An edge is a disparity step. Away from edges, the standard deviation of the grey levels in a
    window of `WINDOW_PX` decides between blank and textured. A blank area is at the left border if
    it is connected to it, like a wall of which the image shows only a part.
    """
    edge = _near_edges(ground_truth)
    spread = _local_deviation(cv2.cvtColor(left, cv2.COLOR_BGR2GRAY).astype(np.float32))
    blank = (spread < BLANK) & ~edge
    _, areas = cv2.connectedComponents(blank.astype(np.uint8))
    touching = np.unique(areas[:, :BORDER_PX])
    at_border = np.isin(areas, touching[touching > 0])
    masks = (edge, (spread > TEXTURED) & ~edge, blank & ~at_border, at_border)
    return dict(zip(REGIONS, masks, strict=True))


def _near_edges(ground_truth: DisparityMap) -> NDArray[np.bool_]:
    known = np.isfinite(ground_truth)
    neighbours = np.ones((3, 3), np.uint8)
    highest = cv2.dilate(np.where(known, ground_truth, -np.float32(1e6)), neighbours)
    lowest = cv2.erode(np.where(known, ground_truth, np.float32(1e6)), neighbours)
    step = (highest - lowest > EDGE_STEP_PX).astype(np.uint8)
    side = 2 * EDGE_REACH_PX + 1
    return cv2.dilate(step, np.ones((side, side), np.uint8)) > 0


def _local_deviation(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    window = (WINDOW_PX, WINDOW_PX)
    mean = cv2.blur(grey, window)
    return np.sqrt(np.maximum(cv2.blur(grey * grey, window) - mean * mean, 0)).astype(np.float32)
