"""Texture bank, made once per process from a fixed seed.

Textures are recoloured and cropped at each use.

Photographs ship inside the scikit-image wheel. Used are only those its documentation declares CC0
or public domain: ``astronaut`` (NASA, public domain), ``brick``, ``grass``, ``gravel``
(CC0Textures, CC0), ``camera`` (L. Varshney, CC0), ``chelsea`` (S. van der Walt, CC0), ``coffee``
(R. Michetti, CC0), ``rocket`` (SpaceX, public domain), ``hubble_deep_field`` (NASA, public domain),
``text`` (public domain), ``clock_motion`` (S. van der Walt, public domain). The stereo pair
``motorcycle`` is excluded, because it is a Middlebury pair. Without scikit-image the bank is
procedural only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.patterns import GENERATORS
from training.scenes.textures import Image, Rng, power_noise

PHOTOS = (
    "astronaut.png",
    "brick.png",
    "grass.png",
    "gravel.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "hubble_deep_field.jpg",
    "text.png",
    "clock_motion.png",
)
TEXTURE_SIZE = 256
_BANK_SEED = 20240501


def _photographs() -> list[Image]:
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parent / "data"
    images = []
    for name in PHOTOS:
        if (folder / name).is_file():
            image = cv2.imread(str(folder / name), flags=cv2.IMREAD_COLOR)
            if image is not None:
                images.append(np.asarray(image, np.uint8))
    return images


def _photo_crops(rng: Rng) -> list[Image]:
    """Return square crops of each photograph at several scales."""
    crops = []
    for image in _photographs():
        height, width = image.shape[:2]
        for _ in range(7):
            side = int(min(height, width) * rng.uniform(0.35, 1.0))
            y = int(rng.integers(0, height - side + 1))
            x = int(rng.integers(0, width - side + 1))
            crop = image[y : y + side, x : x + side]
            size = (TEXTURE_SIZE, TEXTURE_SIZE)
            how = cv2.INTER_AREA if side > TEXTURE_SIZE else cv2.INTER_CUBIC
            crops.append(np.asarray(cv2.resize(crop, size, interpolation=how), np.uint8))
    return crops


@lru_cache(maxsize=1)
def texture_bank() -> tuple[Image, ...]:
    """Return all textures, (N, N, 3) uint8 BGR, from a fixed seed."""
    rng = np.random.default_rng(_BANK_SEED)
    made = [
        make(np.random.default_rng([_BANK_SEED, kind, index]), TEXTURE_SIZE)
        for kind, (make, count) in enumerate(GENERATORS)
        for index in range(count)
    ]
    return tuple(np.ascontiguousarray(t) for t in made + _photo_crops(rng))


@lru_cache(maxsize=1)
def _kind_ranges() -> dict[str, tuple[int, int]]:
    ranges, start = {}, 0
    for make, count in GENERATORS:
        ranges[make.__name__] = (start, start + count)
        start += count
    ranges["photo"] = (start, len(texture_bank()))
    return ranges


def _recolour_matrix(rng: Rng) -> NDArray[np.float32]:
    """Draw a colour transform (3, 4): channel permutation, gain, contrast, offset."""
    mix = np.eye(3)
    if rng.random() < 0.4:
        mix = mix[rng.permutation(3)]
    if rng.random() < 0.3:
        mix = mix * 0.5 + 0.5 / 3
    kind, contrast = rng.random(), 1.0
    if kind < 0.25:
        contrast = rng.uniform(0.05, 0.5)
    elif kind < 0.5:
        contrast = rng.uniform(1.0, 1.5)
    gain = contrast * rng.uniform(0.75, 1.15, 3)
    level = rng.uniform(40, 200)
    offset = level * (1 - contrast) + rng.uniform(-25, 25)
    if rng.random() < 0.1:
        gain, offset = gain * 0.25, offset * 0.2
    return np.concatenate([mix * gain[:, None], np.full((3, 1), offset)], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Material:
    """Texture with the colours and the scale of one use.

    Parameters
    ----------
    texture : (N, N, 3) uint8
    matrix : (3, 4) float32
        Colour transform.
    zoom : float
        Pixels per texel.
    grain : float
        Strength of pixel-scale grain, which a magnified texture lacks.
    whole : bool
        Use the whole texture, stretched to fit, instead of a crop of it.
    """

    texture: Image
    matrix: NDArray[np.float32]
    zoom: float
    grain: float
    whole: bool = False

    def faded(self, rng: Rng) -> Material:
        """Return the material with almost no texture, as if painted over."""
        kept = rng.uniform(0, 0.12)
        mean = self.matrix[:, :3].sum(1) * 128 + self.matrix[:, 3]
        matrix = np.float32(kept) * self.matrix
        matrix[:, 3] += np.float32(1 - kept) * mean
        return replace(self, matrix=matrix, grain=self.grain * float(rng.random() < 0.3))

    def crop(self, rng: Rng, height: int, width: int) -> Image:
        """Return a random crop (height, width), mirrored where the texture is smaller."""
        if self.whole:
            fitted = cv2.resize(self.texture, (width, height), interpolation=cv2.INTER_AREA)
            return np.asarray(cv2.transform(fitted, self.matrix), np.uint8)
        crop_h, crop_w = max(2, int(height / self.zoom)), max(2, int(width / self.zoom))
        piece = np.ascontiguousarray(_mirror_crop(self.texture, rng, crop_h, crop_w))
        coloured = cv2.transform(piece, self.matrix)
        how = cv2.INTER_AREA if self.zoom < 1 else cv2.INTER_LINEAR
        resized = np.asarray(cv2.resize(coloured, (width, height), interpolation=how), np.uint8)
        return _add_grain(resized, rng, self.grain) if self.grain else resized


def plain_material(
    texture: Image, zoom: float = 1.0, grain: float = 0.0, whole: bool = False
) -> Material:
    """Return an image as a material, its colours unchanged."""
    return Material(texture, np.eye(3, 4, dtype=np.float32), zoom, grain, whole)


def choose_material(rng: Rng, *kinds: str, zoom: tuple[float, float] = (0.6, 2.2)) -> Material:
    """Draw a material.

    Parameters
    ----------
    rng : numpy.random.Generator
    *kinds : str
        Names of generators (or ``"photo"``) to choose from; default all.
    zoom : (float, float)
        Range of pixels per texel.
    """
    bank = texture_bank()
    ranges = _kind_ranges()
    known = [ranges[k] for k in kinds if ranges[k][1] > ranges[k][0]]
    low, high = known[int(rng.integers(len(known)))] if known else (0, len(bank))
    texture = bank[int(rng.integers(low, high))]
    if rng.random() < 0.5:
        texture = texture[:, ::-1]
    if not kinds and rng.random() < 0.3:
        texture = texture.transpose(1, 0, 2)
    scale = float(np.exp(rng.uniform(*np.log(zoom))))
    grain = float(rng.uniform(0.02, 0.12)) if rng.random() < 0.5 else 0.0
    return Material(texture, _recolour_matrix(rng), scale, grain)


def choose_texture(
    rng: Rng, height: int, width: int, *kinds: str, zoom: tuple[float, float] = (0.6, 2.2)
) -> Image:
    """Return a crop (height, width, 3) of a random material, see `choose_material`."""
    return choose_material(rng, *kinds, zoom=zoom).crop(rng, height, width)


@lru_cache(maxsize=1)
def _grain() -> Image:
    grey = power_noise(np.random.default_rng(_BANK_SEED), 1024, 0.8)
    return np.asarray(cv2.merge([np.asarray(255 * grey, np.uint8)] * 3), np.uint8)


def _add_grain(image: Image, rng: Rng, amount: float) -> Image:
    piece = _mirror_crop(_grain(), rng, *image.shape[:2])
    return np.asarray(cv2.addWeighted(image, 1, piece, amount, -128 * amount), np.uint8)


def _mirror_crop(texture: Image, rng: Rng, height: int, width: int) -> Image:
    below, beside = max(0, height - texture.shape[0]), max(0, width - texture.shape[1])
    if below or beside:
        texture = np.asarray(
            cv2.copyMakeBorder(texture, 0, below, 0, beside, cv2.BORDER_REFLECT_101), np.uint8
        )
    y = int(rng.integers(0, texture.shape[0] - height + 1))
    x = int(rng.integers(0, texture.shape[1] - width + 1))
    return texture[y : y + height, x : x + width]
