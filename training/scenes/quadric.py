"""Ray-traced round bodies: ellipsoids, cylinders and cups."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.camera import Camera, Vector
from training.scenes.surfaces import NEAR, Patch, clip_box, linear_field
from training.scenes.textures import Field, Image


@dataclass(frozen=True)
class Quadric:
    """Ellipsoid or finite cylinder, closed or open (cup).

    Parameters
    ----------
    centre : (3,) float
    axes : (3, 3) float
        Rows: orthonormal local directions; the second is the axis of a cylinder.
    radii : (3,) float
        Half-axes; for a cylinder the second is half its height.
    texture : (h, w, 3) uint8
        Projected onto the front along the third local direction.
    light : (3,) float
        Direction to the light, unit length.
    kind : str
        ``"ellipsoid"``, ``"cylinder"`` or ``"cup"``.
    ambient : float
        Brightness 0..1 of the side turned away from the light.
    gloss : float
        Strength of the highlight, whose position on the surface differs between the views.
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
        """Render by intersecting the ray of every pixel in the bounding box."""
        signs = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)])
        corners = self.centre + (signs * self.radii) @ self.axes
        if corners[:, 2].min() < NEAR:
            return None
        pixels = camera.project(corners)
        box = clip_box(camera, (pixels.min(axis=0) - 1).tolist(), (pixels.max(axis=0) + 1).tolist())
        if box is None:
            return None
        to_local = self.axes / self.radii[:, None]
        origin = to_local @ (np.array([camera.position, 0, 0]) - self.centre)
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
        made = [linear_field(a, b, c - a * camera.cx - b * camera.cy, box) for a, b, c in rows]
        return made[0], made[1], made[2]

    @staticmethod
    def _coverage(discriminant: Field) -> Field:
        """Return the coverage from the discriminant, which is negative outside.

        The edge is about one pixel wide.
        """
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
        # The outer normal in local directions is p / radii (without the axial part on a cylinder's
        # side).
        normal = [p[i] / np.float32(self.radii[i]) for i in (0, 1, 2)]
        if self.kind != "ellipsoid":
            normal[1] = np.zeros_like(p[1])
        length = np.sqrt(sum(n * n for n in normal)) + np.float32(1e-9)
        shade = self.ambient + (1 - self.ambient) * self._cosine(normal, length, self.light)
        if self.gloss:
            towards = np.array([camera.position, 0, 0]) - self.centre
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
