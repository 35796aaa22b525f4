"""Draw the left image and its coloured depth side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.camera import CameraConfig
from crestereo.colormap import RangeSmoother, colorize, colorize_depth
from crestereo.geometry import disparity_to_depth, fill_from_background
from crestereo.preprocess import resize_image
from crestereo.types import BGRImage, DepthMap, DisparityMap, StereoPair

WINDOW_SIZE_PX = (800, 1600)
"""Height and width a view fits into: drawing 24 megapixels would delay the keys."""

READABLE_WIDTH_PX = 480
"""Width to which half of a view is enlarged, by 4 at most."""

ASSUMED_BASELINE_M, ASSUMED_FOV_DEG = 0.065, 70.0
"""Camera assumed where `max_distance` is set without one: a phone at the usual stereo baseline."""

UNKNOWN_GREY = 96
HATCHES = 160
"""Stripes over the width of a map, wide enough for the window to keep them."""


@dataclass(frozen=True)
class Legend:
    """Colour bar of a view: values of its near and far end."""

    colormap: str
    near: float
    far: float
    unit: str


@dataclass(frozen=True)
class View:
    """Content of the window."""

    image: BGRImage  # left image and its coloured depth side by side
    note: str = ""  # a word shown with it
    disparity: DisparityMap | None = None  # shown for the mouse, on the grid of the left image
    depth: DepthMap | None = None  # the same in metres, where there is a camera
    legend: Legend | None = None
    taken_s: float | None = None  # when a live frame was read, by `time.monotonic`
    pair: StereoPair | None = None  # views of the frame of a video, in full size
    length_s: float | None = None  # of the recording in which the frame is

    def describe(self, x: int, y: int) -> str:
        """Return the value under a pixel, empty where there is none."""
        height, width = self.image.shape[:2]
        if self.disparity is None or not (0 <= x < width and 0 <= y < height):
            return ""
        rows, columns = self.disparity.shape
        half = width // 2
        row = min(y * rows // height, rows - 1)
        column = min((x % half) * columns // half, columns - 1)
        value = self.disparity[row, column]
        if not np.isfinite(value):
            return f"({column}, {row}) unknown"
        text = f"({column}, {row}) disparity {value:.1f} px"
        depth = np.nan if self.depth is None else self.depth[row, column]
        return f"{text}, {depth:.2f} m" if np.isfinite(depth) else text


@dataclass(frozen=True)
class Painted:
    """A coloured map."""

    colored: BGRImage  # near bright; guesses hatched, unknown grey
    depth: DepthMap | None  # None without a camera
    legend: Legend


class Painter:
    """Colours of one map after another, without flicker.

    A camera adds metres. `max_distance_m` is the far end of the colours, by default that of the
    scene. `guesses_hatched` marks what only one camera sees.
    """

    def __init__(
        self,
        colormap: str,
        camera: CameraConfig | None = None,
        max_distance_m: float | None = None,
        *,
        guesses_hatched: bool = True,
    ) -> None:
        self._guesses_hatched = guesses_hatched
        self._colormap = colormap
        self._camera = camera
        self._max_distance_m = max_distance_m
        self.colors = RangeSmoother()  # the only state between frames

    def paint(self, disparity: DisparityMap) -> Painted:
        """Colour a disparity (H, W) [px].

        Unknown pixels, seen by one camera only, take the colour of the background next to them,
        hatched; rows without any known pixel are grey.
        """
        depth = None if self._camera is None else disparity_to_depth(disparity, self._camera)
        known = np.isfinite(disparity)
        filled = disparity if known.all() else fill_from_background(disparity)
        colored, legend = self._colored(disparity, filled)
        if self._guesses_hatched and not known.all():
            colored = hatched(colored, ~known)
            colored[~known.any(axis=1)] = UNKNOWN_GREY
        return Painted(colored, depth, legend)

    def _colored(self, disparity: DisparityMap, filled: DisparityMap) -> tuple[BGRImage, Legend]:
        colormap, far_m = self._colormap, self._max_distance_m
        if far_m is not None:
            camera = self._camera or assumed_camera(disparity.shape[1])
            depth = disparity_to_depth(filled, camera)
            unit = "m" if self._camera is not None else ""
            legend = Legend(colormap, 0.0, far_m, unit)
            return colorize_depth(depth, max_distance_m=far_m, colormap=colormap), legend
        self.colors = self.colors.updated(disparity)
        low, high = self.colors.bounds
        legend = Legend(colormap, high, low, "px")
        if self._camera is not None:
            camera = self._camera.scaled_to(disparity.shape[1])
            legend = Legend(colormap, _depth_m(high, camera), _depth_m(low, camera), "m")
        return colorize(filled, low=low, high=high, colormap=colormap), legend


def assumed_camera(width_px: int) -> CameraConfig:
    """Return the camera assumed for images of a width."""
    focal_px = width_px / 2 / math.tan(math.radians(ASSUMED_FOV_DEG) / 2)
    return CameraConfig(ASSUMED_BASELINE_M, focal_px, width_px)


def _depth_m(disparity_px: float, camera: CameraConfig) -> float:
    shifted_px = disparity_px + camera.doffs_px
    return camera.focal_px * camera.baseline_m / shifted_px if shifted_px > 0 else math.inf


def hatched(image: BGRImage, where: NDArray[np.bool_]) -> BGRImage:
    """Return an image with diagonal stripes that contrast with it."""
    height, width = where.shape
    period = max(round(width / HATCHES), 4)
    stripes = np.arange(height + width - 1) % period < period // 2
    striped = where & np.lib.stride_tricks.sliding_window_view(stripes, width)  # diagonal
    result: BGRImage = image.copy()
    colors = result[striped]
    towards_white = colors.max(axis=1, keepdims=True, initial=0) < 128
    result[striped] = colors // 2 + np.where(towards_white, np.uint8(127), np.uint8(0))
    return result


def side_by_side(left: BGRImage, colored: BGRImage) -> BGRImage:
    """Return the left image and its coloured depth in one."""
    return np.hstack((left, colored))


def video_frame(view: str, left: BGRImage, colored: BGRImage) -> BGRImage:
    """Return the frame of a video for a setting `view`."""
    if view == "depth":
        return colored
    if view == "overlay":
        return np.asarray(cv2.addWeighted(left, 0.5, colored, 0.5, 0.0), np.uint8)
    return side_by_side(left, colored)


def window_half(image: BGRImage) -> BGRImage:
    """Return an image scaled to fit half of a view."""
    height, width = image.shape[:2]
    scale = min(WINDOW_SIZE_PX[0] / height, WINDOW_SIZE_PX[1] / 2 / width)
    scale = min(scale, max(1.0, min(READABLE_WIDTH_PX / width, 4.0)))
    shape = max(round(height * scale), 1), max(round(width * scale), 1)
    return image if shape == (height, width) else resize_image(image, shape)


def waiting_view(left: BGRImage) -> View:
    """Return the view before the first result."""
    half = window_half(left)
    return View(side_by_side(half, np.full_like(half, UNKNOWN_GREY)), note="estimating")


def result_view(left: BGRImage, disparity: DisparityMap, painted: Painted) -> View:
    """Return the view of a result."""
    halves = window_half(left), window_half(painted.colored)
    note = "relative depth" if painted.depth is None else ""
    return View(side_by_side(*halves), note, disparity, painted.depth, painted.legend)
