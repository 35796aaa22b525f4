"""Read Middlebury, ETH3D and KITTI folders and the rendered samples.

====================  ==========================================================================
layout                files below the folder
====================  ==========================================================================
Middlebury v3, 2014   ``SCENE/im0.png im1.png``, ``disp0GT.pfm`` (or ``disp0.pfm``),
                      ``mask0nocc.png``, ``calib.txt``
ETH3D two-view        the same; the ground truth may lie in a neighbour folder called ``..._gt``
KITTI 2015            ``image_2/N_10.png image_3/``, ``disp_occ_0/``, ``disp_noc_0/``
KITTI 2012            ``colored_0/ colored_1/`` or ``image_0/ image_1/``, ``disp_occ/ disp_noc/``
rendered samples      ``NAME_left.png NAME_right.png NAME_disparity.pfm``
====================  ==========================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crestereo.errors import SourceError
from crestereo.formats import read_disparity, read_image
from crestereo.types import DisparityMap, StereoPair

MIDDLEBURY_V3_HALF_WEIGHT = frozenset({"PianoL", "Playroom", "Playtable", "Shelves", "Vintage"})
"""Training scenes that count half in the benchmark's averages.

From the row of weights (8 or 4) above the results table, https://vision.middlebury.edu/stereo/eval3/
"""

KITTI_FOLDERS = (
    # left, right, ground truth of all pixels, ground truth of non-occluded pixels
    ("image_2", "image_3", "disp_occ_0", "disp_noc_0"),
    ("colored_0", "colored_1", "disp_occ", "disp_noc"),
    ("image_0", "image_1", "disp_occ", "disp_noc"),
)
KITTI_DISPARITIES = 256  # the largest value its 16-bit files can hold

MASK_NON_OCCLUDED = 255  # mask0nocc.png: 255 seen by both cameras, 128 occluded, 0 unknown


@dataclass(frozen=True)
class Scene:
    """Files of one pair.

    Parameters
    ----------
    name, group : str
        Scene and the folder it belongs to.
    benchmark : {"middlebury", "middlebury v3", "kitti", "samples"}
        Whose rules average it.
    left, right, ground truth : Path
    non_occluded : Path or None
        Mask, or the ground truth of the non-occluded pixels (KITTI).
    calibration : Path or None
    """

    name: str
    group: str
    benchmark: str
    left: Path
    right: Path
    ground_truth: Path
    non_occluded: Path | None = None
    calibration: Path | None = None

    @property
    def weight(self) -> float:
        """Return the weight of the scene in its benchmark's averages."""
        hard = self.benchmark == "middlebury v3" and self.name in MIDDLEBURY_V3_HALF_WEIGHT
        return 0.5 if hard else 1.0


@dataclass(frozen=True)
class SceneData:
    """Images and ground truth of one scene.

    Parameters
    ----------
    pair : StereoPair
    ground truth : (H, W) float32
        Disparity of the left image [px], NaN where unknown.
    non_occluded : (H, W) bool or None
        Pixels that both cameras see; None if the data set has no mask.
    disparities : int
        Number of disparities to search, from 0 up: the range given by the benchmark.
    """

    pair: StereoPair
    ground_truth: DisparityMap
    non_occluded: NDArray[np.bool_] | None
    disparities: int


def find_scenes(root: Path) -> list[Scene]:
    """Return every scene below a folder, sorted by group and name."""
    if not root.is_dir():
        raise SourceError(f"{root} is not a folder: name the folder of a stereo data set")
    scenes = [*_middlebury(root), *_kitti(root), *_samples(root)]
    if not scenes:
        raise SourceError(
            f"no stereo scene in {root}: looked for im0.png (Middlebury, ETH3D), disp_occ_0 or "
            "disp_occ (KITTI) and NAME_left.png with NAME_disparity.pfm (rendered samples)"
        )
    return sorted(scenes, key=lambda scene: (scene.group, scene.name))


def load_scene(scene: Scene) -> SceneData:
    """Read the files of a scene."""
    left, right = read_image(scene.left), read_image(scene.right)
    ground_truth = read_disparity(scene.ground_truth)
    if left.shape != right.shape or left.shape[:2] != ground_truth.shape:
        raise SourceError(
            f"the files of {scene.name} differ in size: left {left.shape[:2]}, "
            f"right {right.shape[:2]}, ground truth {ground_truth.shape}"
        )
    if not np.isfinite(ground_truth).any():
        raise SourceError(f"{scene.ground_truth} has no valid disparity")
    return SceneData(
        StereoPair(left, right, f"{scene.group}/{scene.name}"),
        ground_truth,
        _non_occluded(scene, ground_truth),
        _disparities(scene, ground_truth),
    )


