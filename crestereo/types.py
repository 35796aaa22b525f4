"""Arrays and records passed between modules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

BGRImage: TypeAlias = NDArray[np.uint8]
"""Image as OpenCV stores it: (H, W, 3) uint8, blue, green, red."""

DisparityMap: TypeAlias = NDArray[np.float32]
"""(H, W) float32, pixels of the image it belongs to, NaN where unknown."""

DepthMap: TypeAlias = NDArray[np.float32]
"""(H, W) float32, metres, NaN where unknown."""

ConfidenceMap: TypeAlias = NDArray[np.float32]
"""(H, W) float32 in 0..1: probability that the disparity is less than 1 px wrong."""


Points: TypeAlias = NDArray[np.float64]
"""(N, 2) float64, x and y [px]."""


@dataclass(frozen=True)
class StereoPair:
    """A left and a right image of the same size.

    Parameters
    ----------
    left, right : (H, W, 3) uint8
        BGR images.
    name : str
        Name in messages and file names.
    time_s : float
        Time in its video [s]; 0 for still images.
    focal_px : float or None
        Focal length [px] that the camera recorded, for example in EXIF data.
    """

    left: BGRImage
    right: BGRImage
    name: str = ""
    time_s: float = 0.0
    focal_px: float | None = None

    def exchanged(self) -> StereoPair:
        """Return the pair with left and right exchanged."""
        return replace(self, left=self.right, right=self.left)


@dataclass(frozen=True)
class DisparityResult:
    """Result of one estimation.

    Parameters
    ----------
    disparity : (H, W) float32
        Pixels of the left image, on its own grid, NaN where unknown.
    confidence : (H, W) float32 or None
        Probability that the disparity is less than 1 px (of the network's input) wrong and the
        point is seen by both cameras; None for networks without it.
    seconds : float
        Wall time of the whole estimation, pre- and post-processing included.
    model : str
        File name of the network.
    provider : str
        ONNX Runtime execution provider that ran it, for example ``CPUExecutionProvider``.
    """

    disparity: DisparityMap
    confidence: ConfidenceMap | None
    seconds: float
    model: str
    provider: str
