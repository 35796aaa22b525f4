"""`crestereo calibrate` as a process: folders of rendered boards in, a calibration out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.app import run_calibrate
from crestereo.app.pipeline import ClosedError
from crestereo.app.settings import CalibrateSettings
from crestereo.boards import Board
from crestereo.camera_files import read_calibration
from crestereo.errors import UsageError
from tests.app_helpers import ROOT, environment, save
from tools.lib.board_views import make_rig, render_views
from tools.lib.moving_scene import Stage

RIG = make_rig((240, 320))
COUNT = 10
ARGUMENTS = "--square-mm", "20", "--board-shape", "6x9"


def calibrate(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from crestereo.app.commands import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "calibrate", *map(str, arguments)], cwd=ROOT, text=True,
        capture_output=True, env=environment(), check=False, timeout=100,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boards")
    board = Board("chessboard", 6, 9, 0.02)
    for side in ("left", "right"):
        (folder / side).mkdir()
    for number, pair in enumerate(render_views(RIG, board, COUNT)):
        for side, image in zip(("left", "right"), pair, strict=True):
            save(folder / side / f"{side}_{number:02}.png", image)
    return folder


def test_two_folders_become_a_calibration(folders: Path) -> None:
    path = folders / "rig.yml"
    sources = folders / "left", folders / "right"
    done = calibrate(*sources, *ARGUMENTS, "--output", path)
    assert done.returncode == 0, done.stderr
    assert f"{COUNT} pairs searched" in done.stdout
    found = read_calibration(path).camera
    assert found.baseline_m == pytest.approx(RIG.baseline_m, rel=0.005)
    for ending, width in (("coverage", 880), ("rectified", 640)):
        image = cv2.imdecode(np.fromfile(folders / f"rig_{ending}.png", np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (240, width, 3)
    assert not (folders / "rig_corners.bin").exists()
    file = cv2.FileStorage(str(path), flags=cv2.FILE_STORAGE_READ)
    focal = file.getNode("K1").mat()[0, 0]
    assert focal == pytest.approx(RIG.left.matrix[0, 0], rel=0.005)

    refused = calibrate(*sources, *ARGUMENTS, "--output", path)
    assert (refused.returncode, "exists already" in refused.stderr) == (2, True)


def few(folders: Path, tmp_path: Path) -> list[Path]:
    for side in ("left", "right"):
        (tmp_path / side).mkdir()
        for path in sorted((folders / side).iterdir())[:3]:
            shutil.copy(path, tmp_path / side)
    return [tmp_path / "left", tmp_path / "right"]


def test_too_few_views_are_refused_and_not_searched_twice(folders: Path, tmp_path: Path) -> None:
    path = tmp_path / "rig.yml"
    arguments = (*few(folders, tmp_path), *ARGUMENTS, "--output", path)
    done = calibrate(*arguments)
    assert (done.returncode, path.exists()) == (2, False)
    assert "3 different views show the board in both images; 8 are needed" in done.stderr
    assert "3 pairs were searched before, 3 show the board" in calibrate(*arguments).stdout
    # images that were replaced under their names are searched again
    changed = sorted(arguments[0].iterdir())[0]
    changed.write_bytes(changed.read_bytes() + b"\0")
    assert "were searched before" not in calibrate(*arguments).stdout


def test_a_wrong_board_is_refused_with_the_reason(folders: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yml"
    done = calibrate(*few(folders, tmp_path), "--board-shape", "5x8", "--output", path)
    assert (done.returncode, path.exists()) == (2, False)
    assert "check its kind and size" in done.stderr


def test_scenes_without_a_board_give_rotation_and_relative_scale(tmp_path: Path) -> None:
    """The right images are turned by 2 degrees and enlarged by 3 %."""
    (tmp_path / "left").mkdir()
    (tmp_path / "right").mkdir()
    turned = cv2.getRotationMatrix2D((159.5, 119.5), -2, 1.03)
    for number in range(5):
        stage = Stage(number, (240, 320))
        right = cv2.warpAffine(stage.view(right=True)[0], turned, (320, 240))
        save(tmp_path / "left" / f"{number}.png", stage.view(right=False)[0])
        save(tmp_path / "right" / f"{number}.png", right)
    path = tmp_path / "rig.yml"
    done = calibrate("--self-calibrate", tmp_path / "left", tmp_path / "right", "--output", path)
    assert done.returncode == 0, done.stderr
    assert "depth stays relative" in done.stdout
    file = cv2.FileStorage(str(path), flags=cv2.FILE_STORAGE_READ)
    assert file.getNode("scale").string() == "relative"
    assert read_calibration(path).relative
    k1, k2, rotation = (file.getNode(name).mat() for name in ("K1", "K2", "R"))
    assert k2[0, 0] / k1[0, 0] == pytest.approx(1.03, abs=0.003)
    roll = np.degrees(cv2.Rodrigues(rotation)[0])[2, 0]
    assert roll == pytest.approx(2, abs=0.1)

    exchanged = calibrate(
        *("--self-calibrate", tmp_path / "right", tmp_path / "left"),
        *("--output", tmp_path / "exchanged.yml"),
    )
    assert "exchange the two" in exchanged.stderr
    assert not (tmp_path / "exchanged.yml").exists()


def test_a_board_is_printed(tmp_path: Path) -> None:
    done = calibrate("--print-board", tmp_path / "board.pdf")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "board.pdf").read_bytes().startswith(b"%PDF")


class Screen:
    """A window that the user leaves at the seventh pair."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def set_words(self, state: str, keys: str) -> None:
        assert "end the search" in keys

    def show(self, view: run_calibrate.Picture) -> None:
        assert view.image.shape == (349, 1280, 3)
        self.notes.append(view.note)

    def poll(self) -> str:
        if len(self.notes) == 7:
            raise ClosedError
        return ""


def test_the_window_shows_the_search_and_ends_it(
    folders: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Screen()
    monkeypatch.setattr(run_calibrate, "open_window", lambda *_: nullcontext(screen))
    settings = CalibrateSettings(square_mm=20, output=str(tmp_path / "rig.yml"))
    sources = [str(folders / side) for side in ("left", "right")]
    # when two folders are searched, then seven pairs count, which are too few
    with pytest.raises(UsageError, match="different views show the board in both images"):
        run_calibrate.run_calibrate(sources, settings)
    assert screen.notes[0] == "views of the board: 1"
    assert "7 pairs searched" in capsys.readouterr().out
    assert (tmp_path / "rig_coverage.png").exists()
