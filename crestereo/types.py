"""The arrays and records that travel between the modules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

BGRImage: TypeAlias = NDArray[np.uint8]
"""A picture as OpenCV holds it: (H, W, 3) uint8, blue, green, red."""

DisparityMap: TypeAlias = NDArray[np.float32]
"""(H, W) float32, pixels of the picture it belongs to, NaN where unknown."""

DepthMap: TypeAlias = NDArray[np.float32]
"""(H, W) float32, metres, NaN where unknown."""

ConfidenceMap: TypeAlias = NDArray[np.float32]
"""(H, W) float32 in 0..1: probability that the disparity is less than 1 px wrong."""


@dataclass(frozen=True)
class StereoPair:
    """Hold a left and a right picture of the same size.

    Parameters
    ----------
    left, right : (H, W, 3) uint8
        BGR pictures.
    name : str
        What to call the pair in messages and file names.
    time_s : float
        When it is to be seen in its video, in seconds; 0 for a pair of pictures.
    """

    left: BGRImage
    right: BGRImage
    name: str = ""
    time_s: float = 0.0

    def exchanged(self) -> StereoPair:
        """Return the pair with left and right exchanged."""
        return replace(self, left=self.right, right=self.left)


@dataclass(frozen=True)
class DisparityResult:
    """Hold what one estimation gave.

    Parameters
    ----------
    disparity : (H, W) float32
        Pixels of the left picture, on its own grid, NaN where unknown.
    confidence : (H, W) float32 or None
        Probability that the disparity is less than 1 px (of the network's input) wrong and the
        point is seen by both cameras; None for networks that do not tell.
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
