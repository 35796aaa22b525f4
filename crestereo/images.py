"""Pictures as arrays: what they must be, and another size for them."""

from __future__ import annotations

import cv2
import numpy as np

from .errors import SourceError, UsageError
from .types import BGRImage


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
