"""Temporal filter: less flicker where nothing changes, no delay where something does."""

import numpy as np

from crestereo.steady import Steady
from crestereo.types import DisparityMap
from tools.lib.flicker import errors, flicker
from tools.lib.moving_scene import Stage, texture, with_noise

SIZE = (120, 160)


def test_noise_of_a_still_scene_is_halved_and_jumps_are_held() -> None:
    # given a still scene whose disparity has noise, and a patch that jumps to and fro
    rng = np.random.default_rng(3)
    image, truth = Stage(1, SIZE).view(False)
    raw, filtered, steady = [], [], Steady()
    for number in range(20):
        found = (truth + rng.normal(0, 0.15, SIZE)).astype(np.float32)
        found[40:60, 40:60] += 4 * (number % 3 == 0)
        raw.append(found)
        filtered.append(steady.update(with_noise(image, rng), found))
    # then noise falls to a half (variance a / (2 - a) of an EMA) and jumps nearly vanish
    (change, jumps), (calm, left) = flicker(raw), flicker(filtered)
    assert calm < change / 2
    assert jumps > 1
    assert left < 0.1


def test_things_that_move_leave_no_ghost() -> None:
    # given cards that cross a wall, with a perfect disparity
    stage, steady = Stage(2, SIZE), Steady()
    speed = np.array([[3.0, 1.0], [-3.0, 0.5], [2.0, -1.0], [-2.0, 0.0]])
    found: list[DisparityMap] = []
    truth: list[DisparityMap] = []
    for number in range(12):
        image, disparity = stage.view(False, moved=speed * number)
        truth.append(disparity)
        found.append(steady.update(image, disparity))
    # then what was uncovered is right within a twentieth of the step between card and wall
    every, uncovered = errors(found, truth)
    assert every < 0.05
    assert uncovered < 0.2


def test_a_surface_that_comes_near_is_not_delayed() -> None:
    steady, image = Steady(), texture(1, *SIZE)
    for number in range(12):
        moved = np.roll(image, 2 * number, axis=1)
        disparity = np.full(SIZE, 10 + 0.3 * number, np.float32)
        found = steady.update(moved, disparity)
    assert abs(float(np.median(found)) - float(disparity[0, 0])) < 0.05


def test_a_cut_and_another_size_start_again() -> None:
    steady = Steady()
    for seed, size, cut in (
        (1, SIZE, False),
        (1, SIZE, False),
        (2, SIZE, True),
        (2, (60, 80), True),
    ):
        disparity = np.full(size, 10.0 * seed, np.float32)
        assert np.array_equal(steady.update(texture(seed, *size), disparity), disparity)
        assert steady.cut is cut
    steady.reset()
    steady.update(texture(3, *SIZE), np.zeros(SIZE, np.float32))
    assert not steady.cut


def test_unknown_pixels_stay_unknown_and_do_not_spread() -> None:
    steady, image = Steady(), texture(1, *SIZE)
    disparity = np.full(SIZE, 10, np.float32)
    disparity[20:40, 30:60] = np.nan
    for _ in range(5):
        found = steady.update(image, disparity)
    assert np.array_equal(np.isnan(found), np.isnan(disparity))
    assert np.nanmax(np.abs(found - 10)) < 1e-3


def test_a_plain_wall_in_a_pan_takes_a_new_disparity_at_once() -> None:
    # given a plain wall above a textured floor, in a pan
    steady, image = Steady(), texture(1, *SIZE)
    image[:70] = 128
    for number in range(14):
        # when the wall's disparity changes in the last frame
        disparity = np.full(SIZE, 40 if number < 13 else 10, np.float32)
        found = steady.update(np.roll(image, 3 * number, axis=1), disparity)
    # then nothing of the old one stays, though the wall's pixels are the same
    assert np.allclose(found[:60], 10, atol=0.5)


def test_frames_too_small_for_the_optical_flow_are_not_filtered() -> None:
    # given a strip on which the optical flow of OpenCV ends the process
    filtered = Steady()
    for seed in range(3):
        found = np.full((12, 100), seed, np.float32)
        assert (filtered.update(texture(seed, 12, 100), found) == found).all()
        assert not filtered.cut


def test_what_moves_slowly_in_a_dim_scene_leaves_no_ghost() -> None:
    # given cards of a fifth of the contrast that move by 1 px a frame at most
    stage, steady, rng = Stage(6, SIZE), Steady(), np.random.default_rng(5)
    speed = rng.uniform(-1, 1, (len(stage.cards), 2))
    found: list[DisparityMap] = []
    truth: list[DisparityMap] = []
    for number in range(40):
        image, disparity = stage.view(False, moved=speed * number)
        dim = with_noise(np.asarray(image * 0.2 + 80, np.uint8), rng, 1)
        truth.append(disparity)
        found.append(steady.update(dim, disparity))
    # then what was uncovered is right within a hundredth of the step between card and wall
    assert errors(found, truth)[1] < 0.05
