"""Whether a file is the published model that its name says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import ModelFileError
from .settings import ModelSpec

_Shape = tuple[Any, ...]


def check_model_file(path: Path, spec: ModelSpec) -> None:
    """Open a file as a network and compare its interface with a specification.

    Parameters
    ----------
    path : Path
        ONNX file, under any name.
    spec : ModelSpec
        Published model that it should be.

    Raises
    ------
    ModelFileError
        The file is no ONNX model, or one of another interface or shape.
    """
    inputs, outputs = _signature(path)
    wanted = _input_shapes(spec)
    if Counter(inputs) != Counter(wanted):
        raise ModelFileError(
            f"{path.name} has inputs {_listed(inputs)}; a model for {spec} has {_listed(wanted)}"
        )
    if (1, 2, *spec.shape) not in outputs:
        raise ModelFileError(
            f"{path.name} has outputs {_listed(outputs)}; "
            f"a model for {spec} has {_listed([(1, 2, *spec.shape)])}"
        )


def _input_shapes(spec: ModelSpec) -> list[_Shape]:
    height, width = spec.shape
    full, half = (1, 3, height, width), (1, 3, height // 2, width // 2)
    return {
        "init": [full, full],
        "combined": [half, half, full, full],
        "next": [full, full, (1, 2, height // 2, width // 2)],
    }[spec.version]


def _signature(path: Path) -> tuple[list[_Shape], list[_Shape]]:
    import onnxruntime as ort  # noqa: PLC0415 (heavy: only when a file is really opened)

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as exc:  # the runtime raises a dozen types of its own
        raise ModelFileError(f"{path.name} is not an ONNX model that can be opened") from exc
    return (
        [tuple(node.shape) for node in session.get_inputs()],
        [tuple(node.shape) for node in session.get_outputs()],
    )


def _listed(shapes: Sequence[_Shape]) -> str:
    return ", ".join("x".join(str(side) for side in shape) for shape in shapes) or "none"
