"""Ring buffers of rendered scenes on disk, shared by renderers and trainers.

Every scene is used a few times, with another crop, mirroring and light, before it is replaced,
because rendering costs about as much as a training step. The buffers outlive the process, so that
a resumed run starts at once.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from training.processes import exit_if_orphaned
from training.scenes import Sample, render_scene

FIXED_POINT = 64  # a disparity is kept as uint16 in 1/64 px
UNDEFINED = 65535


class Counters(Protocol):
    """Shared array of two numbers: scenes rendered and scenes allowed."""

    def __getitem__(self, index: int) -> float: ...
    def __setitem__(self, index: int, value: float) -> None: ...
    def get_lock(self) -> AbstractContextManager[object]:
        """Return the lock of the array."""


@dataclass(frozen=True)
class Shape:
    """Sizes of rendered scenes and of their crops [px]."""

    height: int
    width: int
    crop_height: int
    crop_width: int
    share: float  # of the scenes, and of the batches

    @property
    def name(self) -> str:
        return f"{self.height}x{self.width}"


# Mixed widths, because a prototype trained at 320 px alone failed on wider images.
SHAPES = (
    Shape(288, 448, 192, 320, 0.5),
    Shape(224, 704, 160, 640, 0.25),
    Shape(384, 512, 320, 448, 0.25),
)


class Ring:
    """Ring buffer of scenes of one shape, memory-mapped in a folder.

    `version` of a slot is 0 while it is empty and odd while it is written.
    """

    def __init__(self, folder: Path, shape: Shape, slots: int) -> None:
        folder = folder / f"{shape.name}_{slots}"
        folder.mkdir(parents=True, exist_ok=True)
        size = (slots, 2, shape.height, shape.width)
        self.shape, self.slots = shape, slots
        self.images = _array(folder / "pictures.bin", np.uint8, (*size, 3))
        self.disparity = _array(folder / "disparity.bin", np.uint16, size)
        self.occluded = _array(folder / "occluded.bin", np.uint8, size)
        self.version = _array(folder / "version.bin", np.int64, (slots,))
        self.seeds = _array(folder / "seeds.bin", np.int64, (slots,))

    def write(self, slot: int, seed: int) -> None:
        """Render a scene into a slot."""
        sample = render_scene(seed, self.shape.height, self.shape.width)
        version = int(self.version[slot]) // 2 * 2
        self.version[slot] = version + 1
        self.images[slot] = sample.left, sample.right
        for side, disparity in enumerate((sample.disparity_left, sample.disparity_right)):
            fixed = np.rint(np.clip(disparity, 0, 1000) * FIXED_POINT)
            unknown = ~(disparity >= 0)  # catches NaN as well as a negative disparity
            self.disparity[slot, side] = np.where(unknown, UNDEFINED, fixed).astype(np.uint16)
        self.occluded[slot] = sample.occluded_left, sample.occluded_right
        self.seeds[slot] = seed
        self.version[slot] = version + 2

    def filled(self) -> NDArray[np.int64]:
        """Return the indices of the slots that hold a scene."""
        return np.flatnonzero((self.version > 0) & (self.version % 2 == 0))

    def read(self, slot: int) -> Sample | None:
        """Return a copy of a scene, None if empty or being replaced."""
        version = int(self.version[slot])
        images, fixed = self.images[slot].copy(), self.disparity[slot].copy()
        occluded = self.occluded[slot].astype(bool)
        if version == 0 or version % 2 or version != int(self.version[slot]):
            return None
        disparity = fixed.astype(np.float32) / FIXED_POINT
        disparity[fixed == UNDEFINED] = np.nan
        return Sample(*images, *disparity, *occluded)


def _array(path: Path, dtype: type, size: tuple[int, ...]) -> np.memmap:
    count = int(np.prod(size)) * np.dtype(dtype).itemsize
    if not path.exists() or path.stat().st_size != count:
        with path.open("wb") as file:
            file.truncate(count)
    return np.memmap(path, dtype=dtype, mode="r+", shape=size)


def rings(folder: Path, slots: int) -> list[Ring]:
    """Open a ring for every shape; `slots` is divided by the shares."""
    return [Ring(folder, shape, max(16, int(slots * shape.share))) for shape in SHAPES]


def place_after(ring: Ring, worker: int, workers: int) -> int:
    """Return the first slot of a worker after the newest scene."""
    first = int(ring.seeds.argmax()) + 1 if ring.seeds.any() else 0
    return first + (worker - first) % workers


def render_forever(  # noqa: PLR0917
    folder: Path, slots: int, worker: int, workers: int, counters: Counters, used: int = 0
) -> None:
    """Render scenes into the rings, empty slots first, then the oldest.

    Runs in a separate process and pauses while the allowed number of scenes is rendered. The seeds
    of the workers are interleaved; they start after the highest seed in the rings and above `used`,
    so that a new ring holds new scenes.
    """
    cv2.setNumThreads(1)
    mine = rings(folder, slots)
    rng = np.random.default_rng([worker, int(time.time())])
    shares = np.array([ring.shape.share for ring in mine])
    cursor = [place_after(ring, worker, workers) for ring in mine]
    highest = max(used, *(int(ring.seeds.max()) for ring in mine))
    seed = (highest // workers + 1) * workers + worker
    while True:
        exit_if_orphaned()
        if counters[0] >= counters[1]:
            time.sleep(0.05)
            continue
        empty = [len(ring.filled()) < ring.slots for ring in mine]
        share = shares * empty if any(empty) else shares
        k = int(rng.choice(len(mine), p=share / share.sum()))
        ring = mine[k]
        ring.write(cursor[k] % ring.slots, seed)
        cursor[k] += workers
        seed += workers
        with counters.get_lock():
            counters[0] += 1
