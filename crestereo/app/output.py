"""Files of a run: images, data, record, and state to resume from."""

from __future__ import annotations

import io
import json
import math
import pickle
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crestereo import __version__
from crestereo.app.pipeline import ClosedError
from crestereo.app.render import View, side_by_side
from crestereo.app.script import say, warn
from crestereo.app.sources import Kind
from crestereo.app.video_writer import VideoWriter
from crestereo.camera import CameraConfig
from crestereo.errors import CREStereoError, SourceError, UsageError
from crestereo.formats import (
    read_bytes,
    write_bytes,
    write_depth_png,
    write_image,
    write_pfm,
    write_ply,
)
from crestereo.geometry import disparity_to_depth, point_cloud
from crestereo.types import BGRImage, DepthMap, DisparityMap, StereoPair

if TYPE_CHECKING:
    from crestereo.app.settings import VideoSettings
    from crestereo.app.stereo_video import PairStream
    from crestereo.estimator import CREStereo

MAX_PNG_DEPTH_M = 65.535
"""Largest depth of the millimetre PNG."""

STATE = "resume.bin"
"""Ending of the file from which a run resumes."""

_MAX_16_BIT = 65535
_MAX_CLOUD_POINTS = 2_000_000  # 30 MB; more only slows a viewer down
_STILL = ("view.png", "left.png", "right.png", "disparity.pfm", "depth_mm.png", "points.ply")
_CONTENTS = {
    "view.png": "what the window showed",
    "left.png": "left view",
    "right.png": "right view",
    "depth.png": "left image and coloured depth",
    "depth_only.png": "coloured depth",
    "disparity.pfm": "disparity in pixels; cv2.imread(path, -1) reads it",
    "depth_mm.png": "depth, 16-bit millimetres",
    "points.ply": "point cloud; MeshLab and CloudCompare open it",
    "recorded_input.mp4": "left and right view side by side",
    "recorded_depth.mp4": "depth of the same frames",
    "depth.mp4": "video of the depth",
    "maps.mkv": "map of each frame, 16 bit without loss; its metadata hold the scale",
    "maps": "map of each frame, 16 bit; scale.json holds the scale",
    "run.json": "settings and figures of the run",
}
_CLAIM_S = 60.0  # from a claim to its first contents
_WITHOUT_EFFECT = {
    "json", "debug", "given", "output_dir", "overwrite", "save", "window", "resume",
    "model_path", "cookies_from_browser",
}  # fmt: skip
_KEPT = 3  # the last ones may be ahead of what the video holds after a crash
_ARRAY_FUNCTIONS = {"_reconstruct", "_frombuffer", "scalar"}


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
        """Remove the claim of a run that has written nothing."""
        claim = self.path(self.endings[0])
        with suppress(OSError):
            if claim.stat().st_size == 0:
                claim.unlink()
                claim.parent.rmdir()  # fails where it holds something


def _all_names(folder: str | Path, name: str, endings: Sequence[str]) -> Iterator[OutputNames]:
    """Yield the names of the first run, the second and so on."""
    for number in chain([0], count(2)):
        yield OutputNames(Path(folder), name, number, endings)


def claim_names(
    folder: str | Path, name: str, endings: Sequence[str], *, overwrite: bool
) -> OutputNames:
    """Return file names of a run that replace no other run's.

    An empty file under the first of them keeps a simultaneous run from the same names.
    """
    names = next(
        names
        for names in _all_names(folder, name, endings)
        if overwrite or not any(_is_taken(names.path(ending)) for ending in endings)
    )
    with suppress(OSError):  # the writer reports why
        names.folder.mkdir(parents=True, exist_ok=True)
        names.path(endings[0]).touch()
    return names


def find_names(
    folder: str | Path, name: str, endings: Sequence[str], ending: str
) -> OutputNames | None:
    """Return the names of the last run that left a file."""
    found = None
    for names in _all_names(folder, name, endings):
        if names.path(ending).exists():
            found = names
        elif not names.path(endings[0]).exists():
            break
    return found


def is_complete(folder: str | Path, name: str, endings: Sequence[str]) -> bool:
    """Return whether a run has written all and left nothing to resume."""
    names = find_names(folder, name, endings, "run.json")
    return names is not None and find_names(folder, name, endings, STATE) is None


