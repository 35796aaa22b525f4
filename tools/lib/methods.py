"""Run networks and classical matchers through one interface."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args

import cv2
import numpy as np
import onnxruntime

from crestereo.errors import ModelFileError, UsageError
from crestereo.estimator import CREStereo
from crestereo.preprocess import resize_disparity
from crestereo.session import runtime_errors
from crestereo.types import DisparityMap, DisparityResult, StereoPair

from .sgbm import Mode, half_size_prior, sgbm_disparity

GREY_MULTIPLE_PX = 64  # the sides of HITNet's input must be divisible by this

BASELINES: dict[str, tuple[str, Mode, bool]] = {
    "sgbm": ("SGBM", "full", True),
    "sgbm-3way": ("SGBM 3-way", "3way", True),
    "sgbm-holes": ("SGBM, holes kept", "full", False),
}
"""Name on the command line: name in tables, mode, holes filled."""

Size: TypeAlias = tuple[int, int] | float
"""Height and width of the network's input [px], or a multiple of the image's own size."""
NATIVE: Size = 1.0

Prior: TypeAlias = Literal["none", "sgbm", "previous"]
PRIORS: tuple[Prior, ...] = get_args(Prior)


class Runner(Protocol):
    """Callable that estimates the disparity of a pair."""

    def __call__(self, pair: StereoPair, disparities: int) -> DisparityResult:
        """Return the estimate; classical matchers search ``disparities`` values."""


@dataclass(frozen=True)
class Method:
    """Network or baseline with its settings.

    Parameters
    ----------
    model : str
        Name in the tables.
    path : Path or None
        The network; None for a baseline.
    iters : int or None
    size : (int, int) or float
        Height and width of the network's input [px], or a multiple of the image's own size.
    prior : {"none", "sgbm", "previous"}
        Initial disparity: none, the map of a classical matcher, or the network's own map of the
        previous pair of the same group.
    """

    model: str
    path: Path | None = None
    iters: int | None = None
    size: Size = NATIVE
    prior: Prior = "none"

    @property
    def size_text(self) -> str:
        """Return "HxW", "native" or for example "1.5x"."""
        if isinstance(self.size, tuple):
            return f"{self.size[0]}x{self.size[1]}"
        return "native" if self.size == NATIVE else f"{self.size:g}x"

    @property
    def pixels(self) -> float:
        """Return the pixel count of the input, infinite for relative sizes."""
        return float(math.prod(self.size)) if isinstance(self.size, tuple) else math.inf


def baseline(name: str) -> Method:
    """Return a classical matcher by name."""
    if name not in BASELINES:
        raise UsageError(f"the baseline {name!r} does not exist; choose of {', '.join(BASELINES)}")
    return Method(BASELINES[name][0])


def open_method(method: Method, *, device: str = "auto", threads: int | None = None) -> Runner:
    """Load a method and return its runner."""
    if method.path is None:
        settings = next(s for s in BASELINES.values() if s[0] == method.model)
        return Sgbm(*settings)
    return open_network(
        method.path,
        iters=method.iters,
        size=method.size,
        prior=method.prior,
        device=device,
        threads=threads,
    )


class Sgbm:
    """Runner of OpenCV's semi-global matcher."""

    def __init__(self, name: str, mode: Mode, filled: bool) -> None:
        self._name, self._mode, self._filled = name, mode, filled

    def __call__(self, pair: StereoPair, disparities: int) -> DisparityResult:
        """Return the disparity found by the matcher."""
        start = time.perf_counter()
        disparity = sgbm_disparity(
            pair.left, pair.right, disparities, mode=self._mode, filled=self._filled
        )
        return DisparityResult(disparity, None, time.perf_counter() - start, self._name, "OpenCV")


def variants(
    path: Path,
    iters: Sequence[int],
    sizes: Sequence[Size],
    prior: Prior,
) -> list[Method]:
    """Return an ONNX file at every size and iteration count it supports."""
    if not path.is_file():
        raise ModelFileError(f"there is no file {path}; name an ONNX file with --model-path")
    steps: Sequence[int | None] = iters
    try:
        network = CREStereo(path)
    except ModelFileError:
        if not StackedGrey.fits(path):
            raise
        steps = [None]
    else:
        if network.kind != "lite":
            steps = [network.iters]
        if network.shape is not None:
            sizes = [network.shape]
    return [Method(path.stem, path, n, size, prior) for n in steps for size in sizes]


