"""Surfaces: each can say, for either camera, which pixels it covers, in which colour and how near.

``render(camera)`` gives a `Patch` or None. Everything random (texture, mask) is fixed when the surface is made, so both
views and all frames of a clip see the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera import Camera, Vector, cross
from .textures import Field, Image

NEAR = 1e-3


@dataclass(frozen=True)
class Patch:
    """Hold what one surface shows in one view, over a box whose upper left pixel is (x, y).

    Parameters
    ----------
    x, y : int
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
    """Be anything that can be drawn into a view."""

    def render(self, camera: Camera) -> Patch | None:
        """Draw what the camera sees of this surface, None where nothing."""


def clip_box(
    camera: Camera, low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[int, int, int, int] | None:
    """Clip a box of pixels [x, y] to the picture: (x0, y0, x1, y1), end exclusive, or None if empty."""
    x0, y0 = max(int(np.floor(low[0])), 0), max(int(np.floor(low[1])), 0)
    x1 = min(int(np.ceil(high[0])) + 1, camera.width)
    y1 = min(int(np.ceil(high[1])) + 1, camera.height)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _linear(a: float, b: float, c: float, box: tuple[int, int, int, int]) -> Field:
    x0, y0, x1, y1 = box
    xs = np.arange(x0, x1, dtype=np.float32) * np.float32(a)
    ys = np.arange(y0, y1, dtype=np.float32)[:, None] * np.float32(b) + np.float32(c)
    return np.add(xs, ys, dtype=np.float32)


@dataclass(frozen=True)
class Card:
    """A flat textured parallelogram, its outline and holes drawn in the texture's alpha.

    Parameters
    ----------
    corner, right, down : (3,) float
        Upper left corner and the two edge vectors, camera coordinates of the left eye.
    texture : (h + 2, w + 2, 4) uint8
        BGR and alpha with a ring of one texel of alpha 0 around, see `ringed`.
    solid : bool
        A face of a body: grown by half a texel, so that no seam opens towards its neighbour face, and drawn only from
        its outer side.
    """

    corner: Vector
    right: Vector
    down: Vector
    texture: Image
    solid: bool = False

    def render(self, camera: Camera) -> Patch | None:
        """Draw the parallelogram: a homography of its texture."""
        eye = np.array([camera.eye, 0, 0])
        normal = cross(self.right, self.down)
        offset = float(normal @ (self.corner - eye))
        if self.solid and offset <= 0:
            return None
        corners = self.corner + np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) @ np.stack(
            [self.right, self.down]
        )
        if corners[:, 2].min() < NEAR or abs(offset) < 1e-9:
            return None
        pixels = camera.project(corners)
        box = clip_box(camera, pixels.min(axis=0) - 1, pixels.max(axis=0) + 1)
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
        inv = _linear(a, b, c, box)
        colour = cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR)
        return Patch(x0, y0, np.asarray(colour, np.uint8), alpha, inv)

    def _homography(self, camera: Camera, x0: int, y0: int) -> NDArray[np.float64]:
        grow = 0.5 if self.solid else 0.0
        h, w = self.texture.shape[0] - 2 - 2 * grow, self.texture.shape[1] - 2 - 2 * grow
        step_x, step_y = self.right / w, self.down / h
        first = self.corner - np.array([camera.eye, 0, 0]) - (0.5 + grow) * (step_x + step_y)
        camera_matrix = np.array(
            [[camera.focal, 0, camera.cx - x0], [0, camera.focal, camera.cy - y0], [0, 0, 1]]
        )
        return camera_matrix @ np.stack([step_x, step_y, first], axis=1)


