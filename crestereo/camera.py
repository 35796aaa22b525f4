"""Stereo camera, rectified and raw."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.errors import UsageError
from crestereo.types import BGRImage, DisparityMap

MAX_FISHEYE_DEG = 89.0  # from the axis: a rectified image shows no more

Matrix = NDArray[Any]
Maps = tuple[NDArray[np.float32], NDArray[np.float32]]


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
        """Return the same camera for images `width_px` wide.

        Pixels are counted from the middle of the first one, so a centre moves by half a pixel less.
        """
        if width_px == self.image_width_px:
            return self
        scale = width_px / self.image_width_px
        centre, height = self.principal_px, self.image_height_px
        return CameraConfig(
            self.baseline_m,
            self.focal_px * scale,
            width_px,
            self.doffs_px * scale,
            centre and ((centre[0] + 0.5) * scale - 0.5, (centre[1] + 0.5) * scale - 0.5),
            height and round(height * scale),
        )


_LEAST_BASELINE_M, _MOST_BASELINE_M = 0.001, 5.0
_MOST_CM = 40.0  # a larger number is in millimetres
_LEAST_FOCAL, _MOST_FOCAL = 0.3, 10.0  # widths of the image: 118 and 6 degrees wide
_ASPECT_ERROR = 0.01
_FAR_OFF_CENTRE = 0.2  # share of the width


@dataclass(frozen=True, eq=False)
class RawCamera:
    """One camera before rectification, as OpenCV describes it."""

    matrix: Matrix  # K (3, 3), in pixels of the raw image
    distortion: Matrix  # D: 0, 4, 5, 8, 12 or 14 coefficients, or the 4 of a fisheye
    rotation: Matrix  # R1 or R2 (3, 3), from the raw to the rectified camera
    projection: Matrix  # K of the rectified camera, the first three columns of P1 or P2

    def __post_init__(self) -> None:
        for name in ("matrix", "distortion", "rotation", "projection"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))

    def moved(self, scale: float, left_px: float, top_px: float) -> RawCamera:
        """Return the camera of images that were scaled, then cropped."""
        half = (scale - 1) / 2  # pixels are counted from the middle of the first one
        move = np.array([[scale, 0, half - left_px], [0, scale, half - top_px], [0, 0, 1]])
        return replace(self, matrix=move @ self.matrix, projection=move @ self.projection)


@dataclass(frozen=True, eq=False)
class Rectification:
    """Maps from raw images to a rectified pair of their size."""

    left: RawCamera
    right: RawCamera
    shape: tuple[int, int]  # height and width of the images [px]
    fisheye: bool = False  # whether the coefficients are those of cv2.fisheye

    def apply(self, left: BGRImage, right: BGRImage) -> tuple[BGRImage, BGRImage]:
        """Return the rectified images (H, W, 3)."""
        first, second = (
            cv2.remap(image, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            for image, maps in zip((left, right), self.maps, strict=True)
        )
        return np.asarray(first, np.uint8), np.asarray(second, np.uint8)

    def restore(self, disparity: DisparityMap) -> DisparityMap:
        """Map a disparity of the rectified grid to the raw one.

        Its values stay those of the rectified pair. NaN where either image has no data.
        """
        columns = np.arange(self.shape[1], dtype=np.float32) - disparity
        inside = np.isfinite(columns) & (columns >= 0) & (columns <= self.shape[1] - 1)
        row = np.arange(self.shape[0])[:, None]
        seen = self._right_seen[row, np.where(inside, columns, 0).round().astype(np.intp)]
        known = np.where(inside & seen, disparity, np.float32(np.nan))
        remap: Any = cv2.remap  # its stubs lack maps of two channels
        restored = remap(
            known, self.pixels, None, cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=(math.nan,) * 4,
        )  # fmt: skip
        return np.asarray(restored, np.float32)

    @cached_property
    def pixels(self) -> NDArray[np.float32]:
        """Return rectified positions of the raw left pixels, (H, W, 2)."""
        height, width = self.shape
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=2, dtype=np.float64)
        camera = self.left
        points = self._lens.undistortPoints(
            grid.reshape(-1, 1, 2), camera.matrix, camera.distortion,
            R=camera.rotation, P=camera.projection,
        )  # fmt: skip
        pixels = np.asarray(points, np.float32).reshape(height, width, 2)
        if self.fisheye:
            steep = np.radians(MAX_FISHEYE_DEG) ** np.arange(1, 10, 2)
            most = float(steep @ [1, *camera.distortion])  # radius there, in focal lengths
            middle, focal = camera.matrix[:2, 2], camera.matrix[[0, 1], [0, 1]]
            pixels[np.linalg.norm((grid - middle) / focal, axis=2) > most] = -width  # outside
        return pixels

    @cached_property
    def maps(self) -> tuple[Maps, Maps]:
        left, right = (
            self._lens.initUndistortRectifyMap(
                each.matrix, each.distortion, each.rotation, each.projection, self.shape[::-1],
                cv2.CV_32FC1,
            )
            for each in (self.left, self.right)
        )  # fmt: skip
        return left, right

    @property
    def _lens(self) -> Any:
        return cv2.fisheye if self.fisheye else cv2

    @cached_property
    def _right_seen(self) -> NDArray[np.bool_]:
        """Return which pixels of the rectified right image have data."""
        (x, y), (height, width) = self.maps[1], self.shape
        return np.asarray((x > -1) & (x < width) & (y > -1) & (y < height))

    def __getstate__(self) -> dict[str, Any]:  # without the maps, which are large
        names = ("left", "right", "shape", "fisheye")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Calibration:
    """Calibration of a stereo camera.

    Parameters
    ----------
    camera : CameraConfig
        The rectified camera. Its baseline is 1 where the files have none.
    rectification : Rectification or None
        For raw images; None where the files describe rectified images only.
    relative : bool
        Whether the files have no baseline, so that depth is known up to a factor.
    notes : tuple of str
        Assumptions made when the files were read, a sentence each.
    """

    camera: CameraConfig
    rectification: Rectification | None = None
    relative: bool = False
    notes: tuple[str, ...] = ()

    def with_baseline(self, baseline_m: float) -> Calibration:
        """Return the calibration with another distance of the cameras [m]."""
        return replace(self, camera=replace(self.camera, baseline_m=baseline_m), relative=False)

    def fitted(self, shape: tuple[int, int]) -> Calibration:
        """Return the calibration for images (H, W), with notes of doubts.

        Images of the recorded aspect ratio were scaled; others were cut from the middle.
        """
        (height, width), camera, notes = shape, self.camera, self.notes
        recorded = camera.image_height_px or round(camera.image_width_px * height / width)
        scale, scale_y = width / camera.image_width_px, height / recorded
        cut_px = 0.0, 0.0
        if abs(scale_y / scale - 1) > _ASPECT_ERROR:
            scale = max(scale, scale_y)
            cut_px = (camera.image_width_px * scale - width) / 2, (recorded * scale - height) / 2
            what = "a part from the middle" if scale == 1 else f"cut after scaling by {scale:.3g}"
            notes = (*notes,
                f"the calibration is for {camera.image_width_px}x{recorded} px, the images have "
                f"{width}x{height} px, of another aspect ratio: taken as {what}, with "
                f"{cut_px[0]:.0f} px cropped at the left and {cut_px[1]:.0f} px at the top; metres "
                "are wrong if they were cropped or stretched otherwise",
            )  # fmt: skip
        maps = self.rectification
        if maps is not None:
            left, right = (each.moved(scale, *cut_px) for each in (maps.left, maps.right))
            maps = Rectification(left, right, shape, maps.fisheye)
        scaled = camera.scaled_to(round(camera.image_width_px * scale))
        centre = scaled.principal_px
        if centre is not None:
            centre = centre[0] - cut_px[0], centre[1] - cut_px[1]
        fitted = replace(scaled, image_width_px=width, image_height_px=height, principal_px=centre)
        notes = (*notes, *camera_doubts(fitted, relative=self.relative))
        return replace(self, camera=fitted, rectification=maps, notes=notes)


def camera_doubts(camera: CameraConfig, *, relative: bool = False) -> list[str]:
    """Return doubts about a camera, a sentence each."""
    width, baseline_m, focal_px = camera.image_width_px, camera.baseline_m, camera.focal_px
    doubts = []
    if not relative and not _LEAST_BASELINE_M <= baseline_m <= _MOST_BASELINE_M:
        unit, size = ("centimetres", 100) if baseline_m < _MOST_CM else ("millimetres", 1000)
        likely = f"; if the unit was {unit}, it is {baseline_m / size:g} m"
        doubts.append(
            f"a baseline of {baseline_m:g} m is doubtful: it must be in metres, and the squares of "
            f"a calibration board too{likely if baseline_m > 1 else ''}"
        )
    if not _LEAST_FOCAL <= focal_px / width <= _MOST_FOCAL:
        doubts.append(
            f"a focal length of {focal_px:g} px is doubtful for images {width} px "
            "wide: it must be in pixels of these images, not in millimetres"
        )
    if camera.principal_px is not None:
        height = camera.image_height_px or 2 * camera.principal_px[1] + 1
        right_px, down_px = (
            at - (side - 1) / 2
            for at, side in zip(camera.principal_px, (width, height), strict=True)
        )
        if max(abs(right_px) / width, abs(down_px) / height) > _FAR_OFF_CENTRE:
            doubts.append(
                "the principal point of the calibration is far from the middle of the images: it "
                "seems to be for another size, or the images were cropped, by "
                f"{abs(2 * right_px):.0f} px {'on the left' if right_px < 0 else 'on the right'} "
                f"and {abs(2 * down_px):.0f} px {'at the top' if down_px < 0 else 'at the bottom'}"
            )
    return doubts