def open_network(
    path: Path,
    *,
    iters: int | None,
    size: Size,
    prior: Prior,
    device: str,
    threads: int | None,
) -> Runner:
    """Open a network of this package's interfaces or a stacked grey one."""
    settings: dict[str, Any] = {"iters": iters, "device": device, "threads": threads}
    shape = size if isinstance(size, tuple) else None
    try:
        network = CREStereo(path, model_shape=shape, **settings)
    except ModelFileError:
        if not StackedGrey.fits(path):
            raise
        return StackedGrey(path, size, threads)
    if prior != "none" and not network.accepts_prior:
        raise UsageError(f"{path.name} takes no prior; omit --prior")
    if isinstance(size, tuple) or size == NATIVE:
        return Network(lambda image_shape: network, prior)
    factor = size

    @functools.lru_cache(maxsize=1)  # a session of this size takes hundreds of megabytes
    def enlarged(image_shape: tuple[int, int]) -> CREStereo:
        height, width = (round(factor * side) for side in image_shape)
        return CREStereo(path, model_shape=(height, width), **settings)

    return Network(enlarged, prior)


class Network:
    """Runner of a network of this package, with optional prior.

    ``network_for`` returns the network for images of a height and width.
    """

    def __init__(self, network_for: Callable[[tuple[int, int]], CREStereo], prior: Prior) -> None:
        self._network_for = network_for
        self._prior = prior
        self._last: tuple[str, DisparityMap] | None = None

    def __call__(self, pair: StereoPair, disparities: int) -> DisparityResult:
        """Return the estimate, timed with its prior."""
        network = self._network_for(pair.left.shape[:2])
        start = time.perf_counter()
        prior = self._start(pair, disparities)
        result = network.estimate(pair.left, pair.right, prior=prior)
        self._last = (pair.name, result.disparity)
        return dataclasses.replace(result, seconds=time.perf_counter() - start)

    def _start(self, pair: StereoPair, disparities: int) -> DisparityMap | None:
        if self._prior == "sgbm":
            return half_size_prior(pair.left, pair.right, disparities)
        if self._prior == "none" or self._last is None:
            return None
        name, disparity = self._last
        same_group = name.rpartition("/")[0] == pair.name.rpartition("/")[0]
        # a repeated pair, as in warm-up, must not start from its own result
        fits = name != pair.name and disparity.shape == pair.left.shape[:2]
        return disparity if same_group and fits else None


class StackedGrey:
    """Runner of a network whose one input stacks both grey images (HITNet).

    Input float32 [1, 2, H, W], left and right, 0..1, sides divisible by 64; output the disparity
    in pixels of the input, [1, H, W, 1]. Images are extended to such sides by repeating their
    right and lower borders.
    """

    def __init__(self, path: Path, size: Size, threads: int | None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._size = size
        self._name = path.name

    @staticmethod
    def fits(path: Path) -> bool:
        """Return whether the file is a network with this interface."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except runtime_errors():
            return False
        inputs = session.get_inputs()
        return len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].shape[1] == 2

    def __call__(self, pair: StereoPair, disparities: int) -> DisparityResult:
        """Return the estimate on the grid of the images."""
        start = time.perf_counter()
        if isinstance(self._size, tuple):
            height, width = self._size
        else:
            height, width = (round(self._size * side) for side in pair.left.shape[:2])
        bottom, right = -height % GREY_MULTIPLE_PX, -width % GREY_MULTIPLE_PX
        larger = height > pair.left.shape[0]
        interpolation = cv2.INTER_CUBIC if larger else cv2.INTER_AREA
        planes = []
        for image in (pair.left, pair.right):
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            fitted = cv2.resize(grey, (width, height), interpolation=interpolation)
            planes.append(
                cv2.copyMakeBorder(fitted, 0, bottom, 0, right, borderType=cv2.BORDER_REPLICATE)
            )
        stacked = np.stack(planes)[None].astype(np.float32) / 255
        (output,) = self._session.run(None, {self._session.get_inputs()[0].name: stacked})
        inner: DisparityMap = output.reshape(stacked.shape[2:])[:height, :width]
        disparity = resize_disparity(inner, (pair.left.shape[0], pair.left.shape[1]))
        return DisparityResult(
            disparity, None, time.perf_counter() - start, self._name, "CPUExecutionProvider"
        )
