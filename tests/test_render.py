"""What is shown and coloured: the value under the mouse, sizes, calm colours, guesses."""

from __future__ import annotations

import numpy as np
import pytest

from crestereo.app.render import (
    UNKNOWN_GREY,
    WINDOW_SIZE_PX,
    Painter,
    View,
    side_by_side,
    waiting_view,
    window_half,
)
from crestereo.camera import CameraConfig
from tests.app_helpers import texture

CAMERA = CameraConfig(baseline_m=0.1, focal_px=100, image_width_px=40)


def ramp(rows: int = 20, columns: int = 40) -> np.ndarray:
    """Return a map whose value is 100 * row + column."""
    return (100 * np.arange(rows)[:, None] + np.arange(columns)).astype(np.float32)


def slope(low: float, high: float) -> np.ndarray:
    """Return a map that rises from left to right, (20, 40)."""
    return np.tile(np.linspace(low, high, 40, dtype=np.float32), (20, 1))


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (0, 0, "(0, 0) disparity 0.0 px"),
        (39, 19, "(39, 19) disparity 1939.0 px"),
        (40, 7, "(0, 7) disparity 700.0 px"),
        (79, 0, "(39, 0) disparity 39.0 px"),
        (80, 0, ""),
        (-1, -1, ""),
    ],
)
def test_the_mouse_reads_the_same_pixel_in_both_halves(x: int, y: int, text: str) -> None:
    view = View(np.zeros((20, 80, 3), np.uint8), disparity=ramp())
    assert view.describe(x, y) == text


def test_in_a_shrunken_view_the_mouse_reads_the_pixel_of_the_image() -> None:
    view = View(np.zeros((5, 20, 3), np.uint8), disparity=ramp())
    assert view.describe(9, 4) == "(36, 16) disparity 1636.0 px"
    assert view.describe(11, 1) == "(4, 4) disparity 404.0 px"


def test_metres_are_shown_only_where_they_are_known() -> None:
    disparity = np.full((20, 40), 5, np.float32)
    disparity[0, 0] = np.nan
    depth = Painter("magma", CAMERA).paint(disparity).depth
    view = View(np.zeros((20, 80, 3), np.uint8), disparity=disparity, depth=depth)
    assert view.describe(1, 1) == "(1, 1) disparity 5.0 px, 2.00 m"  # 100 * 0.1 / 5
    assert view.describe(0, 0) == "(0, 0) unknown"
    assert View(view.image).describe(1, 1) == ""


@pytest.mark.parametrize("shape", [(3000, 4000), (4000, 3000), (10, 5000), (5656, 4244)])
def test_a_large_image_fits_the_window(shape: tuple[int, int]) -> None:
    half = window_half(np.zeros((*shape, 3), np.uint8))
    assert half.shape[0] <= WINDOW_SIZE_PX[0]
    assert half.shape[1] <= WINDOW_SIZE_PX[1] // 2
    assert half.shape[1] / half.shape[0] == pytest.approx(shape[1] / shape[0], rel=0.25)


def test_a_small_image_is_enlarged_to_a_readable_size() -> None:
    assert window_half(texture(90, 160)).shape == (270, 480, 3)
    assert window_half(texture(20, 40)).shape == (80, 160, 3)  # four times at most
    image = texture(400, 600)
    assert window_half(image) is image


def test_before_the_first_result_the_left_image_is_shown() -> None:
    left = texture(300, 500)
    view = waiting_view(left)
    grey = np.full_like(left, UNKNOWN_GREY)
    np.testing.assert_array_equal(view.image, side_by_side(left, grey))
    assert view.note == "estimating"


@pytest.mark.parametrize("camera", [None, CAMERA])
@pytest.mark.parametrize("far_m", [None, 10.0])
@pytest.mark.parametrize("colormap", ["magma", "viridis"])
def test_near_is_bright(camera: CameraConfig | None, far_m: float | None, colormap: str) -> None:
    colored = Painter(colormap, camera, far_m).paint(slope(5, 50)).colored.astype(int)
    assert colored[0, 39].sum() > colored[0, 2].sum()


