"""Near is bright, far is dark, unknown is black, and the range does not jump."""

import cv2
import numpy as np
import pytest

from crestereo import UsageError
from crestereo.colormap import (
    COLORMAPS,
    RangeSmoother,
    check_colormap,
    colorize,
    colorize_depth,
    robust_range,
)


def brightness(image: np.ndarray) -> np.ndarray:
    return image.astype(int).sum(axis=2)


def test_larger_disparities_are_brighter_and_unknown_is_black():
    values = np.array([[0, 10, 20, 30, np.nan]], np.float32)
    image = colorize(values, low=0, high=30)
    assert image.shape == (1, 5, 3)
    assert image.dtype == np.uint8
    assert (np.diff(brightness(image)[0, :4]) > 0).all()
    assert image[0, 4].tolist() == [0, 0, 0]


def test_colours_are_those_of_opencv():
    ramp = np.arange(256, dtype=np.float32)[None]
    expected = cv2.applyColorMap(ramp.astype(np.uint8), cv2.COLORMAP_TURBO)
    assert np.array_equal(colorize(ramp, low=0, high=255, colormap="turbo"), expected)
    assert np.array_equal(
        colorize(ramp, low=0, high=255, colormap="Turbo", invert=True), expected[:, ::-1]
    )


def test_values_outside_are_clipped():
    values = np.array([[-np.inf, -1e12, -5, 0, 1, 9, 1e12, np.inf]], np.float32)
    for invert in (False, True):
        image = colorize(values, low=0, high=1, invert=invert)
        assert (image[0, :4] == image[0, 3]).all()
        assert (image[0, 4:] == image[0, 4]).all()
        assert not np.array_equal(image[0, 3], image[0, 4])
    flat = colorize(np.array([[5, 6, 300]], np.float32), low=5, high=5)
    assert np.array_equal(flat[0, 1], flat[0, 2])
    assert not np.array_equal(flat[0, 0], flat[0, 1])


def test_a_map_without_a_pixel_is_refused():
    with pytest.raises(UsageError, match="nothing to colour"):
        colorize(np.zeros((0, 5), np.float32), low=0, high=1)


@pytest.mark.parametrize("colormap", ["magma", "turbo", "jet"])
def test_depth_is_bright_near_and_black_beyond(colormap):
    depth = np.array([[0.5, 5, 9.9, 10.1, np.nan]], np.float32)
    image = colorize_depth(depth, max_distance_m=10, colormap=colormap)
    assert image[0, 3].tolist() == [0, 0, 0]
    assert image[0, 4].tolist() == [0, 0, 0]
    if colormap == "magma":
        assert (np.diff(brightness(image)[0, :3]) < 0).all()
    else:
        assert brightness(image)[0, 2] > 0


@pytest.mark.parametrize("distance", [0, -1, float("nan")])
def test_a_distance_must_be_above_zero(distance):
    with pytest.raises(UsageError, match="max_distance"):
        colorize_depth(np.ones((2, 2), np.float32), max_distance_m=distance)


def test_every_map_of_opencv_can_be_named():
    assert {"magma", "turbo", "jet", "viridis"} <= set(COLORMAPS)
    assert check_colormap("MAGMA") == "magma"
    with pytest.raises(UsageError, match="magma"):
        check_colormap("nonsense")


def test_the_robust_range_ignores_outliers_and_holes():
    values = np.linspace(10, 20, 10_000, dtype=np.float32).reshape(100, 100)
    values[0, :50] = 1e6
    values[1, :50] = np.nan
    low, high = robust_range(values)
    assert 10 < low < 10.5
    assert 19.5 < high < 20.2


def test_the_robust_range_sees_all_columns_of_large_maps():
    values = np.full((4000, 6000), 20, np.float32)
    values[:, 300:1100] = 200  # upright, between the columns that every 1,200th pixel falls on
    assert robust_range(values) == (20, 200)


def test_the_robust_range_of_flat_and_of_empty_maps_can_be_used():
    assert robust_range(np.full((5, 5), 7, np.float32)) == (6.5, 7.5)
    assert robust_range(np.full((5, 5), np.nan, np.float32)) == (0.0, 1.0)


def test_the_smoothed_range_moves_calmly_and_keeps_no_hidden_state():
    first = RangeSmoother(weight=0.1).updated(np.tile(np.float32([0, 100]), (50, 50)))
    second = first.updated(np.tile(np.float32([0, 50]), (50, 50)))
    assert first.bounds == (0, 100)
    assert second.bounds == pytest.approx((0, 95))
    assert first.updated(np.full((9, 9), np.nan, np.float32)) == first


def test_the_range_follows_at_once_where_all_pixels_are_outside_of_it():
    smoother = RangeSmoother(0, 100).updated(np.tile(np.float32([200, 300]), (50, 50)))
    assert smoother.bounds == pytest.approx((200, 300))


def test_the_smoothed_range_arrives_at_a_lasting_change():
    smoother = RangeSmoother().updated(np.tile(np.float32([0, 10]), (9, 9)))
    for _ in range(100):
        smoother = smoother.updated(np.tile(np.float32([20, 40]), (9, 9)))
    assert smoother.bounds == pytest.approx((20, 40), abs=0.01)


def test_before_the_first_frame_the_range_is_a_plain_one():
    assert RangeSmoother().bounds == (0.0, 1.0)
