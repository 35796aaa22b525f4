"""Swapped views and black bars, on rendered pairs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from crestereo.alignment import Bars, check_pair, detect_swap, find_bars
from crestereo.errors import SourceError
from crestereo.types import BGRImage
from tools.lib.moving_scene import Stage, texture, with_noise


def views(seed: int) -> tuple[BGRImage, BGRImage]:
    rng = np.random.default_rng(seed)
    stage = Stage(seed, (300, 400), cards=5)
    return with_noise(stage.view(False)[0], rng), with_noise(stage.view(True)[0], rng)


def converged(right: BGRImage, by_px: int) -> BGRImage:
    """Return a right image whose disparities are smaller by some pixels."""
    edge = cv2.BORDER_REPLICATE
    wide = cv2.copyMakeBorder(right, top=0, bottom=0, left=by_px, right=0, borderType=edge)
    return np.ascontiguousarray(wide[:, : right.shape[1]])


@pytest.mark.parametrize("shift", [0, 15, 40])
def test_swapped_views_are_detected_whatever_the_shift(shift: int) -> None:
    for seed in range(2):
        # given a pair in the right order, parallel or converged
        left, right = views(seed)
        right = converged(right, shift)
        # when both orders are judged
        as_given, exchanged = detect_swap(left, right), detect_swap(right, left)
        # then each is answered surely
        assert as_given.swapped is False
        assert exchanged.swapped is True
        assert min(as_given.confidence, exchanged.confidence) >= 0.98
        assert "swapped" in str(exchanged)


def compressed(image: BGRImage, crf: int) -> BGRImage:
    """Return an image after H.264 at a low quality."""
    height, width = (side // 2 * 2 for side in image.shape[:2])
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.options = Fraction(1, 25), {"crf": str(crf)}
    frame = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(image[:height, :width]), format="bgr24"
    ).reformat(format="yuv420p")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder = av.CodecContext.create("h264", "r")
    frames = [f for packet in packets for f in decoder.decode(packet)] + decoder.decode(None)
    return np.asarray(frames[0].to_ndarray(format="bgr24"), np.uint8)


def test_compressed_and_repetitive_pairs_are_not_called_swapped() -> None:
    findings = []
    for seed in range(6):
        # given pairs in the right order, compressed hard or of a repeated pattern
        left, right = views(seed)
        tiled = Stage(seed, (300, 400), cards=5)
        tiled.wall = np.tile(texture(seed, 30, 40), (20, 20, 1))
        findings += [
            detect_swap(compressed(left, 38), compressed(right, 38)),
            detect_swap(tiled.view(False)[0], tiled.view(True)[0]),
        ]
    # then none is called swapped
    assert not any(finding.swapped for finding in findings)


def test_a_flat_scene_and_unrelated_images_are_undetermined() -> None:
    # given a wall without anything before it, and unrelated images
    wall = texture(3, 300, 440)
    flat = detect_swap(np.ascontiguousarray(wall[:, 20:420]), np.ascontiguousarray(wall[:, 40:440]))
    strangers = detect_swap(texture(1, 200, 300), texture(2, 200, 300))
    # and a pair whose range of disparities is not known
    left, right = views(0)
    check = replace(check_pair(left, right), disparity_range=(float("nan"), float("nan")))
    # then neither order is claimed
    for finding in (flat, strangers, detect_swap(left, right, check=check)):
        assert finding.swapped is None
        assert str(finding) == "left/right order: undetermined"


def framed(
    picture: BGRImage, bars: tuple[int, int, int, int], rng: np.random.Generator, quality: int
) -> BGRImage:
    top, bottom, left, right = bars
    black = cv2.copyMakeBorder(
        picture, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(12, 12, 12)
    )
    noisy = with_noise(np.asarray(black, np.uint8), rng, 3.0)
    done, data = cv2.imencode(".jpg", noisy, params=[cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize(
    "bars", [(30, 30, 0, 0), (0, 0, 50, 50), (20, 36, 12, 0), (0, 0, 0, 0), (25, 25, 41, 41)]
)
def test_bars_of_noisy_compressed_frames_are_found(bars: tuple[int, int, int, int]) -> None:
    rng = np.random.default_rng(5)
    pictures = [views(seed) for seed in (1, 2, 3)]
    lefts, rights = ([framed(p[view], bars, rng, 70) for p in pictures] for view in (0, 1))
    found = find_bars(lefts, rights)
    for width, true in zip(vars(found).values(), bars, strict=True):
        assert (width == 0) if true == 0 else (true <= width <= true + 4)
    assert bool(found) == any(bars)
    cropped = found.crop(lefts[0])
    disparity: NDArray[np.float32] = np.ones(cropped.shape[:2], np.float32)
    restored = found.restore(disparity)
    assert restored.shape == lefts[0].shape[:2]
    assert np.isnan(restored).sum() == restored.size - disparity.size


def test_the_wider_bars_of_both_views_crop_both() -> None:
    rng = np.random.default_rng(6)
    left, right = views(1)
    left = framed(np.ascontiguousarray(left[:, 10:]), (0, 0, 10, 0), rng, 90)
    right = framed(np.ascontiguousarray(right[:, :-24]), (0, 0, 0, 24), rng, 90)
    found = find_bars([left], [right])
    assert 10 <= found.left <= 14
    assert 24 <= found.right <= 28


def test_darkness_is_no_bar() -> None:
    black = np.zeros((100, 120, 3), np.uint8)
    assert not find_bars([black], [black])
    assert str(Bars()) == "black bars: none"
    with pytest.raises(SourceError, match="same size"):
        find_bars([black], [black[:50]])
    with pytest.raises(SourceError, match="one or more frames"):
        find_bars([], [])


def test_a_thing_before_a_black_wall_has_no_bars() -> None:
    still = np.full((480, 640, 3), 4, np.uint8)
    still[164:336, 204:445] = texture(3, 172, 241)
    assert not find_bars([still], [still])


def test_bars_leave_something_of_small_pictures() -> None:
    small = np.zeros((36, 80, 3), np.uint8)
    small[16:20] = texture(3, 4, 80)
    bars = find_bars([small], [small])
    assert bars.crop(small).shape[0] >= 9
