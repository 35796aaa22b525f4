"""Rendered scenes: their truth must be exact, for both views, at every size."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from training.scenes import Sample, render_scene, scene
from training.scenes.camera import Camera, cross, rotation
from training.scenes.quadric import Quadric
from training.scenes.raster import occlusion
from training.scenes.scene import misalign, render_pair
from training.scenes.shell import Shell, far_plane
from training.scenes.surfaces import Card, Surface, ringed
from training.scenes.textures import Field, Image

SIZES = [(128, 256), (192, 320), (288, 448)]


def fetch(picture: NDArray[np.generic], sample: Sample, interpolation: int) -> NDArray[np.float32]:
    """Look up, for each left pixel, what the right picture shows at x - d."""
    height, width = sample.disparity_left.shape
    xs = np.arange(width, dtype=np.float32) - sample.disparity_left
    ys = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], xs.shape).copy()
    source = np.asarray(picture, np.float32)
    return np.asarray(
        cv2.remap(source, xs, ys, interpolation, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def checks(height: int, width: int) -> Image:
    """Give a texture in which every place differs from its neighbours."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 7 % 256, y * 11 % 256, (x + y) * 5 % 256], axis=-1).astype(np.uint8)


def square_before_wall(eye_shift: float = 0.0) -> tuple[list[Surface], Camera]:
    """Build the hand-made scene: focal 100 px, wall at depth 10, square of side 2 at depth 5."""
    camera = Camera(100, 200, 100.0, eye_shift)
    wall = Shell((far_plane(10.0, 0.1, checks(256, 256)),))
    corner, right, down = np.array([-1.0, -1, 5]), np.array([2.0, 0, 0]), np.array([0, 2.0, 0])
    return [wall, Card(corner, right, down, ringed(checks(40, 40)))], camera


def warping_error(seed: int, height: int, width: int, margin: int) -> float:
    """Measure the mean difference between left and right-warped-to-left, grey levels.

    Pixels on an outline mix the colours of two surfaces that move differently, so no truth can
    reproduce them; ``margin`` leaves out that many pixels around outlines in either view.
    """
    sample = render_scene(seed, height, width, augment=False, view_dependent=False)
    warped = np.clip(fetch(sample.right, sample, cv2.INTER_CUBIC), 0, 255)
    counted = ~sample.occluded_left
    if margin:
        outlines = [_outline(d, margin) for d in (sample.disparity_left, sample.disparity_right)]
        counted &= ~outlines[0] & ~(fetch(outlines[1], sample, cv2.INTER_LINEAR) > 0)
    return float(np.abs(warped - sample.left).mean(axis=-1)[counted].mean())


def _outline(disparity: Field, margin: int) -> NDArray[np.bool_]:
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    return np.asarray(cv2.dilate(disparity, kernel) - cv2.erode(disparity, kernel) > 2)


def test_warping_right_by_the_truth_gives_left() -> None:
    """The end of every truth: below 1.5 grey levels over all pixels seen by both eyes."""
    assert np.mean([warping_error(seed, 480, 640, margin=0) for seed in range(8)]) < 1.5


@pytest.mark.parametrize("size", SIZES)
def test_warping_inside_outlines_is_exact_at_small_sizes(size: tuple[int, int]) -> None:
    """Small pictures are mostly outline; one pixel around outlines is left out."""
    assert np.mean([warping_error(seed, *size, margin=1) for seed in range(10)]) < 1.5


@pytest.mark.parametrize("size", SIZES)
def test_both_truths_agree(size: tuple[int, int]) -> None:
    """d_left(x) = d_right(x - d_left) up to half a pixel, wherever both eyes see the point."""
    for seed in range(6):
        sample = render_scene(seed, *size, augment=False)
        difference = np.abs(
            fetch(sample.disparity_right, sample, cv2.INTER_LINEAR) - sample.disparity_left
        )
        assert (difference[~sample.occluded_left] < 0.5).mean() > 0.95


