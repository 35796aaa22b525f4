"""The samples of input_files/ and the tool and motions that make them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.camera_files import read_calibration
from crestereo.errors import UsageError
from crestereo.formats import read_image, read_pfm
from tools import render_samples
from training.scenes.beauty import daylight, fine_camera, render_fine
from training.scenes.camera import Camera, rotation
from training.scenes.clips import table_clip
from training.scenes.motion import Motion, camera_at, moved, posed
from training.scenes.raster import paint_view
from training.scenes.relief import Relief
from training.scenes.showcase import room_scene, table_scene

SAMPLES = Path(__file__).parents[1] / "input_files"
STILLS = ["table", "room", "street"]


def warping_error(left: np.ndarray, right: np.ndarray, disparity: np.ndarray) -> float:
    """Measure the median difference of left and right-warped-to-left, grey levels."""
    height, width = disparity.shape
    xs = np.arange(width, dtype=np.float32) - disparity
    ys = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], xs.shape).copy()
    warped = cv2.remap(right, xs, ys, interpolation=cv2.INTER_CUBIC)
    difference = np.abs(warped.astype(np.float32) - left).mean(axis=-1)
    return float(np.median(difference[xs >= 0]))


@pytest.mark.parametrize("name", STILLS)
def test_shipped_truth_maps_right_to_left(name: str) -> None:
    """Given the files as they ship: sizes agree and the ground truth is that of the images."""
    left = read_image(SAMPLES / f"{name}_left.png")
    right = read_image(SAMPLES / f"{name}_right.png")
    ground_truth = read_pfm(SAMPLES / f"{name}_disparity.pfm")
    assert left.shape == right.shape == (720, 1280, 3)
    assert ground_truth.shape == (720, 1280)
    assert np.isfinite(ground_truth).all()
    assert warping_error(left, right, ground_truth) < 1.5
    assert warping_error(left, right, ground_truth + 2) > 1.5 * warping_error(
        left, right, ground_truth
    )


def test_shipped_calibration_gives_the_depth_of_the_composed_table() -> None:
    """The table's calibration is read back as 80 mm and the focal length of 58 degrees."""
    camera = read_calibration(SAMPLES / "table_calib.txt").camera
    assert camera.baseline_m == pytest.approx(0.08)
    assert camera.focal_px == pytest.approx(640 / np.tan(np.radians(29)), abs=1e-2)
    assert camera.image_width_px == 1280


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("clip1_left", 640),
        ("clip1_right", 640),
        ("clip2_left", 640),
        ("clip2_right", 640),
        ("street_SBS", 1280),
    ],
)
def test_shipped_clips_open_and_move(name: str, width: int) -> None:
    """Every clip has all its frames, and the image changes from the first to the last."""
    capture = cv2.VideoCapture(str(SAMPLES / f"{name}.mp4"))
    frames = []
    while True:
        more, frame = capture.read()
        if not more:
            break
        frames.append(frame)
    capture.release()
    assert len(frames) == render_samples.CLIP_FRAMES
    assert frames[0].shape == (render_samples.CLIP_HEIGHT, width, 3)
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 5


def test_tool_writes_a_still_with_truth_and_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user runs it, at a size that is quick."""
    monkeypatch.setattr(render_samples, "STILL_HEIGHT", 90)
    monkeypatch.setattr(render_samples, "STILL_WIDTH", 160)
    assert render_samples.main(["--only", "table,two_phones", "--output", str(tmp_path)]) == 0
    ground_truth = read_pfm(tmp_path / "table_disparity.pfm")
    left = read_image(tmp_path / "table_left.png")
    right = read_image(tmp_path / "table_right.png")
    assert ground_truth.shape == (90, 160)
    assert warping_error(left, right, ground_truth) < 4
    assert read_calibration(tmp_path / "table_calib.txt").camera.image_width_px == 160
    assert read_image(tmp_path / "two_phones_right.jpg").shape == (90, 160, 3)


def test_tool_names_the_samples_when_asked_for_an_unknown_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A misspelt name is answered with the list of names."""
    with pytest.raises(SystemExit):
        render_samples.main(["--only", "tabel"])
    assert "table" in capsys.readouterr().err


def test_a_place_that_cannot_be_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UsageError, match="cannot make the folder"):
        render_samples.main(["--only", "table", "--output", str(tmp_path / "file" / "x")])


def test_moving_the_world_left_is_looking_from_the_right_eye() -> None:
    """The second view of a camera equals the first view of a world moved the other way."""
    camera = Camera(90, 160, 150.0)
    surfaces = room_scene(camera).surfaces()
    right = paint_view(replace(camera, position=0.2), surfaces)
    shifted = posed(surfaces, Motion(np.eye(3), np.array([-0.2, 0, 0])))
    same = paint_view(camera, shifted)
    assert np.allclose(right.inv, same.inv, rtol=1e-3, atol=1e-2)
    assert np.abs(right.colour.astype(int) - same.colour).mean() < 1


def test_motions_compose_and_cameras_see_themselves_at_the_origin() -> None:
    """First one, then the other; and a camera's own place is at zero."""
    first = Motion(rotation(0.1, 0.2, 0.3), np.array([1.0, 2, 3]))
    second = Motion(rotation(-0.4, 0.0, 0.1), np.array([0.5, 0, -1]))
    point = np.array([0.3, -0.2, 4.0])
    both = first.then(second)
    apart = second.turn @ (first.turn @ point + first.shift) + second.shift
    assert np.allclose(both.turn @ point + both.shift, apart)
    view = camera_at(point, rotation(0.3, 0.1, 0))
    assert np.allclose(view.turn @ point + view.shift, 0)


def test_a_relief_cannot_be_moved() -> None:
    """It is bound to the left image; moving it would silently be wrong."""
    flat = np.ones((8, 8), np.float32)
    relief = Relief(0, 0, np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8), flat)
    with pytest.raises(TypeError, match="Relief"):
        moved(relief, Motion(np.eye(3), np.zeros(3)))


def test_clip_frames_show_the_same_things_from_moving_places() -> None:
    """Two neighbouring frames differ little, first and last much; left and right differ."""
    frames = list(table_clip(90, 160).frames(12))
    assert all(left.shape == right.shape == (90, 160, 3) for left, right in frames)

    def change(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a.astype(int) - b).mean())

    assert change(frames[0][0], frames[1][0]) < change(frames[0][0], frames[-1][0])
    assert change(*frames[0]) > 1


def test_fine_rendering_keeps_the_truth_of_the_plain_one() -> None:
    """Supersampling touches colours only."""
    camera = Camera(90, 160, 140.0)
    stage = table_scene(fine_camera(camera))
    sample = render_fine(stage.surfaces(), camera, 0.08, daylight(stage.light))
    plain = paint_view(camera, stage.surfaces())
    assert np.array_equal(sample.disparity_left, plain.inv * np.float32(0.08))
    assert sample.left.shape == (90, 160, 3)
