"""Whether a file is the published model that its name says."""

from __future__ import annotations

from pathlib import Path

from .errors import ModelFileError
from .interface import read_interface
from .providers import open_session
from .settings import ModelSpec


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
        The file is no ONNX model, or one of another interface or size.
    """
    face = read_interface(open_session(path, device="cpu"), path)
    if (face.kind, face.shape) != (spec.version, spec.shape):
        size = "of any size" if face.shape is None else "of {}x{}".format(*face.shape)
        raise ModelFileError(
            f"{path.name} is a model of the {face.kind} kind {size}, "
            f"not {spec.version} of {spec.height}x{spec.width}"
        )
