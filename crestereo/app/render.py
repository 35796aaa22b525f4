"""What a window shows and a picture file holds: the left picture beside its coloured depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crestereo.camera import CameraConfig
from crestereo.colormap import RangeSmoother, colorize, colorize_depth
from crestereo.geometry import disparity_to_depth
from crestereo.preprocess import resize_image
from crestereo.types import BGRImage, DepthMap, DisparityMap

WINDOW_SIZE_PX = (800, 1600)
"""Height and width a view is shrunk to fit in: drawing 24 megapixels would not answer keys."""


@dataclass(frozen=True)
class View:
    """Hold what a window shows.

    Parameters
    ----------
    picture : (h, w, 3) uint8
        The left picture, alone or with its depth to the right of it.
    note : str
        A word written on it.
    disparity : (H, W) float32, optional
        What the mouse reads [px], on the grid of the left picture as it was given.
    depth : (H, W) float32, optional
        The same place in metres, where there is a camera.
    """

    picture: BGRImage
    note: str = ""
    disparity: DisparityMap | None = None
    depth: DepthMap | None = None

    def describe(self, x: int, y: int) -> str:
        """Return the value under a pixel of `picture`, empty where there is none."""
        if self.disparity is None:
            return ""
        height, width = self.picture.shape[:2]
        if not (0 <= x < width and 0 <= y < height):
            return ""
        rows, columns = self.disparity.shape
        half = width // 2
        row = min(y * rows // height, rows - 1)
        column = min((x % half) * columns // half, columns - 1)
        value = self.disparity[row, column]
        place = f"({column}, {row})"
        if not np.isfinite(value):
            return f"{place} unknown"
        text = f"{place} disparity {value:.1f} px"
        depth = np.nan if self.depth is None else self.depth[row, column]
        return f"{text}, {depth:.2f} m" if np.isfinite(depth) else text


def side_by_side(left: BGRImage, colored: BGRImage) -> BGRImage:
    """Return the left picture and its coloured depth beside each other."""
    return np.hstack((left, colored))


def window_half(picture: BGRImage) -> BGRImage:
    """Return a picture that fits into half of a view, never enlarged."""
    height, width = picture.shape[:2]
    scale = min(WINDOW_SIZE_PX[0] / height, WINDOW_SIZE_PX[1] / 2 / width)
    if scale >= 1:
        return picture
    return resize_image(picture, (max(round(height * scale), 1), max(round(width * scale), 1)))


def waiting_view(left: BGRImage) -> View:
    """Return what is shown before the first result: the left picture, dark beside it."""
    half = window_half(left)
    return View(side_by_side(half, np.zeros_like(half)), note="estimating")


@dataclass(frozen=True)
class Painted:
    """Hold a map and its colours.

    Parameters
    ----------
    colored : (H, W, 3) uint8
        BGR, near bright, unknown black.
    depth : (H, W) float32 or None
        Metres, NaN where unknown; None without a camera.
    span : (float, float)
        What the darkest and the brightest colour stand for: disparity [px], or depth [m] where
        depth is coloured.
    """

    colored: BGRImage
    depth: DepthMap | None
    span: tuple[float, float]


class Painter:
    """Colour one map after another without flicker.

    Parameters
    ----------
    colormap : str
        A name of `colormap.COLORMAPS`.
    camera : CameraConfig, optional
        Where there is one, depth is known too.
    max_distance_m : float, optional
        Distance of the darkest colour [m]; where it and a camera are given the colours show depth,
        else disparity.
    """

    def __init__(
        self,
        colormap: str,
        camera: CameraConfig | None = None,
        max_distance_m: float | None = None,
    ) -> None:
        self._colormap = colormap
        self._camera = camera
        self._max_distance_m = max_distance_m
        self._range = RangeSmoother()  # the calm of a video is the one thing kept between frames

    def paint(self, disparity: DisparityMap) -> Painted:
        """Colour a disparity (H, W) [px]."""
        camera, farthest, colormap = self._camera, self._max_distance_m, self._colormap
        depth = None if camera is None else disparity_to_depth(disparity, camera)
        if depth is not None and farthest is not None:
            colored = colorize_depth(depth, max_distance_m=farthest, colormap=colormap)
            return Painted(colored, depth, (farthest, 0.0))
        self._range = self._range.updated(disparity)
        low, high = self._range.bounds
        return Painted(
            colorize(disparity, low=low, high=high, colormap=colormap), depth, (low, high)
        )
