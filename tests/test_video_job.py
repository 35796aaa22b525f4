"""A video as a job: its section, views, maps of frames, and how it is resumed."""

from __future__ import annotations

import json
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from crestereo.app import output
from crestereo.app.output import restore
from crestereo.app.prompts import seconds
from crestereo.app.run_video import run_video
from crestereo.app.settings import VideoSettings
from crestereo.app.sources import parse_video
from crestereo.app.stereo_video import OneVideo, TwoVideos
from crestereo.app.video import open_video
from crestereo.errors import ModelError, SourceError, UsageError
from crestereo.estimator import CREStereo
from crestereo.types import DisparityResult
from tests.app_helpers import (
    ROOT,
    UNIFIED,
    command,
    environment,
    frame_number,
    run_script,
    texture,
    write_video,
)
from tests.test_runs import video_settings
from tests.test_video_writer import with_sound
from tests.tiny_models import lite_model, matching_model

FPS = 5
KEY_FRAMES = 2 * FPS


def clip(folder: Path, frames: int = 25) -> Path:
    """Write a side-by-side video whose frame n has the mean grey value 10 * n."""
    path = folder / "toy.avi"
    return path if path.exists() else write_video(path, frames, size=(192, 64), fps=FPS)


def run(path: Path, output: Path, model: CREStereo | None = None, **changes: object) -> None:
    stream = OneVideo(open_video(parse_video(str(path)), 64), "toy")
    estimator = model or CREStereo(lite_model(path.parent / "lite.onnx"))
    run_video(stream, estimator, video_settings(output, align="off", **changes))


def images(path: Path, kind: str = "bgr24") -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format=kind) for frame in container.decode(video=0)]


class Dying(CREStereo):
    """Fail after some frames."""

    def __init__(self, path: Path, frames: int) -> None:
        super().__init__(path)
        self.left = frames

    def estimate(self, *args: object, **options: object) -> DisparityResult:
        self.left -= 1
        if self.left < 0:
            raise ModelError("out of memory")
        return super().estimate(*args, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "wanted"), [("90", 90), ("1:30", 90), ("1:00:01.5", 3601.5), ("0:07,25", 7.25)]
)
def test_times_are_seconds_or_have_colons(text: str, wanted: float) -> None:
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "a", "-1", "1:2:3:4", "1:", "nan"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a time"):
        seconds(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": 3.0, "end": 2.0}, "before end"),
        ({"every": 0}, "1 or more"),
        ({"resume": True, "save": False}, "saved video"),
        ({"view": "left"}, "one of side, depth"),
    ],
)
def test_impossible_jobs_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        VideoSettings(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"start": 2.0}, range(10, 25)),
        ({"end": 1.0}, range(5)),
        ({"end": 0.7}, range(3)),
        ({"start": 1.0, "end": 2.0, "every": 2}, [5, 7, 9]),
        ({"start": 1.01, "every": 10}, [5, 15]),
    ],
)
def test_a_section_has_its_frames(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    wanted: list[int],
) -> None:
    run(clip(tmp_path), tmp_path, **changes)
    assert f"100 %, {len(wanted)} of {len(wanted)} frames" in capsys.readouterr().err
    found = images(tmp_path / "toy_depth.mp4")
    assert [frame_number(image[:, :96]) for image in found] == list(wanted)
    # and rare frames are shown for as long as they last
    with av.open(str(tmp_path / "toy_depth.mp4")) as container:
        times_s = [float(frame.time or 0) for frame in container.decode(video=0)]
    gap_s = int(str(changes.get("every", 1))) / FPS
    np.testing.assert_allclose(np.diff(times_s), gap_s, atol=1e-3)


def test_a_start_after_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"5\.0 s long"):
        run(clip(tmp_path), tmp_path / "output", start=60.0)
    assert not (tmp_path / "output").exists()


def test_the_sound_of_a_section_ends_with_it(tmp_path: Path) -> None:
    # given a second of video whose sound lasts two
    source = with_sound(tmp_path / "toy.mkv", "libopus")
    left, right = (open_video(parse_video(str(source)), 64) for _ in range(2))
    estimator = CREStereo(lite_model(tmp_path / "lite.onnx"))
    settings = video_settings(tmp_path, align="off", start=0.4)
    run_video(TwoVideos(left, right, "toy"), estimator, settings)
    with av.open(str(tmp_path / "toy_depth.mp4")) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples / 48_000 == pytest.approx(0.6, abs=0.05)
    assert len(images(tmp_path / "toy_depth.mp4")) == 15


