"""Tiny ONNX models of every interface, whose right answer is known.

All of them answer with a function of their input that is easy to work out by hand: a constant, a
weighted difference of the two images (which proves channel order, value range and cropping), the
prior's mean; one takes as long as it is told to.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]
OPSET = 17


def _constant(name: str, array: NDArray) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def save_graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    *,
    inputs: Sequence[tuple[str, int, Shape]],
    outputs: Sequence[tuple[str, int, Shape]],
    constants: Sequence[onnx.TensorProto] = (),
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a model made of `nodes`; an initializer named as an input is that input's default."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def weighted_difference(
    left: str, right: str, output: str, weights: Sequence[float], dtype: int
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Compute weights . left - weights . right over the channels: (1, 3, h, w) -> (1, 1, h, w)."""
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    kernel = _constant("kernel", np.asarray(weights, kind).reshape(1, 3, 1, 1))
    nodes = [
        helper.make_node("Sub", [left, right], ["difference"]),
        helper.make_node("Conv", ["difference", "kernel"], [output]),
    ]
    return nodes, [kernel]


def init_model(
    path: Path,
    shape: tuple[int, int] | None = (64, 96),
    *,
    weights: Sequence[float] = (1, 0, 0),
    bias: float = 0.0,
    dtype: int = TensorProto.FLOAT,
    names: tuple[str, str] = ("left", "right"),
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write an *init* model: plane 0 is bias + weights . (left - right), plane 1 is -1000.

    With ``weights=(0, 0, 0)`` every pixel of the answer is `bias`, in network pixels.
    """
    height, width = shape or ("H", "W")
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    nodes, constants = weighted_difference(names[0], names[1], "matched", weights, dtype)
    nodes += [
        helper.make_node("Add", ["matched", "bias"], ["disparity"]),
        helper.make_node("Mul", ["disparity", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "wrong"], ["plane1"]),
        helper.make_node("Concat", ["disparity", "plane1"], ["output"], axis=1),
    ]
    constants += [
        _constant("bias", np.asarray(bias, kind)),
        _constant("zero", np.asarray(0, kind)),
        _constant("wrong", np.asarray(-1000, kind)),
    ]
    images = [(name, dtype, [1, 3, height, width]) for name in names]
    result = [("output", dtype, [1, 2, height, width])]
    return save_graph(
        path, nodes, inputs=images, outputs=result, constants=constants, metadata=metadata
    )


def combined_model(
    path: Path,
    shape: tuple[int, int] = (128, 192),
    names: tuple[str, str, str, str] = ("init_left", "init_right", "next_left", "next_right"),
) -> Path:
    """Write a *combined* model: the mean of init_left everywhere plus next_left - next_right.

    Only channel 0 counts; plane 1 equals plane 0.
    """
    height, width = shape
    nodes, constants = weighted_difference(
        names[2], names[3], "matched", (1, 0, 0), TensorProto.FLOAT
    )
    nodes += [
        helper.make_node("Slice", [names[0], "start", "end", "axis"], ["channel"]),
        helper.make_node("ReduceMean", ["channel"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Add", ["matched", "mean"], ["disparity"]),
        helper.make_node("Concat", ["disparity", "disparity"], ["next_output"], axis=1),
    ]
    constants += [
        _constant("start", np.asarray([0], np.int64)),
        _constant("end", np.asarray([1], np.int64)),
        _constant("axis", np.asarray([1], np.int64)),
    ]
    half, full = [1, 3, height // 2, width // 2], [1, 3, height, width]
    inputs = [
        (name, TensorProto.FLOAT, size)
        for name, size in zip(names, (half, half, full, full), strict=True)
    ]
    outputs = [("next_output", TensorProto.FLOAT, [1, 2, height, width])]
    return save_graph(path, nodes, inputs=inputs, outputs=outputs, constants=constants)


def lite_model(
    path: Path,
    *,
    weights: Sequence[float] = (1, 0, 0),
    with_prior: bool = True,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a *lite* model of any size: iters + weights . (left - right) + mean of the prior.

    The prior's mean counts only its known pixels, 0 when there is none; confidence is red / 255
    of the left image. `iters` has the default 5 and the prior the default NaN.
    """
    nodes, constants = weighted_difference("left", "right", "matched", weights, TensorProto.FLOAT)
    nodes += [
        helper.make_node("Cast", ["iters"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["matched", "count"], ["plain"]),
        helper.make_node("Slice", ["left", "start", "end", "axis"], ["red"]),
        helper.make_node("Div", ["red", "white"], ["confidence"]),
    ]
    constants += [
        _constant("iters", np.asarray(5, np.int64)),
        _constant("start", np.asarray([0], np.int64)),
        _constant("end", np.asarray([1], np.int64)),
        _constant("axis", np.asarray([1], np.int64)),
        _constant("white", np.asarray(255, np.float32)),
    ]
    inputs: list[tuple[str, int, Shape]] = [
        ("left", TensorProto.FLOAT, [1, 3, "H", "W"]),
        ("right", TensorProto.FLOAT, [1, 3, "H", "W"]),
        ("iters", TensorProto.INT64, []),
    ]
    if with_prior:
        nodes += [
            helper.make_node("IsNaN", ["prior"], ["unknown"]),
            helper.make_node("Where", ["unknown", "none", "prior"], ["filled"]),
            helper.make_node("Where", ["unknown", "none", "one"], ["known"]),
            helper.make_node("ReduceSum", ["filled"], ["total"], keepdims=0),
            helper.make_node("ReduceSum", ["known"], ["number"], keepdims=0),
            helper.make_node("Max", ["number", "one"], ["divisor"]),
            helper.make_node("Div", ["total", "divisor"], ["mean"]),
            helper.make_node("Add", ["plain", "mean"], ["disparity"]),
        ]
        constants += [
            _constant("prior", np.full((1, 1, 1, 1), np.nan, np.float32)),
            _constant("none", np.asarray(0, np.float32)),
            _constant("one", np.asarray(1, np.float32)),
        ]
        inputs.append(("prior", TensorProto.FLOAT, [1, 1, "h", "w"]))
    else:
        nodes.append(helper.make_node("Identity", ["plain"], ["disparity"]))
    outputs = [
        ("disparity", TensorProto.FLOAT, [1, 1, "H", "W"]),
        ("confidence", TensorProto.FLOAT, [1, 1, "H", "W"]),
    ]
    return save_graph(
        path, nodes, inputs=inputs, outputs=outputs, constants=constants, metadata=metadata
    )


def slow_model(
    path: Path,
    rounds: int = 5000,
    shape: tuple[int, int] | None = None,
) -> Path:
    """Write a *lite* model that multiplies 512x512 matrices `rounds` times, then answers 7.

    1000 rounds take about 0.6 s on two fast cores, longer on others.
    """
    height, width = shape or ("H", "W")
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state_in", "matrix"], ["state_out"]),
            helper.make_node("Identity", ["go_in"], ["go_out"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("round_number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_in", TensorProto.FLOAT, [512, 512]),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, [512, 512]),
        ],
    )
    nodes, constants = weighted_difference("left", "right", "matched", (0, 0, 0), TensorProto.FLOAT)
    nodes += [
        helper.make_node("ReduceMean", ["left"], ["brightness"], keepdims=0),
        helper.make_node("Mul", ["brightness", "zero"], ["nothing"]),  # keeps the loop unfolded
        helper.make_node("Add", ["matrix", "nothing"], ["state"]),
        helper.make_node("Loop", ["rounds", "", "state"], ["last"], body=body),
        helper.make_node("ReduceMean", ["last"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["still_nothing"]),
        helper.make_node("Add", ["matched", "still_nothing"], ["almost"]),
        helper.make_node("Add", ["almost", "seven"], ["disparity"]),
    ]
    constants += [
        _constant("matrix", np.eye(512, dtype=np.float32)),
        _constant("rounds", np.asarray(rounds, np.int64)),
        _constant("zero", np.asarray(0, np.float32)),
        _constant("seven", np.asarray(7, np.float32)),
    ]
    images = [(n, TensorProto.FLOAT, [1, 3, height, width]) for n in ("left", "right")]
    outputs = [("disparity", TensorProto.FLOAT, [1, 1, height, width])]
    return save_graph(
        path,
        nodes,
        inputs=images,
        outputs=outputs,
        constants=constants,
        metadata={"kind": "lite"},
    )


def matching_model(
    path: Path, shape: tuple[int, int] | None = None, max_disparity: int = 16
) -> Path:
    """Write a block matcher as a *lite* model: whole-pixel disparities from 0 to `max_disparity`.

    Cost: absolute difference of the first channel, averaged over 5x5 px; the cheapest wins.
    """
    height, width = shape or ("H", "W")
    constants = [
        _constant(name, np.asarray([value], np.int64))
        for name, value in (("zero", 0), ("one", 1), ("axis_channel", 1), ("axis_x", 3))
    ]
    nodes = [
        helper.make_node("Slice", ["left", "zero", "one", "axis_channel"], ["left_plane"]),
        helper.make_node("Slice", ["right", "zero", "one", "axis_channel"], ["right_0"]),
    ]
    for shift in range(max_disparity + 1):
        if shift > 0:  # right image moved to the right by `shift`, black where nothing comes in
            constants += [
                _constant(f"pads_{shift}", np.asarray([0, 0, 0, shift, 0, 0, 0, 0], np.int64)),
                _constant(f"end_{shift}", np.asarray([-shift], np.int64)),
            ]
            cut = ["right_0", "zero", f"end_{shift}", "axis_x"]
            nodes += [
                helper.make_node("Slice", cut, [f"cut_{shift}"]),
                helper.make_node("Pad", [f"cut_{shift}", f"pads_{shift}"], [f"right_{shift}"]),
            ]
        nodes += [
            helper.make_node("Sub", ["left_plane", f"right_{shift}"], [f"difference_{shift}"]),
            helper.make_node("Abs", [f"difference_{shift}"], [f"cost_{shift}"]),
        ]
    costs = [f"cost_{shift}" for shift in range(max_disparity + 1)]
    nodes += [
        helper.make_node("Concat", costs, ["costs"], axis=1),
        helper.make_node("AveragePool", ["costs"], ["sums"], kernel_shape=[5, 5], pads=[2] * 4),
        helper.make_node("ArgMin", ["sums"], ["best"], axis=1, keepdims=1),
        helper.make_node("Cast", ["best"], ["disparity"], to=TensorProto.FLOAT),
    ]
    images = [(n, TensorProto.FLOAT, [1, 3, height, width]) for n in ("left", "right")]
    outputs = [("disparity", TensorProto.FLOAT, [1, 1, height, width])]
    return save_graph(
        path,
        nodes,
        inputs=images,
        outputs=outputs,
        constants=constants,
        metadata={"kind": "lite", "channel_order": "RGB"},
    )
