"""Three composed scenes for the bundled samples, in metres.

Longer than the rule, module and scenes: a composed scene is a list of objects.
"""

from __future__ import annotations

import cv2
import numpy as np

from training.scenes.bank import Material, plain_material
from training.scenes.camera import Camera, Frame, rotation
from training.scenes.kit import Stage, add_box, add_card, add_round
from training.scenes.masks import Mask, foliage
from training.scenes.patterns import bricks, fabric, facade, page, tiles
from training.scenes.shell import Shell, Wall, far_plane, mip_atlas
from training.scenes.textures import Field, Image, Rng, flat, noise, planks, power_noise, wood
from training.scenes.things import chair, table

LIGHT = np.array([-0.45, -0.75, -0.48])


def tinted(image: Image, bgr: tuple[int, int, int], contrast: float = 0.5) -> Image:
    """Return an image with another mean colour."""
    grey = image.astype(np.float32).mean(axis=2, keepdims=True)
    changed = np.asarray(bgr, np.float32) * (1 + contrast * (grey / max(float(grey.mean()), 1) - 1))
    return np.asarray(np.clip(changed, 0, 255), np.uint8)


def apply_grey(field: Field, bgr: tuple[int, int, int], contrast: float) -> Image:
    """Return an image of one colour from a field of values 0..1."""
    change = 1 + contrast * (field[..., None] - 0.5)
    return np.asarray(np.clip(np.asarray(bgr, np.float32) * change, 0, 255), np.uint8)


def paint(rng: Rng, bgr: tuple[int, int, int], size: int = 512, contrast: float = 0.25) -> Material:
    """Return a matt material of one colour with slight wear."""
    return plain_material(tinted(noise(rng, size), bgr, contrast), 2.0, 0.03)


def _wall(  # noqa: PLR0917  the parameters of a wall
    frame: Frame, axis: int, sign: float, distance: float, texel: float, texture: Image
) -> Wall:
    direction = sign * frame.axes[axis]
    across, along = (frame.axes[i] for i in (0, 2, 1) if i != axis)
    offset = distance + float(direction @ frame.origin)
    return Wall(direction, offset, across, along, texel, mip_atlas(texture))


def _stage(seed: int, camera: Camera, moving: bool) -> Stage:
    stage = Stage(np.random.default_rng(seed), camera, 0.2, moving=moving)
    stage.light = LIGHT / np.linalg.norm(LIGHT)
    stage.ambient = 0.62
    return stage


def _on(frame: Frame, right: float, down: float, forward: float, turn: float = 0.0) -> Frame:
    return Frame(frame.at(right, down, forward), frame.axes).turned(turn)


def table_scene(camera: Camera, moving: bool = False) -> Stage:
    """Compose books, crockery, fruit and a plant on a wooden table."""
    stage = _stage(11, camera, moving)
    rng = stage.rng
    frame = Frame(np.array([0, 0, 0.12]), rotation(0.05, 0.34, 0.0).T)
    top = 0.50
    board = tinted(planks(rng, 1024), (75, 110, 155), 0.75)
    wallpaper = tinted(noise(rng, 1024), (176, 190, 186), 0.12)
    walls = (
        _wall(frame, 1, 1, top, 0.0008, np.asarray(board, np.uint8)),
        _wall(frame, 2, 1, 1.75, 0.0012, wallpaper),
    )
    stage.add(np.inf, Shell(walls, np.zeros((camera.height, camera.width, 3), np.uint8)))
    _framed_photo(stage, frame, -0.42, -0.19, 1.73)
    _framed_photo(stage, frame, 0.3, -0.26, 1.73)
    _book_row(stage, _on(frame, 0.38, top, 1.28, 0.12))
    _stack(stage, _on(frame, -0.42, top, 0.98, 0.4))
    _crockery(stage, frame, top)
    _fruit(stage, _on(frame, 0.28, top, 0.80))
    _flowers(stage, _on(frame, -0.66, top, 1.35))
    _pencils(stage, _on(frame, 0.02, top, 1.12))
    printed = tinted(page(np.random.default_rng(5), 512)[::-1], (215, 222, 225), 1.2)
    lying = _on(frame, -0.20, top - 0.001, 0.86, 0.25)
    sheet = plain_material(printed, whole=True)
    add_card(stage, lying.origin, lying.axes[0] * 0.24, lying.axes[2] * 0.2, material=sheet)
    basket = _on(frame, 0.62, top, 0.98, -0.5)
    wire, corner = paint(rng, (70, 75, 80)), basket.at(-0.13, -0.16, 0)
    right, down = basket.axes[0] * 0.26, basket.axes[1] * 0.16
    add_card(stage, corner, right, down, mask=_wire_grid, material=wire)
    return stage


