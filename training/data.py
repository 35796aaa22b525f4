"""Training batches: augmented crops of rendered scenes with initial disparities."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.losses import GroundTruth
from training.network import SEARCHED
from training.pool import SHAPES, Ring, Shape, rings
from training.scenes import Sample, render_scene
from training.scenes.scene import misalign

HELD_OUT_SEED = 1_000_000_000  # first seed of the validation scenes
NO_PRIOR_SHARE, MATCHER_SHARE = 0.7, 0.05  # samples without a prior; with that of SGBM
GREY_SHARE = 0.15  # samples without colour
WIDE_SHARE = 1 / 3  # batches of the full width, which show walls from border to border
OFFSET_SHARE = 0.15  # samples with a vertical offset or roll of up to 2 px
DOWNSCALED_SHARE = 0.6  # downscaled samples, whose edges mix both colours as in a photograph
UNEVEN_SHARE = 0.1  # samples with uneven light in one view
# Disparities beyond this are ignored because the start cannot represent them.
MAX_SHARE_OF_WIDTH = SEARCHED[0] / SEARCHED[1]


@dataclass
class Batch:
    """Inputs of the network and ground truth.

    Parameters
    ----------
    left, right : (N, 3, H, W) uint8, float32 after `to`
        RGB, 0..255.
    prior : (N, 1, H, W) float32
        Initial disparity, NaN where unknown.
    ground_truth : GroundTruth
    """

    left: Tensor
    right: Tensor
    prior: Tensor
    ground_truth: GroundTruth

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device, images as float32.

        The images are copied as bytes and converted there.
        """

        def move(x: Tensor) -> Tensor:
            return x.to(device, non_blocking=True)

        ground_truth = GroundTruth(
            move(self.ground_truth.disparity), move(self.ground_truth.visible)
        )
        images = move(self.left).float(), move(self.right).float()
        return Batch(*images, move(self.prior), ground_truth)


def vary(sample: Sample, shape: Shape, rng: np.random.Generator) -> Sample:
    """Return a random crop of a sample, augmented.

    Downscaling, vertical offset, mirroring (horizontal mirroring exchanges the views), colours and
    light.
    """
    if rng.random() < DOWNSCALED_SHARE:
        least = max(shape.crop_height / shape.height, shape.crop_width / shape.width)
        sample = downscale(sample, rng.uniform(least, 1))
    height, width = sample.left.shape[:2]
    top = int(rng.integers(height - shape.crop_height + 1))
    side = int(rng.integers(width - shape.crop_width + 1))
    if rng.random() < OFFSET_SHARE:
        sample = add_vertical_offset(sample, rng)
    cut = np.s_[top : top + shape.crop_height, side : side + shape.crop_width]
    flips = np.s_[:: -1 if rng.random() < 0.2 else 1, :: -1 if rng.random() < 0.5 else 1]
    left, right = ((p[cut], d[cut], o[cut]) for p, d, o in _views(sample))
    if flips[1].step == -1:
        left, right = right, left
    (a, da, oa), (b, db, ob) = ([x[flips] for x in view] for view in (left, right))
    column = np.arange(shape.crop_width)
    oa = oa | (column - da < -0.5)  # the match may be outside of the crop
    ob = ob | (column + db > shape.crop_width - 0.5)
    colours = rng.permutation(3) if rng.random() < 0.3 else np.arange(3)
    if rng.random() < GREY_SHARE:
        a, b = _without_colour(a), _without_colour(b)
    if rng.random() < UNEVEN_SHARE:
        b = light_unevenly(b, rng)  # either camera, because the views may have been exchanged
    gamma, gain = np.exp(rng.normal(0, 0.15)), np.exp(rng.normal(0, 0.15))
    curve = np.clip(255 * gain * (np.arange(256) / 255) ** gamma, 0, 255).astype(np.uint8)
    a, b = (cv2.LUT(np.ascontiguousarray(view), curve)[..., colours] for view in (a, b))
    return Sample(a, b, da, db, oa, ob)


