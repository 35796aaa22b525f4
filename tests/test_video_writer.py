"""The video of a run: real times, playable at any time, with the sound of the source."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from crestereo.app import video_writer
from crestereo.app.pipeline import ClosedError
from crestereo.app.sources import parse_video
from crestereo.app.video import open_video
from crestereo.app.video_writer import MAX_GAP_S, VideoWriter
from crestereo.errors import UsageError
from tests.app_helpers import ROOT, environment, texture

FPS = 12.5


def grey(number: int) -> np.ndarray:
    return np.full((65, 97, 3), 60 + 5 * number, np.uint8)  # odd: encoders halve both sides


def read(path: Path) -> list[tuple[int, float]]:
    """Return number and time [s] of every frame of a video of `grey` images."""
    with av.open(str(path)) as container:
        frames = [(f.to_ndarray(format="bgr24"), f.time) for f in container.decode(video=0)]
    assert {image.shape for image, _ in frames} <= {(64, 96, 3)}
    return [(round((float(image.mean()) - 60) / 5), float(at or 0)) for image, at in frames]


def write(path: Path, times_s: list[float], **options: object) -> list[tuple[int, float]]:
    with VideoWriter(path, FPS, **options) as writer:  # type: ignore[arg-type]
        for number, time_s in enumerate(times_s):
            writer.add(grey(number), time_s)
    return read(path)


def test_frames_keep_their_times_whatever_the_rate(tmp_path: Path) -> None:
    # given a recording that begins at a time of its own and is uneven
    times_s = [3.0, 3.03, 3.2, 3.21, 4.0]
    found = write(tmp_path / "영상" / "table_depth.mp4", times_s)
    assert [number for number, _ in found] == [0, 1, 2, 3, 4]
    assert [at for _, at in found] == pytest.approx([t - 3.0 for t in times_s], abs=1e-3)


def test_the_format_plays_in_browsers(tmp_path: Path) -> None:
    write(tmp_path / "v.mp4", [0.0, 0.08, 0.16])
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.parametrize("fps", [118.857, 65.537, 239.76, 29.97])
def test_rates_that_are_no_whole_number_can_be_written(tmp_path: Path, fps: float) -> None:
    with VideoWriter(tmp_path / "v.mp4", fps) as writer:
        writer.add(grey(1), 0.0)
    assert len(read(tmp_path / "v.mp4")) == 1


def test_a_pause_does_not_become_a_long_still(tmp_path: Path) -> None:
    found = write(tmp_path / "v.mp4", [0.0, 3600.0, 3600.08])
    assert [at for _, at in found] == pytest.approx([0.0, MAX_GAP_S, MAX_GAP_S + 0.08], abs=1e-3)


@pytest.mark.parametrize("ending", [KeyboardInterrupt, ZeroDivisionError])
def test_what_was_written_before_an_error_is_kept(
    tmp_path: Path, ending: type[BaseException]
) -> None:
    with pytest.raises(ending), VideoWriter(tmp_path / "v.mp4", FPS) as writer:
        writer.add(grey(5), 0.0)
        writer.add(grey(6), 0.08)
        raise ending
    assert [number for number, _ in read(tmp_path / "v.mp4")] == [5, 6]


def test_a_frame_that_comes_too_late_is_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", FPS) as writer:
        writer.add(grey(5), 0.0)
    with pytest.raises(ClosedError):
        writer.add(grey(6), 0.08)
    assert len(read(tmp_path / "v.mp4")) == 1


def test_without_a_frame_there_is_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", FPS):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    writer = VideoWriter(tmp_path / "file" / "v.mp4", FPS)
    with pytest.raises(UsageError, match=r"cannot write .*v\.mp4"):
        writer.add(grey(1), 0.0)


def test_an_unknown_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no encoder 'mp17'"):
        VideoWriter(tmp_path / "v.mp4", FPS, codec="mp17").add(grey(1), 0.0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not limit the size of files")
def test_a_full_disk_ends_the_run_and_keeps_what_is_playable(tmp_path: Path) -> None:
    import resource  # not there on Windows

    # given a disk that takes the beginning of a video only
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = VideoWriter(tmp_path / "v.mp4", FPS)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
        # when more is written, then the error comes while writing
        with pytest.raises(UsageError, match=r"disk .* is full"), writer:
            for seed in range(400):
                writer.add(texture(120, 160, seed), seed / FPS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    # and what was written before can be played
    video = open_video(parse_video(str(tmp_path / "v.mp4")), 0)
    assert sum(1 for _ in video.frames()) > 20


PROGRAM = """
import sys, time
from pathlib import Path
from typing import Any
import numpy as np
from crestereo.app.sources import parse_video
from crestereo.app.video import open_video
from crestereo.app.video_writer import VideoWriter
writer = VideoWriter(Path(sys.argv[1]), 12.5)
for number in range(10_000):
    writer.add(np.full((64, 96, 3), number % 200, np.uint8), number / 12.5)
    print(number, flush=True)
    time.sleep(0.002)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed otherwise there")
