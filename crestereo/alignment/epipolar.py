"""The model that puts matching points on the same row, and its robust fit.

Coordinates are normalised: origin in the middle of the picture, unit half its long side. A left
point (x, y) and a right point (x', y') of the same thing in space shall get the same row::

    (left_roll x + y) / (1 + left_yaw x)  =  (shift + roll x' + zoom y') / (1 + yaw x' + pitch y')

The seven numbers are the seven degrees of freedom of a fundamental matrix. With the two of the
left picture held at zero it stays as it is. Roll and zoom turn and scale the columns too, so
that disparity stays a disparity; a common horizontal shift cannot be seen and stays zero.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from crestereo.alignment.matches import Points

Homography = NDArray[np.float64]
"""(3, 3) float64, full pixels of the given picture to full pixels of the aligned one."""

# Standard deviations expected of two cameras held side by side, normalised: the fit is drawn
# towards doing nothing with this strength. Order: shift, roll, zoom, yaw, pitch, left roll and yaw.
PRIOR = np.array([1.0, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05])
NOTHING = np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
SETTLED = 1e-4  # normalised: a step of 0.2 px in a picture of 4000, the matches' own noise is 1
STAGES = (1, 3, 5, 7)  # how many of the seven are free: shift; and roll, zoom; and yaw, pitch; all
NOISE_640_PX = 0.15  # localisation noise that cannot be beaten, at 640 px width
WORTH_IT = 0.93  # a longer model must lower the held-out error at least to this share
WORTH_LEFT = 0.8  # and moving the left picture too must gain clearly more
FOLDS = 4


@dataclass(frozen=True)
class AlignmentModel:
    """Hold the seven numbers that align a pair, normalised, for one picture size.

    Parameters
    ----------
    shift, roll, zoom, yaw, pitch : float
        What is done to the right picture.
    left_roll, left_yaw : float
        What is done to the left picture; both zero where the right alone suffices.
    """

    shift: float = 0.0
    roll: float = 0.0
    zoom: float = 1.0
    yaw: float = 0.0
    pitch: float = 0.0
    left_roll: float = 0.0
    left_yaw: float = 0.0

    @property
    def does_nothing(self) -> bool:
        """Tell whether both pictures stay as they are."""
        return astuple(self) == tuple(NOTHING)

    @property
    def moves_left(self) -> bool:
        """Tell whether the left picture has to be warped too."""
        return self.left_roll != 0 or self.left_yaw != 0

    def left_homography(self, shape: tuple[int, int]) -> Homography:
        """Return the map from the left picture of `shape` (height, width) to the aligned one."""
        roll = self.left_roll
        return _in_pixels([[1, -roll, 0], [roll, 1, 0], [self.left_yaw, 0, 1]], shape)

    def right_homography(self, shape: tuple[int, int]) -> Homography:
        """Return the map from the right picture of `shape` (height, width) to the aligned one."""
        rows = [
            [self.zoom, -self.roll, 0],
            [self.roll, self.zoom, self.shift],
            [self.yaw, self.pitch, 1],
        ]
        return _in_pixels(rows, shape)


def normalise(points: Points, shape: tuple[int, int]) -> Points:
    """Return `points` with the origin in the middle and half the long side as unit."""
    height, width = shape
    return (points - np.array([width - 1, height - 1]) / 2) / (max(shape) / 2)


def transform(homography: Homography, points: Points) -> Points:
    """Return the (N, 2) points where `homography` takes `points`."""
    lifted = points @ homography[:, :2].T + homography[:, 2]
    return np.asarray(lifted[:, :2] / lifted[:, 2:])


def _in_pixels(rows: list[list[float]], shape: tuple[int, int]) -> Homography:
    height, width = shape
    half = max(shape) / 2
    to_pixels = np.array([[half, 0, (width - 1) / 2], [0, half, (height - 1) / 2], [0, 0, 1]])
    return np.asarray(to_pixels @ np.array(rows, np.float64) @ np.linalg.inv(to_pixels))


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


def fit(left: Points, right: Points, free: int, noise: float) -> NDArray[np.float64]:
    """Fit the first `free` of the seven numbers to normalised matches, robustly.

    Parameters
    ----------
    left, right : (N, 2) float64
        Normalised matching points.
    free : int
        One of STAGES; the other numbers do nothing.
    noise : float
        Smallest standard deviation believed of a row difference, normalised.

    Returns
    -------
    (7,) float64

    Notes
    -----
    Gauss-Newton with Geman-McClure weights whose width follows the median error down.
    """
    theta = NOTHING.copy()
    theta[0] = np.median(left[:, 1] - right[:, 1])
    for _ in range(25):
        residual, jacobian = _residual_and_jacobian(theta, left, right)
        jacobian = jacobian[:, :free]
        sigma = max(1.4826 * float(np.median(np.abs(residual))), noise)
        weight = 1 / (1 + (residual / (2 * sigma)) ** 2) ** 2
        pull = (sigma / PRIOR[:free]) ** 2
        normal = jacobian.T @ (jacobian * weight[:, None]) + np.diag(pull)
        slope = jacobian.T @ (weight * residual) + pull * (theta - NOTHING)[:free]
        step = np.linalg.solve(normal, slope)
        theta[:free] -= step
        if np.abs(step).max() < SETTLED:
            break
    return np.asarray(theta)


def row_errors(theta: NDArray[np.float64], left: Points, right: Points) -> NDArray[np.float64]:
    """Return the absolute row differences (N,) that remain, normalised."""
    return np.asarray(np.abs(_residual_and_jacobian(theta, left, right)[0]))


def _held_out_error(left: Points, right: Points, free: int, noise: float) -> float:
    """Return a robust error, normalised, of matches that the fit did not see."""
    fold = np.random.default_rng(0).permutation(len(left)) % FOLDS
    errors = np.zeros(len(left))
    for k in range(FOLDS):
        theta = fit(left[fold != k], right[fold != k], free, noise)
        errors[fold == k] = row_errors(theta, left[fold == k], right[fold == k])
    middle, most = np.percentile(errors, [50, 85])
    return float(np.hypot(middle + most, noise))


def choose_model(left: Points, right: Points, shape: tuple[int, int]) -> AlignmentModel:
    """Fit the shortest model that explains matches it has not seen.

    Parameters
    ----------
    left, right : (N, 2) float64
        Matching points in full pixels, at least 12.
    shape : (int, int)
        Height and width of both pictures.
    """
    a, b = normalise(left, shape), normalise(right, shape)
    noise = NOISE_640_PX * (shape[1] / 640) / (max(shape) / 2)
    errors = {free: _held_out_error(a, b, free, noise) for free in STAGES}
    best = STAGES[0]
    for free in STAGES[1:-1]:
        if errors[free] < WORTH_IT * errors[best]:
            best = free
    if errors[STAGES[-1]] < WORTH_LEFT * errors[best]:
        best = STAGES[-1]
    return AlignmentModel(*map(float, fit(a, b, best, noise)))
