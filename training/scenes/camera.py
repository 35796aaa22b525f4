"""Rectified pair of equal pinhole cameras, and coordinate frames.

World units are arbitrary. The left camera is at the origin (x right, y down, z forward), the right
one at ``(baseline, 0, 0)``; disparity = focal length * baseline / Z. Surfaces are represented by
``inv`` = focal length / Z [px per unit of baseline], which is linear in x and y on any plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """Pinhole camera of a rectified pair.

    Parameters
    ----------
    height, width : int
        Size of the image, px.
    focal : float
        Focal length, px.
    position : float
        Position along the baseline, world units: 0 for the left camera.
    """

    height: int
    width: int
    focal: float
    position: float = 0.0

    @property
    def cx(self) -> float:
        """Return the column of the principal point, px."""
        return (self.width - 1) / 2

    @property
    def cy(self) -> float:
        """Return the row of the principal point, px."""
        return (self.height - 1) / 2

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Project points (N, 3), in front of the camera, to pixels.

        Returns
        -------
        (N, 2) float64
        """
        z = points[:, 2]
        x = self.focal * (points[:, 0] - self.position) / z + self.cx
        y = self.focal * points[:, 1] / z + self.cy
        return np.stack([x, y], axis=-1)

    def outline(
        self, corner: Vector, right: Vector, down: Vector, near: float
    ) -> list[tuple[float, float]] | None:
        """Return the projected corners of a parallelogram, in order.

        None if a corner is not in front of the camera. Plain floats, which for four points are
        several times faster than arrays.
        """
        x, y, z = corner.tolist()
        x -= self.position
        rx, ry, rz = right.tolist()
        dx, dy, dz = down.tolist()
        pixels = []
        for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)):
            depth = z + u * rz + v * dz
            if depth < near:
                return None
            scale = self.focal / depth
            pixels.append(
                ((x + u * rx + v * dx) * scale + self.cx, (y + u * ry + v * dy) * scale + self.cy)
            )
        return pixels

    def point(self, x: float, y: float, depth: float) -> Vector:
        """Return the point at a pixel and a depth."""
        scale = depth / self.focal
        return np.array([(x - self.cx) * scale + self.position, (y - self.cy) * scale, depth])

    def inverse_depth_coefficients(
        self, normal: Vector, offset: float
    ) -> tuple[float, float, float]:
        """Return the coefficients of the inverse depth of a plane.

        (a, b, c) with inv = a x + b y + c on ``normal . P = offset``.
        """
        scale = 1.0 / (offset - self.position * normal[0])
        a, b = normal[0] * scale, normal[1] * scale
        return a, b, self.focal * normal[2] * scale - a * self.cx - b * self.cy


@dataclass(frozen=True)
class Frame:
    """Origin and orthonormal axes (right, down, forward) in camera coordinates."""

    origin: Vector
    axes: NDArray[np.float64]  # (3, 3), rows are the directions

    def at(self, right: float, down: float, forward: float) -> Vector:
        """Return the camera coordinates of a local point."""
        return self.origin + np.array([right, down, forward]) @ self.axes

    def turned(self, angle: float, origin: Vector | None = None) -> Frame:
        """Return the frame rotated about its vertical axis [rad], at another origin."""
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        return Frame(self.origin if origin is None else origin, turn @ self.axes)


def cross(a: Vector, b: Vector) -> Vector:
    """Return the vector product, for single vectors faster than ``numpy.cross``.

    Ten times faster.
    """
    return np.array(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    )


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Return the rotation matrix of angles about y, x and z [rad]."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y)
