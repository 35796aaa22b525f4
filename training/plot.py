"""Training curves: training and validation errors over samples."""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def _columns(path: Path) -> dict[str, list[float]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {k: [float(row[k] or "nan") for row in rows] for k in rows[0]} if rows else {}


def _thousands(columns: dict[str, list[float]]) -> list[float]:
    return [samples / 1000 for samples in columns["samples"]]


def draw(run: Path) -> Path:
    """Plot ``train.csv`` and ``validation.csv`` of a run into ``curve.png``."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    if (run / "train.csv").exists():
        steps = _columns(run / "train.csv")
        left.plot(_thousands(steps), steps["final"], linewidth=0.8)
    left.set(
        xlabel="thousand samples", ylabel="training error, px", yscale="log", title="while training"
    )
    marks = _columns(run / "validation.csv")
    for name, style in (("bad1", "-"), ("bad2", "--"), ("bad2_noc", ":")):
        share = [100 * v for v in marks[name]]
        right.plot(_thousands(marks), share, style, marker="o", markersize=3, label=name)
    right.set(xlabel="thousand samples", ylabel="pixels, %", yscale="log", title="held-out scenes")
    right.legend(loc="center left", bbox_to_anchor=(1, 0.5))  # outside of the axes
    for axes in (left, right):
        axes.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(run / "curve.png", dpi=100)
    plt.close(figure)
    return run / "curve.png"
