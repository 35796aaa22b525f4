"""Everything that can estimate a disparity, behind one face."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, get_args

from crestereo.errors import UsageError
from crestereo.types import DisparityResult, StereoPair

from .sgbm import Mode, sgbm_disparity

BASELINES: dict[str, tuple[str, Mode, bool]] = {
    "sgbm": ("SGBM", "full", True),
    "sgbm-3way": ("SGBM 3-way", "3way", True),
    "sgbm-holes": ("SGBM, holes kept", "full", False),
}
"""Name on the command line: name in tables, mode, holes filled."""

Prior: TypeAlias = Literal["none", "sgbm", "previous"]
PRIORS: tuple[Prior, ...] = get_args(Prior)


class Runner(Protocol):
    """Estimate the disparity of one pair after another."""

    def __call__(self, pair: StereoPair, disparities: int) -> DisparityResult:
        """Return the estimate; ``disparities`` is how many a classical matcher searches."""


@dataclass(frozen=True)
class Contestant:
    """Name one way to estimate a disparity; `open_contestant` loads it.

    Parameters
    ----------
    model : str
        What the tables call it.
    path : Path or None
        The network; None for a baseline.
    iters : int or None
    shape : (int, int) or None
        Size of the network's input, (height, width) [px]; None: that of the pictures.
    prior : {"none", "sgbm", "previous"}
        What the network starts from: nothing, the map of a classical matcher, or its own map of
        the pair before in the same group.
    """

    model: str
    path: Path | None = None
    iters: int | None = None
    shape: tuple[int, int] | None = None
    prior: Prior = "none"

    @property
    def shape_text(self) -> str:
        """Return "HxW", or "native" for the size of the pictures."""
        return f"{self.shape[0]}x{self.shape[1]}" if self.shape else "native"

    @property
    def pixels(self) -> float:
        """Return the number of pixels of the network's input; that of the pictures is infinite."""
        return float(math.prod(self.shape)) if self.shape else math.inf


def baseline(name: str) -> Contestant:
    """Return a classical matcher by its name on the command line."""
    if name not in BASELINES:
        raise UsageError(f"the baseline {name!r} does not exist; choose of {', '.join(BASELINES)}")
    return Contestant(BASELINES[name][0])


def open_contestant(
    contestant: Contestant, *, device: str = "auto", threads: int | None = None
) -> Runner:
    """Load what it takes to run a contestant.

    Raises
    ------
    ModelError
        The network cannot be opened.
    UsageError
        It was to start from a prior and takes none.
    """
    if contestant.path is None:
        settings = next(s for s in BASELINES.values() if s[0] == contestant.model)
        return Sgbm(*settings)
    from .networks import open_network  # late: loading the runtime takes a while  # noqa: PLC0415

    return open_network(
        contestant.path,
        iters=contestant.iters,
        shape=contestant.shape,
        prior=contestant.prior,
        device=device,
        threads=threads,
    )


class Sgbm:
    """Run OpenCV's semi-global matcher."""

    def __init__(self, name: str, mode: Mode, filled: bool) -> None:
        self._name, self._mode, self._filled = name, mode, filled

    def __call__(self, pair: StereoPair, disparities: int) -> DisparityResult:
        """Return the matcher's map."""
        start = time.perf_counter()
        disparity = sgbm_disparity(
            pair.left, pair.right, disparities, mode=self._mode, filled=self._filled
        )
        return DisparityResult(disparity, None, time.perf_counter() - start, self._name, "OpenCV")