def downscale(sample: Sample, scale: float) -> Sample:
    """Downscale a sample by a factor up to 1, sizes rounded up."""
    height, width = sample.left.shape[:2]
    size = math.ceil(width * scale), math.ceil(height * scale)
    (left, disparity_left, occluded_left), (right, disparity_right, occluded_right) = (
        (
            np.asarray(cv2.resize(p, size, interpolation=cv2.INTER_AREA), np.uint8),
            cv2.resize(d, size, interpolation=cv2.INTER_NEAREST_EXACT) * (size[0] / width),
            cv2.resize(o.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0,
        )
        for p, d, o in _views(sample)
    )
    return Sample(left, right, disparity_left, disparity_right, occluded_left, occluded_right)


def add_vertical_offset(sample: Sample, rng: np.random.Generator) -> Sample:
    """Shift the right image vertically and roll it.

    The shift is up to 2 px; the roll moves the left and right border by up to 2 px.
    """
    height, width = sample.left.shape[:2]
    shift, roll = rng.uniform(-2, 2), rng.uniform(-2, 2) * (rng.random() < 0.5) / (width / 2)
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(np.degrees(roll)), 1)
    turn[1, 2] += shift
    return misalign(sample, np.asarray(turn, np.float64))


def light_unevenly(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Apply uneven light to an image, about half to twice as bright."""
    height, width = image.shape[:2]
    coarse = np.exp(rng.normal(0, 0.3, (3, 4))).astype(np.float32)
    light = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(image * light[..., None], 0, 255).astype(np.uint8)


def _without_colour(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)


def _views(
    sample: Sample,
) -> tuple[tuple[NDArray[np.generic], ...], tuple[NDArray[np.generic], ...]]:
    return (
        (sample.left, sample.disparity_left, sample.occluded_left),
        (sample.right, sample.disparity_right, sample.occluded_right),
    )


def matcher_prior(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute an initial disparity with OpenCV's semi-global matcher at half size.

    Returns
    -------
    (H, W) float32
        Pixels, NaN where unknown.
    """
    height, width = left.shape[:2]
    small = [
        cv2.resize(p, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        for p in (left, right)
    ]
    matcher = cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=(int(width // 2 * MAX_SHARE_OF_WIDTH) + 15) // 16 * 16,
        blockSize=3,
        P1=8 * 9,
        P2=32 * 9,
        disp12MaxDiff=1,
        uniquenessRatio=10,
        speckleWindowSize=50,
        speckleRange=1,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )
    found = matcher.compute(*small).astype(np.float32) / 16
    found = cv2.resize(found * 2, (width, height), interpolation=cv2.INTER_NEAREST)
    found[found < 0] = np.nan
    return found


def previous_frame_prior(
    ground_truth: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Simulate the result of the previous frame from the ground truth.

    The map is shifted, coarsely distorted, and has holes and wrong patches.
    """
    height, width = ground_truth.shape
    motion = rng.normal(0, 3, 2)
    move = np.array([[1, 0, motion[0]], [0, 1, motion[1]]], np.float32)
    prior = cv2.warpAffine(
        ground_truth,
        move,
        (width, height),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )
    rough = rng.normal(0, rng.uniform(0, 1.5), (height // 16, width // 16)).astype(np.float32)
    prior = prior * rng.normal(1, 0.02) + cv2.resize(
        rough, (width, height), interpolation=cv2.INTER_LINEAR
    )
    for _ in range(int(rng.integers(0, 5))):
        top, side = int(rng.integers(height)), int(rng.integers(width))
        patch = np.s_[top : top + int(rng.integers(8, 80)), side : side + int(rng.integers(8, 120))]
        prior[patch] = np.nan if rng.random() < 0.5 else prior[patch] + rng.normal(0, 10)
    return prior


def make_prior(sample: Sample, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw an initial disparity, most often none (all NaN)."""
    kind = rng.random()
    if kind < NO_PRIOR_SHARE:
        return np.full(sample.left.shape[:2], np.nan, np.float32)
    if kind < NO_PRIOR_SHARE + MATCHER_SHARE:
        return matcher_prior(sample.left, sample.right)
    return previous_frame_prior(sample.disparity_left, rng)


def to_batch(samples: list[tuple[Sample, NDArray[np.float32]]]) -> Batch:
    """Stack samples and their priors into a batch."""

    def images(side: str) -> Tensor:
        stack = torch.from_numpy(np.stack([getattr(s, side) for s, _ in samples]))
        # The memory layout stays channels last, which is faster on all devices.
        return stack.flip(3).permute(0, 3, 1, 2)

    disparity = np.stack([s.disparity_left for s, _ in samples])[:, None]
    limit = MAX_SHARE_OF_WIDTH * disparity.shape[3] - 8
    disparity = np.where((disparity >= 0) & (disparity < limit), disparity, np.nan)
    visible = ~np.stack([s.occluded_left for s, _ in samples])[:, None]
    prior = np.stack([p for _, p in samples])[:, None]
    ground_truth = GroundTruth(
        torch.from_numpy(disparity.astype(np.float32)), torch.from_numpy(visible)
    )
    return Batch(
        images("left"), images("right"), torch.from_numpy(prior.astype(np.float32)), ground_truth
    )


def draw(ring: Ring, shape: Shape, count: int, rng: np.random.Generator) -> Batch:
    """Return a batch of augmented crops from random slots of a ring."""
    samples = []
    while len(samples) < count:
        sample = ring.read(int(rng.choice(ring.filled())))
        if sample is not None:
            varied = vary(sample, shape, rng)
            samples.append((varied, make_prior(varied, rng)))
    return to_batch(samples)


def batches(  # noqa: PLR0917
    folder: Path, slots: int, batch_pixels: int, seed: int, rank: int = 0, threads: int = 1
) -> Generator[Batch, None, None]:
    """Yield batches of about `batch_pixels` pixels, prefetched by threads.

    The threads end when the generator is closed: a thread that still runs at the exit of Python
    crashes the process. Trainers of the same seed and different ranks draw different scenes of the
    same shapes, so that with one thread their steps take equal time.
    """
    ready: queue.Queue[Batch | Exception] = queue.Queue(maxsize=4 * threads)
    closed = threading.Event()
    mine = rings(folder, slots)

    def fill(number: int) -> None:
        try:
            fill_until_closed(number)
        except Exception as exc:  # noqa: BLE001  raised again where the batches are taken
            ready.put(exc)

    def fill_until_closed(number: int) -> None:
        shapes = np.random.default_rng([seed, number])
        rng = np.random.default_rng([seed, number, rank])
        while not closed.is_set():
            # Batches have equal numbers of pixels, so the shares hold for pixels too.
            ring = mine[int(shapes.choice(len(mine), p=[r.shape.share for r in mine]))]
            wide = shapes.random() < WIDE_SHARE
            shape = replace(ring.shape, crop_width=ring.shape.width) if wide else ring.shape
            size = shape.crop_height * shape.crop_width
            ready.put(draw(ring, shape, max(1, round(batch_pixels / size)), rng))

    fillers = [threading.Thread(target=fill, args=(n,), daemon=True) for n in range(threads)]
    for filler in fillers:
        filler.start()
    try:
        while True:
            batch = ready.get()
            if isinstance(batch, Exception):
                raise batch
            yield batch
    finally:
        closed.set()
        while any(filler.is_alive() for filler in fillers):
            with suppress(queue.Empty):  # unblocks a thread that waits for room in the queue
                ready.get(timeout=0.05)


def held_out(count: int) -> list[Batch]:
    """Render the validation scenes: `count` per shape, uncropped, without a prior."""
    result = []
    for number, shape in enumerate(SHAPES):
        for k in range(count):
            seed = HELD_OUT_SEED + 1000 * number + k
            sample = render_scene(seed, shape.height, shape.width)
            blank = np.full((shape.height, shape.width), np.nan, np.float32)
            result.append(to_batch([(sample, blank)]))
    return result
