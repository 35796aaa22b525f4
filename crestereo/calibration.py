"""Calibrate a stereo rig from views of a board with OpenCV.

A point x of the left camera is R x + T in the right one. Lens models are those of OpenCV: pinhole
with 4, 5 or 8 coefficients, and fisheye.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.boards import View
from crestereo.errors import UsageError
from crestereo.formats import write_bytes

Values = NDArray[Any]

MIN_VIEWS = 8
NEW_POSE = 0.02  # of the image width: mean motion of the points that makes a new pose
SHARP = 0.4  # of the median sharpness of the views
DROP_ERROR = 3.0  # times the median error of the views
HARMLESS_PX = 0.3  # error of a view that is not dropped
FOLDS = 3
FITTED = 12  # views of a fold: more do not change the choice of the model
CLEARLY_BETTER = 0.97  # of the error on unseen views, which a larger model has to reach
FISHEYE = 0
_FISHEYE_FLAGS = cv2.fisheye if hasattr(cv2.fisheye, "CALIB_FIX_SKEW") else cv2  # from 5.0 on
MODELS = {  # number of coefficients, flags of OpenCV
    4: cv2.CALIB_FIX_K3,
    5: 0,
    8: cv2.CALIB_RATIONAL_MODEL,
    FISHEYE: _FISHEYE_FLAGS.CALIB_RECOMPUTE_EXTRINSIC | _FISHEYE_FLAGS.CALIB_FIX_SKEW,
}
MAX_ROWS = 0.0015  # vertical disparity (95 %) of a good calibration, of the image width
MAX_FOCAL_SPREAD = 0.02  # between fits to different parts of the views
LEAST_COVERED = 0.25  # of the area of an image
MAX_OFFSET_S, STEP_S = 5.0, 0.005
SPEED_S = 0.05  # before and after a time, between which a speed is measured
MIN_TRACK = 20  # images that show the board
LEAST_SHARED_S = 3.0
CORRELATED = 0.8
_QUICK = cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-5
_THOROUGH = cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-8
_GRID = 8  # cells along each side, of which the covered ones are counted


@dataclass(frozen=True)
class Rig:
    """Two cameras: matrices, coefficients, rotation (3, 3) and translation (3, 1) [m]."""

    shape: tuple[int, int]
    model: int  # number of coefficients, or `FISHEYE`
    left: tuple[Values, Values]
    right: tuple[Values, Values]
    rotation: Values
    translation: Values

    @property
    def baseline_m(self) -> float:
        """Return the distance of the cameras [m]."""
        return float(np.linalg.norm(self.translation))

    @property
    def _lens(self) -> Any:
        return cv2.fisheye if self.model == FISHEYE else cv2

    def rectification(self) -> tuple[Values, ...]:
        """Return R1, R2, P1, P2 and Q of OpenCV."""
        size = self.shape[1], self.shape[0]
        cameras = *self.left, *self.right, size, self.rotation, self.translation
        if self.model == FISHEYE:
            r1, r2 = cv2.fisheye.stereoRectify(*cameras, cv2.CALIB_ZERO_DISPARITY)[:2]
            return r1, r2, *self._central_projection(float((r2 @ self.translation)[0, 0]))
        return tuple(cv2.stereoRectify(*cameras, alpha=-1)[:5])

    def _central_projection(self, x_m: float) -> tuple[Values, Values, Values]:
        """Return P1, P2 and Q with the scale of the fisheye's centre.

        OpenCV's own choice holds all corners, whose angle of 90 degrees has no projection.
        """
        focal = float(self.left[0][0, 0])
        cx, cy = (self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2
        p1 = np.array([[focal, 0, cx, 0], [0, focal, cy, 0], [0, 0, 1, 0]])
        p2 = p1.copy()
        p2[0, 3] = focal * x_m
        q = np.array([[1, 0, 0, -cx], [0, 1, 0, -cy], [0, 0, 0, focal], [0, 0, -1 / x_m, 0]])
        return p1, p2, q

    def undistorted(self, points: Values, side: int, **how: Values) -> Values:
        """Return undistorted points of the left (0) or right (1) image."""
        flat = np.asarray(points, np.float64).reshape(-1, 1, 2)
        camera = (self.left, self.right)[side]
        return np.asarray(self._lens.undistortPoints(flat, *camera, **how)).reshape(-1, 2)

    def projected(self, points: Values, pose: tuple[Values, Values], side: int) -> Values:
        """Project points of the board at a pose in the left camera."""
        turn, shift = cv2.Rodrigues(pose[0])[0], np.reshape(pose[1], (3, 1))
        if side:
            turn, shift = self.rotation @ turn, self.rotation @ shift + self.translation
        flat = points.astype(np.float64).reshape(-1, 1, 3)
        camera = (self.left, self.right)[side]
        seen = self._lens.projectPoints(flat, cv2.Rodrigues(turn)[0], shift, *camera)[0]
        return np.asarray(seen).reshape(-1, 2)

    def rectified_rows(self, left: Values, right: Values) -> Values:
        """Return the vertical disparities [px] of points inside both rectified images."""
        r1, r2, p1, p2, _ = self.rectification()
        left, right = self.undistorted(left, 0, R=r1, P=p1), self.undistorted(right, 1, R=r2, P=p2)
        both = np.stack([left, right])
        inside = ((both >= 0) & (both < self.shape[::-1])).all(axis=(0, 2))
        return np.asarray((left - right)[inside, 1])


@dataclass(frozen=True)
class ViewError:
    """Errors of a view [px]: RMS of points and of rows."""

    name: str
    left_px: float
    right_px: float
    rows_px: float
    used: bool


@dataclass(frozen=True)
class StereoCalibration:
    """Calibrated rig and its errors [px]."""

    rig: Rig
    rms_px: float
    rows_px: tuple[float, float]  # vertical disparity after rectification, median and 95 %
    held_out_px: dict[int, float]  # error of each model on views that it was not fitted to
    focal_spread: float  # between fits to different parts of the views, share
    covered: tuple[float, float]  # share of the left and the right image
    views: tuple[ViewError, ...]

    @property
    def problems(self) -> list[str]:
        """Return why the calibration is not good enough, a sentence each."""
        found = []
        most_px = MAX_ROWS * self.rig.shape[1]
        if self.rows_px[1] > most_px:
            found.append(
                f"the vertical disparity after rectification is {self.rows_px[1]:.2f} px (95 %), "
                f"more than {most_px:.2f} px: hold the board still and flat, keep the focus fixed, "
                "and check its size"
            )
        if self.focal_spread > MAX_FOCAL_SPREAD:
            found.append(
                f"parts of the views give focal lengths {100 * self.focal_spread:.1f} % apart: "
                "tilt the board more, up to 40 degrees about both axes, and come closer"
            )
        for side, share in zip(("left", "right"), self.covered, strict=True):
            if share < LEAST_COVERED:
                found.append(
                    f"the board covers only {100 * share:.0f} % of the {side} image: move it to "
                    "the edges and corners too, and come closer"
                )
        if self.rig.translation[0, 0] > 0:
            found.append("the first camera is to the right of the second one: exchange the two")
        return found


def good_views(views: Sequence[View], width_px: int) -> list[View]:
    """Return the sharp views that show the board at new poses."""
    if not views:
        return []
    limit = SHARP * float(np.median([view.sharpness for view in views]))
    kept: list[int] = []
    for i in sorted(range(len(views)), key=lambda each: -views[each].sharpness):
        new = all(_moved_px(views[i], views[k]) > NEW_POSE * width_px for k in kept)
        if new and views[i].sharpness >= limit:
            kept.append(i)
    return [views[i] for i in sorted(kept)]


def _moved_px(view: View, other: View) -> float:
    _, a, b = np.intersect1d(view.ids, other.ids, return_indices=True)
    if len(a) < 4:
        return np.inf
    return float(np.abs(view.left[a] - other.left[b]).mean())


def covered_cells(points: Sequence[Values], shape: tuple[int, int]) -> Values:
    """Return which cells hold points of a board, (8, 8) bool."""
    cells = np.zeros((_GRID, _GRID), bool)
    for each in points:
        hull = cv2.convexHull(each.astype(np.float32)).reshape(-1, 2)
        scaled = (hull + 0.5) * _GRID * 8 / np.array(shape[::-1]) - 0.5
        area = np.zeros((_GRID * 8, _GRID * 8), np.uint8)
        cv2.fillConvexPoly(area, scaled.round().astype(np.int32), color=1)
        cells |= area.reshape(_GRID, 8, _GRID, 8).mean(axis=(1, 3)) > 0.2
    return cells


def tilt_deg(view: View, board_points: Values, shape: tuple[int, int]) -> Values:
    """Return the rough tilt of the board [degrees], right and down."""
    focal = 0.8 * max(shape)
    matrix = np.array([[focal, 0, shape[1] / 2], [0, focal, shape[0] / 2], [0, 0, 1]])
    turn = cv2.solvePnP(board_points[view.ids], view.left, matrix, None)[1]
    normal = cv2.Rodrigues(turn)[0][:, 2]
    normal = normal * np.sign(normal[2])
    size = max(float(np.linalg.norm(normal[:2])), 1e-9)
    return np.asarray(-normal[:2] / size * np.degrees(np.arctan2(size, normal[2])))


def board_centre(ids: Values, corners: Values, board_points: Values) -> Values | None:
    """Return the centre of a partly visible board, (2,)."""
    homography, _ = cv2.findHomography(board_points[ids, :2], corners, method=0)
    if homography is None:
        return None
    centre = board_points[:, :2].mean(axis=0, dtype=np.float64).reshape(1, 1, 2)
    return np.asarray(cv2.perspectiveTransform(centre, homography)).reshape(2)


def track_offset_s(left: Values, right: Values) -> float:
    """Return how much later the right recording was started [s].

    Tracks are (N, 3): time [s], and x and y of the board's centre. NaN where their speeds do not
    correlate, as of a board at rest.
    """
    if min(len(left), len(right)) < MIN_TRACK:
        return np.nan
    times = np.arange(left[0, 0], left[-1, 0], STEP_S)
    speeds = _speed(left, times)
    offsets = np.arange(-MAX_OFFSET_S, MAX_OFFSET_S + STEP_S, STEP_S)
    scores = np.full(len(offsets), -1.0)
    for i, offset in enumerate(offsets):
        shared = (times - offset >= right[0, 0]) & (times - offset <= right[-1, 0])
        if shared.sum() * STEP_S >= LEAST_SHARED_S:
            a, b = speeds[shared], _speed(right, times[shared] - offset)
            size = float(np.linalg.norm(a) * np.linalg.norm(b))
            scores[i] = float((a * b).sum()) / size if size > 0 else -1.0
    best = int(scores.argmax())
    return float(offsets[best]) if scores[best] >= CORRELATED else np.nan


def _speed(track: Values, times: Values) -> Values:
    """Return the speed of a track at some times, (N, 2)."""
    around = [times - SPEED_S, times + SPEED_S]
    columns = [[np.interp(t, track[:, 0], track[:, k]) for t in around] for k in (1, 2)]
    speeds = np.stack([after - before for before, after in columns], axis=1)
    return np.asarray(speeds - speeds.mean(axis=0))


def calibrate_stereo(
    views: Sequence[View],
    board_points: Values,
    shape: tuple[int, int],
    report: Callable[[str], None] = lambda _: None,
) -> StereoCalibration:
    """Fit a rig to views of a board.

    `board_points` (M, 3) are in metres. `report` gets a sentence before each slow step.
    """
    if len(views) < MIN_VIEWS:
        raise UsageError(
            f"{len(views)} different views show the board in both images; {MIN_VIEWS} are needed: "
            "move it to more places, distances and angles, and check its kind and size"
        )
    held_out, spread = _compare_models(views, board_points, shape, report)
    if not held_out:
        raise UsageError(
            "no camera model fits the views: check the kind and the size of the board, and that "
            "both recordings show it at the same time"
        )
    model = next(iter(held_out))
    for other, error in held_out.items():
        if error < CLEARLY_BETTER * held_out[model]:
            model = other
    report(f"fitting {model_name(model)} to {len(views)} views")
    rig, table = _fit_consistent(views, board_points, shape, model)
    chosen = [view for view, error in zip(views, table, strict=True) if error.used]
    rows = np.abs(np.concatenate([rig.rectified_rows(view.left, view.right) for view in chosen]))
    if not len(rows):
        raise UsageError("no point of the board is in both rectified images: check the order")
    squares = [error.left_px**2 + error.right_px**2 for error in table if error.used]
    covered = [
        float(covered_cells(points, shape).mean())
        for points in ([view.left for view in chosen], [view.right for view in chosen])
    ]
    return StereoCalibration(
        rig,
        float(np.sqrt(np.mean(squares) / 2)),
        (float(np.median(rows)), float(np.percentile(rows, 95))),
        held_out,
        spread[model],
        (covered[0], covered[1]),
        tuple(table),
    )


def _fit_consistent(
    views: Sequence[View], board_points: Values, shape: tuple[int, int], model: int
) -> tuple[Rig, list[ViewError]]:
    """Fit a rig to views that agree; return the errors of all."""
    agree = np.ones(len(views), bool)
    for _ in range(3):  # a displaced view also bends the fit that exposes it
        used = agree
        chosen = [view for view, use in zip(views, used, strict=True) if use]
        if len(chosen) < MIN_VIEWS:
            raise UsageError(
                f"only {len(chosen)} of {len(views)} views agree with one another: hold the board "
                "still, or record both cameras at the same time"
            )
        rig = fit_rig(chosen, board_points, shape, model)
        errors = [_errors(rig, view, board_points) for view in views]
        worst = np.array([max(each) for each in errors])
        limit = max(DROP_ERROR * float(np.median(worst[used])), HARMLESS_PX)
        agree = worst <= limit
        if (used == agree).all():
            break
    return rig, [
        ViewError(view.name, *error, bool(use))
        for view, error, use in zip(views, errors, used, strict=True)
    ]


def model_name(model: int) -> str:
    """Return the name of a camera model in messages."""
    return "the fisheye model" if model == FISHEYE else f"{model} coefficients"


def _compare_models(
    views: Sequence[View],
    board_points: Values,
    shape: tuple[int, int],
    report: Callable[[str], None],
) -> tuple[dict[int, float], dict[int, float]]:
    """Return held-out error and spread of the focal length of each model."""
    errors, spreads = {}, {}
    for model in MODELS:
        report(f"comparing camera models: {model_name(model)}")
        found, focal = [], []
        try:
            for fold in range(FOLDS):
                rest = [view for i, view in enumerate(views) if i % FOLDS != fold]
                step = max(1, len(rest) // FITTED)
                rig = fit_rig(rest[::step], board_points, shape, model, quick=True)
                focal.append(rig.left[0][0, 0])
                found += [_transfer_error(rig, view, board_points) for view in views[fold::FOLDS]]
        except cv2.error:  # the model does not describe these lenses
            continue
        error = float(np.median(found))
        if np.isfinite(error):
            errors[model] = error
            spreads[model] = float(np.ptp(focal) / np.median(focal))
    return errors, spreads


def fit_rig(
    views: Sequence[View],
    board_points: Values,
    shape: tuple[int, int],
    model: int,
    *,
    quick: bool = False,
) -> Rig:
    """Fit one camera model to views; `quick`: cameras first, then their pose."""
    size, flags = (shape[1], shape[0]), MODELS[model]
    seen = [[board_points[view.ids], view.left, view.right] for view in views]
    calibrate: Any = cv2.calibrateCamera
    calibrate_both: Any = cv2.stereoCalibrate
    if model == FISHEYE:  # it wants float64, and as many points in every view
        calibrate, calibrate_both = cv2.fisheye.calibrate, cv2.fisheye.stereoCalibrate
        count = min(len(view.ids) for view in views)
        for each in seen:
            chosen = np.linspace(0, len(each[0]) - 1, count).round().astype(int)
            each[:] = [values[None, chosen].astype(np.float64) for values in each]
    points, *sides = zip(*seen, strict=True)
    cameras: list[Values] = []
    for side in sides:  # the fisheye writes into its first guess
        guess = (np.eye(3), np.zeros((4, 1))) if model == FISHEYE else (None, None)
        cameras += calibrate(points, side, size, *guess, flags=flags, criteria=_QUICK)[1:3]
    flags |= cv2.CALIB_FIX_INTRINSIC if quick else cv2.CALIB_USE_INTRINSIC_GUESS
    criteria = _QUICK if quick else _THOROUGH
    fit = calibrate_both(points, *sides, *cameras, size, flags=flags, criteria=criteria)
    _, m1, d1, m2, d2, rotation, translation = fit[:7]
    return Rig(shape, model, (m1, d1), (m2, d2), rotation, translation)


def _pose(rig: Rig, view: View, board_points: Values) -> tuple[Values, Values]:
    """Return the pose of the board in the left camera."""
    rays = np.column_stack([rig.undistorted(view.left, 0), np.ones(len(view.ids))])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    # A camera turned to the board has no part of it near its horizon.
    ahead = rays.mean(axis=0) / np.linalg.norm(rays.mean(axis=0))
    angle = np.arccos(np.clip(ahead[2], -1, 1))
    turn = cv2.Rodrigues(np.cross(ahead, [0, 0, 1.0]) / np.sinc(angle / np.pi))[0]
    seen = rays @ turn.T
    flat = np.ascontiguousarray(seen[:, None, :2] / seen[:, None, 2:])
    points = board_points[view.ids].astype(np.float64)
    _, rotation, shift = cv2.solvePnP(points, flat, np.eye(3), None)
    return cv2.Rodrigues(turn.T @ cv2.Rodrigues(rotation)[0])[0], turn.T @ shift


def _transfer_error(rig: Rig, view: View, board_points: Values) -> float:
    """Return the distance of right points from their prediction [px]."""
    seen = rig.projected(board_points[view.ids], _pose(rig, view, board_points), 1)
    return _rms(seen - view.right)


def _errors(rig: Rig, view: View, board_points: Values) -> tuple[float, float, float]:
    """Return the errors of a view [px]: left, right, rows."""
    points, pose = board_points[view.ids], _pose(rig, view, board_points)
    left, right = (
        _rms(rig.projected(points, pose, side) - seen)
        for side, seen in enumerate((view.left, view.right))
    )
    rows = rig.rectified_rows(view.left, view.right)
    return left, right, _rms(rows[:, None]) if len(rows) else 0.0


def _rms(apart: Values) -> float:
    """Return the root mean square length of differences (N, K)."""
    return float(np.sqrt(np.mean(np.sum(apart**2, axis=1))))


def write_calibration(path: Path, rig: Rig, *, relative: bool = False) -> None:
    """Write a rig as OpenCV YAML, translation in metres; `relative`: in baselines."""
    height, width = rig.shape
    names = "K1", "D1", "K2", "D2", "R", "T", "R1", "R2", "P1", "P2", "Q"
    values = *rig.left, *rig.right, rig.rotation, rig.translation, *rig.rectification()
    how = cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY | cv2.FILE_STORAGE_FORMAT_YAML
    file = cv2.FileStorage("", flags=how)
    file.write("image_width", width)
    file.write("image_height", height)
    for name, value in zip(names, values, strict=True):
        file.write(name, value)
    if rig.model == FISHEYE:
        file.write("fisheye", 1)
    if relative:
        file.write("scale", "relative")
    write_bytes(path, file.releaseAndGetString().encode())
