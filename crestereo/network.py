"""One open ONNX file: which settings it allows, what it is fed and what it answers.

Everything here is in the pixels of the network's own input.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import Cancelled, ModelError, ModelFileError, UsageError
from .interface import numpy_type, read_interface
from .model_files import CHANNEL_ORDERS, file_name, find_model, iters_in_name, parse_file_name
from .preprocess import Fit, Shape
from .providers import open_session, runtime_errors
from .settings import MIN_SIDE_PX, ModelSpec, check_iters, check_model_shape
from .types import BGRImage

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