def test_still_lifes_are_exact_and_show_a_bare_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given only still lifes: both truths agree, and half of the scenes hold large blank areas."""
    monkeypatch.setattr(scene, "STILL_SHARE", 1.0)
    blank = []
    for seed in range(8):
        sample = render_scene(seed, 192, 320, augment=False)
        difference = np.abs(
            fetch(sample.disparity_right, sample, cv2.INTER_LINEAR) - sample.disparity_left
        )
        assert (difference[~sample.occluded_left] < 0.5).mean() > 0.95
        slope = np.abs(np.diff(sample.left.astype(np.float32), axis=1)).max(axis=2)
        blank.append((cv2.blur(slope, (15, 15)) < 3).mean())
    assert np.median(blank) > 0.3


def test_a_wrong_truth_would_be_noticed() -> None:
    """The check by warping has teeth: a truth two pixels off fails it clearly."""
    exact: list[float] = []
    wrong: list[float] = []
    for seed in range(6):
        sample = render_scene(seed, 192, 320, augment=False, view_dependent=False)
        seen = ~sample.occluded_left
        shifted = replace(sample, disparity_left=sample.disparity_left + np.float32(2))
        for errors, tried in ((exact, sample), (wrong, shifted)):
            difference = np.abs(fetch(sample.right, tried, cv2.INTER_CUBIC) - sample.left)
            errors.append(float(difference[seen].mean()))
    assert np.mean(wrong) > 2.5 * np.mean(exact)


def test_square_before_wall_has_the_disparities_of_the_pinhole_formula() -> None:
    """Given f = 100 px and B = 1: f B / Z is 20 px at depth 5 and 10 px at depth 10."""
    surfaces, camera = square_before_wall()
    sample = render_pair(surfaces, camera, 20.0, None)
    # The square's side of 2 at depth 5 covers 100 * 2 / 5 = 40 px around the centre (99.5, 49.5).
    inside = np.zeros((100, 200), bool)
    inside[30:70, 80:120] = True
    assert np.allclose(sample.disparity_left[inside], 20, atol=1e-3)
    assert np.allclose(sample.disparity_left[~inside], 10, atol=1e-3)
    inside_right = np.roll(inside, -20, axis=1)
    assert np.allclose(sample.disparity_right[inside_right], 20, atol=1e-3)
    assert np.allclose(sample.disparity_right[~inside_right], 10, atol=1e-3)


def test_square_before_wall_hides_what_geometry_says() -> None:
    """Left of the square 10 px of the wall are hidden; 10 px at the border are out of sight."""
    surfaces, camera = square_before_wall()
    sample = render_pair(surfaces, camera, 20.0, None)
    expected = np.zeros((100, 200), bool)
    expected[:, :10] = True  # wall point x lies at x - 10 < 0 in the right picture
    expected[30:70, 70:80] = True  # lies at 60..69, where the right picture shows the square
    assert np.array_equal(sample.occluded_left, expected)
    mirrored = np.zeros((100, 200), bool)
    mirrored[:, 190:] = True
    mirrored[30:70, 100:110] = True
    assert np.array_equal(sample.occluded_right, mirrored)


def test_occlusion_agrees_with_a_brute_force_count() -> None:
    """Point by point: hidden unless the right picture shows the same disparity at the match."""
    sample = render_scene(11, 96, 160, augment=False)
    height, width = sample.disparity_left.shape
    expected = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            match = x - float(sample.disparity_left[y, x])
            if not -0.5 <= match <= width - 0.5:
                expected[y, x] = True
                continue
            column = min(max(int(np.rint(match)), 0), width - 1)
            there = float(sample.disparity_right[y, column])
            expected[y, x] = abs(there - float(sample.disparity_left[y, x])) > 1
    assert (
        expected == occlusion(sample.disparity_left, sample.disparity_right, -1)
    ).mean() > 0.9999
    assert (expected == sample.occluded_left).mean() > 0.9999


def test_sphere_has_the_depth_of_the_analytic_solution() -> None:
    """The nearest point lies one radius before the centre; the limb is where rays touch."""
    camera = Camera(101, 201, 200.0)
    sphere = Quadric(
        np.array([0, 0, 10.0]), rotation(0.3, 0.4, 0.5), np.full(3, 2.0), checks(64, 64),
        np.array([0, 0, -1.0]),
    )  # fmt: skip
    patch = sphere.render(camera)
    assert patch is not None
    centre = patch.inv[50 - patch.y, 100 - patch.x]
    assert centre == pytest.approx(200 / 8, rel=1e-5)
    # A ray touches the sphere at the angle asin(r / distance): 200 tan(asin(0.2)) = 40.82 px from
    # the centre.
    covered = (patch.alpha[50 - patch.y] > 0.5).sum()
    assert covered == pytest.approx(2 * 40.82, abs=1.5)


@pytest.mark.parametrize("augment", [False, True])
def test_same_seed_same_scene_whatever_came_before(augment: bool) -> None:
    """Deterministic by seed, and another seed gives another scene."""
    first = render_scene(5, 128, 256, augment=augment)
    other = render_scene(6, 128, 256, augment=augment)
    again = render_scene(5, 128, 256, augment=augment)
    for name in Sample.__dataclass_fields__:
        assert np.array_equal(getattr(first, name), getattr(again, name)), name
    assert not np.array_equal(first.left, other.left)


@pytest.mark.parametrize("size", [(64, 64), (128, 256), (201, 333), (720, 1280)])
def test_shapes_types_and_range(size: tuple[int, int]) -> None:
    """Any size; finite disparities from 0 to a third of the width (more where misaligned)."""
    for seed in range(2 if size[0] > 400 else 12):
        sample = render_scene(seed, *size)
        assert sample.left.shape == sample.right.shape == (*size, 3)
        assert sample.left.dtype == sample.right.dtype == np.uint8
        for truth in (sample.disparity_left, sample.disparity_right):
            assert truth.shape == size
            assert truth.dtype == np.float32
            assert np.isfinite(truth).all()
            assert truth.min() >= 0
            assert truth.max() <= size[1] / 3 + 3 + 0.01 * size[1]
        assert sample.occluded_left.dtype == sample.occluded_right.dtype == bool


def test_exact_pairs_keep_disparities_within_a_third_of_the_width() -> None:
    """Without misalignment the bound is strict, and scenes use the whole range."""
    largest = []
    for seed in range(24):
        sample = render_scene(seed, 96, 192, augment=False)
        for truth in (sample.disparity_left, sample.disparity_right):
            assert truth.min() >= 0
            assert truth.max() <= 192 / 3 + 1e-3
        largest.append(float(sample.disparity_left.max()) / 192)
    assert min(largest) < 0.08
    assert max(largest) > 0.25


def test_misaligned_truth_is_the_displacement_of_the_moved_picture() -> None:
    """Given roll, zoom and shift: the moved match of a left point is the truth away in x."""
    matrix = np.array([[1.002, -0.004, 1.0], [0.004, 1.002, 1.5]])
    ideal = render_scene(8, 128, 256, augment=False)
    moved = misalign(ideal, matrix)
    ys, xs = np.mgrid[0:128, 0:256].astype(np.float64)
    match_x = matrix[0, 0] * (xs - ideal.disparity_left) + matrix[0, 1] * ys + matrix[0, 2]
    offset = (xs - match_x) - moved.disparity_left
    # One sideways shift for the whole picture may have been added to keep disparities positive.
    assert np.ptp(offset) < 1e-3
    assert moved.disparity_left.min() >= -1e-4
    middle = np.abs(moved.disparity_right - ideal.disparity_right)[20:-20, 40:-40]
    assert np.median(middle) < 4


def test_augmented_eyes_differ_in_light_but_show_the_same_scene() -> None:
    """Exposure and noise differ per eye; the structure stays: warped right correlates with left."""
    correlations = []
    for seed in range(8):
        sample = render_scene(seed, 128, 256)
        seen = ~sample.occluded_left
        left = sample.left.mean(axis=-1)[seen]
        warped = fetch(sample.right, sample, cv2.INTER_LINEAR).mean(axis=-1)[seen]
        correlations.append(np.corrcoef(left, warped)[0, 1])
    assert np.median(correlations) > 0.9


def test_too_small_a_size_is_refused() -> None:
    """Under 64 px nothing can be told apart."""
    with pytest.raises(ValueError, match="64x64"):
        render_scene(0, 32, 320)


def test_vector_product_equals_that_of_numpy() -> None:
    """The fast product is the product."""
    a, b = np.array([1.0, -2, 3]), np.array([0.5, 4, -1])
    assert np.allclose(cross(a, b), np.cross(a, b))
