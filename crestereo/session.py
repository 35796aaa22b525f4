"""Open ONNX files in ONNX Runtime on a device; recognise their interface.

A file is recognised by the names, number and shapes of its inputs, never by its own name:

========  ==========================================================================  ===========
kind      inputs                                                                      disparity
========  ==========================================================================  ===========
init      left, right [1,3,H,W]                                                       [1,2,H,W]
combined  init_left, init_right [1,3,H/2,W/2], next_left, next_right [1,3,H,W]        [1,2,H,W]
lite      left, right [1,3,H,W], iters [], prior [1,1,h,w]; one of the last two       [1,1,H,W]
          at least
========  ==========================================================================  ===========

Disparity is plane 0 of the output. Inputs are matched by name, then by order.

The runtime and numpy are imported late: they would delay the first prompt.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crestereo.errors import ModelFileError, ProviderError, UsageError
from crestereo.models import (
    CHANNEL_ORDERS,
    ChannelOrder,
    ModelSpec,
    check_bundled,
    recorded_channel_order,
)

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime


CPU = "CPUExecutionProvider"
_TOO_NEW = r"(?i)unsupported model ir version|opset|no op registered|not a registered"


_DEVICES = {  # device: provider, package that contains it
    "cpu": (CPU, "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "onnxruntime-gpu and tensorrt"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime (on macOS)"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml (on Windows)"),
}
# The default search of cuDNN tries every algorithm for every new size: seconds at each resize.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}

DEVICES = ("auto", *_DEVICES)
"""Values of the setting ``device``."""

MAX_THREADS = 1024
"""More than any machine has cores; the runtime would start any number."""

# Not among them: TensorRT, which builds an engine for minutes, and CoreML, which takes only pieces
# of a network with loops and free sizes. Both are for those who ask for them.
_AUTO_ORDER = ("cuda", "directml", "openvino")


def check_threads(threads: int | None) -> int | None:
    """Return `threads` from 1 or None, else raise UsageError."""
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise UsageError(f"threads must be from 1 to {MAX_THREADS}, not {threads!r}")
    return threads


@cache
def runtime_errors() -> tuple[type[Exception], ...]:
    """Return every exception that ONNX Runtime raises; they have no common base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [c for c in vars(state).values() if isinstance(c, type) and issubclass(c, Exception)]
    return (*own, RuntimeError, ValueError)


def open_session(
    path: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    trial: Callable[[onnxruntime.InferenceSession], object] | None = None,
) -> onnxruntime.InferenceSession:
    """Open an ONNX file on a device."""
    if device not in DEVICES:
        raise UsageError(f"device must be one of {', '.join(DEVICES)}, not {device!r}")
    check_threads(threads)
    check_is_file(path)
    check_bundled(path)
    if device != "auto":
        return _open_on(device, path, threads)
    for candidate in _AUTO_ORDER:
        with contextlib.suppress(ProviderError, *runtime_errors()):
            session = _open_on(candidate, path, threads)
            if trial is not None:
                trial(session)
            return session
    return _open_on("cpu", path, threads)


def check_is_file(path: Path) -> None:
    """Raise ModelFileError for an absent or empty file, or a web page."""
    try:
        with path.open("rb") as file:
            start = file.read(512).lstrip().lower()
    except FileNotFoundError as exc:
        raise ModelFileError(f"there is no model file {path}; check the path") from exc
    except OSError as exc:
        raise ModelFileError(f"cannot read the model file {path}: {exc.strerror}") from exc
    if not start:
        raise ModelFileError(f"the model file {path} is empty; fetch it again")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ModelFileError(
            f"{path} is a web page, not an ONNX model; delete it and fetch the model again"
        )


def check_installed(device: str) -> None:
    """Raise ProviderError unless the installed ONNX Runtime supports a device of `DEVICES`."""
    if device in ("auto", "cpu"):
        return
    import onnxruntime

    provider, package = _DEVICES[device]
    if provider not in onnxruntime.get_available_providers():
        raise ProviderError(
            f"the device {device!r} needs {provider}, which the installed ONNX Runtime does not "
            f"have; install {package} in place of onnxruntime, or use --device cpu"
        )


