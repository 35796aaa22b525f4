"""CREStereo: a stereo network in an ONNX file, from two pictures to a disparity."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crestereo.errors import Cancelled, ModelError, ModelFileError, UsageError
from crestereo.interface import numpy_type, read_interface
from crestereo.models import (
    CHANNEL_ORDERS,
    MIN_SIDE_PX,
    ModelSpec,
    check_iters,
    check_model_shape,
    file_name,
    find_model,
    iters_in_name,
    parse_file_name,
)
from crestereo.preprocess import Fit, Shape, check_pictures
from crestereo.session import open_session, runtime_errors
from crestereo.types import BGRImage, DisparityMap, DisparityResult

if TYPE_CHECKING:
    import onnxruntime


Feed = dict[str, NDArray[Any]]

DEFAULT_ITERS = 5
"""Refinement steps where the file lets one choose and nobody does."""


class Network:
    """Open an ONNX file and recognise its interface.

    Parameters
    ----------
    path : Path
        The file.
    device : str
        One of `providers.DEVICES`.
    threads : int or None
        Threads of the CPU, None for one each core.
    channel_order : str or None
        "RGB" or "BGR" to overrule the record.

    Raises
    ------
    UsageError, ModelFileError, ProviderError
        As `providers.open_session` and `interface.read_interface` do.
    """

    def __init__(
        self, path: Path, device: str, threads: int | None, channel_order: str | None
    ) -> None:
        if channel_order not in (None, *CHANNEL_ORDERS):
            raise UsageError(
                f"channel_order must be one of {', '.join(CHANNEL_ORDERS)}, not {channel_order!r}"
            )
        self.path = path
        self.session = open_session(path, device=device, threads=threads, trial=_try_out)
        self.interface = read_interface(self.session, path)
        self.channel_order = channel_order or self.interface.channel_order

    @property
    def provider(self) -> str:
        """Return the execution provider that runs it."""
        return str(self.session.get_providers()[0])

    def settle_iters(self, iters: int | None) -> int | None:
        """Return the number of iterations that will run, None when the file does not tell.

        Raise UsageError when the file has another number built in.
        """
        if self.interface.iters is not None:
            return check_iters(DEFAULT_ITERS if iters is None else iters)
        built_in = iters_in_name(self.path.name)
        if iters not in (None, built_in):
            told = "" if built_in is None else f" of {built_in}"
            raise UsageError(
                f"{self.path.name} has its number of iterations{told} built in; leave iters out "
                f"or take another file for {iters}"
            )
        return built_in

    def settle_shape(self, shape: Shape | None) -> Shape | None:
        """Return the size of the input, None for the picture's own.

        Raise UsageError when the file has another size built in.
        """
        wanted = None if shape is None else check_model_shape(shape)
        fixed = self.interface.shape
        if fixed is None or wanted is None or wanted == fixed:
            return fixed or wanted
        raise UsageError(
            f"{self.path.name} takes pictures of {fixed[0]}x{fixed[1]} (height x width) only; "
            f"leave model_shape out or take another file for {wanted[0]}x{wanted[1]}"
        )

    def open_init(self, path: Path | None, device: str, threads: int | None) -> Network:
        """Open the init model of this next model, by default the one of the published name.

        Raise ModelFileError when it is missing or no match.
        """
        init = Network(path or _init_beside(self.path), device, threads, self.channel_order)
        if init.interface.kind != "init":
            raise ModelFileError(f"{init.path.name} is no init model, as {self.path.name} needs")
        shape, flow = init.interface.shape, self.interface.flow_init
        if shape is not None and flow is not None and flow.shape[2:] not in (shape, (None, None)):
            raise ModelFileError(
                f"{self.path.name} takes a start of {flow.shape[2:]}, but {init.path.name} gives "
                f"{shape}; they are no pair"
            )
        return init

    def picture_feed(self, fit: Fit, left: BGRImage, right: BGRImage) -> Feed:
        """Return the inputs made of the pictures, at half size too where there are such inputs."""
        face = self.interface
        names = [(face.left, face.right, fit)]
        if face.half is not None:
            names.append((*face.half, Fit.squash(fit.picture, half_shape(fit.canvas))))
        feed: Feed = {}
        for left_name, right_name, size in names:
            feed[left_name] = size.image_to_network(left, self.channel_order, face.dtype)
            feed[right_name] = size.image_to_network(right, self.channel_order, face.dtype)
        return feed

    def iters_feed(self, iters: int | None) -> Feed:
        """Return the input that sets the number of iterations, empty where there is none."""
        tensor = self.interface.iters
        if tensor is None:
            return {}
        return {tensor.name: np.full((1,) * len(tensor.shape), iters, numpy_type(tensor.type))}

    def run(
        self, feed: Feed, canvas: Shape, options: onnxruntime.RunOptions
    ) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Run the network once.

        Parameters
        ----------
        feed : dict
            Arrays by input name.
        canvas : (int, int)
            Height and width that the answer must have [px].
        options : onnxruntime.RunOptions
            Its terminate flag, set from any thread, ends the run.

        Returns
        -------
        disparity : (1, C, H, W)
            As the network gives it; plane 0 counts.
        confidence : (1, 1, H, W) or None
            None for a network that does not tell.

        Raises
        ------
        Cancelled
            When the terminate flag was set.
        ModelError
            When the network fails on this input.
        """
        face = self.interface
        names = [face.disparity, *([face.confidence] if face.confidence else [])]
        try:
            outputs = self.session.run(names, feed, options)
        except runtime_errors() as exc:
            if options.terminate:
                raise Cancelled("the estimation was cancelled") from exc
            reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            raise ModelError(
                f"{self.path.name} cannot run on an input of {canvas[0]}x{canvas[1]} with "
                f"{self.provider}: {reason}"
            ) from exc
        for output in outputs:
            if output.ndim != 4 or output.shape[2:] != canvas:
                raise ModelError(
                    f"{self.path.name} answered an input of {canvas[0]}x{canvas[1]} with a map of "
                    f"shape {output.shape}"
                )
        return outputs[0], outputs[1] if face.confidence else None


