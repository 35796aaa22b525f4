"""From pictures to the network's input, and from its output back to the picture's grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.errors import SourceError, UsageError
from crestereo.geometry import resize_disparity
from crestereo.models import MIN_SIDE_PX, ChannelOrder
from crestereo.types import BGRImage, ConfidenceMap, DisparityMap


def check_picture(image: BGRImage, name: str) -> None:
    """Make sure that an array is a picture.

    Parameters
    ----------
    image : (H, W, 3) uint8
        BGR.
    name : str
        What to call it, for example "left".

    Raises
    ------
    UsageError
        When it is not (H, W, 3) uint8.
    SourceError
        When it is empty.
    """
    if image is None:
        raise UsageError(
            f"the {name} picture is None, which cv2.imread returns for a file it cannot read"
        )
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        form = getattr(image, "shape", type(image).__name__)
        code = "COLOR_BGRA2BGR" if getattr(image, "ndim", 0) == 3 else "COLOR_GRAY2BGR"
        raise UsageError(
            f"the {name} picture must be (height, width, 3), not {form}; "
            f"cv2.cvtColor(image, code=cv2.{code}) makes it so"
        )
    if image.dtype != np.uint8:
        raise UsageError(f"the {name} picture must be uint8, 0 to 255, not {image.dtype}")
    if image.size == 0:
        raise SourceError(f"the {name} picture is empty")


def check_pictures(left: BGRImage, right: BGRImage) -> None:
    """Make sure that two arrays are a stereo pair.

    Raises
    ------
    UsageError
        When one is not (H, W, 3) uint8.
    SourceError
        When they are empty or differ in size.
    """
    check_picture(left, "left")
    check_picture(right, "right")
    if left.shape != right.shape:
        raise SourceError(
            f"the left picture is {left.shape[1]}x{left.shape[0]} and the right one "
            f"{right.shape[1]}x{right.shape[0]} (width x height); a stereo pair has one size"
        )


def resize_image(image: BGRImage, shape: tuple[int, int]) -> BGRImage:
    """Return a picture in another size (height, width): by area where it shrinks, else linear.

    Each side by itself: OpenCV averages areas only where neither side grows.
    """
    height, width = image.shape[:2]
    smaller = min(height, shape[0]), min(width, shape[1])
    resized = image
    if smaller != (height, width):
        resized = _resized(image, smaller, cv2.INTER_AREA)
    if smaller != shape:
        resized = _resized(resized, shape, cv2.INTER_LINEAR)
    return resized


def _resized(image: BGRImage, shape: tuple[int, int], interpolation: int) -> BGRImage:
    resized = cv2.resize(image, (shape[1], shape[0]), interpolation=interpolation)
    return np.asarray(resized, dtype=np.uint8)


Shape = tuple[int, int]


@dataclass(frozen=True)
class Fit:
    """Say how a picture lies in the network's input, and carry maps there and back.

    The picture is resized to `content` and continued to `canvas` on the right and at the bottom.

    Parameters
    ----------
    picture, content, canvas : (int, int)
        Height and width [px].
    """

    picture: Shape
    content: Shape
    canvas: Shape

    @staticmethod
    def squash(picture: Shape, shape: Shape) -> Fit:
        """Fill `shape` whatever the picture's form: what the published models are used with."""
        return Fit(picture, shape, shape)

    @staticmethod
    def keep_aspect(picture: Shape, limit: Shape | None) -> Fit:
        """Shrink to the area of `limit` with the form kept; never enlarge, but fill up to 64 px.

        The time is that of the area: a wide or an upright picture gets all of it.
        """
        scale = 1.0
        if limit is not None:
            scale = min(1.0, math.sqrt(limit[0] * limit[1] / (picture[0] * picture[1])))
        content = max(1, round(picture[0] * scale)), max(1, round(picture[1] * scale))
        return Fit(picture, content, (max(content[0], MIN_SIDE_PX), max(content[1], MIN_SIDE_PX)))

    def image_to_network(
        self, image: BGRImage, order: ChannelOrder, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Return a picture as the network wants it: (1, 3, H, W) of `dtype`, 0 to 255."""
        content = _pad(resize_image(image, self.content), self.canvas, cv2.BORDER_REPLICATE)
        planes = cv2.split(content)
        return np.stack(planes if order == "BGR" else planes[::-1])[None].astype(dtype)

    def prior_to_network(self, prior: DisparityMap) -> NDArray[np.float32]:
        """Return a disparity of the picture as (1, 1, H, W), in pixels of the network's input."""
        if prior.shape != self.picture:
            size = "x".join(str(side) for side in reversed(prior.shape))
            raise UsageError(
                f"the prior is {size}, but the left picture {self.picture[1]}x{self.picture[0]}; "
                "both need one size"
            )
        resized = resize_disparity(prior.astype(np.float32, copy=False), self.content)
        return _pad(resized, self.canvas, cv2.BORDER_CONSTANT, float("nan"))[None, None]

    def disparity_from_network(self, output: NDArray[np.float32]) -> DisparityMap:
        """Return the network's (H, W) disparity on the picture's grid, in the picture's pixels."""
        content = output[: self.content[0], : self.content[1]].astype(np.float32)
        content[~np.isfinite(content)] = np.nan
        return resize_disparity(content, self.picture)

    def confidence_from_network(self, output: NDArray[np.float32]) -> ConfidenceMap:
        """Return the network's (H, W) confidence on the picture's grid."""
        content = output[: self.content[0], : self.content[1]].astype(np.float32)
        if self.content == self.picture:
            return content
        size = self.picture[1], self.picture[0]
        resized = cv2.resize(content, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(resized, dtype=np.float32)


def _pad(values: NDArray[Any], shape: Shape, border: int, fill: float = 0.0) -> NDArray[Any]:
    bottom, right = shape[0] - values.shape[0], shape[1] - values.shape[1]
    if bottom == 0 and right == 0:
        return values
    padded = cv2.copyMakeBorder(
        values, top=0, bottom=bottom, left=0, right=right, borderType=border, value=fill
    )
    return np.asarray(padded)
