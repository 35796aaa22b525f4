"""CREStereo: a stereo network in an ONNX file, from two pictures to a disparity."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import Cancelled, UsageError
from .images import check_pictures
from .interface import numpy_type
from .network import Feed, Network, half_shape
from .preprocess import Fit, Shape
from .types import BGRImage, DisparityMap, DisparityResult

if TYPE_CHECKING:
    import onnxruntime

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