@pytest.mark.parametrize(("end", "reported"), [(None, True), (0.5, False)])
def test_sound_that_goes_on_after_the_pictures_is_reported(
    tmp_path: Path, end: float | None, reported: bool
) -> None:
    # given a second of video whose sound lasts two
    source = with_sound(tmp_path / "toy.mkv", "libopus")
    left, right = (open_video(parse_video(str(source)), 64) for _ in range(2))
    estimator = CREStereo(lite_model(tmp_path / "lite.onnx"))
    # when it is estimated to its end, or to an end that the user sets
    run_video(TwoVideos(left, right, "toy"), estimator, video_settings(tmp_path, end=end))
    # then a cut that the user did not ask for is reported
    remarks = json.loads((tmp_path / "toy_run.json").read_text())["remarks"]
    assert any("toy.mkv is longer than the video" in text for text in remarks) == reported


@pytest.mark.parametrize(
    ("view", "shape"), [("side", (64, 192)), ("depth", (64, 96)), ("overlay", (64, 96))]
)
def test_a_view_is_what_its_name_means(tmp_path: Path, view: str, shape: tuple[int, int]) -> None:
    run(clip(tmp_path), tmp_path, end=0.4, view=view)
    assert images(tmp_path / "toy_depth.mp4")[0].shape[:2] == shape


def test_players_get_the_depth_in_grey(tmp_path: Path) -> None:
    run(clip(tmp_path), tmp_path, end=0.4, view="sbs-depth")
    depth = images(tmp_path / "toy_depth.mp4")[0][:, 96:].astype(int)
    assert np.ptp(depth, axis=2).max() <= 3  # of chroma, which H.264 rounds


def shifted_clip(folder: Path, shift: int) -> Path:
    wide = texture(96, 140 + shift)
    writer = cv2.VideoWriter(
        str(folder / "toy.avi"), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (240, 96)
    )
    for _ in range(3):
        writer.write(np.hstack((wide[:, 20:140], wide[:, 20 + shift : 140 + shift])))
    writer.release()
    return folder / "toy.avi"


@pytest.mark.parametrize("kind", ["png16", "ffv1", "npz"])
def test_maps_of_frames_hold_the_disparity_and_their_scale(tmp_path: Path, kind: str) -> None:
    # given a video whose disparity is 4 px everywhere
    model = CREStereo(matching_model(tmp_path / "matcher.onnx"))
    run(shifted_clip(tmp_path, 4), tmp_path, model, depth_frames=kind)
    # when the maps are read as the page of the usage shows it
    if kind == "ffv1":
        with av.open(str(tmp_path / "toy_maps.mkv")) as video:
            assert video.metadata["UNIT"] == "px"
            steps = float(video.metadata["STEPS"])
            maps = [frame.to_ndarray(format="gray16le") / steps for frame in video.decode(video=0)]
    elif kind == "png16":
        scale = json.loads((tmp_path / "toy_maps" / "scale.json").read_text(encoding="utf-8"))
        files = sorted((tmp_path / "toy_maps").glob("*.png"))
        maps = [cv2.imread(str(path), -1) / float(scale["steps"]) for path in files]
    else:
        loaded = [np.load(path) for path in sorted((tmp_path / "toy_maps").glob("*.npz"))]
        maps = [each["values"] / each["steps"] for each in loaded]
    # then each frame has one
    assert len(maps) == 3
    assert [np.median(each[each > 0]) for each in maps] == pytest.approx([4] * 3, abs=0.02)


def test_maps_are_millimetres_where_there_is_a_camera(tmp_path: Path) -> None:
    # 4 px at a focal length of 100 px and a baseline of 0.1 m are 2.5 m
    model = CREStereo(matching_model(tmp_path / "matcher.onnx"))
    camera = {"baseline_m": 0.1, "focal_px": 100.0}
    run(shifted_clip(tmp_path, 4), tmp_path, model, depth_frames="ffv1", **camera)
    maps = images(tmp_path / "toy_maps.mkv", "gray16le")
    assert np.median(maps[0][maps[0] > 0]) == pytest.approx(2500, abs=15)