def _is_taken(path: Path) -> bool:
    """Return whether a file exists that is no dead run's claim."""
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
    *,
    pixels: NDArray[np.float32] | None = None,
) -> list[Path]:
    """Write disparity, depth where known, and points; return the paths.

    `pixels` as in `point_cloud`.
    """
    paths = [names.path("disparity.pfm")]
    write_pfm(paths[0], disparity)
    if depth is not None:
        paths.append(names.path("depth_mm.png"))
        too_far = float(np.mean(depth > MAX_PNG_DEPTH_M))  # False where unknown
        if too_far > 0:
            warn(
                f"{100 * too_far:.1f} % of the depths exceed the {MAX_PNG_DEPTH_M} m that "
                f"{paths[1].name} can hold; they are unknown there"
            )
        write_depth_png(paths[1], depth)
    if camera is not None:
        paths.append(names.path("points.ply"))
        distance = disparity_to_depth(disparity, camera) if depth is None else depth
        points, colors = point_cloud(distance, left, camera, pixels=pixels)
        step = max(1, -(-len(points) // _MAX_CLOUD_POINTS))
        write_ply(paths[-1], points[::step], colors[::step])
    return paths


class MapFrames:
    """Maps of a video as 16-bit numbers, 0 where unknown.

    Millimetres where there is a camera, else disparity in steps that suit the width.
    """

    def __init__(self, kind: str, names: OutputNames, stream_fps: float, size: tuple[int, int],
                 *, metric: bool) -> None:  # fmt: skip
        self._kind, self._metric, self._shape = kind, metric, size[::-1]
        steps = 1000 if metric else 2 ** int(math.log2(2 * _MAX_16_BIT / size[0]))
        self.scale = {"unit": "m" if metric else "px", "steps": str(steps), "unknown": "0"}
        self._steps = steps
        self.path = names.path("maps.mkv" if kind == "ffv1" else "maps")
        self._number = 0
        tags = {name.upper(): value for name, value in self.scale.items()}
        self.writer = (
            VideoWriter(self.path, stream_fps, codec="ffv1", metadata=tags)
            if kind == "ffv1"
            else None
        )

    def resume(self, frames: int, state: tuple[float, float, float] | None) -> None:
        """Continue after the first frames."""
        self._number = frames
        if self.writer is not None and state is not None:
            self.writer.resume(frames, state, np.zeros(self._shape, np.uint16))

    def add(self, disparity: DisparityMap, depth: DepthMap | None, time_s: float) -> None:
        """Write the map of the next frame."""
        values = (disparity if depth is None else depth) * self._steps
        inside = np.isfinite(values)
        if self._metric:  # what is too far is unknown, as in the PNG of an image
            inside &= values <= _MAX_16_BIT
        numbers = np.where(inside, np.clip(np.rint(values), 1, _MAX_16_BIT), 0).astype(np.uint16)
        if self.writer is not None:
            self.writer.add(numbers, time_s)
            return
        if self._number == 0:
            self.path.mkdir(parents=True, exist_ok=True)
            save_record(self.path / "scale.json", dict(self.scale))
        place = self.path / f"{self._number:06d}"
        self._number += 1
        if self._kind == "png16":
            write_image(place.with_suffix(".png"), numbers)
            return
        data = io.BytesIO()
        np.savez_compressed(data, values=numbers, steps=self._steps, time_s=time_s)
        write_bytes(place.with_suffix(".npz"), data.getvalue())

    def close(self) -> None:
        """Finish the file."""
        if self.writer is not None:
            self.writer.close()


def save_record(path: Path, record: dict[str, Any]) -> None:
    """Write the record of a run as JSON."""
    write_bytes(path, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())


def report_files(paths: Sequence[str]) -> None:
    """Print what was saved and what each file holds."""
    for path in paths:
        say(f"saved {path} ({_content_of(path)})")


def _content_of(path: str) -> str:
    for ending, content in _CONTENTS.items():
        stem, dot, suffix = ending.partition(".")
        if re.search(rf"_{stem}(_\d+)?{re.escape(dot + suffix)}$", path):
            return content
    raise ValueError(f"no run writes {path}")


class ViewSaver:
    """Writer of what the window shows, with views and maps.

    Files are written in threads, as a point cloud takes longer than a key may.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        camera: CameraConfig | None = None,
        pixels: NDArray[np.float32] | None = None,
    ) -> None:
        self._folder, self._name, self._camera, self._pixels = folder, name, camera, pixels
        self._threads: list[threading.Thread] = []

    def __call__(self, view: View) -> None:
        """Begin to save a view."""
        endings = _STILL[:1] if view.pair is None else _STILL
        names = claim_names(self._folder, self._name, endings, overwrite=False)
        self._threads.append(threading.Thread(target=self._save, args=(view, names), daemon=True))
        self._threads[-1].start()

    def wait(self) -> None:
        """Wait until everything is saved."""
        for thread in self._threads:
            thread.join()

    def _save(self, view: View, names: OutputNames) -> None:
        pair, disparity = view.pair, view.disparity
        try:
            paths = [save_image(names.path("view.png"), view.image)]
            if pair is not None and disparity is not None:
                paths.append(save_image(names.path("left.png"), pair.left))
                paths.append(save_image(names.path("right.png"), pair.right))
                paths += save_maps(
                    names, pair.left, disparity, view.depth, self._camera, pixels=self._pixels
                )
            report_files([str(path) for path in paths])
        except CREStereoError as exc:  # the window stays open
            warn(f"{exc}")
        finally:
            names.release()


class Recorder:
    """Writer of the same frames of the input and of its depth."""

    def __init__(self, settings: VideoSettings, name: str, fps: float) -> None:
        self._settings, self._name, self._fps = settings, name, fps
        self._writers: dict[Path, VideoWriter] = {}
        self._names: OutputNames | None = None
        self._last_s = -math.inf

    @property
    def on(self) -> bool:
        """Return whether frames are recorded."""
        return bool(self._writers)

    def toggle(self) -> None:
        """Begin new videos, or finish those that are recorded."""
        if self._writers:
            writers, self._writers = self._writers, {}
            for writer in writers.values():
                writer.close()
            if self._names is not None:
                self._names.release()
            report_files([str(path) for path, writer in writers.items() if writer.frames])
            return
        endings = ("recorded_input.mp4", "recorded_depth.mp4")
        folder, name = self._settings.output_dir, self._name
        self._names = names = claim_names(folder, name, endings, overwrite=False)
        how: dict[str, Any] = {"codec": self._settings.codec, "crf": self._settings.crf}
        self._last_s = -math.inf
        self._writers = {
            path: VideoWriter(path, self._fps, **how) for path in map(names.path, endings)
        }

    def add(self, pair: StereoPair, colored: BGRImage) -> None:
        """Write a frame of both."""
        if pair.time_s <= self._last_s:  # of before a seek
            return
        frames = side_by_side(pair.left, pair.right), colored
        with suppress(ClosedError):  # finished meanwhile
            for writer, frame in zip(self._writers.values(), frames, strict=False):
                writer.add(frame, pair.time_s)
                self._last_s = pair.time_s


def model_record(estimator: CREStereo) -> dict[str, Any]:
    """Return file, iterations, input size and provider of a network."""
    return {
        "model": estimator.name,
        "iters": estimator.iters,
        "model_shape": estimator.shape,
        "provider": estimator.provider,
    }


# --- state of an interrupted run ------------------------------------------------------------------


@dataclass(frozen=True)
class Checkpoint:
    """State of a run before a frame of the video."""

    frames: int
    steps: bytes  # aligner and network
    drawing: Any  # colours and temporal filter
    video: tuple[float, float, float]
    maps: tuple[float, float, float] | None


class Checkpoints:
    """File of the last checkpoints and of what must not change."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self._path, self._identity = path, identity
        self._last: list[Checkpoint] = []

    def save(self, checkpoint: Checkpoint | None) -> None:
        """Add a checkpoint; None before the first frame."""
        self._last = [*self._last, checkpoint][-_KEPT:] if checkpoint else []
        write_bytes(self._path, pickle.dumps((self._identity, self._last)))

    def load(self, count_frames: Callable[[], int]) -> Checkpoint | None:
        """Return the last checkpoint whose frames are there, or refuse other settings."""
        try:
            identity, found = read_state(self._path)
        except SourceError as exc:
            raise UsageError(
                f"cannot read {self._path}: run again without --resume, with --overwrite"
            ) from exc
        changed = [
            f"{name} was {identity.get(name)}, is {value}"
            for name, value in self._identity.items()
            if identity.get(name) != value
        ]
        if changed:
            raise UsageError(
                f"cannot resume {self._path.name}: {'; '.join(changed)}; give the same settings, "
                "or leave out --resume"
            )
        frames = count_frames()
        self._last = [each for each in found if each.frames <= frames]
        return self._last[-1] if self._last else None

    def remove(self) -> None:
        """Remove the file of a run that is complete."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def identity_of(
    stream: PairStream, estimator: CREStereo, settings: VideoSettings
) -> dict[str, Any]:
    """Return what decides the frames of a run, as text."""
    values = {
        item.name: getattr(settings, item.name)
        for item in fields(settings)
        if item.name not in _WITHOUT_EFFECT
    }
    for number, video in enumerate(stream.videos, 1):
        source = video.source
        path = Path(source.text)  # of a file; a numbered sequence is none
        size = path.stat().st_size if source.kind is Kind.FILE and path.is_file() else 0
        values[f"video {number}"] = f"{source} ({size} bytes)"
    values["arrangement"] = stream.arrangement
    values["network"] = f"{estimator.name} on {estimator.provider}"
    values["program"] = f"version {__version__}"
    return {name: str(value) for name, value in values.items()}


class _Unpickler(pickle.Unpickler):
    """Reader of this program's classes and arrays; runs no other code."""

    def find_class(self, module: str, name: str) -> Any:
        root = module.partition(".")[0]
        if root in ("crestereo", "numpy"):
            found = super().find_class(module, name)
            if isinstance(found, type) or (root == "numpy" and name in _ARRAY_FUNCTIONS):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a checkpoint")


def read_state(path: Path) -> tuple[Any, Any]:
    """Return what a state depends on, and the state, or raise SourceError."""
    try:
        key, state = restore(read_bytes(path))
    except Exception as exc:  # pickle raises nearly anything on damage or another version
        raise SourceError(f"{path} is no state of this version that can be read") from exc
    return key, state


def restore(data: bytes) -> Any:
    """Return what was pickled, made of classes of this program and arrays."""
    return _Unpickler(io.BytesIO(data)).load()
