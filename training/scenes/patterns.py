"""Man-made patterns, many of them periodic, and the list of generators."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np

from training.scenes.textures import (
    Image,
    Rng,
    apply_palette,
    blotches,
    colour_noise,
    coordinates,
    dead_leaves,
    flat,
    gradient,
    marble,
    noise,
    planks,
    power_noise,
    random_palette,
    scratches,
    voronoi,
    wood,
)


def stripes(rng: Rng, size: int) -> Image:
    """Draw periodic stripes, checks or plaid."""
    along, across = coordinates(size, rng, slanted=bool(rng.random() < 0.4))
    period = np.exp(rng.uniform(np.log(6), np.log(64)))
    hard = rng.choice([1.0, 3.0, 20.0])
    first = 0.5 + 0.5 * np.tanh(hard * np.sin(2 * np.pi * along / period))
    if rng.random() < 0.5:
        second = 0.5 + 0.5 * np.tanh(
            hard * np.sin(2 * np.pi * across / period / rng.choice([1, 2]))
        )
        first = np.abs(first - second) if rng.random() < 0.5 else 0.5 * (first + second)
    return apply_palette(first.astype(np.float32), rng)


def fabric(rng: Rng, size: int) -> Image:
    """Draw woven threads with slow colour changes."""
    along, across = coordinates(size, rng, slanted=bool(rng.random() < 0.5))
    period = rng.uniform(3.5, 9)
    weave = np.sin(2 * np.pi * along / period) * np.sin(2 * np.pi * across / period)
    base = apply_palette(power_noise(rng, size, rng.uniform(1, 2)), rng).astype(np.float32)
    return np.asarray(
        np.clip(base * (1 + rng.uniform(0.05, 0.35) * weave[..., None]), 0, 255), np.uint8
    )


def _grid_cells(  # noqa: PLR0917  bricks and tiles differ in all parameters
    rng: Rng, size: int, cell_h: int, cell_w: int, offset: float, joint: int, spread: float
) -> Image:
    base = random_palette(rng, 1)[0]
    mortar = random_palette(rng, 1)[0]
    image = np.empty((size, size, 3), np.float32)
    image[:] = mortar
    for row in range(-1, size // cell_h + 1):
        start = -cell_w + int(offset * cell_w) * (row % 2)
        for x in range(start, size, cell_w):
            y = row * cell_h
            colour = base * (1 + spread * rng.normal()) + rng.normal(0, 60 * spread, 3)
            image[
                max(y, 0) : max(y + cell_h - joint, 0), max(x, 0) : max(x + cell_w - joint, 0)
            ] = colour
    grain = power_noise(rng, size, rng.uniform(0.6, 1.5)) - 0.5
    image += rng.uniform(5, 60) * grain[..., None]
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def bricks(rng: Rng, size: int) -> Image:
    """Draw bricks in courses."""
    height = int(rng.integers(8, 32))
    width = int(height * rng.uniform(1.5, 3.5))
    return _grid_cells(rng, size, height, width, 0.5, int(rng.integers(1, 4)), rng.uniform(0, 0.2))


def tiles(rng: Rng, size: int) -> Image:
    """Draw square tiles of equal or similar colour."""
    side = int(rng.integers(8, 64))
    return _grid_cells(
        rng, size, side, side, 0.0, int(rng.integers(1, 4)), rng.choice([0, 0.05, 0.3])
    )


def wallpaper(rng: Rng, size: int) -> Image:
    """Draw one small motif repeated exactly, which is highly ambiguous in matching."""
    cell = int(rng.choice([16, 24, 32, 43, 64]))
    motif = dead_leaves(rng, 64) if rng.random() < 0.5 else noise(rng, 64)
    motif = np.asarray(cv2.resize(motif, (cell, cell), interpolation=cv2.INTER_AREA), np.uint8)
    repeats = size // cell + 1
    return np.ascontiguousarray(np.tile(motif, (repeats, repeats, 1))[:size, :size])


def dots(rng: Rng, size: int) -> Image:
    """Draw discs on a regular or jittered grid."""
    paper, ink = (tuple(float(v) for v in c) for c in random_palette(rng, 2))
    image = np.empty((size, size, 3), np.uint8)
    image[:] = np.asarray(paper, np.uint8)
    step = int(rng.integers(8, 40))
    jitter = rng.choice([0.0, 0.0, 0.3])
    radius = max(1, int(step * rng.uniform(0.15, 0.45)))
    for y in range(step // 2, size, step):
        for x in range(step // 2, size, step):
            dx, dy = (jitter * step * rng.normal(size=2)).astype(int)
            cv2.circle(image, (x + dx, y + dy), radius, ink, thickness=-1, lineType=cv2.LINE_AA)
    return image


def page(rng: Rng, size: int) -> Image:
    """Draw a page of random letters."""
    paper, ink = random_palette(rng, 2)
    if rng.random() < 0.7:
        paper, ink = (
            np.array([240, 245, 245], np.float32) * rng.uniform(0.7, 1),
            np.full(3, 30, np.float32),
        )
    image = np.empty((size, size, 3), np.uint8)
    image[:] = paper.astype(np.uint8)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIKLMNOPRSTUVW0123456789    ,.;-"))
    y, scale = 0, 0.35
    while y < size:
        scale = rng.choice([0.3, 0.35, 0.4, 0.8, 1.4]) if rng.random() < 0.25 else scale
        y += int(32 * scale)
        line = "".join(rng.choice(letters, int(size / 16 / scale)))
        font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX]))
        colour = tuple(float(v) for v in ink)
        thickness = 1 if scale < 0.7 else 2
        cv2.putText(
            image,
            line,
            (4, y),
            font,
            float(scale),
            colour,
            thickness=thickness,
            lineType=cv2.LINE_AA,
        )
    return image


def books(rng: Rng, size: int) -> Image:
    """Draw rows of book spines on shelves."""
    image = np.zeros((size, size, 3), np.uint8)
    rows = int(rng.integers(1, 4))
    edges = np.linspace(0, size, rows + 1).astype(int)
    same = rng.random() < 0.25
    for top, bottom in pairwise(edges):
        x = 0
        width, colour = int(rng.integers(8, 30)), random_palette(rng, 1)[0]
        while x < size:
            if not same:
                width, colour = int(rng.integers(6, 36)), random_palette(rng, 1)[0]
            head = top + int(rng.uniform(0, 0.25) * (bottom - top)) * (not same)
            image[head : bottom - 4, x : x + width - 1] = colour
            band = head + int(rng.uniform(0.1, 0.8) * (bottom - head))
            image[band : band + int(rng.integers(2, 14)), x : x + width - 1] = random_palette(
                rng, 1
            )[0]
            x += width
        image[bottom - 4 : bottom] = random_palette(rng, 1)[0]
    return image


def keyboard(rng: Rng, size: int) -> Image:
    """Draw rows of equal keys with letters."""
    paper, key, ink = random_palette(rng, 3)
    image = np.empty((size, size, 3), np.uint8)
    image[:] = paper.astype(np.uint8)
    step = int(rng.integers(18, 44))
    for row, y in enumerate(range(0, size, step)):
        for x in range(-(row * step // 3) % step - step, size, step):
            low, high = (x + 2, y + 2), (x + step - 3, y + step - 3)
            cv2.rectangle(image, low, high, tuple(float(v) for v in key), thickness=-1)
            letter = chr(int(rng.integers(65, 91)))
            at = (x + step // 3, y + 2 * step // 3)
            cv2.putText(
                image, letter, at, cv2.FONT_HERSHEY_SIMPLEX, step / 70,
                tuple(float(v) for v in ink), thickness=1, lineType=cv2.LINE_AA,
            )  # fmt: skip
    return image


def facade(rng: Rng, size: int) -> Image:
    """Draw a house front with rows of equal windows."""
    wall = noise(rng, size).astype(np.float32) * 0.2 + random_palette(rng, 1)[0] * 0.8
    image = np.asarray(np.clip(wall, 0, 255), np.uint8)
    step_x, step_y = (int(v) for v in rng.integers(28, 90, 2))
    glass, frame = random_palette(rng, 1)[0] * 0.4, random_palette(rng, 1)[0]
    width, height = int(step_x * rng.uniform(0.3, 0.7)), int(step_y * rng.uniform(0.4, 0.75))
    for y in range(step_y // 6, size, step_y):
        for x in range(step_x // 6, size, step_x):
            image[y : y + height, x : x + width] = frame
            image[y + 2 : y + height - 2, x + 2 : x + width - 2] = glass * rng.uniform(0.6, 1.8)
            image[y + 2 : y + height - 2, x + width // 2 : x + width // 2 + 2] = frame
    return image


GENERATORS: tuple[tuple[Callable[[Rng, int], Image], int], ...] = (
    (noise, 14),
    (colour_noise, 8),
    (wood, 8),
    (planks, 6),
    (marble, 5),
    (dead_leaves, 14),
    (voronoi, 8),
    (stripes, 9),
    (fabric, 8),
    (bricks, 7),
    (tiles, 6),
    (wallpaper, 8),
    (dots, 4),
    (page, 8),
    (books, 6),
    (keyboard, 3),
    (facade, 6),
    (gradient, 5),
    (flat, 12),
    (blotches, 7),
    (scratches, 6),
)
"""Generators and the number of textures that each contributes to the bank."""
