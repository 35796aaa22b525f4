"""The kit of parts: cards, boxes, furniture, round things, reliefs; collected with their depth for painting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from .bank import choose_texture
from .camera import Camera, Frame, Vector, rotation
from .masks import Mask
from .surfaces import NEAR, Card, Quadric, Relief, Surface, ringed
from .textures import Image, Rng, power_noise


@dataclass
class Stage:
    """Collect the surfaces of one scene.

    Parameters
    ----------
    rng : numpy.random.Generator
    camera : Camera
        The left one.
    target : float
        Largest disparity of the scene as a part of the width; limits how steep reliefs may be.
    """

    rng: Rng
    camera: Camera
    target: float
    placed: list[tuple[float, Surface]] = field(default_factory=list)
    light: Vector = field(default_factory=lambda: np.array([0.3, -0.8, -0.5]))
    ambient: float = 0.5

    def __post_init__(self) -> None:
        """Draw the direction of the light, mostly from above and from behind the camera."""
        light = np.array(
            [self.rng.normal(0, 0.6), -self.rng.uniform(0.2, 1), -self.rng.uniform(0, 0.9)]
        )
        self.light = light / np.linalg.norm(light)
        self.ambient = float(self.rng.uniform(0.3, 0.8))

    def add(self, depth: float, surface: Surface) -> None:
        """Put a surface in at its typical depth."""
        self.placed.append((depth, surface))

    def surfaces(self) -> list[Surface]:
        """Give everything, far to near."""
        return [s for _, s in sorted(self.placed, key=lambda entry: -entry[0])]

    def shade(self, normal: Vector) -> float:
        """Give the brightness of a face by its outer normal."""
        length = float(np.linalg.norm(normal))
        facing = max(0.0, float(normal @ self.light) / max(length, 1e-12))
        return self.ambient + (1 - self.ambient) * facing


def texture_size(
    camera: Camera, corner: Vector, right: Vector, down: Vector
) -> tuple[int, int] | None:
    """Give the size on screen (h, w) of a parallelogram, or None where it is behind the eye or out of sight."""
    corners = corner + np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) @ np.stack([right, down])
    if corners[:, 2].min() < NEAR:
        return None
    p = camera.project(corners)
    reach = 0.4 * camera.width
    if p[:, 0].max() < -5 or p[:, 0].min() > camera.width + reach:
        return None
    if p[:, 1].max() < 0 or p[:, 1].min() > camera.height:
        return None
    across = np.sqrt(np.linalg.norm(p[1] - p[0]) * np.linalg.norm(p[2] - p[3]))
    along = np.sqrt(np.linalg.norm(p[3] - p[0]) * np.linalg.norm(p[2] - p[1]))
    cap = 1.0 * camera.width
    return int(np.clip(along, 2, cap)), int(np.clip(across, 2, cap))


def add_card(
    stage: Stage,
    corner: Vector,
    right: Vector,
    down: Vector,
    *kinds: str,
    mask: Callable[[Rng, int, int], Mask] | None = None,
    texture: Image | None = None,
    solid: bool = False,
    zoom: tuple[float, float] = (0.6, 2.5),
) -> None:
    """Add a flat parallelogram with a texture of one of the kinds, shaded by its direction."""
    size = texture_size(stage.camera, corner, right, down)
    if size is None:
        return
    if texture is None:
        colour = choose_texture(stage.rng, *size, *kinds, zoom=zoom)
    else:
        colour = np.asarray(cv2.resize(texture, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    normal = np.cross(down, right)  # towards the eye for an upright card
    if not solid and normal @ corner > 0:
        normal = -normal
    colour = np.asarray(cv2.convertScaleAbs(colour, alpha=stage.shade(normal)), np.uint8)
    outline = None if mask is None else mask(stage.rng, *size)
    depth = float((corner + (right + down) / 2)[2])
    stage.add(depth, Card(corner, right, down, ringed(colour, outline), solid))


def add_box(
    stage: Stage, frame: Frame, width: float, height: float, length: float, *kinds: str,
    texture: Image | None = None,
) -> None:  # fmt: skip
    """Add a box standing on ``frame.origin`` (middle of its foot), extending up, right and forward."""
    x, y, z = width / 2, -height, length / 2
    own = texture
    if own is None:
        own = choose_texture(stage.rng, 192, 192, *kinds, zoom=(0.8, 3))
    shared = stage.rng.random() < 0.6
    faces = (
        ((-x, y, -z), (x, y, -z), (-x, 0, -z)),  # front
        ((x, y, z), (-x, y, z), (x, 0, z)),  # back
        ((-x, y, z), (-x, y, -z), (-x, 0, z)),  # left
        ((x, y, -z), (x, y, z), (x, 0, -z)),  # right
        ((-x, y, z), (x, y, z), (-x, y, -z)),  # top
        ((-x, 0, -z), (x, 0, -z), (-x, 0, z)),  # bottom
    )
    for first, second, third in faces:
        corner, right, down = frame.at(*first), frame.at(*second), frame.at(*third)
        picture = own
        if not shared and stage.rng.random() < 0.7:
            picture = choose_texture(stage.rng, 160, 160, *kinds, zoom=(0.8, 3))
        normal = np.cross(right - corner, down - corner)
        # Faces that no eye can see: both eyes share the sign unless nearly edge-on.
        if float(normal @ corner) > 0 or _edge_on(normal, corner):
            add_card(stage, corner, right - corner, down - corner, texture=picture, solid=True)


def _edge_on(normal: Vector, corner: Vector) -> bool:
    cosine = float(normal @ corner) / (np.linalg.norm(normal) * np.linalg.norm(corner) + 1e-12)
    return abs(cosine) < 0.35


def add_round(
    stage: Stage, frame: Frame, radii: tuple[float, float, float], kind: str, *kinds: str
) -> None:
    """Add an ellipsoid, cylinder or cup standing on ``frame.origin``."""
    centre = frame.at(0, -radii[1], 0)
    if centre[2] - max(radii) < NEAR:
        return
    size = int(np.clip(2.2 * max(radii) * stage.camera.focal / centre[2], 8, stage.camera.width))
    rng = stage.rng
    texture = choose_texture(rng, size, size, *kinds, zoom=(0.6, 3))
    gloss = float(rng.uniform(0.2, 1.2)) if rng.random() < 0.4 else 0.0
    stage.add(
        float(centre[2]),
        Quadric(
            centre,
            frame.axes,
            np.array(radii),
            texture,
            stage.light,
            kind,
            stage.ambient * 0.9,
            gloss,
        ),
    )


def add_pole(stage: Stage, frame: Frame, radius: float, height: float, *kinds: str) -> None:
    """Add a thin upright cylinder."""
    add_round(stage, frame, (radius, height / 2, radius), "cylinder", *kinds)


def add_table(stage: Stage, frame: Frame, width: float, height: float, length: float) -> None:
    """Add a table: four legs and a board."""
    rng = stage.rng
    leg = width * rng.uniform(0.015, 0.05)
    board = height * rng.uniform(0.03, 0.1)
    texture = choose_texture(rng, 128, 128, "wood", "flat", "planks", "noise")
    for sx in (-1, 1):
        for sz in (-1, 1):
            foot = frame.at(sx * (width / 2 - leg), 0, sz * (length / 2 - leg))
            add_box(stage, Frame(foot, frame.axes), leg, height - board, leg, texture=texture)
    top = Frame(frame.at(0, -(height - board), 0), frame.axes)
    add_box(stage, top, width, board, length, texture=texture)


def add_chair(stage: Stage, frame: Frame, width: float) -> None:
    """Add a chair: a small table with a back of bars or a board."""
    rng = stage.rng
    height = width * rng.uniform(0.9, 1.2)
    add_table(stage, frame, width, height, width)
    back = width * rng.uniform(0.8, 1.3)
    corner = frame.at(-width / 2, -height - back, width / 2)
    right, down = frame.at(width / 2, -height - back, width / 2) - corner, frame.axes[1] * back
    add_card(stage, corner, right, down, "wood", "flat", "fabric", mask=_bars)


def _bars(rng: Rng, h: int, w: int) -> Mask:
    mask = np.zeros((h, w), np.uint8)
    thick = max(1, int(w * rng.uniform(0.03, 0.1)))
    count = int(rng.integers(2, 9))
    upright = rng.random() < 0.6
    for i in range(count):
        at = int((i + 0.5) / count * (w if upright else h))
        ends = ((at, 0), (at, h)) if upright else ((0, at), (w, at))
        cv2.line(mask, ends[0], ends[1], 255, thickness=thick)
    cv2.rectangle(mask, (0, 0), (w - 1, h - 1), 255, thickness=2 * thick)
    return mask


def add_floating(
    stage: Stage, x: float, y: float, depth: float, size: float, mask: Callable[[Rng, int, int], Mask],
    tilt: float,
) -> None:  # fmt: skip
    """Add a card of any direction around a pixel; ``size`` is its larger side on screen, px."""
    rng = stage.rng
    turn = rotation(*rng.normal(0, tilt, 2), rng.choice([0.0, rng.uniform(0, 6.3)]))
    side = size * depth / stage.camera.focal
    aspect = np.exp(rng.uniform(-1, 1))
    right = turn[0] * side * min(1, aspect)
    down = turn[1] * side * min(1, 1 / aspect)
    corner = stage.camera.point(x, y, depth) - (right + down) / 2
    add_card(stage, corner, right, down, mask=mask)


def relief_field(
    stage: Stage, height: int, width: int, inv: NDArray[np.float32], amount: float
) -> NDArray[np.float32]:
    """Roughen a field of inverse depths by smooth bumps, as steep as the right view's solution allows."""
    rng = stage.rng
    bumps = power_noise(rng, 64, rng.uniform(2.0, 3.0)) - 0.5
    bumps = cv2.GaussianBlur(bumps, (0, 0), 1.5, borderType=cv2.BORDER_REFLECT)
    bumps = cv2.resize(bumps, (width, height), interpolation=cv2.INTER_CUBIC)
    rough = inv * (1 + np.float32(amount) * bumps)
    # baseline <= target * width / max(inv) of the scene, which is at least the maximum of this field.
    slope = np.abs(np.diff(rough, axis=1)).max() * stage.target * stage.camera.width
    steep = float(slope / max(float(rough.max()), 1e-9))
    if steep > 0.6:
        rough = inv + (rough - inv) * np.float32(0.6 / steep)
    return np.asarray(np.maximum(rough, 0), np.float32)


