"""Match points of two images of the same scene."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.preprocess import resize_image
from crestereo.types import BGRImage

Points = NDArray[np.float64]
"""(N, 2) float64, x and y in pixels of the full image."""

WORKING_SIDE_PX = 800  # long side of the copies in which features are detected
MAX_FEATURES = 2000
RATIO = 0.85  # to the second best distance (Lowe 2004 uses 0.8)
EPIPOLAR_TOLERANCE = 0.002  # of the long side, from a point to its epipolar line
MIN_FOR_GEOMETRY = 16  # the seven-point method needs clearly more than seven


@dataclass(frozen=True)
class Matches:
    """Corresponding points of a left and a right image."""

    left: Points
    right: Points  # row i of both is the same point of the scene
    features: tuple[int, int]  # in each image
    candidates: int  # mutual matches before the geometric check

    def __len__(self) -> int:
        return len(self.left)


@dataclass(frozen=True)
class WorkingCopies:
    """Both images, shrunk."""

    left: BGRImage
    right: BGRImage
    scale: float  # full pixels per pixel of a copy, 1 or more
    shape: tuple[int, int]  # height and width of the full images

    @classmethod
    def of(cls, left: BGRImage, right: BGRImage, side_px: int = WORKING_SIDE_PX) -> WorkingCopies:
        """Shrink two images of one size to a long side of `side_px`."""
        height, width = left.shape[:2]
        scale = max(height, width) / side_px
        if scale <= 1:
            return cls(left, right, 1.0, (height, width))
        shape = (max(1, round(height / scale)), max(1, round(width / scale)))
        with ThreadPoolExecutor(2) as pool:
            small_left, small_right = pool.map(resize_image, (left, right), (shape, shape))
        return cls(small_left, small_right, scale, (height, width))


def find_matches(left: BGRImage, right: BGRImage) -> Matches:
    """Match SIFT features of two images that agree with one camera geometry."""
    return match_copies(WorkingCopies.of(left, right))


def match_copies(copies: WorkingCopies, *, mirrored: bool = False) -> Matches:
    """Match SIFT features of two copies, the right one possibly mirrored."""
    right = np.ascontiguousarray(copies.right[:, ::-1]) if mirrored else copies.right
    with ThreadPoolExecutor(2) as pool:
        (points_l, desc_l), (points_r, desc_r) = pool.map(
            sift_features, (_grey(copies.left), _grey(right))
        )
    counts = (len(points_l), len(points_r))
    if min(counts) < 2:
        return Matches(np.zeros((0, 2)), np.zeros((0, 2)), counts, 0)
    if mirrored:
        points_r = points_r * [-1, 1] + [copies.right.shape[1] - 1, 0]
    pairs = match_descriptors(desc_l, desc_r)
    a, b = (
        (points + 0.5) * copies.scale - 0.5
        for points in (points_l[pairs[:, 0]], points_r[pairs[:, 1]])
    )
    side_px = copies.scale * max(copies.left.shape[:2])
    keep = _inliers(a, b, EPIPOLAR_TOLERANCE * side_px)
    return Matches(a[keep], b[keep], counts, len(a))


def _grey(copy: BGRImage) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(copy, code=cv2.COLOR_BGR2GRAY), np.uint8)


def sift_features(
    grey: NDArray[np.uint8], most: int = MAX_FEATURES
) -> tuple[Points, NDArray[np.float32]]:
    """Return SIFT positions (N, 2) in pixels and root descriptors (N, 128)."""
    sift = cv2.SIFT.create(nfeatures=most, contrastThreshold=0.01, enable_precise_upscale=True)
    keypoints, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None or not keypoints:
        return np.zeros((0, 2)), np.zeros((0, 128), np.float32)
    points = np.array([k.pt for k in keypoints], np.float64)
    # RootSIFT (Arandjelovic and Zisserman 2012): the square root compares them as histograms.
    roots = np.sqrt(descriptors / (descriptors.sum(axis=1, keepdims=True) + 1e-7))
    return points, roots.astype(np.float32)


def match_descriptors(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.intp]:
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


def _inliers(left: Points, right: Points, tolerance_px: float) -> NDArray[np.bool_]:
    if len(left) < MIN_FOR_GEOMETRY:
        return np.zeros(len(left), bool)
    tolerance_px = max(tolerance_px, 0.7)
    try:  # MAGSAC++ (Barath et al., CVPR 2020)
        _, mask = cv2.findFundamentalMat(
            left, right, method=cv2.USAC_MAGSAC,
            ransacReprojThreshold=tolerance_px, confidence=0.999, maxIters=2000,
        )  # fmt: skip
    except cv2.error:  # it asserts where no sample of the points gives a geometry
        mask = None
    if mask is not None:
        return np.asarray(mask).ravel().astype(bool)
    rows = left[:, 1] - right[:, 1]  # as of nearly equal views: a constant vertical disparity
    return np.asarray(np.abs(rows - np.median(rows)) < tolerance_px)
