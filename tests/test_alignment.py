"""Check, alignment and range shift, on rendered pairs whose disturbance is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from crestereo.alignment import (
    Matches,
    Verdict,
    align_pair,
    check,
    check_pair,
    choose_shift,
    plan_alignment,
)
from crestereo.alignment.check import REACH_SHARE
from crestereo.alignment.epipolar import AlignmentModel, choose_model, transform
from crestereo.errors import SourceError, UsageError
from crestereo.types import BGRImage
from tools.lib.flicker import compressed_h264
from tools.lib.moving_scene import Stage, texture

SIZE = (300, 400)


def pair(seed: int = 1) -> tuple[BGRImage, BGRImage, NDArray[np.float32]]:
    stage = Stage(seed, SIZE)
    left, disparity = stage.view(False)
    return left, stage.view(True)[0], disparity


def moved(picture: BGRImage, homography: NDArray[np.float64]) -> BGRImage:
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(cv2.warpPerspective(picture, homography, size, flags=cv2.INTER_CUBIC))


def turned(degrees: float, zoom: float, down_px: float) -> NDArray[np.float64]:
    rows = cv2.getRotationMatrix2D((SIZE[1] / 2, SIZE[0] / 2), degrees, zoom)
    rows[1, 2] += down_px
    return np.vstack([rows, [0, 0, 1]])


def test_a_rectified_pair_is_left_alone() -> None:
    left, right, _ = pair()
    aligned = align_pair(left, right)
    assert aligned.plan.check.verdict is Verdict.RECTIFIED
    assert aligned.left is left
    assert aligned.right is right
    disparity = np.zeros(SIZE, np.float32)
    assert aligned.restore(disparity) is disparity
    assert aligned.plan.check.disparity_range[0] == pytest.approx(6, abs=0.6)
    assert aligned.plan.check.disparity_range[1] == pytest.approx(24, abs=1.5)


@pytest.mark.parametrize(
    ("degrees", "zoom", "down"), [(3, 1.04, 15), (-3, 0.96, -15), (0.5, 1.0, 4), (0, 1.0, 12)]
)
def test_roll_zoom_and_shift_are_found_and_mended(degrees: float, zoom: float, down: float) -> None:
    left, right, truth = pair()
    homography = turned(degrees, zoom, down)
    aligned = align_pair(left, moved(right, homography))
    check = aligned.plan.check
    assert check.verdict is Verdict.ALIGNED
    assert check.roll_deg == pytest.approx(-degrees, abs=0.25)  # OpenCV turns anticlockwise
    assert check.zoom == pytest.approx(zoom, abs=0.006)
    assert check.residual_px < 0.4
    rows, columns = np.mgrid[0 : SIZE[0] : 20, 0 : SIZE[1] : 20]
    left_points = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float)
    right_points = left_points - [[1, 0]] * truth[rows.ravel(), columns.ravel()][:, None]
    found = transform(check.model.right_homography(SIZE), transform(homography, right_points))
    assert np.percentile(np.abs(found[:, 1] - left_points[:, 1]), 95) < 0.8


def test_the_restored_disparity_is_that_of_the_left_picture() -> None:
    left, right, truth = pair()
    aligned = align_pair(left, moved(right, turned(2, 1.02, 10)))
    canvas_truth = truth - aligned.plan.shift_px
    restored = aligned.restore(canvas_truth)
    known = np.isfinite(restored)
    assert 0.6 < known.mean() < 1.0  # what the turned camera did not see is unknown
    np.testing.assert_allclose(restored[known], truth[known], atol=1e-4)
    with pytest.raises(UsageError, match="give the map of the aligned pair"):
        aligned.restore(np.zeros((7, 7), np.float32))


def test_negative_disparities_are_moved_up_and_back() -> None:
    left, right, truth = pair()
    converged = np.roll(right, 15, axis=1)  # disparities are smaller by 15 now: -9 to 9
    aligned = align_pair(left, converged)
    assert aligned.plan.check.verdict is Verdict.RECTIFIED
    shift = aligned.plan.shift_px
    assert -27 < shift < -13  # the smallest, and a margin of half the range and a hundredth
    assert aligned.left.shape == aligned.right.shape == (SIZE[0], SIZE[1] - shift, 3)
    # A pixel of the canvas and its partner show the same: the truth plus the shift joins them.
    rows, columns = np.mgrid[50:250:10, 120:350:10]
    d = np.rint(truth[rows, columns]).astype(int) - 15
    a = aligned.left[rows, columns - shift].astype(int)
    b = aligned.right[rows, columns - shift - (d - shift)].astype(int)
    assert np.median(np.abs(a - b)) < 3
    canvas = np.full(aligned.left.shape[:2], 5, np.float32)
    assert aligned.restore(canvas).shape == SIZE
    assert (aligned.restore(canvas) == 5 + shift).all()


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(2, 60, 0), (-0.3, 60, 0), (np.nan, np.nan, 0), (88, 153, 49), (60, 190, 0)],
)
def test_the_shift_follows_the_range(low: float, high: float, wanted: int) -> None:
    assert choose_shift((low, high), 640) == wanted
    if wanted == 0:
        assert choose_shift((low - 60, high), 640) <= (low - 60 if np.isfinite(low) else 0)


def test_a_video_is_never_moved_towards_a_near_thing() -> None:
    left, right, _ = pair()
    close = np.full_like(right, 128)
    close[:, :-60] = right[:, 60:]  # all disparities are larger by 60
    check = check_pair(left, close)
    assert plan_alignment(check).shift_px > 30
    assert plan_alignment(check, still=False).does_nothing
    far = check_pair(left, np.roll(right, 15, axis=1))
    assert plan_alignment(far, still=False).shift_px == plan_alignment(far).shift_px < 0


@pytest.mark.parametrize("columns", [15, -60])
def test_whole_pixels_are_moved_as_a_warp_would(columns: int) -> None:
    left, right, _ = pair()
    plan = align_pair(left, np.roll(right, columns, axis=1)).plan
    size, border = (plan.canvas[1], plan.canvas[0]), cv2.BORDER_REPLICATE
    maps = (plan.left_homography, plan.right_homography)
    for moved_one, picture, homography in zip(
        plan.apply(left, right), (left, right), maps, strict=True
    ):
        warped = cv2.warpPerspective(picture, homography, size, borderMode=border)
        np.testing.assert_array_equal(moved_one, warped)


def test_dark_pictures_are_not_taken_for_one_picture_twice() -> None:
    left, right, _ = pair()
    dark = [np.asarray(cv2.convertScaleAbs(p, alpha=0.07), np.uint8) for p in (left, right)]
    assert check_pair(*dark).verdict is not Verdict.SAME
    assert check_pair(dark[0], dark[0].copy()).verdict is Verdict.SAME


def test_a_turned_picture_is_not_zoomed() -> None:
    left, right, _ = pair()
    check = check_pair(left, moved(right, turned(15, 1.0, 0)))
    assert check.zoom == pytest.approx(1, abs=0.01)


def test_both_pictures_are_warped_where_one_is_not_enough() -> None:
    rng = np.random.default_rng(0)
    shape = (480, 640)
    tilted = AlignmentModel((0.01, -0.1, 1.0, 0.06, 0.0, -0.11, 0.07))
    aligned_left = rng.uniform([40, 40], [600, 440], (300, 2))
    aligned_right = aligned_left - np.stack([rng.uniform(5, 90, 300), np.zeros(300)], axis=1)
    left = transform(np.linalg.inv(tilted.left_homography(shape)), aligned_left)
    right = transform(np.linalg.inv(tilted.right_homography(shape)), aligned_right)
    model = choose_model(left, right, shape)
    assert model.moves_left
    rows = [
        transform(model.left_homography(shape), left)[:, 1],
        transform(model.right_homography(shape), right)[:, 1],
    ]
    assert np.percentile(np.abs(rows[0] - rows[1]), 95) < 0.5


def test_too_few_matches_fit_a_short_model_only() -> None:
    rng = np.random.default_rng(1)
    left = rng.uniform([200, 200], [260, 240], (20, 2))  # all in one spot
    right = left - [30, 4] + rng.normal(0, 0.3, (20, 2))
    model = choose_model(left, right, (480, 640))
    corners = np.array([[0, 0], [640, 0], [0, 480], [640, 480.0]])
    moves = transform(model.right_homography((480, 640)), corners) - corners
    assert np.abs(moves[:, 1] - 4).max() < 12  # no wild warp far from the matches


def bad_pairs() -> dict[str, tuple[BGRImage, BGRImage, set[Verdict]]]:
    left, right, _ = pair()
    grey = np.full((*SIZE, 3), 90, np.uint8)
    noise = np.random.default_rng(0).integers(88, 93, (*SIZE, 3)).astype(np.uint8)
    tiny = np.ascontiguousarray(left[:5, :7])
    none = {Verdict.UNKNOWN, Verdict.UNRELATED}
    return {
        "unrelated": (left, texture(99, *SIZE), {Verdict.UNRELATED}),
        "identical": (left, left.copy(), {Verdict.SAME}),
        "blank": (grey, grey.copy(), {Verdict.UNKNOWN}),
        "nearly blank": (noise, grey, {Verdict.UNKNOWN}),
        "one blank": (left, grey, none),
        "tiny": (tiny, tiny[::-1].copy(), none),
        "one pixel": (left[:1, :1].copy(), right[9:10, 9:10].copy(), none),
        "upside down": (left, np.ascontiguousarray(left[::-1, ::-1]), none),
    }


@pytest.mark.parametrize("name", list(bad_pairs()))
def test_bad_input_gets_a_verdict_and_is_not_touched(name: str) -> None:
    left, right, verdicts = bad_pairs()[name]
    check = check_pair(left, right)
    assert check.verdict in verdicts
    assert str(check).startswith(check.verdict.value)
    plan = plan_alignment(check)
    assert plan.does_nothing
    assert plan.apply(left, right)[1] is right


def test_a_huge_pair_is_looked_at_on_a_small_copy() -> None:
    left, right, _ = pair()
    big = [cv2.resize(p, (4000, 3000), interpolation=cv2.INTER_LINEAR) for p in (left, right)]
    check = check_pair(np.asarray(big[0]), np.asarray(big[1]))
    assert check.verdict is Verdict.RECTIFIED
    assert check.disparity_range[0] == pytest.approx(60, abs=8)


def test_the_line_tells_what_was_found() -> None:
    left, right, _ = pair()
    bright = np.asarray(np.clip(moved(right, turned(0, 1, 9)).astype(int) + 20, 0, 255), np.uint8)
    line = str(check_pair(left, bright))
    assert line.startswith("aligned: ")
    for part in ("matches", "vertical offset 9", "roll", "zoom", "disparity 6 to", "brightness +"):
        assert part in line


def test_what_is_no_picture_is_an_error() -> None:
    left, _, _ = pair()
    with pytest.raises(UsageError, match="right image is None"):
        align_pair(left, None)  # type: ignore[arg-type]


def test_a_map_of_another_size_cannot_be_restored() -> None:
    left, right, _ = pair()
    plan = plan_alignment(check_pair(left, right))
    assert plan.does_nothing
    small = np.zeros((3, 3), np.float32)
    with pytest.raises(UsageError, match="3x3"):
        plan.restore(small)


def test_pictures_of_different_size_are_an_error() -> None:
    left, right, _ = pair()
    with pytest.raises(SourceError, match=r"400x300.*390x300"):
        check_pair(left, right[:, :390])
    plan = align_pair(left, right).plan
    with pytest.raises(SourceError, match="390x300"):
        plan.apply(left, right[:, :390])


def test_a_close_up_is_moved_no_farther_than_its_far_parts_allow() -> None:
    left, right, truth = pair()
    close = np.full_like(right, 128)
    close[:, :-60] = right[:, 60:]  # all disparities are larger by 60 now: 66 to 84
    aligned = align_pair(left, close)
    assert 45 < aligned.plan.shift_px < 66
    assert aligned.left.shape == left.shape
    disparity = truth + 60 - aligned.plan.shift_px
    np.testing.assert_allclose(aligned.restore(disparity), truth + 60, atol=1e-4)


def turned_pairs() -> dict[str, tuple[BGRImage, BGRImage, str]]:
    left, right, _ = pair()
    square = [view[:, 50:350] for view in (left, right)]
    return {
        "as it should be": (left, right, "UPRIGHT"),
        "right mirrored": (left, right[:, ::-1], "MIRRORED"),
        "left mirrored": (left[:, ::-1], right, "LEFT_MIRRORED"),
        "right upside down": (left, right[::-1, ::-1], "UPSIDE_DOWN"),
        "left upside down": (left[::-1, ::-1], right, "LEFT_UPSIDE_DOWN"),
        "right flipped": (left, right[::-1], "FLIPPED"),
        "right turned anticlockwise": (square[0], np.rot90(square[1]), "TURNED_LEFT"),
        "right turned clockwise": (square[0], np.rot90(square[1], 3), "TURNED_RIGHT"),
        "upper and lower": (np.rot90(left), np.rot90(right), "UPPER_FIRST"),
        "lower and upper": (np.rot90(left, 3), np.rot90(right, 3), "LOWER_FIRST"),
    }


@pytest.mark.parametrize("name", list(turned_pairs()))
def test_turned_and_mirrored_pairs_are_recognized_and_undone(name: str) -> None:
    # given a pair of which one or both images are turned or mirrored
    left, right, orientation = turned_pairs()[name]
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    # when it is aligned, and the network finds a gradient
    aligned = align_pair(left, right)
    # then the orientation is found, disparities are positive, and the map is on the left grid
    assert aligned.plan is not None
    assert aligned.plan.check.model.orientation.name == orientation
    assert aligned.plan.check.disparity_range[0] == pytest.approx(6, abs=1.5)
    restored = aligned.restore(np.full(aligned.left.shape[:2], 9, np.float32))
    assert restored.shape == left.shape[:2]
    assert np.nanmedian(restored) == 9 + aligned.plan.shift_px


def test_small_disparities_are_not_taken_for_a_turned_pair() -> None:
    # given thumbnails whose disparities are from 1 to 4 px, which other orientations fit too
    left, right, _ = pair()
    small = [cv2.resize(v, (96, 72), interpolation=cv2.INTER_AREA) for v in (left, right)]
    check = check_pair(np.asarray(small[0]), np.asarray(small[1]), turned=True)
    # then the pair is upright
    assert check.model.orientation.name == "UPRIGHT"


def test_a_residual_vertical_disparity_is_removed_without_touching_columns() -> None:
    # given a rectified pair whose right image is lower by 0.2 px
    left, right, truth = pair()
    lower = moved(right, np.array([[1, 0, 0], [0, 1, 0.2], [0, 0, 1.0]]))
    aligned = align_pair(left, lower)
    assert aligned.plan is not None
    assert aligned.plan.check.verdict is Verdict.RECTIFIED
    # then the rows meet to 0.1 px, and a disparity is restored unchanged and everywhere
    model = aligned.plan.check.model
    points = np.array([[10, 10], [390, 10], [200, 150], [10, 290], [390, 290.0]])
    found = transform(model.right_homography(SIZE), points)
    np.testing.assert_allclose(found[:, 1], points[:, 1] - 0.2, atol=0.1)
    np.testing.assert_allclose(found[:, 0], points[:, 0], atol=1e-9)
    assert aligned.left is left
    np.testing.assert_array_equal(aligned.restore(truth), truth)


@pytest.mark.parametrize(("low", "high"), [(0.38, 0.54), (0.02, 0.45), (-0.05, 0.35), (0.3, 0.6)])
def test_near_parts_are_moved_into_the_networks_reach(low: float, high: float) -> None:
    shift = choose_shift((640 * low, 640 * high), 640) / 640
    assert shift <= low - 0.009  # the farthest parts are kept
    assert shift >= min(high - REACH_SHARE, low - 0.02)  # and the nearest are in reach, if both can


def test_a_close_up_of_large_disparities_is_found_by_the_whole_width() -> None:
    # given a pair all of whose disparities are a third of the width
    left, right, _ = pair()
    close = np.full_like(right, 128)
    close[:, :-120] = right[:, 120:]
    check = check_pair(left, close)
    # then the range is found
    assert check.disparity_range == pytest.approx((126, 144), abs=3)


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 0), (0.7, 50), (1.3, -20)])
def test_the_range_holds_for_images_of_different_exposure(gain: float, offset: float) -> None:
    # given a pair with disparities of 20 to 60 px, the right image darker or brighter
    wide = texture(11, 300, 520)
    left, right = wide[:, 20:420].copy(), wide[:, 40:440].copy()
    left[100:200, 150:260] = wide[100:200, 270:380]
    right[100:200, 90:200] = wide[100:200, 270:380]
    exposed = np.clip(right * gain + offset, 0, 255).astype(np.uint8)
    # then the range is that of the pair
    assert check_pair(left, exposed).disparity_range == pytest.approx((20, 60), abs=4)


def test_a_turn_needs_nearly_all_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a repeated pattern: mistakes fit neither the rows nor, fewer of them, the columns."""
    rng = np.random.default_rng(4)
    points = rng.uniform(60, 240, (200, 2))
    apart = np.tile([40.0, 0.0], (200, 1)) + rng.normal(0, 0.2, (200, 2))
    apart[:60, 1] += 25
    apart[30:60, 0] -= 20
    found = Matches(points, points - apart, (400, 400), 300)
    monkeypatch.setattr(check, "match_copies", lambda *_, **__: found)
    left, right, _ = pair()
    assert check_pair(left, right, turned=True).verdict is Verdict.UNRELATED


@pytest.mark.parametrize(("down_px", "verdict"), [(0, Verdict.RECTIFIED), (3, Verdict.ALIGNED)])
def test_compression_alone_makes_no_pair_misaligned(down_px: int, verdict: Verdict) -> None:
    left, right, _ = pair(5)
    lower = np.roll(right, down_px, axis=0)
    views = [compressed_h264([view], crf=34)[0] for view in (left, lower)]
    assert check_pair(*views).verdict is verdict