def _wire_grid(rng: Rng, h: int, w: int) -> Mask:
    mask = np.zeros((h, w), np.uint8)
    thick = max(1, h // 40)
    for x in np.linspace(0, w - 1, 14):
        cv2.line(mask, (int(x), 0), (int(x), h), 255, thickness=thick)
    for y in np.linspace(0, h - 1, 7):
        cv2.line(mask, (0, int(y)), (w, int(y)), 255, thickness=thick)
    return mask


def _framed_photo(stage: Stage, frame: Frame, x: float, y: float, z: float) -> None:
    rng = stage.rng
    right, down = frame.axes[0] * 0.36, frame.axes[1] * 0.28
    add_card(
        stage,
        frame.at(x - 0.02, y - 0.02, z),
        right * 1.11,
        down * 1.143,
        material=paint(rng, (40, 55, 80)),
    )
    add_card(stage, frame.at(x, y, z - 0.01), right, down, "photo")


def _book_row(stage: Stage, frame: Frame, half: float = 0.28) -> None:
    rng = stage.rng
    x = -half
    while x < half:
        width, height = rng.uniform(0.015, 0.05), rng.uniform(0.17, 0.27)
        bgr = tuple(int(v) for v in rng.uniform(30, 210, 3))
        cover = tinted(fabric(rng, 256), (bgr[0], bgr[1], bgr[2]), 0.4)
        y = int(rng.uniform(20, 80))
        cover[y : y + int(rng.uniform(8, 40))] = tuple(int(v) for v in rng.uniform(60, 240, 3))
        spot = Frame(frame.at(x + width / 2, 0, rng.uniform(-0.01, 0.02)), frame.axes)
        add_box(stage, spot, width * 0.96, height, 0.16, material=plain_material(cover, 1.2))
        x += width


def _stack(stage: Stage, frame: Frame) -> None:
    rng = stage.rng
    covers = ((60, 90, 40), (200, 205, 210), (60, 60, 160), (140, 90, 45))
    y = 0.0
    for index, bgr in enumerate(covers):
        level = Frame(frame.at(0, -y, 0), frame.axes).turned(rng.normal(0, 0.2))
        cover = plain_material(tinted(fabric(rng, 256), bgr, 0.5), 1.2)
        high = (0.045, 0.03, 0.05, 0.035)[index]
        add_box(stage, level, 0.27 - 0.02 * index, high, 0.19, material=cover)
        y += high


def _crockery(stage: Stage, frame: Frame, top: float) -> None:
    rng = stage.rng
    blue = paint(rng, (150, 95, 50), contrast=0.1)
    white = paint(rng, (225, 230, 232), contrast=0.05)
    add_round(stage, _on(frame, -0.13, top, 0.80), (0.045, 0.05, 0.045), "cup", material=blue)
    add_round(stage, _on(frame, 0.10, top, 0.76), (0.04, 0.045, 0.04), "cup", material=white)
    add_round(stage, _on(frame, 0.10, top, 0.76), (0.08, 0.006, 0.08), "cylinder", material=white)
    pot = _on(frame, -0.12, top, 1.22)
    add_round(stage, pot, (0.1, 0.09, 0.1), "ellipsoid", material=white)
    add_round(
        stage,
        Frame(pot.at(0, -0.165, 0), pot.axes),
        (0.05, 0.015, 0.05),
        "ellipsoid",
        material=white,
    )
    add_round(
        stage,
        Frame(pot.at(0, -0.19, 0), pot.axes),
        (0.015, 0.015, 0.015),
        "ellipsoid",
        material=blue,
    )
    spout = Frame(pot.at(0.09, -0.09, 0), rotation(0, 0, 0.7) @ pot.axes)
    add_round(stage, spout, (0.015, 0.05, 0.015), "cylinder", material=white)


def _fruit(stage: Stage, frame: Frame) -> None:
    rng = stage.rng
    bowl = paint(rng, (120, 160, 175), contrast=0.3)
    add_round(stage, frame, (0.13, 0.03, 0.13), "cup", material=bowl)
    colours = ((40, 45, 190), (50, 160, 200), (60, 150, 90), (35, 110, 215), (45, 60, 180))
    for index, bgr in enumerate(colours):
        angle = index * 2 * np.pi / 5
        spot = Frame(frame.at(0.065 * np.cos(angle), -0.01, 0.065 * np.sin(angle)), frame.axes)
        add_round(
            stage, spot, (0.04, 0.038, 0.04), "ellipsoid", material=paint(rng, bgr, contrast=0.5)
        )
    add_round(stage, Frame(frame.at(0, -0.055, 0), frame.axes), (0.04, 0.038, 0.04), "ellipsoid",
              material=paint(rng, (60, 170, 215), contrast=0.5))  # fmt: skip


def _flowers(stage: Stage, frame: Frame, scale: float = 1.0) -> None:
    rng = stage.rng
    clay = paint(rng, (75, 105, 165))
    green = plain_material(tinted(noise(rng, 512), (60, 125, 75), 0.9), 1.0)
    pot = 0.09 * scale
    add_round(stage, frame, (pot, pot, pot), "cup", material=clay)
    for index in range(6):
        turned = Frame(frame.at(0, -1.3 * pot, 0), frame.axes).turned(index * 0.55)
        corner = turned.at(-0.2 * scale, -0.38 * scale, 0)
        add_card(
            stage,
            corner,
            turned.axes[0] * 0.4 * scale,
            turned.axes[1] * 0.38 * scale,
            mask=foliage,
            material=green,
        )


def _pencils(stage: Stage, frame: Frame) -> None:
    rng = stage.rng
    add_round(stage, frame, (0.035, 0.05, 0.035), "cup", material=paint(rng, (60, 60, 65)))
    colours = ((30, 40, 200), (200, 120, 40), (40, 180, 220), (90, 160, 60), (30, 30, 30))
    for index, bgr in enumerate(colours):
        lean = rotation(0, rng.normal(0, 0.15), rng.normal(0, 0.22)) @ frame.axes
        spot = Frame(frame.at(0.015 * np.cos(index), -0.01, 0.015 * np.sin(index)), lean)
        add_round(stage, spot, (0.004, 0.09, 0.004), "cylinder", material=paint(rng, bgr))


def room_scene(camera: Camera, moving: bool = False) -> Stage:
    """Compose a living room: shelf, table, chairs, lamp, sofa, window.

    Longer than the rule: a list of objects.
    """
    stage = _stage(23, camera, moving)
    rng = stage.rng
    frame = Frame(np.zeros(3), rotation(0.12, 0.14, 0.0).T)
    floor, depth = 1.5, 5.4
    walls = (
        _wall(frame, 1, 1, floor, 0.003, tinted(planks(rng, 1024), (85, 120, 165), 0.7)),
        _wall(frame, 1, -1, 1.15, 0.004, tinted(flat(rng, 512), (225, 230, 232), 0.1)),
        _wall(frame, 2, 1, depth, 0.003, tinted(noise(rng, 1024), (170, 195, 190), 0.1)),
        _wall(frame, 0, -1, 2.3, 0.003, tinted(bricks(rng, 1024), (95, 115, 165), 0.8)),
        _wall(frame, 0, 1, 2.6, 0.003, tinted(noise(rng, 1024), (160, 150, 130), 0.1)),
    )
    stage.add(np.inf, Shell(walls))
    rug = plain_material(tinted(fabric(rng, 512), (90, 80, 160), 0.8), 1.5)
    add_card(
        stage,
        frame.at(-1.1, floor - 0.005, 3.9),
        frame.axes[0] * 2.4,
        -frame.axes[2] * 1.7,
        material=rug,
    )
    _bookcase(stage, _on(frame, 1.15, floor, depth - 0.2))
    _window(stage, frame, depth)
    oak = plain_material(tinted(wood(rng, 512), (80, 125, 175), 0.8), 1.2)
    dark = plain_material(tinted(wood(rng, 512), (45, 60, 85), 0.8), 1.2)
    table(stage, _on(frame, 0.25, floor, 3.1, 0.3), 1.2, 0.72, 0.8, oak)
    chair(stage, _on(frame, -0.6, floor, 3.1, 1.7), 0.44, dark)
    chair(stage, _on(frame, 1.1, floor, 2.8, -1.2), 0.44, dark)
    chair(stage, _on(frame, 0.5, floor, 4.0, 0.2), 0.44, dark)
    on_table = _on(frame, 0.25, floor - 0.72, 3.1)
    add_round(
        stage,
        _on(on_table, 0.15, 0, 0.1),
        (0.1, 0.05, 0.1),
        "cup",
        material=paint(rng, (70, 110, 190)),
    )
    _stack(stage, _on(on_table, -0.28, 0, -0.05, 0.4))
    steel = paint(rng, (120, 120, 125))
    add_round(stage, _on(frame, 2.1, floor, 4.6), (0.02, 0.75, 0.02), "cylinder", material=steel)
    shade, linen = (0.24, 0.17, 0.24), paint(rng, (150, 200, 225))
    add_round(stage, _on(frame, 2.1, floor - 1.5, 4.6), shade, "cylinder", material=linen)
    _flowers(stage, _on(frame, -1.9, floor, 4.7), 2.4)
    _sofa(stage, _on(frame, -1.75, floor, 3.3, 1.75))
    for index in range(3):
        corner = frame.at(2.59, -0.5 + 0.12 * index, 4.6 - 0.9 * index)
        add_card(stage, corner, -frame.axes[2] * 0.55, frame.axes[1] * 0.42, "photo")
    return stage


def _bookcase(stage: Stage, frame: Frame) -> None:
    rng = stage.rng
    board = plain_material(tinted(wood(rng, 512), (60, 90, 130), 0.7), 1.2)
    for side in (-0.68, 0.68):
        add_box(stage, _on(frame, side, 0, 0), 0.04, 2.0, 0.36, material=board)
    for level in range(6):
        lifted = _on(frame, 0, -0.39 * level, 0)
        add_box(stage, lifted, 1.36, 0.035, 0.36, material=board)
        if level < 5:
            _book_row(stage, _on(lifted, 0, -0.035, -0.03), 0.62 - 0.12 * (level % 3))


def _window(stage: Stage, frame: Frame, depth: float) -> None:
    rng = stage.rng
    sky = plain_material(tinted(noise(rng, 512), (250, 235, 215), 0.2), 2.0)
    corner = frame.at(-1.3, -0.75, depth - 0.02)
    right, down = frame.axes[0] * 1.4, frame.axes[1] * 1.1
    add_card(stage, corner, right, down, material=sky)
    white = paint(rng, (235, 235, 235), contrast=0.05)
    for index in range(13):
        slat = corner + down * (index / 13) - frame.axes[2] * 0.08
        add_card(stage, slat, right, down * 0.035 + frame.axes[2] * 0.03, material=white)
    for part in (0.0, 0.5, 1.0):
        bar = corner + right * (part - 0.01) - frame.axes[2] * 0.03
        add_card(stage, bar, right * 0.03, down, material=white)


def _sofa(stage: Stage, frame: Frame) -> None:
    rng = stage.rng
    cloth = plain_material(tinted(fabric(rng, 512), (130, 105, 70), 0.8), 1.5)
    add_box(stage, frame, 1.7, 0.42, 0.8, material=cloth)
    add_box(stage, _on(frame, 0, 0, 0.38), 1.7, 0.85, 0.16, material=cloth)
    for side in (-0.8, 0.8):
        add_box(stage, _on(frame, side, 0, 0), 0.18, 0.6, 0.8, material=cloth)
    for x, bgr in ((-0.4, (60, 90, 190)), (0.35, (180, 170, 90))):
        cushion = Frame(frame.at(x, -0.42, 0.15), frame.axes)
        add_round(stage, cushion, (0.22, 0.2, 0.1), "ellipsoid", material=paint(rng, bgr))


def street_scene(camera: Camera, moving: bool = False) -> Stage:
    """Compose a street: houses, trees, lamps, cars and a fence.

    Longer than the rule: a list of objects.
    """
    stage = _stage(37, camera, moving)
    rng = stage.rng
    frame = Frame(np.zeros(3), rotation(0.05, 0.04, 0.0).T)
    ground = 1.5
    sky = power_noise(rng, 1024, 1.6)[..., None]
    clouds = np.array([210, 165, 115]) * (1 - sky) + np.array([225, 222, 218]) * sky
    asphalt = apply_grey(power_noise(rng, 1024, 0.7), (112, 110, 108), 0.5)
    walls = (
        _wall(frame, 1, 1, ground, 0.008, asphalt),
        far_plane(400.0, 0.8, np.asarray(clouds, np.uint8)),
    )
    stage.add(np.inf, Shell(walls))
    steel = paint(rng, (95, 95, 90))
    grass = plain_material(tinted(noise(rng, 512), (70, 130, 95), 0.8), 1.2)
    paving = plain_material(tinted(tiles(rng, 512), (150, 155, 160), 0.6), 1.0)
    for side in (-1, 1):
        for z in range(3, 81, 2):  # in pieces: boxes partly behind the camera are not drawn
            edge = _on(frame, side * 4.6, ground, z)
            add_box(stage, edge, 2.0, 0.12, 2.0, material=paving)
        for index in range(7):
            z = 6 + 9 * index
            house = _on(frame, side * (9.5 + rng.uniform(0, 1.5)), ground, z + 4)
            front = tinted(facade(rng, 384), _pastel(rng), 0.9)
            add_box(
                stage,
                house,
                7.0,
                rng.uniform(5, 11),
                8.6,
                material=plain_material(front, whole=True),
            )
            if index % 2 == (side > 0):
                _street_tree(stage, _on(frame, side * 4.9, ground, z - 1), rng.uniform(3.5, 5))
            lamp_post = _on(frame, side * 3.9, ground, z + 3.2)
            add_round(stage, lamp_post, (0.05, 2.1, 0.05), "cylinder", material=steel)
            arm = Frame(lamp_post.at(-side * 0.5, -4.2, 0), frame.axes)
            add_box(stage, arm, 1.1, 0.08, 0.16, material=steel)
        hedge = _on(frame, side * 5.5, ground, 5)
        add_box(stage, hedge, 0.5, 0.8, 5.0, material=grass)
    for z in range(3, 60, 4):
        mark = frame.at(-0.08, ground - 0.004, z + 2)
        add_card(
            stage,
            mark,
            frame.axes[0] * 0.16,
            -frame.axes[2] * 2,
            material=paint(rng, (235, 235, 235)),
        )
    for x, z, bgr in (
        (-2.9, 9, (50, 40, 170)),
        (2.9, 14, (150, 95, 40)),
        (-2.9, 19, (210, 210, 205)),
        (2.9, 27, (60, 60, 65)),
    ):
        car(stage, _on(frame, x, ground, z), bgr)
    fence = _on(frame, 3.75, ground - 0.1, 6.2, np.pi / 2)
    right, down = fence.axes[0] * 4.0, fence.axes[1] * 0.9
    add_card(stage, fence.at(-2.0, -0.9, 0), right, down, mask=_wire_grid, material=steel)
    return stage


def _pastel(rng: Rng) -> tuple[int, int, int]:
    b, g, r = (int(v) for v in rng.uniform(130, 205) + rng.uniform(-28, 28, 3))
    return b, g, r


def _street_tree(stage: Stage, frame: Frame, tall: float) -> None:
    rng = stage.rng
    bark = plain_material(tinted(wood(rng, 256), (60, 75, 90), 0.8))
    leaves = plain_material(tinted(noise(rng, 512), (55, 125, 80), 0.9), 1.2)
    add_round(stage, frame, (0.12, tall / 2, 0.12), "cylinder", material=bark)
    for index in range(6):
        offset = rng.normal(0, 0.45, 3)
        crown = Frame(frame.at(offset[0], -tall - 0.3 * offset[1], offset[2]), frame.axes)
        turned = crown.turned(index * 0.5)
        corner = turned.at(-1.2, -1.0, 0)
        add_card(
            stage, corner, turned.axes[0] * 2.4, turned.axes[1] * 2.1, mask=foliage, material=leaves
        )


def car(stage: Stage, frame: Frame, bgr: tuple[int, int, int]) -> None:
    """Add a simple car heading forward, centred at ``frame.origin``."""
    rng = stage.rng
    body = plain_material(tinted(flat(rng, 128), bgr, 0.1), 2.0)
    glass = paint(rng, (70, 60, 50), contrast=0.4)
    lifted = Frame(frame.at(0, -0.25, 0), frame.axes)
    add_box(stage, lifted, 1.7, 0.55, 4.0, material=body)
    add_box(stage, Frame(frame.at(0, -0.8, -0.2), frame.axes), 1.5, 0.5, 2.1, material=glass)
    add_box(stage, Frame(frame.at(0, -1.3, -0.2), frame.axes), 1.5, 0.06, 2.0, material=body)
    rubber = paint(rng, (35, 35, 38))
    for x in (-0.8, 0.8):
        for z in (-1.25, 1.25):
            lying = Frame(
                frame.at(x, -0.32, z), np.stack([frame.axes[1], frame.axes[0], frame.axes[2]])
            )
            wheel = Frame(lying.at(0, 0.1, 0), lying.axes)
            add_round(stage, wheel, (0.32, 0.1, 0.32), "cylinder", material=rubber)
    red = paint(rng, (40, 40, 200))
    for x in (-0.65, 0.65):
        light = frame.at(x - 0.15, -0.7, -2.01)
        add_card(stage, light, frame.axes[0] * 0.3, frame.axes[1] * 0.15, material=red)
