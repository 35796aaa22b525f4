"""A camera scales with its images, and what is doubtful about it is named."""

import re

import pytest

from crestereo import CameraConfig, UsageError
from crestereo.camera import Calibration, camera_doubts


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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"baseline_m": 80.0}, "80 m is doubtful.*millimetres, it is 0.08 m"),
        ({"baseline_m": 8.0}, "8 m is doubtful.*centimetres, it is 0.08 m"),
        ({"baseline_m": 0.0005}, "baseline of 0.0005 m"),
        ({"focal_px": 4.2}, "not in millimetres"),
        ({"principal_px": (159.5, 119.5)}, "another size"),
    ],
)
def test_doubtful_cameras_are_named(changes, words):
    values = {"baseline_m": 0.12, "focal_px": 700.0, "image_width_px": 640, "image_height_px": 480}
    doubts = camera_doubts(CameraConfig(**{**values, **changes}))
    assert len(doubts) == (words is not None)
    assert all(re.search(words, doubt) for doubt in doubts)


def test_a_baseline_that_is_not_recorded_is_not_doubtful():
    assert camera_doubts(CameraConfig(80.0, 700.0, 640), relative=True) == []


def test_a_calibration_of_twice_the_size_is_scaled_without_doubts():
    camera = CameraConfig(0.12, 1400.0, 1280, principal_px=(640.0, 480.0), image_height_px=960)
    fitted = Calibration(camera).fitted((480, 640))
    assert fitted.camera == camera.scaled_to(640)
    assert fitted.notes == ()


def test_another_aspect_ratio_is_named_and_taken_as_a_crop():
    camera = CameraConfig(0.12, 1000.0, 1280, principal_px=(639.5, 359.5), image_height_px=720)
    fitted = Calibration(camera).fitted((720, 960))
    assert fitted.camera.focal_px == 1000
    assert fitted.camera.principal_px == (479.5, 359.5)
    assert "160 px cropped at the left" in fitted.notes[0]