def test_a_guess_has_the_colour_of_the_background_in_stripes() -> None:
    # given a hole between something near and something far
    disparity = slope(10, 10)
    disparity[:, :16], disparity[:, 16:24], disparity[:, 24:] = 50, np.nan, 10
    # when it is coloured
    colored = Painter("turbo").paint(disparity).colored
    # then some pixels of the hole have the far colour and the others differ visibly
    far = colored[0, 39].astype(int)
    distance = np.abs(colored[:, 16:24].astype(int) - far).max(axis=2)
    assert 0.3 < (distance == 0).mean() < 0.7
    assert distance[distance > 0].min() >= 40


@pytest.mark.parametrize("colormap", ["magma", "turbo", "viridis", "bone"])
def test_stripes_are_visible_on_every_colour(colormap: str) -> None:
    disparity = np.repeat(np.arange(256, dtype=np.float32)[:, None], 40, axis=1)
    plain = Painter(colormap).paint(disparity).colored.astype(int)
    disparity[:, :20] = np.nan
    striped = Painter(colormap).paint(disparity).colored.astype(int)
    change = np.abs(striped - plain)[:, :20].max(axis=2)
    assert change.max(axis=1).min() >= 60  # in every row, so on every colour


def test_rows_without_any_known_pixel_are_grey_not_far() -> None:
    disparity = slope(5, 50)
    disparity[:5] = np.nan
    for painter in (Painter("magma"), Painter("magma", CAMERA, 10.0)):
        assert (painter.paint(disparity).colored[:5] == UNKNOWN_GREY).all()


def test_beyond_the_largest_distance_is_black() -> None:
    disparity = np.full((20, 40), 10, np.float32)  # 1 m
    disparity[:, :20] = 2  # 5 m
    painted = Painter("magma", CAMERA, 4.0).paint(disparity)
    assert painted.colored[:, :20].sum() == 0
    assert painted.colored[:, 20:].min(axis=(0, 1)).sum() > 0


def test_without_a_camera_the_largest_distance_changes_the_image_and_gives_no_metres() -> None:
    disparity = slope(1, 8)
    near, far = (Painter("magma", None, far_m).paint(disparity) for far_m in (1.0, 10.0))
    assert not np.array_equal(near.colored, far.colored)
    assert near.depth is None
    assert near.legend.unit == ""


def test_the_legend_gives_the_range_in_pixels_or_metres() -> None:
    disparity = slope(10, 20)
    pixels = Painter("magma").paint(disparity).legend
    assert (pixels.near, pixels.far) == pytest.approx((20, 10), abs=0.5)
    assert pixels.unit == "px"
    metres = Painter("magma", CAMERA).paint(disparity).legend
    assert (metres.near, metres.far) == pytest.approx((0.5, 1.0), abs=0.03)  # 100 px * 0.1 m / d
    assert metres.unit == "m"
    limited = Painter("magma", CAMERA, 4.0).paint(disparity).legend
    assert (limited.near, limited.far, limited.unit) == (0.0, 4.0, "m")


def test_colours_stay_when_a_few_pixels_jump() -> None:
    jumped = slope(10, 20)
    jumped[0, 0] = 500
    painter = Painter("magma")
    before = painter.paint(slope(10, 20)).colored.astype(int)
    after = painter.paint(jumped).colored.astype(int)
    assert np.abs(after[1:] - before[1:]).max() <= 3


def test_the_range_follows_a_small_change_slowly() -> None:
    painter = Painter("magma")
    nearest = [painter.paint(slope(10, 20) * gain).legend.near for gain in (1, 1.1, 1.1, 1.1)]
    steps = np.diff(nearest)
    assert (steps > 0).all()
    assert steps.max() < 0.5 * (1.1 * nearest[0] - nearest[0])
