"""The settings a user can choose, checked in one place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from numbers import Integral

from .errors import UsageError

VERSIONS = ("auto", "lite", "init", "combined")
"""What ``version`` may say in the scripts; "auto" takes the best that is already there."""

_SPEC_VERSIONS = ("lite", "init", "combined", "next")

MIN_SIDE_PX = 64
"""Smallest height and width of a network's input: its coarsest level still has two cells."""

MAX_ITERS = 32
"""Most iterations of the bundled network."""


@dataclass(frozen=True)
class ModelSpec:
    """Name one network by what it does.

    Parameters
    ----------
    version : str
        "lite" (the bundled network), "init", "combined" or "next" (the published kinds).
    iters : int
        Refinement steps, 1 to 32.
    height, width : int
        Size of the network's input [px], 64 or more.

    Raises
    ------
    UsageError
        When a value cannot be.
    """

    version: str
    iters: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.version not in _SPEC_VERSIONS:
            raise UsageError(
                f"there is no network of version {self.version!r}; choose one of "
                f"{', '.join(_SPEC_VERSIONS)}"
            )
        check_iters(self.iters)
        check_model_shape((self.height, self.width))

    @property
    def shape(self) -> tuple[int, int]:
        """Return (height, width) [px]."""
        return self.height, self.width

    def __str__(self) -> str:
        return f"{self.version}, {count_iters(self.iters)}, {self.height}x{self.width}"


def check_iters(iters: int) -> int:
    """Return `iters` when it is a whole number from 1 to 32, else raise UsageError."""
    if not _is_whole(iters) or not 1 <= iters <= MAX_ITERS:
        raise UsageError(f"iters must be a whole number from 1 to {MAX_ITERS}, not {iters!r}")
    return int(iters)


def count_iters(iters: int) -> str:
    """Return the number of iterations in words, for example "5 iterations"."""
    return f"{iters} iteration" + ("" if iters == 1 else "s")


def check_model_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return `shape` when it is a (height, width) of 64 px or more, else raise UsageError."""
    sides = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if len(sides) != 2 or not all(map(_is_whole, sides)) or min(sides) < MIN_SIDE_PX:
        raise UsageError(
            "model_shape must be (height, width) in whole pixels, each "
            f"{MIN_SIDE_PX} or more, not {shape!r}"
        )
    return int(sides[0]), int(sides[1])


def _is_whole(number: object) -> bool:
    """Tell whether something is a whole number, one of numpy's too; True and False are none."""
    return isinstance(number, Integral) and not isinstance(number, bool)


def parse_model_shape(text: str) -> tuple[int, int]:
    """Read a size written as HEIGHTxWIDTH.

    Parameters
    ----------
    text : str
        For example ``480x640``; spaces and a capital X are allowed.

    Returns
    -------
    tuple of int
        (height, width) [px].

    Raises
    ------
    UsageError
        When the text is not such a size.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*", text)
    if match is None:
        raise UsageError(f"{text!r} is not a size; write HEIGHTxWIDTH, for example 480x640")
    return check_model_shape((int(match[1]), int(match[2])))


@dataclass(frozen=True)
class CameraConfig:
    """Describe a rectified stereo camera.

    Parameters
    ----------
    baseline_m : float
        Distance of the two cameras [m].
    focal_px : float
        Focal length [px] of pictures `image_width_px` wide.
    image_width_px : int
        Width of the pictures the focal length belongs to [px].
    doffs_px : float
        Principal point of the right picture minus that of the left, in x [px]:
        Z = focal * baseline / (disparity + doffs).
    principal_px : (float, float) or None
        Principal point (x, y) of the left picture [px]; None means the middle of the picture.

    Raises
    ------
    UsageError
        When a value cannot be.
    """

    baseline_m: float
    focal_px: float
    image_width_px: int
    doffs_px: float = 0.0
    principal_px: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("baseline_m", "focal_px", "image_width_px"):
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise UsageError(f"the camera's {name} must be above zero, not {value!r}")
        for value in (self.doffs_px, *(self.principal_px or ())):
            if not math.isfinite(value):
                raise UsageError(f"the camera's offsets must be finite numbers, not {value!r}")

    def scaled_to(self, width_px: int) -> CameraConfig:
        """Return the same camera for pictures `width_px` wide: every length in pixels scales.

        Pixels are counted from the middle of the first one, so a centre moves by half a pixel less.
        """
        if width_px == self.image_width_px:
            return self
        scale = width_px / self.image_width_px
        centre = self.principal_px
        return replace(
            self,
            focal_px=self.focal_px * scale,
            image_width_px=width_px,
            doffs_px=self.doffs_px * scale,
            principal_px=None
            if centre is None
            else ((centre[0] + 0.5) * scale - 0.5, (centre[1] + 0.5) * scale - 0.5),
        )
