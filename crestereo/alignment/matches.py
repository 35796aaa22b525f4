"""Points that two pictures of the same scene share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.preprocess import resize_image
from crestereo.types import BGRImage

Points = NDArray[np.float64]
"""(N, 2) float64, x and y in pixels of the full picture."""

WORKING_SIDE_PX = 800  # long side of the copy in which features are looked for
MAX_FEATURES = 2000
RATIO = 0.85  # a match this much closer than the second best is believed (Lowe 2004 uses 0.8)
EPIPOLAR_TOLERANCE = 0.002  # of the long side: how far an inlier may be from its epipolar line
MIN_FOR_GEOMETRY = 16  # the seven-point method needs clearly more than seven


@dataclass(frozen=True)
class Matches:
    """Hold corresponding points of a left and a right picture.

    Parameters
    ----------
    left, right : (N, 2) float64
        x and y in pixels of the full pictures; row i of both is the same point of the scene.
    features : (int, int)
        How many features each picture has: few features mean little texture.
    candidates : int
        How many mutual matches there were before the geometric check.
    """

    left: Points
    right: Points
    features: tuple[int, int]
    candidates: int

    def __len__(self) -> int:
        return len(self.left)


@dataclass(frozen=True)
class WorkingCopies:
    """Hold both pictures at the size in which they are looked at.

    Parameters
    ----------
    left, right : (h, w, 3) uint8
        BGR, the long side no longer than was asked for.
    scale : float
        Full pixels per pixel of a copy, 1 or more.
    """

    left: BGRImage
    right: BGRImage
    scale: float

    @classmethod
    def of(cls, left: BGRImage, right: BGRImage, side_px: int = WORKING_SIDE_PX) -> WorkingCopies:
        """Shrink two pictures of the same size, each in a thread, to a long side of `side_px`."""
        height, width = left.shape[:2]
        scale = max(height, width) / side_px
        if scale <= 1:
            return cls(left, right, 1.0)
        shape = (max(1, round(height / scale)), max(1, round(width / scale)))
        with ThreadPoolExecutor(2) as pool:
            small_left, small_right = pool.map(resize_image, (left, right), (shape, shape))
        return cls(small_left, small_right, scale)


def _features(copy: BGRImage) -> tuple[Points, NDArray[np.float32]]:
    """Return SIFT positions in pixels of the copy and unit-length root descriptors."""
    grey = cv2.cvtColor(copy, cv2.COLOR_BGR2GRAY) if copy.ndim == 3 else copy
    sift = cv2.SIFT.create(nfeatures=MAX_FEATURES, contrastThreshold=0.01)
    keypoints, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None or not keypoints:
        return np.zeros((0, 2)), np.zeros((0, 128), np.float32)
    points = np.array([k.pt for k in keypoints], np.float64)
    # RootSIFT (Arandjelovic and Zisserman 2012): the square root compares them as histograms.
    roots = np.sqrt(descriptors / (descriptors.sum(axis=1, keepdims=True) + 1e-7))
    return points, roots.astype(np.float32)


def _mutual(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return (N, 2) index pairs that choose each other and stand out from the second best."""
    similarity = a @ b.T  # (Na, Nb)
    best_b = similarity.argmax(axis=1)
    best = similarity[np.arange(len(a)), best_b]
    index_a = np.flatnonzero(best >= similarity.max(axis=0)[best_b])
    chosen = best_b[index_a]
    distance = 2 - 2 * best[index_a]
    similarity[index_a, chosen] = -1
    second = 2 - 2 * similarity[index_a].max(axis=1)
    keep = distance < RATIO**2 * second
    return np.stack([index_a[keep], chosen[keep]], axis=1)


def find_matches(left: BGRImage, right: BGRImage) -> Matches:
    """Match SIFT features of two pictures and drop what contradicts one camera geometry.

    Parameters
    ----------
    left, right : (H, W, 3) uint8
        BGR pictures; they need not be rectified.

    Returns
    -------
    Matches
        Possibly empty. Mutual nearest neighbours that pass the ratio test and agree with one
        fundamental matrix.

    References
    ----------
    Barath et al., "MAGSAC++, a fast, reliable and accurate robust estimator", CVPR 2020.
    """
    return match_copies(WorkingCopies.of(left, right))


def match_copies(copies: WorkingCopies) -> Matches:
    """Match as `find_matches` does, for a caller that has the copies and goes on using them."""
    with ThreadPoolExecutor(2) as pool:
        (points_l, desc_l), (points_r, desc_r) = pool.map(_features, (copies.left, copies.right))
    counts = (len(points_l), len(points_r))
    if min(counts) < 2:
        return Matches(np.zeros((0, 2)), np.zeros((0, 2)), counts, 0)
    pairs = _mutual(desc_l, desc_r)
    a, b = (
        (points + 0.5) * copies.scale - 0.5
        for points in (points_l[pairs[:, 0]], points_r[pairs[:, 1]])
    )
    side_px = copies.scale * max(copies.left.shape[:2])
    keep = _inliers(a, b, EPIPOLAR_TOLERANCE * side_px)
    return Matches(a[keep], b[keep], counts, len(a))


def _inliers(left: Points, right: Points, tolerance_px: float) -> NDArray[np.bool_]:
    if len(left) < MIN_FOR_GEOMETRY:
        return np.zeros(len(left), bool)
    _, mask = cv2.findFundamentalMat(
        left, right, method=cv2.USAC_MAGSAC,
        ransacReprojThreshold=max(tolerance_px, 0.7), confidence=0.999, maxIters=2000,
    )  # fmt: skip
    if mask is None:
        return np.zeros(len(left), bool)
    return np.asarray(mask).ravel().astype(bool)
