"""Render views of calibration boards from known cameras."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.boards import Board, draw_board
from crestereo.types import BGRImage

Values = NDArray[Any]

MARGIN_M = 0.015
PER_METRE = 6000.0
FINER = 2  # samples of a pixel along each side


@dataclass(frozen=True)
class Camera:
    """Camera of known matrix and distortion; fisheye as in ``cv2.fisheye``."""

    shape: tuple[int, int]
    matrix: Values
    distortion: Values
    fisheye: bool = False

    @cached_property
    def rays(self) -> Values:
        """Return the ray directions, (H, W, 3) at `FINER` times the size."""
        height, width = (side * FINER for side in self.shape)
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        points = (np.stack([x, y], axis=-1).reshape(-1, 1, 2) + 0.5) / FINER - 0.5
        if self.fisheye:
            flat = cv2.fisheye.undistortPoints(points, self.matrix, self.distortion)
        else:
            flat = cv2.undistortPoints(points, self.matrix, self.distortion)
        return np.dstack([flat.reshape(height, width, 2), np.ones((height, width))])


@dataclass(frozen=True)
class Rig:
    """Two cameras and their relative pose.

    A point x of the left camera is `rotation` x + `translation` in the right one.
    """

    left: Camera
    right: Camera
    rotation: Values
    translation: Values

    @property
    def baseline_m(self) -> float:
        """Return the distance of the cameras [m]."""
        return float(np.linalg.norm(self.translation))


def make_rig(
    shape: tuple[int, int] = (480, 640),
    k1: float = -0.2,
    *,
    fisheye_degrees: float = 0.0,
    baseline_m: float = 0.065,
) -> Rig:
    """Return a rig with 3 degrees toe-in and 2 degrees roll."""
    height, width = shape
    fisheye = fisheye_degrees > 0
    focal = width / np.radians(fisheye_degrees) if fisheye else 0.82 * width
    cameras = []
    for more, x, y in ((1.0, 5.3, -3.1), (1.012, -4.2, 6.4)):
        centre = (width - 1) / 2 + x, (height - 1) / 2 + y
        matrix = np.array([[focal * more, 0, centre[0]], [0, focal * more, centre[1]], [0, 0, 1]])
        bent = [0.02, -0.01, 0.003, 0.0] if fisheye else [k1, -0.25 * k1, 0.0005, -0.0003]
        cameras.append(Camera(shape, matrix, np.array(bent), fisheye))
    rotation = cv2.Rodrigues(np.radians([0.0, 3.0, 0.0]))[0]
    rotation = rotation @ cv2.Rodrigues(np.radians([0.0, 0.0, 2.0]))[0]
    translation = rotation @ np.array([[-baseline_m], [0.0], [0.0]])
    return Rig(cameras[0], cameras[1], rotation, translation)


def render(camera: Camera, texture: Values, rotation: Values, translation: Values) -> BGRImage:
    """Render a board whose texture has `MARGIN_M` of white around its pattern."""
    # x = R X + t with X = (u, v, 0): the inverse of [r1 r2 t] maps a ray to u, v.
    to_board = np.linalg.inv(np.column_stack([rotation[:, :2], translation]))
    flat = camera.rays @ to_board.T
    with np.errstate(divide="ignore", invalid="ignore"):
        places = (flat[..., :2] / flat[..., 2:] + MARGIN_M) * PER_METRE - 0.5
    places[flat[..., 2] <= 0] = -9
    height, width = camera.shape
    back = np.linspace(60, 130, width * FINER)[None].repeat(height * FINER, axis=0)
    scale = min(1.0, 1.5 * FINER * camera.matrix[0, 0] / (abs(translation[2, 0]) * PER_METRE))
    size = round(texture.shape[1] * scale), round(texture.shape[0] * scale)
    shrunk = cv2.resize(texture, size, interpolation=cv2.INTER_AREA)
    ratio = np.array(size) / texture.shape[1::-1]
    places = ((places + 0.5) * ratio - 0.5).astype(np.float32)
    remap: Any = cv2.remap
    image = remap(
        shrunk, places, None, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
        borderValue=-1.0,
    )  # fmt: skip
    inside = ((places >= -0.5) & (places <= np.array(size) - 0.5)).all(axis=2)
    image = np.where(inside, 25 + 0.8 * image, back).astype(np.float32)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    grey = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def poses(
    rig: Rig, board: Board, count: int, seed: int = 0, *, whole: bool = True
) -> Iterator[tuple[Values, Values]]:
    """Yield poses, 20 to 60 cm away, visible to both cameras."""
    rng = np.random.default_rng(seed)
    middle = np.array([[*np.array(board.size_m) / 2, 0]]).T
    found = 0
    while found < count:
        turn = cv2.Rodrigues(np.radians([*rng.uniform(-40, 40, 2), rng.uniform(-25, 25)]))[0]
        distance = rng.uniform(0.2, 0.6)
        x, y = rng.uniform(0, rig.left.shape[1::-1], 2).astype(int) * FINER
        shift = rig.left.rays[y, x][:, None] * distance - turn @ middle
        if visible_share(rig, board, turn, shift) >= (1.0 if whole else 0.5):
            found += 1
            yield turn, shift


def visible_share(rig: Rig, board: Board, turn: Values, shift: Values) -> float:
    """Return the share of board points visible to both cameras.

    Points within 5 px of the image border do not count.
    """
    seen = []
    for camera, rotation, move in (
        (rig.left, turn, shift),
        (rig.right, rig.rotation @ turn, rig.rotation @ shift + rig.translation),
    ):
        points = project(camera, board.points, rotation, move)
        high = np.array(camera.shape[::-1]) - 6
        ahead = (board.points @ rotation.T + move.T)[:, 2] > 0.02
        seen.append(((points > 5) & (points < high)).all(axis=1) & ahead)
    return float(np.mean(seen[0] & seen[1]))


def project(camera: Camera, points: Values, rotation: Values, translation: Values) -> Values:
    """Return the projection of points, (N, 2) px."""
    pose = cv2.Rodrigues(rotation)[0], translation.astype(float)
    arguments = points.reshape(-1, 1, 3).astype(float), *pose, camera.matrix, camera.distortion
    seen, _ = (cv2.fisheye.projectPoints if camera.fisheye else cv2.projectPoints)(*arguments)
    return np.asarray(seen).reshape(-1, 2)


def render_views(
    rig: Rig, board: Board, count: int, seed: int = 0, *, whole: bool = True
) -> Iterator[tuple[BGRImage, BGRImage]]:
    """Yield images of both cameras of the board at random poses."""
    texture = draw_board(board, PER_METRE, MARGIN_M)
    for turn, shift in poses(rig, board, count, seed, whole=whole):
        yield (
            render(rig.left, texture, turn, shift),
            render(rig.right, texture, rig.rotation @ turn, rig.rotation @ shift + rig.translation),
        )


def moving_poses(
    rig: Rig, board: Board, seconds: float, fps: float, *, begin_s: float = 0.0, seed: int = 0
) -> Iterator[tuple[Values, Values]]:
    """Yield poses of a hand-held board.

    Half a second of motion alternates with half a second of rest, with a tremor of half a
    millimetre.
    """
    held = list(poses(rig, board, int(seconds + begin_s) + 2, seed))
    turns = [cv2.Rodrigues(turn)[0] for turn, _ in held]
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, 3)[:, None]
    for frame in range(round(seconds * fps)):
        time_s = begin_s + frame / fps
        k, passed = int(time_s), 2 * (time_s % 1)
        share = 1.0 if passed > 1 else passed**2 * (3 - 2 * passed)
        turn = (1 - share) * turns[k] + share * turns[k + 1]
        shift = (1 - share) * held[k][1] + share * held[k + 1][1]
        tremor = 0.0005 * np.sin(2 * np.pi * time_s * np.array([[1.1], [1.7], [2.3]]) + phases)
        yield cv2.Rodrigues(turn)[0], shift + tremor
