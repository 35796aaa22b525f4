"""The offset of two recordings, on clips cut at known places."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from crestereo.app.video import Frame
from crestereo.sync import (
    ROW_BANDS,
    at_constant_rate,
    find_offset,
    motion_signals,
    offset_of_signals,
)
from crestereo.types import BGRImage
from tools.lib.moving_scene import two_recordings


def timed(images: list[BGRImage], fps: float = 24.0) -> list[Frame]:
    return [Frame(image, number / fps) for number, image in enumerate(images)]


@pytest.mark.parametrize("moving_camera", [True, False])
@pytest.mark.parametrize("offset", [-17, 0, 9])
def test_known_offsets_are_found_exactly(moving_camera: bool, offset: int) -> None:
    left, right = two_recordings(40 + offset, offset, moving_camera=moving_camera)
    found = find_offset(timed(left), timed(right))
    assert found.found
    assert round(found.offset_frames) == offset
    assert f"{abs(offset)}" in str(found) or offset == 0


def test_other_frame_rates_are_compared_in_time() -> None:
    left, right = two_recordings(3, 6, moving_camera=True, frames=120, kept=100)
    signals = motion_signals(left), motion_signals(right)
    ratio = 24000 / 1001 / 24
    found = offset_of_signals(*signals, 24 * ratio, 24 * ratio)
    assert found.offset_frames == pytest.approx(6, abs=0.3)
    every_other = motion_signals(right[::2])  # 12 a second; its frame 3 is the other one's 6
    found = offset_of_signals(signals[0], every_other, 24, 12)
    assert round(found.measured_frames) == 3


@pytest.mark.parametrize("offset", [0, 7])
def test_missing_frames_are_no_offset(offset: int) -> None:
    left, right = two_recordings(5, offset, moving_camera=True, frames=110, kept=96)
    there = [k for k in range(len(right)) if not 4 <= k < 10]  # a phone was busy
    times_s = [k / 24 for k in there]
    uneven = motion_signals([right[k] for k in there])
    even = at_constant_rate(uneven, times_s, 24)
    assert len(even) == len(right) - 1
    found = offset_of_signals(motion_signals(left), even, 24, 24)
    assert found.found
    assert round(found.offset_frames) == offset
    assert round(offset_of_signals(motion_signals(left), uneven, 24, 24).offset_frames) != offset


def test_a_steady_recording_is_taken_as_it_is() -> None:
    signals = np.random.default_rng(0).normal(size=(9, 2 + ROW_BANDS))
    times_s = np.arange(10) / 30 + np.random.default_rng(1).uniform(0, 0.003, 10)
    assert at_constant_rate(signals, list(times_s), 30) is signals


def test_frames_that_change_size_begin_anew() -> None:
    wide, narrow = np.zeros((90, 160, 3), np.uint8), np.zeros((90, 120, 3), np.uint8)
    signals = motion_signals([wide, wide, wide, narrow, narrow])
    assert signals.shape == (3, 2 + ROW_BANDS)  # none from the last wide to the first narrow one


def test_nothing_is_shifted_where_the_evidence_is_weak() -> None:
    first, _ = two_recordings(1, 0, moving_camera=True)
    _, second = two_recordings(2, 0, moving_camera=True)
    still = [first[0]] * 40
    for left, right in ((first, second), (still, still), (first[:3], second[:3]), ([], [])):
        found = find_offset(timed(left), timed(right))
        assert not found.found
        assert found.offset_frames == 0
        assert "offset not found" in str(found)


def slow_motion(start: float, frames: int = 75) -> NDArray[np.float64]:
    """Return the signals of two slow gestures, seen from `start` [frames] on."""
    time = np.arange(frames) + start
    near = [np.exp(-(((time - at) / width) ** 2)) for at, width in ((20, 9), (45, 12))]
    brightness = np.outer(near[0] + 0.6 * near[1], np.ones(ROW_BANDS))
    return np.column_stack([0.004 * near[0], 0.002 * near[1], brightness])


def test_slow_motion_is_in_step_but_shifts_nothing() -> None:
    found = offset_of_signals(slow_motion(0), slow_motion(0.3), 25, 25)
    assert found.found
    assert found.offset_frames == 0
    assert "already synchronized" in str(found)
    found = offset_of_signals(slow_motion(0), slow_motion(5), 25, 25)
    assert found.measured_frames == pytest.approx(-5, abs=1)
    assert "already synchronized" not in str(found)


def test_shared_motion_of_other_pictures_is_not_believed() -> None:
    left, _ = two_recordings(7, 0, moving_camera=True, kept=40)
    strangers = [np.ascontiguousarray(frame[::-1]) for frame in left]  # upside down
    assert not find_offset(timed(left), timed(strangers)).found
