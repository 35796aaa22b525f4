"""What a run leaves behind: pictures, videos, data files and its record."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import cv2

from crestereo.app.messages import Messages
from crestereo.errors import SourceError, UsageError
from crestereo.files import replacing, write_bytes
from crestereo.formats import write_depth_png, write_image, write_pfm, write_ply
from crestereo.geometry import point_cloud
from crestereo.settings import CameraConfig
from crestereo.types import BGRImage, DepthMap, DisparityMap

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


def view_saver(folder: str | Path, name: str, messages: Messages) -> Callable[[BGRImage], None]:
    """Return what saves a view of a window beside whatever is there and says where."""

    def save(picture: BGRImage) -> None:
        names = choose_names(folder, name, ("view.png",), overwrite=False)
        messages.say(f"saved {save_picture(names.path('view.png'), picture)}")

    return save


@contextmanager
def video_file(path: Path, fps: float) -> Iterator[Callable[[BGRImage], None]]:
    """Lend a function that adds frames to a video, which appears under its name when it is whole.

    Parameters
    ----------
    path : Path
        An ``.mp4`` file.
    fps : float
        Frames per second.

    Yields
    ------
    callable
        Takes one frame (H, W, 3) uint8 after the other; called from one thread.

    Raises
    ------
    UsageError
        When the file cannot be written.
    SourceError
        When no frame came.
    """
    writer = cv2.VideoWriter()
    lock = threading.Lock()  # a thread may still be adding when the block ends
    interrupted = False
    with replacing(path) as temporary:

        def add(frame: BGRImage) -> None:
            height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2  # yuv420 halves both
            with lock:
                if not writer.isOpened():
                    code = cv2.VideoWriter.fourcc(*"mp4v")
                    if not writer.open(str(temporary), code, fps, (width, height)):
                        raise UsageError(f"OpenCV cannot write {path}; choose another place")
                writer.write(frame[:height, :width])

        try:
            yield add
        except KeyboardInterrupt:  # what there is by now is a whole, shorter video
            interrupted = True
        finally:
            with lock:
                writer.release()
        if not temporary.exists():
            raise SourceError(f"no frame came, so {path} was not written")
    if interrupted:
        raise KeyboardInterrupt
