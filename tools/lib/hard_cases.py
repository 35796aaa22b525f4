"""Render five pairs that are hard for stereo matching.

A pair is made of upright layers, painted from back to front. The disparity of a layer may change
from row to row (a floor) but not within a row, so that both views are sampled without any
approximation: the left pixel x corresponds to the right pixel x - d.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.types import BGRImage, DisparityMap, StereoPair

Field = NDArray[np.float32]

HEIGHT, WIDTH = 360, 480
MARGIN_PX = 64  # more than any disparity: part of the right view beyond the left image
HORIZON = 200  # row where the floor meets the wall
WALL_PX = 12.0
NOISE_LEVELS = 1.5


@dataclass(frozen=True)
class Layer:
    """Upright surface.

    Parameters
    ----------
    colour : (HEIGHT, WIDTH + MARGIN_PX, 3) float32
        BGR, 0..255, on the grid of the left image.
    cover : (HEIGHT, WIDTH + MARGIN_PX) float32
        Opacity, 0..1.
    disparity : (HEIGHT,) float32
        Of the surface, by row [px].
    colour_disparity : (HEIGHT,) float32 or None
        Of the reflection, for a mirror.
    """

    colour: Field
    cover: Field
    disparity: Field
    colour_disparity: Field | None = None


@dataclass(frozen=True)
class HardCase:
    """Pair with ground truth and the reason of its difficulty."""

    name: str
    what: str
    pair: StereoPair
    ground_truth: DisparityMap


def paint(layers: list[Layer]) -> tuple[BGRImage, BGRImage, DisparityMap]:
    """Render both views and the ground truth of the left one.

    The ground truth is the disparity of the nearest surface, even if it is transparent.
    """
    left = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    right = left.copy()
    ground_truth = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    nothing = np.zeros(HEIGHT, np.float32)
    for layer in layers:
        inside = layer.disparity if layer.colour_disparity is None else layer.colour_disparity
        _add(left, layer, nothing, nothing)
        _add(right, layer, layer.disparity, inside)
        rows, columns = np.nonzero(layer.cover[:, :WIDTH] > 0)
        ground_truth[rows, columns] = layer.disparity[rows]
    rng = np.random.default_rng(7)
    views = [
        np.clip(view + rng.normal(0, NOISE_LEVELS, view.shape), 0, 255).astype(np.uint8)
        for view in (left, right)
    ]
    return views[0], views[1], ground_truth


def _add(view: Field, layer: Layer, shift: Field, colour_shift: Field) -> None:
    """Paint a layer over a view, in place."""
    cover = _sampled(layer.cover, shift)[..., None]
    view += cover * (_sampled(layer.colour, colour_shift) - view)


def _sampled(image: Field, shift: Field) -> Field:
    """Return the values at x + shift, WIDTH wide."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    sampled = cv2.remap(
        image,
        x + shift[:, None],
        y,
        interpolation=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(sampled, np.float32)


def _texture(seed: int, tone: tuple[float, float, float], contrast: float = 24) -> Field:
    """Return a mottled surface with detail of every size."""
    rng = np.random.default_rng(seed)
    size = (HEIGHT, WIDTH + MARGIN_PX)
    total = np.zeros((*size, 3), np.float32)
    for cell in (2, 5, 13, 34, 89):
        shape = (size[0] // cell + 2, size[1] // cell + 2)
        grey = rng.normal(0, 1, (*shape, 1)) + rng.normal(0, 0.3, (*shape, 3))
        coarse = grey.astype(np.float32)
        total += cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.array(tone, np.float32) * (1 + contrast / 200 * total), np.float32)


def _constant(disparity: float) -> Field:
    return np.full(HEIGHT, disparity, np.float32)


def _box(top: int, bottom: int, left: int, right: int, cover: float = 1.0) -> Field:
    mask = np.zeros((HEIGHT, WIDTH + MARGIN_PX), np.float32)
    mask[top:bottom, left:right] = cover
    return mask


def _floor_disparity() -> Field:
    """Return the disparity of the floor by row."""
    rows = np.arange(HEIGHT, dtype=np.float32)
    return np.asarray(WALL_PX + np.maximum(rows - HORIZON, 0) * np.float32(0.2), np.float32)


