"""Rasterization of a view: colour, z-buffer and surface indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.camera import Camera
from training.scenes.surfaces import Patch, Surface
from training.scenes.textures import Field, Image


@dataclass(frozen=True)
class View:
    """Rendered view.

    Parameters
    ----------
    colour : (H, W, 3) uint8
    inv : (H, W) float32
        Focal length / Z of the visible surface; 0 is infinitely far.
    owner : (H, W) int16
        Index of the visible surface, -1 where none.
    """

    colour: Image
    inv: Field
    owner: NDArray[np.int16]

    def paint(self, patch: Patch, index: int) -> None:
        """Blend a patch in where it is nearer.

        Depth and index change where it covers more than half of a pixel.
        """
        h, w = patch.inv.shape
        part = (slice(patch.y, patch.y + h), slice(patch.x, patch.x + w))
        alpha = patch.alpha * (patch.inv > self.inv[part])
        solid = alpha > 0.5
        self.colour[part] = cv2.blendLinear(patch.colour, self.colour[part], alpha, 1 - alpha)
        np.copyto(self.inv[part], patch.inv, where=solid)
        self.owner[part][solid] = index


def paint_view(camera: Camera, surfaces: Sequence[Surface]) -> View:
    """Render all surfaces, given far to near.

    The order is required to blend soft edges over the surfaces behind them.
    """
    shape = (camera.height, camera.width)
    view = View(
        np.zeros((*shape, 3), np.uint8),
        np.full(shape, -1, np.float32),
        np.full(shape, -1, np.int16),
    )
    for index, surface in enumerate(surfaces):
        patch = surface.render(camera)
        if patch is not None:
            view.paint(patch, index)
    np.maximum(view.inv, 0, out=view.inv)
    return view


def occlusion(
    disparity: Field, other: Field, direction: int, tolerance: float = 1.0
) -> NDArray[np.bool_]:
    """Compute the occlusion mask of a view.

    Parameters
    ----------
    disparity : (H, W) float32
        Ground truth of this view, px.
    other : (H, W) float32
        Ground truth of the other view, px.
    direction : int
        -1 if the other view is the right one (matches are at x - d), +1 if the left.
    tolerance : float
        Difference of disparity, px, above which the pixel there shows another point.

    Returns
    -------
    (H, W) bool
        True where the point is hidden in the other view or its match is outside of it.
    """
    width = disparity.shape[1]
    xs = np.arange(width, dtype=np.float32) + direction * disparity
    outside = (xs < -0.5) | (xs > width - 0.5)
    column = np.clip(np.rint(xs), 0, width - 1).astype(np.intp)
    there = np.take_along_axis(other, column, axis=1)
    return np.asarray(outside | (np.abs(there - disparity) > tolerance))
