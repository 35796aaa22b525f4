"""Rigid motions of surfaces and cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.scenes.camera import Vector
from training.scenes.quadric import Quadric
from training.scenes.shell import Shell, Wall
from training.scenes.surfaces import Card, Surface


@dataclass(frozen=True)
class Motion:
    """Rigid motion ``P -> turn P + shift``.

    Parameters
    ----------
    turn : (3, 3) float
    shift : (3,) float
    """

    turn: NDArray[np.float64]
    shift: Vector

    def then(self, other: Motion) -> Motion:
        """Return this motion followed by another."""
        return Motion(other.turn @ self.turn, other.turn @ self.shift + other.shift)


def camera_at(place: Vector, turn: NDArray[np.float64]) -> Motion:
    """Return the motion of the world for a camera pose.

    The axes of the camera are the rows of ``turn``.
    """
    return Motion(turn, -turn @ place)


def moved(surface: Surface, motion: Motion) -> Surface:
    """Return a surface moved together with its texture.

    Raises
    ------
    TypeError
        The surface is defined on the left image, such as a relief.
    """
    turn, shift = motion.turn, motion.shift
    if isinstance(surface, Card):
        return replace(
            surface,
            corner=turn @ surface.corner + shift,
            right=turn @ surface.right,
            down=turn @ surface.down,
        )
    if isinstance(surface, Quadric):
        return replace(
            surface,
            centre=turn @ surface.centre + shift,
            axes=surface.axes @ turn.T,
            light=turn @ surface.light,
        )
    if isinstance(surface, Shell):
        return replace(surface, walls=tuple(_moved_wall(wall, motion) for wall in surface.walls))
    raise TypeError(f"a {type(surface).__name__} cannot be moved")


def posed(surfaces: Sequence[Surface], motion: Motion) -> list[Surface]:
    """Return all surfaces moved."""
    return [moved(surface, motion) for surface in surfaces]


def _moved_wall(wall: Wall, motion: Motion) -> Wall:
    normal, right, down = (motion.turn @ v for v in (wall.normal, wall.right, wall.down))
    u = wall.shift[0] - float(right @ motion.shift) / wall.texel
    v = wall.shift[1] - float(down @ motion.shift) / wall.texel
    offset = wall.offset + float(normal @ motion.shift)
    return replace(wall, normal=normal, right=right, down=down, offset=offset, shift=(u, v))


def depth_of(surface: Surface) -> float:
    """Return the depth by which surfaces are sorted for painting."""
    if isinstance(surface, Card):
        return float((surface.corner + (surface.right + surface.down) / 2)[2])
    if isinstance(surface, Quadric):
        return float(surface.centre[2])
    return float("inf")