def add_relief(
    stage: Stage, x: int, y: int, height: int, width: int, depth: float, amount: float,
    *kinds: str, mask: Callable[[Rng, int, int], Mask] | None = None,
) -> None:  # fmt: skip
    """Add a crumpled sheet that fills a box of the left picture."""
    rng = stage.rng
    base = stage.camera.focal / depth
    tilt = rng.normal(0, 0.15, 2) / max(height, width)
    xs = np.arange(width, dtype=np.float32) - np.float32(width / 2)
    ys = np.arange(height, dtype=np.float32)[:, None] - np.float32(height / 2)
    plane = (base * (1 + tilt[0] * xs + tilt[1] * ys)).astype(np.float32)
    inv = relief_field(stage, height, width, plane, amount)
    colour = choose_texture(rng, height, width, *kinds, zoom=(0.7, 3))
    outline = np.full((height, width), 255, np.uint8) if mask is None else mask(rng, height, width)
    shade = inv / max(float(inv.mean()), 1e-9)
    relief = cv2.Sobel(shade, cv2.CV_32F, 1, 1, ksize=3)
    gain = 0.25 / max(float(np.abs(relief).max()), 1e-9)
    light = cv2.merge([np.clip(0.9 + gain * relief, 0.3, 1.3).astype(np.float32)] * 3)
    colour = np.asarray(cv2.multiply(colour, light, dtype=cv2.CV_8U), np.uint8)
    stage.add(depth, Relief(x, y, colour, outline, inv))
