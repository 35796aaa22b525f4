"""tools/failure_cases.py: exact ground truth of its pairs, and the figures that it prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.errors import UsageError
from crestereo.formats import read_image
from tests.tiny_models import lite_model
from tools import failure_cases
from tools.lib import hard_cases
from tools.lib.datasets import seen_by_both
from tools.lib.hard_cases import CASES, HEIGHT, HORIZON, WALL_PX, WIDTH, HardCase


def warped_right(case: HardCase) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return cv2.remap(case.pair.right, x - case.ground_truth, y, interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_truth_is_complete_and_deterministic(make: Callable[[], HardCase]) -> None:
    case, again = make(), make()
    assert case.ground_truth.shape == case.pair.left.shape[:2] == (HEIGHT, WIDTH)
    assert np.isfinite(case.ground_truth).all()
    assert case.ground_truth.min() > 0 and case.ground_truth.max() < hard_cases.MARGIN_PX
    np.testing.assert_array_equal(case.pair.right, again.pair.right)


@pytest.mark.parametrize("make", [hard_cases.repeated_texture, hard_cases.thin_structures])
def test_the_right_image_moved_by_the_truth_is_the_left_one(make: Callable[[], HardCase]) -> None:
    case = make()
    # two pixels away from any edge, where linear sampling would mix two surfaces
    inside = (
        cv2.erode(seen_by_both(case.ground_truth).astype(np.uint8), np.ones((1, 5), np.uint8)) > 0
    )
    edges = (
        cv2.dilate(case.ground_truth, np.ones((5, 5)))
        - cv2.erode(case.ground_truth, np.ones((5, 5)))
        > 2
    )
    difference = np.abs(warped_right(case).astype(float) - case.pair.left)[inside & ~edges]
    assert difference.mean() < 2.5  # the noise of two views: 1.5 * sqrt(2) * 0.8 and a blur
    assert (inside & ~edges).mean() > 0.5


def test_a_mirror_shows_what_lies_behind_the_wall() -> None:
    case = hard_cases.mirror()
    glass = (slice(60, 160), slice(200, 300))
    assert np.all(case.ground_truth[glass] == WALL_PX)
    rows, columns = glass
    left = case.pair.left[glass].astype(float)
    errors = {
        d: np.abs(case.pair.right[rows, columns.start - d : columns.stop - d] - left).mean()
        for d in range(20)
    }
    assert min(errors, key=lambda d: errors[d]) == 3  # a matcher must see the reflection


def test_glass_has_its_own_truth_and_shows_the_wall() -> None:
    case = hard_cases.see_through()
    assert case.ground_truth[120, 250] == 34
    assert np.all(case.ground_truth[:50, 150:350] == WALL_PX)


def test_the_floor_comes_nearer_from_row_to_row() -> None:
    ground_truth = hard_cases.thin_structures().ground_truth[HORIZON:, 10]
    assert np.all(np.diff(ground_truth[1:]) > 0)


def test_the_tool_prints_and_draws_every_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = lite_model(tmp_path / "constant.onnx", weights=(0, 0, 0))
    words = ["--model-version", "none", "--model-path", str(network), "--iters", "12"]
    image = tmp_path / "cases.jpg"
    assert failure_cases.main([*words, "--plot", str(image)]) == 0
    out = capsys.readouterr().out
    for make in CASES:
        assert f"| {make().name} " in out
    assert "constant, 12 it: EPE" in out and "SGBM: bad-2" in out
    assert read_image(image).shape[1] > 1000
    with pytest.raises(UsageError, match="exists already"):
        failure_cases.main([*words, "--plot", str(image)])


def test_a_chart_of_an_unknown_format_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.txt ends in none of"):
        failure_cases.main(["--plot", str(tmp_path / "x.txt")])


def test_too_many_maps_do_not_fit(tmp_path: Path) -> None:
    network = lite_model(tmp_path / "constant.onnx", weights=(0, 0, 0))
    words = ["--model-version", "none", "--model-path", str(network), "--iters", "1,2,3,4"]
    with pytest.raises(UsageError, match="room for 4"):
        failure_cases.main([*words, "--plot", str(tmp_path / "cases.jpg")])
