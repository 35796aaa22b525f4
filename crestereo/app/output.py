"""Files of a run: images, data and its record."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crestereo.app.script import say, warn
from crestereo.camera import CameraConfig
from crestereo.colormap import robust_range
from crestereo.errors import CREStereoError
from crestereo.formats import write_bytes, write_depth_png, write_image, write_pfm, write_ply
from crestereo.geometry import point_cloud
from crestereo.types import BGRImage, DepthMap, DisparityMap

if TYPE_CHECKING:
    from crestereo.estimator import CREStereo

MAX_PNG_DEPTH_M = 65.535
"""Largest depth of the millimetre PNG."""

_MAX_CLOUD_POINTS = 2_000_000  # 30 MB; more only slows a viewer down
_CONTENTS = {
    "depth.png": "left image and coloured depth",
    "depth_only.png": "coloured depth",
    "disparity.pfm": "disparity in pixels; cv2.imread(path, -1) reads it",
    "depth_mm.png": "depth, 16-bit millimetres",
    "points.ply": "point cloud; MeshLab and CloudCompare open it",
    "depth.mp4": "left video and coloured depth",
    "run.json": "settings and figures of the run",
}
_CLAIM_S = 60.0  # from a claim to its first contents


@dataclass(frozen=True)
class OutputNames:
    """Names of the files of one run: ``NAME_depth.png``, in later runs ``NAME_depth_2.png``."""

    folder: Path
    name: str
    number: int
    endings: Sequence[str]

    def path(self, ending: str) -> Path:
        """Return the path for an ending such as ``depth.png``."""
        stem, dot, suffix = ending.partition(".")
        number = f"_{self.number}" if self.number else ""
        return self.folder / f"{self.name}_{stem}{number}{dot}{suffix}"

    def release(self) -> None:
        """Remove the claim of a run that has written nothing, and its folder where empty."""
        claim = self.path(self.endings[0])
        with suppress(OSError):
            if claim.stat().st_size == 0:
                claim.unlink()
                claim.parent.rmdir()  # fails where it holds something


def claim_names(
    folder: str | Path, name: str, endings: Sequence[str], *, overwrite: bool
) -> OutputNames:
    """Return names for the files of a run that replace none of another run.

    An empty file under the first of them keeps a simultaneous run from the same names.
    """
    for number in count():
        names = OutputNames(Path(folder), name, number + 1 if number else 0, endings)
        if overwrite or not any(_is_taken(names.path(ending)) for ending in endings):
            with suppress(OSError):  # the writer reports why
                names.folder.mkdir(parents=True, exist_ok=True)
                names.path(endings[0]).touch()
            return names
    raise AssertionError("count() does not end")


def _is_taken(path: Path) -> bool:
    """Return whether a file exists that is not the old claim of a killed run."""
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_size > 0 or time.time() - status.st_mtime < _CLAIM_S


def save_image(path: Path, image: BGRImage) -> Path:
    """Write an image and return its path."""
    write_image(path, image)
    return path


def save_maps(
    names: OutputNames,
    left: BGRImage,
    disparity: DisparityMap,
    depth: DepthMap | None,
    camera: CameraConfig | None,
) -> list[Path]:
    """Write the data of an estimation; return the paths.

    Disparity (H, W) [px] always; depth [m] and a point cloud with the colours of the left image
    where there is a camera.
    """
    paths = [names.path("disparity.pfm")]
    write_pfm(paths[0], disparity)
    if depth is not None and camera is not None:
        paths += [names.path("depth_mm.png"), names.path("points.ply")]
        too_far = float(np.mean(depth > MAX_PNG_DEPTH_M))  # False where unknown
        if too_far > 0:
            warn(
                f"{100 * too_far:.1f} % of the depths exceed the {MAX_PNG_DEPTH_M} m that "
                f"{paths[1].name} can hold; they are unknown there"
            )
        write_depth_png(paths[1], depth)
        points, colors = point_cloud(depth, left, camera)
        step = max(1, -(-len(points) // _MAX_CLOUD_POINTS))
        write_ply(paths[2], points[::step], colors[::step])
    return paths


def save_record(path: Path, record: dict[str, Any]) -> None:
    """Write the record of a run as JSON."""
    write_bytes(path, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())


def report_files(paths: Sequence[str]) -> None:
    """Print what was saved and what each file holds."""
    for path in paths:
        say(f"saved {path} ({_content_of(path)})")


def _content_of(path: str) -> str:
    for ending, content in _CONTENTS.items():
        stem, _, suffix = ending.partition(".")
        if re.search(rf"_{stem}(_\d+)?\.{suffix}$", path):
            return content
    raise ValueError(f"no run writes {path}")


def view_saver(folder: str | Path, name: str) -> Callable[[BGRImage], None]:
    """Return a function that saves the view of the window under a new name."""

    def save(image: BGRImage) -> None:
        names = claim_names(folder, name, ("view.png",), overwrite=False)
        try:
            say(f"saved {save_image(names.path('view.png'), image)}")
        except CREStereoError as exc:  # the window stays open
            warn(f"{exc}")
        finally:
            names.release()

    return save


def model_record(estimator: CREStereo) -> dict[str, Any]:
    """Return file, iterations, input size and provider of a network."""
    return {
        "model": estimator.name,
        "iters": estimator.iters,
        "model_shape": estimator.shape,
        "provider": estimator.provider,
    }


def map_record(disparity: DisparityMap, depth: DepthMap | None) -> dict[str, Any]:
    """Return size and range of a map; the range leaves 2 % out at either end."""
    record: dict[str, Any] = {
        "size_px": [disparity.shape[1], disparity.shape[0]],
        "known": round(float(np.isfinite(disparity).mean()), 4),
        "disparity_px": _range(disparity),
        "relative": depth is None,
    }
    if depth is not None:
        record["depth_m"] = _range(depth)
    return record


def range_sentence(record: dict[str, Any]) -> str:
    """Return one sentence about the range of a map."""
    low, high = record["disparity_px"] or (float("nan"), float("nan"))
    text = f"disparity {low:.1f} to {high:.1f} px, estimated in {record['seconds']:.2f} s"
    if record["relative"]:
        return f"relative depth: {text}"
    near, far = record["depth_m"] or (float("nan"), float("nan"))
    return f"depth {near:.2f} to {far:.2f} m: {text}"


def _range(values: DisparityMap) -> list[float] | None:
    if not np.isfinite(values).any():
        return None
    return [round(value, 4) for value in robust_range(values)]