def _room(wall: Field | None = None) -> list[Layer]:
    """Return a wall, a floor and two boxes."""
    floor = _floor_disparity()
    everywhere = np.ones((HEIGHT, WIDTH + MARGIN_PX), np.float32)
    return [
        Layer(
            _texture(1, (165, 175, 185)) if wall is None else wall, everywhere, _constant(WALL_PX)
        ),
        Layer(_texture(2, (85, 120, 150)), _box(HORIZON, HEIGHT, 0, WIDTH + MARGIN_PX), floor),
        Layer(_texture(3, (50, 70, 160)), _box(170, 251, 40, 130), _constant(float(floor[250]))),
        Layer(_texture(4, (150, 100, 60)), _box(210, 311, 380, 470), _constant(float(floor[310]))),
    ]


def thin_structures() -> HardCase:
    """Render wires, bars and leaves one to four pixels wide."""
    cover = np.zeros((HEIGHT, WIDTH + MARGIN_PX), np.float32)
    for i, x in enumerate(range(160, 370, 30)):
        cv2.line(cover, (x, 30), (x + 6 * (i % 3), 300), 1.0, thickness=1 + i % 4)
    for y in (60, 130):
        cv2.line(cover, (140, y), (380, y + 14), 1.0, thickness=2)
    rng = np.random.default_rng(5)
    for x, y in rng.integers((150, 40), (370, 180), (40, 2)):
        centre = (int(x), int(y))
        angle = float(rng.uniform(0, 180))
        cv2.ellipse(cover, centre, (7, 2), angle, 0, 360, 1.0, thickness=-1)
    layers = [*_room(), Layer(_texture(6, (40, 75, 45)), cover, _constant(36))]
    return _case("thin structures", "wires, bars and leaves 1 to 4 px wide", layers)


def see_through() -> HardCase:
    """Render a pane of glass that transmits three quarters of the light."""
    frame = _box(60, 300, 140, 360) - _box(70, 290, 150, 350)
    pane = _box(70, 290, 150, 350, cover=0.25)
    layers = [
        *_room(),
        Layer(_texture(7, (200, 200, 200), 10), pane, _constant(34)),
        Layer(_texture(8, (40, 50, 60)), frame, _constant(34)),
    ]
    return _case("see-through", "a pane of glass; the ground truth is the pane", layers)


def mirror() -> HardCase:
    """Render a mirror that shows distant things."""
    frame = _box(30, 190, 150, 340) - _box(38, 182, 158, 332)
    glass = _box(38, 182, 158, 332)
    shown = _texture(9, (190, 150, 110), 40)
    layers = _room()
    layers[1:1] = [
        Layer(shown, glass, _constant(WALL_PX), colour_disparity=_constant(3)),
        Layer(_texture(10, (40, 70, 110)), frame, _constant(WALL_PX + 1)),
    ]
    return _case("mirror", "it shows what is far behind it; the ground truth is the glass", layers)


def repeated_texture() -> HardCase:
    """Render stripes with a period of 14 px."""
    stripes = np.zeros((HEIGHT, WIDTH + MARGIN_PX, 3), np.float32)
    phase = np.arange(WIDTH + MARGIN_PX, dtype=np.float32) * (2 * np.pi / 14)
    stripes += (130 + 70 * np.sin(phase))[None, :, None]
    layers = [*_room(), Layer(stripes, _box(40, 280, 140, WIDTH + MARGIN_PX), _constant(30))]
    return _case("repeated texture", "stripes that repeat every 14 px", layers)


def light_difference() -> HardCase:
    """Render a right view two stops darker, with a reflection."""
    left, right, ground_truth = paint(_room())
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    distance = np.hypot(x / WIDTH - 0.5, y / HEIGHT - 0.5)
    light = np.clip(1.1 - 1.2 * distance, 0.2, 1)[..., None] * np.array([0.42, 0.3, 0.25])
    glare = 170 * np.exp(-(((x - 250) / 50) ** 2) - ((y - 90) / 40) ** 2)[..., None]
    darker = np.clip(right * light + glare, 0, 255).astype(np.uint8)
    pair = StereoPair(left, darker, "strong light difference")
    return HardCase(pair.name, "one camera two stops darker, with a reflection", pair, ground_truth)


def _case(name: str, what: str, layers: list[Layer]) -> HardCase:
    left, right, ground_truth = paint(layers)
    return HardCase(name, what, StereoPair(left, right, name), ground_truth)


CASES: tuple[Callable[[], HardCase], ...] = (
    thin_structures,
    see_through,
    mirror,
    repeated_texture,
    light_difference,
)