def _open_on(device: str, path: Path, threads: int | None) -> onnxruntime.InferenceSession:
    import onnxruntime

    check_installed(device)
    provider, package = _DEVICES[device]
    if device in ("cuda", "tensorrt") and hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(None):  # it prints what is missing
            onnxruntime.preload_dlls()
    options = _CUDA_OPTIONS if device == "cuda" else {}
    providers = [(provider, options), *([] if device == "cpu" else [CPU])]
    try:
        session = onnxruntime.InferenceSession(
            str(path), _session_options(device, threads), providers=providers, enable_fallback=0
        )
    except runtime_errors() as exc:
        if device != "cpu":
            _open_on("cpu", path, threads)  # raises ModelFileError when it is the file's fault
            raise ProviderError(f"the device {device!r} cannot open {path.name}: {exc}") from exc
        if re.search(_TOO_NEW, str(exc)):
            raise ModelFileError(
                f"{path} needs a newer onnxruntime than {onnxruntime.__version__}: pip install -U "
                "onnxruntime"
            ) from exc
        raise ModelFileError(
            f"{path} is not an ONNX model that can be opened: it is damaged or cut off, fetch it "
            "again"
        ) from exc
    running = session.get_providers()[0]
    if running != provider:
        raise ProviderError(
            f"the device {device!r} was asked for but {running} would run; check the driver and "
            f"the libraries that {package} needs, or use --device cpu"
        )
    return session


def _allowed_cores() -> int:
    """Return the cores this process is restricted to, 0 for all."""
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = len(affinity(0)) if affinity else 0
    return allowed if allowed < (os.cpu_count() or 1) else 0


def _session_options(device: str, threads: int | None) -> onnxruntime.SessionOptions:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors arrive as exceptions
    options.intra_op_num_threads = threads or _allowed_cores()
    options.enable_mem_pattern = device != "directml"  # DirectML cannot have it
    # Threads that spin while they wait take the cores from decoding and drawing: with another
    # program on the same two cores a run took 1.7 times as long.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


# --- what the inputs and outputs mean -------------------------------------------------------------

Kind = Literal["init", "combined", "lite"]
_FLOATS = {"tensor(float)": "float32", "tensor(float16)": "float16"}
_WHOLE = {"tensor(int64)": "int64", "tensor(int32)": "int32"}
_PAIR_NAMES = ("left", "right")
_COMBINED_NAMES = ("init_left", "init_right", "next_left", "next_right")


@dataclass(frozen=True)
class Tensor:
    """Input or output of a file; symbolic sides are None."""

    name: str
    type: str
    shape: tuple[int | None, ...]
    optional: bool = False

    def is_map(self, channels: int) -> bool:
        """Return whether it is [1, channels, h, w] of floats."""
        return self.type in _FLOATS and len(self.shape) == 4 and self.shape[1] == channels


@dataclass(frozen=True)
class ModelInterface:
    """Meaning of the inputs and outputs of a file, or None.

    `half` names the inputs for both images at half size; `shape` is (height, width) of the images
    [px], None when any will do.
    """

    kind: Kind
    left: str
    right: str
    half: tuple[str, str] | None
    prior: Tensor | None
    iters: Tensor | None
    disparity: str
    confidence: str | None
    shape: tuple[int, int] | None
    dtype: np.dtype[Any]
    channel_order: ChannelOrder


def numpy_type(name: str) -> np.dtype[Any]:
    """Return the dtype of an input's type, for example float32 of "tensor(float)"."""
    import numpy as np  # slow to import

    return np.dtype(_FLOATS.get(name) or _WHOLE[name])


def read_interface(session: onnxruntime.InferenceSession, path: Path) -> ModelInterface:
    """Recognise the interface of an open model, or raise ModelFileError."""
    inputs = [
        *(_tensor(node, False) for node in session.get_inputs()),
        *(_tensor(node, True) for node in session.get_overridable_initializers()),
    ]
    outputs = [_tensor(node, False) for node in session.get_outputs()]
    return recognise(inputs, outputs, session.get_modelmeta().custom_metadata_map, path)


def _tensor(node: onnxruntime.NodeArg, optional: bool) -> Tensor:
    shape = tuple(side if isinstance(side, int) else None for side in node.shape)
    return Tensor(node.name, node.type, shape, optional)


