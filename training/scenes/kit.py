"""Building blocks of scenes: cards, boxes, round bodies, reliefs.

Longer than the rule for modules: every block is a separate function, and all use `Stage`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import hypot, sqrt

import cv2
import numpy as np

from training.scenes.bank import Material, choose_material
from training.scenes.camera import Camera, Frame, Vector, cross, rotation
from training.scenes.masks import Outline
from training.scenes.quadric import Quadric
from training.scenes.relief import Relief
from training.scenes.surfaces import NEAR, Card, Surface, ringed
from training.scenes.textures import Field, Image, Rng, power_noise


@dataclass
class Stage:
    """Surfaces, materials and light of one scene.

    Parameters
    ----------
    rng : numpy.random.Generator
    camera : Camera
        Left camera.
    target : float
        Largest disparity of the scene as a fraction of the width; limits the slope of reliefs.
    glossy : bool
        Whether round bodies may have highlights, whose disparity differs from that of the surface.
    moving : bool
        For a moving camera: keep hidden faces and objects that are out of view.
    painted : float
        Share of the materials that are painted over, which leaves almost no texture.
    """

    rng: Rng
    camera: Camera
    target: float
    glossy: bool = True
    moving: bool = False
    painted: float = 0.0
    placed: list[tuple[float, Surface]] = field(default_factory=list)
    shared: list[Material] = field(default_factory=list)
    light: Vector = field(init=False)
    ambient: float = field(init=False)

    def __post_init__(self) -> None:
        """Draw the light direction, mostly from above and behind the camera."""
        light = np.array(
            [self.rng.normal(0, 0.6), -self.rng.uniform(0.2, 1), -self.rng.uniform(0, 0.9)]
        )
        self.light = light / np.linalg.norm(light)
        self.ambient = float(self.rng.uniform(0.3, 0.8))

    def limit_materials(self, count: int) -> None:
        """Restrict most objects to a few shared materials, which hides their edges."""
        self.shared = [choose_material(self.rng) for _ in range(count)]

    def material(self, *kinds: str) -> Material:
        """Return a random material of the kinds, or a shared one."""
        if self.shared and self.rng.random() < 0.75:
            return self.shared[int(self.rng.integers(len(self.shared)))]
        return self.painting(choose_material(self.rng, *kinds))

    def painting(self, material: Material) -> Material:
        """Return the material, painted over with probability `painted`."""
        if self.painted and self.rng.random() < self.painted:
            return material.faded(self.rng)
        return material

    def add(self, depth: float, surface: Surface) -> None:
        """Add a surface with its typical depth."""
        self.placed.append((depth, surface))

    def surfaces(self) -> list[Surface]:
        """Return all surfaces, far to near."""
        return [s for _, s in sorted(self.placed, key=lambda entry: -entry[0])]

    def shade(self, normal: Vector) -> float:
        """Return the brightness of a face from its outer normal."""
        length = float(np.linalg.norm(normal))
        facing = max(0.0, float(normal @ self.light) / max(length, 1e-12))
        return self.ambient + (1 - self.ambient) * facing

    def column(self) -> float:
        """Draw a column for an object.

        The range exceeds the image, because the right view extends beyond the left one.
        """
        return float(self.rng.uniform(-0.03, 1.03 + self.target) * self.camera.width)


def texture_size(
    camera: Camera, corner: Vector, right: Vector, down: Vector
) -> tuple[int, int] | None:
    """Return the projected size (h, w) of a parallelogram [px].

    None if it is behind the camera or out of view.
    """
    p = camera.outline(corner, right, down, NEAR)
    if p is None:
        return None
    xs, ys = [x for x, _ in p], [y for _, y in p]
    if max(xs) < -5 or min(xs) > 1.4 * camera.width or max(ys) < 0 or min(ys) > camera.height:
        return None
    sides = [hypot(xs[i] - xs[i - 1], ys[i] - ys[i - 1]) for i in range(4)]
    along, across = sqrt(sides[0] * sides[2]), sqrt(sides[1] * sides[3])
    if max(along, across) < 1.5:
        return None
    cap = camera.width
    return int(min(max(along, 2), cap)), int(min(max(across, 2), cap))


def _size_nearby(camera: Camera, corner: Vector, right: Vector, down: Vector) -> tuple[int, int]:
    """Return the projected size of a parallelogram for a camera facing it."""
    scale = camera.focal / max(float(np.linalg.norm(corner + (right + down) / 2)), 0.3)
    along, across = (
        int(np.clip(np.linalg.norm(v) * scale, 2, camera.width)) for v in (down, right)
    )
    return along, across


def add_card(
    stage: Stage,
    corner: Vector,
    right: Vector,
    down: Vector,
    *kinds: str,
    mask: Outline | None = None,
    material: Material | None = None,
    solid: bool = False,
) -> None:
    """Add a flat shaded parallelogram.

    Without a `material`, one of the kinds is drawn.
    """
    size = texture_size(stage.camera, corner, right, down)
    if size is None and stage.moving:
        size = _size_nearby(stage.camera, corner, right, down)
    if size is None:
        return
    material = stage.material(*kinds) if material is None else material
    colour = material.crop(stage.rng, *size)
    normal = cross(down, right)
    if not solid and normal @ corner > 0:
        normal = -normal
    colour = np.asarray(cv2.convertScaleAbs(colour, alpha=stage.shade(normal)), np.uint8)
    outline = None if mask is None else mask(stage.rng, *size)
    depth = float((corner + (right + down) / 2)[2])
    stage.add(depth, Card(corner, right, down, ringed(colour, outline), solid))


_FACES = (
    ((-1, 1, -1), (1, 1, -1), (-1, 0, -1)),  # front
    ((1, 1, 1), (-1, 1, 1), (1, 0, 1)),  # back
    ((-1, 1, 1), (-1, 1, -1), (-1, 0, 1)),  # left
    ((1, 1, -1), (1, 1, 1), (1, 0, -1)),  # right
    ((-1, 1, 1), (1, 1, 1), (-1, 1, -1)),  # top
    ((-1, 0, -1), (1, 0, -1), (-1, 0, 1)),  # bottom
)
"""Upper left, upper right and lower left corner of each face: (sideways, up, forward)."""


def add_box(
    stage: Stage, frame: Frame, width: float, height: float, length: float, *kinds: str,
    material: Material | None = None,
) -> None:  # fmt: skip
    """Add a box; ``frame.origin`` is the centre of its base.

    ``length`` is the size along the forward axis.
    """
    rng = stage.rng
    half = np.array([width / 2, -height, length / 2])
    shared = material if material is not None else stage.material(*kinds)
    alike = material is not None or rng.random() < 0.6
    for face in _FACES:
        first, second, third = (frame.at(*(half * point)) for point in face)
        right, down = second - first, third - first
        normal = cross(right, down)
        facing = float(normal @ first)
        # A face turned slightly away from the left camera may be visible to the right one.
        if not stage.moving and facing < -0.35 * float(
            np.linalg.norm(normal) * np.linalg.norm(first)
        ):
            continue
        own = shared if alike else stage.material(*kinds)
        add_card(stage, first, right, down, material=own, solid=True)


def add_round(
    stage: Stage, frame: Frame, radii: tuple[float, float, float], kind: str, *kinds: str,
    material: Material | None = None,
) -> None:  # fmt: skip
    """Add an ellipsoid, cylinder or cup with its base at ``frame.origin``."""
    centre = frame.at(0, -radii[1], 0)
    if centre[2] - max(radii) < NEAR and not stage.moving:
        return
    rng = stage.rng
    size = int(
        np.clip(2.2 * max(radii) * stage.camera.focal / max(centre[2], 0.3), 8, stage.camera.width)
    )
    material = stage.material(*kinds) if material is None else material
    glossy = rng.random() < 0.4
    gloss = float(rng.uniform(0.2, 1.5)) if glossy and stage.glossy else 0.0
    body = Quadric(
        centre,
        frame.axes,
        np.array(radii),
        material.crop(rng, size, size),
        stage.light,
        kind,
        stage.ambient * 0.9,
        gloss,
        float(np.exp(rng.uniform(1.5, 5))),
    )
    stage.add(float(centre[2]), body)


def add_floating(
    stage: Stage, at: tuple[float, float, float], size: float, mask: Outline, tilt: float
) -> None:
    """Add a randomly oriented card at (x px, y px, depth).

    The projection of its larger side is ``size`` px long.
    """
    rng = stage.rng
    roll = float(rng.choice([0.0, rng.uniform(0, 6.3)]))
    turn = rotation(float(rng.normal(0, tilt)), float(rng.normal(0, tilt)), roll)
    side = size * at[2] / stage.camera.focal
    aspect = np.exp(rng.uniform(-1, 1))
    right = turn[0] * side * min(1, aspect)
    down = turn[1] * side * min(1, 1 / aspect)
    corner = stage.camera.point(*at) - (right + down) / 2
    add_card(stage, corner, right, down, mask=mask)


def limit_slope(stage: Stage, smooth: Field, rough: Field) -> Field:
    """Limit the slope of a rough field of inverse depths.

    The field is blended towards a smooth one until the warp to the right view is monotonic. The
    baseline is at most target * width / max(inv) of the scene, and that maximum is at least that of
    this field.
    """
    reach = stage.target * stage.camera.width / max(float(rough.max()), 1e-9)
    allowed = max(0.0, 0.85 - reach * float(np.abs(np.diff(smooth, axis=1)).max()))
    bumps = rough - smooth
    steep = reach * float(np.abs(np.diff(bumps, axis=1)).max())
    if steep > allowed:
        bumps *= np.float32(allowed / steep)
    return np.asarray(np.maximum(smooth + bumps, 0), np.float32)


def bumps(rng: Rng, height: int, width: int) -> Field:
    """Return random smooth hills and valleys between about -0.5 and 0.5."""
    field_ = power_noise(rng, 64, rng.uniform(1.8, 3.0)) - np.float32(0.5)
    field_ = cv2.GaussianBlur(field_, (0, 0), 1.5, borderType=cv2.BORDER_REFLECT)
    return np.asarray(
        cv2.resize(field_, (width, height), interpolation=cv2.INTER_CUBIC), np.float32
    )


def folds(rng: Rng, height: int, width: int) -> Field:
    """Return random vertical folds of a curtain between about -0.5 and 0.5."""
    xs = np.linspace(0, 1, width, dtype=np.float32) * np.float32(width / rng.uniform(15, 70))
    bend = bumps(rng, height, width) * np.float32(rng.uniform(0, 4))
    return np.asarray(0.5 * np.sin(np.float32(2 * np.pi) * xs + bend), np.float32)


def dome(rng: Rng, height: int, width: int) -> Field:
    """Return a cushion-shaped field, 0 to 1, highest in the middle."""
    ys = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    xs = np.linspace(-1, 1, width, dtype=np.float32) ** 2
    round_ = np.clip(1 - 0.7 * (xs + ys), 0, 1) ** np.float32(rng.uniform(0.6, 1.5))
    return np.asarray(
        round_ + np.float32(rng.uniform(0, 0.6)) * bumps(rng, height, width), np.float32
    )


def relief_light(stage: Stage, colour: Image, inv: Field) -> Image:
    """Shade a relief by the slope of its relative depth."""
    relative = inv / max(float(inv.mean()), 1e-9)
    slope = cv2.Sobel(relative, cv2.CV_32F, 1, 0) * np.float32(stage.light[0] + 0.3)
    slope = slope + cv2.Sobel(relative, cv2.CV_32F, 0, 1) * np.float32(stage.light[1])
    gain = stage.rng.uniform(0.1, 0.5) / max(2 * float(slope.std()), 1e-6)
    light = np.clip(1 + gain * (slope - slope.mean()), 0.3, 1.5).astype(np.float32)
    return np.asarray(cv2.multiply(colour, cv2.merge([light] * 3), dtype=cv2.CV_8U), np.uint8)


def add_relief(
    stage: Stage,
    x: int,
    y: int,
    smooth: Field,
    shape: Field,
    *kinds: str,
    mask: Outline | None = None,
) -> None:
    """Add a crumpled sheet over a box of the left image.

    Parameters
    ----------
    stage : Stage
    x, y : int
        Upper left pixel.
    smooth : (h, w) float32
        Inverse depth (focal / Z) of the smooth sheet.
    shape : (h, w) float32
        Relative change of the inverse depth.
    *kinds : str
        Textures to choose from.
    mask : callable, optional
        Outline.
    """
    rng = stage.rng
    height, width = smooth.shape
    inv = limit_slope(stage, smooth, smooth * (1 + shape))
    colour = stage.material(*kinds).crop(rng, height, width)
    outline = np.full((height, width), 255, np.uint8) if mask is None else mask(rng, height, width)
    depth = stage.camera.focal / max(float(inv.mean()), 1e-6)
    stage.add(depth, Relief(x, y, relief_light(stage, colour, inv), outline, inv))
