"""Illumination of a scene: exposure, uneven light, shadows, haze, reflections."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.scenes.bank import choose_texture
from training.scenes.camera import Camera, Vector
from training.scenes.raster import View
from training.scenes.textures import Field, Image, Rng, random_palette


@dataclass(frozen=True)
class Atmosphere:
    """Illumination of one scene.

    Parameters
    ----------
    shade : (h, w) float32
        Illumination in coarse coordinates of the left image.
    light : (3,) float
        Direction to the light, unit length.
    shadow : float
        Darkness of cast shadows, 0 for none.
    reach : float
        Length of shadows as a fraction of the median depth of the scene.
    softness : float
        Blur of the shadows, coarse px.
    shadow_grid : (int, int)
        Width [px] of the coarse grid on which shadows are computed, and number of steps.
    level : float
        Target mean grey level of the exposure.
    optics : float
        Blur of the lenses, px.
    fog : (3,) float
        BGR of the haze.
    density : float
        Haze at the mean depth, 0 for none.
    reflection : (H, W, 3) uint8 or None
        Layer reflected by some surfaces.
    reflecting : int
        Surfaces whose index modulo 5 equals this value reflect.
    strength : float
        Strength of the reflection, 0..1.
    layer_part : float
        Disparity of the reflection as a fraction of the mean of the scene.
    """

    shade: Field
    light: Vector
    shadow: float
    reach: float
    softness: float
    level: float
    optics: float
    fog: tuple[float, float, float]
    density: float
    reflection: Image | None
    reflecting: int
    strength: float
    layer_part: float
    shadow_grid: tuple[int, int] = (224, 10)

    def apply(
        self, left: View, right: View, disparity_left: Field, disparity_right: Field, camera: Camera
    ) -> tuple[Image, Image]:
        """Return both views lit.

        The illumination is defined on the left image and sampled for the right one at ``x +
        disparity``, so that a point has the same illumination in both views.
        """
        height, width = camera.height, camera.width
        shade = cv2.resize(self.shade, (width, height), interpolation=cv2.INTER_LINEAR)
        if self.shadow:
            dark = cast_shadows(left.inv, camera, self)
            shade = shade * (1 - np.float32(self.shadow) * dark)
        shade *= np.float32(self._exposure(left.colour, np.asarray(shade, np.float32)))
        xs = np.arange(width, dtype=np.float32) + disparity_right
        ys = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], xs.shape).copy()
        moved = cv2.remap(
            shade, xs, ys, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        typical = max(float(disparity_left.mean()), 0.1)
        shift = self.layer_part * typical
        return (
            self._light(
                self._reflect(left, 0.0), np.asarray(shade, np.float32), disparity_left, typical
            ),
            self._light(
                self._reflect(right, shift), np.asarray(moved, np.float32), disparity_right, typical
            ),
        )

    def _exposure(self, colour: Image, shade: Field) -> float:
        """Return the gain for the target level, limited to keep overexposure small."""
        grey = colour[::4, ::4].mean(axis=2) * shade[::4, ::4]
        wanted = self.level / max(float(grey.mean()), 1)
        return float(np.clip(min(wanted, 280 / max(float(np.percentile(grey, 96)), 1)), 0.4, 5))

    def _light(self, colour: Image, light: Field, disparity: Field, typical: float) -> Image:
        sharp = cv2.multiply(colour, cv2.merge([light] * 3), dtype=cv2.CV_8U)
        # A lens blurs single pixels; without this blur fine grain aliases differently in the views.
        lit = np.asarray(cv2.GaussianBlur(sharp, (3, 3), self.optics), np.uint8)
        if not self.density:
            return lit
        clear = np.exp(
            np.float32(-self.density * typical) / np.maximum(disparity, np.float32(0.02))
        )
        haze = np.empty_like(lit)
        haze[:] = np.asarray(self.fog, np.uint8)
        return np.asarray(cv2.blendLinear(lit, haze, clear, 1 - clear), np.uint8)

    def _reflect(self, view: View, shift: float) -> Image:
        if self.reflection is None:
            return view.colour
        height, width = view.inv.shape
        move = np.array([[1, 0, -shift], [0, 1, 0]])
        layer = cv2.warpAffine(
            self.reflection, move, (width, height), flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )  # fmt: skip
        mask = (view.owner % 5 == self.reflecting).astype(np.float32) * np.float32(self.strength)
        return np.asarray(cv2.blendLinear(layer, view.colour, mask, 1 - mask), np.uint8)


def cast_shadows(inv: Field, camera: Camera, atmosphere: Atmosphere) -> Field:
    """Compute the shadows cast by visible surfaces on the left image.

    A point is in shadow if the ray from it towards the light passes closely behind a surface of the
    z-buffer.

    Parameters
    ----------
    inv : (H, W) float32
        Focal length / Z.
    camera : Camera
        Left camera.
    atmosphere : Atmosphere
        Provides light, reach, softness and shadow grid.

    Returns
    -------
    (H, W) float32
        From 0 (lit) to 1 (in shadow).
    """
    grid, steps = atmosphere.shadow_grid
    stride = max(2, round(camera.width / grid))
    coarse = np.ascontiguousarray(inv[::stride, ::stride])
    rows, columns = coarse.shape
    f = np.float32(camera.focal)
    depth = f / np.maximum(coarse, np.float32(1e-4))
    x = (np.arange(columns, dtype=np.float32) * stride - np.float32(camera.cx)) * depth / f
    y = (np.arange(rows, dtype=np.float32)[:, None] * stride - np.float32(camera.cy)) * depth / f
    light = atmosphere.light
    length = atmosphere.reach * float(np.median(depth))
    dark = np.zeros_like(coarse)
    for step in range(steps):
        way = length * ((step + 0.7) / steps) ** 1.6
        z = depth + np.float32(way * light[2])
        there = f / np.maximum(z, np.float32(1e-3))
        u = ((x + np.float32(way * light[0])) * there + np.float32(camera.cx)) / stride
        v = ((y + np.float32(way * light[1])) * there + np.float32(camera.cy)) / stride
        seen = cv2.remap(
            coarse, u, v, interpolation=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT,
            borderValue=(0,),
        )  # fmt: skip
        ratio = seen / there
        np.maximum(dark, (ratio > 1.02) & (ratio < 1.25), out=dark)
    soft = cv2.GaussianBlur(dark, (0, 0), atmosphere.softness)
    size = (camera.width, camera.height)
    return np.asarray(cv2.resize(soft, size, interpolation=cv2.INTER_LINEAR), np.float32)


def draw_atmosphere(
    rng: Rng, camera: Camera, light: Vector, view_dependent: bool = True
) -> Atmosphere:
    """Return a random illumination of a scene."""
    coarse = (max(4, camera.height // 4), max(4, camera.width // 4))
    shade = np.ones(coarse, np.float32)
    if rng.random() < 0.7:
        knots = rng.uniform(1 - rng.uniform(0.1, 0.6), 1.1, (3, 4)).astype(np.float32)
        shade = np.asarray(
            cv2.resize(knots, coarse[::-1], interpolation=cv2.INTER_CUBIC), np.float32
        )
    if rng.random() < 0.25:
        shade = shade * _soft_shadows(rng, coarse)
    reflection = None
    if rng.random() < 0.2 and view_dependent:
        reflection = choose_texture(rng, camera.height, camera.width, zoom=(1.5, 4))
    fog = 128 + 0.5 * random_palette(rng, 1)[0]
    return Atmosphere(
        shade=np.clip(shade, 0.1, 1.3).astype(np.float32),
        light=light,
        shadow=float(rng.uniform(0.2, 0.7)) if rng.random() < 0.7 else 0.0,
        reach=float(rng.uniform(0.1, 0.5)),
        softness=float(rng.uniform(0.6, 2.0)),
        level=float(
            rng.uniform(15, 60) if rng.random() < 0.06 else np.clip(rng.normal(132, 25), 70, 190)
        ),
        optics=float(rng.uniform(0.35, 0.65)),
        fog=(float(fog[0]), float(fog[1]), float(fog[2])),
        density=float(rng.uniform(0.05, 0.5)) if rng.random() < 0.12 else 0.0,
        reflection=reflection,
        reflecting=int(rng.integers(5)),
        strength=float(rng.uniform(0.08, 0.35)),
        layer_part=float(rng.uniform(0, 1.5)),
    )


def _soft_shadows(rng: Rng, shape: tuple[int, int]) -> Field:
    """Return random shadows of objects out of view, such as window bars."""
    height, width = shape
    mask = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 7))):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        w, h = np.exp(rng.uniform(0.5, np.log(width / 3), 2))
        angle = float(rng.uniform(0, 180))
        if rng.random() < 0.5:
            cv2.ellipse(mask, centre, (int(w), int(h)), angle, 0, 360, 1, thickness=-1)
        else:
            corners = cv2.boxPoints((centre, (float(w), float(h)), angle))
            cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
    soft = cv2.GaussianBlur(mask, (0, 0), float(np.exp(rng.uniform(-0.5, 2.0))))
    return np.asarray(1 - rng.uniform(0.2, 0.65) * np.clip(soft, 0, 1), np.float32)
