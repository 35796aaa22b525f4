"""Open ONNX files in ONNX Runtime on a device; translate its errors.

The runtime is imported late: it would delay the first prompt.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from crestereo.errors import ModelFileError, ProviderError, UsageError
from crestereo.models import check_bundled

if TYPE_CHECKING:
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
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415

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
    import onnxruntime  # noqa: PLC0415

    provider, package = _DEVICES[device]
    if provider not in onnxruntime.get_available_providers():
        raise ProviderError(
            f"the device {device!r} needs {provider}, which the installed ONNX Runtime does not "
            f"have; install {package} in place of onnxruntime, or use --device cpu"
        )


def _open_on(device: str, path: Path, threads: int | None) -> onnxruntime.InferenceSession:
    import onnxruntime  # noqa: PLC0415

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
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors arrive as exceptions
    options.intra_op_num_threads = threads or _allowed_cores()
    options.enable_mem_pattern = device != "directml"  # DirectML cannot have it
    # Threads that spin while they wait take the cores from decoding and drawing: with another
    # program on the same two cores a run took 1.7 times as long.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
