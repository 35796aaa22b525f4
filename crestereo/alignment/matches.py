"""Match two images of one scene: points, or small copies densely."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.alignment.epipolar import AlignmentModel
from crestereo.preprocess import resize_image
from crestereo.types import BGRImage, Points

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

WORKING_SIDE_PX = 800  # long side of the copies in which features are detected
MAX_FEATURES = 2000
RATIO = 0.85  # to the second best distance (Lowe 2004 uses 0.8)
EPIPOLAR_TOLERANCE = 0.002  # of the long side, from a point to its epipolar line
MIN_FOR_GEOMETRY = 16  # the seven-point method needs clearly more than seven

BLOCK_PX = 5  # of the matcher
GAINS = (0.4, 2.5)  # of the exposures of two cameras
AGREEMENT_PX = 1.5  # between the disparities found from both sides
RANGE_WIDTH_PX = 160  # of the copies searched for the disparity range
SEARCHED_SHARES = (-0.4, 0.65)  # of the width: smallest and largest disparity searched
LOWEST_PER_CENT = 1.0  # of the pixels that agree: fewer may be mistakes
SMALLEST_SHARE = 0.005  # of the image: a region that agrees by chance is smaller
MIN_KNOWN_SHARE = 0.1  # of the image: less does not show the range
MIN_SLOPE_GREY = 8.0  # nearby: without texture anything agrees


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
    """Return (N, 2) indices of distinctive mutual matches."""
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
    """Return the disparity [px] on the left and right grid."""
    border = max(abs(low), abs(high)) + 16  # the matcher leaves a border of its range unmatched
    grey = _grey(left)
    greys = grey, _exposed_like(_grey(right), grey)  # the matcher compares grey levels
    wide = [np.pad(each, ((0, 0), (border, border)), mode="edge") for each in greys]
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


def _exposed_like(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a grey image with the mean and the contrast of another."""
    gain = np.clip(other.std() / max(float(image.std()), 1.0), *GAINS)
    exposed = np.clip((image - image.mean()) * gain + other.mean(), 0, 255)
    return np.asarray(exposed, np.uint8)


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
    slope = np.abs(cv2.Sobel(_grey(small_left), ddepth=cv2.CV_32F, dx=1, dy=0))
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