def test_a_killed_run_leaves_a_video_up_to_its_last_seconds(tmp_path: Path) -> None:
    # given a run that has written some seconds
    path = tmp_path / "v.mp4"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)],
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 200:
            break
    # when it is killed
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    # then the video plays, but for a second at most
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 200 - 12.5


def with_sound(path: Path, codec: str, rate: int = 48_000, seconds: float = 2.0) -> Path:
    """Write a video of a second with a tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 64, 96, "yuv420p"
        audio = container.add_stream(codec, rate=rate)
        container.metadata["title"] = "A walk"
        packets = []
        for number in range(25):
            packets += video.encode(av.VideoFrame.from_ndarray(grey(number)[:64, :96], "bgr24"))
        packets += video.encode()
        count = int(rate * seconds)
        tone = (8000 * np.sin(np.arange(count) / 20)).astype(np.int16)[None]
        for start in range(0, count, 960):
            frame = av.AudioFrame.from_ndarray(tone[:, start : start + 960], "s16", "mono")
            frame.sample_rate, frame.pts = rate, start
            packets += audio.encode(frame)
        packets += audio.encode()
        for packet in packets:
            container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("name", "sound", "wanted"),
    [
        ("a.mp4", ("aac", 48_000), "aac"),
        ("a.mkv", ("libopus", 48_000), "opus"),
        ("a.mkv", ("pcm_s16le", 48_000), "aac"),
        ("a.mkv", ("pcm_s16le", 192_000), "aac"),  # a rate that AAC does not have
    ],
)
def test_the_sound_of_the_source_comes_along(
    name: str,
    sound: tuple[str, int],
    wanted: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # given a video of a second whose sound lasts two, in a codec that MP4 holds or not
    source = with_sound(tmp_path / name, *sound)
    # when its depth is written
    write(tmp_path / "v.mp4", [n / 25 for n in range(25)], sound=str(source))
    # then the sound is there, as long as the images, and the title too
    with av.open(str(tmp_path / "v.mp4")) as container:
        audio = container.streams.audio[0]
        assert audio.codec_context.name == wanted
        assert container.metadata["title"] == "A walk"
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples / 48_000 == pytest.approx(1.0, abs=0.1)
    said = capsys.readouterr().out
    assert ("MP4 cannot hold sound in pcm_s16le" in said) == (sound[0] == "pcm_s16le")


def test_damaged_sound_is_reported_and_the_video_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given sound of which only the beginning can be encoded
    source = with_sound(tmp_path / "a.mkv", "pcm_s16le")
    encoded = video_writer._encoded

    def broken(*args: Any) -> Iterator[Any]:
        yield from islice(encoded(*args), 10)
        raise av.error.InvalidDataError(1, "broken")

    monkeypatch.setattr(video_writer, "_encoded", broken)
    # when a video is written
    found = write(tmp_path / "v.mp4", [n / 25 for n in range(25)], sound=str(source))
    # then it has all frames
    assert len(found) == 25
    sentence = f"the sound of {source} is damaged (broken): the rest is left out"
    assert sentence in capsys.readouterr().err


def test_a_source_without_sound_gives_a_silent_video(tmp_path: Path) -> None:
    write(tmp_path / "source.mp4", [0.0, 0.08])
    found = write(tmp_path / "v.mp4", [0.0, 0.08], sound=str(tmp_path / "source.mp4"))
    assert len(found) == 2


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_a_browser_plays_it(tmp_path: Path) -> None:
    write(tmp_path / "v.mp4", [n / FPS for n in range(30)])
    page = tmp_path / "page.html"
    page.write_text(
        "<video id=v src=v.mp4 muted autoplay></video><script>v.ontimeupdate = () => "
        "{ if (v.currentTime > 0.3) document.title = 'played' }</script>"
    )
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    flags += " --autoplay-policy=no-user-gesture-required --virtual-time-budget=8000 --dump-dom"
    done = subprocess.run(
        ["chromium", *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert "<title>played</title>" in done.stdout
