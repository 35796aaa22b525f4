"""What is shown and coloured: the value under the mouse, sizes, calm colours."""

from __future__ import annotations

import numpy as np
import pytest

from crestereo.app.render import (
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


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (0, 0, "(0, 0) disparity 0.0 px"),
        (39, 19, "(39, 19) disparity 1939.0 px"),
        (40, 7, "(0, 7) disparity 700.0 px"),
        (79, 0, "(39, 0) disparity 39.0 px"),
        (80, 0, ""),
        (-1, -1, ""),
    ],
)
def test_the_mouse_reads_the_same_pixel_in_both_halves(x: int, y: int, said: str) -> None:
    view = View(np.zeros((20, 80, 3), np.uint8), disparity=ramp())
    assert view.describe(x, y) == said


def test_in_a_shrunken_view_the_mouse_reads_the_pixel_of_the_picture() -> None:
    view = View(np.zeros((5, 20, 3), np.uint8), disparity=ramp())
    assert view.describe(9, 4) == "(36, 16) disparity 1636.0 px"
    assert view.describe(11, 1) == "(4, 4) disparity 404.0 px"


def test_metres_are_said_only_where_they_are_known() -> None:
    disparity = np.full((20, 40), 5, np.float32)
    disparity[0, 0] = np.nan
    depth = Painter("magma", CAMERA).paint(disparity).depth
    view = View(np.zeros((20, 80, 3), np.uint8), disparity=disparity, depth=depth)
    assert view.describe(1, 1) == "(1, 1) disparity 5.0 px, 2.00 m"  # 100 * 0.1 / 5
    assert view.describe(0, 0) == "(0, 0) unknown"
    assert View(view.picture).describe(1, 1) == ""


def test_a_view_fits_the_window_and_is_never_enlarged() -> None:
    small = texture(20, 40)
    assert window_half(small) is small
    for shape in ((3000, 4000), (4000, 3000), (10, 5000)):
        half = window_half(np.zeros((*shape, 3), np.uint8))
        assert half.shape[0] <= WINDOW_SIZE_PX[0]
        assert half.shape[1] <= WINDOW_SIZE_PX[1] // 2
        assert half.shape[1] / half.shape[0] == pytest.approx(shape[1] / shape[0], rel=0.25)


def test_before_the_first_result_the_left_picture_is_seen() -> None:
    left = texture(20, 40)
    view = waiting_view(left)
    np.testing.assert_array_equal(view.picture, side_by_side(left, np.zeros_like(left)))
    assert view.note == "estimating"


def test_near_is_bright_and_unknown_black() -> None:
    disparity = np.tile(np.linspace(5, 50, 40, dtype=np.float32), (20, 1))
    disparity[:, 20] = np.nan
    for painter in (Painter("magma"), Painter("magma", CAMERA, 10.0)):
        colored = painter.paint(disparity).colored.astype(int).sum(axis=2)
        assert colored[0, 39] > colored[0, 2]
        assert (colored[:, 20] == 0).all()


def test_with_a_camera_what_is_beyond_the_largest_distance_is_black() -> None:
    disparity = np.full((20, 40), 10, np.float32)  # 1 m
    disparity[:, :20] = 2  # 5 m
    painted = Painter("magma", CAMERA, 4.0).paint(disparity)
    assert painted.colored[:, :20].sum() == 0
    assert painted.colored[:, 20:].min(axis=(0, 1)).sum() > 0
    assert painted.span == (4.0, 0.0)


def test_colours_stay_when_a_few_pixels_jump() -> None:
    disparity = np.tile(np.linspace(10, 20, 40, dtype=np.float32), (20, 1))
    jumped = disparity.copy()
    jumped[0, 0] = 500
    painter = Painter("magma")
    before = painter.paint(disparity).colored.astype(int)
    after = painter.paint(jumped).colored.astype(int)
    assert np.abs(after[1:] - before[1:]).max() <= 3


def test_the_range_follows_a_change_slowly() -> None:
    painter = Painter("magma")
    flat = np.tile(np.linspace(10, 20, 40, dtype=np.float32), (20, 1))
    spans = [painter.paint(flat * gain).span[1] for gain in (1, 2, 2, 2)]
    steps = np.diff(spans)
    assert (steps > 0).all()
    assert steps.max() < 0.5 * (2 * spans[0] - spans[0])