@pytest.mark.parametrize("kind", ["off", "ffv1", "npz"])
def test_a_failed_run_is_resumed_as_if_nothing_had_happened(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # given a run without a failure, and one that failed after a key frame
    path, model = clip(tmp_path), lite_model(tmp_path / "lite.onnx", weights=(1, 0.2, 0))
    settings = {"depth_frames": kind, "warm_start": True}
    run(path, tmp_path / "whole", CREStereo(model), **settings)
    with pytest.raises(ModelError):
        run(path, tmp_path / "part", Dying(model, KEY_FRAMES + 6), **settings)
    assert "--resume" in capsys.readouterr().out
    # when it is resumed
    run(path, tmp_path / "part", CREStereo(model), resume=True, **settings)
    # then it goes on at the key frame, and the frames are the same
    assert f"resumed after {KEY_FRAMES} frames" in capsys.readouterr().out
    whole, part = (images(tmp_path / name / "toy_depth.mp4") for name in ("whole", "part"))
    assert len(part) == 25
    np.testing.assert_array_equal(part, whole)
    if kind == "ffv1":
        np.testing.assert_array_equal(
            *(images(tmp_path / name / "toy_maps.mkv", "gray16le") for name in ("whole", "part"))
        )
    names = [sorted(p.name for p in (tmp_path / each).rglob("*")) for each in ("whole", "part")]
    assert names[0] == names[1]
    # and once more there is nothing left to do
    run(path, tmp_path / "part", CREStereo(model), resume=True, **settings)
    assert "nothing to resume" in capsys.readouterr().out


def test_a_video_that_lost_its_end_is_resumed_earlier(tmp_path: Path) -> None:
    path, model = clip(tmp_path), lite_model(tmp_path / "lite.onnx")
    run(path, tmp_path / "whole", CREStereo(model))
    with pytest.raises(ModelError):
        run(path, tmp_path / "part", Dying(model, 2 * KEY_FRAMES + 3))
    # given a disk that did not get the second half
    video = tmp_path / "part" / "toy_depth.mp4"
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    run(path, tmp_path / "part", CREStereo(model), resume=True)
    np.testing.assert_array_equal(images(video), images(tmp_path / "whole" / "toy_depth.mp4"))


def test_other_settings_are_refused_with_the_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = clip(tmp_path), lite_model(tmp_path / "lite.onnx")
    with pytest.raises(ModelError):
        run(path, tmp_path, Dying(model, 3))
    before = (tmp_path / "toy_depth.mp4").read_bytes()
    with pytest.raises(UsageError, match="crf was 18, is 30"):
        run(path, tmp_path, CREStereo(model), resume=True, crf=30)
    # the state of another version of the program may mean something else
    monkeypatch.setattr(output, "__version__", "99.0")
    with pytest.raises(UsageError, match=r"program was version .*, is version 99\.0"):
        run(path, tmp_path, CREStereo(model), resume=True)
    assert (tmp_path / "toy_depth.mp4").read_bytes() == before


def test_a_checkpoint_cannot_run_code() -> None:
    with pytest.raises(pickle.UnpicklingError, match="not part"):
        restore(pickle.dumps(subprocess.run))


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed otherwise there")
def test_a_killed_run_is_resumed(tmp_path: Path) -> None:
    # given a script that is killed after its second key frame
    model = lite_model(tmp_path / "lite.onnx")
    flags = ["--no-swap", "--layout", "sbs_full", "--align", "off", "--model-path", model]
    words = [clip(tmp_path, 200), *flags, "--no-window", "--output-dir", tmp_path]
    process = subprocess.Popen(
        command(UNIFIED, *words), cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    state, end_s = tmp_path / "toy_resume.bin", time.monotonic() + 30
    while not (state.exists() and state.stat().st_size > 2500) and time.monotonic() < end_s:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    # when it is started again
    done = run_script(UNIFIED, *words, "--resume")
    # then nothing is missing
    assert done.returncode == 0, done.stderr
    assert "resumed after" in done.stdout
    assert len(images(tmp_path / "toy_depth.mp4")) == 200


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed")
def test_a_lost_display_does_not_end_the_run(tmp_path: Path) -> None:
    # given a run with a window
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", "800x600x24"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    display = ":" + server.stdout.readline().strip()
    model = lite_model(tmp_path / "lite.onnx")
    flags = ["--no-swap", "--layout", "sbs_full", "--align", "off", "--model-path", model]
    words = [clip(tmp_path, 300), *flags, "--window", "--output-dir", tmp_path]
    process = subprocess.Popen(
        command(UNIFIED, *words), cwd=ROOT, env=environment(display), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    video, end_s = tmp_path / "toy_depth.mp4", time.monotonic() + 30
    while not (video.exists() and video.stat().st_size > 5000) and time.monotonic() < end_s:
        time.sleep(0.01)
    # when its display goes away
    server.kill()
    server.wait(10)
    server.stdout.close()
    err = process.communicate(timeout=60)[1]
    # then it is complete
    assert "the display was lost" in err
    assert process.returncode == 0
    assert len(images(video)) == 300
    assert (tmp_path / "toy_run.json").exists()
