"""The video scripts without a screen: a process, answers at its prompts, a video at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.app_helpers import (
    SEPARATE,
    UNIFIED,
    command,
    damage_frames,
    environment,
    run_script,
    save,
    texture,
    write_video,
)
from tests.tiny_models import init_model, lite_model, slow_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return lite_model(tmp_path / "lite.onnx")


def written(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def read_all(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        done, image = capture.read()
        if not done:
            return frames
        frames.append(image)


def test_two_videos_become_one_of_pictures_beside_their_depth(tmp_path: Path, model: Path) -> None:
    left = write_video(tmp_path / "toy_left.avi", frames=6)
    write_video(tmp_path / "toy_right.avi", frames=8, seed=1)
    done = run_script(SEPARATE, "--model-path", model, cwd=tmp_path, answers=f"{left}\n\n")
    assert done.returncode == 0, done.stderr
    assert "Left Video (URL or file path) : " in done.stdout
    assert "Right Video (URL or file path) : " in done.stdout
    assert "relative depth" in done.stdout
    assert f"saved {Path('output') / 'toy_depth.mp4'} (" in done.stdout
    assert "100 %, 6 of 6 frames" in done.stderr
    assert "the left video is shorter" in done.stderr
    frames = read_all(tmp_path / "output" / "toy_depth.mp4")
    assert [frame.shape for frame in frames] == [(64, 192, 3)] * 6
    means = [frame[:, :96].mean() for frame in frames]
    assert means == pytest.approx([0, 10, 20, 30, 40, 50], abs=4)


def test_two_numbered_sequences_of_images_become_one_video(tmp_path: Path, model: Path) -> None:
    for side in ("left", "right"):
        for number in range(3):
            save(tmp_path / f"{side}_{number:04d}.png", texture(64, 96, seed=number))
    answers = "left_%04d.png\nright_%04d.png\n"
    done = run_script(SEPARATE, "--model-path", model, cwd=tmp_path, answers=answers)
    assert done.returncode == 0, done.stderr
    films = list((tmp_path / "output").glob("*_depth.mp4"))
    assert [len(read_all(film)) for film in films] == [3]


@pytest.mark.parametrize(
    ("answer", "flags", "left"), [("", [], 40), ("y", [], 200), (None, ["--swap"], 200)]
)
def test_the_halves_of_a_video_and_their_order(
    tmp_path: Path, model: Path, answer: str | None, flags: list[str], left: int
) -> None:
    path = tmp_path / "sbs.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (192, 64))
    for _ in range(3):
        halves = np.full((64, 96, 3), 40, np.uint8), np.full((64, 96, 3), 200, np.uint8)
        writer.write(np.hstack(halves))
    writer.release()
    answers = f"{path}\n" if answer is None else f"{path}\n{answer}\n"
    done = run_script(UNIFIED, "--model-path", model, *flags, cwd=tmp_path, answers=answers)
    assert done.returncode == 0, done.stderr
    assert "Stereo Video (URL or file path) : " in done.stdout
    assert ("Swap left and right(y/n) : " in done.stdout) == (answer is not None)
    frame = read_all(tmp_path / "output" / "sbs_depth.mp4")[1]
    assert frame[:, 8:88].mean() == pytest.approx(left, abs=5)


def test_with_a_camera_what_is_too_far_is_black(tmp_path: Path) -> None:
    left = write_video(tmp_path / "toy_left.avi", frames=2)
    write_video(tmp_path / "toy_right.avi", frames=2)
    constant = init_model(tmp_path / "constant.onnx", (64, 96), weights=(0, 0, 0), bias=5)
    for farthest, dark in ((1.5, True), (4, False)):  # it is 100 px * 0.1 m / 5 px = 2 m away
        done = run_script(
            SEPARATE, left, "--model-path", constant, "--baseline", "0.1", "--focal-length", "100",
            "--max-distance", farthest, "--overwrite", cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "relative depth" not in done.stdout
        frame = read_all(tmp_path / "output" / "toy_depth.mp4")[0]
        assert (frame[:, 104:].mean() < 10) == dark


def test_a_broken_frame_is_reported_and_the_record_tells(tmp_path: Path, model: Path) -> None:
    left = write_video(tmp_path / "toy_left.avi", frames=6)
    damage_frames(write_video(tmp_path / "toy_right.avi", frames=6), (2,))
    done = run_script(SEPARATE, left, "--model-path", model, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["frames"] == 5
    assert "1 frame of" in record["remarks"][0]
    assert record["remarks"][0] in done.stderr
    # the one before it is shown longer, so that the rest keeps its time
    assert len(read_all(tmp_path / record["files"][0])) == 5
    with av.open(str(tmp_path / record["files"][0])) as container:
        times_s = [frame.time for frame in container.decode(video=0)]
    assert times_s == pytest.approx([0.0, 0.1, 0.3, 0.4, 0.5])


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
@pytest.mark.parametrize(
    ("number", "again_s"), [(signal.SIGINT, 0.007), (signal.SIGINT, 0.013), (signal.SIGTERM, None)]
)
def test_ctrl_c_and_a_request_to_end_keep_what_was_written(
    tmp_path: Path, number: signal.Signals, again_s: float | None
) -> None:
    model = slow_model(tmp_path / "slow.onnx", rounds=300)
    left = write_video(tmp_path / "toy_left.avi", frames=20)
    right = write_video(tmp_path / "toy_right.avi", frames=20)
    process = subprocess.Popen(
        command(SEPARATE, left, right, "--model-path", model),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )
    output = tmp_path / "output"
    end = time.monotonic() + 40
    while time.monotonic() < end and not written(output / "toy_depth.mp4"):
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    if again_s is not None:  # a key that bounces
        time.sleep(again_s)
        process.send_signal(number)
    out, err = process.communicate(timeout=20)
    ending = (
        (130, "stopped by Ctrl-C") if number == signal.SIGINT else (143, "terminated by the system")
    )
    assert (process.returncode, err.splitlines()[-1]) == ending
    assert "toy_depth.mp4" in out
    assert 1 <= len(read_all(output / "toy_depth.mp4")) < 20
    names = {path.name for path in output.iterdir()}
    assert names == {"toy_depth.mp4", "toy_run.json", "toy_resume.bin"}


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
def test_a_video_goes_on_when_nobody_reads_its_sentences(tmp_path: Path, model: Path) -> None:
    # given a reader that has had enough, as `head -1` has after a line
    left = write_video(tmp_path / "toy_left.avi", frames=4)
    right = write_video(tmp_path / "toy_right.avi", frames=4)
    reading, writing = os.pipe()
    os.close(reading)
    # when a video is estimated
    with os.fdopen(writing, "wb") as output:
        done = subprocess.run(
            command(SEPARATE, left, right, "--model-path", model, "--no-window"),
            stdout=output, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment(),
            timeout=60, check=False,
        )  # fmt: skip
    # then it is written to its end
    assert done.returncode == 0, done.stderr
    assert len(read_all(tmp_path / "output" / "toy_depth.mp4")) == 4
    assert "Error" not in done.stderr
