"""Estimate disparity from two images with a network in ONNX."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crestereo.errors import Cancelled, ModelError, UsageError
from crestereo.models import (
    CHANNEL_ORDERS,
    MIN_SIDE_PX,
    check_iters,
    check_model_shape,
    iters_in_name,
)
from crestereo.preprocess import Fit, Shape, check_images
from crestereo.session import numpy_type, open_session, read_interface, runtime_errors
from crestereo.types import BGRImage, DisparityMap, DisparityResult

if TYPE_CHECKING:
    import onnxruntime


DEFAULT_ITERS = 5
"""Refinement steps where the file leaves the choice and the caller makes none."""

MAX_DEFAULT_PX = 1080 * 1920
"""Pixels of the network's input without `model_shape`: the bundled network takes 2 GB for them."""

_STRIDE_PX = 64  # a published network halves its input four times, and so does its half-size pass


class CREStereo:
    """Stereo network in an ONNX file of a supported interface (see `session`).

    Parameters
    ----------
    model_path : str or Path
        An init, combined or lite file.
    iters : int, optional
        Refinement steps where the file leaves the choice, 5 by default; else it must agree with the
        file's name.
    model_shape : (int, int), optional
        Height and width of the network's input [px] where the file leaves the choice. A lite
        network gets the image resized to as many pixels, its aspect ratio kept, enlarged by 2 at
        most; by default in its own size, shrunk to the pixels of 1080x1920. The published kinds
        get exactly this size.
    device : str
        One of `session.DEVICES`.
    threads : int, optional
        Threads of the CPU, by default one for each core.
    channel_order : str, optional
        "RGB" or "BGR" where the record is wrong.

    Attributes
    ----------
    path : Path
        The file.
    name : str
        Its file name.
    kind : str
        "init", "combined" or "lite".
    iters : int or None
        Refinement steps; None when the file does not record it.
    shape : (int, int) or None
        Height and width of the network's input [px]; None: the image's own, up to 1080x1920.
    provider : str
        ONNX Runtime execution provider that runs the network.
    channel_order : str
        Order of colours that the network is fed, "RGB" or "BGR".
    accepts_prior : bool
        Whether `estimate` takes a prior.

    Raises
    ------
    UsageError
        A setting is invalid, or not possible with this file.
    ModelFileError
        The file is missing or no network of a known interface.
    ProviderError
        The requested device cannot run.

    Notes
    -----
    One thread estimates; `cancel` may be called from any other.
    """

    def __init__(
        self,
        model_path: str | Path,
        *,
        iters: int | None = None,
        model_shape: Shape | None = None,
        device: str = "auto",
        threads: int | None = None,
        channel_order: str | None = None,
    ) -> None:
        if channel_order not in (None, *CHANNEL_ORDERS):
            raise UsageError(
                f"channel_order must be one of {', '.join(CHANNEL_ORDERS)}, not {channel_order!r}"
            )
        self.path = Path(model_path)
        self.name = self.path.name
        self._session = open_session(self.path, device=device, threads=threads, trial=_try_out)
        self._interface = read_interface(self._session, self.path)
        self.kind = self._interface.kind
        self.provider = str(self._session.get_providers()[0])
        self.channel_order = channel_order or self._interface.channel_order
        self.accepts_prior = self._interface.prior is not None
        self.iters = self._resolve_iters(iters)
        self.shape = self._resolve_shape(model_shape)
        self._running: set[onnxruntime.RunOptions] = set()
        self._lock = threading.Lock()

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
            BGR images of one size.
        prior : (H, W) float32, optional
            Known disparity, in pixels of the left image, NaN where unknown, for example
            the disparity of the last frame. Only where `accepts_prior`.

        Returns
        -------
        DisparityResult
            Disparity on the left image's own grid, in its own pixels.

        Raises
        ------
        UsageError
            An array is no image, or a prior is not accepted.
        SourceError
            The images differ in size.
        Cancelled
            `cancel` was called meanwhile.
        ModelError
            The network fails on this input.
        """
        import onnxruntime  # slow to import

        start = time.perf_counter()
        options = onnxruntime.RunOptions()  # a new one for each run: its terminate flag sticks
        options.log_severity_level = 4  # errors arrive as exceptions
        with self._lock:
            self._running.add(options)
        try:
            check_images(left, right)
            fit = self._fit((left.shape[0], left.shape[1]))
            feed = self._feed(fit, left, right, prior)
            disparity, confidence = self._run(feed, fit.canvas, options)
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
        """End the running estimation, which raises Cancelled; without one nothing happens.

        The runtime checks between two operators: within milliseconds with the bundled network,
        up to a second with the largest ones.
        """
        with self._lock:
            for options in self._running:
                options.terminate = True

    def _fit(self, image: Shape) -> Fit:
        shrunk = min(1.0, math.sqrt(MAX_DEFAULT_PX / (image[0] * image[1])))
        native = round(image[0] * shrunk), round(image[1] * shrunk)
        if self.kind == "lite" and self._interface.shape is None:
            return Fit.keep_aspect(image, self.shape or native)
        height, width = (-(-side // _STRIDE_PX) * _STRIDE_PX for side in native)
        return Fit.squash(image, self.shape or (height, width))

    def _resolve_iters(self, iters: int | None) -> int | None:
        """Return the iterations that will run, None when not recorded."""
        if self._interface.iters is not None:
            return check_iters(DEFAULT_ITERS if iters is None else iters)
        built_in = iters_in_name(self.name)
        if iters not in (None, built_in):
            recorded = "" if built_in is None else f" of {built_in}"
            raise UsageError(
                f"{self.name} has its number of iterations{recorded} built in; leave iters out "
                f"or take another file for {iters}"
            )
        return built_in

    def _resolve_shape(self, shape: Shape | None) -> Shape | None:
        wanted = None if shape is None else check_model_shape(shape)
        fixed = self._interface.shape
        if fixed is None or wanted is None or wanted == fixed:
            return fixed or wanted
        raise UsageError(
            f"{self.name} takes images of {fixed[0]}x{fixed[1]} (height x width) only; "
            f"leave model_shape out or take another file for {wanted[0]}x{wanted[1]}"
        )

    def _feed(
        self, fit: Fit, left: BGRImage, right: BGRImage, prior: DisparityMap | None
    ) -> dict[str, NDArray[Any]]:
        face = self._interface
        if face.prior is None and prior is not None:
            raise UsageError(f"{self.name} takes no prior")
        names = [(face.left, face.right, fit)]
        if face.half is not None:
            half = fit.canvas[0] // 2, fit.canvas[1] // 2
            names.append((*face.half, Fit.squash(fit.image, half)))
        feed: dict[str, NDArray[Any]] = {}
        for left_name, right_name, size in names:
            feed[left_name] = size.image_to_network(left, self.channel_order, face.dtype)
            feed[right_name] = size.image_to_network(right, self.channel_order, face.dtype)
        if face.iters is not None:
            sides = (1,) * len(face.iters.shape)
            feed[face.iters.name] = np.full(sides, self.iters, numpy_type(face.iters.type))
        if face.prior is not None:
            dtype = numpy_type(face.prior.type)
            if prior is not None:
                feed[face.prior.name] = fit.prior_to_network(prior).astype(dtype, copy=False)
            elif not face.prior.optional:
                feed[face.prior.name] = np.full((1, 1, *fit.canvas), np.nan, dtype)
        return feed

    def _run(
        self, feed: dict[str, NDArray[Any]], canvas: Shape, options: onnxruntime.RunOptions
    ) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return disparity (1, C, H, W) and confidence (1, 1, H, W)."""
        face = self._interface
        names = [face.disparity, *([face.confidence] if face.confidence else [])]
        try:
            outputs = self._session.run(names, feed, options)
        except runtime_errors() as exc:
            if options.terminate:
                raise Cancelled("the estimation was cancelled") from exc
            reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            raise ModelError(
                f"{self.name} cannot run on an input of {canvas[0]}x{canvas[1]} with "
                f"{self.provider}: {reason}"
            ) from exc
        for output in outputs:
            if output.ndim != 4 or output.shape[2:] != canvas:
                raise ModelError(
                    f"{self.name} answered an input of {canvas[0]}x{canvas[1]} with a map of "
                    f"shape {output.shape}"
                )
        return outputs[0], outputs[1] if face.confidence else None


def _try_out(session: onnxruntime.InferenceSession) -> None:
    """Run a session once: a device may fail only then."""
    feed: dict[str, NDArray[Any]] = {}
    for node in session.get_inputs():
        sides = tuple(side if isinstance(side, int) else MIN_SIDE_PX for side in node.shape)
        feed[node.name] = np.ones(sides, numpy_type(node.type))
    session.run(None, feed)
