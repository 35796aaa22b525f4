"""Mip-mapped planes: floors, walls, ceilings, ground, backdrops."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.camera import Camera, Vector
from training.scenes.surfaces import Patch
from training.scenes.textures import Field, Image

LEVELS = 6


def mip_atlas(texture: Image) -> Image:
    """Stack a square texture (n, n, 3) and its mip levels.

    Returns
    -------
    (n + n/2 + ..., n, 3) uint8
    """
    n = texture.shape[0]
    levels = [texture]
    for _ in range(LEVELS - 1):
        side = levels[-1].shape[0] // 2
        levels.append(
            np.asarray(cv2.resize(levels[-1], (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        )
    atlas = np.zeros((sum(t.shape[0] for t in levels), n, 3), np.uint8)
    y = 0
    for level in levels:
        atlas[y : y + level.shape[0], : level.shape[0]] = level
        y += level.shape[0]
    return atlas


@dataclass(frozen=True)
class Wall:
    """Plane ``normal . P = offset`` with an infinite mirrored texture.

    The offset is positive: the left camera is on the inner side.

    Parameters
    ----------
    normal : (3,) float
        Unit length, pointing away from the camera.
    offset : float
    right, down : (3,) float
        Texture directions in the plane, unit length.
    texel : float
        Side of a texel in world units.
    atlas : uint8
        From `mip_atlas`.
    shift : (float, float)
        Texture offset, texels.
    """

    normal: Vector
    offset: float
    right: Vector
    down: Vector
    texel: float
    atlas: Image
    shift: tuple[float, float] = field(default=(0.0, 0.0))

    def colour(self, camera: Camera, inv: Field, x0: int, y0: int) -> Image:
        """Return the colour over a box of inverse depths (trilinear filtering)."""
        f = camera.focal
        depth = np.float32(f) / np.maximum(inv, np.float32(1e-4))
        u = self._texture_axis(camera, self.right, depth, x0, y0) + np.float32(self.shift[0])
        v = self._texture_axis(camera, self.down, depth, x0, y0) + np.float32(self.shift[1])
        # A pixel covers Z / f across and about Z^2 / (f * offset) along a receding plane. The level
        # depends on Z only, so that it is the same for a point in both views.
        across = np.log2(depth * np.float32(1 / (f * self.texel)))
        slant = np.log2(np.maximum(depth / np.float32(self.offset), 1))
        level = np.clip(across + np.float32(0.75) * slant, 0, LEVELS - 1.01)
        whole = np.floor(level)
        fine = self._lookup(u, v, whole)
        coarse = self._lookup(u, v, whole + 1)
        part = level - whole
        return np.asarray(cv2.blendLinear(coarse, fine, part, 1 - part), np.uint8)

    def _texture_axis(self, camera: Camera, axis: Vector, depth: Field, x0: int, y0: int) -> Field:
        h, w = depth.shape
        f, scale = camera.focal, 1 / self.texel
        xs = (np.arange(x0, x0 + w) - camera.cx) * axis[0] / f * scale
        ys = (np.arange(y0, y0 + h) - camera.cy)[:, None] * axis[1] / f * scale + axis[2] * scale
        ray = np.add(xs, ys).astype(np.float32)
        return np.asarray(ray * depth + np.float32(camera.position * axis[0] * scale))

    def _lookup(self, u: Field, v: Field, level: Field) -> Image:
        n = self.atlas.shape[1]
        scale = np.exp2(-level)
        side = n * scale
        top = 2 * n * (1 - scale)
        map_x = np.clip(_mirrored(u, n) * scale - np.float32(0.5), 0, side - 1)
        map_y = np.clip(_mirrored(v, n) * scale - np.float32(0.5), 0, side - 1) + top
        return np.asarray(
            cv2.remap(
                self.atlas,
                map_x.astype(np.float32),
                map_y.astype(np.float32),
                interpolation=cv2.INTER_LINEAR,
            ),
            np.uint8,
        )


def _mirrored(u: Field, period: int) -> Field:
    """Fold a coordinate into 0..period by reflection."""
    wrapped = u - np.float32(2 * period) * np.floor(u * np.float32(0.5 / period))
    return np.asarray(np.abs(wrapped - np.float32(period)), np.float32)


@dataclass(frozen=True)
class Shell:
    """Inside of a convex room; each pixel shows the nearest wall.

    Parameters
    ----------
    walls : tuple of Wall
    sky : (H, W', 3) uint8 or None
        Infinitely far background where there is no wall.
    """

    walls: tuple[Wall, ...]
    sky: Image | None = None

    def render(self, camera: Camera) -> Patch:
        """Render the whole image."""
        shape = (camera.height, camera.width)
        nearest = np.full(shape, 0 if self.sky is not None else -1, np.float32)
        which = np.full(shape, -1, np.int8)
        for index, wall in enumerate(self.walls):
            a, b, c = camera.inverse_depth_coefficients(wall.normal, wall.offset)
            xs = (np.arange(camera.width) * a).astype(np.float32)
            ys = (np.arange(camera.height)[:, None] * b + c).astype(np.float32)
            inv = xs + ys
            closer = inv > nearest
            np.copyto(nearest, inv, where=closer)
            which[closer] = index
        colour = np.zeros((*shape, 3), np.uint8)
        if self.sky is not None:
            colour[:] = self.sky[: camera.height, : camera.width]
        for index, wall in enumerate(self.walls):
            mask = (which == index).view(np.uint8)
            x, y, w, h = cv2.boundingRect(mask)
            if w == 0 or h == 0:
                continue
            part = (slice(y, y + h), slice(x, x + w))
            painted = wall.colour(camera, np.maximum(nearest[part], 1e-4), x, y)
            cv2.copyTo(painted, mask[part], colour[part])
        return Patch(0, 0, colour, np.ones(shape, np.float32), np.maximum(nearest, 0))


def far_plane(depth: float, texel: float, texture: Image) -> Wall:
    """Return a fronto-parallel backdrop at a depth."""
    unit: NDArray[np.float64] = np.eye(3)
    return Wall(unit[2], depth, unit[0], unit[1], texel, mip_atlas(texture))
