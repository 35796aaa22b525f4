"""Estimate rotation and zoom between two cameras without a board.

Matches of several pairs fit one epipolar geometry with a common focal length, a zoom, a rotation
and the direction of the baseline: the seven numbers of a fundamental matrix. The distance of the
cameras is not observable. Matches hardly show the focal length, which stays near that of most
phones and webcams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.alignment import Matches
from crestereo.calibration import MAX_ROWS, Rig
from crestereo.errors import UsageError

Values = NDArray[Any]

USUAL_FOCAL = 0.8  # of the long side: 64 degrees
# Standard deviations expected: log of the focal length and of the zoom, rotation about x, y, z
# [rad], y and z of the unit vector to the right camera.
PRIOR = np.array([0.15, 0.1, 0.08, 0.08, 0.08, 0.08, 0.08])
NOISE_640_PX = 0.3  # localisation noise of matches at a width of 640 px
BEHIND_640_PX = 0.5  # disparity below zero that noise may cause
STEP, CONVERGED, STEPS = 1e-6, 1e-4, 40
LEAST_PAIRS = 4
LEAST_MATCHES = 40  # of a pair that counts
HELD_OUT = 4  # every fourth pair judges the fit to the others


@dataclass(frozen=True)
class SelfCalibration:
    """Rig of baseline 1, and vertical disparities [px] in held-out pairs."""

    rig: Rig
    pairs: int
    matches: int
    before_px: tuple[float, float]  # median and 95 %
    after_px: tuple[float, float]

    @property
    def angles_deg(self) -> tuple[float, float, float]:
        """Return pitch, yaw and roll from the left to the right camera."""
        x, y, z = np.degrees(cv2.Rodrigues(self.rig.rotation)[0]).ravel()
        return float(x), float(y), float(z)

    @property
    def zoom(self) -> float:
        """Return the focal length of the right camera over the left one."""
        return float(self.rig.right[0][0, 0] / self.rig.left[0][0, 0])

    @property
    def problem(self) -> str:
        """Return why the result is not good enough; empty where it is."""
        most_px = MAX_ROWS * self.rig.shape[1]
        if self.after_px[0] <= most_px:
            return ""
        return (
            f"matches are {self.after_px[0]:.1f} px (median) apart in rows after rectification, "
            f"more than {most_px:.1f} px: the cameras or their zoom moved between the pairs, the "
            "recordings are not synchronized, or the lenses distort, which only a board shows"
        )


def self_calibrate(found: Sequence[Matches], shape: tuple[int, int]) -> SelfCalibration:
    """Fit a rig of baseline 1 to matches of pairs (H, W)."""
    usable = [each for each in found if len(each) >= LEAST_MATCHES]
    if len(usable) < LEAST_PAIRS:
        raise UsageError(
            f"{len(usable)} of {len(found)} pairs have enough matches, {LEAST_PAIRS} are needed: "
            "record scenes with texture, near and far, which both cameras see at the same time"
        )
    held_out = usable[HELD_OUT - 1 :: HELD_OUT]
    fitted = [each for i, each in enumerate(usable) if i % HELD_OUT != HELD_OUT - 1]
    judged = _rig(_fit(fitted, shape), shape)
    left, right = _joined(held_out)
    return SelfCalibration(
        _rig(_fit(usable, shape), shape),
        len(usable),
        sum(map(len, usable)),
        _middle_and_most(left[:, 1] - right[:, 1]),
        _middle_and_most(judged.rectified_rows(left, right)),
    )


def _middle_and_most(rows: Values) -> tuple[float, float]:
    middle, most = np.percentile(np.abs(rows), [50, 95])
    return float(middle), float(most)


def _joined(found: Sequence[Matches]) -> tuple[Values, Values]:
    return np.concatenate([m.left for m in found]), np.concatenate([m.right for m in found])


def _rig(theta: Values, shape: tuple[int, int]) -> Rig:
    left, right = np.eye(3), np.eye(3)
    left[:2, 2] = right[:2, 2] = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    left[[0, 1], [0, 1]] = focal = USUAL_FOCAL * max(shape) * np.exp(theta[0])
    right[[0, 1], [0, 1]] = focal * np.exp(theta[1])
    rotation = cv2.Rodrigues(theta[2:5])[0]
    towards = np.array([1.0, *theta[5:]])  # the right camera, in the left one
    translation = -rotation @ (towards / np.linalg.norm(towards))[:, None]
    return Rig(shape, 4, (left, np.zeros(4)), (right, np.zeros(4)), rotation, translation)


def _fit(found: Sequence[Matches], shape: tuple[int, int]) -> Values:
    """Fit the seven numbers robustly: Gauss-Newton with Geman-McClure weights."""
    left, right = (np.column_stack([each, np.ones(len(each))]) for each in _joined(found))
    unit_px = shape[1] / 640
    theta = np.zeros(len(PRIOR))
    for _ in range(STEPS):
        errors = _errors(theta, left, right, shape)
        slopes = [
            (_errors(theta + STEP * each, left, right, shape) - errors) / STEP
            for each in np.eye(len(PRIOR))
        ]
        jacobian = np.stack(slopes, axis=1)
        sigma = np.full(len(errors), BEHIND_640_PX * unit_px)
        sigma[:-1] = max(1.4826 * float(np.median(np.abs(errors[:-1]))), NOISE_640_PX * unit_px)
        weight = 1 / (1 + (errors / (2 * sigma)) ** 2) ** 2 / sigma**2
        weight[-1] = 1 / sigma[-1] ** 2
        normal = jacobian.T @ (jacobian * weight[:, None]) + np.diag(PRIOR**-2.0)
        step = np.linalg.solve(normal, jacobian.T @ (weight * errors) + theta / PRIOR**2)
        theta = theta - step
        if np.abs(step / PRIOR).max() < CONVERGED:
            break
    return theta


def _errors(theta: Values, left: Values, right: Values, shape: tuple[int, int]) -> Values:
    """Return Sampson errors [px] of matches, and the disparity below zero."""
    rig = _rig(theta, shape)
    k1, k2 = (np.linalg.inv(camera[0]) for camera in (rig.left, rig.right))
    cross = np.cross(np.eye(3), rig.translation.ravel())
    fundamental = k2.T @ cross @ rig.rotation @ k1
    lines, back = left @ fundamental.T, right @ fundamental
    size = np.sqrt((lines[:, :2] ** 2).sum(axis=1) + (back[:, :2] ** 2).sum(axis=1))
    a, b = left @ k1.T, right @ k2.T @ rig.rotation
    disparity = (a[:, 0] - b[:, 0] / b[:, 2]) * rig.left[0][0, 0]
    behind = min(float(np.percentile(disparity, 2)), 0.0)
    return np.append((right * lines).sum(axis=1) / size, behind)
