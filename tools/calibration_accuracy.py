"""Calibrate rendered rigs of known cameras, and print how far the results are from them.

For example::

    python tools/calibration_accuracy.py

renders 60 views of a board, 20 to 60 cm away, for each rig: toe-in of 3 degrees, roll of 2 degrees,
a baseline of 65 mm. Rows apart and depth are those of points all over the images, rectified by the
calibration found: at 0.5 to 5 m, and on a plane 2 m away. --unseen adds what the tool was not
developed with: compressed, blurred and noisy images, other boards and sizes. --samples FOLDER
compares with OpenCV's own fit on its sample images left01.jpg, right01.jpg, ... (the Debian package
opencv-doc has them).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

from crestereo import calibration
from crestereo.boards import Board, View, find_view
from crestereo.calibration import calibrate_stereo, good_views
from crestereo.errors import SourceError
from crestereo.formats import decode_image, read_image, to_bgr8
from crestereo.types import BGRImage
from tools.lib.board_views import Rig, make_rig, project, render_views
from tools.lib.cli import run_tool
from tools.lib.tables import markdown_table

Values = NDArray[Any]

VIEWS = 60
PLANE_M = 2.0
CHESSBOARD = Board("chessboard", 6, 9, 0.02)
COLUMNS = "rig", "views", "model", "focal %", "baseline %", "rows px (95 %)", "depth at 2 m %"
TARGETS = "target", "60", "", "0.5", "0.5", "0.3", "1"


def unchanged(image: BGRImage) -> BGRImage:
    """Return an image as rendered."""
    return image


def compressed(image: BGRImage) -> BGRImage:
    """Return an image after JPEG of quality 50."""
    data = cv2.imencode(".jpg", image, params=[cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    return to_bgr8(decode_image(data.tobytes(), "JPEG"))[0]


def blurred(image: BGRImage) -> BGRImage:
    """Return an image out of focus."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigmaX=1.5), np.uint8)


