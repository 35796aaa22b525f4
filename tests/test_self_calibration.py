"""Rotation and zoom between two cameras, against the cameras that made the matches."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from crestereo.alignment import Matches
from crestereo.errors import UsageError
from crestereo.self_calibration import self_calibrate

SHAPE = (480, 640)
FOCAL = 560.0


def matches(rng, angles=(0.4, 3.0, 2.0), zoom=1.03, count=300, wrong=0):
    """Project points 1 to 8 m away into both cameras, 65 mm apart."""
    matrix = np.array([[FOCAL, 0, 319.5], [0, FOCAL, 239.5], [0, 0, 1]])
    turn = cv2.Rodrigues(np.radians(angles))[0]
    points = rng.uniform([-0.5, -0.4, 1], [0.5, 0.4, 1], (count, 3))
    points *= rng.uniform(1, 8, (count, 1))
    seen = (points - [0.065, 0, 0]) @ turn.T @ (matrix @ np.diag([zoom, zoom, 1])).T
    left = points @ matrix.T
    left, right = (each[:, :2] / each[:, 2:] for each in (left, seen))
    noisy = [each + rng.normal(0, 0.3, each.shape) for each in (left, right)]
    noisy[1][:wrong] += rng.normal(0, 5, (wrong, 2))
    return Matches(*noisy, (count, count), count), left, right


@pytest.mark.parametrize("wrong", [0, 60])
def test_rotation_and_zoom_are_found(wrong: int) -> None:
    rng = np.random.default_rng(1)
    found = self_calibrate([matches(rng, wrong=wrong)[0] for _ in range(8)], SHAPE)
    pitch, _, roll = found.angles_deg  # yaw depends on the focal length, which is a guess
    assert (pitch, roll) == pytest.approx((0.4, 2.0), abs=0.15)
    assert found.zoom == pytest.approx(1.03, abs=0.003)
    assert not found.problem
    _, left, right = matches(rng)
    before = np.percentile(np.abs(left - right)[:, 1], 95)
    after = np.percentile(np.abs(found.rig.rectified_rows(left, right)), 95)
    assert before > 8
    assert after < 0.3
    assert np.linalg.norm(found.rig.translation) == pytest.approx(1)


def test_a_rig_that_moved_is_a_problem() -> None:
    rng = np.random.default_rng(2)
    angles = [(pitch, 3.0, roll) for pitch, roll in rng.uniform(-2, 2, (8, 2))]
    found = self_calibrate([matches(rng, each)[0] for each in angles], SHAPE)
    assert "moved between the pairs" in found.problem


def test_pairs_without_matches_are_refused() -> None:
    rng = np.random.default_rng(3)
    few = [matches(rng, count=10)[0] for _ in range(5)]
    with pytest.raises(UsageError, match="0 of 5 pairs have enough matches, 4 are needed"):
        self_calibrate(few, SHAPE)
