"""The beginning of two videos: how they belong together, without holding it in memory."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.app import stereo_video as beginnings
from crestereo.app.settings import TwoVideosSettings
from crestereo.app.sources import Source, parse_video
from crestereo.app.stereo_video import choose_offset_s
from crestereo.app.video import Frame, Video, open_video
from crestereo.types import BGRImage
from tools.lib.moving_scene import two_recordings

RATE = 24.0


def clip(path: Path, frames: list[BGRImage]) -> Source:
    size = (frames[0].shape[1], frames[0].shape[0])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, size)
    for frame in frames:
        writer.write(frame)
    writer.release()
    return parse_video(str(path))


def settings() -> TwoVideosSettings:
    return TwoVideosSettings(
        iters=5, model_shape=(240, 320), version="lite", device="cpu", colormap="magma",
        baseline_m=None, focal_px=None, max_distance=10.0,
    )  # fmt: skip


def offset_s(sources: tuple[Source, Source]) -> float:
    videos = open_video(sources[0], 0), open_video(sources[1], 0)
    found = choose_offset_s(sources, videos, settings())
    for video in videos:
        video.close()
    return found


def test_the_offset_is_found_with_a_few_frames_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given two recordings, of which the right one is nine frames behind
    left, right = two_recordings(8, 9, moving_camera=True, frames=60, kept=50)
    sources = clip(tmp_path / "l.avi", left), clip(tmp_path / "r.avi", right)
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0
    read = beginnings._small_frames

    def watched(source: Source) -> Iterator[Frame]:
        nonlocal most
        for frame in read(source):
            alive.append(weakref.ref(frame.image))
            most = max(most, sum(ref() is not None for ref in alive))
            yield frame

    monkeypatch.setattr(beginnings, "_small_frames", watched)
    # when their beginnings are compared
    found = offset_s(sources)
    # then the offset is known, nothing was piled up, and what takes the time was said before
    assert found == pytest.approx(-9 / RATE)
    assert len(alive) > 100
    assert most <= 10
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "looking how the two videos belong together in time"
    assert "right video 9.0 frames behind" in said[1]


def test_motion_of_other_pictures_is_not_believed(tmp_path: Path) -> None:
    left, right = two_recordings(8, 9, moving_camera=True, frames=60, kept=50)
    strangers = [np.ascontiguousarray(frame[::-1]) for frame in right]
    sources = clip(tmp_path / "l.avi", left), clip(tmp_path / "r.avi", strangers)
    assert offset_s(sources) == 0


def test_a_long_side_of_480_px_is_enough_upright_too(tmp_path: Path) -> None:
    upright = clip(tmp_path / "v.avi", [np.zeros((960, 480, 3), np.uint8)] * 2)
    frames = list(beginnings._small_frames(upright))
    assert [frame.image.shape for frame in frames] == [(480, 240, 3)] * 2


def test_pictures_are_found_by_their_time() -> None:
    times_s = [0.0, 0.1, 0.2, 0.9, 1.0]  # some are missing
    frames = [Frame(np.full((1, 1, 3), k, np.uint8), t) for k, t in enumerate(times_s)]
    wanted = [0.0, 0.12, 0.18, 0.5, 0.6, 0.94, 7.0]
    found = beginnings._images_at(wanted, iter(frames))
    assert [int(image[0, 0, 0]) for image in found] == [0, 1, 2, 2, 3, 3, 4]
    assert beginnings._images_at(wanted, iter([])) == []
    rest = iter(frames)
    beginnings._images_at([0.0], rest)
    assert len(list(rest)) >= 3  # read no further than needed


def test_a_beginning_that_cannot_be_decoded_is_no_offset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given two recordings in step, of which one begins late because its first frames are broken
    left, right = two_recordings(8, 0, moving_camera=True, frames=80, kept=80)
    sources = clip(tmp_path / "l.avi", left[24:]), clip(tmp_path / "r.avi", right)
    opened = beginnings.open_video

    def late(source: Source, patience: float) -> Video:
        video = opened(source, patience)
        if source == sources[0]:
            video.late_s = 1.0
        return video

    monkeypatch.setattr(beginnings, "open_video", late)
    videos = late(sources[0], 0), late(sources[1], 0)
    # when it is found how they belong together, then their times do so already
    found = choose_offset_s(sources, videos, settings())
    assert found == pytest.approx(0.0, abs=0.01)
