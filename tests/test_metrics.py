"""The measures, against cases worked by hand and against published definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crestereo.errors import UsageError
from crestereo.geometry import fill_from_background
from tools.lib import metrics
from tools.lib.metrics import area_under_curve, calibration_error, sparsification_curve

NAN = float("nan")
INF = float("inf")


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


# Errors of the five pixels, by hand: 0, 1, 2, 4, unknown; the sixth has no truth.
TRUTH = row(10, 10, 10, 100, 10, INF)
ESTIMATE = row(10, 11, 8, 104, NAN, 50)


def test_end_point_error_is_the_mean_over_estimated_pixels() -> None:
    # (0 + 1 + 2 + 4) / 4
    assert metrics.end_point_error(ESTIMATE, TRUTH) == pytest.approx(1.75)


def test_root_mean_square() -> None:
    # sqrt((0 + 1 + 4 + 16) / 4) = sqrt(5.25)
    assert metrics.root_mean_square(ESTIMATE, TRUTH) == pytest.approx(5.25**0.5)


@pytest.mark.parametrize(
    ("threshold", "wrong", "ignored"),
    [
        (0.5, 4 / 5, 3 / 4),  # 1, 2, 4 and, if it counts, the unknown one
        (1.0, 3 / 5, 2 / 4),  # an error of exactly 1 is not bad
        (2.0, 2 / 5, 1 / 4),
        (4.0, 1 / 5, 0 / 4),  # exactly 4 is not bad: only the unknown one is left
    ],
)
def test_bad_rate_both_ways(threshold: float, wrong: float, ignored: float) -> None:
    assert metrics.bad_rate(ESTIMATE, TRUTH, threshold) == pytest.approx(wrong)
    rate = metrics.bad_rate(ESTIMATE, TRUTH, threshold, unknown="ignored")
    assert rate == pytest.approx(ignored)


def test_bad_rate_agrees_with_middleburys_evaluation_code() -> None:
    """Total bad = bad % + invalid %, both of the same pixels, as evaldisp prints them."""
    rng = np.random.default_rng(5)
    ground_truth = rng.uniform(0, 60, (40, 50)).astype(np.float32)
    estimate = (ground_truth + rng.normal(0, 2, ground_truth.shape)).astype(np.float32)
    estimate[rng.random(ground_truth.shape) < 0.2] = NAN
    mask = rng.random(ground_truth.shape) < 0.7
    pixels = bad = invalid = 0
    total = 0.0
    for y, x in zip(*np.nonzero(mask), strict=True):  # the loop of evaldisp, pixel by pixel
        pixels += 1
        if not math.isfinite(estimate[y, x]):
            invalid += 1
            continue
        error = abs(float(estimate[y, x]) - float(ground_truth[y, x]))
        total += error
        bad += error > 2.0
    result = metrics.score(estimate, ground_truth, mask)
    assert result.pixels == pixels
    assert result.bad[2.0] == pytest.approx((bad + invalid) / pixels)
    assert result.density == pytest.approx(1 - invalid / pixels)
    assert result.epe_px == pytest.approx(total / (pixels - invalid))


@pytest.mark.parametrize(
    ("error", "ground_truth", "outlier"),
    [
        (2.9, 10.0, False),  # 29 % but not above 3 px
        (3.5, 10.0, True),
        (4.0, 100.0, False),  # above 3 px but only 4 %
        (5.5, 100.0, True),
        (3.0, 10.0, False),  # exactly 3 px is allowed
        (5.0, 100.0, False),  # exactly 5 % is allowed
    ],
)
def test_d1_needs_both_conditions(error: float, ground_truth: float, outlier: bool) -> None:
    """KITTI 2015: a pixel is right when its error is at most 3 px or at most 5 %."""
    assert metrics.d1_rate(row(ground_truth + error), row(ground_truth)) == float(outlier)


def test_d1_counts_unknown_estimates_as_asked() -> None:
    # 104 for 100 is 4 px but 4 %; so only the unknown pixel of five is wrong
    assert metrics.d1_rate(ESTIMATE, TRUTH) == pytest.approx(1 / 5)
    assert metrics.d1_rate(ESTIMATE, TRUTH, unknown="ignored") == 0


def test_quantiles_are_errors_that_occur() -> None:
    # errors 0, 1, 2, 4, inf: at least half are <= 2, at least 90 % only <= inf
    assert metrics.error_quantile(ESTIMATE, TRUTH, 0.5) == 2
    assert metrics.error_quantile(ESTIMATE, TRUTH, 0.9) == INF
    # errors 0, 1, 2, 4: half of four pixels is two, so 1; 90 % needs all four
    assert metrics.error_quantile(ESTIMATE, TRUTH, 0.5, unknown="ignored") == 1
    assert metrics.error_quantile(ESTIMATE, TRUTH, 0.9, unknown="ignored") == 4


def test_quantiles_of_a_hundred_known_errors() -> None:
    # errors 1..100 in any order: A50 = 50, A90 = 90, A99 = 99
    errors = np.random.default_rng(0).permutation(np.arange(1, 101)).astype(np.float32)
    result = metrics.score(errors[None], np.zeros((1, 100), np.float32))
    assert (result.a50_px, result.a90_px, result.a99_px) == (50, 90, 99)


def test_density() -> None:
    assert metrics.density(ESTIMATE, TRUTH) == pytest.approx(4 / 5)


def test_region_restricts_every_figure() -> None:
    region = np.array([[True, True, False, False, False, True]])
    result = metrics.score(ESTIMATE, TRUTH, region)
    assert result.pixels == 2  # errors 0 and 1; the last pixel has no ground truth
    assert result.epe_px == pytest.approx(0.5)
    assert result.bad[0.5] == pytest.approx(0.5)


def test_score_is_made_of_the_single_measures() -> None:
    result = metrics.score(ESTIMATE, TRUTH, unknown="ignored")
    assert result.pixels == 4
    assert result.density == pytest.approx(0.8)
    assert result.bad[1.0] == pytest.approx(0.5)
    assert result.rms_px == pytest.approx(5.25**0.5)
    assert result.a90_px == 4
    assert result.d1 == 0


def test_a_perfect_estimate_has_no_error() -> None:
    ground_truth = np.linspace(0, 50, 600, dtype=np.float32).reshape(20, 30)
    result = metrics.score(ground_truth, ground_truth)
    assert (result.epe_px, result.rms_px, result.d1, result.a99_px) == (0, 0, 0, 0)
    assert set(result.bad.values()) == {0.0}
    assert result.density == 1


def test_an_estimate_that_knows_nothing_is_all_wrong() -> None:
    result = metrics.score(np.full_like(TRUTH, NAN), TRUTH)
    assert result.bad[4.0] == 1
    assert result.density == 0
    assert math.isnan(result.epe_px)


def test_errors_scale_with_the_image() -> None:
    """Twice the width, twice the disparities, twice the mean error."""
    rng = np.random.default_rng(1)
    ground_truth = rng.uniform(1, 40, (8, 9)).astype(np.float32)
    estimate = ground_truth + rng.normal(0, 1, ground_truth.shape).astype(np.float32)
    once = metrics.end_point_error(estimate, ground_truth)
    assert metrics.end_point_error(2 * estimate, 2 * ground_truth) == pytest.approx(2 * once)


def test_shapes_must_agree() -> None:
    with pytest.raises(UsageError, match="resize"):
        metrics.score(np.zeros((2, 3), np.float32), TRUTH)
    with pytest.raises(UsageError, match="one shape"):
        metrics.score(ESTIMATE, TRUTH, np.ones((2, 2), bool))


def test_a_region_is_a_mask() -> None:
    with pytest.raises(UsageError, match="booleans, not of uint8"):
        metrics.bad_rate(ESTIMATE, TRUTH, 1, np.ones(TRUTH.shape, np.uint8))  # type: ignore[arg-type]


def test_a_misspelt_way_of_counting_is_refused() -> None:
    for measure in (metrics.score, metrics.d1_rate):
        with pytest.raises(UsageError, match="one of wrong, ignored, not 'Wrong'"):
            measure(ESTIMATE, TRUTH, unknown="Wrong")  # type: ignore[operator]


def test_truth_without_pixels_is_refused() -> None:
    with pytest.raises(UsageError, match="no known pixel"):
        metrics.score(ESTIMATE, np.full_like(TRUTH, INF))


def test_weighted_mean() -> None:
    # (1 * 10 + 0.5 * 40) / 1.5
    assert metrics.weighted_mean([10, 40], [1, 0.5]) == pytest.approx(20)
    with pytest.raises(UsageError):
        metrics.weighted_mean([1.0], [0.0])
    with pytest.raises(UsageError):
        metrics.weighted_mean([1.0, 2.0], [1.0])


def test_filling_takes_the_smaller_neighbour_along_the_row() -> None:
    # KITTI: a hole between 5 and 3 is background, 3; at the border the only neighbour counts
    holes = row(NAN, 5, NAN, NAN, 3, NAN)
    np.testing.assert_array_equal(fill_from_background(holes), row(5, 5, 3, 3, 3, 3))


def test_filling_empty_rows_from_above_and_below() -> None:
    holes = np.array([[NAN, NAN], [4, 6], [NAN, NAN], [2, 8], [NAN, NAN]], np.float32)
    wanted = [[4, 6], [4, 6], [2, 6], [2, 8], [2, 8]]
    np.testing.assert_array_equal(fill_from_background(holes), wanted)


def test_filling_changes_no_known_pixel_and_leaves_no_hole() -> None:
    rng = np.random.default_rng(2)
    disparity = rng.uniform(0, 9, (30, 40)).astype(np.float32)
    holes = np.where(rng.random(disparity.shape) < 0.5, disparity, np.float32(INF))
    filled = fill_from_background(holes)
    np.testing.assert_array_equal(filled[np.isfinite(holes)], holes[np.isfinite(holes)])
    assert np.isfinite(filled).all()
    assert np.isnan(fill_from_background(np.full((3, 4), NAN, np.float32))).all()


def test_sparsification_of_four_pixels() -> None:
    # surest first: right, wrong, right, wrong -> 0/1, 1/2, 1/3, 2/4
    wrong = np.array([True, False, True, False])
    confidence = np.array([0.7, 0.9, 0.1, 0.4], np.float32)
    shares, rates = sparsification_curve(wrong, confidence, points=4)
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(rates, [0, 1 / 2, 1 / 3, 1 / 2])
    # mean height of the four steps
    assert area_under_curve(shares, rates) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_equal_confidence_keeps_the_mean_whatever_the_order() -> None:
    wrong = np.r_[np.ones(30), np.zeros(70)]
    _, rates = sparsification_curve(wrong, np.full(100, 0.5, np.float32))
    np.testing.assert_allclose(rates, 0.3)


def test_the_best_possible_area() -> None:
    """Hu and Mordohai: a perfect confidence leaves m + (1 - m) ln(1 - m) for a bad rate m."""
    wrong = np.zeros(20000)
    wrong[:5000] = 1
    confidence = np.where(wrong > 0, 0.1, 0.9).astype(np.float32)
    area = area_under_curve(*sparsification_curve(wrong, confidence, points=2000))
    assert area == pytest.approx(0.25 + 0.75 * math.log(0.75), abs=1e-3)


def test_sparsification_needs_matching_arrays() -> None:
    with pytest.raises(UsageError):
        sparsification_curve(np.zeros(3), np.zeros(4, np.float32))


def test_calibration_error_by_hand() -> None:
    # bin 0.9..1: four pixels of 0.95, three right: |0.95 - 0.75|; bin 0.2..0.3: one of 0.25, wrong
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.25], np.float32)
    right = np.array([True, True, True, False, False])
    expected = (4 * 0.2 + 1 * 0.25) / 5
    assert calibration_error(right, confidence) == pytest.approx(expected, abs=1e-6)


def test_an_honest_confidence_is_calibrated() -> None:
    rng = np.random.default_rng(3)
    confidence = rng.random(200_000).astype(np.float32)
    right = rng.random(confidence.size) < confidence
    assert calibration_error(right, confidence) < 0.01
    assert calibration_error(right, np.ones_like(confidence)) == pytest.approx(0.5, abs=0.01)


def test_calibration_needs_matching_arrays() -> None:
    with pytest.raises(UsageError):
        calibration_error(np.zeros(3, bool), np.zeros(4, np.float32))
