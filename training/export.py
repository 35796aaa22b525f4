"""Export the network as ONNX with dynamic iteration count and size.

    python -m training.export training/checkpoint.pt models/crestereo_lite.onnx

Every stage of `LiteStereo` is traced into a separate graph; the recurrent ones become the bodies
of two ONNX `Loop`s, so that `iters` is an input. Padding to multiples of 32 and cropping are part
of the graph. `iters` and `prior` are inputs without a default, because ONNX Runtime warns about
inputs that have one; a `prior` of NaN, of any size, means no initial disparity.

Longer than the rule for modules by the two lists of the file's inputs and outputs.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, compose, helper, numpy_helper
from torch import Tensor, nn

from training.network import MULTIPLE, LiteStereo, prior_at_4, prior_at_8

OPSET = 17
LICENCE = "MIT"
MAX_ITERS = 32


class _Begin(nn.Module):
    def __init__(self, net: LiteStereo) -> None:
        super().__init__()
        self.net = net

    def forward(self, left: Tensor, right: Tensor, p8: Tensor) -> tuple[Tensor, ...]:
        left, right = _padded(left, left), _padded(right, left)
        (f2, g2), (v4, w4, f4), (v8, w8, f8), logits, d8 = self.net.begin(left, right, p8)
        state, context = self.net.open_8(f8)
        return f2, g2, f4, v4, w4, v8, w8, logits, context, state, d8


class _Prior(nn.Module):
    """Initial disparity at 1/8 and 1/4."""

    def forward(self, left: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        prior = _padded(prior, left)
        return prior_at_8(prior), prior_at_4(prior)


class _NoPrior(nn.Module):
    """Output of `_Prior` for an unknown initial disparity."""

    def forward(self, left: Tensor) -> tuple[Tensor, Tensor]:
        h, w = ((side + MULTIPLE - 1) // MULTIPLE * MULTIPLE for side in left.shape[2:])
        return torch.full((1, 1, h // 8, w // 8), -1.0), torch.full(
            (1, 1, h // 4, w // 4), torch.nan
        )


def _padded(x: Tensor, left: Tensor) -> Tensor:
    """Pad an image or map, sized like `left`, to multiples of 32."""
    bottom, side = -left.shape[2] % MULTIPLE, -left.shape[3] % MULTIPLE
    return F.pad(x, (0, side, 0, bottom), mode="replicate")


class _Stage(nn.Module):
    """Module that wraps one method of the network, as the tracer requires."""

    def __init__(self, net: LiteStereo, method: str) -> None:
        super().__init__()
        self.net, self.method = net, method

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs: tuple[Tensor, ...] = getattr(self.net, self.method)(*inputs)
        return outputs


class _Finish(nn.Module):
    def __init__(self, net: LiteStereo) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, left: Tensor, f2: Tensor, g2: Tensor, state: Tensor, d4: Tensor
    ) -> tuple[Tensor, Tensor]:
        _, disparity, confidence = self.net.finish(f2, g2, state, d4)
        h, w = left.shape[2], left.shape[3]
        return disparity[:, :, :h, :w], torch.sigmoid(confidence)[:, :, :h, :w]


def _trace(
    module: nn.Module, values: Sequence[Tensor], inputs: list[str], outputs: list[str], prefix: str
) -> tuple[onnx.GraphProto, tuple[Tensor, ...]]:
    """Trace a stage; return its graph and the outputs of the trace.

    Internal names get the prefix, inputs and outputs the given names.
    """
    module = module.eval()  # otherwise the tracer leaves the network in training mode
    buffer = io.BytesIO()
    free = {name: {2: f"{name}_h", 3: f"{name}_w"} for name in inputs}
    with (
        warnings.catch_warnings()
    ):  # the tracer warns about every size that is read, and of its deprecation
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(values),
            buffer,
            opset_version=OPSET,
            input_names=[f"in.{n}" for n in inputs],
            output_names=[f"out.{n}" for n in outputs],
            dynamic_axes={f"in.{n}": axes for n, axes in free.items()},
            dynamo=False,
        )
        result = module(*values)
    graph = compose.add_prefix(onnx.load_from_string(buffer.getvalue()), prefix).graph
    names = {f"{prefix}in.{n}": n for n in inputs} | {f"{prefix}out.{n}": n for n in outputs}
    _narrow_indices(graph.node)
    for node in graph.node:
        node.input[:] = [names.get(n, n) for n in node.input]
        node.output[:] = [names.get(n, n) for n in node.output]
    for value in graph.output:
        value.name = names[value.name]
    return graph, result


def _narrow_indices(nodes: Sequence[onnx.NodeProto]) -> None:
    """Convert the indices of lookups to int32.

    PyTorch requires int64 in `gather`, which doubles the memory traffic.
    """
    makers = {name: node for node in nodes for name in node.output}
    for lookup in (n for n in nodes if n.op_type == "GatherElements"):
        index = makers.get(lookup.input[1])
        while index is not None and index.op_type == "Expand":
            index = makers.get(index.input[0])
        if index is not None and index.op_type == "Cast":
            index.attribute[0].i = TensorProto.INT32


def _loop(
    body: onnx.GraphProto, count: str, start: list[str], carried: list[str], prefix: str
) -> onnx.NodeProto:
    """Return a Loop node that runs `body` `count` times.

    `start` are the initial values, `carried` the final ones. The body reads `NAME_in` and writes
    `NAME_out` of every carried name; its other inputs come from the outer graph.
    """
    number = helper.make_tensor_value_info(f"{prefix}number", TensorProto.INT64, [])
    going = helper.make_tensor_value_info(f"{prefix}going", TensorProto.BOOL, [])
    still = helper.make_tensor_value_info(f"{prefix}still", TensorProto.BOOL, [])
    shape = [1, None, None, None]
    entering = [helper.make_tensor_value_info(f"{n}_in", TensorProto.FLOAT, shape) for n in carried]
    leaving = [helper.make_tensor_value_info(f"{n}_out", TensorProto.FLOAT, shape) for n in carried]
    keep = helper.make_node("Identity", [going.name], [still.name])
    # The weights are inside the body, because ONNX Runtime prepacks only those.
    graph = helper.make_graph(
        [keep, *body.node],
        f"{prefix}body",
        [number, going, *entering],
        [still, *leaving],
        list(body.initializer),
    )
    return helper.make_node("Loop", [count, "", *start], carried, body=graph, name=f"{prefix}loop")


def _choose_prior() -> list[onnx.NodeProto]:
    """Return the nodes that compute "p8" and "p4", skipped without a prior."""
    image, unknown = torch.rand(1, 3, 96, 128), torch.full((1, 1, 96, 128), torch.nan)
    some, _ = _trace(
        _Prior(), (image, unknown), ["left", "prior"], ["some_p8", "some_p4"], "prior."
    )
    none, _ = _trace(_NoPrior(), (image,), ["left"], ["none_p8", "none_p4"], "no_prior.")
    for graph in (some, none):
        graph.ClearField("input")  # a branch reads from the outer graph
    return [
        helper.make_node("Size", ["prior"], ["prior_size"]),
        helper.make_node("Greater", ["prior_size", "number_1"], ["prior_given"]),
        helper.make_node(
            "If", ["prior_given"], ["p8", "p4"], then_branch=some, else_branch=none, name="prior.if"
        ),
    ]


def _stages(net: LiteStereo) -> list[onnx.GraphProto]:
    """Trace the stages: begin, step_8, open_4, step_4, finish.

    Inputs and outputs of a loop have different names, so that the graphs can be connected.
    """
    image = torch.rand(1, 3, 96, 128) * 255
    first = ["f2", "g2", "f4", "v4", "w4", "v8", "w8", "logits", "context_8"]
    first += ["state_8", "d8"]
    p8, p4 = torch.full((1, 1, 12, 16), -1.0), torch.full((1, 1, 24, 32), torch.nan)
    begin, out = _trace(_Begin(net), (image, image, p8), ["left", "right", "p8"], first, "begin.")
    f2, g2, f4, v4, w4, v8, w8, logits, context, state, d8 = out
    step_8, _ = _trace(
        _Stage(net, "iterate_8"),
        (state, context, d8, v8, w8, logits),
        ["s8_in", "context_8", "e8_in", "v8", "w8", "logits"],
        ["s8_out", "e8_out"],
        "step_8.",
    )
    names = ["state_4", "context_4", "d4"]
    open_4, (state4, context4, d4) = _trace(
        _Stage(net, "open_4"), (f4, state, d8, p4), ["f4", "s8", "e8", "p4"], names, "open_4."
    )
    step_4, _ = _trace(
        _Stage(net, "iterate_4"),
        (state4, context4, d4, v4, w4),
        ["s4_in", "context_4", "e4_in", "v4", "w4"],
        ["s4_out", "e4_out"],
        "step_4.",
    )
    finish, _ = _trace(
        _Finish(net),
        (image, f2, g2, state4, d4),
        ["left", "f2", "g2", "s4", "e4"],
        ["disparity", "confidence"],
        "finish.",
    )
    return [begin, step_8, open_4, step_4, finish]


def build(net: LiteStereo, metadata: dict[str, str]) -> onnx.ModelProto:
    """Return the ONNX model of the traced stages and the two loops."""
    begin, step_8, open_4, step_4, finish = _stages(net.eval())
    nodes = [
        *_choose_prior(),
        *begin.node,
        *_steps_of(),
        _loop(step_8, "iters_8", ["state_8", "d8"], ["s8", "e8"], "loop_8."),
        *open_4.node,
        _loop(step_4, "iters_4", ["state_4", "d4"], ["s4", "e4"], "loop_4."),
        *finish.node,
    ]
    constants = [
        *(numpy_helper.from_array(np.array(n, np.int64), f"number_{n}") for n in (1, 2, 4)),
        *(tensor for stage in (begin, open_4, finish) for tensor in stage.initializer),
    ]
    graph = helper.make_graph(nodes, "crestereo_lite", _inputs(), _outputs(), constants)
    producer = "crestereo training.export"
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name=producer)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def _steps_of() -> list[onnx.NodeProto]:
    """Return `training.network.steps_of` as nodes."""
    return [
        helper.make_node("Div", ["iters", "number_2"], ["iters_half"]),
        helper.make_node("Div", ["iters", "number_4"], ["iters_quarter"]),
        helper.make_node("Max", ["iters_quarter", "number_1"], ["iters_wanted"]),
        helper.make_node("Min", ["iters_half", "iters_wanted"], ["iters_8"]),
        helper.make_node("Sub", ["iters", "iters_8"], ["iters_left"]),
        helper.make_node("Sub", ["iters_left", "number_1"], ["iters_rest"]),
        helper.make_node("Max", ["iters_rest", "number_1"], ["iters_4"]),
    ]


def _inputs() -> list[onnx.ValueInfoProto]:
    size = [1, 3, "height", "width"]
    return [
        helper.make_tensor_value_info("left", TensorProto.FLOAT, size),
        helper.make_tensor_value_info("right", TensorProto.FLOAT, size),
        helper.make_tensor_value_info("iters", TensorProto.INT64, []),
        helper.make_tensor_value_info(
            "prior", TensorProto.FLOAT, [1, 1, "prior_height", "prior_width"]
        ),
    ]


def _outputs() -> list[onnx.ValueInfoProto]:
    size = [1, 1, "height", "width"]
    return [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
        for name in ("disparity", "confidence")
    ]


def metadata_of(checkpoint: dict[str, object]) -> dict[str, str]:
    """Return the metadata of the file."""
    return {
        "kind": "lite",
        "channel_order": "RGB",
        "licence": LICENCE,
        "max_iters": str(MAX_ITERS),
        "training_run": str(checkpoint["run"]),
        "samples_seen": str(checkpoint["samples"]),
        "description": "crestereo_lite: trained from scratch on rendered scenes; "
        "not the published CREStereo",
    }


def export(checkpoint_path: Path, target: Path) -> None:
    """Write the EMA weights of a checkpoint as ONNX, atomically."""
    checkpoint = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
    net = LiteStereo()
    net.load_state_dict(checkpoint["ema"])
    model = build(net, metadata_of(checkpoint))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".tmp", delete=False) as part:
        part.write(model.SerializeToString())
    Path(part.name).chmod(0o644)
    Path(part.name).replace(target)


def main() -> None:
    """Export the checkpoint named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("onnx", type=Path)
    arguments = parser.parse_args()
    export(arguments.checkpoint, arguments.onnx)
    content = arguments.onnx.read_bytes()
    print(f"{arguments.onnx}: {len(content) / 1e6:.1f} MB")
    print(f"BUNDLED_SHA256 of crestereo/models.py: {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
