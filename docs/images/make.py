"""Make the pictures of the README again: python docs/images/make.py

The scripts run on the samples of input_files/ as a user runs them; what they save is scaled.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WIDTH_PX = 1100
JPEG_QUALITY = 82

Picture = NDArray[np.uint8]


def picture_of(script: str, *arguments: str) -> Picture:
    """Run a script without a window; return its picture, or the middle frame of its video."""
    command = [sys.executable, script, *arguments, "--no-window", "--json", "--output-dir"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, folder], cwd=ROOT, input="", stdout=subprocess.PIPE, check=True
        )
        path = json.loads(done.stdout)["files"][0]
        capture = cv2.VideoCapture(path)  # opens pictures too
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // 2)
        there, picture = capture.read()
        capture.release()
    if not there:
        raise RuntimeError(f"{path} has no frame")
    return np.asarray(picture, np.uint8)


def write(name: str, picture: Picture) -> None:
    """Write a picture at the width of the page."""
    height = round(picture.shape[0] * WIDTH_PX / picture.shape[1])
    small = cv2.resize(picture, (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    path = str(HERE / f"{name}.jpg")
    cv2.imwrite(path, small, params=[cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def main() -> None:
    """Make every picture."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    write("picture", picture_of("image_depth_estimation.py"))
    write("two_videos", picture_of("video_depth_estimation_separate_vid.py"))
    write("one_video", picture_of("video_depth_estimation_unified_vid.py", "--no-swap"))
    phones = [f"input_files/two_phones_{side}.jpg" for side in ("left", "right")]
    unaligned, aligned = (
        picture_of("image_depth_estimation.py", *phones, "--align", align)
        for align in ("off", "auto")
    )
    half = aligned.shape[1] // 2
    write("two_phones", np.hstack((aligned[:, :half], unaligned[:, half:], aligned[:, half:])))


if __name__ == "__main__":
    main()
