"""The scripts with pairs and clips that are not as a network wants them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.formats import read_pfm
from crestereo.types import BGRImage
from tests.app_helpers import IMAGE, SEPARATE, UNIFIED, run_script, save
from tests.tiny_models import init_model
from tools.lib.moving_scene import Stage, two_recordings

SIZE = (200, 320)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a network that finds 20 px wherever it looks."""
    path = tmp_path_factory.mktemp("model") / "twenty.onnx"
    return init_model(path, SIZE, weights=(0, 0, 0), bias=20)


def saved_pair(folder: Path, right_moved: tuple[int, int] = (0, 0)) -> tuple[Path, Path]:
    stage = Stage(3, SIZE)
    right = np.roll(stage.view(True)[0], right_moved, axis=(0, 1))
    return save(folder / "a_left.png", stage.view(False)[0]), save(folder / "a_right.png", right)


def run_pictures(folder: Path, model: Path, *flags: str) -> tuple[str, np.ndarray]:
    done = run_script(
        IMAGE, folder / "a_left.png", folder / "a_right.png", "--model-path", model, "--no-window",
        "--overwrite", *flags, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, read_pfm(folder / "output" / "a_disparity.pfm")


def test_a_rectified_pair_goes_through_and_one_line_says_so(tmp_path: Path, model: Path) -> None:
    saved_pair(tmp_path)
    said, disparity = run_pictures(tmp_path, model)
    assert sum(line == "pair: rectified" for line in said.splitlines()) == 1
    assert disparity == pytest.approx(20, abs=1e-3)


def test_a_vertical_offset_is_mended_and_can_be_left(tmp_path: Path, model: Path) -> None:
    saved_pair(tmp_path, (14, 0))
    said, disparity = run_pictures(tmp_path, model)
    assert "pair: corrected (vertical disparity 14.0 px -> 0." in said
    assert np.isnan(disparity[-8:]).all()  # the right camera did not see these rows
    assert np.nanmedian(disparity) == pytest.approx(20, abs=0.1)
    said, disparity = run_pictures(tmp_path, model, "--align", "off")
    assert "pair:" not in said
    assert np.isfinite(disparity).all()


CAMERA = ("--baseline", "0.1", "--focal-length", "300")


def test_metres_of_a_pair_that_is_not_rectified_are_withheld(tmp_path: Path, model: Path) -> None:
    saved_pair(tmp_path, (14, 0))
    command = (
        IMAGE, "a_left.png", "a_right.png", "--model-path", model, "--no-window", "--json", *CAMERA,
    )  # fmt: skip
    done = run_script(*command, cwd=tmp_path)
    assert "14.0 px off their rows" in done.stderr
    assert json.loads(done.stdout)["relative"]
    done = run_script(*command, "--trust-calibration", cwd=tmp_path)
    assert "metres are kept as asked" in done.stderr
    record = json.loads(done.stdout)
    assert record["depth_m"] == pytest.approx([1.5, 1.5], rel=0.01)  # rows alone were moved
    assert "approximate" in record["doubt"]


def test_metres_of_a_pair_that_was_only_shifted_are_exact(tmp_path: Path, model: Path) -> None:
    _, path = saved_pair(tmp_path)
    right = cv2.imread(str(path))
    close_up = np.full_like(right, 128)
    close_up[:, :-60] = right[:, 60:]  # all disparities are larger by 60
    save(path, close_up)
    done = run_script(
        IMAGE, "a_left.png", "a_right.png", "--model-path", model, "--no-window", "--json", *CAMERA,
        cwd=tmp_path,
    )  # fmt: skip
    assert "approximate" not in done.stderr
    record = json.loads(done.stdout)
    assert "disparity range shifted by" in record["note"]
    assert record["doubt"] == ""
    disparity = read_pfm(tmp_path / "output" / "a_disparity.pfm")
    assert np.nanmedian(disparity) > 40
    depth_mm = cv2.imread(str(tmp_path / "output" / "a_depth_mm.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(depth_mm, 1000 * 300 * 0.1 / disparity, atol=1)


def test_negative_disparities_come_back_with_their_sign(tmp_path: Path, model: Path) -> None:
    _, path = saved_pair(tmp_path, (0, 40))
    right = cv2.imread(str(path))
    right[:, :40] = 128  # nothing comes round the other side
    save(path, right)
    said, disparity = run_pictures(tmp_path, model)
    assert "range shifted by -" in said
    moved = int(said.split("range shifted by ")[1].split(" px")[0])
    # The constant network squashes a wider picture: its 20 px are some more, less the shift.
    assert np.nanmedian(disparity) == pytest.approx(20 * (320 - moved) / 320 + moved, abs=0.1)


def test_a_swapped_still_pair_is_exchanged_and_reported(tmp_path: Path, model: Path) -> None:
    # given a pair whose files are named the wrong way round
    stage = Stage(1, (300, 400), cards=5)
    left, right = stage.view(False)[0], stage.view(True)[0]
    save(tmp_path / "a_left.png", right)
    save(tmp_path / "a_right.png", left)

    def shown() -> BGRImage:
        return cv2.imread(str(tmp_path / "output" / "a_depth.png"))[:, :400]

    # when it is estimated, then its views are exchanged, and a sentence says so
    assert "left and right were swapped" in run_pictures(tmp_path, model)[0]
    assert np.array_equal(shown(), left)
    # when --swap asks for it, then without a sentence
    assert "were swapped" not in run_pictures(tmp_path, model, "--swap")[0]
    assert np.array_equal(shown(), left)
    # when --no-swap prevents it, then nothing is exchanged
    assert "were swapped" not in run_pictures(tmp_path, model, "--no-swap")[0]
    assert np.array_equal(shown(), right)


def write_clip(path: Path, frames: list[BGRImage], fps: float = 24) -> Path:
    size = (frames[0].shape[1], frames[0].shape[0])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def separate(folder: Path, model: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    done = run_script(
        SEPARATE, folder / "c_left.avi", folder / "c_right.avi", "--model-path", model,
        "--no-window", "--json", *flags, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_two_videos_are_brought_in_step(tmp_path: Path, model: Path) -> None:
    left, right = two_recordings(8, 9, moving_camera=True, frames=60, kept=50)
    write_clip(tmp_path / "c_left.avi", left)
    write_clip(tmp_path / "c_right.avi", right)
    done = separate(tmp_path, model)
    assert "right video 9.0 frames behind" in done.stderr
    assert json.loads(done.stdout)["frames"] == 41
    done = separate(tmp_path, model, "--sync-offset", "4")
    assert json.loads(done.stdout)["frames"] == 46
    done = separate(tmp_path, model, "--sync-offset", "off")
    assert json.loads(done.stdout)["frames"] == 50


def test_metres_of_videos_that_are_not_rectified_are_withheld(tmp_path: Path, model: Path) -> None:
    left, right = (Stage(3, SIZE).view(eye)[0] for eye in (False, True))
    write_clip(tmp_path / "c_left.avi", [left] * 3)
    write_clip(tmp_path / "c_right.avi", [np.roll(right, 14, axis=0)] * 3)
    done = separate(tmp_path, model, *CAMERA)
    assert done.stderr.count("px off their rows") == 1
    assert json.loads(done.stdout)["relative"]
    done = separate(tmp_path, model, *CAMERA, "--trust-calibration")
    assert done.stderr.count("metres are only approximate") == 1
    assert not json.loads(done.stdout)["relative"]


@pytest.mark.parametrize("layout", ["sbs_full", "tb_half"])
def test_layout_order_and_bars_of_one_video(tmp_path: Path, model: Path, layout: str) -> None:
    stage = Stage(2, (180, 320), cards=5)
    eyes = []
    for eye in (True, False):  # the right eye is first
        barred = cv2.copyMakeBorder(
            stage.view(eye)[0], 20, 20, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0)
        )
        eyes.append(cv2.resize(barred, (320, 110)) if layout == "tb_half" else barred)
    frame = np.vstack(eyes) if layout == "tb_half" else np.hstack(eyes)
    write_clip(tmp_path / "film.avi", [frame] * 3)
    done = run_script(
        UNIFIED, tmp_path / "film.avi", "--model-path", model, "--no-window",
        "--layout", layout, cwd=tmp_path, answers="\n",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "left/right order: swapped" in done.stdout
    assert "Press Enter for y" in done.stdout
    assert "black bars: top 2" in done.stdout
    capture = cv2.VideoCapture(str(tmp_path / "output" / "film_depth.mp4"))
    shown = capture.read()[1]
    capture.release()
    assert shown.shape[:2] == (220, 640)
    assert np.ptp(shown[:18, 330:].astype(int)) < 12  # one grey where nothing is known
    assert shown[60:160, 330:630].mean() > 30


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        (SEPARATE, ["--sync-offset", "soon"]),
        (UNIFIED, ["--layout", "round"]),
        (IMAGE, ["--align", "a"]),
    ],
)
def test_impossible_values_are_usage_errors(script: str, flags: list[str], tmp_path: Path) -> None:
    done = run_script(script, *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert "Error: " in done.stderr
