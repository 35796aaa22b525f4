"""Stereo data sets of a few small scenes, in every layout the tools read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.formats import write_image, write_kitti_png, write_pfm

HEIGHT, WIDTH = 70, 100
SHIFT_PX = 6


def texture(seed: int = 0) -> NDArray[np.uint8]:
    """Return a picture with detail everywhere, twice as wide as a scene."""
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT, 2 * WIDTH, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (3, 3), sigmaX=0.8), np.uint8)


def shifted_pair(
    shift_px: int = SHIFT_PX, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return left and right of a plane: what is at x on the left is at x - shift on the right."""
    wide = texture(seed)
    return wide[:, :WIDTH].copy(), wide[:, shift_px : WIDTH + shift_px].copy()


def two_halves() -> NDArray[np.float32]:
    """Return a truth of 5 px in the left half, 8 px in the right half, unknown in row 0."""
    truth = np.full((HEIGHT, WIDTH), 5, np.float32)
    truth[:, WIDTH // 2 :] = 8
    truth[0] = np.nan
    return truth


def middlebury_scene(
    folder: Path,
    truth: NDArray[np.float32] | None = None,
    *,
    truth_name: str = "disp0GT.pfm",
    ndisp: int | None = 20,
    truth_folder: Path | None = None,
) -> Path:
    """Write im0, im1, truth, mask (left third occluded) and, with ``ndisp``, calib.txt."""
    truth = two_halves() if truth is None else truth
    left, right = shifted_pair()
    write_image(folder / "im0.png", left)
    write_image(folder / "im1.png", right)
    beside = truth_folder or folder
    write_pfm(beside / truth_name, truth)
    mask = np.full(truth.shape, 255, np.uint8)
    mask[:, : WIDTH // 4] = 128
    mask[~np.isfinite(truth)] = 0
    write_image(beside / "mask0nocc.png", mask)
    if ndisp is not None:
        lines = ["cam0=[99 0 50; 0 99 35; 0 0 1]", "doffs=0", f"ndisp={ndisp}", "isint=0"]
        (folder / "calib.txt").write_text("\n".join(lines), "utf-8")
    return folder


def kitti_training(root: Path, year: int, known_columns: tuple[int, ...] = (WIDTH,)) -> Path:
    """Write one KITTI scene per entry; an entry says how many columns have a truth."""
    folders = {
        2015: ("image_2", "image_3", "disp_occ_0", "disp_noc_0"),
        2012: ("colored_0", "colored_1", "disp_occ", "disp_noc"),
        2011: ("image_0", "image_1", "disp_occ", "disp_noc"),  # 2012 without the colour archive
    }[year]
    base = root / "training"
    left, right = shifted_pair()
    for number, columns in enumerate(known_columns):
        truth = two_halves()
        truth[:, columns:] = np.nan
        name = f"{number:06d}_10.png"
        write_image(base / folders[0] / name, left)
        write_image(base / folders[1] / name, right)
        write_kitti_png(base / folders[2] / name, truth)
        truth[:, : WIDTH // 4] = np.nan
        write_kitti_png(base / folders[3] / name, truth)
        write_image(base / folders[0] / name.replace("_10", "_11"), left)  # as in the archive
    return root


def rendered_sample(folder: Path, name: str = "desk", shift_px: int = SHIFT_PX) -> Path:
    """Write a pair like those in input_files/, of a plane at ``shift_px``."""
    left, right = shifted_pair(shift_px)
    write_image(folder / f"{name}_left.png", left)
    write_image(folder / f"{name}_right.png", right)
    write_pfm(folder / f"{name}_disparity.pfm", np.full(left.shape[:2], shift_px, np.float32))
    return folder
