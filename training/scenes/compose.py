"""Families of scenes: rooms, table tops, outdoors, and wild heaps of surfaces."""

from __future__ import annotations

import numpy as np

from .bank import choose_texture
from .camera import Camera, Frame, rotation
from .kit import (
    Stage,
    add_box,
    add_card,
    add_chair,
    add_floating,
    add_pole,
    add_relief,
    add_round,
    add_table,
)
from .masks import OPEN, SOLID, branch, foliage, full, lattice, letters, sticks, wires
from .shell import Shell, Wall, far_plane, mip_atlas
from .surfaces import Surface
from .textures import Rng

FAMILIES = {"room": 0.36, "tabletop": 0.26, "outdoor": 0.18, "abstract": 0.20}


def compose(rng: Rng, camera: Camera, target: float) -> list[Surface]:
    """Compose a random scene.

    Parameters
    ----------
    rng : numpy.random.Generator
    camera : Camera
        The left one.
    target : float
        Largest disparity as a part of the width.

    Returns
    -------
    list of Surface
        Far to near.
    """
    stage = Stage(rng, camera, target)
    family = str(rng.choice(list(FAMILIES), p=list(FAMILIES.values())))
    {"room": room, "tabletop": tabletop, "outdoor": outdoor, "abstract": abstract}[family](stage)
    return stage.surfaces()


def _wall(stage: Stage, frame: Frame, normal: int, sign: float, distance: float, texel: float,
          *kinds: str) -> Wall:  # fmt: skip
    """Make the wall at ``distance`` along a signed local axis; texture directions are the other two."""
    rng = stage.rng
    direction = sign * frame.axes[normal]
    others = [i for i in (0, 2, 1) if i != normal]
    texture = choose_texture(rng, 256, 256, *kinds, zoom=(0.9, 1.5))
    shade = stage.shade(-direction)
    texture = np.clip(texture * shade, 0, 255).astype(np.uint8)
    shift = rng.uniform(0, 500, 2)
    return Wall(
        direction,
        distance + float(direction @ frame.origin),
        frame.axes[others[0]],
        frame.axes[others[1]],
        texel,
        mip_atlas(texture),
        (float(shift[0]), float(shift[1])),
    )


def _tilted_frame(rng: Rng, yaw: float, pitch: float, roll: float = 0.02) -> Frame:
    turn = rotation(rng.normal(0, yaw), pitch, rng.normal(0, roll))
    return Frame(np.zeros(3), turn.T)


FLOORS = (
    "wood",
    "planks",
    "tiles",
    "fabric",
    "noise",
    "photo",
    "marble",
    "dead_leaves",
    "flat",
    "voronoi",
    "stripes",
)
WALLS = (
    "flat", "flat", "noise", "wallpaper", "bricks", "gradient", "stripes", "tiles", "photo", "blotches", "books",
)  # fmt: skip


def room(stage: Stage) -> None:
    """A furnished box-shaped room, seen from inside; unit: the height of the eye above the floor."""
    rng, camera = stage.rng, stage.camera
    frame = _tilted_frame(rng, 0.5, rng.normal(0.12, 0.12))
    depth = rng.uniform(1.5, 6)
    half = rng.uniform(0.9, 3.5, 2)
    texel = float(np.exp(rng.uniform(np.log(0.004), np.log(0.02))))
    walls = [
        _wall(stage, frame, 1, 1, 1.0, texel, *FLOORS),
        _wall(
            stage, frame, 1, -1, rng.uniform(0.7, 2), texel, "flat", "noise", "gradient", "tiles"
        ),
        _wall(stage, frame, 2, 1, depth, texel, *WALLS),
        _wall(stage, frame, 0, -1, half[0], texel, *WALLS),
        _wall(stage, frame, 0, 1, half[1], texel, *WALLS),
    ]
    stage.add(np.inf, Shell(tuple(walls)))
    for _ in range(int(rng.integers(0, 6))):  # pictures, windows, shelves on the back wall
        size = rng.uniform(0.15, 0.9, 2)
        x, y = rng.uniform(-half[0], half[1] - size[0]), rng.uniform(-0.7, 0.8 - size[1])
        corner = frame.at(x, y, depth - 0.01)
        if rng.random() < 0.4:
            base = Frame(frame.at(x + size[0] / 2, y + size[1], depth - 0.1), frame.axes)
            add_box(stage, base, size[0], size[1], 0.2, "books", "wood", "photo", "page")
        else:
            add_card(stage, corner, frame.axes[0] * size[0], frame.axes[1] * size[1],
                     "photo", "page", "dead_leaves", "flat", "gradient", "noise")  # fmt: skip
    for _ in range(int(rng.integers(4, 14))):
        z = rng.uniform(0.7, depth * 0.95)
        reach = min(camera.width / camera.focal / 2 * z * 1.1, 3)
        spot = Frame(frame.at(rng.uniform(-reach, reach), 1.0, z), frame.axes)
        _furniture(stage, spot.turned(rng.uniform(0, 6.3)), rng.uniform(0.15, 0.8))
    _clutter(stage, int(rng.integers(0, 8)), 0.8, depth)