def noisy(image: BGRImage) -> BGRImage:
    """Return a dark image with noise."""
    noise = np.random.default_rng(int(image.sum())).normal(0, 6, image.shape)
    return np.clip(0.5 * image + noise, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Task:
    """Rig, board and how its images are spoiled."""

    name: str
    rig: Rig
    board: Board = CHESSBOARD
    spoil: Callable[[BGRImage], BGRImage] = unchanged
    seed: int = 0
    whole: bool = field(default=True, kw_only=True)  # views show all of the board


def tasks(unseen: bool) -> list[Task]:
    """Return the rigs that are measured."""
    found = [Task(f"pinhole, k1 {k1}", make_rig(k1=k1)) for k1 in (-0.3, -0.1, 0.1)]
    found.append(Task("fisheye, 150 degrees", make_rig(fisheye_degrees=150)))
    if not unseen:
        return found
    rig = make_rig(k1=-0.25)
    charuco, grid = Board("charuco", 7, 10, 0.02), Board("aprilgrid", 4, 6, 0.025)
    return [
        *found,
        Task("JPEG of quality 50", rig, spoil=compressed, seed=11),
        Task("out of focus", rig, spoil=blurred, seed=12),
        Task("dark, noise of 6 grey levels", rig, spoil=noisy, seed=13),
        Task("ChArUco, partly visible", rig, charuco, seed=14, whole=False),
        Task("AprilGrid, partly visible", rig, grid, seed=15, whole=False),
        Task(
            "1280x720", make_rig((720, 1280), k1=-0.05), Board("chessboard", 7, 10, 0.018), seed=16
        ),
        Task("fisheye, ChArUco", make_rig(fisheye_degrees=150), charuco, seed=17, whole=False),
    ]


def row(task: Task) -> list[str]:
    """Return a row of the table."""
    seen = []
    pairs = render_views(task.rig, task.board, VIEWS, task.seed, whole=task.whole)
    for number, pair in enumerate(tqdm(pairs, total=VIEWS, desc=task.name, leave=False)):
        left, right = (task.spoil(image) for image in pair)
        view = find_view(task.board, left, right, str(number))
        seen += [] if view is None else [view]
    shape = task.rig.left.shape
    found = calibrate_stereo(good_views(seen, shape[1]), task.board.points, shape).rig
    focal = max(
        abs(side[0][0, 0] / camera.matrix[0, 0] - 1)
        for side, camera in zip(
            (found.left, found.right), (task.rig.left, task.rig.right), strict=True
        )
    )
    rows, _ = rectified(found, task.rig, scene(task.rig, np.geomspace(0.5, 5, 9)))
    _, depth = rectified(found, task.rig, scene(task.rig, [PLANE_M]))
    baseline = abs(found.baseline_m / task.rig.baseline_m - 1)
    return [
        task.name, str(len(seen)), calibration.model_name(found.model).replace("the ", ""),
        f"{100 * focal:.2f}", f"{100 * baseline:.2f}", f"{np.percentile(np.abs(rows), 95):.2f}",
        f"{100 * np.median(np.abs(depth / PLANE_M - 1)):.2f}",
    ]  # fmt: skip


def scene(rig: Rig, depths: Iterable[float]) -> Values:
    """Return points that the left camera sees all over its image, at some depths, (N, 3)."""
    rays = rig.left.rays[10::40, 10::40].reshape(-1, 3)
    rays = rays[np.linalg.norm(rays[:, :2], axis=1) < 2]  # within 63 degrees of the axis
    return np.concatenate([depth * rays for depth in depths])


def rectified(found: calibration.Rig, rig: Rig, points: Values) -> tuple[Values, Values]:
    """Return vertical disparities [px] and depths [m] in the left camera, of points."""
    left = project(rig.left, points, np.eye(3), np.zeros((3, 1)))
    right = project(rig.right, points, rig.rotation, rig.translation)
    r1, r2, p1, p2, _ = found.rectification()
    a, b = found.undistorted(left, 0, R=r1, P=p1), found.undistorted(right, 1, R=r2, P=p2)
    size = np.array(rig.left.shape[::-1]) - 1
    inside = ((right >= 0) & (right <= size) & (a >= 0) & (a <= size) & (b >= 0)).all(axis=1)
    a, b = a[inside], b[inside]
    focal, doffs = p1[0, 0], p2[0, 2] - p1[0, 2]
    z = -p2[0, 3] / (a[:, 0] - b[:, 0] + doffs)
    seen = np.column_stack([(a - p1[:2, 2]) / focal, np.ones(len(a))]) * z[:, None]
    return a[:, 1] - b[:, 1], (seen @ r1)[:, 2]  # r1.T turns back


def sample_rows(folder: Path) -> str:
    """Return a table of this tool and of stereo_calib.cpp on OpenCV's sample images."""
    board = Board("chessboard", 6, 9, 0.025)
    names = sorted(folder.glob("left[0-9][0-9].jpg"))
    if not names:
        raise SourceError(f"{folder} holds no left01.jpg; give the samples/data folder of OpenCV")
    seen = []
    for name in names:
        right = name.with_name(name.name.replace("left", "right"))
        view = find_view(board, read_image(name), read_image(right), name.stem)
        seen += [] if view is None else [view]
    shape = read_image(names[0]).shape[:2]
    found = calibrate_stereo(good_views(seen, shape[1]), board.points, shape)
    rms_px, theirs = reference(seen, board, shape)
    rows = np.abs(np.concatenate([theirs.rectified_rows(view.left, view.right) for view in seen]))
    return markdown_table(
        (
            "OpenCV's sample images", "views", "reprojection px", "rows px (95 %)", "focal px",
            "baseline mm",
        ),
        [
            ["this tool", str(len(found.views)), f"{found.rms_px:.2f}", f"{found.rows_px[1]:.2f}",
             f"{found.rig.left[0][0, 0]:.1f}", f"{1000 * found.rig.baseline_m:.1f}"],
            ["stereo_calib.cpp", str(len(seen)), f"{rms_px:.2f}", f"{np.percentile(rows, 95):.2f}",
             f"{theirs.left[0][0, 0]:.1f}", f"{1000 * theirs.baseline_m:.1f}"],
        ],
        text_columns=1,
    )  # fmt: skip


def reference(
    views: Sequence[View], board: Board, shape: tuple[int, int]
) -> tuple[float, calibration.Rig]:
    """Return the error [px] and the rig of OpenCV's sample program."""
    points = [board.points[view.ids] for view in views]
    sides = [[view.left for view in views], [view.right for view in views]]
    size = shape[1], shape[0]
    cameras: list[Values] = []
    for side in sides:
        cameras += [cv2.initCameraMatrix2D(points, side, size), np.zeros(5)]
    flags = (
        cv2.CALIB_FIX_ASPECT_RATIO | cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_USE_INTRINSIC_GUESS
        | cv2.CALIB_SAME_FOCAL_LENGTH | cv2.CALIB_RATIONAL_MODEL
        | cv2.CALIB_FIX_K3 | cv2.CALIB_FIX_K4 | cv2.CALIB_FIX_K5
    )  # fmt: skip
    criteria = cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-5
    fit: Any = cv2.stereoCalibrate
    rms, k1, d1, k2, d2, turn, shift = fit(
        points, *sides, *cameras, size, flags=flags, criteria=criteria
    )[:7]
    return float(rms), calibration.Rig(shape, 8, (k1, d1), (k2, d2), turn, shift)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--unseen", action="store_true", help="measure the other conditions too")
    parser.add_argument("--samples", type=Path, help="folder of OpenCV's sample images")
    options = parser.parse_args(arguments)
    if options.samples is not None:
        print(sample_rows(options.samples))
        return 0
    rows = [TARGETS, *map(row, tasks(options.unseen))]
    print(markdown_table(COLUMNS, rows, text_columns=1))
    return 0


if __name__ == "__main__":
    run_tool(main)
