"""Render clips of cards at several depths before a textured wall."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.types import BGRImage

WALL_DISPARITY = 6.0


def texture(seed: int, height: int, width: int) -> BGRImage:
    """Return a random image with detail at several scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for cells in (6, 16, 48, 120):
        grid = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(128 + 48 * total, 0, 255), np.uint8)


class Stage:
    """Scene of cards before a wall, for a rectified stereo camera.

    Parameters
    ----------
    seed : int
    size : (int, int)
        Height and width of the images.
    cards : int
        Number of cards before the wall, each at a different disparity.
    """

    def __init__(self, seed: int, size: tuple[int, int] = (180, 240), cards: int = 4) -> None:
        rng = np.random.default_rng(seed)
        self.size = size
        height, width = size
        self.wall = texture(seed, 2 * height, 2 * width)
        self.cards = [texture(seed * 100 + k + 1, height // 3, width // 5) for k in range(cards)]
        self.places = rng.uniform([0.1, 0.1], [0.7, 0.55], (cards, 2)) * [width, height]
        self.disparities = np.linspace(10, 24, cards)

    def view(
        self,
        right: bool,
        camera: tuple[float, float] = (0.0, 0.0),
        moved: NDArray[np.float64] | None = None,
    ) -> tuple[BGRImage, NDArray[np.float32]]:
        """Return one view and the disparity at its pixels."""
        height, width = self.size
        shift = -1.0 if right else 0.0
        layers = [(self.wall, (-width / 2, -height / 2), WALL_DISPARITY)]
        layers += list(zip(self.cards, self.places, self.disparities, strict=True))
        image = np.zeros((height, width, 3), np.uint8)
        disparity = np.zeros((height, width), np.float32)
        for k, (layer, place, near) in enumerate(layers):
            x, y = place[0] + camera[0] + shift * near, place[1] + camera[1]
            if moved is not None and k > 0:
                x, y = x + moved[k - 1, 0], y + moved[k - 1, 1]
            move = np.array([[1, 0, x], [0, 1, y]], np.float64)
            drawn = cv2.warpAffine(layer, move, (width, height), flags=cv2.INTER_LINEAR)
            there = np.full(layer.shape[:2], 255, np.uint8)
            shown = cv2.warpAffine(there, move, (width, height), flags=cv2.INTER_LINEAR) > 127
            image[shown], disparity[shown] = drawn[shown], near
        return image, disparity


def with_noise(image: BGRImage, rng: np.random.Generator, grey: float = 2.0) -> BGRImage:
    """Return the image with sensor noise."""
    noisy = image + rng.normal(0, grey, image.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def shaky_path(rng: np.random.Generator, frames: int, size_px: float) -> NDArray[np.float64]:
    """Return the position of a hand-held camera by frame, (frames, 2)."""
    speed = rng.normal(0, size_px, (frames + 8, 2))
    speed = np.apply_along_axis(lambda v: np.convolve(v, np.ones(3) / 3, "same"), 0, speed)
    path = np.cumsum(speed, axis=0)[:frames]
    return np.asarray(path - path.mean(axis=0))


def two_recordings(
    seed: int,
    offset: int,
    *,
    moving_camera: bool,
    frames: int = 80,
    kept: int = 60,
    rates: tuple[float, float] = (24.0, 24.0),
) -> tuple[list[BGRImage], list[BGRImage]]:
    """Render two recordings, the right one `offset` frames behind.

    Left frame i is synchronous to right frame i * rates[1] / rates[0] + offset.
    """
    rng = np.random.default_rng(seed)
    stage = Stage(seed)
    camera = shaky_path(rng, frames, 2.0) if moving_camera else np.zeros((frames, 2))
    cards = np.stack([shaky_path(rng, frames, 3.0) for _ in stage.cards], axis=1)
    left: list[BGRImage] = []
    right: list[BGRImage] = []
    behind = offset * rates[0] / rates[1]
    for clip, is_right, start, rate in (
        (left, False, max(behind, 0.0), rates[0]),
        (right, True, max(-behind, 0.0), rates[1]),
    ):
        step = rates[0] / rate
        for time in np.arange(start, min(start + kept, frames - 1 + step / 2) - 1e-9, step):
            x, y = _at(camera, time)
            image, _ = stage.view(is_right, (x, y), None if moving_camera else _at(cards, time))
            clip.append(with_noise(image, rng))
    return left, right


def _at(path: NDArray[np.float64], time: float) -> NDArray[np.float64]:
    """Return the position between two frames of a path, (frames, ...)."""
    before = min(int(time), len(path) - 1)
    after = min(before + 1, len(path) - 1)
    share = min(max(time - before, 0.0), 1.0)
    return np.asarray((1 - share) * path[before] + share * path[after])