def ringed(colour: Image, mask: NDArray[np.uint8] | None = None) -> Image:
    """Join colour (h, w, 3) and mask (h, w) to the BGRA texture of a `Card`, with its ring of alpha 0."""
    h, w = colour.shape[:2]
    padded = cv2.copyMakeBorder(colour, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    alpha = np.zeros((h + 2, w + 2), np.uint8)
    alpha[1:-1, 1:-1] = 255 if mask is None else mask
    return np.asarray(cv2.merge([padded, alpha]), np.uint8)


@dataclass(frozen=True)
class Quadric:
    """An ellipsoid or a finite cylinder (open like a cup, or closed).

    Parameters
    ----------
    centre : (3,) float
    axes : (3, 3) float
        Rows: orthonormal local directions; the cylinder's axis is the second.
    radii : (3,) float
        Half-axes; for a cylinder the second is half its height.
    texture : (h, w, 3) uint8
        Laid over the front as seen along the third local direction.
    light : (3,) float
        Direction to the light, unit length.
    kind : str
        ``"ellipsoid"``, ``"cylinder"`` or ``"cup"``.
    ambient : float
        Brightness 0..1 of the side turned away from the light.
    gloss : float
        Strength of the highlight, which moves over the surface from one eye to the other.
    polish : float
        Exponent of the highlight.
    """

    centre: Vector
    axes: NDArray[np.float64]
    radii: Vector
    texture: Image
    light: Vector
    kind: str = "ellipsoid"
    ambient: float = 0.45
    gloss: float = 0.0
    polish: float = 20.0

    def render(self, camera: Camera) -> Patch | None:
        """Draw by intersecting the ray of every pixel in the bounding box."""
        signs = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)])
        corners = self.centre + (signs * self.radii) @ self.axes
        if corners[:, 2].min() < NEAR:
            return None
        pixels = camera.project(corners)
        box = clip_box(camera, pixels.min(axis=0) - 1, pixels.max(axis=0) + 1)
        if box is None:
            return None
        to_local = self.axes / self.radii[:, None]
        origin = to_local @ (np.array([camera.eye, 0, 0]) - self.centre)
        rays = self._rays(camera, to_local, box)
        hit, depth, alpha = (
            self._hit_ellipsoid(origin, rays)
            if self.kind == "ellipsoid"
            else self._hit_cylinder(origin, rays)
        )
        if not alpha.any():
            return None
        colour = self._shade(camera, hit)
        inv = np.where(alpha > 0, np.float32(camera.focal) / np.maximum(depth, NEAR), 0)
        return Patch(box[0], box[1], colour, alpha, inv.astype(np.float32))

    @staticmethod
    def _rays(
        camera: Camera, to_local: NDArray[np.float64], box: tuple[int, int, int, int]
    ) -> tuple[Field, Field, Field]:
        f = camera.focal
        rows = [(r[0] / f, r[1] / f, r[2]) for r in to_local]
        made = [_linear(a, b, c - a * camera.cx - b * camera.cy, box) for a, b, c in rows]
        return made[0], made[1], made[2]

    @staticmethod
    def _coverage(discriminant: Field) -> Field:
        """Turn the discriminant (negative outside) into coverage with an edge about one pixel wide."""
        gx = np.abs(np.diff(discriminant, axis=1, append=discriminant[:, -1:]))
        gy = np.abs(np.diff(discriminant, axis=0, append=discriminant[-1:]))
        return np.clip(0.5 + discriminant / (gx + gy + 1e-9), 0, 1).astype(np.float32)

    def _hit_ellipsoid(
        self, q: Vector, w: tuple[Field, Field, Field]
    ) -> tuple[tuple[Field, Field, Field], Field, Field]:
        a = w[0] * w[0] + w[1] * w[1] + w[2] * w[2]
        b = q[0].astype(np.float32) * w[0] + np.float32(q[1]) * w[1] + np.float32(q[2]) * w[2]
        disc = b * b - a * np.float32(q @ q - 1)
        depth = (-b - np.sqrt(np.maximum(disc, 0))) / a
        x, y, z = (np.float32(q[i]) + depth * w[i] for i in range(3))
        return (x, y, z), depth, self._coverage(disc)

    def _hit_cylinder(
        self, q: Vector, w: tuple[Field, Field, Field]
    ) -> tuple[tuple[Field, Field, Field], Field, Field]:
        qx, qy, qz = (np.float32(v) for v in q)
        a = np.maximum(w[0] * w[0] + w[2] * w[2], 1e-12)
        b = qx * w[0] + qz * w[2]
        disc = b * b - a * np.float32(qx * qx + qz * qz - 1)
        root = np.sqrt(np.maximum(disc, 0))
        depth = (-b - root) / a
        height = qy + depth * w[1]
        inside = np.abs(height) <= 1
        if self.kind == "cup":
            back = (-b + root) / a
            behind = (~inside) & (np.abs(qy + back * w[1]) <= 1)
            depth = np.where(behind, back, depth)
        else:
            lid = np.float32(np.sign(q[1])) if abs(q[1]) > 1 else np.float32(1)
            flat = (lid - qy) / np.where(np.abs(w[1]) < 1e-9, np.float32(1e-9), w[1])
            behind = (
                (~inside)
                & (flat > 0)
                & ((qx + flat * w[0]) ** 2 + (qz + flat * w[2]) ** 2 <= 1)
                & (abs(q[1]) > 1)
            )
            depth = np.where(behind, flat, depth)
        alpha = self._coverage(disc) * (inside | behind) * (depth > 0)
        x, y, z = qx + depth * w[0], qy + depth * w[1], qz + depth * w[2]
        return (x, y, z), depth, alpha.astype(np.float32)

    def _shade(self, camera: Camera, p: tuple[Field, Field, Field]) -> Image:
        h, w = self.texture.shape[:2]
        map_x = np.clip((p[0] * np.float32(0.5) + np.float32(0.5)) * (w - 1), 0, w - 1)
        map_y = np.clip((p[1] * np.float32(0.5) + np.float32(0.5)) * (h - 1), 0, h - 1)
        colour = cv2.remap(self.texture, map_x, map_y, interpolation=cv2.INTER_LINEAR)
        # The outer normal in local directions is p / radii (without the axial part on a cylinder's side).
        normal = [p[i] / np.float32(self.radii[i]) for i in (0, 1, 2)]
        if self.kind != "ellipsoid":
            normal[1] = np.zeros_like(p[1])
        length = np.sqrt(sum(n * n for n in normal)) + np.float32(1e-9)
        shade = self.ambient + (1 - self.ambient) * self._cosine(normal, length, self.light)
        if self.gloss:
            towards = np.array([camera.eye, 0, 0]) - self.centre
            half = self.light + towards / np.linalg.norm(towards)
            half /= max(float(np.linalg.norm(half)), 1e-9)
            shade = shade + self.gloss * self._cosine(normal, length, half) ** np.float32(
                self.polish
            )
        grey = cv2.merge([np.asarray(shade, np.float32)] * 3)
        return np.asarray(cv2.multiply(colour, grey, dtype=cv2.CV_8U), np.uint8)

    def _cosine(self, normal: list[Field], length: Field, direction: Vector) -> Field:
        local = (self.axes @ direction).astype(np.float32)
        dot = local[0] * normal[0] + local[1] * normal[1] + local[2] * normal[2]
        return np.asarray(np.clip(dot / length, 0, 1), np.float32)


