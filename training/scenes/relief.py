"""Smooth uneven surfaces such as terrain, cloth and cushions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.camera import Camera
from training.scenes.surfaces import Patch, clip_box
from training.scenes.textures import Field, Image


@dataclass(frozen=True)
class Relief:
    """Smooth surface given by its inverse depth on the left image.

    The right view inverts ``x_right = x_left - baseline * inv(x_left)`` row by row, which is
    monotonic because `training.scenes.kit.limit_slope` keeps ``baseline * |d inv / dx|`` below 1.

    Parameters
    ----------
    x, y : int
        Upper left pixel of the field in the left image (may be outside of it).
    colour : (h, w, 3) uint8
    mask : (h, w) uint8
    inv : (h, w) float32
    """

    x: int
    y: int
    colour: Image
    mask: NDArray[np.uint8]
    inv: Field

    def render(self, camera: Camera) -> Patch | None:
        """Render the field: copied (left view) or warped (right view)."""
        h, w = self.inv.shape
        moves = (-camera.position * float(self.inv.max()), -camera.position * float(self.inv.min()))
        low = (self.x + moves[0], self.y)
        high = (self.x + w - 2 + moves[1], self.y + h - 2)
        box = clip_box(camera, low, high)
        if box is None:
            return None
        x0, y0, x1, y1 = box
        rows = slice(y0 - self.y, y1 - self.y)
        if camera.position == 0:
            part = (rows, slice(x0 - self.x, x1 - self.x))
            alpha = self.mask[part].astype(np.float32) * np.float32(1 / 255)
            return Patch(
                x0, y0, np.ascontiguousarray(self.colour[part]), alpha, self.inv[part].copy()
            )
        return self._render_moved(camera, box, rows)

    def _render_moved(
        self, camera: Camera, box: tuple[int, int, int, int], rows: slice
    ) -> Patch | None:
        x0, y0, x1, y1 = box
        field_inv = np.ascontiguousarray(self.inv[rows])
        shape = (y1 - y0, x1 - x0)
        columns = np.arange(field_inv.shape[1], dtype=np.float64)
        wanted = np.arange(x0, x1, dtype=np.float64) - self.x
        moved = columns - camera.position * field_inv
        map_x = np.empty(shape, np.float32)
        for row in range(shape[0]):
            map_x[row] = np.interp(wanted, moved[row], columns)
        map_y = np.broadcast_to(np.arange(shape[0], dtype=np.float32)[:, None], shape).copy()
        inv = np.asarray(
            cv2.remap(field_inv, map_x, map_y, interpolation=cv2.INTER_LINEAR), np.float32
        )
        colour = cv2.remap(
            np.ascontiguousarray(self.colour[rows]), map_x, map_y,
            interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        alpha = cv2.remap(
            np.ascontiguousarray(self.mask[rows]), map_x, map_y,
            interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0,),
        )  # fmt: skip
        # Outside of the field the inversion repeats the last column, which is masked out.
        beyond = (wanted < moved[:, :1]) | (wanted > moved[:, -1:])
        alpha = np.where(beyond, np.float32(0), np.asarray(alpha, np.float32) / np.float32(255))
        return Patch(x0, y0, np.asarray(colour, np.uint8), alpha, inv)
