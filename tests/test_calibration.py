"""Calibration of a rig from views of a board, against the cameras that made the views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo import calibration
from crestereo.boards import Board, View, board_pdf, board_png, draw_board
from crestereo.calibration import (
    FISHEYE,
    calibrate_stereo,
    good_views,
    track_offset_s,
    write_calibration,
)
from crestereo.errors import UsageError
from tools.lib.board_views import (
    MARGIN_M,
    PER_METRE,
    make_rig,
    poses,
    project,
    render,
    visible_share,
)

BOARD = Board("chessboard", 6, 9, 0.02)
BOARDS = (BOARD, Board("charuco", 7, 10, 0.025), Board("aprilgrid", 4, 6, 0.03))


def views(rig, count, noise_px=0.05):
    """Project the corners of the board at random poses into both cameras."""
    rng = np.random.default_rng(3)
    found = []
    for turn, shift in poses(rig, BOARD, count):
        right = rig.rotation @ turn, rig.rotation @ shift + rig.translation
        seen = [
            project(camera, BOARD.points, *pose)
            for camera, pose in ((rig.left, (turn, shift)), (rig.right, right))
        ]
        noisy = [(p + rng.normal(0, noise_px, p.shape)).astype(np.float32) for p in seen]
        found.append(View(np.arange(len(BOARD.points)), *noisy, f"view {len(found)}"))
    return found


@pytest.mark.parametrize(("k1", "degrees"), [(-0.3, 0.0), (0.1, 0.0), (0.0, 150.0)])
def test_the_rig_that_made_the_views_is_found(k1: float, degrees: float, tmp_path: Path) -> None:
    rig = make_rig(k1=k1, fisheye_degrees=degrees)
    found = calibrate_stereo(views(rig, 20), BOARD.points, rig.left.shape)
    assert (found.rig.model == FISHEYE) == (degrees > 0)
    assert found.rig.left[0][0, 0] == pytest.approx(rig.left.matrix[0, 0], rel=0.005)
    assert found.rig.baseline_m == pytest.approx(rig.baseline_m, rel=0.005)
    assert 0.01 < found.rows_px[1] <= 0.3
    write_calibration(tmp_path / "rig.yml", found.rig)
    file = cv2.FileStorage(str(tmp_path / "rig.yml"), flags=cv2.FILE_STORAGE_READ)
    p2 = file.getNode("P2").mat()
    assert p2[0, 0] == pytest.approx(rig.left.matrix[0, 0], rel=0.3)
    assert -p2[0, 3] / p2[0, 0] == pytest.approx(rig.baseline_m, rel=0.005)
    assert (int(file.getNode("image_width").real()), file.getNode("fisheye").empty()) == (
        640,
        degrees == 0,
    )


def test_a_view_with_displaced_points_is_dropped() -> None:
    rig = make_rig()
    seen = views(rig, 20)
    seen[7] = View(seen[7].ids, seen[7].left, seen[7].right + np.float32(6), "view 7")
    found = calibrate_stereo(seen, BOARD.points, rig.left.shape)
    assert [view.name for view in found.views if not view.used] == ["view 7"]


def test_the_rig_is_that_of_the_views_that_are_reported_as_used(monkeypatch) -> None:
    """Three displaced views of different sizes are dropped one after another."""
    monkeypatch.setattr(calibration, "MODELS", {5: 0})
    seen = views(make_rig(), 14)
    for i, rows_px in enumerate((2, 8, 40)):
        seen[i] = replace(seen[i], right=seen[i].right + np.float32([0, rows_px]))
    found = calibration.calibrate_stereo(seen, BOARD.points, (480, 640))
    used = [view for view, error in zip(seen, found.views, strict=True) if error.used]
    again = calibration.fit_rig(used, BOARD.points, (480, 640), 5)
    np.testing.assert_allclose(found.rig.translation, again.translation, atol=1e-9)


def test_too_few_views_are_refused() -> None:
    with pytest.raises(UsageError, match="move it to more places"):
        calibrate_stereo(views(make_rig(), 4), BOARD.points, (480, 640))


def test_exchanged_cameras_are_a_problem() -> None:
    rig = make_rig()
    exchanged = [View(v.ids, v.right, v.left, v.name) for v in views(rig, 12)]
    found = calibrate_stereo(exchanged, BOARD.points, rig.left.shape)
    assert any("exchange the two" in text for text in found.problems)


def test_the_same_pose_twice_is_one_view() -> None:
    seen = views(make_rig(), 3)
    assert [v.name for v in good_views([*seen, *seen], 640)] == [v.name for v in seen]


def test_a_blurred_view_is_left_out() -> None:
    seen = [*views(make_rig(), 3)]
    blurred = replace(seen[1], sharpness=0.3 * seen[1].sharpness)
    assert good_views([seen[0], blurred, seen[2]], 640) == [seen[0], seen[2]]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.kind)
def test_points_of_a_rendered_board_are_found_where_they_are(board: Board) -> None:
    rig = make_rig()
    turn, shift = next(p for p in poses(rig, board, 20) if visible_share(rig, board, *p) == 1)
    image = render(rig.left, draw_board(board, PER_METRE, MARGIN_M), turn, shift)
    found = board.find(image)
    assert found is not None
    ids, corners = found
    assert len(ids) > 0.6 * len(board.points)  # at 56 cm, oblique: tags are 20 px high
    expected = project(rig.left, board.points, turn, shift)
    nearest = np.linalg.norm(corners[:, None] - expected, axis=2)
    assert np.median(nearest.min(axis=1)) < 0.2
    if board.kind != "chessboard":  # its numbering may begin at either end
        assert (nearest.argmin(axis=1) == ids).all()


def test_no_board_is_found_where_there_is_none() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    assert [board.find(noise) for board in BOARDS] == [None] * 3


def test_a_printed_board_has_its_size() -> None:
    png = board_png(BOARD)
    page = cv2.imdecode(np.frombuffer(png, np.uint8), flags=cv2.IMREAD_GRAYSCALE)
    assert page.shape == (2480, 3508)  # A4 at 300 dots per inch
    columns = np.flatnonzero((page == 0).any(axis=0))
    assert (np.ptp(columns) + 1) / 300 * 0.0254 == pytest.approx(0.2, abs=2e-4)  # 10 squares
    pdf = board_pdf(BOARD).decode("latin-1")
    assert "/MediaBox [0 0 841.8898 595.2756]" in pdf  # A4 in points
    sides = {line.split()[2] for line in pdf.splitlines() if line.endswith(" re")}
    assert sides == {"56.6929"}  # 20 mm


@pytest.mark.parametrize("offset_s", [0.0, 0.73, -1.21])
def test_the_offset_of_two_recordings_is_that_of_the_board(offset_s: float) -> None:
    """The left camera sees at t what the right one sees at t - offset."""

    def track(times, start_s, scale):
        t = times + start_s
        x = 300 + 100 * np.sin(1.7 * t) + 40 * np.sin(4.1 * t + 1)
        y = 200 + 60 * np.sin(2.3 * t + 2)
        return np.stack([times, scale * x - 50, scale * y + 10], axis=1)

    left = track(np.arange(0, 15, 1 / 30), 0.0, 1.0)
    right = track(np.arange(0, 15, 1 / 24), offset_s, 0.9)
    assert track_offset_s(left, right) == pytest.approx(offset_s, abs=0.01)
    still = left * [1, 0, 0]
    assert np.isnan(track_offset_s(still, right))
