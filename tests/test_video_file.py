"""The video of a run: whole or not there, kept however the run ends, in time with a camera."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.app.pipeline import ClosedError
from crestereo.app.video_writer import LONGEST_HOLD_S, VideoFile
from crestereo.errors import SourceError, UsageError
from tests.app_helpers import frame_number, texture

FPS = 12.5


def grey(number: int) -> np.ndarray:
    return np.full((65, 97, 3), 10 * number, np.uint8)  # odd: encoders halve both sides


def frames_of(path: Path) -> list[int]:
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(FPS)
    numbers = []
    while True:
        done, image = capture.read()
        if not done:
            return numbers
        assert image.shape == (64, 96, 3)
        numbers.append(frame_number(image))


def test_a_video_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "영상" / "table_depth.mp4"
    video = VideoFile(path, FPS)
    with video.writing() as add:
        for number in range(5, 11):
            add(grey(number), number / FPS)
        assert not path.exists()
    assert video.saved
    assert frames_of(path) == [5, 6, 7, 8, 9, 10]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("ending", [KeyboardInterrupt, ZeroDivisionError, UsageError])
def test_what_was_written_before_the_end_is_kept(
    tmp_path: Path, ending: type[BaseException]
) -> None:
    # given a run that ends before its time
    video = VideoFile(tmp_path / "table_depth.mp4", FPS)
    with pytest.raises(ending, match="in the middle"), video.writing() as add:
        # when it has written two frames
        add(grey(5), 5 / FPS)
        add(grey(6), 6 / FPS)
        raise ending("in the middle")
    # then they are there, and the error passes
    assert video.saved
    assert frames_of(tmp_path / "table_depth.mp4") == [5, 6]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("ending", [KeyboardInterrupt, ZeroDivisionError])
def test_before_the_first_frame_the_ending_passes_and_nothing_is_left(
    tmp_path: Path, ending: type[BaseException]
) -> None:
    video = VideoFile(tmp_path / "v.mp4", FPS)
    with pytest.raises(ending), video.writing():
        raise ending
    with pytest.raises(SourceError, match="no frame came"), video.writing():
        pass
    assert not video.saved
    assert list(tmp_path.iterdir()) == []


def test_a_frame_that_comes_too_late_opens_nothing(tmp_path: Path) -> None:
    # given a thread that still draws when the video has ended
    with VideoFile(tmp_path / "v.mp4", FPS).writing() as add:
        add(grey(5), 5 / FPS)
    # when its frame comes, then it is turned away
    with pytest.raises(ClosedError):
        add(grey(6), 6 / FPS)
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    video = VideoFile(tmp_path / "file" / "v.mp4", FPS)
    with pytest.raises(UsageError, match="cannot write"), video.writing() as add:
        add(grey(1), 1 / FPS)


@pytest.mark.skipif(sys.platform == "win32", reason="the size of files is limited otherwise there")
@pytest.mark.parametrize("ending", [None, KeyboardInterrupt])
def test_a_full_disk_is_an_error_and_leaves_nothing(
    tmp_path: Path, ending: type[BaseException] | None
) -> None:
    import resource  # not there on Windows

    # given a disk that takes the beginning of a video only
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    video = VideoFile(tmp_path / "v.mp4", FPS)
    try:
        with pytest.raises(UsageError, match=r"v\.mp4 to its end.* disk"), video.writing() as add:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
            # when more is written, and the run ends well or is interrupted
            for seed in range(30):
                add(texture(120, 160, seed), seed / FPS)
            if ending is not None:
                raise ending
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    # then the error says so, and no broken file has the name of a video
    assert not video.saved
    assert list(tmp_path.iterdir()) == []


def live_video(path: Path, arrivals_s: list[float]) -> list[int]:
    """Write frame 1, 2, ... as a camera gives them at these times; return the frames written."""
    times = iter(arrivals_s)
    with VideoFile(path, FPS, live=True, clock=lambda: next(times)).writing() as add:
        for number in range(len(arrivals_s)):
            add(grey(number + 1), 0.0)
    return frames_of(path)


def test_a_live_video_plays_as_fast_as_things_happened(tmp_path: Path) -> None:
    # given a network that takes a quarter of a second for a frame, at first
    # when its frames are written into a video of 12.5 frames a second
    numbers = live_video(tmp_path / "v.mp4", [100.0, 100.24, 100.48, 100.56, 100.64])
    # then each frame is held until the next one came
    assert numbers == [1, 1, 1, 2, 2, 2, 3, 4, 5]


def test_a_camera_that_is_faster_than_it_says_does_not_slow_the_video(tmp_path: Path) -> None:
    numbers = live_video(tmp_path / "v.mp4", [n / 25 for n in range(24)])
    assert len(numbers) == pytest.approx(12, abs=2)


def test_a_pause_does_not_become_a_long_still(tmp_path: Path) -> None:
    numbers = live_video(tmp_path / "v.mp4", [0.0, 3600.0])
    assert len(numbers) == round(LONGEST_HOLD_S * FPS) + 1


def file_video(path: Path, times_s: list[float]) -> list[int]:
    """Write frame 1, 2, ... of a file, to be seen at these times; return the frames written."""
    with VideoFile(path, FPS).writing() as add:
        for number, time_s in enumerate(times_s, 1):
            add(grey(number % 25), time_s)
    return frames_of(path)


def test_gaps_in_a_recording_do_not_make_it_faster(tmp_path: Path) -> None:
    # given a recording of which frames are missing, that begins at a time of its own
    times_s = [3 + n / FPS for n in (0, 1, 2, 5, 6, 9)]
    # when it is written, then what was seen before each gap stays as long
    assert file_video(tmp_path / "v.mp4", times_s) == [1, 2, 3, 3, 3, 4, 5, 5, 5, 6]


def test_an_uneven_clock_neither_repeats_nor_leaves_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times_s = sorted((n + rng.uniform(-0.35, 0.35)) / FPS for n in range(24))
    assert file_video(tmp_path / "v.mp4", times_s) == list(range(1, 25))


def test_a_recording_whose_rate_changes_keeps_its_length(tmp_path: Path) -> None:
    # given four seconds, fast and then slow, of a rate of 12.5 on average
    times_s = [n / 20 for n in range(40)] + [2 + n / 5 for n in range(10)]
    assert len(file_video(tmp_path / "v.mp4", times_s)) == pytest.approx(3.8 * FPS, abs=2)


def test_a_clock_that_jumps_does_not_fill_the_disk(tmp_path: Path) -> None:
    numbers = file_video(tmp_path / "v.mp4", [0.0, 1 / FPS, 1e6, 1e6 + 1 / FPS, 0.0, 1 / FPS])
    assert len(numbers) < (LONGEST_HOLD_S + 1) * FPS
    assert {3, 4, 6} < set(numbers)  # a step back in time may cost one


@pytest.mark.parametrize("fps", [118.857, 65.537, 239.76, 29.97])
def test_rates_that_are_no_round_number_can_be_written(tmp_path: Path, fps: float) -> None:
    with VideoFile(tmp_path / "v.mp4", fps).writing() as add:
        add(grey(1), 0.0)
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(fps, abs=0.01)
