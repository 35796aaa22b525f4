"""Families of random scenes: rooms, table tops, still lifes, outdoor, abstract.

Longer than the rule for modules: one function for each kind of scene.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.scenes.bank import choose_material, choose_texture
from training.scenes.camera import Camera, Frame, Vector, cross, rotation
from training.scenes.kit import (
    Stage,
    add_box,
    add_card,
    add_relief,
    bumps,
    folds,
    limit_slope,
    relief_light,
)
from training.scenes.masks import branch, drawn_once, foliage, lattice, letters, sticks, wires
from training.scenes.relief import Relief
from training.scenes.shell import Shell, Wall, far_plane, mip_atlas
from training.scenes.textures import Field, Image, Rng
from training.scenes.things import (
    clutter,
    furniture,
    pole,
    random_outline,
    relief_card,
    row,
    shelf,
    thing,
    tilted_field,
    upright_card,
)

FLOORS = (
    "wood", "planks", "tiles", "fabric", "noise", "photo", "marble", "dead_leaves", "flat",
    "voronoi", "stripes",
)  # fmt: skip
WALLS = (
    "flat", "flat", "noise", "wallpaper", "bricks", "gradient", "stripes", "tiles", "photo",
    "blotches", "books",
)  # fmt: skip
GROUNDS = (
    "photo",
    "noise",
    "tiles",
    "dead_leaves",
    "voronoi",
    "bricks",
    "stripes",
    "scratches",
    "flat",
)


BARE = ("flat", "flat", "gradient", "noise", "blotches", "wallpaper")


def compose(  # noqa: PLR0917  drawn by the caller
    rng: Rng,
    camera: Camera,
    target: float,
    glossy: bool = True,
    painted: float = 0.0,
    still: bool = False,
) -> Stage:
    """Compose a random scene.

    Parameters
    ----------
    rng : numpy.random.Generator
    camera : Camera
        Left camera.
    target : float
        Largest disparity as a fraction of the width.
    glossy : bool
        Whether round bodies may have highlights.
    painted : float
        Share of the materials that are painted over, which leaves almost no texture.
    still : bool
        Compose a still life instead of a scene of another family.
    """
    stage = Stage(rng, camera, target, glossy, painted=painted)
    if still:
        still_life(stage)
        return stage
    if rng.random() < 0.12:
        stage.limit_materials(int(rng.integers(1, 5)))
    makers = (room, tabletop, outdoor, abstract)
    makers[int(rng.choice(4, p=[0.34, 0.28, 0.18, 0.20]))](stage)
    return stage


def wall(  # noqa: PLR0917  the parameters of a wall
    stage: Stage, frame: Frame, axis: int, sign: float, distance: float, texel: float, *kinds: str
) -> Wall:
    """Return the wall at a distance along a signed local axis."""
    rng = stage.rng
    direction = sign * frame.axes[axis]
    across, along = (frame.axes[i] for i in (0, 2, 1) if i != axis)
    material = stage.painting(choose_material(rng, *kinds, zoom=(0.9, 1.3)))
    texture = material.crop(rng, 256, 256)
    texture = np.clip(texture * stage.shade(-direction), 0, 255).astype(np.uint8)
    offset = distance + float(direction @ frame.origin)
    shift = tuple(float(v) for v in rng.uniform(0, 500, 2))
    return Wall(direction, offset, across, along, texel, mip_atlas(texture), (shift[0], shift[1]))


def _tilted(rng: Rng, yaw: float, pitch: float) -> Frame:
    return Frame(np.zeros(3), rotation(rng.normal(0, yaw), pitch, rng.normal(0, 0.02)).T)


def _texel(stage: Stage, depth: float) -> float:
    """Draw a texel size that covers 0.6 to 3 px."""
    return float(stage.rng.uniform(0.6, 3.0) * depth / stage.camera.focal)


def _sky(stage: Stage) -> Image:
    kinds = ("gradient", "noise", "photo", "flat")
    return choose_texture(stage.rng, stage.camera.height, stage.camera.width, *kinds, zoom=(2, 5))


def _on_floor(stage: Stage, frame: Frame, px: float, py: float, far: float) -> Vector | None:
    """Return the floor point at a pixel, None if there is none.

    The floor is one unit below the camera.
    """
    ray = stage.camera.point(px, py, 1.0)
    down = float(ray @ frame.axes[1])
    if down < 1e-3:
        return None
    point: Vector = ray / down
    return point if point[2] > 0.3 and point @ frame.axes[2] < far else None


def _plane_field(stage: Stage, surface: Wall, height: int, width: int) -> Field:
    a, b, c = stage.camera.inverse_depth_coefficients(surface.normal, surface.offset)
    field = np.arange(width) * a + np.arange(height)[:, None] * b + c
    return field.astype(np.float32)


def room(stage: Stage) -> None:
    """Compose a furnished box-shaped room.

    Unit: height of the camera above the floor.
    """
    rng = stage.rng
    frame = _tilted(rng, 0.5, rng.normal(0.12, 0.12))
    depth = rng.uniform(1.5, 6)
    left, right = rng.uniform(0.9, 3.5, 2)
    texel = _texel(stage, 1.3)
    back = wall(stage, frame, 2, 1, depth, texel, *WALLS)
    walls = (
        wall(stage, frame, 1, 1, 1.0, texel, *FLOORS),
        wall(stage, frame, 1, -1, rng.uniform(0.7, 2), texel, "flat", "noise", "gradient", "tiles"),
        back,
        wall(stage, frame, 0, -1, left, texel, *WALLS),
        wall(stage, frame, 0, 1, right, texel, *WALLS),
    )
    stage.add(np.inf, Shell(walls))
    if rng.random() < 0.25:
        _curtain(stage, back)
    for _ in range(int(rng.integers(1, 8))):
        _decorate(stage, frame, left, right, depth)
    if rng.random() < 0.2:
        for _ in range(int(rng.integers(1, 3))):
            place = frame.at(rng.uniform(-left, right), rng.uniform(0.2, 1.0), depth - 0.2)
            size = rng.uniform(0.6, 1.4, 2)
            shelf(stage, Frame(place, frame.axes), size[0], size[1], 0.3)
    for _ in range(int(rng.integers(8, 22))):
        z = float(np.exp(rng.uniform(np.log(0.8), np.log(depth * 0.95))))
        column = stage.camera.point(stage.column(), 0, 1.0)[0] * z
        spot = Frame(frame.at(column, 1.0, z), frame.axes)
        furniture(stage, spot.turned(rng.uniform(0, 6.3)), rng.uniform(0.2, 1.0))
    clutter(stage, int(rng.integers(0, 8)), 0.8, depth)


def _decorate(stage: Stage, frame: Frame, left: float, right: float, depth: float) -> None:
    """Add a framed print, window, door or shelf to the back wall."""
    rng = stage.rng
    size = rng.uniform(0.15, 0.9, 2)
    x, y = rng.uniform(-left, right - size[0]), rng.uniform(-0.7, 0.8 - size[1])
    if rng.random() < 0.4:
        base = Frame(frame.at(x + size[0] / 2, y + size[1], depth - 0.1), frame.axes)
        add_box(stage, base, size[0], size[1], 0.2, "books", "wood", "photo", "page")
        return
    kinds = ("photo", "page", "dead_leaves", "flat", "gradient", "noise", "facade")
    across, along = frame.axes[0] * size[0], frame.axes[1] * size[1]
    add_card(stage, frame.at(x, y, depth - 0.01), across, along, *kinds)
    if rng.random() < 0.3:  # blinds or a grille in front of it
        corner = frame.at(x, y, depth - 0.2)
        add_card(stage, corner, across, along, "flat", "wood", "gradient", mask=lattice)


def _curtain(stage: Stage, back: Wall) -> None:
    """Add a folded curtain in front of the back wall."""
    rng, camera = stage.rng, stage.camera
    width = int(rng.uniform(0.15, 1.1) * camera.width)
    height = int(rng.uniform(0.5, 1.0) * camera.height)
    x = int(rng.uniform(-0.1, 1.1) * camera.width - width / 2)
    a, b, c = camera.inverse_depth_coefficients(back.normal, back.offset)
    field = (np.arange(width) + x) * a + np.arange(height)[:, None] * b + c
    smooth = np.maximum(field * 1.06, 1e-3).astype(np.float32)
    shape = np.float32(rng.uniform(0.02, 0.1)) * folds(rng, height, width)
    kinds = ("flat", "fabric", "stripes", "wallpaper", "gradient", "noise")
    add_relief(stage, x, 0, smooth, shape, *kinds)


def tabletop(stage: Stage) -> None:
    """Compose a table in front of a wall, viewed from above.

    Unit: height of the camera above the table.
    """
    rng, camera = stage.rng, stage.camera
    frame = _tilted(rng, 0.3, rng.uniform(0.15, 0.9))
    distance = rng.uniform(1.5, 5)
    texel = _texel(stage, 1.3)
    back = wall(stage, frame, 2, 1, distance, texel, *WALLS)
    stage.add(np.inf, Shell((wall(stage, frame, 1, 1, 1.0, texel, *FLOORS), back), _sky(stage)))
    if rng.random() < 0.15:
        _curtain(stage, back)
    for _ in range(int(rng.integers(12, 38))):
        spot = _on_floor(
            stage, frame, stage.column(), rng.uniform(0, camera.height * 1.15), distance
        )
        if spot is None:
            continue
        size = float(np.exp(rng.uniform(np.log(0.08), np.log(0.7))))
        base = Frame(spot, frame.axes)
        kind = rng.random()
        if kind < 0.2:
            upright_card(stage, base, size * 1.5, size * 1.5, random_outline(rng, 0))
        elif kind < 0.3:  # a sheet lying on the table
            flat = base.turned(rng.uniform(0, 6.3))
            kinds = ("page", "photo", "keyboard", "fabric", "wallpaper")
            add_card(stage, flat.at(0, -0.005, 0), flat.axes[0] * size, flat.axes[2] * size, *kinds)
        elif kind < 0.36:
            row(stage, base.turned(rng.uniform(0, 6.3)), size * 1.3)
        else:
            thing(stage, base.turned(rng.uniform(0, 6.3)), size)
    clutter(stage, int(rng.integers(0, 5)), 0.8, distance)


def still_life(stage: Stage) -> None:
    """Compose a few large objects in front of a bare wall.

    The camera is at about their height, and often they have only one or two colours. At the border
    of the image, the disparity of the wall can only be inferred from the wall on the other side of
    the objects. Unit: height of the camera above the table.
    """
    rng, camera = stage.rng, stage.camera
    stage.painted = float(rng.uniform(0.3, 1))
    if rng.random() < 0.4:
        stage.limit_materials(int(rng.integers(1, 4)))
        stage.shared = [stage.painting(material) for material in stage.shared]
    frame = _tilted(rng, 0.12, rng.uniform(0, 0.3))
    distance = float(rng.uniform(2.0, 6.0))
    texel = _texel(stage, distance)
    back = wall(stage, frame, 2, 1, distance, texel, *BARE)
    stage.add(np.inf, Shell((wall(stage, frame, 1, 1, 1.0, texel, *FLOORS), back), _sky(stage)))
    for _ in range(int(rng.integers(4, 13))):
        z = distance * float(rng.uniform(0.4, 0.95))
        size = float(np.exp(rng.uniform(np.log(0.18), np.log(0.7)))) * camera.width * z
        size /= camera.focal
        across = camera.point(stage.column(), 0, 1.0)[0] * z
        base = Frame(frame.at(across, 1.0, z), frame.axes).turned(rng.uniform(0, 6.3))
        kind = rng.random()
        if kind < 0.5:
            thing(stage, base, size)
        elif kind < 0.75:
            furniture(stage, base, 0.8 * size)
        elif kind < 0.9:
            facing = Frame(base.origin, frame.axes).turned(rng.normal(0, 0.5))
            upright_card(stage, facing, 1.2 * size, size, random_outline(rng, 0.3))
        else:
            _rods(stage, base, size)
    clutter(stage, int(rng.integers(0, 3)), 0.4 * distance, distance)


def _rods(stage: Stage, base: Frame, size: float) -> None:
    """Add thin rods at random angles, like brushes, pens or twigs."""
    rng = stage.rng
    for _ in range(int(rng.integers(2, 8))):
        lean = rotation(rng.normal(0, 0.3), rng.normal(0, 0.3), rng.normal(0, 0.3))
        tilted = Frame(base.at(rng.normal(0, 0.1) * size, 0, 0), lean @ base.axes)
        pole(stage, tilted, size * rng.uniform(0.006, 0.03), size * rng.uniform(0.7, 1.5))


def outdoor(stage: Stage) -> None:
    """Compose houses, trees, poles and wires on open ground.

    Unit: height of the camera above the ground.
    """
    rng, camera = stage.rng, stage.camera
    frame = _tilted(rng, 0.4, rng.normal(0.05, 0.08))
    ground = wall(stage, frame, 1, 1, 1.0, _texel(stage, 1.8), *GROUNDS)
    walls = [ground]
    if rng.random() < 0.5:
        backdrop = choose_texture(rng, 256, 256, "noise", "photo", "dead_leaves", "facade")
        walls.append(far_plane(rng.uniform(15, 80), rng.uniform(0.03, 0.2), backdrop))
    stage.add(np.inf, Shell(tuple(walls), _sky(stage)))
    if rng.random() < 0.4:
        _terrain(stage, ground)
    far = float(np.exp(rng.uniform(np.log(5), np.log(30))))
    for _ in range(int(rng.integers(10, 30))):
        z = float(np.exp(rng.uniform(np.log(1.2), np.log(far))))
        column = camera.point(stage.column(), 0, 1.0)[0] * z
        _outdoor_thing(stage, Frame(frame.at(column, 1.0, z), frame.axes))
    if rng.random() < 0.4:
        corner = camera.point(0, rng.uniform(0, camera.height * 0.5), rng.uniform(2, 6))
        span = 1.3 * camera.width / camera.focal * corner[2]
        right, down = np.array([span, 0, rng.normal(0, 1)]), np.array([0, 0.3 * span, 0])
        add_card(stage, corner, right, down, "flat", mask=wires)
    clutter(stage, int(rng.integers(0, 5)), 1.0, far)


def _terrain(stage: Stage, ground: Wall) -> None:
    """Add hills to the ground plane."""
    rng, camera = stage.rng, stage.camera
    width = int(1.36 * camera.width)
    smooth = np.maximum(_plane_field(stage, ground, camera.height, width), 0)
    shape = np.float32(rng.uniform(0.1, 0.8)) * bumps(rng, camera.height, width)
    inv = limit_slope(stage, smooth, smooth * (1 + shape))
    colour = ground.colour(camera, np.maximum(inv, 1e-3), 0, 0)
    mask = ((smooth > 0) * np.uint8(255)).astype(np.uint8)
    stage.add(1e6, Relief(0, 0, relief_light(stage, colour, inv), mask, inv))


def _outdoor_thing(stage: Stage, base: Frame) -> None:
    rng = stage.rng
    size = rng.uniform(0.3, 1.2)
    kind = int(rng.integers(9))
    if kind == 0:
        house = Frame(base.at(rng.choice([-1, 1]) * rng.uniform(2, 5), 0, 2), base.axes)
        add_box(
            stage, house, rng.uniform(1.5, 5), rng.uniform(2, 8), rng.uniform(2, 5),
            "facade", "bricks", "facade", "noise", "books",
        )  # fmt: skip
    elif kind in (1, 2):
        _tree(stage, base, rng.uniform(1, 4))
    elif kind == 3:
        pole(stage, base, rng.uniform(0.01, 0.05), rng.uniform(1, 4), "flat", "stripes")
    elif kind == 4:
        fence = base.turned(rng.normal(0, 0.8))
        upright_card(stage, fence, rng.uniform(1, 5), rng.uniform(0.4, 1.2), lattice)
    elif kind == 5:
        mask = (sticks, foliage, branch, letters)[int(rng.integers(4))]
        upright_card(stage, base, size, size, mask)
    elif kind == 6:
        row(stage, base.turned(rng.uniform(0, 6.3)), size * 1.5)
    elif kind == 7:
        add_box(stage, base.turned(rng.uniform(0, 6)), *(size * np.exp(rng.uniform(-0.5, 0.5, 3))))
    else:
        thing(stage, base.turned(rng.uniform(0, 6)), size * 0.6)


def _tree(stage: Stage, base: Frame, tall: float) -> None:
    rng = stage.rng
    pole(stage, base, 0.04 * tall, tall, "wood", "noise")
    leaves = drawn_once(foliage)
    for _ in range(int(rng.integers(2, 6))):
        offset: NDArray[np.float64] = rng.normal(0, 0.3, 3) * tall + np.array([0, -0.7 * tall, 0])
        crown = Frame(base.at(*offset), base.axes).turned(rng.uniform(-1, 1))
        kinds = ("photo", "noise", "scratches", "flat", "dead_leaves")
        upright_card(stage, crown, tall * 0.9, tall * 0.8, leaves, *kinds)


def abstract(stage: Stage) -> None:
    """Compose cards, reliefs and round objects in front of a backdrop."""
    rng, camera = stage.rng, stage.camera
    height, width = camera.height, camera.width
    far = float(np.exp(rng.uniform(np.log(1.5), np.log(12))))
    if rng.random() < 0.6:
        smooth = tilted_field(stage, far, height, int(1.36 * width))
        shape = np.float32(rng.uniform(0, 0.9)) * bumps(rng, *smooth.shape)
        add_relief(stage, 0, 0, smooth, shape)
        stage.placed[-1] = (np.inf, stage.placed[-1][1])
    else:
        stage.add(np.inf, Shell((_slanted_wall(stage, far),), _sky(stage)))
    for _ in range(int(rng.integers(0, 5))):
        relief_card(stage, 1 / rng.uniform(1 / far, 1))
    for _ in range(int(rng.integers(0, 10))):
        depth = 1 / rng.uniform(1 / far, 1)
        size = float(np.exp(rng.uniform(np.log(8), np.log(0.4 * width)))) * depth / camera.focal
        spot = camera.point(stage.column(), rng.uniform(0, height), depth)
        thing(stage, Frame(spot, rotation(*rng.uniform(-3, 3, 3))), size)
    clutter(stage, int(rng.integers(8, 34)), 1.0, far)


def _slanted_wall(stage: Stage, distance: float) -> Wall:
    rng = stage.rng
    normal = rotation(float(rng.normal(0, 0.5)), float(rng.normal(0, 0.5)), 0)[2]
    axis = rotation(0, 0, rng.uniform(0, 6))[0]
    right = axis - normal * (axis @ normal)
    right /= np.linalg.norm(right)
    texture = stage.painting(choose_material(rng)).crop(rng, 256, 256)
    offset = distance * abs(float(normal[2]))
    return Wall(
        normal, offset, right, cross(normal, right), _texel(stage, distance), mip_atlas(texture)
    )
