"""Photometric differences and misalignment of two cameras."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.textures import Field, Image, Rng


@dataclass(frozen=True)
class Development:
    """Photometric parameters of one camera.

    Parameters
    ----------
    gain : (3,) float
        Exposure times white balance, per BGR channel.
    gamma : float
    offset : float
        Grey levels.
    vignette : float
        Loss of light in the corners, 0..1.
    blur : float
        Standard deviation of the point spread, px; 0 for none.
    motion : (float, float)
        Motion blur vector, px.
    sharpen : float
        Strength of the unsharp mask.
    noise : (float, float)
        Read noise [grey levels] and shot noise [grey levels at white].
    chroma : bool
        Noise in coloured blotches, as after the denoising of a phone at night.
    jpeg : int
        Quality, 0 for none.
    """

    gain: NDArray[np.float64]
    gamma: float
    offset: float
    vignette: float
    blur: float
    motion: tuple[float, float]
    sharpen: float
    noise: tuple[float, float]
    chroma: bool
    jpeg: int


def draw_developments(rng: Rng) -> tuple[Development, Development]:
    """Return random parameters of both cameras, with usually small differences."""
    strength = float(rng.choice([0.0, 0.3, 1.0, 3.0], p=[0.15, 0.45, 0.3, 0.1]))
    common_gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.05, 3))
    gamma, vignette = np.exp(rng.normal(0, 0.15)), rng.choice([0, rng.uniform(0, 0.5)])
    blur = float(rng.choice([0.0, rng.uniform(0.3, 0.8), rng.uniform(0.8, 1.8)], p=[0.4, 0.5, 0.1]))
    level = rng.choice([0.0, 0.7, 2.0, 5.0], p=[0.2, 0.45, 0.25, 0.1])
    chroma, jpeg = rng.random() < 0.15, int(rng.integers(35, 96) if rng.random() < 0.5 else 0)
    sharpen = float(rng.choice([0, rng.uniform(0.2, 1.0)], p=[0.7, 0.3]))

    def one_view() -> Development:
        shake = rng.random() < 0.04 * (1 + strength)
        return Development(
            gain=common_gain
            * np.exp(strength * rng.normal(0, 0.06))
            * np.exp(strength * rng.normal(0, 0.02, 3)),
            gamma=float(gamma * np.exp(strength * rng.normal(0, 0.04))),
            offset=float(strength * rng.normal(0, 2)),
            vignette=float(np.clip(vignette + strength * rng.normal(0, 0.05), 0, 0.6)),
            blur=float(max(0, blur + min(strength, 1) * rng.normal(0, 0.15))) if blur else 0.0,
            motion=(float(rng.normal(0, 2)), float(rng.normal(0, 1))) if shake else (0.0, 0.0),
            sharpen=sharpen,
            noise=(float(level), float(level * rng.uniform(0.3, 1.5))),
            chroma=bool(chroma),
            jpeg=int(np.clip(jpeg + strength * rng.normal(0, 4), 20, 98)) if jpeg else 0,
        )

    return one_view(), one_view()


def develop(image: Image, how: Development, rng: Rng) -> Image:
    """Apply photometric parameters to an image, (H, W, 3) uint8 BGR."""
    height, width = image.shape[:2]
    curve = 255 * (np.arange(256)[:, None] / 255 * how.gain) ** how.gamma + how.offset
    table = np.clip(curve, 0, 255).astype(np.float32)[None]  # (1, 256, 3)
    developed = cv2.LUT(image, table)
    if how.blur > 0.2:
        developed = cv2.GaussianBlur(developed, (0, 0), how.blur)
    if max(np.abs(how.motion)) > 0.7:
        developed = cv2.filter2D(developed, -1, _motion_kernel(*how.motion))
    if how.sharpen:
        soft = cv2.GaussianBlur(developed, (3, 3), 0)
        developed = cv2.addWeighted(developed, 1 + how.sharpen, soft, -how.sharpen, 0)
    if how.vignette:
        ys = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
        xs = np.linspace(-1, 1, width, dtype=np.float32) ** 2
        fall = 1 - np.float32(how.vignette / 2) * (xs + ys)
        developed = cv2.multiply(developed, cv2.merge([fall] * 3))
    if how.noise[0] > 0:
        developed = _add_noise(np.asarray(developed, np.float32), how, rng)
    result = np.clip(developed, 0, 255).astype(np.uint8)
    if how.jpeg:
        _, data = cv2.imencode(".jpg", result, params=[cv2.IMWRITE_JPEG_QUALITY, how.jpeg])
        result = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return result


def defocus(image: Image, disparity: Field, focus: float, depth: float, blur: float) -> Image:
    """Blur the parts of an image that are out of focus.

    Parameters
    ----------
    image : (H, W, 3) uint8
    disparity : (H, W) float32
        Ground truth of the image, px.
    focus : float
        Disparity in focus, px.
    depth : float
        Difference from it, px of disparity, of the full blur.
    blur : float
        Standard deviation of the full blur, px.
    """
    soft = cv2.GaussianBlur(image, (0, 0), blur)
    out = np.clip(np.abs(disparity - np.float32(focus)) / np.float32(depth), 0, 1)
    weight = cv2.blur(out, (3, 3))
    return np.asarray(cv2.blendLinear(soft, image, weight, 1 - weight), np.uint8)


def _motion_kernel(dx: float, dy: float) -> Field:
    size = 2 * int(np.ceil(max(abs(dx), abs(dy)) / 2)) + 3
    kernel = np.zeros((size, size), np.float32)
    middle = size // 2
    for t in np.linspace(-0.5, 0.5, 9):
        kernel[round(middle + t * dy), round(middle + t * dx)] += 1
    return np.asarray(kernel / kernel.sum(), np.float32)


def _add_noise(image: Field, how: Development, rng: Rng) -> Field:
    read, shot = how.noise
    # A table of normal numbers, read from a random start, because drawing new numbers takes longer
    # than rendering the scene.
    table = _normal_table()
    start = int(rng.integers(0, table.size - 1))
    need = image.size
    repeats = need // table.size + 2
    grain = np.tile(table, repeats)[start : start + need].reshape(image.shape)
    if how.chroma:
        small = cv2.resize(grain, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_NEAREST)
        size = (image.shape[1], image.shape[0])
        grain = 0.6 * grain + cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
    scale = np.sqrt(np.float32(read * read) + np.float32(shot * shot / 255) * np.maximum(image, 0))
    return np.asarray(image + grain * scale, np.float32)


_TABLE: list[Field] = []


def _normal_table() -> Field:
    if not _TABLE:
        _TABLE.append(np.random.default_rng(7).standard_normal(1_000_003, dtype=np.float32))
    return _TABLE[0]


def draw_misalignment(rng: Rng, height: int, width: int) -> NDArray[np.float64] | None:
    """Draw the misalignment of the right image, an affine map (2, 3).

    It maps the ideal image to the taken one; None for an aligned pair.
    """
    if rng.random() < 0.4:
        return None
    large = 4.0 if rng.random() < 0.1 else 1.0
    roll = np.clip(rng.normal(0, 0.0012), -0.005, 0.005) * (1 + large) / 2
    zoom = 1 + np.clip(rng.normal(0, 0.0012), -0.005, 0.005)
    shift = float(np.clip(large * rng.normal(0, 0.25), -2.5, 2.5))
    cos, sin = zoom * np.cos(roll), zoom * np.sin(roll)
    cx, cy = (width - 1) / 2, (height - 1) / 2
    return np.array(
        [[cos, -sin, cx - cos * cx + sin * cy], [sin, cos, cy - sin * cx - cos * cy + shift]]
    )