def _furniture(stage: Stage, frame: Frame, size: float) -> None:
    rng = stage.rng
    kind = int(rng.integers(9))
    if kind == 0:
        add_table(stage, frame, size * 1.5, size * rng.uniform(0.6, 1.2), size)
        top = Frame(frame.at(0, -size * 0.9, 0), frame.axes)
        _thing(stage, top, size * 0.3)
    elif kind == 1:
        add_chair(stage, frame, size * 0.6)
    elif kind in (2, 3):
        add_box(stage, frame, *(size * np.exp(rng.uniform(-1, 0.7, 3))))
    elif kind == 4:  # plant
        add_round(stage, frame, (size * 0.15, size * 0.15, size * 0.15), "cup")
        for _ in range(int(rng.integers(2, 6))):
            _upright_card(stage, frame.turned(rng.uniform(0, 6.3)), size * 0.8, size, branch)
    elif kind == 5:  # lamp
        add_pole(stage, frame, size * 0.015, size * 2, "flat")
        top = Frame(frame.at(0, -2 * size, 0), frame.axes)
        add_round(
            stage,
            top,
            (size * 0.2, size * 0.15, size * 0.2),
            "cylinder",
            "flat",
            "gradient",
            "fabric",
        )
    elif kind == 6:
        _upright_card(
            stage,
            frame,
            size * rng.uniform(0.5, 2),
            size * rng.uniform(0.5, 2),
            OPEN[rng.integers(len(OPEN))],
        )
    else:
        _thing(stage, frame, size)


def _upright_card(stage: Stage, frame: Frame, width: float, height: float, mask) -> None:  # type: ignore[no-untyped-def]
    corner = frame.at(-width / 2, -height, 0)
    add_card(stage, corner, frame.axes[0] * width, frame.axes[1] * height, mask=mask)


def _thing(stage: Stage, frame: Frame, size: float) -> None:
    """Add one thing of about a size, standing on the frame's origin."""
    rng = stage.rng
    kind = int(rng.integers(7))
    r = size / 2
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
    elif kind == 4:  # stack of books
        y = 0.0
        for _ in range(int(rng.integers(2, 6))):
            h = size * rng.uniform(0.05, 0.2)
            level = Frame(frame.at(0, -y, 0), frame.axes).turned(rng.normal(0, 0.3))
            add_box(
                stage,
                level,
                size * rng.uniform(0.7, 1.2),
                h,
                size * rng.uniform(0.5, 0.8),
                "flat",
                "page",
                "photo",
                "noise",
            )
            y += h
    else:
        add_box(stage, frame, *(size * np.exp(rng.uniform(-0.9, 0.5, 3))))


