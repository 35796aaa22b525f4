"""Time offsets of two recordings, on clips cut at known frames."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from crestereo.app.video import Frame
from crestereo.sync import SyncFinding, find_offset, sound_offset_s
from crestereo.types import BGRImage
from tools.lib.moving_scene import two_recordings


def timed(images: list[BGRImage], fps: float = 24.0, first: int = 0) -> list[Frame]:
    return [Frame(image, (first + k) / fps) for k, image in enumerate(images)]


@pytest.mark.parametrize("moving_camera", [True, False])
@pytest.mark.parametrize("offset", [-12, -2, 0, 5, 8])
def test_known_offsets_are_found_exactly(moving_camera: bool, offset: int) -> None:
    left, right = two_recordings(40 + offset, offset, moving_camera=moving_camera)
    found = find_offset(timed(left), timed(right))
    assert found.found
    assert found.offset_frames == pytest.approx(offset, abs=0.3)
    assert found.offset_s == pytest.approx(offset / 24, abs=0.3 / 24)


@pytest.mark.parametrize("rates", [(30.0, 25.0), (24.0, 12.0)])
def test_other_frame_rates_are_compared_in_time(rates: tuple[float, float]) -> None:
    left, right = two_recordings(3, 6, moving_camera=True, frames=100, kept=72, rates=rates)
    found = find_offset(timed(left, rates[0]), timed(right, rates[1]))
    assert found.found
    assert found.offset_frames == pytest.approx(6, abs=0.3)


def test_a_fraction_of_a_frame_is_found() -> None:
    # given a scene of 48 frames a second, of which each camera takes every second one
    left, right = two_recordings(9, 9, moving_camera=True, frames=140, kept=120, rates=(48, 48))
    found = find_offset(timed(left[::2]), timed(right[::2]))
    assert found.offset_frames == pytest.approx(4.5, abs=0.2)


def test_missing_frames_are_no_offset() -> None:
    left, right = two_recordings(5, 7, moving_camera=True, frames=90, kept=72)
    frames = timed(right)
    found = find_offset(timed(left), frames[:24] + frames[30:])  # a phone was busy
    assert round(found.offset_frames) == 7
    assert found.found


@pytest.mark.parametrize(("fps", "late"), [(24, 10), (8, 30)])
def test_a_late_first_frame_is_no_offset(fps: float, late: int) -> None:
    """30 frames are 3.75 s, more than the largest offset that is searched."""
    left, right = two_recordings(8, 0, moving_camera=True)
    found = find_offset(timed(left[late:], fps, first=late), timed(right, fps))
    assert found.offset_s == pytest.approx(0, abs=0.3 / fps)
    assert found.offset_frames == pytest.approx(0, abs=0.3)  # as --sync counts them
    assert "already synchronized" in str(found)


def test_cameras_of_different_size_and_brightness_are_compared() -> None:
    left, right = two_recordings(11, -5, moving_camera=True)
    dark = [cv2.convertScaleAbs(cv2.resize(frame, (200, 150)), alpha=0.5) for frame in right]
    found = find_offset(timed(left), timed([np.asarray(frame, np.uint8) for frame in dark]))
    assert found.found
    assert round(found.offset_frames) == -5


def test_nothing_is_shifted_where_the_evidence_is_weak() -> None:
    first, _ = two_recordings(1, 0, moving_camera=True)
    _, second = two_recordings(2, 0, moving_camera=True)
    still = [first[0]] * 40
    black = [np.zeros_like(first[0])] * 40
    for left, right in ((first, second), (still, still), (black, black), (first[:3], second[:3])):
        found = find_offset(timed(left), timed(right))
        assert not found.found
        assert found.offset_frames == 0
        assert str(found).endswith("using 0 frames; --sync sets the offset")


def test_repeated_motion_is_not_believed() -> None:
    # given two recordings of a camera that swings once in eight frames, six frames apart
    left, right = two_recordings(4, 0, moving_camera=True, frames=20, kept=8)
    found = find_offset(timed(left * 8), timed((right * 9)[6:70]))
    assert not found.found  # 6 frames ahead or 2 behind


def test_recordings_made_one_after_the_other_are_not_believed() -> None:
    # given a still scene, before which the camera moves differently in each recording
    left, _ = two_recordings(21, 0, moving_camera=True)
    _, later = two_recordings(21, 0, moving_camera=True, frames=88)
    assert not find_offset(timed(left), timed(later[::-1])).found


def test_sound_gives_the_offset_of_two_microphones() -> None:
    rng = np.random.default_rng(0)
    scene = rng.normal(size=40000) * np.repeat(rng.uniform(0, 1, 40), 1000)
    left = scene[:30000] + 0.3 * rng.normal(size=30000)
    right = 0.4 * scene[2400:34000] + 0.1 * rng.normal(size=31600)
    assert sound_offset_s(left, right, 8000) == pytest.approx(-0.3, abs=1e-3)
    assert np.isnan(sound_offset_s(left, rng.normal(size=30000), 8000))
    assert np.isnan(sound_offset_s(np.zeros(30000), right, 8000))


def test_agreeing_and_contradicting_sound_is_reported() -> None:
    found = SyncFinding(7 / 24, 7.0, 0.97, 7.0)
    assert "sound" not in str(found)
    assert "the sound agrees: +7.4 frames" in str(replace(found, sound_frames=7.4))
    assert "the sound differs: -3.0 frames; --sync" in str(replace(found, sound_frames=-3.0))
