"""Light that lies over the whole scene: uneven lamps, soft shadows, haze, reflections, defocus."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .bank import choose_texture
from .camera import Camera
from .raster import View
from .textures import Field, Image, Rng, random_palette


@dataclass(frozen=True)
class Atmosphere:
    """Hold the light of one scene.

    Parameters
    ----------
    shade : (h, w) float32
        Illumination in coarse left picture coordinates.
    fog : (3,) float
        BGR of the haze.
    density : float
        Haze at the mean depth, 0 for none.
    reflection : (H, W, 3) uint8 or None
        Second layer shown faintly by some surfaces.
    reflecting : int
        Which surfaces reflect: those whose number modulo 5 equals this.
    strength : float
        Strength of the reflection, 0..1.
    layer_part : float
        Disparity of the reflection as a part of the surface's.
    """

    shade: Field
    fog: tuple[float, float, float]
    density: float
    reflection: Image | None
    reflecting: int
    strength: float
    layer_part: float

    def apply(
        self, left: View, right: View, disparity_left: Field, disparity_right: Field, camera: Camera
    ) -> tuple[Image, Image]:
        """Light both views.

        The shade is laid over the left picture and fetched by the right one at ``x + disparity``, so both eyes see a
        common point in the same light.
        """
        height, width = camera.height, camera.width
        shade = cv2.resize(self.shade, (width, height), interpolation=cv2.INTER_LINEAR)
        xs = np.arange(width, dtype=np.float32) + disparity_right
        ys = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], xs.shape).copy()
        moved = cv2.remap(
            shade, xs, ys, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        pictures = []
        typical = max(float(disparity_left.mean()), 0.1)
        for view, disparity, light, eye in (
            (left, disparity_left, shade, 0.0),
            (right, disparity_right, moved, self.layer_part * typical),
        ):
            colour = self._reflect(view, eye)
            colour = cv2.multiply(colour, cv2.merge([light] * 3), dtype=cv2.CV_8U)
            if self.density:
                clear = np.exp(np.float32(-self.density * typical) / np.maximum(disparity, 0.02))
                haze = np.empty_like(colour)
                haze[:] = np.asarray(self.fog, np.uint8)
                colour = cv2.blendLinear(colour, haze, clear, 1 - clear)
            pictures.append(np.asarray(colour, np.uint8))
        return pictures[0], pictures[1]

    def _reflect(self, view: View, shift: float) -> Image:
        if self.reflection is None:
            return view.colour
        height, width = view.inv.shape
        move = np.array([[1, 0, -shift], [0, 1, 0]])
        layer = cv2.warpAffine(
            self.reflection,
            move,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
        mask = (view.owner % 5 == self.reflecting).astype(np.float32) * np.float32(self.strength)
        return np.asarray(cv2.blendLinear(layer, view.colour, mask, 1 - mask), np.uint8)


def draw_atmosphere(rng: Rng, camera: Camera, view_dependent: bool = True) -> Atmosphere:
    """Draw the light of a scene."""
    coarse = (max(4, camera.height // 4), max(4, camera.width // 4))
    shade = np.ones(coarse, np.float32)
    if rng.random() < 0.7:
        knots = rng.uniform(1 - rng.uniform(0.1, 0.6), 1.1, (3, 4)).astype(np.float32)
        shade = cv2.resize(knots, coarse[::-1], interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        shade = shade * _soft_shadows(rng, coarse)
    reflect = view_dependent and rng.random() < 0.2
    reflection = None
    reflecting, strength, part = int(rng.integers(5)), rng.uniform(0.08, 0.35), rng.uniform(0, 1.5)
    if reflect:
        reflection = choose_texture(rng, camera.height, camera.width, zoom=(1.5, 4))
    fog = tuple(float(v) for v in 128 + 0.5 * random_palette(rng, 1)[0])
    density = float(rng.uniform(0.05, 0.5)) if rng.random() < 0.12 else 0.0
    return Atmosphere(
        np.clip(shade, 0.1, 1.3).astype(np.float32),
        (fog[0], fog[1], fog[2]),
        density,
        reflection,
        reflecting,
        float(strength),
        float(part),
    )


def _soft_shadows(rng: Rng, shape: tuple[int, int]) -> Field:
    height, width = shape
    mask = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 7))):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        axes = tuple(int(v) for v in np.exp(rng.uniform(0.5, np.log(width / 3), 2)))
        angle = float(rng.uniform(0, 180))
        if rng.random() < 0.5:
            cv2.ellipse(mask, centre, axes, angle, 0, 360, 1, thickness=-1)
        else:
            corners = cv2.boxPoints((centre, axes, angle))
            cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
    soft = cv2.GaussianBlur(mask, (0, 0), float(np.exp(rng.uniform(-0.5, 2.0))))
    return np.asarray(1 - rng.uniform(0.2, 0.65) * np.clip(soft, 0, 1), np.float32)