def _middlebury(root: Path) -> list[Scene]:
    scenes = []
    for left in sorted(root.rglob("im0.png")):
        folder = left.parent
        neighbour = folder.parent.with_name(folder.parent.name + "_gt") / folder.name
        homes = [home for home in (folder, neighbour) if home.is_dir()]
        ground_truth = _first(homes, "disp0GT.pfm", "disp0.pfm") or folder / "disp0GT.pfm"
        v3 = any(re.fullmatch(r"MiddEval3.*|training[FHQ]", part.name) for part in folder.parents)
        scenes.append(
            Scene(
                folder.name,
                folder.parent.name or root.name,
                "middlebury v3" if v3 else "middlebury",
                left,
                folder / "im1.png",
                ground_truth,
                _first(homes, "mask0nocc.png"),
                _first(homes, "calib.txt"),
            )
        )
    return scenes


def _first(folders: list[Path], *names: str) -> Path | None:
    return next((f / n for f in folders for n in names if (f / n).is_file()), None)


def _kitti(root: Path) -> list[Scene]:
    scenes = []
    found = set()
    for left, right, everywhere, non_occluded in KITTI_FOLDERS:
        for folder in sorted(
            {*root.rglob(everywhere), *([root] if root.name == everywhere else [])}
        ):
            base = folder.parent
            if folder in found or not (base / left).is_dir():
                continue
            found.add(folder)
            scenes += [
                Scene(
                    ground_truth.stem,
                    base.name,
                    "kitti",
                    base / left / ground_truth.name,
                    base / right / ground_truth.name,
                    ground_truth,
                    _first([base / non_occluded], ground_truth.name),
                )
                for ground_truth in sorted(folder.glob("*_10.png"))
            ]
    return scenes


def _samples(root: Path) -> list[Scene]:
    scenes = []
    for ground_truth in sorted(root.rglob("*_disparity.pfm")):
        name = ground_truth.name.removesuffix("_disparity.pfm")
        left, right = (ground_truth.with_name(f"{name}_{side}.png") for side in ("left", "right"))
        if left.is_file():
            scenes.append(
                Scene(name, ground_truth.parent.name, "samples", left, right, ground_truth)
            )
    return scenes


def _non_occluded(scene: Scene, ground_truth: DisparityMap) -> NDArray[np.bool_] | None:
    if scene.benchmark == "samples":
        return seen_by_both(ground_truth)
    if scene.non_occluded is None:
        return None
    if scene.benchmark == "kitti":
        mask = np.isfinite(read_disparity(scene.non_occluded))
    else:
        mask = read_image(scene.non_occluded)[..., 0] == MASK_NON_OCCLUDED
    if mask.shape != ground_truth.shape:
        raise SourceError(f"{scene.non_occluded} has not the size of the ground truth")
    return mask


def seen_by_both(ground_truth: DisparityMap) -> NDArray[np.bool_]:
    """Return the pixels of the left image that both cameras see.

    A pixel at x with disparity d is at x - d in the right image. It is hidden where that is
    outside, or where another pixel of its row lands within half a pixel of it and is nearer by
    more than one pixel of disparity.
    """
    height, width = ground_truth.shape
    known = np.isfinite(ground_truth)
    disparity = np.where(known, ground_truth, 0.0)
    target = np.rint(np.arange(width) - disparity).astype(np.intp)
    inside = known & (target >= 0) & (target < width)
    rows = np.broadcast_to(np.arange(height)[:, None], ground_truth.shape)
    nearest = np.full(ground_truth.shape, -np.inf, np.float32)
    np.maximum.at(nearest, (rows[inside], target[inside]), disparity[inside].astype(np.float32))
    front = nearest[rows, np.clip(target, 0, width - 1)]
    return np.asarray(inside & (disparity >= front - 1), np.bool_)


def _disparities(scene: Scene, ground_truth: DisparityMap) -> int:
    if scene.benchmark == "kitti":
        return KITTI_DISPARITIES
    if scene.calibration is not None:
        match = re.search(r"^ndisp\s*=\s*(\d+)", scene.calibration.read_text("utf-8"), re.MULTILINE)
        if match:
            return int(match[1])
    return int(np.ceil(np.nanmax(ground_truth))) + 1
