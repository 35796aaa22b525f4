"""The child process of `tools.lib.processes.probe`: one network, its times and peak memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tools.lib.bare_network import BareNetwork
from tools.lib.processes import peak_bytes
from tools.lib.timing import repeat


def main() -> None:
    """Read the request from the command line and print the answer as JSON."""
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
