"""Outlines of cards as masks, (h, w) uint8, 255 inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.textures import Rng, power_noise

Mask: TypeAlias = NDArray[np.uint8]
Outline: TypeAlias = Callable[[Rng, int, int], Mask]
_AA = cv2.LINE_AA


def _empty(h: int, w: int) -> Mask:
    return np.zeros((h, w), np.uint8)


def _thickness(rng: Rng) -> int:
    return int(rng.choice([1, 2, 2, 2, 3, 3, 4, 6]))


def full(rng: Rng, h: int, w: int) -> Mask:
    """Return a full rectangle."""
    return np.full((h, w), 255, np.uint8)


def ellipse(rng: Rng, h: int, w: int) -> Mask:
    """Draw an ellipse."""
    mask = _empty(h, w)
    cv2.ellipse(
        mask, (w // 2, h // 2), (max(w // 2 - 1, 1), max(h // 2 - 1, 1)), 0, 0, 360, 255,
        thickness=-1, lineType=_AA,
    )  # fmt: skip
    return mask


def polygon(rng: Rng, h: int, w: int) -> Mask:
    """Draw a star-shaped polygon of 3 to 11 corners."""
    count = int(rng.integers(3, 12))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    reach = rng.uniform(rng.choice([0.3, 0.7]), 1, count)
    points = np.stack(
        [w / 2 * (1 + reach * np.cos(angles)), h / 2 * (1 + reach * np.sin(angles))], -1
    )
    mask = _empty(h, w)
    cv2.fillPoly(mask, [points.astype(np.int32)], 255, lineType=_AA)
    return mask


def blob(rng: Rng, h: int, w: int) -> Mask:
    """Draw a smooth closed outline."""
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    reach = np.full(90, 0.72)
    for order in range(2, 9):
        reach += rng.normal(0, 0.12 / order**0.5) * np.cos(order * angles + rng.uniform(0, 6.3))
    reach = np.clip(reach, 0.15, 1)
    points = np.stack(
        [w / 2 * (1 + reach * np.cos(angles)), h / 2 * (1 + reach * np.sin(angles))], -1
    )
    mask = _empty(h, w)
    cv2.fillPoly(mask, [points.astype(np.int32)], 255, lineType=_AA)
    return mask


def frame(rng: Rng, h: int, w: int) -> Mask:
    """Draw a frame with a hole that shows the background."""
    mask = full(rng, h, w)
    border = max(2, int(min(h, w) * rng.uniform(0.06, 0.25)))
    if rng.random() < 0.5:
        mask[border:-border, border:-border] = 0
    else:
        axes = (max(w // 2 - border, 1), max(h // 2 - border, 1))
        cv2.ellipse(mask, (w // 2, h // 2), axes, 0, 0, 360, 0, thickness=-1, lineType=_AA)
    return mask


def lattice(rng: Rng, h: int, w: int) -> Mask:
    """Draw a grid, a net, bars or slats."""
    mask = _empty(h, w)
    step = int(np.exp(rng.uniform(np.log(6), np.log(max(min(h, w) / 2, 12)))))
    width = int(np.clip(_thickness(rng), 1, max(1, step // 2)))
    kind = int(rng.integers(4))
    if kind in (0, 1):
        for x in range(step // 2, w, step):
            cv2.line(mask, (x, 0), (x, h), 255, thickness=width)
    if kind in (0, 2):
        for y in range(step // 2, h, step):
            cv2.line(mask, (0, y), (w, y), 255, thickness=width)
    if kind == 3:
        for x in range(-h, w + h, step):
            cv2.line(mask, (x, 0), (x + h, h), 255, thickness=width, lineType=_AA)
            cv2.line(mask, (x, h), (x + h, 0), 255, thickness=width, lineType=_AA)
    if rng.random() < 0.5:
        cv2.rectangle(mask, (0, 0), (w - 1, h - 1), 255, thickness=2 * width)
    return mask


def wires(rng: Rng, h: int, w: int) -> Mask:
    """Draw a few hanging wires or bent rods."""
    mask = _empty(h, w)
    xs = np.linspace(0, w, 24)
    for _ in range(int(rng.integers(1, 6))):
        ys = h * (rng.uniform(0.1, 0.9) + np.linspace(0, rng.normal(0, 0.4), 24))
        ys += (
            h
            * rng.uniform(0, 0.3)
            * np.sin(np.linspace(0, rng.uniform(1, 12), 24) + rng.uniform(0, 6))
        )
        points = np.stack([xs, ys], axis=-1).astype(np.int32)
        cv2.polylines(mask, [points], False, 255, thickness=_thickness(rng), lineType=_AA)
    return mask if rng.random() < 0.6 or h != w else np.ascontiguousarray(mask.T)


def sticks(rng: Rng, h: int, w: int) -> Mask:
    """Draw straight rods at random angles, like pencils or grass."""
    mask = _empty(h, w)
    spread = rng.choice([0.1, 0.5, 2])
    for _ in range(int(rng.integers(2, 14))):
        foot = rng.uniform(0, w)
        lean = spread * rng.normal() * h * 0.5
        top = h * rng.uniform(0, 0.6)
        cv2.line(
            mask, (int(foot), h), (int(foot + lean), int(top)), 255,
            thickness=_thickness(rng), lineType=_AA,
        )  # fmt: skip
    return mask


def branch(rng: Rng, h: int, w: int) -> Mask:
    """Draw a twig with leaves."""
    mask = _empty(h, w)
    leaf = max(2.0, min(h, w) * rng.uniform(0.04, 0.12))
    stems = [(w * rng.uniform(0.3, 0.7), float(h), -np.pi / 2, h * rng.uniform(0.4, 0.6), 0)]
    while stems:
        x, y, angle, length, depth = stems.pop()
        x2, y2 = x + length * np.cos(angle), y + length * np.sin(angle)
        cv2.line(
            mask,
            (int(x), int(y)),
            (int(x2), int(y2)),
            255,
            thickness=max(1, 3 - depth),
            lineType=_AA,
        )
        if depth < 3:
            for _ in range(int(rng.integers(2, 4))):
                part = rng.uniform(0.4, 1)
                at = (x + part * (x2 - x), y + part * (y2 - y))
                turn = angle + rng.normal(0, 0.7)
                stems.append((*at, turn, length * rng.uniform(0.4, 0.7), depth + 1))
        for _ in range(2 * depth):
            part = rng.uniform(0, 1.1)
            at = (int(x + part * (x2 - x)), int(y + part * (y2 - y)))
            size = (max(1, int(leaf * rng.uniform(0.6, 1.3))), max(1, int(leaf * 0.4)))
            cv2.ellipse(
                mask, at, size, float(rng.uniform(0, 360)), 0, 360, 255, thickness=-1, lineType=_AA
            )
    return mask


def foliage(rng: Rng, h: int, w: int) -> Mask:
    """Draw the crown of a tree or a bush with gaps."""
    mask = _empty(h, w)
    leaf = max(1.5, min(h, w) * rng.uniform(0.02, 0.09))
    count = int(min(220, rng.uniform(0.5, 2.0) * h * w / (leaf * leaf * 4)))
    radius = np.sqrt(rng.random(count)) * 0.9
    turn = rng.uniform(0, 2 * np.pi, count)
    for r, t in zip(radius, turn, strict=True):
        at = (int(w / 2 * (1 + r * np.cos(t))), int(h / 2 * (1 + r * np.sin(t))))
        size = (
            max(1, int(leaf * rng.uniform(0.6, 1.5))),
            max(1, int(leaf * rng.uniform(0.3, 0.7))),
        )
        cv2.ellipse(
            mask, at, size, float(rng.uniform(0, 360)), 0, 360, 255, thickness=-1, lineType=_AA
        )
    return mask


def letters(rng: Rng, h: int, w: int) -> Mask:
    """Draw free-standing letters."""
    mask = _empty(h, w)
    scale = max(h / 40, 0.3)
    word = "".join(chr(int(c)) for c in rng.integers(65, 91, max(1, int(w / (20 * scale)))))
    cv2.putText(
        mask, word, (1, int(h * 0.85)), cv2.FONT_HERSHEY_SIMPLEX, scale, 255,
        thickness=max(1, int(scale * rng.uniform(1.5, 5))), lineType=_AA,
    )  # fmt: skip
    return mask


def ragged(rng: Rng, h: int, w: int) -> Mask:
    """Draw a ragged surface with holes."""
    size = 128
    noise = power_noise(rng, size, rng.uniform(1.2, 2.0))
    cut = rng.uniform(0.3, 0.6)
    field = cv2.resize((noise - cut).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    gain = 255 * max(h, w) / size * 2
    return np.asarray(np.clip(128 + field * gain, 0, 255), np.uint8)


def drawn_once(outline: Outline) -> Outline:
    """Return an outline that is drawn once and then reused.

    It is resized and mirrored at random.
    """
    first: list[Mask] = []

    def again(rng: Rng, h: int, w: int) -> Mask:
        if not first:
            first.append(outline(rng, h, w))
        mask = first[0] if rng.random() < 0.5 else np.ascontiguousarray(first[0][:, ::-1])
        return np.asarray(cv2.resize(mask, (w, h), interpolation=cv2.INTER_LINEAR), np.uint8)

    return again


SOLID: tuple[Outline, ...] = (full, full, ellipse, polygon, blob)
OPEN: tuple[Outline, ...] = (
    frame,
    lattice,
    wires,
    sticks,
    branch,
    foliage,
    letters,
    ragged,
)
