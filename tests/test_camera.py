"""Calibration files of five tools become the same camera."""

import re

import cv2
import numpy as np
import pytest

from crestereo import CameraConfig, SourceError, UsageError
from crestereo.camera import camera_doubts, read_calibration

MIDDLEBURY = """cam0=[999.421 0 294.182; 0 999.421 252.932; 0 0 1]
cam1=[999.421 0 326.96; 0 999.421 252.932; 0 0 1]
doffs=32.778
baseline=193.001
width=741
height=497
ndisp=70
"""


@pytest.fixture
def rectified():
    """Rectify a known camera: f 700 px, baseline 0.12 m, principal points 10 px apart."""
    left = np.array([[700, 0, 320], [0, 700, 240], [0, 0, 1]], np.float64)
    right = left.copy()
    right[0, 2] = 330
    none = np.zeros((5, 1))
    result = cv2.stereoRectify(
        left, none, right, none, (640, 480), np.eye(3), np.array([[-0.12], [0], [0]]), flags=0
    )
    return dict(zip(("R1", "R2", "P1", "P2", "Q"), result[:5], strict=True))


def write_yaml(path, fields):
    storage = cv2.FileStorage(str(path), flags=cv2.FILE_STORAGE_WRITE)
    for name, value in fields.items():
        storage.write(name, value)
    storage.release()
    return path


def close_to(camera, expected):
    assert camera.baseline_m == pytest.approx(expected.baseline_m)
    assert camera.focal_px == pytest.approx(expected.focal_px)
    assert camera.image_width_px == expected.image_width_px
    assert camera.doffs_px == pytest.approx(expected.doffs_px)
    assert camera.principal_px == pytest.approx(expected.principal_px)


def test_middlebury(tmp_path):
    (tmp_path / "calib.txt").write_text(MIDDLEBURY)
    expected = CameraConfig(0.193001, 999.421, 741, 32.778, (294.182, 252.932))
    close_to(read_calibration(tmp_path / "calib.txt"), expected)


def test_foundation_stereo_needs_to_be_told_the_width(tmp_path):
    (tmp_path / "K.txt").write_text("754.6 0 489.3 0 754.6 265.2 0 0 1\n0.063\n")
    close_to(
        read_calibration(tmp_path / "K.txt", image_width_px=960),
        CameraConfig(0.063, 754.6, 960, 0.0, (489.3, 265.2)),
    )
    with pytest.raises(UsageError, match=r"K\.txt: .* give image_width_px"):
        read_calibration(tmp_path / "K.txt")


