"""Recognise the inputs and outputs of an ONNX file.

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
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from crestereo.errors import ModelFileError
from crestereo.models import CHANNEL_ORDERS, ChannelOrder, ModelSpec, recorded_channel_order
from crestereo.session import open_session

if TYPE_CHECKING:
    import onnxruntime


Kind = Literal["init", "combined", "lite"]
FloatType: TypeAlias = "np.dtype[np.float32] | np.dtype[np.float16]"

_FLOATS: dict[str, FloatType] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
}
_WHOLE: dict[str, np.dtype[Any]] = {
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
}
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
    dtype: FloatType
    channel_order: ChannelOrder


def numpy_type(name: str) -> np.dtype[Any]:
    """Return the dtype of an input's type, for example float32 of "tensor(float)"."""
    return _FLOATS.get(name) or _WHOLE[name]


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
        dtype=_FLOATS[left.type],
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
