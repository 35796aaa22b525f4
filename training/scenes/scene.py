"""Render training pairs from seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.camera import Camera
from training.scenes.families import compose
from training.scenes.lighting import Atmosphere, draw_atmosphere
from training.scenes.photometric import defocus, develop, draw_developments, draw_misalignment
from training.scenes.raster import View, occlusion, paint_view
from training.scenes.surfaces import Surface
from training.scenes.textures import Field, Image, Rng

MAX_FRACTION = 1 / 3
"""Largest disparity as a fraction of the width."""

PAINTED_SHARE = 0.25
"""Share of the scenes in which most objects have almost no texture, as indoor walls and boards."""

STILL_SHARE = 0.35
"""Share of the scenes with a few large objects in front of a bare wall."""


@dataclass(frozen=True)
class Sample:
    """Rendered pair with exact ground truth.

    Parameters
    ----------
    left, right : (H, W, 3) uint8
        BGR images.
    disparity_left, disparity_right : (H, W) float32
        Px; the point at x in the left image is at x - disparity_left in the right one, and the
        point at x in the right image at x + disparity_right in the left one. Defined everywhere, 0
        or more.
    occluded_left, occluded_right : (H, W) bool
        The point is not visible in the other image: hidden or outside of it.
    """

    left: Image
    right: Image
    disparity_left: Field
    disparity_right: Field
    occluded_left: NDArray[np.bool_]
    occluded_right: NDArray[np.bool_]


def render_scene(
    seed: int, height: int, width: int, augment: bool = True, view_dependent: bool = True
) -> Sample:
    """Render a random scene.

    Parameters
    ----------
    seed : int
        The sample is determined by seed and size.
    height, width : int
        Size of both images, px, at least 64.
    augment : bool
        Apply different exposure, noise, blur and JPEG compression to each view and misalign the
        right camera slightly.
    view_dependent : bool
        Allow highlights and reflections, whose disparity differs from that of the surface.

    Returns
    -------
    Sample

    Raises
    ------
    ValueError
        If the size is smaller than 64 px.

    Notes
    -----
    The left view is rendered first; then the baseline is set such that the largest disparity is
    the drawn fraction of the width (log-uniform from 4 % to 32 %).
    """
    if min(height, width) < 64:
        raise ValueError(f"a scene needs at least 64x64 pixels, not {height}x{width}")
    rng = np.random.default_rng(seed)
    target = width * float(np.exp(rng.uniform(np.log(0.04), np.log(0.32))))
    camera = Camera(height, width, width / 2 / np.tan(np.radians(rng.uniform(35, 85)) / 2))
    paint = np.random.default_rng([seed, 1])  # separate, so that other draws do not change
    painted = float(paint.uniform(0.5, 1)) if paint.random() < PAINTED_SHARE else 0.0
    still = bool(paint.random() < STILL_SHARE)
    stage = compose(rng, camera, target / width, view_dependent, painted, still)
    atmosphere = draw_atmosphere(rng, camera, stage.light, view_dependent)
    sample = render_pair(stage.surfaces(), camera, target, atmosphere)
    return _photograph(sample, rng) if augment else sample


def render_pair(
    surfaces: list[Surface], camera: Camera, target: float, atmosphere: Atmosphere | None
) -> Sample:
    """Render both views of surfaces, given far to near.

    The largest left disparity is ``target`` px.
    """
    left = paint_view(camera, surfaces)
    baseline = target / max(float(left.inv.max()), 1e-6)
    limit = camera.width * MAX_FRACTION
    for _ in range(4):
        right_camera = replace(camera, position=baseline)
        right = paint_view(right_camera, surfaces)
        # The right view may show a nearer surface beyond the border of the left image.
        excess = float(right.inv.max()) * baseline / limit
        if excess <= 1:
            break
        baseline *= 0.97 / excess
    return finish_pair(left, right, baseline, camera, atmosphere)


def finish_pair(
    left: View, right: View, baseline: float, camera: Camera, atmosphere: Atmosphere | None
) -> Sample:
    """Light two rendered views; compute the ground truth from the z-buffers."""
    disparity_left = left.inv * np.float32(baseline)
    disparity_right = right.inv * np.float32(baseline)
    colours = (left.colour, right.colour)
    if atmosphere is not None:
        colours = atmosphere.apply(left, right, disparity_left, disparity_right, camera)
    return Sample(
        colours[0],
        colours[1],
        disparity_left,
        disparity_right,
        occlusion(disparity_left, disparity_right, -1),
        occlusion(disparity_right, disparity_left, 1),
    )


def _photograph(sample: Sample, rng: Rng) -> Sample:
    height, width = sample.left.shape[:2]
    if rng.random() < 0.12:
        sample = _focus(sample, rng)
    first, second = draw_developments(rng)
    matrix = draw_misalignment(rng, height, width)
    if matrix is not None:
        sample = misalign(sample, matrix)
    return replace(
        sample, left=develop(sample.left, first, rng), right=develop(sample.right, second, rng)
    )


def _focus(sample: Sample, rng: Rng) -> Sample:
    largest = max(float(sample.disparity_left.max()), 1.0)
    height, width = sample.disparity_left.shape
    focus = float(sample.disparity_left[int(rng.integers(height)), width // 2])
    depth, blur = largest * rng.uniform(0.2, 0.6), rng.uniform(0.8, 3.0)
    return replace(
        sample,
        left=defocus(sample.left, sample.disparity_left, focus, depth, blur),
        right=defocus(sample.right, sample.disparity_right, focus, depth, blur),
    )


def misalign(sample: Sample, matrix: NDArray[np.float64]) -> Sample:
    """Warp the right image affinely and update the ground truth.

    The map is shifted horizontally if needed, so that no disparity becomes negative.
    """
    height, width = sample.left.shape[:2]
    xs = np.arange(width, dtype=np.float32)
    ys = np.arange(height, dtype=np.float32)[:, None]
    a, b, c = (np.float32(v) for v in matrix[0])
    left = xs - (a * (xs - sample.disparity_left) + b * ys + c)
    lack = max(0.0, -float(left.min()))
    matrix = matrix - np.array([[0, 0, lack], [0, 0, 0]])
    left += np.float32(lack)
    inverse = cv2.invertAffineTransform(matrix)
    size = (width, height)
    right = cv2.warpAffine(
        sample.right, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    at_x = (
        np.float32(inverse[0, 0]) * xs + np.float32(inverse[0, 1]) * ys + np.float32(inverse[0, 2])
    )
    ideal = cv2.warpAffine(
        sample.disparity_right,
        matrix,
        size,
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )
    hidden = cv2.warpAffine(
        sample.occluded_right.view(np.uint8), matrix, size, flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT, borderValue=(1,),
    )  # fmt: skip
    moved = np.maximum(at_x + ideal - xs, 0)
    outside = (xs - left < -0.5) | (xs - left > width - 0.5)
    return Sample(
        sample.left,
        np.asarray(right, np.uint8),
        left.astype(np.float32),
        moved.astype(np.float32),
        sample.occluded_left | outside,
        hidden.astype(bool),
    )
