"""Settings and table rows of the benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .timing import Timing


@dataclass(frozen=True)
class Row:
    """Row of the table.

    Parameters
    ----------
    what, setting : str
        Quantity and settings of the measurement.
    median, p90 : float
        NaN for no value.
    unit : str
        "ms", "frames/s" or "MB".
    note : str
        A target or a ratio.
    """

    what: str
    setting: str
    median: float
    p90: float
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Setup:
    """Settings of a benchmark.

    Parameters
    ----------
    model : Path
        The network of the program.
    peers : tuple of (Path, shape or None)
        Other ONNX files; their height and width where they differ from `shape`.
    shape : (int, int)
        Height and width of images and network [px].
    iters : int
        For files with selectable iterations.
    threads : tuple of int
        The first is used for everything but the comparison of networks.
    devices : tuple of str
        Devices on which networks are compared.
    rounds : int
        Repetitions of each measurement.
    frames, memory_frames : int
        Length of the clips for speed and for memory.
    minutes : float
        Length of the live run.
    """

    model: Path
    peers: tuple[tuple[Path, tuple[int, int] | None], ...]
    shape: tuple[int, int]
    iters: int
    threads: tuple[int, ...]
    devices: tuple[str, ...]
    rounds: int
    frames: int
    memory_frames: int
    minutes: float

    @property
    def setting(self) -> str:
        """Return size, iterations and threads as text."""
        return f"{shape_text(self.shape)}, {self.iters} iterations, {threads_text(self.threads[0])}"


def shape_text(shape: tuple[int, int]) -> str:
    """Return height x width."""
    return f"{shape[0]}x{shape[1]}"


def time_row(what: str, setting: str, timing: Timing, note: str = "") -> Row:
    """Return the row of a timing, in milliseconds."""
    return Row(what, setting, 1e3 * timing.median, 1e3 * timing.p90, "ms", note)


def threads_text(count: int) -> str:
    """Return a number of threads in words."""
    return f"{count} thread{'s' if count > 1 else ''}"
