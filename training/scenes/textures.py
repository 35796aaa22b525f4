"""Procedural textures: generators of (N, N, 3) uint8 BGR images.

The range is wide, from flat colour to fine grain and from noise to periodic patterns, because all
of them occur in photographs and matching fails differently on each.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Field = NDArray[np.float32]
Rng = np.random.Generator


def random_palette(rng: Rng, count: int) -> NDArray[np.float32]:
    """Draw related colours, mostly of low saturation.

    Returns
    -------
    (count, 3) float32
        BGR, 0..255.
    """
    hue = rng.uniform(0, 180) + rng.normal(0, rng.choice([5, 20, 60]), count)
    saturation = 255 * np.clip(rng.beta(1.3, 2.5) + rng.normal(0, 0.12, count), 0, 1)
    value = 255 * np.clip(
        rng.uniform(0.3, 0.95) + rng.normal(0, rng.choice([0.06, 0.2, 0.35]), count), 0.02, 1
    )
    hsv = np.stack([hue % 180, saturation, value], axis=-1).astype(np.uint8)[None]
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0], np.float32)


def apply_palette(grey: Field, rng: Rng, count: int | None = None) -> Image:
    """Map a field of values 0..1 to a smooth random palette."""
    count = int(rng.integers(2, 6)) if count is None else count
    colours = random_palette(rng, count)
    stops = np.linspace(0, 255, count)
    table = np.stack([np.interp(np.arange(256), stops, colours[:, c]) for c in range(3)], axis=-1)
    return np.asarray(table.astype(np.uint8)[np.clip(grey * 255, 0, 255).astype(np.uint8)])


def power_noise(
    rng: Rng, size: int, exponent: float, stretch: tuple[float, float] = (1, 1)
) -> Field:
    """Return periodic noise with amplitude spectrum 1/f^exponent, scaled to 0..1."""
    fy = np.fft.fftfreq(size)[:, None] * stretch[0]
    fx = np.fft.rfftfreq(size)[None] * stretch[1]
    radius = np.sqrt(fx * fx + fy * fy)
    radius[0, 0] = 1
    phase = np.exp(2j * np.pi * rng.random(radius.shape))
    noise = np.fft.irfft2(phase * radius**-exponent, s=(size, size)).astype(np.float32)
    low, high = np.percentile(noise[::4, ::4], [2, 98])
    return np.asarray(np.clip((noise - low) / max(float(high - low), 1e-9), 0, 1), np.float32)


def coordinates(size: int, rng: Rng, slanted: bool = True) -> tuple[Field, Field]:
    """Return pixel coordinates along two randomly rotated axes."""
    angle = rng.uniform(0, np.pi) if slanted else float(rng.choice([0, np.pi / 2]))
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    return (
        (np.cos(angle) * x + np.sin(angle) * y).astype(np.float32),
        (np.cos(angle) * y - np.sin(angle) * x).astype(np.float32),
    )


def noise(rng: Rng, size: int) -> Image:
    """Draw 1/f^a noise, like grain, clouds or plaster."""
    return apply_palette(power_noise(rng, size, rng.uniform(0.5, 2.2)), rng)


def colour_noise(rng: Rng, size: int) -> Image:
    """Draw independent noise per channel, mixed with common noise."""
    exponent = rng.uniform(0.8, 2.0)
    shared = power_noise(rng, size, exponent)
    own = [power_noise(rng, size, exponent) for _ in range(3)]
    weight = rng.uniform(0.3, 0.9)
    mixed = np.stack([weight * shared + (1 - weight) * c for c in own], axis=-1)
    low, high = sorted(rng.uniform(0, 255, 2))
    return np.asarray(np.clip(low + mixed * (high - low + 40), 0, 255), np.uint8)


def wood(rng: Rng, size: int) -> Image:
    """Draw wood: elongated noise with bent rings."""
    grain = power_noise(rng, size, rng.uniform(0.8, 1.6), (1, rng.uniform(6, 20)))
    bend = power_noise(rng, size, 2.0)
    across, _ = coordinates(size, rng, slanted=False)
    rings = 0.5 + 0.5 * np.sin(across * rng.uniform(0.05, 0.3) + bend * rng.uniform(2, 20))
    weight = rng.uniform(0.1, 0.6)
    grey = (weight * rings + (1 - weight) * grain).astype(np.float32)
    hue = rng.uniform(6, 20)
    dark, light = sorted(rng.uniform(30, 220, 2))
    hsv = np.empty((size, size, 3), np.uint8)
    hsv[..., 0] = hue
    hsv[..., 1] = rng.uniform(40, 170)
    hsv[..., 2] = dark + grey * (light - dark + 15)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8)


def planks(rng: Rng, size: int) -> Image:
    """Draw boards of slightly different brightness with dark joints."""
    image = wood(rng, size).astype(np.float32)
    count = int(rng.integers(3, 12))
    edges = np.linspace(0, size, count + 1).astype(int)
    for low, high in pairwise(edges):
        image[low:high] = np.roll(image[low:high], int(rng.integers(size)), axis=1)
        image[low:high] *= rng.uniform(0.75, 1.2)
        image[low : low + 2] *= 0.4
        joint = int(rng.integers(size))
        image[low:high, joint : joint + 2] *= 0.5
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def marble(rng: Rng, size: int) -> Image:
    """Draw marble veins, the sine of noise."""
    bend = power_noise(rng, size, rng.uniform(1.3, 2.0))
    along, _ = coordinates(size, rng)
    grey = np.abs(np.sin(along * rng.uniform(0.01, 0.06) + bend * rng.uniform(4, 15)))
    return apply_palette((grey ** rng.uniform(0.3, 1.5)).astype(np.float32), rng, 2)


def dead_leaves(rng: Rng, size: int) -> Image:
    """Draw overlapping discs, boxes and polygons.

    Their sizes follow a power law, as in natural images.
    """
    colours = random_palette(rng, 24)
    image = np.empty((size, size, 3), np.uint8)
    image[:] = colours[0].astype(np.uint8)
    count = int(rng.integers(150, 700))
    radii = np.clip(3 / rng.random(count) ** 0.6, 2, size / 4)
    kind = int(rng.integers(4))
    for radius in sorted(radii, reverse=True):
        colour = tuple(
            float(c) for c in colours[rng.integers(len(colours))] * rng.uniform(0.7, 1.2)
        )
        x, y = (int(v) for v in rng.integers(0, size, 2))
        shape = kind if kind < 3 else int(rng.integers(3))
        if shape == 0:
            cv2.circle(image, (x, y), int(radius), colour, thickness=-1, lineType=cv2.LINE_AA)
        elif shape == 1:
            half_w, half_h = (radius * rng.uniform(0.3, 1.5, 2)).astype(int)
            cv2.rectangle(
                image, (x - half_w, y - half_h), (x + half_w, y + half_h), colour, thickness=-1
            )
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
            points = radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1) + (x, y)
            cv2.fillPoly(image, [points.astype(np.int32)], colour, lineType=cv2.LINE_AA)
    return image


def voronoi(rng: Rng, size: int) -> Image:
    """Draw Voronoi cells of random points, with or without joints."""
    seeds = np.ones((size, size), np.uint8)
    count = int(rng.integers(15, 600))
    seeds[rng.integers(0, size, count), rng.integers(0, size, count)] = 0
    distance, labels = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = random_palette(rng, 16)
    image = colours[labels % 16]
    style = int(rng.integers(3))
    if style == 1:
        image = image * np.exp(-distance / rng.uniform(5, 30))[..., None]
    elif style == 2:
        joint = cv2.Laplacian(labels.astype(np.float32), cv2.CV_32F) != 0
        image[cv2.dilate(joint.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0] = colours[0] * 0.4
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def gradient(rng: Rng, size: int) -> Image:
    """Draw a slow change of colour, almost without texture."""
    along, _ = coordinates(size, rng)
    grey = (along - along.min()) / (along.max() - along.min())
    return apply_palette(grey, rng, 2)


def flat(rng: Rng, size: int) -> Image:
    """Draw one colour, with very faint grain or none."""
    base = random_palette(rng, 1)[0]
    grain = power_noise(rng, size, rng.uniform(0.5, 2.0)) - 0.5
    amount = rng.choice([0, 2, 6, 12])
    return np.asarray(np.clip(base + amount * grain[..., None], 0, 255), np.uint8)


def blotches(rng: Rng, size: int) -> Image:
    """Draw quantized noise, like camouflage, rust or spilt paint."""
    field = power_noise(rng, size, rng.uniform(1.2, 2.2))
    levels = int(rng.integers(2, 6))
    return apply_palette(np.floor(field * levels * 0.999) / max(levels - 1, 1), rng)


def scratches(rng: Rng, size: int) -> Image:
    """Draw fine lines on a flat background, like straw, hair or scratches."""
    image = flat(rng, size)
    colours = random_palette(rng, 6)
    main, spread = rng.uniform(0, np.pi), rng.choice([0.1, 0.4, 3.0])
    for _ in range(int(rng.integers(60, 500))):
        start = rng.uniform(0, size, 2)
        angle = main + spread * rng.normal()
        end = start + np.exp(rng.uniform(2, 5)) * np.array([np.cos(angle), np.sin(angle)])
        colour = tuple(float(v) for v in colours[rng.integers(6)])
        cv2.line(
            image, tuple(int(v) for v in start), tuple(int(v) for v in end), colour,
            thickness=int(rng.integers(1, 3)), lineType=cv2.LINE_AA,
        )  # fmt: skip
    return image
