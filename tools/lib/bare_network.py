"""Run any ONNX file on made-up input, without pre- or post-processing."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crestereo.errors import UsageError
from crestereo.session import open_session, runtime_errors
from tools.lib.bench_process import peak_bytes
from tools.lib.timing import repeat

_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
}


class Node(Protocol):
    """Input of a network as ONNX Runtime describes it."""

    name: str
    type: str
    shape: Sequence[int | str | None]


class BareNetwork:
    """ONNX session with made-up input.

    Parameters
    ----------
    path : Path
        ONNX file of any interface.
    shape : (int, int)
        Height and width [px] where the file leaves them open.
    iters : int
        For an input of that name.
    device : str
        One of `crestereo.providers.DEVICES`.
    threads : int or None
        Of the CPU.

    Raises
    ------
    UsageError
        It cannot run at this size.

    Attributes
    ----------
    shape : (int, int)
        Height and width that really run [px].
    """

    def __init__(
        self, path: Path, shape: tuple[int, int], *, iters: int, device: str, threads: int | None
    ) -> None:
        self._session = open_session(path, device=device, threads=threads)
        nodes = self._session.get_inputs()
        chosen = [n for n in self._session.get_overridable_initializers() if n.name == "iters"]
        self._feed = made_up_inputs([*nodes, *chosen], shape, iters)
        self.shape = image_shape(self._feed)
        try:
            self.run()
        except runtime_errors() as exc:
            reason = str(exc).splitlines()[0]
            raise UsageError(
                f"{path.name} does not run at {shape[0]}x{shape[1]}, try another size: {reason}"
            ) from exc

    def run(self) -> None:
        """Run the network once."""
        self._session.run(None, self._feed)


def made_up_inputs(
    nodes: Sequence[Node], shape: tuple[int, int], iters: int
) -> dict[str, NDArray[Any]]:
    """Return random input that fits the description of a network's inputs."""
    random = np.random.default_rng(0)
    feed: dict[str, NDArray[Any]] = {}
    for node in nodes:
        if node.type not in _TYPES or len(node.shape) not in {0, 1, 4}:
            raise UsageError(f"the input {node.name} ({node.type}, {node.shape}) is unknown here")
        dtype = _TYPES[node.type]
        if len(node.shape) < 4:
            feed[node.name] = np.full([1] * len(node.shape), iters, dtype)
            continue
        sides = [
            side if isinstance(side, int) and side > 0 else open_side
            for side, open_side in zip(node.shape, (1, 3, *shape), strict=True)
        ]
        if sides[1] == 1:  # a prior, of which nothing is known
            feed[node.name] = np.full(sides, np.nan, dtype)
            continue
        highest = 255 if sides[1] == 3 else 1
        feed[node.name] = (random.random(sides, np.float32) * highest).astype(dtype)
    return feed


def image_shape(feed: dict[str, NDArray[Any]]) -> tuple[int, int]:
    """Return the size of the largest image among the inputs [px]."""
    sizes = [array.shape[2:] for array in feed.values() if array.ndim == 4]
    height, width = max(sizes)
    return height, width


def main() -> None:
    """Measure the requested network and print time and memory as JSON."""
    request = json.loads(sys.argv[1])
    network = BareNetwork(
        Path(request["path"]),
        tuple(request["shape"]),
        iters=request["iters"],
        device=request["device"],
        threads=request["threads"],
    )
    timing = repeat(network.run, request["rounds"], warmup=0)  # opening it has run it once
    print(json.dumps({"seconds": timing.values, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main()
