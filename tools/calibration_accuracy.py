"""Measure the calibration error on rendered rigs of known cameras.

For example::

    python tools/calibration_accuracy.py

renders 60 views of a board, 20 to 60 cm away, for each rig: toe-in of 3 degrees, roll of 2 degrees,
a baseline of 65 mm. Vertical disparity ("rows") is that of points 0.5 to 5 m away all over the
images, rectified by the calibration found, depth that of a plane 2 m away. --unseen renders
conditions not used in the development: compressed, blurred and noisy images, other boards and
sizes.
--clips measures --self-calibrate on the clips of input_files/, whose right view is turned and
enlarged, with points 1 to 8 m away. --samples FOLDER compares with OpenCV's own fit on its sample
images left01.jpg, right01.jpg, ... (the Debian package opencv-doc has them).
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
from crestereo.alignment import find_matches
from crestereo.app.sources import parse_video
from crestereo.app.video import open_video
from crestereo.boards import Board, View, find_view
from crestereo.calibration import calibrate_stereo, good_views
from crestereo.errors import SourceError
from crestereo.formats import decode_image, read_image, to_bgr8
from crestereo.self_calibration import self_calibrate
from crestereo.types import BGRImage
from tools.lib.board_views import Rig, make_rig, project, render_views
from tools.lib.cli import run_tool
from tools.lib.tables import markdown_table

Values = NDArray[Any]

VIEWS = 60
PLANE_M = 2.0
CHESSBOARD = Board("chessboard", 6, 9, 0.02)
COLUMNS = "rig", "views", "model", "focal %", "baseline %", "rows px (95 %)", "depth at 2 m %"
# clip, field of view [degrees]; pitch, yaw and roll [degrees] and zoom of the right camera
CLIPS = (
    ("clip1", 66.0, (0.0, 3.0, 2.0), 1.03),
    ("clip2", 58.0, (0.0, 3.0, 2.0), 1.03),
    ("clip1", 66.0, (-1.0, -1.5, 1.0), 1.0),
    ("clip2", 58.0, (1.0, -2.0, -1.5), 0.96),
)
CLIP_PAIRS = 16
CUT = 0.09  # of each side, where the turned view has no data
BASELINE_M = 0.065
CLIP_COLUMNS = (
    *("clip", "pitch, yaw, roll, zoom", "matches", "roll found", "zoom found"),
    *("rows px (95 %), before", "after"),
)
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
    """Rig, board and degradation of its images."""

    name: str
    rig: Rig
    board: Board = CHESSBOARD
    spoil: Callable[[BGRImage], BGRImage] = unchanged
    seed: int = 0
    whole: bool = field(default=True, kw_only=True)  # views show all of the board


def tasks(unseen: bool) -> list[Task]:
    """Return the rigs that are measured."""
    if not unseen:
        pinholes = [Task(f"pinhole, k1 {k1}", make_rig(k1=k1)) for k1 in (-0.3, -0.1, 0.1)]
        return [*pinholes, Task("fisheye, 150 degrees", make_rig(fisheye_degrees=150))]
    rig = make_rig(k1=-0.25)
    charuco, grid = Board("charuco", 7, 10, 0.02), Board("aprilgrid", 4, 6, 0.025)
    large = Board("charuco", 5, 7, 0.05)  # small markers have too few pixels in a fisheye
    return [
        Task("JPEG of quality 50", rig, spoil=compressed, seed=11),
        Task("out of focus", rig, spoil=blurred, seed=12),
        Task("dark, noise of 6 grey levels", rig, spoil=noisy, seed=13),
        Task("ChArUco, partly visible", rig, charuco, seed=14, whole=False),
        Task("AprilGrid, partly visible", rig, grid, seed=15, whole=False),
        Task("960x540", make_rig((540, 960), k1=-0.05), Board("chessboard", 7, 10, 0.018), seed=16),
        Task("fisheye, ChArUco", make_rig(fisheye_degrees=150), large, seed=17, whole=False),
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
    """Return points all over the left image at some depths, (N, 3)."""
    rays = rig.left.rays[10::40, 10::40].reshape(-1, 3)
    rays = rays[np.linalg.norm(rays[:, :2], axis=1) < 2]  # within 63 degrees of the axis
    return np.concatenate([depth * rays for depth in depths])


def rectified(found: calibration.Rig, rig: Rig, points: Values) -> tuple[Values, Values]:
    """Return vertical disparities [px] and left depths [m] of points."""
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
    """Return a table: this tool and stereo_calib.cpp on OpenCV's samples."""
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


def clip_row(name: str, fov_deg: float, angles: tuple[float, ...], zoom: float) -> list[str]:
    """Return a table row of self-calibration on a clip.

    The right view is turned and enlarged first.
    """
    folder = Path(__file__).resolve().parents[1] / "input_files"
    views = [
        [frame.image for frame in open_video(parse_video(str(path)), 1080).frames()]
        for path in (folder / f"{name}_left.mp4", folder / f"{name}_right.mp4")
    ]
    height, width = views[0][0].shape[:2]
    focal = width / 2 / np.tan(np.radians(fov_deg) / 2)
    k1 = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    k2 = k1 @ np.diag([zoom, zoom, 1])
    turn = cv2.Rodrigues(np.radians(angles))[0]
    top, left = (round(CUT * side) for side in (height, width))
    inside = slice(top, height - top), slice(left, width - left)
    found = []
    for number in np.linspace(0, len(views[0]) - 1, CLIP_PAIRS).astype(int):
        warped = cv2.warpPerspective(
            views[1][number], k2 @ turn @ np.linalg.inv(k1), (width, height), flags=cv2.INTER_CUBIC
        )
        pair = views[0][number][inside], np.asarray(warped, np.uint8)[inside]
        found.append(find_matches(*map(np.ascontiguousarray, pair)))
    size = width - 2 * left, height - 2 * top
    rig = self_calibrate(found, size[::-1])
    points = np.random.default_rng(0).uniform([-0.5, -0.3, 1], [0.5, 0.3, 1], (4000, 3))
    points *= np.geomspace(1, 8, 4000)[:, None]
    a, b = points @ k1.T, (points - [BASELINE_M, 0, 0]) @ turn.T @ k2.T
    a, b = (each[:, :2] / each[:, 2:] - [left, top] for each in (a, b))
    seen = ((a > 0) & (a < size) & (b > 0) & (b < size)).all(axis=1)
    apart = np.abs(a - b)[seen, 1], np.abs(rig.rig.rectified_rows(a[seen], b[seen]))
    before, after = (f"{np.percentile(rows, 95):.2f}" for rows in apart)
    return [
        name, ", ".join(f"{angle:g}" for angle in (*angles, zoom)), str(rig.matches),
        f"{rig.angles_deg[2]:.2f}", f"{rig.zoom:.3f}", before, after,
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--unseen", action="store_true", help="measure other conditions")
    parser.add_argument("--clips", action="store_true", help="measure --self-calibrate")
    parser.add_argument("--samples", type=Path, help="folder of OpenCV's sample images")
    options = parser.parse_args(arguments)
    if options.samples is not None:
        print(sample_rows(options.samples))
        return 0
    if options.clips:
        measured = [clip_row(*each) for each in CLIPS]
        print(markdown_table(CLIP_COLUMNS, measured, text_columns=2))
        return 0
    rows = [TARGETS, *map(row, tasks(options.unseen))]
    print(markdown_table(COLUMNS, rows, text_columns=1))
    return 0


if __name__ == "__main__":
    run_tool(main)
