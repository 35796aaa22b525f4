"""Measure speed and memory of the networks and the scripts.

For example::

    python tools/benchmark.py
    python tools/benchmark.py --only networks --model-path peer.onnx --model-path other.onnx@512x640
    python tools/benchmark.py --only growth --plot growth.png --quick
    python tools/benchmark.py --only live --minutes 10
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

from crestereo.errors import UsageError
from crestereo.formats import write_bytes
from crestereo.models import bundled_model, check_iters, parse_model_shape
from crestereo.session import check_is_file
from tools.lib.bench_growth import ITERS, SHAPES, growth_chart, growth_rows, measure_growth
from tools.lib.bench_live import live_rows
from tools.lib.bench_rows import (
    decode_rows,
    memory_rows,
    peer_rows,
    stage_rows,
    start_rows,
    video_rows,
)
from tools.lib.bench_setup import Row, Setup
from tools.lib.charts import check_chart
from tools.lib.cli import check_free, run_tool
from tools.lib.tables import markdown_table

PARTS = {
    "start": start_rows,
    "stages": stage_rows,
    "decoding": decode_rows,
    "video": video_rows,
    "memory": memory_rows,
    "networks": peer_rows,
    "live": live_rows,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    options = _parse(arguments)
    parts = _chosen_parts(options.only)
    check_free([options.json, options.plot], options.overwrite)
    if options.plot:
        check_chart(options.plot)
    setup = _setup(options)
    rows: list[Row] = []
    for name in parts:
        if name == "growth":
            sizes = (SHAPES[:2], ITERS[:2]) if options.quick else (SHAPES, ITERS)
            points = measure_growth(setup, *sizes)
            rows += growth_rows(points)
            if options.plot:
                print(f"wrote {growth_chart(options.plot, points)}", file=sys.stderr)
        else:
            rows += PARTS[name](setup)
    print(f"{describe_machine()}; network {setup.model.name}\n")
    print(table(rows))
    if options.json:
        write_bytes(options.json, json.dumps(as_records(rows), indent=2).encode())
    return 0


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    header = ["what", "setting", "median", "p90", "unit", "note"]
    cells = [
        [row.what, row.setting, _number(row.median), _number(row.p90), row.unit, row.note]
        for row in rows
    ]
    return markdown_table(header, cells, 2)


def as_records(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Return rows for JSON, NaN as null."""
    records = [dataclasses.asdict(row) for row in rows]
    return [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in record.items()}
        for record in records
    ]


def describe_machine() -> str:
    """Return system, processor and versions as one line."""
    import onnxruntime  # noqa: PLC0415

    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, ONNX Runtime {onnxruntime.__version__}"
    )


def parse_peer(text: str) -> tuple[Path, tuple[int, int] | None]:
    """Read FILE.onnx or FILE.onnx@HxW."""
    found = re.fullmatch(r"(.+)@(\d+x\d+)", text)
    return (Path(found[1]), parse_model_shape(found[2])) if found else (Path(text), None)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model", type=Path, default=bundled_model(), help="ONNX file of the main network")
    add(
        "--model-path",
        action="append",
        default=[],
        metavar="FILE[@HxW]",
        help="another ONNX file to compare with, of any interface; repeatable",
    )
    add("--only", default="", help=f"comma separated: {', '.join(PARTS)}, growth; empty: all")
    add("--iters", type=int, default=5, help="iterations, for files with selectable iterations")
    add("--model-shape", default="480x640", metavar="HxW", help="size of images and networks")
    add(
        "--threads",
        default="2,1",
        help="comma separated; all but networks use the first",
    )
    add("--rounds", type=int, default=25, help="repetitions of each measurement")
    add("--frames", type=int, default=100, help="frames of the clip whose rate is measured")
    add("--memory-frames", type=int, default=2000, help="frames of the clip for memory growth")
    add("--minutes", type=float, default=3.0, help="length of the live run")
    add("--plot", type=Path, help="file for the chart of --only growth")
    add("--json", type=Path, help="write the rows as JSON too")
    add("--overwrite", action="store_true", help="replace files that exist")
    add("--quick", action="store_true", help="few repetitions, for a trial run")
    return parser.parse_args(arguments)


def _setup(options: argparse.Namespace) -> Setup:
    if min(options.rounds, options.frames, options.memory_frames) < 1:
        raise UsageError("--rounds, --frames and --memory-frames must be 1 or more")
    if not 0 < options.minutes < math.inf:
        raise UsageError(f"--minutes must be above 0, not {options.minutes}")
    peers = tuple(parse_peer(text) for text in options.model_path)
    for path in (options.model, *(path for path, _ in peers)):
        check_is_file(path)
    quick = options.quick
    return Setup(
        model=options.model,
        peers=peers,
        shape=parse_model_shape(options.model_shape),
        iters=check_iters(options.iters),
        threads=_threads(options.threads),
        devices=_devices(),
        rounds=min(options.rounds, 3) if quick else options.rounds,
        frames=min(options.frames, 10) if quick else options.frames,
        memory_frames=min(options.memory_frames, 100) if quick else options.memory_frames,
        minutes=min(options.minutes, 0.1) if quick else options.minutes,
    )


def _threads(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(word) for word in text.split(","))
    except ValueError as exc:
        raise UsageError(f"--threads takes whole numbers like 2,1, not {text!r}") from exc
    if min(counts) < 1:
        raise UsageError("--threads must be 1 or more")
    return counts


def _devices() -> tuple[str, ...]:
    import onnxruntime  # noqa: PLC0415

    if "OpenVINOExecutionProvider" in onnxruntime.get_available_providers():
        return "cpu", "openvino"
    print("OpenVINO is not measured: it needs onnxruntime-openvino", file=sys.stderr)
    return ("cpu",)


def _chosen_parts(text: str) -> list[str]:
    known = [*PARTS, "growth"]
    chosen = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in chosen if word not in known]
    if unknown:
        raise UsageError(f"--only takes {', '.join(known)}, not {', '.join(unknown)}")
    return chosen or known


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    run_tool(main)