def tabletop(stage: Stage) -> None:
    """Things on a table before a wall, seen from above; unit: the height of the eye above the table."""
    rng, camera = stage.rng, stage.camera
    pitch = rng.uniform(0.15, 0.9)
    frame = _tilted_frame(rng, 0.3, pitch)
    texel = float(np.exp(rng.uniform(np.log(0.003), np.log(0.015))))
    distance = rng.uniform(1.5, 5)
    walls = (
        _wall(stage, frame, 1, 1, 1.0, texel, *FLOORS),
        _wall(stage, frame, 2, 1, distance, texel, *WALLS),
    )
    stage.add(np.inf, Shell(walls, _sky(stage)))
    count = int(rng.integers(6, 26))
    for _ in range(count):
        px, py = rng.uniform(0, camera.width), rng.uniform(0, camera.height * 1.15)
        spot = _on_floor(stage, frame, px, py, distance)
        if spot is None:
            continue
        size = float(np.exp(rng.uniform(np.log(0.06), np.log(0.5))))
        turned = Frame(spot, frame.axes).turned(rng.uniform(0, 6.3))
        if rng.random() < 0.2:
            mask = OPEN[rng.integers(len(OPEN))]
            _upright_card(stage, turned.turned(0), size * 1.5, size * 1.5, mask)
        elif rng.random() < 0.12:  # a sheet lying on the table
            lifted = Frame(turned.at(0, -0.005, 0), turned.axes)
            add_card(stage, lifted.origin, lifted.axes[0] * size, lifted.axes[2] * size,
                     "page", "photo", "keyboard", "fabric", "wallpaper")  # fmt: skip
        else:
            _thing(stage, turned, size)
    _clutter(stage, int(rng.integers(0, 5)), 0.8, distance)


def _on_floor(stage: Stage, frame: Frame, px: float, py: float, far: float):  # type: ignore[no-untyped-def]
    """Give the point of the floor (one unit below the eye) seen at a pixel, None above the horizon or too far."""
    ray = stage.camera.point(px, py, 1.0)
    down = float(ray @ frame.axes[1])
    if down < 1e-3:
        return None
    point = ray / down
    return point if 0.3 < point[2] and point @ frame.axes[2] < far else None


def _sky(stage: Stage):  # type: ignore[no-untyped-def]
    rng, camera = stage.rng, stage.camera
    return choose_texture(
        rng, camera.height, camera.width, "gradient", "noise", "photo", "flat", zoom=(2, 5)
    )


def outdoor(stage: Stage) -> None:
    """Ground, sky, houses, trees, poles and wires; unit: the height of the eye."""
    rng, camera = stage.rng, stage.camera
    frame = _tilted_frame(rng, 0.4, rng.normal(0.05, 0.08))
    texel = float(np.exp(rng.uniform(np.log(0.006), np.log(0.03))))
    ground = _wall(
        stage,
        frame,
        1,
        1,
        1.0,
        texel,
        "photo",
        "noise",
        "tiles",
        "dead_leaves",
        "voronoi",
        "bricks",
        "stripes",
        "scratches",
    )
    walls = [ground]
    if rng.random() < 0.5:
        walls.append(
            far_plane(
                rng.uniform(20, 80),
                0.2,
                choose_texture(rng, 256, 256, "noise", "photo", "dead_leaves"),
            )
        )
    stage.add(np.inf, Shell(tuple(walls), _sky(stage)))
    far = float(np.exp(rng.uniform(np.log(5), np.log(30))))
    for _ in range(int(rng.integers(8, 26))):
        z = float(np.exp(rng.uniform(np.log(1.2), np.log(far))))
        reach = camera.width / camera.focal / 2 * z * 1.1
        base = Frame(frame.at(rng.uniform(-reach, reach), 1.0, z), frame.axes)
        kind = int(rng.integers(8))
        size = rng.uniform(0.3, 1.2)
        if kind == 0:
            high = rng.uniform(2, 8)
            spot = Frame(
                frame.at(rng.choice([-1, 1]) * rng.uniform(0.6, 1.3) * reach, 1, z + 2), frame.axes
            )
            add_box(
                stage,
                spot,
                rng.uniform(1.5, 5),
                high,
                rng.uniform(2, 5),
                "facade",
                "bricks",
                "facade",
                "noise",
            )
        elif kind in (1, 2):
            tall = rng.uniform(1, 4)
            add_pole(stage, base, 0.04 * tall, tall, "wood", "noise")
            for _ in range(int(rng.integers(2, 6))):
                crown = base.at(*(rng.normal(0, 0.3, 3) * tall + (0, -tall * 1.1, 0)))
                spot = Frame(crown, frame.axes).turned(rng.uniform(-1, 1))
                _upright_card(stage, spot, tall * 0.9, tall * 0.8, foliage)
        elif kind == 3:
            add_pole(stage, base, rng.uniform(0.01, 0.05), rng.uniform(1, 4), "flat", "stripes")
        elif kind == 4:
            _upright_card(
                stage,
                base.turned(rng.normal(0, 0.8)),
                rng.uniform(1, 5),
                rng.uniform(0.4, 1.2),
                lattice,
            )
        elif kind == 5:
            mask = (sticks, foliage, branch, letters)[rng.integers(4)]
            _upright_card(stage, base, size, size, mask)
        elif kind == 6:
            add_box(
                stage, base.turned(rng.uniform(0, 6)), *(size * np.exp(rng.uniform(-0.5, 0.5, 3)))
            )
        else:
            _thing(stage, base.turned(rng.uniform(0, 6)), size * 0.6)
    if rng.random() < 0.4:
        wide = camera.point(0, rng.uniform(0, camera.height * 0.5), rng.uniform(2, 6))
        span = camera.width / camera.focal * wide[2]
        add_card(
            stage,
            wide,
            np.array([span, 0, rng.normal(0, 1)]),
            np.array([0, 0.3 * span, 0]),
            "flat",
            mask=wires,
        )
    _clutter(stage, int(rng.integers(0, 5)), 1.0, far)


