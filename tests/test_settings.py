"""Settings that cannot be are refused with a sentence; a camera scales with its images."""

import numpy as np
import pytest

from crestereo import CameraConfig, ModelSpec, UsageError
from crestereo.models import check_iters, check_model_shape, parse_model_shape


@pytest.mark.parametrize("text", ["480x640", " 480 x 640 ", "480X640", "480×640"])
def test_sizes_are_read_as_height_and_width(text):
    assert parse_model_shape(text) == (480, 640)


@pytest.mark.parametrize("text", ["", "480", "480x", "640,480", "10x640", "axb", "-480x640"])
def test_wrong_sizes_are_refused(text):
    with pytest.raises(UsageError):
        parse_model_shape(text)


@pytest.mark.parametrize("iters", [0, 33, -1, 2.5, "5", True, None])
def test_wrong_iters_are_refused_by_name(iters):
    with pytest.raises(UsageError, match="iters must be a whole number from 1 to 32"):
        check_iters(iters)


@pytest.mark.parametrize("shape", [480, (480,), (480, 640, 3), (480.0, 640), (63, 640), "480x640"])
def test_wrong_shapes_are_refused_by_name(shape):
    with pytest.raises(UsageError, match="model_shape must be"):
        check_model_shape(shape)


def test_a_list_is_as_good_as_a_tuple():
    assert check_model_shape([480, 640]) == (480, 640)


def test_whole_numbers_of_numpy_are_whole_numbers():
    assert check_iters(np.int64(2)) == 2
    shape = check_model_shape(tuple(np.array([480, 640]) // 2))
    assert shape == (240, 320)
    assert all(type(side) is int for side in shape)


def test_unknown_versions_are_refused_with_the_choices():
    with pytest.raises(UsageError, match="'large'; choose one of lite, init, combined"):
        ModelSpec("large", 5, 480, 640)


def test_a_camera_scales_all_its_pixels_and_no_metres():
    camera = CameraConfig(0.2, 1000.0, 800, doffs_px=40.0, principal_px=(400.0, 300.0))
    half = camera.scaled_to(400)
    # A centre is counted from the middle of the first pixel: the middle stays the middle.
    assert half == CameraConfig(0.2, 500.0, 400, doffs_px=20.0, principal_px=(199.75, 149.75))
    middle = CameraConfig(0.2, 1000.0, 800, principal_px=(399.5, 299.5)).scaled_to(400)
    assert middle.principal_px == (199.5, 149.5)
    assert half.scaled_to(800) == camera


@pytest.mark.parametrize(
    "values", [(0, 1000, 800), (0.2, -1, 800), (0.2, 1000, 0), (float("nan"), 1000, 800)]
)
def test_cameras_that_cannot_be_are_refused(values):
    with pytest.raises(UsageError, match="above zero"):
        CameraConfig(*values)


def test_offsets_must_be_finite():
    with pytest.raises(UsageError, match="finite"):
        CameraConfig(0.2, 1000, 800, doffs_px=float("inf"))
