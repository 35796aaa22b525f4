"""Render the samples of input_files/.

For example::

    python tools/render_samples.py                       # everything, a few minutes
    python tools/render_samples.py --only table,clip1

The scenes are composed in training/scenes/; the same renderer makes the training scenes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

from crestereo.errors import UsageError
from crestereo.formats import write_pfm
from crestereo.types import BGRImage
from tools.lib.cli import run_tool
from training.scenes.beauty import daylight, fine_camera, render_fine
from training.scenes.camera import Camera
from training.scenes.clips import Clip, room_clip, street_clip, table_clip
from training.scenes.kit import Stage
from training.scenes.photometric import Development, develop
from training.scenes.scene import Sample
from training.scenes.showcase import room_scene, street_scene, table_scene

OUTPUT_DIR = Path(__file__).resolve().parents[1] / "input_files"
STILL_HEIGHT, STILL_WIDTH = 720, 1280
CLIP_HEIGHT, CLIP_WIDTH = 360, 640
CLIP_FRAMES, CLIP_FPS = 84, 25

# name: how it is composed, field of view [degrees], baseline [m]
STILLS: dict[str, tuple[Callable[[Camera], Stage], float, float]] = {
    "table": (table_scene, 58, 0.08),
    "room": (room_scene, 66, 0.20),
    "street": (street_scene, 60, 0.35),
}
# name: the clip, and whether both views are packed side by side into one file
CLIPS: dict[str, tuple[Callable[[int, int], Clip], bool]] = {
    "clip1": (room_clip, False),
    "clip2": (table_clip, False),
    "street_SBS": (street_clip, True),
}
PHONES = "two_phones"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=OUTPUT_DIR, help="folder of the results")
    names = [*STILLS, PHONES, *CLIPS]
    parser.add_argument("--only", default=",".join(names), help="samples, comma separated")
    options = parser.parse_args(arguments)
    options.only = [name.strip() for name in options.only.split(",")]
    unknown = sorted(set(options.only) - set(names))
    if unknown:
        parser.error(f"no sample is called {', '.join(unknown)}: there are {', '.join(names)}")
    return options


def still_camera(field_of_view: float) -> Camera:
    """Return the left camera for a horizontal field of view [degrees]."""
    focal = STILL_WIDTH / 2 / np.tan(np.radians(field_of_view) / 2)
    return Camera(STILL_HEIGHT, STILL_WIDTH, float(focal))


def render_still(name: str) -> tuple[Sample, Camera, float]:
    """Render a pair and return it with camera and baseline [m]."""
    compose, field_of_view, baseline = STILLS[name]
    camera = still_camera(field_of_view)
    stage = compose(fine_camera(camera))
    sample = render_fine(stage.surfaces(), camera, baseline, daylight(stage.light))
    return sample, camera, baseline


def write_image(path: Path, image: BGRImage) -> None:
    """Write a well compressed PNG or JPEG."""
    options = {
        ".png": [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, 1],
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 90],
    }[path.suffix]
    _, data = cv2.imencode(path.suffix, image, params=options)
    path.write_bytes(data.tobytes())


def write_still(folder: Path, name: str) -> None:
    """Write left, right, ground truth of the left image and the calibration."""
    sample, camera, baseline = render_still(name)
    write_image(folder / f"{name}_left.png", sample.left)
    write_image(folder / f"{name}_right.png", sample.right)
    write_pfm(folder / f"{name}_disparity.pfm", sample.disparity_left)
    largest = int(np.ceil(sample.disparity_left.max()))
    text = calibration_text(camera, baseline, largest + 1)
    (folder / f"{name}_calib.txt").write_text(text, encoding="ascii")


def calibration_text(camera: Camera, baseline: float, disparities: int) -> str:
    """Return a calibration in the format of Middlebury v3."""
    f, cx, cy = camera.focal, camera.cx, camera.cy
    matrix = f"[{f:.3f} 0 {cx:.3f}; 0 {f:.3f} {cy:.3f}; 0 0 1]"
    return (
        f"cam0={matrix}\ncam1={matrix}\ndoffs=0\nbaseline={1000 * baseline:.3f}\n"
        f"width={camera.width}\nheight={camera.height}\nndisp={disparities}\n"
    )


def write_phones(folder: Path) -> None:
    """Write the table as an unrectified, differently exposed phone pair."""
    sample, camera, _ = render_still("table")
    rng = np.random.default_rng(2)
    matrix = phone_matrix(camera, roll_degrees=0.7, zoom=1.06, shift_px=11.0)
    size = (camera.width, camera.height)
    right = np.asarray(cv2.warpAffine(sample.right, matrix, size, flags=cv2.INTER_CUBIC), np.uint8)
    for side, image, exposure, warmth in (
        ("left", sample.left, 1.0, 1.0),
        ("right", right, 1.22, 0.93),
    ):
        gain = exposure * np.array([warmth, 1.0, 1 / warmth])
        photometry = Development(gain, 1.0, 0.0, 0.15, 0.0, (0.0, 0.0), 0.3, (1.2, 1.5), False, 0)
        write_image(folder / f"{PHONES}_{side}.jpg", develop(image, photometry, rng))


def phone_matrix(
    camera: Camera, roll_degrees: float, zoom: float, shift_px: float
) -> NDArray[np.float64]:
    """Return the matrix that rotates, enlarges and shifts the right view."""
    centre = (camera.cx, camera.cy)
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, roll_degrees, zoom), np.float64)
    matrix[1, 2] += shift_px
    return matrix


def write_clip(folder: Path, name: str) -> None:
    """Write a clip as two videos or side by side."""
    make, packed = CLIPS[name]
    clip = make(CLIP_HEIGHT, CLIP_WIDTH)
    frames = list(tqdm(clip.frames(CLIP_FRAMES), total=CLIP_FRAMES, desc=name, unit="frame"))
    if packed:
        write_video(folder / f"{name}.mp4", (np.hstack(pair) for pair in frames))
        return
    for index, side in enumerate(("left", "right")):
        write_video(folder / f"{name}_{side}.mp4", (pair[index] for pair in frames))


def write_video(path: Path, frames: Iterator[BGRImage]) -> None:
    """Write an MP4, H.264 if ffmpeg is installed, else MPEG-4 part 2."""
    first = next(frames)
    height, width = first.shape[:2]
    unfinished = path.with_suffix(".part.mp4")
    program = shutil.which("ffmpeg")
    if program is None:
        code = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(unfinished), code, CLIP_FPS, (width, height))
        for frame in (first, *frames):
            writer.write(frame)
        writer.release()
    else:
        source = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}"]
        rate = ["-r", str(CLIP_FPS), "-i", "-"]
        target = ["-c:v", "libx264", "-crf", "23", "-preset", "slow", "-pix_fmt", "yuv420p"]
        end = ["-movflags", "+faststart", str(unfinished)]
        command = [program, "-v", "error", "-y", *source, *rate, *target, *end]
        data = b"".join(np.ascontiguousarray(frame).tobytes() for frame in (first, *frames))
        subprocess.run(command, input=data, check=True)
    unfinished.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    options = parse(arguments)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise UsageError(f"cannot make the folder {options.output}: {exc.strerror}") from exc
    for name in options.only:
        if name in STILLS:
            write_still(options.output, name)
        elif name == PHONES:
            write_phones(options.output)
        else:
            write_clip(options.output, name)
        print(f"{name} written to {options.output}")
    return 0


if __name__ == "__main__":
    run_tool(main)
