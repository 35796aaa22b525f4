"""Measure the networks on five difficult rendered pairs.

For example::

    python tools/failure_cases.py --plot docs/results/failure_cases.jpg --overwrite
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

from crestereo.errors import UsageError
from crestereo.types import DisparityMap
from tools.lib.charts import check_chart, new_figure, save_figure
from tools.lib.cli import add_model_options, check_free, chosen_methods, run_tool
from tools.lib.hard_cases import CASES, MARGIN_PX, HardCase
from tools.lib.methods import open_method
from tools.lib.metrics import bad_rate, end_point_error
from tools.lib.tables import markdown_table

MOST_MAPS = 4  # columns of the chart


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_model_options(parser, iters="5", shapes="native", baselines="sgbm")
    parser.add_argument("--plot", type=Path, help="draw the pairs and the maps into this file")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    options = parse(arguments)
    check_free([options.plot], options.overwrite)
    if options.plot:
        check_chart(options.plot)
    methods = chosen_methods(options)
    if options.plot and len(methods) > MOST_MAPS:
        raise UsageError(f"--plot has room for {MOST_MAPS} maps, not {len(methods)}")
    cases = [make() for make in CASES]
    maps = {}
    for method in methods:
        run = open_method(method, device=options.device, threads=options.threads)
        steps = "" if method.iters is None else f", {method.iters} it"
        maps[method.model + steps] = [run(case.pair, MARGIN_PX).disparity for case in cases]
    print(table(cases, maps))
    if options.plot:
        save_figure(draw(cases, maps), options.plot)
    return 0


def table(cases: Sequence[HardCase], maps: dict[str, list[DisparityMap]]) -> str:
    """Return EPE and bad-2 of every map as a table."""
    header = ["case", "what is hard"]
    header += [f"{name}: {figure}" for name in maps for figure in ("EPE", "bad-2")]
    rows = []
    for i, case in enumerate(cases):
        row = [case.name, case.what]
        for own in maps.values():
            row.append(f"{end_point_error(own[i], case.ground_truth):.2f}")
            row.append(f"{100 * bad_rate(own[i], case.ground_truth, 2.0):.1f}")
        rows.append(row)
    return markdown_table(header, rows, text_columns=2)


def draw(cases: Sequence[HardCase], maps: dict[str, list[DisparityMap]]) -> Any:
    """Return a figure with one row per case."""
    columns = 3 + len(maps)
    figure, axes = new_figure(2.4 * columns, 1.95 * len(cases), rows=len(cases), columns=columns)
    for i, case in enumerate(cases):
        low, high = np.nanpercentile(case.ground_truth, (0, 100))
        shown = [cv2.cvtColor(p, code=cv2.COLOR_BGR2RGB) for p in (case.pair.left, case.pair.right)]
        shown += [case.ground_truth, *(own[i] for own in maps.values())]
        for axis, image, title in zip(
            axes[i], shown, ["left", "right", "ground truth", *maps], strict=True
        ):
            axis.imshow(image, cmap="magma", vmin=0, vmax=high + 0.1 * (high - low))
            axis.set_xticks([])
            axis.set_yticks([])
            if i == 0:
                axis.set_title(title, fontsize=10)
        axes[i, 0].set_ylabel(case.name, fontsize=10)
    return figure


if __name__ == "__main__":
    run_tool(main)