def test_the_mark_of_windows_editors_is_skipped(tmp_path):
    text = "700 0 320 0 700 240 0 0 1\n0.12\n"
    (tmp_path / "K.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    camera = read_calibration(tmp_path / "K.txt", image_width_px=640)
    close_to(camera, CameraConfig(0.12, 700, 640, 0, (320, 240)))


BROKEN_YAML = "%YAML:1.0\n---\nQ: [1,2\nfoo"
FLAT_Q = (
    "%YAML:1.0\n---\nQ: !!opencv-matrix\n   rows: 4\n   cols: 4\n   dt: d\n   data: "
    "[1., 0., 0., -320., 0., 1., 0., -240., 0., 0., 0., 700., 0., 0., 0., 0.]\nwidth: 640\n"
)


@pytest.mark.parametrize("names", [("Q",), ("P1", "P2"), ("P1", "P2", "Q")])
def test_opencv(names, rectified, tmp_path):
    fields = {name: rectified[name] for name in names}
    path = write_yaml(tmp_path / "stereo.yml", {**fields, "image_width": 640})
    camera = read_calibration(path)
    close_to(camera, CameraConfig(0.12, 700, 640, 10, (320, 240)))
    # The definition: Q carries (x, y, disparity, 1) to homogeneous space.
    point = rectified["Q"] @ [320, 240, 32, 1]
    assert point[2] / point[3] == pytest.approx(700 * 0.12 / (32 + camera.doffs_px))


@pytest.mark.parametrize(
    "text", ["", "hello\n", "1 2 3\n4\n", "%YAML:1.0\n---\na: 1\n", "cam0=[1]", BROKEN_YAML, FLAT_Q]
)
def test_other_files_are_refused(text, tmp_path):
    (tmp_path / "calib.txt").write_text(text)
    with pytest.raises(SourceError, match="neither a Middlebury"):
        read_calibration(tmp_path / "calib.txt")


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(SourceError, match="there is no file"):
        read_calibration(tmp_path / "calib.txt")


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


LEFT_P = "700 0 320 {} 0 700 240 0 0 0 1 0"
RIGHT_P = "700 0 330 {} 0 700 240 0 0 0 1 0"
ROS = """image_width: 640
image_height: 480
camera_name: right
distortion_model: plumb_bob
projection_matrix:
  rows: 3
  cols: 4
  data: [700.0, 0.0, 320.0, {}, 0.0, 700.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]
"""


def test_doffs_come_from_the_matrices_where_middlebury_does_not_record_them(tmp_path):
    (tmp_path / "calib.txt").write_text(MIDDLEBURY.replace("doffs=32.778\n", ""))
    assert read_calibration(tmp_path / "calib.txt").doffs_px == pytest.approx(326.96 - 294.182)


def test_a_matrix_in_three_rows_is_read(tmp_path):
    (tmp_path / "K.txt").write_text("700 0 320\n0 700 240\n0 0 1\n0.12\n")
    camera = read_calibration(tmp_path / "K.txt", image_width_px=640)
    close_to(camera, CameraConfig(0.12, 700, 640, 0, (320, 240)))


@pytest.mark.parametrize("names", [("P2", "P3"), ("P_rect_02", "P_rect_03")])
def test_kitti_gives_the_baseline_as_a_difference(names, tmp_path):
    # given cameras at 0.05 m and 0.17 m from the reference
    lines = f"{names[0]}: {LEFT_P.format(-35)}\n{names[1]}: {RIGHT_P.format(-119)}\n"
    (tmp_path / "calib.txt").write_text(lines)
    camera = read_calibration(tmp_path / "calib.txt", image_width_px=640)
    close_to(camera, CameraConfig(0.12, 700, 640, 10, (320, 240)))


def test_kitti_records_the_size_of_rectified_images(tmp_path):
    lines = [
        "S_rect_02: 6.4e+02 4.8e+02",
        f"P_rect_02: {LEFT_P.format(0)}",
        f"P_rect_03: {LEFT_P.format(-84)}",
    ]
    (tmp_path / "calib.txt").write_text("\n".join(lines))
    camera = read_calibration(tmp_path / "calib.txt", image_width_px=320)
    assert (camera.image_width_px, camera.image_height_px) == (640, 480)


@pytest.mark.parametrize("start", ["", "---\n", "%YAML:1.0\n---\n"])
def test_the_right_camera_info_of_ros_is_enough(start, tmp_path):
    (tmp_path / "right.yaml").write_text(start + ROS.format(-84.0))
    camera = read_calibration(tmp_path / "right.yaml")
    close_to(camera, CameraConfig(0.12, 700, 640, 0, (320, 240)))
    assert camera.image_height_px == 480


def test_the_left_camera_info_of_ros_asks_for_the_right_one(tmp_path):
    (tmp_path / "left.yaml").write_text(ROS.format(0.0))
    with pytest.raises(UsageError, match="file of the right camera"):
        read_calibration(tmp_path / "left.yaml")


@pytest.mark.parametrize("ending", ["yml", "xml", "json"])
def test_opencv_writes_three_formats_and_offsets_in_both_matrices(ending, rectified, tmp_path):
    for name in ("P1", "P2"):
        rectified[name][0, 3] -= 21  # both 0.03 m farther from a third camera
    fields = {name: rectified[name] for name in ("P1", "P2")}
    path = write_yaml(tmp_path / f"stereo.{ending}", {**fields, "image_width": 640})
    close_to(read_calibration(path), CameraConfig(0.12, 700, 640, 10, (320, 240)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"baseline_m": 80.0}, "80 m is doubtful.*millimetres, it is 0.08 m"),
        ({"baseline_m": 0.0005}, "baseline of 0.0005 m"),
        ({"focal_px": 4.2}, "not in millimetres"),
        ({"image_height_px": 720}, "640x720 px and the images are 640x480"),
        ({"principal_px": (159.5, 119.5)}, "another size"),
    ],
)
def test_doubtful_cameras_are_named(changes, words):
    values = {"baseline_m": 0.12, "focal_px": 700.0, "image_width_px": 640, "image_height_px": 480}
    doubts = camera_doubts(CameraConfig(**{**values, **changes}), (480, 640))
    assert len(doubts) == (words is not None)
    assert all(re.search(words, doubt) for doubt in doubts)


def test_a_camera_of_twice_the_size_is_not_doubtful():
    camera = CameraConfig(0.12, 1400.0, 1280, principal_px=(640.0, 480.0), image_height_px=960)
    assert camera_doubts(camera, (480, 640)) == []
