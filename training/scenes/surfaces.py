"""Surfaces: interface, rendered patches, and flat cards.

``render(camera)`` returns a `Patch` or None. Random properties (texture, mask) are drawn when a
surface is created, so that they are equal in both views and in all frames of a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.camera import Camera, Vector, cross
from training.scenes.textures import Field, Image

NEAR = 1e-3


@dataclass(frozen=True)
class Patch:
    """Rendering of one surface in one view.

    Parameters
    ----------
    x, y : int
        Upper left pixel.
    colour : (h, w, 3) uint8
    alpha : (h, w) float32
        Coverage 0..1.
    inv : (h, w) float32
        Focal length / Z [px per unit of baseline].
    """

    x: int
    y: int
    colour: Image
    alpha: Field
    inv: Field


class Surface(Protocol):
    """Interface of surfaces."""

    def render(self, camera: Camera) -> Patch | None:
        """Render the surface, None if it is not visible."""


def clip_box(
    camera: Camera, low: Sequence[float], high: Sequence[float]
) -> tuple[int, int, int, int] | None:
    """Clip a box [x, y] to the image.

    Returns
    -------
    (x0, y0, x1, y1) or None
        End exclusive; None if empty.
    """
    x0, y0 = max(floor(low[0]), 0), max(floor(low[1]), 0)
    x1 = min(ceil(high[0]) + 1, camera.width)
    y1 = min(ceil(high[1]) + 1, camera.height)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def linear_field(a: float, b: float, c: float, box: tuple[int, int, int, int]) -> Field:
    """Return a linear function of x and y over a box.

    a x + b y + c, (h, w) float32.
    """
    x0, y0, x1, y1 = box
    xs = np.arange(x0, x1, dtype=np.float32) * np.float32(a)
    ys = np.arange(y0, y1, dtype=np.float32)[:, None] * np.float32(b) + np.float32(c)
    return np.asarray(np.add(xs, ys, dtype=np.float32))


@dataclass(frozen=True)
class Card:
    """Flat textured parallelogram; alpha defines outline and holes.

    Parameters
    ----------
    corner, right, down : (3,) float
        Upper left corner and the two edge vectors, coordinates of the left camera.
    texture : (h + 2, w + 2, 4) uint8
        BGR and alpha with a border of one texel of alpha 0, see `ringed`.
    solid : bool
        Face of a body: enlarged by half a texel to avoid seams between faces, and rendered only
        from its outer side.
    """

    corner: Vector
    right: Vector
    down: Vector
    texture: Image
    solid: bool = False

    def render(self, camera: Camera) -> Patch | None:
        """Render the parallelogram by a homography of its texture."""
        position = np.array([camera.position, 0, 0])
        normal = cross(self.right, self.down)
        offset = float(normal @ (self.corner - position))
        if self.solid and offset <= 0:
            return None
        pixels = camera.outline(self.corner, self.right, self.down, NEAR)
        if pixels is None or abs(offset) < 1e-9:
            return None
        xs, ys = [x for x, _ in pixels], [y for _, y in pixels]
        box = clip_box(camera, (min(xs) - 1, min(ys) - 1), (max(xs) + 1, max(ys) + 1))
        if box is None:
            return None
        x0, y0, x1, y1 = box
        to_view = self._homography(camera, x0, y0)
        warped = cv2.warpPerspective(
            self.texture,
            to_view,
            (x1 - x0, y1 - y0),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        a, b, c = camera.inverse_depth_coefficients(normal, float(normal @ self.corner))
        alpha = cv2.extractChannel(warped, 3).astype(np.float32) * np.float32(1 / 255)
        inv = linear_field(a, b, c, box)
        colour = cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR)
        return Patch(x0, y0, np.asarray(colour, np.uint8), alpha, inv)

    def _homography(self, camera: Camera, x0: int, y0: int) -> NDArray[np.float64]:
        grow = 0.5 if self.solid else 0.0
        h, w = self.texture.shape[0] - 2 - 2 * grow, self.texture.shape[1] - 2 - 2 * grow
        step_x, step_y = self.right / w, self.down / h
        first = self.corner - np.array([camera.position, 0, 0]) - (0.5 + grow) * (step_x + step_y)
        camera_matrix = np.array(
            [[camera.focal, 0, camera.cx - x0], [0, camera.focal, camera.cy - y0], [0, 0, 1]]
        )
        return np.asarray(camera_matrix @ np.array([step_x, step_y, first]).T)


def ringed(colour: Image, mask: NDArray[np.uint8] | None = None) -> Image:
    """Return the texture of a `Card` from colour and mask.

    Parameters
    ----------
    colour : (h, w, 3) uint8
    mask : (h, w) uint8, optional
        Alpha; default 255.

    Returns
    -------
    (h + 2, w + 2, 4) uint8
        BGR and alpha, with a border of alpha 0.
    """
    h, w = colour.shape[:2]
    padded = cv2.copyMakeBorder(colour, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    alpha = np.zeros((h + 2, w + 2), np.uint8)
    alpha[1:-1, 1:-1] = 255 if mask is None else mask
    return np.asarray(cv2.merge([padded, alpha]), np.uint8)
