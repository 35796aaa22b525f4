"""`crestereo calibrate` as a process: folders of rendered boards in, a calibration out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.boards import Board
from crestereo.camera_files import read_calibration
from tests.app_helpers import ROOT, environment, save
from tools.lib.board_views import make_rig, render_views

RIG = make_rig()
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
    for ending in ("coverage", "rectified"):
        image = cv2.imdecode(np.fromfile(folders / f"rig_{ending}.png", np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (480, 1280, 3)
    file = cv2.FileStorage(str(path), flags=cv2.FILE_STORAGE_READ)
    focal = file.getNode("K1").mat()[0, 0]
    assert focal == pytest.approx(RIG.left.matrix[0, 0], rel=0.005)

    refused = calibrate(*sources, *ARGUMENTS, "--output", path)
    assert (refused.returncode, "exists already" in refused.stderr) == (2, True)
    again = calibrate(*sources, *ARGUMENTS, "--output", path, "--overwrite")
    assert f"{COUNT} pairs were searched before" in again.stdout
    assert again.returncode == 0


def test_a_wrong_board_is_refused_with_the_reason(folders: Path) -> None:
    path = folders / "wrong.yml"
    done = calibrate(folders / "left", folders / "right", "--board-shape", "5x8", "--output", path)
    assert done.returncode == 2
    assert "check its kind and size" in done.stderr
    assert not path.exists()


def test_a_board_is_printed(tmp_path: Path) -> None:
    done = calibrate("--print-board", tmp_path / "board.pdf")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "board.pdf").read_bytes().startswith(b"%PDF")
