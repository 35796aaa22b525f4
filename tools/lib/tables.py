"""Format records as Markdown tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .records import Figures, Record, benchmark_weight, mean_figures
from .regions import REGIONS, SEEN

COLUMNS = {
    # figure: heading, decimals, factor
    "EPE": ("EPE", 2, 1),
    "bad-1": ("bad-1", 1, 1),
    "bad-2": ("bad-2", 1, 1),
    "bad-2 nonocc": ("bad-2 nonocc", 1, 1),
    "D1": ("D1", 1, 1),
    "A90": ("A90", 2, 1),
    "bad-2 top 80 %": ("bad-2 top 80 %", 1, 1),
    "AUSC": ("AUSC", 2, 1),
    "ECE": ("ECE", 1, 1),
    "seconds": ("ms", 0, 1000),
}


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int) -> str:
    """Return an aligned Markdown table, numbers to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if i < text_columns else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join(cells)} |"

    rule = [
        "-" * width if i < text_columns else "-" * (width - 1) + ":"
        for i, width in enumerate(widths)
    ]
    return "\n".join([line(header), f"| {' | '.join(rule)} |", *map(line, rows)])


def runs_of(records: Sequence[Record]) -> list[list[Record]]:
    """Return the records grouped by method and treatment of unknown pixels."""
    runs: dict[tuple[object, str], list[Record]] = {}
    for record in records:
        runs.setdefault((record.method, record.unknown), []).append(record)
    return list(runs.values())


def run_titles(record: Record, density: float | None = None) -> list[str]:
    """Return model, iterations and size of a run."""
    method = record.method
    model = method.model + ("" if method.prior == "none" else f" + {method.prior}")
    if record.unknown == "ignored":
        model += ", known only" if density is None else f", {density:.0f} % known"
    iters = "" if method.iters is None else str(method.iters)
    return [model, iters, method.size_text]


def summary_table(records: Sequence[Record], by_folder: bool = True) -> str:
    """Return a table of means over all scenes and over each folder."""
    shown = {
        name: column
        for name, column in COLUMNS.items()
        if any(name in record.figures for record in records)
    }
    rows = []
    blocks = _subsets(records)
    for title, subset, weighted in blocks if by_folder else blocks[:1]:
        for run in runs_of(subset):
            means = mean_figures(run, benchmark_weight) if weighted else mean_figures(run)
            rows.append([title, *run_titles(run[0], means["density"]), *_cells(means, shown)])
    header = ["scenes", "model", "iters", "size", *(heading for heading, _, _ in shown.values())]
    return markdown_table(header, rows, text_columns=2)


def region_table(records: Sequence[Record]) -> str:
    """Return a table of the errors by region.

    The figures are the share of the pixels, bad-2, the share of the bad pixels and A50. Shares and
    bad-2 are taken over the pixels of all scenes, A50 is the mean of the scenes.
    """
    rows = []
    for run in runs_of(records):
        pixels, bad = _region_sums(run, SEEN)
        for name in REGIONS:
            inside, wrong = _region_sums(run, name)
            if not inside:
                continue
            middle = float(
                np.mean([r.figures[f"A50 {name}"] for r in run if f"A50 {name}" in r.figures])
            )
            shares = (inside / pixels, wrong / inside, wrong / max(bad, 1e-9))
            rows.append(
                [
                    name,
                    *run_titles(run[0]),
                    *(f"{100 * share:.1f}" for share in shares),
                    f"{middle:.2f}",
                ]
            )
    header = ["region", "model", "iters", "size", "% of pixels", "bad-2", "% of bad", "A50"]
    return markdown_table(header, rows, text_columns=2)


def _region_sums(run: Sequence[Record], name: str) -> tuple[float, float]:
    """Return the numbers of all and of bad-2 pixels of a region."""
    having = [r.figures for r in run if f"pixels {name}" in r.figures]
    pixels = sum(f[f"pixels {name}"] for f in having)
    return pixels, sum(f[f"pixels {name}"] * f[f"bad-2 {name}"] / 100 for f in having)


def scene_table(records: Sequence[Record], figure: str) -> str:
    """Return one figure for every scene, one column per run."""
    runs = runs_of(records)
    header = ["scene", *(run_name(run[0]) for run in runs)]
    names = dict.fromkeys((record.scene.group, record.scene.name) for record in records)
    rows = []
    for group, name in names:
        values = [
            next(r.figures[figure] for r in run if (r.scene.group, r.scene.name) == (group, name))
            for run in runs
        ]
        rows.append([f"{group}/{name}", *(f"{value:.1f}" for value in values)])
    return markdown_table(header, rows, text_columns=1)


def defeats(records: Sequence[Record], figure: str) -> list[str]:
    """Return sentences on the scenes where other runs beat the first.

    "Better" is a smaller figure; the scenes come in the order of the distance.
    """
    first, *others = runs_of(records)
    own = {record.scene: record.figures[figure] for record in first}
    sentences = []
    for run in others:
        margins = {r.scene: own[r.scene] - r.figures[figure] for r in run if r.scene in own}
        lost = sorted((s for s in margins if margins[s] > 0), key=lambda s: -margins[s])
        names = ", ".join(f"{scene.name} ({margins[scene]:.1f})" for scene in lost)
        sentences.append(
            f"{run_name(run[0])} has the smaller {figure} in "
            f"{len(lost)} of {len(margins)} scenes{': ' if lost else ''}{names}."
        )
    return sentences


def run_name(record: Record) -> str:
    """Return the name of a run for headings and legends."""
    model, iters, size = run_titles(record)
    return ", ".join(
        [model, *([f"{iters} it"] if iters else []), *([size] if size != "native" else [])]
    )


def _subsets(records: Sequence[Record]) -> list[tuple[str, Sequence[Record], bool]]:
    """Return (title, records, whether weighted) for each block of the table."""
    groups = list(dict.fromkeys(record.scene.group for record in records))
    blocks: list[tuple[str, Sequence[Record], bool]] = []
    if len(groups) > 1:
        blocks.append((f"all ({_count(records)})", records, False))
    for group in groups:
        inside = [record for record in records if record.scene.group == group]
        blocks.append((f"{group} ({_count(inside)})", inside, False))
        if len({benchmark_weight(record, "EPE") for record in inside}) > 1:
            blocks.append((f"{group}, weighted", inside, True))
    return blocks


def _count(records: Sequence[Record]) -> int:
    return len({(record.scene.group, record.scene.name) for record in records})


def _cells(means: Figures, shown: dict[str, tuple[str, int, int]]) -> list[str]:
    cells = []
    for name, (_, decimals, factor) in shown.items():
        value = means.get(name, math.nan) * factor
        cells.append("" if math.isnan(value) else f"{value:.{decimals}f}")
    return cells
