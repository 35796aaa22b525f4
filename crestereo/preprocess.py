"""Convert images to network input and network output to images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.errors import SourceError, UsageError
from crestereo.models import MIN_SIDE_PX, ChannelOrder
from crestereo.types import BGRImage, ConfidenceMap, DisparityMap

ASPECT_TOLERANCE = 0.02  # a larger difference is that of a crop


def check_image(image: BGRImage, name: str) -> None:
    """Raise an error unless an array is (H, W, 3) uint8."""
    if image is None:
        raise UsageError(
            f"the {name} image is None, which cv2.imread returns for a file it cannot read"
        )
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        form = getattr(image, "shape", type(image).__name__)
        code = "COLOR_BGRA2BGR" if getattr(image, "ndim", 0) == 3 else "COLOR_GRAY2BGR"
        raise UsageError(
            f"the {name} image must be (height, width, 3), not {form}; "
            f"cv2.cvtColor(image, code=cv2.{code}) makes it so"
        )
    if image.dtype != np.uint8:
        raise UsageError(f"the {name} image must be uint8, 0 to 255, not {image.dtype}")
    if image.size == 0:
        raise SourceError(f"the {name} image is empty")


def check_images(left: BGRImage, right: BGRImage) -> None:
    """Raise UsageError or SourceError unless two arrays are a stereo pair."""
    check_image(left, "left")
    check_image(right, "right")
    if left.shape != right.shape:
        raise SourceError(
            f"the left image is {left.shape[1]}x{left.shape[0]} and the right one "
            f"{right.shape[1]}x{right.shape[0]} (width x height); a stereo pair has one size"
        )


def resize_image(image: BGRImage, shape: tuple[int, int]) -> BGRImage:
    """Resize an image to (height, width): by area down, bicubic up."""
    height, width = image.shape[:2]
    # Side by side: OpenCV averages areas only where neither side grows.
    smaller = min(height, shape[0]), min(width, shape[1])
    resized = image
    if smaller != (height, width):
        resized = shrink(image, smaller)
    if smaller != shape:
        resized = _resized(resized, shape, cv2.INTER_CUBIC)
    return resized


def shrink(values: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Resize to a smaller (height, width) by the average of areas."""
    # Halves first: OpenCV does them exactly, and many times faster than other ratios.
    while all(n % 2 == 0 and n >= 2 * m for n, m in zip(values.shape, shape, strict=False)):
        values = _resized(values, (values.shape[0] // 2, values.shape[1] // 2), cv2.INTER_AREA)
    return values if values.shape[:2] == shape else _resized(values, shape, cv2.INTER_AREA)


def same_aspect(sides: Sequence[int], others: Sequence[int]) -> bool:
    """Return whether two sizes have one aspect ratio within 2 %."""
    return abs(sides[0] * others[1] / (sides[1] * others[0]) - 1) <= ASPECT_TOLERANCE


def turned_to(image: BGRImage, shape: Sequence[int]) -> BGRImage:
    """Turn an image by 90 degrees to fit an aspect ratio."""
    upright = same_aspect(image.shape, shape) or not same_aspect(image.shape[1::-1], shape)
    return image if upright else np.ascontiguousarray(np.rot90(image))


def _resized(values: NDArray[Any], shape: tuple[int, int], interpolation: int) -> NDArray[Any]:
    return np.asarray(cv2.resize(values, (shape[1], shape[0]), interpolation=interpolation))


def resize_disparity(disparity: DisparityMap, shape: tuple[int, int]) -> DisparityMap:
    """Resize a disparity to (height, width) in pixels of that grid.

    Values are multiplied by width / W. Interpolation is linear among the known pixels only, so
    that holes keep their size; NaN where less than half of the pixels around is known.
    """
    if disparity.shape == shape:
        return np.array(disparity, dtype=np.float32)
    scale = np.float32(shape[1] / disparity.shape[1])
    known = np.isfinite(disparity)
    if known.all():
        return _resize_linear(disparity * scale, shape)
    weights = _resize_linear(known.astype(np.float32), shape)
    resized = _resize_linear(np.where(known, disparity * scale, np.float32(0)), shape)
    enough = weights >= 0.5
    resized[enough] /= weights[enough]
    resized[~enough] = np.nan
    return resized


def _resize_linear(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    resized = cv2.resize(values, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)


Shape = tuple[int, int]

MAX_ENLARGEMENT = 2.0
"""Of an image for a bundled network: more detail is found up to there."""


@dataclass(frozen=True)
class Fit:
    """Place of an image in the network's input.

    The image is resized to `content` and padded to `canvas` on the right and at the bottom; each
    is (height, width) [px].
    """

    image: Shape
    content: Shape
    canvas: Shape

    @staticmethod
    def squash(image: Shape, shape: Shape) -> Fit:
        """Fill `shape` whatever the aspect ratio, as the published models need it."""
        return Fit(image, shape, shape)

    @staticmethod
    def keep_aspect(image: Shape, limit: Shape) -> Fit:
        """Resize to the area of `limit`, padded to 64 px."""
        scale = min(MAX_ENLARGEMENT, math.sqrt(limit[0] * limit[1] / (image[0] * image[1])))
        content = max(1, round(image[0] * scale)), max(1, round(image[1] * scale))
        return Fit(image, content, (max(content[0], MIN_SIDE_PX), max(content[1], MIN_SIDE_PX)))

    def image_to_network(
        self, image: BGRImage, order: ChannelOrder, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Return an image as (1, 3, H, W) of `dtype`, 0..255."""
        content = _pad(resize_image(image, self.content), self.canvas, cv2.BORDER_REPLICATE)
        planes = cv2.split(content)
        return np.stack(planes if order == "BGR" else planes[::-1])[None].astype(dtype)

    def prior_to_network(self, prior: DisparityMap) -> NDArray[np.float32]:
        """Return an image's disparity as network input (1, 1, H, W)."""
        if prior.shape != self.image:
            size = "x".join(str(side) for side in reversed(prior.shape))
            raise UsageError(
                f"the prior is {size}, but the left image {self.image[1]}x{self.image[0]}; "
                "both need one size"
            )
        resized = resize_disparity(prior.astype(np.float32, copy=False), self.content)
        return _pad(resized, self.canvas, cv2.BORDER_CONSTANT, float("nan"))[None, None]

    def disparity_from_network(self, output: NDArray[np.float32]) -> DisparityMap:
        """Return the network's disparity in pixels of the image's grid."""
        content = output[: self.content[0], : self.content[1]].astype(np.float32)
        content[~np.isfinite(content)] = np.nan
        return resize_disparity(content, self.image)

    def confidence_from_network(self, output: NDArray[np.float32]) -> ConfidenceMap:
        """Return the network's (H, W) confidence on the image's grid."""
        content = output[: self.content[0], : self.content[1]].astype(np.float32)
        return content if self.content == self.image else _resize_linear(content, self.image)


def _pad(values: NDArray[Any], shape: Shape, border: int, fill: float = 0.0) -> NDArray[Any]:
    bottom, right = shape[0] - values.shape[0], shape[1] - values.shape[1]
    if bottom == 0 and right == 0:
        return values
    padded = cv2.copyMakeBorder(
        values, top=0, bottom=bottom, left=0, right=right, borderType=border, value=fill
    )
    return np.asarray(padded)
