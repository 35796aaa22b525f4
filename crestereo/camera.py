"""Stereo camera and its calibration files: Middlebury, K.txt, OpenCV, KITTI, ROS.

References
----------
Middlebury: https://vision.middlebury.edu/stereo/submit3/ ("calib.txt");
FoundationStereo: https://github.com/NVlabs/FoundationStereo ("K.txt");
OpenCV: ``stereoRectify``, matrices Q, P1 and P2;
KITTI: https://www.cvlibs.net/datasets/kitti/ ("P2", "P3", "P_rect_02", "P_rect_03");
ROS: message ``sensor_msgs/CameraInfo``, https://docs.ros.org/en/api/sensor_msgs/html/msg/CameraInfo.html.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
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
    image_height_px : int or None
        Height of the images the focal length belongs to [px]; None where it is not recorded.

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
    image_height_px: int | None = None

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
            image_height_px=None
            if self.image_height_px is None
            else round(self.image_height_px * scale),
        )


Matrix = NDArray[Any]
_Size = tuple[int | None, int | None]  # width and height, None where they are not recorded

_LEAST_BASELINE_M, _MOST_BASELINE_M = 0.001, 5.0
_LEAST_FOCAL, _MOST_FOCAL = 0.3, 10.0  # widths of the image: 118 and 6 degrees wide
_ASPECT_ERROR = 0.01
_FAR_OFF_CENTRE = 0.2  # share of the width


def camera_doubts(camera: CameraConfig, shape: tuple[int, int]) -> list[str]:
    """Return what speaks against a camera for images of a shape (H, W), a sentence each."""
    height, width = shape
    doubts = []
    recorded = camera.image_height_px
    if (
        recorded is not None
        and abs(camera.image_width_px * height / (recorded * width) - 1) > _ASPECT_ERROR
    ):
        doubts.append(
            f"the calibration is for {camera.image_width_px}x{recorded} px and the images are "
            f"{width}x{height} px, of another aspect ratio: metres are wrong if they were cropped; "
            "calibrate for this size"
        )
    baseline_m, focal_px = camera.baseline_m, camera.focal_px
    if not _LEAST_BASELINE_M <= baseline_m <= _MOST_BASELINE_M:
        doubts.append(
            f"a baseline of {baseline_m:g} m is doubtful: it must be in metres, and the squares of "
            f"a calibration board too; if the unit was millimetres, it is {baseline_m / 1000:g} m"
        )
    if not _LEAST_FOCAL <= focal_px / camera.image_width_px <= _MOST_FOCAL:
        doubts.append(
            f"a focal length of {focal_px:g} px is doubtful for images {camera.image_width_px} px "
            "wide: it must be in pixels of these images, not in millimetres"
        )
    if camera.principal_px is not None:
        scaled = camera.scaled_to(width)
        x = camera.principal_px[0] if scaled.principal_px is None else scaled.principal_px[0]
        off_px = x - (width - 1) / 2
        if abs(off_px) > _FAR_OFF_CENTRE * width:
            doubts.append(
                f"the principal point of the calibration is {abs(off_px):.0f} px from the middle "
                "of the images: it seems to be for another size, or the images were cropped"
            )
    return doubts


def read_calibration(path: str | Path, *, image_width_px: int | None = None) -> CameraConfig:
    """Read a calibration file of any known kind, recognised by its content.

    `image_width_px` is for files that do not record the width. OpenCV's files keep the unit of the
    board's squares: metres are expected.
    """
    text = read_bytes(path).decode("utf-8-sig", errors="replace")  # Windows editors mark it
    try:
        return _reader(text)(text, image_width_px)
    except (ValueError, KeyError, IndexError, ZeroDivisionError, SystemError, cv2.error) as exc:
        # SystemError: from OpenCV's parser of YAML
        raise SourceError(
            f"{path} is not a calibration file that can be used: it is neither a Middlebury "
            "calib.txt, nor a K.txt (nine numbers, then the baseline in metres), nor OpenCV YAML, "
            "XML or JSON with Q, or P1 and P2, nor a calib.txt or calib_cam_to_cam.txt of KITTI, "
            "nor the camera_info of a right camera from ROS"
        ) from exc
    except UsageError as exc:
        raise UsageError(f"{path}: {exc}") from exc


def _reader(text: str) -> Callable[[str, int | None], CameraConfig]:
    if re.search(r"^\s*cam0\s*=", text, re.MULTILINE):
        return _middlebury
    if re.search(r"^projection_matrix\s*:", text, re.MULTILINE):
        return _ros
    if text.lstrip().startswith(("%YAML", "<", "{")):
        return _opencv
    return _kitti if re.search(r"^P(2|_rect_02)\s*:", text, re.MULTILINE) else _foundation


def _camera(left: Matrix, baseline_m: float, doffs_px: float, size: _Size) -> CameraConfig:
    """Return the camera of a matrix K or P."""
    width, height = size
    if width is None:
        raise UsageError("the file does not record the width of its images; give image_width_px")
    return CameraConfig(
        baseline_m=baseline_m,
        focal_px=float(left[0, 0]),
        image_width_px=width,
        doffs_px=doffs_px,
        principal_px=(float(left[0, 2]), float(left[1, 2])),
        image_height_px=height,
    )


def _projected(left: Matrix, right: Matrix, size: _Size) -> CameraConfig:
    """Return the camera of two matrices P: P[0, 3] = -f * x of the camera."""
    baseline_m = abs(float(left[0, 3] - right[0, 3]) / float(left[0, 0]))
    return _camera(left, baseline_m, float(right[0, 2] - left[0, 2]), size)


def _numbers(text: str) -> Matrix:
    return np.array([float(word) for word in re.split(r"[\s\[\];,]+", text) if word])


def _middlebury(text: str, width: int | None) -> CameraConfig:
    """Z = baseline * f / (d + doffs), with the baseline in millimetres."""
    fields = dict(re.findall(r"^\s*(\w+)\s*=\s*(.+?)\s*$", text, re.MULTILINE))
    left = _numbers(fields["cam0"]).reshape(3, 3)
    right = _numbers(fields["cam1" if "cam1" in fields else "cam0"]).reshape(3, 3)
    size = tuple(int(fields[name]) if name in fields else None for name in ("width", "height"))
    doffs_px = float(fields.get("doffs", right[0, 2] - left[0, 2]))
    return _camera(left, float(fields["baseline"]) / 1000, doffs_px, (size[0] or width, size[1]))


def _foundation(text: str, width: int | None) -> CameraConfig:
    *matrix, baseline_m = _numbers(text)
    return _camera(np.reshape(matrix, (3, 3)), baseline_m, 0.0, (width, None))


def _kitti(text: str, width: int | None) -> CameraConfig:
    fields = dict(re.findall(r"^(\w+)\s*:\s*(.+?)\s*$", text, re.MULTILINE))
    names = ("P_rect_02", "P_rect_03") if "P_rect_02" in fields else ("P2", "P3")
    left, right = (_numbers(fields[name]).reshape(3, 4) for name in names)
    size = _numbers(fields["S_rect_02"]).astype(int).tolist() if "S_rect_02" in fields else None
    return _projected(left, right, tuple(size) if size else (width, None))


def _ros(text: str, width: int | None) -> CameraConfig:
    text = re.sub(r"\A(%YAML.*|---)?\s*(---\s*)?", "", text)
    storage = cv2.FileStorage(
        f"%YAML:1.0\n---\n{text}", flags=cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY
    )
    data = storage.getNode("projection_matrix").getNode("data")
    right = np.array([data.at(i).real() for i in range(data.size())]).reshape(3, 4)
    if right[0, 3] == 0:
        raise UsageError(
            "the baseline is missing: this is the left camera; give the file of the right camera, "
            "whose projection_matrix has it"
        )
    left = right.copy()
    left[0, 3] = 0
    recorded, height = _storage_size(storage)
    return _projected(left, right, (recorded or width, height))


def _opencv(text: str, width: int | None) -> CameraConfig:
    storage = cv2.FileStorage(text, flags=cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    recorded, height = _storage_size(storage)
    size = recorded or width, height
    q, left, right = (storage.getNode(name).mat() for name in ("Q", "P1", "P2"))
    if left is not None and right is not None:
        return _projected(left, right, size)
    if q is None:
        raise KeyError("Q")
    # [X Y Z W] = Q [x y d 1]: W = -d / Tx + (cx - cx') / Tx and Z = f, so Z / W = f B / (d + doffs)
    # with B = |Tx| and doffs = cx' - cx.
    left = np.array([[q[2, 3], 0, -q[0, 3]], [0, q[2, 3], -q[1, 3]], [0, 0, 1]])
    return _camera(left, abs(1 / float(q[3, 2])), float(q[3, 3] / q[3, 2]), size)


def _storage_size(storage: cv2.FileStorage) -> _Size:
    """Return width and height where the file has them under one of the names that tools write."""
    for names in (("image_width", "image_height"), ("width", "height")):
        nodes = [storage.getNode(name) for name in names]
        if nodes[0].isInt():
            return int(nodes[0].real()), int(nodes[1].real()) if nodes[1].isInt() else None
    size = storage.getNode("image_size")
    if size.isSeq() and size.size() == 2:
        return int(size.at(0).real()), int(size.at(1).real())
    return None, None