def _init_beside(path: Path) -> Path:
    """Find the init file of a next file by its published name."""
    spec = parse_file_name(path.name)
    if spec is None:
        raise ModelFileError(
            f"{path.name} is a next model: it needs the init model of half its size, named by "
            "init_path"
        )
    init = ModelSpec("init", spec.iters, *half_shape(spec.shape))
    found = find_model(init, path.parent)
    if found is None:
        raise ModelFileError(
            f"{path.name} is a next model and needs {file_name(init)} beside it; fetch that too or "
            "name the init model by init_path"
        )
    return found


def half_shape(shape: Shape) -> Shape:
    """Return half the height and width, as the first pass of two passes has them."""
    return shape[0] // 2, shape[1] // 2


def _try_out(session: onnxruntime.InferenceSession) -> None:
    """Run a session on black pictures: a device may open a network that it cannot compute."""
    for_trial: Feed = {}
    for node in session.get_inputs():
        sides = tuple(side if isinstance(side, int) else MIN_SIDE_PX for side in node.shape)
        for_trial[node.name] = np.ones(sides, numpy_type(node.type))
    session.run(None, for_trial)


_STRIDE_PX = 64  # a published network halves its input four times, and so does its half-size pass


class CREStereo:
    """Estimate disparity with an ONNX file of any supported interface (see `interface`).

    Parameters
    ----------
    model_path : str or Path
        An init, next, combined or lite file.
    init_path : str or Path, optional
        For a next file: the init file of half its size. By default the one of the published name
        in the same folder or below.
    iters : int, optional
        Refinement steps where the file lets one choose, 5 by default; else it must agree with the
        file's name.
    model_shape : (int, int), optional
        Height and width of the network's input [px] where the file lets one choose. A lite network
        sees the picture shrunk to as many pixels with its form kept, never enlarged; by default in
        its own size. The published kinds see it squashed to exactly this size.
    device : str
        One of `providers.DEVICES`.
    threads : int, optional
        Threads of the CPU, by default one for each core.
    channel_order : str, optional
        "RGB" or "BGR" where the record is wrong.

    Attributes
    ----------
    path : Path
        The file.
    kind : str
        "init", "combined", "next_init" or "lite".
    iters : int or None
        Refinement steps; None when the file does not tell.
    shape : (int, int) or None
        Height and width of the network's input [px]; None means the picture's own.
    accepts_prior : bool
        Whether `estimate` takes a prior.

    Raises
    ------
    UsageError
        When a setting cannot be, or not with this file.
    ModelFileError
        When a file is missing or not a network of a known interface.
    ProviderError
        When the device that was asked for cannot run.

    Notes
    -----
    One thread estimates; `cancel` may be called from any other.
    """

    def __init__(
        self,
        model_path: str | Path,
        *,
        init_path: str | Path | None = None,
        iters: int | None = None,
        model_shape: Shape | None = None,
        device: str = "auto",
        threads: int | None = None,
        channel_order: str | None = None,
    ) -> None:
        self.path = Path(model_path)
        self._network = Network(self.path, device, threads, channel_order)
        face = self._network.interface
        self.kind = "next_init" if face.kind == "next" else face.kind
        self.accepts_prior = face.prior is not None
        self.iters = self._network.settle_iters(iters)
        self.shape = self._network.settle_shape(model_shape)
        self._init: Network | None = None
        if face.kind == "next":
            init = None if init_path is None else Path(init_path)
            self._init = self._network.open_init(init, device, threads)
        elif init_path is not None:
            raise UsageError(f"{self.path.name} is no next model, so it takes no init model")
        self._running: set[onnxruntime.RunOptions] = set()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Return the file name of the network."""
        return self.path.name

    @property
    def provider(self) -> str:
        """Return the ONNX Runtime execution provider that really runs the network."""
        return self._network.provider

    @property
    def channel_order(self) -> str:
        """Return the order of colours that the network is fed, "RGB" or "BGR"."""
        return self._network.channel_order

    def __call__(self, left: BGRImage, right: BGRImage) -> DisparityMap:
        """Return the disparity only, see `estimate`."""
        return self.estimate(left, right).disparity

    def estimate(
        self, left: BGRImage, right: BGRImage, *, prior: DisparityMap | None = None
    ) -> DisparityResult:
        """Estimate the disparity of a rectified pair.

        Parameters
        ----------
        left, right : (H, W, 3) uint8
            BGR pictures of one size.
        prior : (H, W) float32, optional
            What is known already, in pixels of the left picture, NaN where unknown, for example
            the disparity of the last frame. Only where `accepts_prior`.

        Returns
        -------
        DisparityResult
            Disparity on the left picture's own grid, in its own pixels.

        Raises
        ------
        UsageError
            When an array cannot be a picture, or a prior is not accepted.
        SourceError
            When the pictures differ in size.
        Cancelled
            When `cancel` was called meanwhile.
        ModelError
            When the network fails on this input.
        """
        import onnxruntime  # noqa: PLC0415 (heavy: a program that only asks should not wait for it)

        start = time.perf_counter()
        options = onnxruntime.RunOptions()  # a new one for each run: its terminate flag sticks
        options.log_severity_level = 4  # what goes wrong arrives as an exception
        with self._lock:
            self._running.add(options)
        try:
            check_pictures(left, right)
            fit = self._fit((left.shape[0], left.shape[1]))
            feed = self._feed(fit, left, right, prior, options)
            disparity, confidence = self._network.run(feed, fit.canvas, options)
            result = DisparityResult(
                disparity=fit.disparity_from_network(disparity[0, 0]),
                confidence=(
                    None if confidence is None else fit.confidence_from_network(confidence[0, 0])
                ),
                seconds=time.perf_counter() - start,
                model=self.name,
                provider=self.provider,
            )
        finally:
            with self._lock:
                self._running.discard(options)
        if options.terminate:
            raise Cancelled("the estimation was cancelled")
        return result

    def cancel(self) -> None:
        """End the estimation that is running: it raises Cancelled.

        The runtime looks between two operators of the network, so that takes milliseconds with the
        bundled network and up to a second with the largest ones. From the first line of
        `estimate` to its last the request is not lost. With nothing running it does nothing, and
        the next estimation runs normally.
        """
        with self._lock:
            for options in self._running:
                options.terminate = True

    def _fit(self, picture: Shape) -> Fit:
        face = self._network.interface
        if face.kind == "lite" and face.shape is None:
            return Fit.keep_aspect(picture, self.shape)
        native = tuple(-(-side // _STRIDE_PX) * _STRIDE_PX for side in picture)
        return Fit.squash(picture, self.shape or (native[0], native[1]))

    def _feed(
        self,
        fit: Fit,
        left: BGRImage,
        right: BGRImage,
        prior: DisparityMap | None,
        options: onnxruntime.RunOptions,
    ) -> Feed:
        face = self._network.interface
        feed = self._network.picture_feed(fit, left, right)
        feed |= self._network.iters_feed(self.iters)
        if face.prior is None and prior is not None:
            raise UsageError(f"{self.name} takes no prior")
        if face.prior is not None:
            dtype = numpy_type(face.prior.type)
            if prior is not None:
                feed[face.prior.name] = fit.prior_to_network(prior).astype(dtype, copy=False)
            elif not face.prior.optional:
                feed[face.prior.name] = np.full((1, 1, *fit.canvas), np.nan, dtype)
        if self._init is not None and face.flow_init is not None:
            half = Fit.squash(fit.picture, half_shape(fit.canvas))
            half_feed = self._init.picture_feed(half, left, right)
            flow, _ = self._init.run(half_feed, half.canvas, options)
            feed[face.flow_init.name] = flow.astype(face.dtype, copy=False)
        return feed
