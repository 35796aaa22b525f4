"""Save the state of a video run and resume from it."""

from __future__ import annotations

import dataclasses
import io
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crestereo.app.settings import VideoSettings
from crestereo.app.sources import Kind
from crestereo.app.stereo_video import PairStream
from crestereo.errors import CREStereoError, UsageError
from crestereo.formats import read_bytes, write_bytes

if TYPE_CHECKING:
    from crestereo.estimator import CREStereo

_WITHOUT_EFFECT = {
    "json", "debug", "given", "output_dir", "overwrite", "save", "window", "resume",
    "model_path", "cookies_from_browser",
}  # fmt: skip
_KEPT = 3  # the last ones may be ahead of what the video holds after a crash
_ARRAY_FUNCTIONS = {"_reconstruct", "_frombuffer", "scalar"}


@dataclasses.dataclass(frozen=True)
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
            identity, found = restore(read_bytes(self._path))
        except (CREStereoError, pickle.UnpicklingError, EOFError, ValueError, TypeError) as exc:
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
        for item in dataclasses.fields(settings)
        if item.name not in _WITHOUT_EFFECT
    }
    for number, video in enumerate(stream.videos, 1):
        source = video.source
        path = Path(source.text)  # of a file; a numbered sequence is none
        size = path.stat().st_size if source.kind is Kind.FILE and path.is_file() else 0
        values[f"video {number}"] = f"{source} ({size} bytes)"
    values["arrangement"] = stream.arrangement
    values["network"] = f"{estimator.name} on {estimator.provider}"
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


def restore(data: bytes) -> Any:
    """Return what was pickled, made of classes of this program and arrays."""
    return _Unpickler(io.BytesIO(data)).load()
