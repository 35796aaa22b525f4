"""Fit the model that aligns matching points in rows.

Coordinates are normalised: origin in the middle of the image, unit half its long side. A left
point (x, y) and a right point (x', y') of the same thing in space shall get the same row::

    (left_roll x + y) / (1 + left_yaw x)  =  (shift + roll x' + zoom y') / (1 + yaw x' + pitch y')

The seven numbers are the seven degrees of freedom of a fundamental matrix; with the two of the
left image held at zero only the right image is warped. Roll and zoom turn and scale the columns
too, so that disparity stays a disparity; a common horizontal shift is not observable and is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.linalg import matrix_power
from numpy.typing import NDArray

from crestereo.types import Points

Homography = NDArray[np.float64]
"""(3, 3) float64, full pixels of the given image to full pixels of the aligned one."""

# Standard deviations expected of two cameras held side by side, normalised: the fit is drawn
# towards no correction with this strength. Shift, roll, zoom, yaw, pitch, left roll, left yaw.
PRIOR = np.array([1.0, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05])
NOTHING = (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)
CONVERGED = 1e-4  # normalised step: 0.2 px in an image of 4000, the noise of the matches is 1
STAGES = (1, 3, 5, 7)  # free numbers: shift; and roll, zoom; and yaw, pitch; all
NOISE_640_PX = 0.15  # localisation noise at a width of 640 px
WORTH_IT = 0.93  # share to which a longer model must lower the held-out error
WORTH_LEFT = 0.8  # the same for warping the left image too
FOLDS = 4


class Orientation(Enum):
    """Clockwise quarter turns of left and right, and the mirrored image."""

    UPRIGHT = (0, 0, "", "")
    UPSIDE_DOWN = (0, 2, "", "the right image is upside down: turned by 180 degrees")
    LEFT_UPSIDE_DOWN = (2, 0, "", "the left image is upside down: turned by 180 degrees")
    TURNED_LEFT = (0, 1, "", "the right image is turned by 90 degrees: turned back")
    TURNED_RIGHT = (0, 3, "", "the right image is turned by 90 degrees: turned back")
    UPPER_FIRST = (1, 1, "", "one view above the other (vertical pair): both turned by 90 degrees")
    LOWER_FIRST = (3, 3, "", "one view above the other (vertical pair): both turned by 90 degrees")
    MIRRORED = (0, 0, "right", "the right image is mirrored: flipped back")
    LEFT_MIRRORED = (0, 0, "left", "the left image is mirrored: flipped back")
    FLIPPED = (0, 2, "right", "the right image is flipped upside down: flipped back")

    def __init__(self, left: int, right: int, mirrored: str, text: str) -> None:
        turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # x right, y down
        flip = np.diag([-1.0, 1.0, 1.0])
        self.left = matrix_power(turn, left) @ matrix_power(flip, int(mirrored == "left"))
        self.right = matrix_power(turn, right) @ matrix_power(flip, int(mirrored == "right"))
        self.mirrored = bool(mirrored)
        self.text = text

    def canvas(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the turned left image."""
        return (shape[1], shape[0]) if self.left[0, 0] == 0 else shape


@dataclass(frozen=True)
class AlignmentModel:
    """Normalised parameters that align a pair."""

    theta: tuple[float, ...] = NOTHING
    rows_only: bool = False  # move rows only, so that disparities stay: shift, roll and zoom
    orientation: Orientation = Orientation.UPRIGHT  # before that

    @property
    def does_nothing(self) -> bool:
        """Return whether both images stay unchanged."""
        return self.theta == NOTHING and self.orientation is Orientation.UPRIGHT

    @property
    def moves_left(self) -> bool:
        """Return whether the left image is warped too."""
        return self.theta[5:] != (0, 0) or not np.array_equal(self.orientation.left, np.eye(3))

    def left_homography(self, shape: tuple[int, int]) -> Homography:
        """Return the map from a left image to the aligned one."""
        roll, yaw = self.theta[5:]
        rows = np.array([[1, -roll, 0], [roll, 1, 0], [yaw, 0, 1]])
        return self._in_pixels(rows @ self.orientation.left, shape)

    def right_homography(self, shape: tuple[int, int]) -> Homography:
        """Return the map from a right image to the aligned one."""
        shift, roll, zoom, yaw, pitch = self.theta[:5]
        columns = [1.0, 0.0, 0.0] if self.rows_only else [zoom, -roll, 0.0]
        rows = np.array([columns, [roll, zoom, shift], [yaw, pitch, 1.0]])
        return self._in_pixels(rows @ self.orientation.right, shape)

    def _in_pixels(self, normalised: Homography, shape: tuple[int, int]) -> Homography:
        given, turned = (_to_pixels(size) for size in (shape, self.orientation.canvas(shape)))
        return np.asarray(turned @ normalised @ np.linalg.inv(given))


