"""Objects of random scenes: furniture, crockery, books, figures, plants, rows.

Longer than the rule for modules: one function for each kind of object.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from training.scenes.bank import Material, choose_material
from training.scenes.camera import Frame
from training.scenes.kit import (
    Stage,
    add_box,
    add_card,
    add_floating,
    add_relief,
    add_round,
    bumps,
    dome,
    folds,
)
from training.scenes.masks import OPEN, SOLID, Mask, Outline, branch, drawn_once
from training.scenes.textures import Field, Rng


def upright_card(
    stage: Stage, frame: Frame, width: float, height: float, mask: Outline | None, *kinds: str
) -> None:
    """Add an upright card with its base at ``frame.origin``."""
    corner = frame.at(-width / 2, -height, 0)
    add_card(stage, corner, frame.axes[0] * width, frame.axes[1] * height, *kinds, mask=mask)


def pole(stage: Stage, frame: Frame, radius: float, height: float, *kinds: str) -> None:
    """Add a thin upright cylinder."""
    add_round(stage, frame, (radius, height / 2, radius), "cylinder", *kinds)


def table(  # noqa: PLR0917  frame, three lengths and material
    stage: Stage, frame: Frame, width: float, height: float, length: float,
    material: Material | None = None,
) -> None:  # fmt: skip
    """Add a table: four legs and a board."""
    rng = stage.rng
    leg = width * rng.uniform(0.02, 0.06)
    board = height * rng.uniform(0.03, 0.1)
    if material is None:
        material = choose_material(rng, "wood", "flat", "planks", "noise")
    for sx in (-1, 1):
        for sz in (-1, 1):
            foot = frame.at(sx * (width / 2 - leg), 0, sz * (length / 2 - leg))
            add_box(stage, Frame(foot, frame.axes), leg, height - board, leg, material=material)
    top = Frame(frame.at(0, -(height - board), 0), frame.axes)
    add_box(stage, top, width, board, length, material=material)


def chair(stage: Stage, frame: Frame, width: float, material: Material | None = None) -> None:
    """Add a chair: a small table with a back of bars."""
    rng = stage.rng
    height = width * rng.uniform(0.9, 1.2)
    table(stage, frame, width, height, width, material)
    back = width * rng.uniform(0.8, 1.3)
    corner = frame.at(-width / 2, -height - back, width / 2)
    right, down = frame.axes[0] * width, frame.axes[1] * back
    kinds = ("wood", "flat", "fabric")
    add_card(stage, corner, right, down, *kinds, mask=bars, material=material)


def bars(rng: Rng, h: int, w: int) -> Mask:
    """Draw bars in a frame, like the back of a chair."""
    mask = np.zeros((h, w), np.uint8)
    thick = max(1, int(w * rng.uniform(0.03, 0.1)))
    count = int(rng.integers(2, 9))
    upright = rng.random() < 0.6
    for i in range(count):
        at = int((i + 0.5) / count * (w if upright else h))
        ends = ((at, 0), (at, h)) if upright else ((0, at), (w, at))
        cv2.line(mask, ends[0], ends[1], 255, thickness=thick)
    cv2.rectangle(mask, (0, 0), (w - 1, h - 1), 255, thickness=2 * thick)
    return mask


def books(stage: Stage, frame: Frame, size: float) -> None:
    """Add a stack of books, each slightly rotated."""
    rng = stage.rng
    y = 0.0
    for _ in range(int(rng.integers(2, 6))):
        h = size * rng.uniform(0.05, 0.2)
        level = Frame(frame.at(0, -y, 0), frame.axes).turned(rng.normal(0, 0.3))
        width, length = size * rng.uniform(0.7, 1.2), size * rng.uniform(0.5, 0.8)
        add_box(stage, level, width, h, length, "flat", "page", "photo", "noise", "dead_leaves")
        y += h


def figure(stage: Stage, frame: Frame, size: float) -> None:
    """Add two to four stacked round bodies: toy, bottle or vase."""
    rng = stage.rng
    y, radius = 0.0, size * rng.uniform(0.15, 0.4)
    for _ in range(int(rng.integers(2, 5))):
        half = size * rng.uniform(0.1, 0.35)
        kind = "ellipsoid" if rng.random() < 0.6 else "cylinder"
        add_round(stage, Frame(frame.at(0, -y, 0), frame.axes), (radius, half, radius), kind)
        y += half * rng.uniform(1.4, 2)
        radius *= rng.uniform(0.5, 1.1)


def plant(stage: Stage, frame: Frame, size: float) -> None:
    """Add a pot with a few flat twigs."""
    rng = stage.rng
    add_round(stage, frame, (size * 0.15, size * 0.15, size * 0.15), "cup")
    twig = drawn_once(branch)
    for _ in range(int(rng.integers(2, 6))):
        turned = frame.turned(rng.uniform(0, 6.3))
        upright_card(stage, turned, size * 0.8, size, twig, "noise", "scratches", "flat", "photo")


def lamp(stage: Stage, frame: Frame, size: float) -> None:
    """Add a lamp: a shade on a thin stand."""
    pole(stage, frame, size * 0.015, size * 2, "flat")
    top = Frame(frame.at(0, -2 * size, 0), frame.axes)
    add_round(
        stage, top, (size * 0.2, size * 0.15, size * 0.2), "cylinder", "flat", "gradient", "fabric"
    )


def row(stage: Stage, frame: Frame, size: float) -> None:
    """Add a row of equal, equidistant objects, like balusters or pickets."""
    rng = stage.rng
    count = int(rng.integers(4, 12))
    width, height = size * rng.uniform(0.02, 0.25), size * rng.uniform(0.4, 1.2)
    step = width * rng.uniform(1.3, 4)
    material = choose_material(rng)
    round_ = rng.random() < 0.5
    for i in range(count):
        spot = Frame(frame.at((i - count / 2) * step, 0, 0), frame.axes)
        if round_:
            add_round(
                stage, spot, (width / 2, height / 2, width / 2), "cylinder", material=material
            )
        else:
            add_box(stage, spot, width, height, width, material=material)
    if rng.random() < 0.5:
        rail = Frame(frame.at(-step / 2, -height, 0), frame.axes)
        add_box(stage, rail, count * step, width, width, material=material)


def shelf(stage: Stage, frame: Frame, width: float, height: float, length: float) -> None:
    """Add an open shelf filled with books and boxes."""
    rng = stage.rng
    material = choose_material(rng, "wood", "flat", "planks")
    thick = 0.03 * width
    levels = int(rng.integers(1, 4))
    for side in (-1, 1):
        spot = Frame(frame.at(side * width / 2, 0, 0), frame.axes)
        add_box(stage, spot, thick, height, length, material=material)
    for level in range(levels + 1):
        spot = Frame(frame.at(0, -level * (height - thick) / levels, 0), frame.axes)
        add_box(stage, spot, width, thick, length, material=material)
        x = -width / 2 + thick
        while level < levels and x < width / 2 - 0.1 * width:
            wide = width * rng.uniform(0.04, 0.2)
            tall = height / levels * rng.uniform(0.4, 0.85)
            book = Frame(spot.at(x + wide / 2, -thick, -length * rng.uniform(0, 0.2)), frame.axes)
            add_box(
                stage,
                book,
                wide * 0.95,
                tall,
                length * 0.6,
                "flat",
                "page",
                "photo",
                "stripes",
                "noise",
            )
            x += wide * rng.choice([1, 1, 1, 1.6])


def thing(stage: Stage, frame: Frame, size: float) -> None:
    """Add an object of about a size, based at ``frame.origin``."""
    rng = stage.rng
    r = size / 2
    kind = int(rng.integers(9))
    if kind == 0:
        add_round(stage, frame, (r, r, r), "ellipsoid")
    elif kind == 1:
        axes = r * np.exp(rng.uniform(-0.8, 0.3, 3))
        add_round(stage, frame, (axes[0], axes[1], axes[2]), "ellipsoid")
    elif kind == 2:
        add_round(stage, frame, (r * 0.7, r * rng.uniform(0.5, 2), r * 0.7), "cup")
    elif kind == 3:
        add_round(
            stage, frame, (r * rng.uniform(0.2, 1), r * rng.uniform(0.3, 2), r * 0.6), "cylinder"
        )
    elif kind == 4:
        books(stage, frame, size)
    elif kind == 5:
        figure(stage, frame, size)
    else:
        add_box(stage, frame, *(size * np.exp(rng.uniform(-0.9, 0.5, 3))))


def furniture(stage: Stage, frame: Frame, size: float) -> None:
    """Add a piece of furniture or an object of similar size."""
    rng = stage.rng
    makers: tuple[Callable[[], None], ...] = (
        lambda: table(stage, frame, size * 1.5, size * rng.uniform(0.6, 1.2), size),
        lambda: chair(stage, frame, size * 0.6),
        lambda: add_box(stage, frame, *(size * np.exp(rng.uniform(-1, 0.7, 3)))),
        lambda: plant(stage, frame, size),
        lambda: lamp(stage, frame, size),
        lambda: upright_card(
            stage,
            frame,
            size * rng.uniform(0.5, 2),
            size * rng.uniform(0.5, 2),
            random_outline(rng, 0),
        ),
        lambda: row(stage, frame, size),
        lambda: shelf(
            stage, frame, size * rng.uniform(0.6, 1.5), size * rng.uniform(0.8, 2), size * 0.4
        ),
        lambda: thing(stage, frame, size),
    )
    weights = np.array([2, 2, 2, 2, 1, 1.5, 1, 0.6, 2])
    makers[int(rng.choice(len(makers), p=weights / weights.sum()))]()


def random_outline(rng: Rng, solid: float) -> Outline:
    """Return a random outline, a solid one with the given probability."""
    family = SOLID if rng.random() < solid else OPEN
    return family[int(rng.integers(len(family)))]


def clutter(stage: Stage, count: int, near: float, far: float) -> None:
    """Add floating cards of random outline and size between two depths."""
    rng, camera = stage.rng, stage.camera
    for _ in range(count):
        if rng.random() < 0.2:
            relief_card(stage, 1 / rng.uniform(1 / far, 1 / near))
            continue
        depth = 1 / rng.uniform(1 / far, 1 / near)
        size = float(np.exp(rng.uniform(np.log(8), np.log(0.45 * camera.width))))
        tilt = float(rng.choice([0.0, 0.3, 0.8]))
        y = float(rng.uniform(0, camera.height))
        add_floating(stage, (stage.column(), y, depth), size, random_outline(rng, 0.45), tilt)


def relief_card(stage: Stage, depth: float) -> None:
    """Add a cushion, crumpled sheet or curtain at a random position."""
    rng, camera = stage.rng, stage.camera
    limits = (camera.height, camera.width)
    h, w = (int(np.exp(rng.uniform(np.log(20), np.log(0.7 * s)))) for s in limits)
    x, y = int(stage.column() - w / 2), int(rng.uniform(-0.3 * h, camera.height - 0.5 * h))
    y = int(np.clip(y, 0, max(camera.height - h, 0)))
    smooth = tilted_field(stage, depth, h, w)
    make = (bumps, folds, dome, dome)[int(rng.integers(4))]
    shape = np.float32(rng.uniform(0.05, 0.5)) * make(rng, h, w)
    add_relief(stage, x, y, smooth, shape, mask=random_outline(rng, 0.8))


def tilted_field(stage: Stage, depth: float, height: int, width: int) -> Field:
    """Return inverse depths, focal / Z, of a slightly tilted plane.

    Returns
    -------
    (height, width) float32
    """
    tilt = stage.rng.normal(0, 0.2, 2) / max(height, width)
    xs = np.arange(width) - width / 2
    ys = np.arange(height)[:, None] - height / 2
    field = stage.camera.focal / depth * (1 + tilt[0] * xs + tilt[1] * ys)
    return np.asarray(np.maximum(field, 1e-3), np.float32)
