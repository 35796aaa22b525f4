"""Stereo camera and its calibration files: Middlebury, FoundationStereo, OpenCV YAML.

References
----------
Middlebury: https://vision.middlebury.edu/stereo/submit3/ ("calib.txt");
FoundationStereo: https://github.com/NVlabs/FoundationStereo ("K.txt");
OpenCV: ``stereoRectify``, matrices Q, P1 and P2.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.errors import SourceError, UsageError
from crestereo.formats import read_bytes


@dataclass(frozen=True)
class CameraConfig:
    """Rectified stereo camera.

    Parameters
    ----------
    baseline_m : float
        Distance of the two cameras [m].
    focal_px : float
        Focal length [px] of images `image_width_px` wide.
    image_width_px : int
        Width of the images the focal length belongs to [px].
    doffs_px : float
        Principal point of the right image minus that of the left, in x [px]:
        Z = focal * baseline / (disparity + doffs).
    principal_px : (float, float) or None
        Principal point (x, y) of the left image [px]; None means the middle of the image.

    Raises
    ------
    UsageError
        A value is invalid.
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
        """Return the same camera for images `width_px` wide: every length in pixels scales.

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


Matrix = NDArray[Any]


def read_calibration(path: str | Path, *, image_width_px: int | None = None) -> CameraConfig:
    """Read a calibration file of any known kind, recognised by its content.

    `image_width_px` is for files that do not record the width. OpenCV's files keep the unit of the
    board's squares: metres are expected.
    """
    text = read_bytes(path).decode("utf-8-sig", errors="replace")  # Windows editors mark it
    try:
        if re.search(r"^\s*cam0\s*=", text, re.MULTILINE):
            return _middlebury(text, image_width_px)
        if text.lstrip().startswith("%YAML"):
            return _opencv(text, image_width_px)
        return _foundation(text, image_width_px)
    except (ValueError, KeyError, IndexError, ZeroDivisionError, SystemError, cv2.error) as exc:
        # SystemError: from OpenCV's parser of YAML
        raise SourceError(
            f"{path} is not a calibration file that can be used: it is neither a Middlebury "
            "calib.txt, nor a K.txt (nine numbers, then the baseline in metres), nor OpenCV YAML "
            "with Q, or P1 and P2"
        ) from exc
    except UsageError as exc:
        raise UsageError(f"{path}: {exc}") from exc


def _camera(
    left: Matrix, baseline_m: float, doffs_px: float, widths: tuple[int | None, int | None]
) -> CameraConfig:
    """Return the camera of a matrix K or P; the first of the widths that is known counts."""
    width = widths[0] or widths[1]
    if width is None:
        raise UsageError("the file does not record the width of its images; give image_width_px")
    return CameraConfig(
        baseline_m=baseline_m,
        focal_px=float(left[0, 0]),
        image_width_px=width,
        doffs_px=doffs_px,
        principal_px=(float(left[0, 2]), float(left[1, 2])),
    )


def _numbers(text: str) -> Matrix:
    return np.array([float(word) for word in re.split(r"[\s\[\];,]+", text) if word])


def _middlebury(text: str, width: int | None) -> CameraConfig:
    """Z = baseline * f / (d + doffs), with the baseline in millimetres."""
    fields = dict(re.findall(r"^\s*(\w+)\s*=\s*(.+?)\s*$", text, re.MULTILINE))
    matrix = _numbers(fields["cam0"]).reshape(3, 3)
    recorded = int(fields["width"]) if "width" in fields else None
    baseline_m, doffs_px = float(fields["baseline"]) / 1000, float(fields.get("doffs", 0))
    return _camera(matrix, baseline_m, doffs_px, (recorded, width))


def _foundation(text: str, width: int | None) -> CameraConfig:
    lines = [line for line in text.splitlines() if line.strip()]
    return _camera(_numbers(lines[0]).reshape(3, 3), float(lines[1]), 0.0, (None, width))


def _opencv(text: str, width: int | None) -> CameraConfig:
    storage = cv2.FileStorage(text, flags=cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    widths = _storage_width(storage), width
    q, left, right = (storage.getNode(name).mat() for name in ("Q", "P1", "P2"))
    if left is not None and right is not None:
        # P2[0, 3] = -f * baseline, both with the rectified focal length f.
        baseline_m = abs(float(right[0, 3] / right[0, 0]))
        return _camera(left, baseline_m, float(right[0, 2] - left[0, 2]), widths)
    if q is None:
        raise KeyError("Q")
    # [X Y Z W] = Q [x y d 1]: W = -d / Tx + (cx - cx') / Tx and Z = f, so Z / W = f B / (d + doffs)
    # with B = |Tx| and doffs = cx' - cx.
    left = np.array([[q[2, 3], 0, -q[0, 3]], [0, q[2, 3], -q[1, 3]], [0, 0, 1]])
    return _camera(left, abs(1 / float(q[3, 2])), float(q[3, 3] / q[3, 2]), widths)


def _storage_width(storage: cv2.FileStorage) -> int | None:
    """Return the width where the file has it under one of the names that tools write."""
    for name in ("image_width", "width"):
        node = storage.getNode(name)
        if node.isInt():
            return int(node.real())
    size = storage.getNode("image_size")
    return int(size.at(0).real()) if size.isSeq() and size.size() == 2 else None
