"""What the beginning of two videos tells: their time offset, and pairs for the alignment."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.app.settings import TwoVideosSettings, UnifiedVideoSettings
from crestereo.app.sources import parse_video
from crestereo.app.stereo_video import TwoVideos, pair_videos, split_video
from crestereo.app.video import Video, open_video
from crestereo.types import BGRImage
from tests.app_helpers import BLOCK, texture
from tools.lib.moving_scene import two_recordings

RATE = 24.0


def clip(path: Path, frames: list[BGRImage]) -> Video:
    size = (frames[0].shape[1], frames[0].shape[0])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, size)
    for frame in frames:
        writer.write(frame)
    writer.release()
    return open_video(parse_video(str(path)), 0)


def settings() -> TwoVideosSettings:
    return TwoVideosSettings(**BLOCK)  # type: ignore[arg-type]


def lags(stream: TwoVideos, left: list[BGRImage], right: list[BGRImage]) -> set[int]:
    """Return by how many frames the right images of the pairs are behind the left ones."""

    def number(image: BGRImage, frames: list[BGRImage]) -> int:
        return int(np.argmin([np.abs(image.astype(int) - frame).mean() for frame in frames]))

    pairs = list(stream)[5:15]
    return {number(pair.right, right) - number(pair.left, left) for pair in pairs}


def test_recordings_out_of_step_are_paired_by_what_they_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given two recordings, of which the right one is nine frames behind
    left, right = two_recordings(8, 9, moving_camera=True, frames=60, kept=50)
    videos = clip(tmp_path / "l.avi", left), clip(tmp_path / "r.avi", right)
    # when they are paired
    stream = pair_videos(*videos, settings())
    # then their frames belong together, and what takes time was announced
    assert lags(stream, left, right) == {9}
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "estimating the time offset of the two videos"
    assert "right video 9.0 frames behind" in said[1]


def test_the_motion_of_another_scene_is_no_evidence(tmp_path: Path) -> None:
    left, right = two_recordings(8, 9, moving_camera=True, frames=60, kept=50)
    strangers = [np.ascontiguousarray(frame[::-1]) for frame in right]
    videos = clip(tmp_path / "l.avi", left), clip(tmp_path / "r.avi", strangers)
    assert lags(pair_videos(*videos, settings()), left, strangers) == {0}


def test_a_late_beginning_is_no_offset(tmp_path: Path) -> None:
    # given two recordings in step, of which one begins late because its first frames are broken
    left, right = two_recordings(8, 0, moving_camera=True, frames=80, kept=80)
    videos = clip(tmp_path / "l.avi", left[24:]), clip(tmp_path / "r.avi", right)
    videos[0].late_s = 1.0
    videos[0]._start_s -= 1.0  # type: ignore[attr-defined]
    videos[0]._first_s += 1.0  # type: ignore[attr-defined]
    # when they are paired, then by their times
    stream = pair_videos(*videos, settings())
    assert lags(stream, left, right) == {0}


def test_pairs_of_the_beginning_belong_together(tmp_path: Path) -> None:
    left, right = two_recordings(8, 0, moving_camera=True, frames=60, kept=50)
    videos = clip(tmp_path / "l.avi", left), clip(tmp_path / "r.avi", right)
    stream = pair_videos(*videos, TwoVideosSettings(**BLOCK, sync=4))  # type: ignore[arg-type]
    assert len(stream.beginning) >= 4
    for pair in stream.beginning:
        at = round(pair.time_s * RATE)
        assert np.abs(pair.left.astype(int) - left[at]).mean() < 12
        assert np.abs(pair.right.astype(int) - right[at + 4]).mean() < 12


def test_a_film_that_fades_in_is_examined_where_it_shows_something(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given a film of five seconds, one view above the other, that is black for a second
    wide = texture(96, 260)
    views = wide[:, 10:250], wide[:, 16:256]
    frame = np.ascontiguousarray(np.vstack(views))
    frames = [np.zeros_like(frame)] * 24 + [frame] * 96
    video = clip(tmp_path / "film.avi", frames)
    # when its layout is looked for
    split_video(video, UnifiedVideoSettings(**{**BLOCK, "swap": False}))  # type: ignore[arg-type]
    # then it is found
    assert "layout tb" in capsys.readouterr().out
