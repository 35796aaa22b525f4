"""Read calibration files of the field, recognised by their content.

Sources of the formats:

- OpenCV: https://docs.opencv.org/4.x/d9/d0c/group__calib3d.html
- Middlebury: https://vision.middlebury.edu/stereo/data/scenes2021/ (baseline in millimetres)
- KITTI: https://www.cvlibs.net/datasets/kitti/setup.php
- ROS: https://docs.ros.org/en/api/sensor_msgs/html/msg/CameraInfo.html
- EuRoC: https://projects.asl.ethz.ch/datasets/doku.php?id=kmavvisualinertialdatasets
- Kalibr: https://github.com/ethz-asl/kalibr/wiki/yaml-formats
- ORB-SLAM3: https://github.com/UZ-SLAMLab/ORB_SLAM3/blob/master/Calibration_Tutorial.pdf
- ZED: https://github.com/stereolabs/zed-opencv-calibration (millimetres)
- DepthAI: https://docs.luxonis.com/hardware/platform/depth/calibration/ (centimetres)
- RealSense: https://github.com/IntelRealSense/librealsense/wiki/Projection-in-RealSense-SDK-2.0
- stereodemo: https://github.com/nburrus/stereodemo
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from crestereo.calibration import FISHEYE, Rig
from crestereo.camera import Calibration, CameraConfig, Matrix, RawCamera, Rectification
from crestereo.camera_fields import COEFFICIENTS, DAMAGE, Fields, read_fields
from crestereo.errors import SourceError, UsageError

UNDERSTOOD = (
    "a file that OpenCV writes (YAML, XML, JSON, .npy, .npz) with Q, P1 and P2, or K1, D1, K2, D2, "
    "R and T; Middlebury's or KITTI's calib.txt; a K.txt (nine numbers, then the baseline in "
    "metres); camera_info of ROS; YAML of EuRoC, Kalibr or ORB-SLAM; SN*.conf of ZED; or JSON of "
    "DepthAI, RealSense or stereodemo"
)
Both = tuple[Matrix, Matrix]

_WORDS = {
    "RECT": "rectification", "R": "rectification", "D": "distortion", "pose": "pose",
    "P": "projection matrix",
}  # fmt: skip
_FISHEYES = re.compile(r".*equi(distant)?|.*fisheye.*|.*kannala.*")
_OTHER_CAMERAS = re.compile(r"omni.*|mei|ds|.*doublesphere.*|eucm")
_OTHER_LENSES = re.compile(
    r".*fov|atan|.*ftheta.*|.*inverse.*|.*modified.*|equirectangular|radialdivision"
)
_RATIOS = 1, 2, 1 / 2, 3 / 2, 2 / 3, 4 / 3, 3 / 4, 5 / 4, 4 / 5, 3, 1 / 3, 4, 1 / 4
_RATIO_ERROR = 0.06  # how far off the middle a principal point of resized images may be, and
_NO_RATIO_ERROR = 0.08  # one of images as given, as shares of half the image
_BASELINE_ERROR = 0.02
_FOCAL_ERROR = 0.01
_ORTHONORMAL_ERROR = 1e-3
_MOST_PX = 100_000


def read_calibration(
    paths: str | Path | Sequence[str | Path], *, image_shape: tuple[int, int] | None = None
) -> Calibration:
    """Read the calibration of a stereo camera from one file or two.

    Parameters
    ----------
    paths : path, or sequence of one or two paths
        Files of any known kind; also ``"left.yaml,right.yaml"``.
    image_shape : (int, int) or None
        Height and width [px] of the images, for files that do not record theirs.

    Returns
    -------
    Calibration
        In pixels of the file; `Calibration.fitted` scales it to the images.

    Raises
    ------
    SourceError
        A file cannot be read, is damaged, or is of an unknown kind.
    UsageError
        The files lack a value or contradict themselves.
    """
    files = calibration_files(paths)
    name = " and ".join(map(str, files))
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            fields = read_fields(files, image_shape)
            return _calibration(fields, image_shape, Path(files[0]).name)
    except DAMAGE as exc:
        raise SourceError(
            f"{name} is not a calibration file that can be used: expected {UNDERSTOOD}"
        ) from exc
    except UsageError as exc:
        raise UsageError(f"{name}: {exc}") from exc


def calibration_files(paths: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """Return the files of a calibration; a text may name two, LEFT,RIGHT."""
    if isinstance(paths, str) and "," in paths and not os.path.exists(paths):  # noqa: PTH110  of any text
        paths = [part.strip() for part in paths.split(",")]
    files = [paths] if isinstance(paths, str | Path) else list(paths)
    if not 1 <= len(files) <= 2:
        raise UsageError(f"{len(files)} calibration files; give one, or a left and a right one")
    return files


# --- what the files say -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Pair:
    """Matrices of both cameras, None where the files have none."""

    matrices: Both | None  # K1, K2
    distortions: Both | None
    rotations: Both | None  # R1, R2
    projections: Both | None  # P1, P2
    transform: Matrix | None  # (4, 4), from the left to the right camera

    def exchanged(self) -> _Pair:
        """Return the pair with left and right exchanged."""
        both = {name: each for name, each in vars(self).items() if name != "transform"}
        transform = None if self.transform is None else np.linalg.inv(self.transform)
        swapped = {name: each and each[::-1] for name, each in both.items()}
        return _Pair(**swapped, transform=transform)

    @property
    def shift(self) -> Matrix:
        """Return x and y of the left camera, seen from the right."""
        if self.projections is not None:
            p1, p2 = self.projections
            return np.asarray((p2[:2, 3] - p1[:2, 3]) / p1[0, 0])
        return np.zeros(2) if self.transform is None else np.asarray(self.transform[:2, 3])

    @property
    def rectified(self) -> Both:
        """Return the matrices of the rectified cameras."""
        both = self.projections or self.matrices
        if both is None:
            raise ValueError("neither K, P nor Q")
        return both


def _pair(fields: Fields, fisheye: bool) -> _Pair:
    transform = _transform(fields)
    rotations = _both(fields, "RECT", _rotation)
    if rotations is None and ("T", 1) not in fields:
        rotations = _both(fields, "R", _rotation)
    left, right = (_camera_matrix(fields, side) for side in (0, 1))
    if (left is None) != (right is None) and (rotations or transform is not None):
        raise UsageError("the matrix K of one of the cameras is missing")
    left, right = (right if left is None else left), (left if right is None else right)
    return _Pair(
        None if left is None or right is None else (left, right),
        _distortions(fields, fisheye),
        rotations,
        _projections(fields),
        transform,
    )


def _get(fields: Fields, name: str, side: int) -> Any:
    return fields.get((name, side), fields.get((name, None)))


def _both(fields: Fields, name: str, read: Callable[[Matrix], Matrix]) -> Both | None:
    """Return a matrix of both cameras, None where neither has it."""
    left, right = (fields.get((name, side)) for side in (0, 1))
    if left is None and right is None:
        return None
    if left is None or right is None:
        raise UsageError(f"the {_WORDS[name]} of one of the cameras is missing")
    return read(left), read(right)


def _camera_matrix(fields: Fields, side: int) -> Matrix | None:
    values, fx = _get(fields, "K", side), _get(fields, "fx", side) or _get(fields, "focal", side)
    if fx is not None and ("K", side) not in fields:
        fy, cx, cy = (_get(fields, name, side) for name in ("fy", "cx", "cy"))
        values = [fx, fy or fx, cx, cy]
        if None in values:
            raise UsageError("the principal point (cx, cy) is missing")
    if values is None:
        return None
    if len(values) == 4:
        fx, fy, cx, cy = values
        values = np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1])
    matrix = np.reshape(values, (3, 3))
    if not matrix[:2, 2].any():  # column by column, as Open3D and MATLAB store it
        matrix = matrix.T
    return _checked(matrix, "K")


def _checked(matrix: Matrix, name: str) -> Matrix:
    """Return a matrix K or P that a camera can have."""
    if matrix[2, 2] != 1 or matrix[2, :2].any() or min(matrix[0, 0], matrix[1, 1]) <= 0:
        raise UsageError(f"{name} is not the matrix of a camera: {matrix.tolist()}")
    return matrix


def _distortions(fields: Fields, fisheye: bool) -> Both | None:
    shared = fields.get(("D", None))
    if shared is not None:
        return _distortion(shared, fisheye), _distortion(shared, fisheye)
    found = _both(fields, "D", lambda values: _distortion(values, fisheye))
    if found is not None or not any(name in COEFFICIENTS for name, _ in fields):
        return found
    names = ("k1", "k2", "k3", "k4") if fisheye else COEFFICIENTS
    left, right = (
        _distortion(np.array([_get(fields, name, side) or 0 for name in names]), fisheye)
        for side in (0, 1)
    )
    return left, right


def _distortion(values: Matrix, fisheye: bool) -> Matrix:
    if fisheye:
        if values[4:].any() or len(values) < 4:
            raise UsageError(f"a fisheye has 4 coefficients of distortion, not {len(values)}")
        return values[:4]
    count = next(each for each in (4, 5, 8, 12, 14) if each >= len(values))
    return np.pad(values, (0, count - len(values)))


def _rotation(values: Matrix) -> Matrix:
    matrix = cv2.Rodrigues(values)[0] if values.size == 3 else values.reshape(3, 3)
    error = float(np.abs(matrix @ matrix.T - np.eye(3)).max())
    if error > _ORTHONORMAL_ERROR or np.linalg.det(matrix) < 0:
        raise UsageError(f"{matrix.tolist()} is not a rotation")
    return np.asarray(matrix)


def _motion(values: Matrix) -> Matrix:
    """Return a rotation and a translation as (4, 4)."""
    motion = np.vstack([values[:12].reshape(3, 4), [0, 0, 0, 1]])
    _rotation(motion[:3, :3])
    return motion


def _transform(fields: Fields) -> Matrix | None:
    """Return the way from the left to the right camera, (4, 4)."""
    for name in ("RT", "inverse RT"):
        values = _get(fields, name, 1)
        if values is not None:
            return _motion(values) if name == "RT" else np.linalg.inv(_motion(values))
    if ("pose", None) in fields:
        raise UsageError("this is one camera; give the files of the left and the right one")
    poses = _both(fields, "pose", _motion)  # from the camera to the body
    if poses is not None:
        return np.asarray(np.linalg.inv(poses[1]) @ poses[0])
    if ("R", 1) in fields and ("T", 1) in fields:  # from the world to the camera
        still: Fields = {("R", 0): np.eye(3), ("T", 0): np.zeros(3)}
        left, right = (_step({**still, **fields}, side) for side in (0, 1))
        return np.asarray(right @ np.linalg.inv(left))
    if ("R", None) in fields and ("T", None) in fields:
        return _step(fields, None)
    return None


def _step(fields: Fields, side: int | None) -> Matrix:
    return _motion(np.column_stack([_rotation(fields["R", side]), fields["T", side]]).ravel())


def _projections(fields: Fields) -> Both | None:
    if ("P", None) in fields:  # camera_info of one camera
        right = _projection(fields["P", None])
        if right[0, 3] == 0:
            raise UsageError(
                "the baseline is missing: this is the left camera, or one calibrated alone; give "
                "the file of the right camera, whose projection matrix has it, or both"
            )
        return right * [1, 1, 1, 0], right
    both = _both(fields, "P", _projection)
    if both is None and ("Q", None) in fields:
        # [X Y Z W] = Q [x y d 1]: Z = f, W = -d / Tx + (cx - cx') / Tx
        q = fields["Q", None].reshape(4, 4)
        focal_px, x_m, doffs_px = q[2, 3], -1 / q[3, 2], q[3, 3] / q[3, 2]
        left = np.eye(3, 4) * focal_px
        left[:, 2] = -q[0, 3], -q[1, 3], 1
        right = left + np.outer([1, 0, 0], [0, 0, doffs_px, focal_px * x_m])
        both = _checked(left, "Q"), _checked(right, "Q")
    if both is not None and abs(both[1][0, 0] / both[0][0, 0] - 1) > _FOCAL_ERROR:
        raise UsageError("P1 and P2 have different focal lengths")
    return both


def _projection(values: Matrix) -> Matrix:
    return _checked(values.reshape(3, 4), "P")


# --- what follows from it -----------------------------------------------------------------------


def _calibration(fields: Fields, image_shape: tuple[int, int] | None, name: str) -> Calibration:
    fisheye = _is_fisheye(fields)
    pair, notes = _pair(fields, fisheye), []
    x_m, y_m = pair.shift
    if abs(y_m) > abs(x_m):
        raise UsageError("one camera is above the other; only cameras side by side are supported")
    if x_m > 0:
        pair = pair.exchanged()
        notes.append(f"{name}: its first camera is to the right of its second one: exchanged")
    (width, height), guess = _size(fields, pair.matrices or pair.rectified, image_shape)
    notes += [f"{name} {guess}"] if guess else []
    rectification = None
    if pair.matrices and (pair.rotations or pair.transform is not None):
        if height is None:
            raise UsageError("the file does not record the height of its images; give image_shape")
        pair, rectification = _rectified(pair, pair.matrices, (height, width), fisheye)
        if pair.distortions is None:
            notes.append(f"{name} has no coefficients of distortion: taken as none")
    elif pair.rotations or np.any(pair.distortions or 0):
        notes.append(f"{name} cannot rectify raw images: it lacks K, D, R or T of one camera")
    left, right = pair.rectified
    baseline_m = _baseline(fields, pair, float(left[0, 0]))
    camera = CameraConfig(
        baseline_m=baseline_m or 1.0,
        focal_px=float(left[0, 0]),
        image_width_px=width,
        doffs_px=fields.get(("doffs", None), float(right[0, 2] - left[0, 2])),
        principal_px=(float(left[0, 2]), float(left[1, 2])),
        image_height_px=height,
    )
    return Calibration(camera, rectification, baseline_m is None, tuple(notes))


def _is_fisheye(fields: Fields) -> bool:
    """Return whether lenses are of cv2.fisheye; refuse models unknown to OpenCV."""
    models = {value for (name, _), value in fields.items() if name in ("model", "lens")}
    distorted = any(np.any(value) for (name, _), value in fields.items() if name == "D")
    for model in models:
        if _OTHER_CAMERAS.fullmatch(model) or (distorted and _OTHER_LENSES.fullmatch(model)):
            raise UsageError(f"the camera model {model} is not supported; pinhole and fisheye are")
    flags = {value for (name, _), value in fields.items() if name == "fisheye"}
    return bool(flags & {"1", "true"}) or any(map(_FISHEYES.fullmatch, models))


def _rectified(
    pair: _Pair, matrices: Both, shape: tuple[int, int], fisheye: bool
) -> tuple[_Pair, Rectification | None]:
    """Complete R1, R2, P1, P2; return None where they change nothing."""
    distortions = pair.distortions or (np.zeros(4), np.zeros(4))
    rotations, projections = pair.rotations, pair.projections
    if pair.transform is not None and not (rotations and projections):
        (k1, k2), (d1, d2) = matrices, distortions
        model = FISHEYE if fisheye else len(d1)
        # copies, as cv2.fisheye takes no part of a matrix
        turn, shift = pair.transform[:3, :3].copy(), pair.transform[:3, 3:].copy()
        rig = Rig(shape, model, (k1, d1), (k2, d2), turn, shift)
        r1, r2, p1, p2, _ = rig.rectification()
        rotations, projections = (r1, r2), projections or (p1, p2)
    if rotations is None or projections is None:
        return pair, None
    pair = replace(pair, rotations=rotations, projections=projections)
    left, right = (
        RawCamera(k, d, r, p[:, :3])
        for k, d, r, p in zip(matrices, distortions, rotations, projections, strict=True)
    )
    same = all(
        not each.distortion.any()
        and np.allclose(each.rotation, np.eye(3), atol=1e-6)
        and np.allclose(each.matrix, each.projection, atol=1e-3)
        for each in (left, right)
    )
    return pair, None if same and not fisheye else Rectification(left, right, shape, fisheye)


def _baseline(fields: Fields, pair: _Pair, focal_px: float) -> float | None:
    """Return the baseline [m], None where the files have none."""
    found = [abs(float(pair.shift[0]))]
    if pair.transform is not None:
        found.append(float(np.linalg.norm(pair.transform[:3, 3])))
    units = {"baseline": 1, "baseline_mm": 1e3, "baseline_cm": 1e2, "bf": focal_px}
    found += [abs(fields.get((name, None)) or 0) / unit for name, unit in units.items()]
    known = [each for each in found if each]
    if not known or fields.get(("scale", None)) == "relative":
        return None
    if max(known) > min(known) * (1 + _BASELINE_ERROR):
        raise UsageError(f"contradictory baselines of {min(known):g} and {max(known):g} m")
    return known[0]


def _size(
    fields: Fields, cameras: Both, image_shape: tuple[int, int] | None
) -> tuple[tuple[int, int | None], str]:
    """Return the size of the file's images, and a remark."""
    recorded = []
    for at, name in enumerate(("width", "height")):
        found = [(side, value) for (each, side), value in fields.items() if each == name]
        found += [(side, value[at]) for (each, side), value in fields.items() if each == "size"]
        sizes = {each for side, each in found if side is not None} or {each for _, each in found}
        if len(sizes) > 1 or not all(1 <= each <= _MOST_PX for each in sizes):
            words = " and ".join(f"{each:g}" for each in sorted(sizes))
            raise UsageError(f"the {name} of the images cannot be {words} px")
        recorded.append(round(sizes.pop()) if sizes else None)
    width, height = recorded
    if width is not None:
        if height is None and image_shape is not None:
            height = round(width * image_shape[0] / image_shape[1])
        return (width, height), ""
    if image_shape is None:
        raise UsageError("the file does not record the width of its images; give image_shape")
    return _guessed_size(cameras, image_shape)


def _guessed_size(cameras: Both, image_shape: tuple[int, int]) -> tuple[tuple[int, int], str]:
    """Return the size that the principal point suggests, and a remark."""
    height, width = image_shape
    sizes = np.mean([2 * each[[1, 0], 2] + 1 for each in cameras], axis=0) / image_shape
    if _misfit(sizes) <= _NO_RATIO_ERROR:
        return (width, height), ""
    (error, ratio), (next_error, _) = sorted((_misfit(each * sizes), each) for each in _RATIOS)[:2]
    if error <= min(_RATIO_ERROR, next_error / 2):
        size = round(width / ratio), round(height / ratio)
        return size, (
            f"records no image size; its principal point is near the middle of {size[0]}x{size[1]} "
            f"images: scaled to {width}x{height}"
        )
    if not ((sizes > 1).all() or (sizes < 1).all()):  # cropped or shifted, not resized
        return (width, height), ""
    return (width, height), (
        f"records no image size: taken as for {width}x{height} images, although its principal "
        f"point is the middle of {sizes[1] * width:.0f}x{sizes[0] * height:.0f}; metres are wrong "
        "if the images were resized"
    )


def _misfit(sizes: Matrix) -> float:
    return float(np.abs(sizes - 1).max())
