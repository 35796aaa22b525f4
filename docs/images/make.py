"""Make the images of the pages: python docs/images/make.py

Runs the scripts on the samples of input_files/ and scales what they save.
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

Image = NDArray[np.uint8]


def result_of(script: str, *arguments: str) -> Image:
    """Run a script and return its image, or the middle frame of its video."""
    command = [sys.executable, script, *arguments, "--no-window", "--json", "--output-dir"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, folder], cwd=ROOT, input="", stdout=subprocess.PIPE, check=True
        )
        path = json.loads(done.stdout)["files"][0]
        capture = cv2.VideoCapture(path)  # opens images too
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // 2)
        found, image = capture.read()
        capture.release()
    if not found:
        raise RuntimeError(f"{path} has no frame")
    return np.asarray(image, np.uint8)


def write(name: str, image: Image) -> None:
    """Write an image at the width of the page."""
    height = round(image.shape[0] * WIDTH_PX / image.shape[1])
    small = cv2.resize(image, (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    path = str(HERE / f"{name}.jpg")
    cv2.imwrite(path, small, params=[cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def main() -> None:
    """Make every image."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    write("picture", result_of("image_depth_estimation.py"))
    write("two_videos", result_of("video_depth_estimation_separate_vid.py"))
    write("one_video", result_of("video_depth_estimation_unified_vid.py", "--no-swap"))
    phones = [f"input_files/two_phones_{side}.jpg" for side in ("left", "right")]
    unaligned, aligned = (
        result_of("image_depth_estimation.py", *phones, "--align", align)
        for align in ("off", "auto")
    )
    half = aligned.shape[1] // 2
    write("two_phones", np.hstack((aligned[:, :half], unaligned[:, half:], aligned[:, half:])))


if __name__ == "__main__":
    main()
