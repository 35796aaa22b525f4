"""Live sources: newest frames, a server that goes away, a camera that is unplugged."""

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.app import video as openers
from crestereo.app import window as window_module
from crestereo.app.render import View
from crestereo.app.run_video import run_video
from crestereo.app.settings import UnifiedVideoSettings
from crestereo.app.sources import parse_video
from crestereo.app.stereo_video import OneVideo, TwoVideos
from crestereo.app.video import open_video
from crestereo.app.window import Controls, Window, watch
from crestereo.errors import UsageError
from crestereo.estimator import CREStereo
from tests.app_helpers import BLOCK, texture
from tests.test_window import replace_opencv_windows
from tests.tiny_models import lite_model
from tools.lib.bench_live import number_of, serve_camera

SHAPE = (64, 208)


def settings(folder: Path, **changes: object) -> UnifiedVideoSettings:
    values = {**BLOCK, "swap": False, "align": "off", "output_dir": str(folder), **changes}
    return UnifiedVideoSettings(**values)  # type: ignore[arg-type]


def test_a_slow_reader_gets_the_newest_frame() -> None:
    # given a camera of 30 frames a second and one whose frames take half a second to use
    with serve_camera(SHAPE) as camera:
        stream = OneVideo(open_video(parse_video(camera.url), 64), "toy")
        pairs = iter(stream)
        next(pairs)
        for _ in range(3):
            time.sleep(0.5)
            pair = next(pairs)
            # then what it gets is at most 0.1 s old, and so says its time
            assert camera.now() - number_of(pair.left) <= 3
            assert abs(pair.time_s - camera.taken_s(number_of(pair.right))) < 0.1
        pairs.close()  # type: ignore[attr-defined]


def test_a_run_continues_when_the_server_is_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a server that goes away in the middle of a run, comes back, and goes for good
    monkeypatch.setattr(openers, "RECONNECT_S", 1.5)
    with serve_camera(SHAPE) as camera:
        numbers: list[int] = []

        class Watching(CREStereo):
            def estimate(self, left: np.ndarray, *args: object, **options: object) -> object:
                numbers.append(number_of(left))
                if camera.clients == 2 and len(numbers) == 5:  # one of them asked for its type
                    camera.stop()
                    time.sleep(0.6)
                    camera.start()
                if camera.clients == 3:
                    camera.stop()
                return super().estimate(left, *args, **options)  # type: ignore[arg-type]

        video = open_video(parse_video(camera.url), 64)
        estimator = Watching(lite_model(tmp_path / "lite.onnx"))
        run_video(OneVideo(video, "toy"), estimator, settings(tmp_path))
    # then both are reported, the run ends with a sentence, and what it saved is kept
    out, err = capsys.readouterr()
    assert f"{camera.url} gives no more frames: connecting again for 1.5 s\n" in err
    assert f"{camera.url} is back after 1 s\n" in err
    assert err.count(f"{camera.url} gives no more frames: stopped there") == 1
    record = json.loads((tmp_path / "toy_run.json").read_text(encoding="utf-8"))
    assert record["frames"] == len(numbers) > 5
    assert max(np.diff(numbers)) > 15  # of 30 a second, while it was away
    assert "toy_depth.mp4" in out


class Unplugged:
    """A camera of OpenCV that is unplugged after some frames."""

    def __init__(self, frames: int, fails: type[Exception] | None) -> None:
        self._left, self._fails = frames, fails

    def get(self, what: int) -> float:
        return 50.0 if what == cv2.CAP_PROP_FPS else 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(0.02)
        self._left -= 1
        if self._left < 0 and self._fails is not None:
            raise self._fails("no such device")
        return self._left >= 0, texture(64, 256) if self._left >= 0 else None

    def release(self) -> None:
        """Let go of nothing."""


@pytest.mark.parametrize("fails", [None, cv2.error])
def test_an_unplugged_camera_ends_the_run_and_keeps_what_was_recorded(
    fails: type[Exception] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: Unplugged(20, fails))
    stream = OneVideo(open_video(parse_video("0"), 64), "camera0")
    run_video(stream, CREStereo(lite_model(tmp_path / "lite.onnx")), settings(tmp_path))
    assert "camera 0 gives no more frames: stopped there" in capsys.readouterr().err
    record = json.loads((tmp_path / "camera0_run.json").read_text(encoding="utf-8"))
    capture = cv2.VideoCapture
    monkeypatch.undo()
    assert capture is not cv2.VideoCapture
    frames = [frame.image for frame in open_video(parse_video(record["files"][0]), 0).frames()]
    assert len(frames) == record["frames"] > 2


def test_two_cameras_of_different_rates_stay_together() -> None:
    # given cameras of 30 and 12 frames a second
    with serve_camera(SHAPE) as fast, serve_camera(SHAPE, 12) as slow:
        videos = [open_video(parse_video(camera.url), 64) for camera in (fast, slow)]
        pairs = iter(TwoVideos(videos[0], videos[1], "toy"))
        next(pairs)
        # when ten pairs are used quickly, then the views are taken at about the same time
        for _ in range(10):
            pair = next(pairs)
            left_s = fast.taken_s(number_of(pair.left))
            assert abs(left_s - slow.taken_s(number_of(pair.right))) < 0.15
            assert time.monotonic() - left_s < 0.2
        pairs.close()  # type: ignore[attr-defined]


def test_the_window_shows_rate_and_age_of_live_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    # given frames that take 40 ms, ten a second, and then none for a second
    words: list[str] = []
    monkeypatch.setattr(window_module, "_put_text", lambda _, text, x: words.append(text) or x)
    now = [1000.0]
    monkeypatch.setattr(window_module.time, "monotonic", lambda: now[0])
    polls = iter([*[-1] * 120, ord("q")])

    def wait_key(_: int) -> int:
        now[0] += 0.02
        return next(polls)

    drawn = replace_opencv_windows(monkeypatch, wait_key, [])
    image = np.full((60, 160, 3), 90, np.uint8)

    def next_view() -> View | None:
        tenth = round(now[0] * 50) % 5 == 0 and now[0] < 1001.4
        return View(image, taken_s=now[0] - 0.04) if tenth else None

    watch(Window("title", View(image)), Controls(next_view, lambda _: None, lambda: None))
    lines = [text for text in words if "old" in text]
    assert "10.0 frames/s, 0.04 s old" in lines
    assert lines[-1].split(", ")[1] >= "0.8 s old"  # it grows where nothing comes
    assert len(drawn) > 15


@pytest.mark.parametrize(
    "wrong", [{"camera_size": (0, 720)}, {"camera_size": "big"}, {"camera_fps": 0}]
)
def test_an_impossible_size_or_rate_of_a_camera(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        settings(tmp_path, **wrong)
