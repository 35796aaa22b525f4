"""Disparity, depth and points: formulas by hand, and there and back again."""

import numpy as np
import pytest

from crestereo import CameraConfig, UsageError
from crestereo.geometry import baseline_of_length, disparity_to_depth, point_cloud
from crestereo.preprocess import resize_disparity

CAMERA = CameraConfig(baseline_m=0.2, focal_px=100.0, image_width_px=8)


def ramp(height: int, width: int) -> np.ndarray:
    """Return a slanted plane whose value at a point does not depend on the grid's size."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return ((x + 0.5) / width * 0.1 + (y + 0.5) / height * 0.05) * width


@pytest.mark.parametrize("shape", [(60, 80), (30, 40), (96, 100), (240, 320)])
def test_resizing_scales_values_with_the_width(shape):
    resized = resize_disparity(ramp(120, 160), shape)
    assert resized.shape == shape
    assert resized.dtype == np.float32
    inside = np.s_[2:-2, 2:-2]  # at the border linear interpolation repeats the last pixel
    assert np.allclose(resized[inside], ramp(*shape)[inside], atol=1e-3)


def test_resizing_there_and_back_gives_the_same():
    there = resize_disparity(ramp(60, 80), (120, 160))
    back = resize_disparity(there, (60, 80))
    assert np.allclose(back[1:-1, 1:-1], ramp(60, 80)[1:-1, 1:-1], atol=1e-3)


def test_resizing_keeps_holes_and_does_not_spread_them():
    disparity = np.full((40, 40), 10, np.float32)
    disparity[10:20, 10:20] = np.nan
    larger = resize_disparity(disparity, (80, 80))
    assert np.isnan(larger[21:39, 21:39]).all()
    assert np.isnan(larger).sum() == 20 * 20
    assert np.allclose(larger[np.isfinite(larger)], 20)


def test_the_same_size_is_a_copy():
    disparity = ramp(10, 12)
    same = resize_disparity(disparity, (10, 12))
    assert np.array_equal(same, disparity)
    assert not np.shares_memory(same, disparity)


def test_depth_is_focal_times_baseline_over_disparity():
    disparity = np.array([[10, 5, 0, -1, np.nan, 20, 1, 2]], np.float32)
    depth = disparity_to_depth(disparity, CAMERA)
    expected = [2, 4, np.nan, np.nan, np.nan, 1, 20, 10]
    assert np.allclose(depth, [expected], equal_nan=True)


def test_doffs_is_added_to_the_disparity():
    camera = CameraConfig(0.2, 100.0, 4, doffs_px=5.0)
    disparity = np.array([[5, 0, -5, -6]], np.float32)
    assert np.allclose(
        disparity_to_depth(disparity, camera), [[2, 4, np.nan, np.nan]], equal_nan=True
    )


def test_an_infinite_disparity_is_unknown():
    """cv2.imread gives what a PFM file stores for unknown pixels."""
    depth = disparity_to_depth(np.array([[np.inf, 10]], np.float32), CAMERA)
    assert np.isfinite(depth).tolist() == [[False, True]]


def test_a_focal_length_belongs_to_its_width():
    full = np.full((4, 8), 10, np.float32)
    half = resize_disparity(full, (2, 4))
    assert np.allclose(disparity_to_depth(half, CAMERA), disparity_to_depth(full, CAMERA)[0, 0])


def test_points_lie_where_the_pinhole_camera_puts_them():
    camera = CameraConfig(0.2, 2.0, 3, principal_px=(1.0, 0.0))
    depth = np.array([[4, np.nan, 6], [8, np.nan, 2]], np.float32)
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    points, colors = point_cloud(depth, image, camera)
    assert points.dtype == np.float32
    assert np.allclose(points, [[-2, 0, 4], [3, 0, 6], [-4, 4, 8], [1, 1, 2]])
    assert colors.tolist() == [[2, 1, 0], [8, 7, 6], [11, 10, 9], [17, 16, 15]]  # red, green, blue


def test_the_middle_of_the_image_is_the_principal_point_by_default():
    points, _ = point_cloud(np.ones((3, 5), np.float32), np.zeros((3, 5, 3), np.uint8), CAMERA)
    assert np.allclose(points.mean(axis=0), [0, 0, 1])


@pytest.mark.parametrize(("end", "length_m"), [((1, 1), 2.0), ((1, 3), 0.0), ((1, 3), -1.0)])
def test_a_known_length_is_above_zero_and_between_two_points(end, length_m):
    disparity = np.full((4, 8), 10, np.float32)
    with pytest.raises(UsageError, match="above zero, between two different points"):
        baseline_of_length(disparity, CAMERA, [(1, 1), end], length_m)


def test_images_of_grey_levels_or_with_alpha_are_refused():
    for shape in ((3, 5), (3, 5, 4)):
        with pytest.raises(UsageError, match=r"must be \(H, W, 3\)"):
            point_cloud(np.ones((3, 5), np.float32), np.zeros(shape, np.uint8), CAMERA)


def test_depth_and_image_of_different_sizes_are_refused():
    with pytest.raises(UsageError, match="5x3 but its image 8x4"):
        point_cloud(np.ones((3, 5), np.float32), np.zeros((4, 8, 3), np.uint8), CAMERA)
