"""What a run leaves behind beside videos: pictures, data files and its record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
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


def model_record(estimator: CREStereo) -> dict[str, Any]:
    """Return what estimated: file, iterations, size of its input and what ran it."""
    return {
        "model": estimator.name,
        "iters": estimator.iters,
        "model_shape": estimator.shape,
        "provider": estimator.provider,
    }


def map_record(disparity: DisparityMap, depth: DepthMap | None) -> dict[str, Any]:
    """Return size and range of a map; the range leaves 2 % out at either end."""
    known = np.isfinite(disparity)
    record: dict[str, Any] = {
        "size_px": [disparity.shape[1], disparity.shape[0]],
        "known": round(float(known.mean()), 4),
        "disparity_px": _range(disparity),
        "relative": depth is None,
    }
    if depth is not None:
        record["depth_m"] = _range(depth)
    return record


def range_sentence(record: dict[str, Any]) -> str:
    """Return one sentence about what was estimated."""
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


_MAX_CLOUD_POINTS = 2_000_000  # 30 MB; more only slows a viewer down


@dataclass(frozen=True)
class OutputNames:
    """Name the files of one run, so that they belong together and replace nothing.

    Parameters
    ----------
    folder : Path
        Where they go.
    name : str
        What was estimated.
    number : int
        0 for the first run; later ones are numbered from 2.
    """

    folder: Path
    name: str
    number: int

    def path(self, ending: str) -> Path:
        """Return the path for an ending such as ``depth.png``."""
        stem, dot, suffix = ending.partition(".")
        number = f"_{self.number}" if self.number else ""
        return self.folder / f"{self.name}_{stem}{number}{dot}{suffix}"


def choose_names(
    folder: str | Path, name: str, endings: Sequence[str], *, overwrite: bool
) -> OutputNames:
    """Return names for the files of a run, beside those of earlier runs unless `overwrite`."""
    candidates = (OutputNames(Path(folder), name, n + 1 if n else 0) for n in count())
    return next(
        names
        for names in candidates
        if overwrite or not any(names.path(ending).exists() for ending in endings)
    )


@contextmanager
def claimed_names(
    folder: str | Path, name: str, endings: Sequence[str], *, overwrite: bool
) -> Iterator[OutputNames]:
    """Lend the names of `choose_names`, which no other run chooses meanwhile.

    An empty file under the last of them says that they are taken; when the block ends it is gone,
    unless something was written there. Where none can be made, whoever writes will say why.
    """
    while True:
        names = choose_names(folder, name, endings, overwrite=overwrite)
        claim = names.path(endings[-1])
        made = [folder for folder in claim.parents if not folder.exists()]
        try:
            claim.parent.mkdir(parents=True, exist_ok=True)
            claim.touch(exist_ok=overwrite)
        except FileExistsError:
            if claim.exists():
                continue  # another run was faster
        except OSError:
            pass  # said by whoever writes
        break
    try:
        yield names
    finally:
        with suppress(OSError):
            if claim.stat().st_size == 0:
                claim.unlink()
            for above in made:
                above.rmdir()  # unless there is something in it


def save_maps(
    names: OutputNames,
    left: BGRImage,
    disparity: DisparityMap,
    depth: DepthMap | None,
    camera: CameraConfig | None,
) -> list[Path]:
    """Write the numbers of an estimation.

    Parameters
    ----------
    names : OutputNames
        Where to.
    left : (H, W, 3) uint8
        Gives the points their colour.
    disparity : (H, W) float32
        Pixels of the left picture.
    depth : (H, W) float32, optional
        Metres; with it and `camera` a depth picture and a point cloud are written.
    camera : CameraConfig, optional
        Places the points.

    Returns
    -------
    list of Path
        What was written.
    """
    paths = [names.path("disparity.pfm")]
    write_pfm(paths[0], disparity)
    if depth is not None and camera is not None:
        paths += [names.path("depth_mm.png"), names.path("points.ply")]
        write_depth_png(paths[1], depth)
        points, colors = point_cloud(depth, left, camera)
        step = max(1, -(-len(points) // _MAX_CLOUD_POINTS))
        write_ply(paths[2], points[::step], colors[::step])
    return paths


def save_record(path: Path, record: dict[str, Any]) -> None:
    """Write what a run did as JSON."""
    write_bytes(
        path,
        (json.dumps(record, ensure_ascii=False, indent=2) + "\n").encode(
            "utf-8", "backslashreplace"
        ),
    )


def save_picture(path: Path, picture: BGRImage) -> Path:
    """Write a picture and return its path."""
    write_image(path, picture)
    return path


def view_saver(folder: str | Path, name: str) -> Callable[[BGRImage], None]:
    """Return what saves a view of a window beside whatever is there and says where, or why not."""

    def save(picture: BGRImage) -> None:
        names = choose_names(folder, name, ("view.png",), overwrite=False)
        try:
            say(f"saved {save_picture(names.path('view.png'), picture)}")
        except CREStereoError as exc:  # what the window shows goes on all the same
            warn(f"{exc}")

    return save
