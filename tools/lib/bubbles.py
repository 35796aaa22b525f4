"""Draw the bubble chart and the strip of details of a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from crestereo.types import DisparityMap

from .advice import pareto_front
from .charts import MARKERS, OKABE_ITO, new_figure, save_figure, tidy, time_axis
from .comparison import Comparison, Subject, Trial
from .methods import Method

SMALLEST_BUBBLE = 40
BUBBLE_PER_ITERATION = 14
CROP_SHARE = 0.34  # of height and width


def bubble_chart(path: Path, trials: Sequence[Trial]) -> Path:
    """Plot error over time as a bubble chart.

    The line joins the Pareto front, whose members are numbered and named below.
    """
    figure, axes = new_figure(8, 5.5)
    (axis,) = axes.ravel()
    ordered = sorted(trials, key=lambda trial: trial.method.pixels)
    sizes = dict.fromkeys(trial.method.size_text for trial in ordered)
    models = dict.fromkeys(trial.method.model for trial in trials)
    colours = dict(zip(sizes, cycle(OKABE_ITO), strict=False))
    markers = dict(zip(models, cycle(MARKERS), strict=False))
    for trial in sorted(trials, key=_area, reverse=True):  # small ones on top
        axis.scatter(
            trial.ms,
            trial.quality_px,
            s=_area(trial),
            color=colours[trial.method.size_text],
            marker=markers[trial.method.model],
            alpha=0.75,
            edgecolor="black",
            linewidth=0.6,
        )
    front_keys = _draw_front(axis, pareto_front(trials))
    time_axis(axis)
    axis.margins(0.15)
    known = not math.isnan(trials[0].epe_px)
    axis.set_ylabel("mean error (EPE) [px]" if known else "mean difference from the best [px]")
    axis.set_title(trials[0].pair, fontsize=10)
    tidy(axis)
    _add_keys(
        figure, "right upper", "resolution", [_key(axis, s, color=c) for s, c in colours.items()]
    )
    _add_keys(figure, "right center", "iterations", _iteration_keys(axis, trials))
    if len(models) > 1:
        by_model = [_key(axis, name, color="grey", marker=mark) for name, mark in markers.items()]
        _add_keys(figure, "upper center", "", by_model, columns=3)
    title = "on the front: nothing else is both faster and better"
    _add_keys(figure, "lower center", title, front_keys, columns=2)
    return save_figure(figure, path)


def _draw_front(axis: Any, front: Sequence[Trial]) -> list[Any]:
    """Draw the Pareto front and return its legend entries."""
    times, qualities = [trial.ms for trial in front], [trial.quality_px for trial in front]
    axis.plot(times, qualities, color="black", linewidth=1, linestyle="--", zorder=0)
    for number, trial in enumerate(front, start=1):
        axis.annotate(
            str(number),
            (trial.ms, trial.quality_px),
            xytext=(-3 - math.sqrt(_area(trial)) / 2, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            weight="bold",
        )
    return [
        _key(axis, _short_name(trial.method), color="black", marker=f"${number}$")
        for number, trial in enumerate(front, start=1)
    ]


def _add_keys(figure: Any, side: str, title: str, keys: Sequence[Any], columns: int = 1) -> None:
    figure.legend(
        handles=keys,
        title=title,
        loc=f"outside {side}",
        ncols=columns,
        fontsize=8,
        title_fontsize=9,
        labelspacing=0.9,
        frameon=False,
    )


def _key(axis: Any, label: str, **style: Any) -> Any:
    """Return an entry of a legend."""
    return axis.scatter([], [], label=label, **style)


def _iteration_keys(axis: Any, trials: Sequence[Trial]) -> list[Any]:
    steps = sorted({t.method.iters for t in trials if t.method.iters is not None})
    sizes = [SMALLEST_BUBBLE + BUBBLE_PER_ITERATION * n for n in steps]
    return [_key(axis, str(n), color="grey", s=size) for n, size in zip(steps, sizes, strict=True)]


def _area(trial: Trial) -> float:
    return SMALLEST_BUBBLE + BUBBLE_PER_ITERATION * (trial.method.iters or 0)


def _short_name(method: Method) -> str:
    steps = "" if method.iters is None else f", {method.iters} it"
    return f"{method.model}{steps}, {method.size_text}"


def detail_strip(path: Path, comparison: Comparison, subject: Subject) -> Path | None:
    """Draw the most detailed part of a pair at every iteration count."""
    trials = _longest_row([t for t in comparison.trials if t.pair == subject.pair.name])
    if len(trials) < 2:
        return None
    best = comparison.disparities[comparison.best, subject.pair.name]
    part = busiest_part(best if subject.ground_truth is None else subject.ground_truth)
    low, high = np.nanpercentile(best[part], (1, 99))
    maps = [(_caption(t), comparison.disparities[t.method, t.pair][part]) for t in trials]
    if subject.ground_truth is not None:
        maps.append(("ground truth", subject.ground_truth[part]))
    height, width = maps[0][1].shape
    columns = len(maps) + 1
    figure, axes = new_figure(2.0 * columns, 2.0 * height / width + 0.9, columns=columns)
    axes[0, 0].imshow(cv2.cvtColor(subject.pair.left[part], code=cv2.COLOR_BGR2RGB))
    axes[0, 0].set_title("left image", fontsize=9)
    for axis, (caption, disparity) in zip(axes[0, 1:], maps, strict=True):
        axis.imshow(np.ma.masked_invalid(disparity), cmap="magma", vmin=low, vmax=high)
        axis.set_title(caption, fontsize=9)
    for axis in axes.ravel():
        axis.axis("off")
    method = trials[0].method
    figure.suptitle(
        f"{subject.pair.name}: {method.model} at {method.size_text} "
        "(time and error are those of the whole image)",
        fontsize=10,
    )
    return save_figure(figure, path)


def _caption(trial: Trial) -> str:
    error = "" if math.isnan(trial.epe_px) else f"\nEPE {trial.epe_px:.2f} px"
    return f"{trial.method.iters} iterations\n{trial.ms:.0f} ms{error}"


def _longest_row(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials of the network and size with most iteration counts."""
    rows: dict[tuple[Path | None, str], list[Trial]] = {}
    for trial in trials:
        if trial.method.iters is not None:
            rows.setdefault((trial.method.path, trial.method.size_text), []).append(trial)
    if not rows:
        return []
    _, row = max(rows.items(), key=lambda item: (len(item[1]), item[1][0].method.pixels))
    return sorted(row, key=lambda trial: trial.method.iters or 0)


def busiest_part(disparity: DisparityMap) -> tuple[slice, slice]:
    """Return the window with most depth edges."""
    height, width = disparity.shape
    rows, columns = round(CROP_SHARE * height), round(CROP_SHARE * width)
    steps = np.abs(np.diff(np.nan_to_num(disparity), axis=1, prepend=disparity[:, :1]))
    edges = (np.nan_to_num(steps) > 1).astype(np.float64)
    sums = cv2.integral(edges)
    inside = (
        sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns]
        + sums[:-rows, :-columns]
    )  # fmt: skip
    top, left = np.unravel_index(int(np.argmax(inside)), inside.shape)
    return slice(int(top), int(top) + rows), slice(int(left), int(left) + columns)
