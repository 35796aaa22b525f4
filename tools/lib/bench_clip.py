"""A side-by-side clip for measurements: a texture that drifts to and fro."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from crestereo.errors import UsageError
from crestereo.types import StereoPair

_DISPARITY_PX = 12
_MARGIN_PX = 64


def texture_pair(shape: tuple[int, int], at: int = 0) -> StereoPair:
    """Return a pair whose disparity is 12 px everywhere.

    Parameters
    ----------
    shape : (int, int)
        Height and width of each picture [px].
    at : int
        How far the texture has drifted to the left [px], up to 52.
    """
    height, width = shape
    random = np.random.default_rng(0)
    canvas = np.zeros((height, width + _MARGIN_PX, 3), np.float32)
    for octave in (4, 8, 16, 32):
        coarse = random.random((height // octave + 2, canvas.shape[1] // octave + 2, 3), np.float32)
        size = canvas.shape[1], height
        canvas += cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC) * octave
    low, high = float(canvas.min()), float(canvas.max())
    picture = ((canvas - low) / (high - low) * 255).astype(np.uint8)
    left = np.ascontiguousarray(picture[:, at : at + width])
    right = np.ascontiguousarray(picture[:, at + _DISPARITY_PX : at + _DISPARITY_PX + width])
    return StereoPair(left, right, "texture")


def write_clip(path: Path, frames: int, shape: tuple[int, int]) -> Path:
    """Write a side-by-side clip of a texture that drifts to and fro.

    Parameters
    ----------
    path : Path
        An .mp4 file.
    frames : int
        Its length.
    shape : (int, int)
        Height and width of each eye's picture [px].
    """
    drift = _MARGIN_PX - _DISPARITY_PX
    steps = [np.hstack((p.left, p.right)) for p in (texture_pair(shape, i) for i in range(drift))]
    size = 2 * shape[1], shape[0]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, size)
    if not writer.isOpened():
        raise UsageError(f"cannot write the clip {path}: OpenCV has no MPEG-4 encoder here")
    for number in range(frames):
        place = number % (2 * drift - 2)
        writer.write(steps[min(place, 2 * drift - 2 - place)])
    writer.release()
    return path