def _to_pixels(shape: tuple[int, int]) -> Homography:
    height, width = shape
    half = max(shape) / 2
    return np.array([[half, 0, (width - 1) / 2], [0, half, (height - 1) / 2], [0, 0, 1]])


def transform(homography: Homography, points: Points) -> Points:
    """Return the (N, 2) points to which `homography` maps `points`."""
    lifted = points @ homography[:, :2].T + homography[:, 2]
    return np.asarray(lifted[:, :2] / lifted[:, 2:])


def choose_model(
    left: Points,
    right: Points,
    shape: tuple[int, int],
    orientation: Orientation = Orientation.UPRIGHT,
    *,
    free: int | None = None,
) -> AlignmentModel:
    """Fit the shortest model that explains matches it was not fitted to.

    `free`, one of `STAGES`, sets its length instead.
    """
    to_unit = np.linalg.inv(_to_pixels(shape))
    noise = NOISE_640_PX * (shape[1] / 640) / (max(shape) / 2)
    a = transform(orientation.left @ to_unit, left)
    b = transform(orientation.right @ to_unit, right)
    theta = _fit(a, b, free or _best_stage(a, b, noise), noise)
    return AlignmentModel(tuple(map(float, theta)), orientation=orientation)


def _best_stage(left: Points, right: Points, noise: float) -> int:
    errors = {free: _held_out_error(left, right, free, noise) for free in STAGES}
    best = STAGES[0]
    for free in STAGES[1:-1]:
        if errors[free] < WORTH_IT * errors[best]:
            best = free
    return STAGES[-1] if errors[STAGES[-1]] < WORTH_LEFT * errors[best] else best


def _residual_and_jacobian(
    theta: NDArray[np.float64], left: Points, right: Points
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return row differences (N,) left minus right, and their derivatives (N, 7)."""
    shift, roll, zoom, yaw, pitch, left_roll, left_yaw = theta
    (xl, yl), (xr, yr) = left.T, right.T
    depth_l, depth_r = 1 + left_yaw * xl, 1 + yaw * xr + pitch * yr
    row_l = (yl + left_roll * xl) / depth_l
    row_r = (shift + roll * xr + zoom * yr) / depth_r
    right_part = [-np.ones_like(xr), -xr, -yr, xr * row_r, yr * row_r]
    jacobian = np.stack(
        [*(part / depth_r for part in right_part), xl / depth_l, -xl * row_l / depth_l], axis=1
    )
    return row_l - row_r, jacobian


def _fit(left: Points, right: Points, free: int, noise: float) -> NDArray[np.float64]:
    """Fit the first `free` of the seven numbers, robustly.

    Gauss-Newton with Geman-McClure weights whose width follows the median error down to `noise`.
    """
    nothing = np.array(NOTHING)
    theta = nothing.copy()
    theta[0] = np.median(left[:, 1] - right[:, 1])
    for _ in range(25):
        residual, jacobian = _residual_and_jacobian(theta, left, right)
        jacobian = jacobian[:, :free]
        sigma = max(1.4826 * float(np.median(np.abs(residual))), noise)
        weight = 1 / (1 + (residual / (2 * sigma)) ** 2) ** 2
        pull = (sigma / PRIOR[:free]) ** 2
        normal = jacobian.T @ (jacobian * weight[:, None]) + np.diag(pull)
        slope = jacobian.T @ (weight * residual) + pull * (theta - nothing)[:free]
        step = np.linalg.solve(normal, slope)
        theta[:free] -= step
        if np.abs(step).max() < CONVERGED:
            break
    return np.asarray(theta)


def _held_out_error(left: Points, right: Points, free: int, noise: float) -> float:
    """Return a robust error, normalised, of matches that were not fitted."""
    fold = np.random.default_rng(0).permutation(len(left)) % FOLDS
    errors = np.zeros(len(left))
    for k in range(FOLDS):
        theta = _fit(left[fold != k], right[fold != k], free, noise)
        residual, _ = _residual_and_jacobian(theta, left[fold == k], right[fold == k])
        errors[fold == k] = np.abs(residual)
    middle, most = np.percentile(errors, [50, 85])
    return float(np.hypot(middle + most, noise))