def _clutter(stage: Stage, count: int, near: float, far: float) -> None:
    """Add floating cards of any shape and size between two depths."""
    rng, camera = stage.rng, stage.camera
    for _ in range(count):
        inverse = rng.uniform(1 / far, 1 / near)
        size = float(np.exp(rng.uniform(np.log(8), np.log(0.45 * camera.width))))
        family = SOLID if rng.random() < 0.45 else OPEN
        mask = family[int(rng.integers(len(family)))]
        add_floating(
            stage, rng.uniform(0, camera.width * 1.1), rng.uniform(0, camera.height), 1 / inverse, size, mask,
            float(rng.choice([0.0, 0.3, 0.8])),
        )  # fmt: skip


def abstract(stage: Stage) -> None:
    """A backdrop and a heap of cards, reliefs and round things."""
    rng, camera = stage.rng, stage.camera
    height, width = camera.height, camera.width
    far = float(np.exp(rng.uniform(np.log(1.5), np.log(12))))
    if rng.random() < 0.6:
        margin = int(width * 0.36)
        add_relief(stage, 0, 0, height, width + margin, far, rng.uniform(0, 0.9))
        stage.placed[-1] = (np.inf, stage.placed[-1][1])
    else:
        normal = rotation(*rng.normal(0, 0.5, 2), 0)[2]
        texture = choose_texture(rng, 256, 256)
        axes = rotation(0, 0, rng.uniform(0, 6))
        right = axes[0] - normal * (axes[0] @ normal)
        right /= np.linalg.norm(right)
        wall = Wall(
            normal,
            far * abs(normal[2]),
            right,
            np.cross(normal, right),
            far / camera.focal * rng.uniform(0.6, 2),
            mip_atlas(texture),
        )
        stage.add(np.inf, Shell((wall,), _sky(stage)))
    for _ in range(int(rng.integers(0, 4))):
        h, w = (int(np.exp(rng.uniform(np.log(24), np.log(0.8 * s)))) for s in (height, width))
        x, y = int(rng.uniform(-w / 2, width)), int(rng.uniform(0, max(height - h, 1)))
        family = SOLID if rng.random() < 0.7 else OPEN
        mask = family[int(rng.integers(len(family)))]
        depth = 1 / rng.uniform(1 / far, 1)
        add_relief(stage, x, y, h, w, depth, rng.uniform(0.05, 0.6), mask=mask)
    for _ in range(int(rng.integers(0, 8))):
        depth = 1 / rng.uniform(1 / far, 1)
        size = float(np.exp(rng.uniform(np.log(8), np.log(0.4 * width)))) * depth / camera.focal
        spot = camera.point(rng.uniform(0, width), rng.uniform(0, height), depth)
        _thing(stage, Frame(spot, rotation(*rng.uniform(-3, 3, 3))), size)
    _clutter(stage, int(rng.integers(5, 26)), 1.0, far)
