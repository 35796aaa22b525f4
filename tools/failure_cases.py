"""Show where the networks fail: five rendered pairs of what stereo matching finds hard.

For example::

    python tools/failure_cases.py --picture docs/failure_cases.jpg --overwrite
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
from tools.lib.cli import add_model_options, check_free, chosen_contestants, run_tool
from tools.lib.contestants import open_contestant
from tools.lib.hard_cases import CASES, MARGIN_PX, HardCase
from tools.lib.metrics import bad_rate, end_point_error
from tools.lib.tables import markdown_table

MOST_MAPS = 4  # that the picture has room for


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_model_options(parser, iters="5", shapes="native", baselines="sgbm")
    parser.add_argument("--picture", type=Path, help="draw the pairs and the maps into this file")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    options = parse(arguments)
    check_free([options.picture], options.overwrite)
    if options.picture:
        check_chart(options.picture)
    contestants = chosen_contestants(options)
    if options.picture and len(contestants) > MOST_MAPS:
        raise UsageError(f"--picture has room for {MOST_MAPS} maps, not {len(contestants)}")
    cases = [make() for make in CASES]
    maps = {}
    for contestant in contestants:
        run = open_contestant(contestant, device=options.device, threads=options.threads)
        steps = "" if contestant.iters is None else f", {contestant.iters} it"
        maps[contestant.model + steps] = [run(case.pair, MARGIN_PX).disparity for case in cases]
    print(table(cases, maps))
    if options.picture:
        save_figure(draw(cases, maps), options.picture)
    return 0


def table(cases: Sequence[HardCase], maps: dict[str, list[DisparityMap]]) -> str:
    """Return error and bad-2 of every map."""
    header = ["case", "what is hard"]
    header += [f"{name}: {figure}" for name in maps for figure in ("EPE", "bad-2")]
    rows = []
    for i, case in enumerate(cases):
        row = [case.name, case.what]
        for own in maps.values():
            row.append(f"{end_point_error(own[i], case.truth):.2f}")
            row.append(f"{100 * bad_rate(own[i], case.truth, 2.0):.1f}")
        rows.append(row)
    return markdown_table(header, rows, text_columns=2)


def draw(cases: Sequence[HardCase], maps: dict[str, list[DisparityMap]]) -> Any:
    """Return a matplotlib figure: a row per case with both pictures, the truth and every map."""
    columns = 3 + len(maps)
    figure, axes = new_figure(2.4 * columns, 1.95 * len(cases), rows=len(cases), columns=columns)
    for i, case in enumerate(cases):
        low, high = np.nanpercentile(case.truth, (0, 100))
        shown = [cv2.cvtColor(p, code=cv2.COLOR_BGR2RGB) for p in (case.pair.left, case.pair.right)]
        shown += [case.truth, *(own[i] for own in maps.values())]
        for axis, picture, title in zip(
            axes[i], shown, ["left", "right", "truth", *maps], strict=True
        ):
            axis.imshow(picture, cmap="magma", vmin=0, vmax=high + 0.1 * (high - low))
            axis.set_xticks([])
            axis.set_yticks([])
            if i == 0:
                axis.set_title(title, fontsize=10)
        axes[i, 0].set_ylabel(case.name, fontsize=10)
    return figure


if __name__ == "__main__":
    run_tool(main)
