"""What the tests of the scripts share: sources made on the spot and scripts run as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
IMAGE = "image_depth_estimation.py"
SEPARATE = "video_depth_estimation_separate_vid.py"
UNIFIED = "video_depth_estimation_unified_vid.py"
COMPARE = "compare_image.py"

BLOCK: dict[str, object] = {  # of settings, as the scripts have it at their top
    "iters": 5,
    "model_shape": (480, 640),
    "version": "lite",
    "device": "cpu",
    "colormap": "magma",
    "baseline_m": None,
    "focal_px": None,
    "window": False,
}


def run_script(
    script: str,
    *args: object,
    answers: str = "",
    cwd: Path = ROOT,
    display: str = "",
    environ: dict[str, str] | None = None,
    timeout_s: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a script as a user does, its answers piped in; without a screen unless one is given."""
    return subprocess.run(
        command(script, *args),
        input=answers,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=environment(display) | (environ or {}),
        timeout=timeout_s,
        check=False,
    )


def command(script: str, *args: object) -> list[str]:
    return [sys.executable, str(ROOT / script), *map(str, args)]


def environment(display: str = "") -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    env |= {"PYTHONUTF8": "1", "NO_PROXY": "127.0.0.1,localhost"}
    return env | ({"DISPLAY": display} if display else {})


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return a smooth coloured noise."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height // 4, width // 4, 3))
    enlarged = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    return enlarged.astype(np.uint8)


def save(path: Path, picture: NDArray[np.generic]) -> Path:
    done, data = cv2.imencode(path.suffix, picture)
    assert done
    path.write_bytes(data.tobytes())
    return path


def picture_pair(folder: Path, height: int = 80, width: int = 112) -> tuple[Path, Path]:
    """Write ``toy_left.png`` and ``toy_right.png``, the second shifted by 4 px."""
    wide = texture(height, width + 4)
    return (
        save(folder / "toy_left.png", wide[:, :width]),
        save(folder / "toy_right.png", wide[:, 4:]),
    )


def write_video(
    path: Path, frames: int = 12, size: tuple[int, int] = (96, 64), fps: float = 10, seed: int = 0
) -> Path:
    """Write a Motion JPEG whose frame n has the mean grey value 10 * n, on a faint texture."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    assert writer.isOpened()
    faint = texture(size[1], size[0], seed).astype(np.int16) // 16 - 8
    for number in range(frames):
        writer.write(np.clip(faint + 10 * number, 0, 255).astype(np.uint8))
    writer.release()
    return path


def frame_number(image: NDArray[np.uint8]) -> int:
    """Return which frame of `write_video` a picture is."""
    return round(float(image.mean()) / 10)


def damage_frames(path: Path, numbers: tuple[int, ...]) -> Path:
    """Overwrite whole frames of a Motion JPEG with zeros."""
    data = bytearray(path.read_bytes())
    starts = []
    at = data.find(b"\xff\xd8\xff")
    while at >= 0:
        starts.append(at)
        at = data.find(b"\xff\xd8\xff", at + 3)
    for number in numbers:
        start = starts[number]
        limit = starts[number + 1] if number + 1 < len(starts) else len(data)
        end = data.rindex(b"\xff\xd9", start, limit) + 2
        data[start:end] = bytes(end - start)
    path.write_bytes(data)
    return path