@dataclass(frozen=True)
class Relief:
    """A smooth surface given by its inverse depth on the left picture: terrain, cloth, a crumpled backdrop.

    The right view solves ``x_left = x_right + baseline * inv(x_left)`` by fixed-point iteration, which converges because
    the maker keeps ``baseline * |d inv / dx|`` below 0.8.

    Parameters
    ----------
    x, y : int
        Left upper pixel of the field in the left picture (may lie outside of it).
    colour : (h, w, 3) uint8
    mask : (h, w) uint8
    inv : (h, w) float32
    """

    x: int
    y: int
    colour: Image
    mask: NDArray[np.uint8]
    inv: Field
    rounds: int = field(default=7)

    def render(self, camera: Camera) -> Patch | None:
        """Draw the field: a copy in the left view, a solved warp in the right one."""
        h, w = self.inv.shape
        moves = (-camera.eye * float(self.inv.max()), -camera.eye * float(self.inv.min()))
        low = np.array([self.x + moves[0], self.y])
        high = np.array([self.x + w - 2 + moves[1], self.y + h - 2])
        box = clip_box(camera, low, high)
        if box is None:
            return None
        x0, y0, x1, y1 = box
        rows = slice(y0 - self.y, y1 - self.y)
        if camera.eye == 0:
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
        start = np.broadcast_to(np.arange(x0, x1, dtype=np.float32) - np.float32(self.x), shape)
        map_y = np.broadcast_to(np.arange(shape[0], dtype=np.float32)[:, None], shape).copy()
        inv = np.full(shape, np.float32(self.inv.mean()))
        for _ in range(self.rounds):
            map_x = start + np.float32(camera.eye) * inv
            inv = cv2.remap(
                field_inv,
                map_x,
                map_y,
                interpolation=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        map_x = start + np.float32(camera.eye) * inv
        colour = cv2.remap(
            np.ascontiguousarray(self.colour[rows]), map_x, map_y,
            interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        alpha = cv2.remap(
            np.ascontiguousarray(self.mask[rows]), map_x, map_y,
            interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0,),
        )  # fmt: skip
        return Patch(
            x0, y0, np.asarray(colour, np.uint8), alpha.astype(np.float32) / np.float32(255), inv
        )
