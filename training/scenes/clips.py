"""Three short clips of the composed scenes with moving camera and objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.bank import plain_material
from training.scenes.beauty import daylight, fine_camera, render_colours, render_fine
from training.scenes.camera import Camera, Frame, rotation
from training.scenes.kit import Stage, add_box, add_round
from training.scenes.lighting import Atmosphere
from training.scenes.motion import Motion, camera_at, posed
from training.scenes.patterns import stripes
from training.scenes.scene import Sample
from training.scenes.showcase import car, paint, room_scene, street_scene, table_scene
from training.scenes.surfaces import Surface
from training.scenes.textures import Image

Track = Callable[[float], Motion]


@dataclass(frozen=True)
class Clip:
    """Clip of static and moving surfaces.

    Parameters
    ----------
    still : list of Surface
        Static surfaces.
    actors : list of (list of Surface, track)
        Moving surfaces; a track returns their motion at a time from 0 to 1.
    camera_path : track
        Motion of the world relative to the camera.
    camera : Camera
        Left camera, at the size of the clip.
    baseline : float
        Metres.
    light : (3,) float
        Direction to the light, unit length.
    """

    still: list[Surface]
    actors: Sequence[tuple[list[Surface], Track]]
    camera_path: Track
    camera: Camera
    baseline: float
    light: NDArray[np.float64]

    def frames(self, count: int) -> Iterator[tuple[Image, Image]]:
        """Render the left and right image of all frames."""
        for index in range(count):
            surfaces, light = self._at(index / max(count - 1, 1))
            yield render_colours(surfaces, self.camera, self.baseline, light)

    def samples(self, count: int, of: int) -> Iterator[Sample]:
        """Render the first `count` of `of` frames with ground truth."""
        for index in range(count):
            surfaces, light = self._at(index / max(of - 1, 1))
            yield render_fine(surfaces, self.camera, self.baseline, light)

    def _at(self, time: float) -> tuple[list[Surface], Atmosphere]:
        """Return surfaces and light at a time from 0 to 1."""
        view = self.camera_path(time)
        surfaces = posed(self.still, view)
        for actor, path in self.actors:
            surfaces += posed(actor, path(time).then(view))
        sun = daylight(view.turn @ self.light)
        return surfaces, replace(sun, shadow_grid=(480, 16))


def _move(x: float, y: float, z: float, turn: NDArray[np.float64] | None = None) -> Motion:
    return Motion(np.eye(3) if turn is None else turn, np.array([x, y, z]))


def _about(
    turn: NDArray[np.float64], place: NDArray[np.float64], shift: NDArray[np.float64]
) -> Motion:
    """Return a rotation about a place followed by a shift."""
    return Motion(turn, place - turn @ place + shift)


def _actor(stage: Stage) -> Stage:
    """Return an empty stage with the light of another."""
    other = Stage(np.random.default_rng(3), stage.camera, stage.target, moving=True)
    other.light, other.ambient = stage.light, stage.ambient
    return other


def _ball(
    stage: Stage, place: NDArray[np.float64], radius: float, axes: NDArray[np.float64]
) -> Stage:
    actor = _actor(stage)
    colours = cv2.resize(
        stripes(np.random.default_rng(8), 256), (512, 512), interpolation=cv2.INTER_LINEAR
    )
    skin = plain_material(np.asarray(colours, np.uint8), whole=True)
    add_round(actor, Frame(place, axes), (radius, radius, radius), "ellipsoid", material=skin)
    return actor


def _camera(height: int, width: int, field_of_view: float) -> Camera:
    return Camera(height, width, width / 2 / np.tan(np.radians(field_of_view) / 2))


def room_clip(height: int, width: int) -> Clip:
    """Return a walk into a room with a bouncing ball."""
    camera = _camera(height, width, 66)
    stage = room_scene(fine_camera(camera), moving=True)
    axes = rotation(0.12, 0.14, 0.0).T
    start = np.array([-1.5, 1.5, 2.3]) @ axes
    ball = _ball(stage, start, 0.16, axes)
    centre = start - 0.16 * axes[1]

    def bounce(time: float) -> Motion:
        high = 0.7 * abs(np.sin(3 * np.pi * time)) * (1 - 0.5 * time)
        way = axes[0] * 2.9 * time - axes[1] * high
        return _about(axes.T @ rotation(0, 0, -9 * time) @ axes, centre, way)

    def walk(time: float) -> Motion:
        ease = time * time * (3 - 2 * time)
        place = np.array([-0.35 + 0.7 * ease, 0.05 * np.sin(6 * time), 0.7 * ease])
        return camera_at(place, rotation(-0.06 + 0.14 * ease, 0, 0))

    return Clip(stage.surfaces(), [(ball.surfaces(), bounce)], walk, camera, 0.12, stage.light)


def table_clip(height: int, width: int) -> Clip:
    """Return an orbit of a table with rolling ball and sliding box."""
    camera = _camera(height, width, 58)
    stage = table_scene(fine_camera(camera), moving=True)
    axes = rotation(0.05, 0.34, 0.0).T
    origin = np.array([0, 0, 0.12])
    start = origin + np.array([-0.5, 0.5, 0.61]) @ axes
    ball = _ball(stage, start, 0.045, axes)
    box = _actor(stage)
    parcel = Frame(origin + np.array([0.55, 0.5, 1.12]) @ axes, axes)
    add_box(box, parcel, 0.16, 0.1, 0.1, material=paint(box.rng, (60, 140, 200)))

    def roll(time: float) -> Motion:
        way = 0.85 * time
        turn = axes.T @ rotation(0, 0, -way / 0.045) @ axes
        return _about(turn, start - 0.045 * axes[1], axes[0] * way)

    def slide(time: float) -> Motion:
        way = -0.3 * np.sin(np.pi * time) ** 2
        return Motion(np.eye(3), axes[0] * way)

    def orbit(time: float) -> Motion:
        angle = 0.22 * np.sin(np.pi * (time - 0.5))
        pivot = np.array([0, 0.1, 1.05])
        turn = rotation(angle, 0, 0)
        return Motion(turn, pivot - turn @ pivot)

    actors = [(ball.surfaces(), roll), (box.surfaces(), slide)]
    return Clip(stage.surfaces(), actors, orbit, camera, 0.06, stage.light)


def street_clip(height: int, width: int) -> Clip:
    """Return a drive along a street with other cars."""
    camera = _camera(height, width, 60)
    stage = street_scene(fine_camera(camera), moving=True)
    axes = rotation(0.05, 0.04, 0.0).T
    coming = _actor(stage)
    car(coming, Frame(np.array([-1.2, 1.5, 24]) @ axes, axes).turned(np.pi), (60, 130, 60))
    ahead = _actor(stage)
    car(ahead, Frame(np.array([1.1, 1.5, 9.5]) @ axes, axes), (40, 150, 215))

    def drive(time: float) -> Motion:
        return camera_at(axes[2] * 4.0 * time, rotation(0.02 * np.sin(4 * time), 0, 0))

    actors: list[tuple[list[Surface], Track]] = [
        (coming.surfaces(), lambda time: _move(*(-axes[2] * 12 * time))),
        (ahead.surfaces(), lambda time: _move(*(axes[2] * 9 * time))),
    ]
    return Clip(stage.surfaces(), actors, drive, camera, 0.35, stage.light)