def recognise(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], metadata: Mapping[str, str], path: Path
) -> ModelInterface:
    """Recognise an interface from its parts."""
    images = [tensor for tensor in inputs if tensor.is_map(3)]
    prior = next((tensor for tensor in inputs if tensor.is_map(1)), None)
    iters = next((t for t in inputs if t.type in _WHOLE and t.shape in ((), (1,))), None)
    disparity = _disparity(outputs)
    understood = [*images, *(each for each in (prior, iters) if each is not None)]
    rest = [tensor for tensor in inputs if tensor not in understood and not tensor.optional]
    if rest or disparity is None or len(images) not in (2, 4):
        raise _unknown(path, inputs, outputs)
    *half, left, right = _ordered(images)
    if left.shape != right.shape or left.type != right.type:
        raise _unknown(path, inputs, outputs)
    kind: Kind = "init"
    if half:
        kind = "combined"
        _check_half(path, half[0], left)
    elif prior or iters or metadata.get("kind") == "lite":
        kind = "lite"
    return ModelInterface(
        kind=kind,
        left=left.name,
        right=right.name,
        half=(half[0].name, half[1].name) if half else None,
        prior=prior,
        iters=iters,
        disparity=disparity.name,
        confidence=next((t.name for t in outputs if t.name.lower() == "confidence"), None),
        shape=_fixed_shape(path, left),
        dtype=numpy_type(left.type),
        channel_order=_channel_order(metadata, path),
    )


def _ordered(images: Sequence[Tensor]) -> list[Tensor]:
    """Order inputs by name where all are known."""
    names = _COMBINED_NAMES if len(images) == 4 else _PAIR_NAMES
    found = {tensor.name.lower(): tensor for tensor in images}
    return [found[name] for name in names] if set(found) == set(names) else list(images)


def _disparity(outputs: Sequence[Tensor]) -> Tensor | None:
    maps = [t for t in outputs if (t.is_map(1) or t.is_map(2)) and t.name.lower() != "confidence"]
    named = [t for t in maps if t.name.lower() in ("disparity", "next_output", "output")]
    return next(iter(named or maps), None)


def _fixed_shape(path: Path, image: Tensor) -> tuple[int, int] | None:
    height, width = image.shape[2:]
    if height is None and width is None:
        return None
    if height is None or width is None:
        raise ModelFileError(
            f"{path.name} fixes one side of its input only ({image.shape[2:]}); both or none "
            "must be fixed"
        )
    return height, width


def _check_half(path: Path, half: Tensor, full: Tensor) -> None:
    for small, large in zip(half.shape[2:], full.shape[2:], strict=True):
        if (small is None) != (large is None) or (small and large and small * 2 != large):
            raise ModelFileError(
                f"{path.name} has four image inputs, but the first two are not half the size of "
                f"the last two: {_described([half, full])}"
            )


def _channel_order(metadata: Mapping[str, str], path: Path) -> ChannelOrder:
    recorded = metadata.get("channel_order", "").upper()
    return next(
        (order for order in CHANNEL_ORDERS if order == recorded), recorded_channel_order(path)
    )


def _unknown(path: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> ModelFileError:
    return ModelFileError(
        f"{path.name} is a network with an interface that is not CREStereo's (inputs "
        f"{_described(inputs)}; outputs {_described(outputs)}); it must be of one of the "
        "kinds init, combined or lite"
    )


def _described(tensors: Sequence[Tensor]) -> str:
    shapes = ("x".join(str(side or "?") for side in t.shape) or "scalar" for t in tensors)
    return ", ".join(f"{t.name} {shape}" for t, shape in zip(tensors, shapes, strict=True))


def check_model_file(path: Path, spec: ModelSpec) -> None:
    """Compare the interface of a model file with a specification."""
    face = read_interface(open_session(path, device="cpu"), path)
    if (face.kind, face.shape) != (spec.version, spec.shape):
        size = "of any size" if face.shape is None else "of {}x{}".format(*face.shape)
        raise ModelFileError(
            f"{path.name} is a model of the {face.kind} kind {size}, "
            f"not {spec.version} of {spec.height}x{spec.width}"
        )
