"""Distances of two images by colours, structure and pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.errors import SourceError
from crestereo.preprocess import check_image, resize_image
from crestereo.types import BGRImage

_HUE_BINS, _SATURATION_BINS = 180, 256
_SSIM_WINDOW_PX = 7


@dataclass(frozen=True)
class Difference:
    """Three distances of two images, each 0 for the same image.

    `resized`: the sizes differ, so the second was resized for `structure` and `pixels`.
    """

    histogram: float
    structure: float
    pixels: float
    resized: bool

    @property
    def contradicted(self) -> bool:
        """Return whether the colours agree and structure or pixels do not."""
        return self.histogram < 0.1 and (self.structure > 0.5 or self.pixels > 0.2)


def compare(first: BGRImage, second: BGRImage) -> Difference:
    """Measure all three distances; see `Difference`."""
    check_image(first, "first")
    check_image(second, "second")
    resized = first.shape != second.shape
    fitted = resize_image(second, first.shape[:2])
    return Difference(
        histogram=histogram_distance(first, second),
        structure=structure_distance(first, fitted),
        pixels=pixel_difference(first, fitted),
        resized=resized,
    )


def histogram_distance(first: BGRImage, second: BGRImage) -> float:
    """Measure how much the colours of two images differ, 0..1.

    Bhattacharyya distance ``sqrt(1 - sum(sqrt(a * b)) / sqrt(sum(a) * sum(b)))`` of histograms of
    hue and saturation, 180 x 256 bins, each min-max normalised to 0..1 (OpenCV,
    ``HISTCMP_BHATTACHARYYA``). It ignores brightness and places.
    """
    if first.shape == second.shape and np.array_equal(first, second):
        return 0.0  # rounding would leave about 1e-8
    distance = cv2.compareHist(
        _histogram(first), _histogram(second), method=cv2.HISTCMP_BHATTACHARYYA
    )
    return float(min(max(distance, 0.0), 1.0))


def _histogram(image: BGRImage) -> NDArray[np.float32]:
    hsv = cv2.cvtColor(image, code=cv2.COLOR_BGR2HSV)
    counts = cv2.calcHist(
        images=[hsv],
        channels=[0, 1],
        mask=None,
        histSize=[_HUE_BINS, _SATURATION_BINS],
        ranges=[0, 180, 0, 256],
    )
    normal = cv2.normalize(
        counts, np.empty_like(counts), alpha=0, beta=1, norm_type=cv2.NORM_MINMAX
    )
    return np.asarray(normal, dtype=np.float32)


def structure_distance(first: BGRImage, second: BGRImage) -> float:
    """Return 1 - SSIM, 0..2, of two grey images from 7x7 px.

    Wang, Bovik, Sheikh, Simoncelli: Image quality assessment: from error visibility to structural
    similarity. IEEE Transactions on Image Processing, 2004.
    """
    _check_same_size(first, second)
    if min(first.shape[:2]) < _SSIM_WINDOW_PX:
        raise SourceError(
            f"an image of {first.shape[1]}x{first.shape[0]} is too small to compare structure; "
            f"it takes {_SSIM_WINDOW_PX}x{_SSIM_WINDOW_PX} or more"
        )
    from skimage.metrics import structural_similarity  # takes half a second

    grey = [cv2.cvtColor(image, code=cv2.COLOR_BGR2GRAY) for image in (first, second)]
    similarity: float = structural_similarity(  # type: ignore[no-untyped-call]
        *grey, win_size=_SSIM_WINDOW_PX, data_range=255
    )
    return float(1.0 - similarity)


def pixel_difference(first: BGRImage, second: BGRImage) -> float:
    """Return ``sqrt(mean((first - second)^2)) / 255`` of two images, 0..1."""
    _check_same_size(first, second)
    difference = first.astype(np.float32) - second.astype(np.float32)
    return float(np.sqrt(np.mean(np.square(difference), dtype=np.float64)) / 255)


def _check_same_size(first: BGRImage, second: BGRImage) -> None:
    if first.shape != second.shape:
        raise SourceError(
            f"the images are {first.shape[1]}x{first.shape[0]} and "
            f"{second.shape[1]}x{second.shape[0]}; resize one of them first"
        )
