"""Charts in colours that colour-blind readers can distinguish.

References
----------
.. [1] M. Okabe, K. Ito, "Color Universal Design", 2008: the eight colours.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crestereo.errors import UsageError
from crestereo.formats import write_bytes

from .records import Record, mean_figures
from .tables import run_name, runs_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DPI = 150
_SUFFIXES = (".png", ".jpg", ".jpeg")
EVALUATION_CHARTS = ("bad2_by_scene.png", "error_over_time.png", "sparsification.png")
NO_MATPLOTLIB = "charts need matplotlib; install it with pip install -r requirements-dev.txt"


def can_draw() -> bool:
    """Return whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def need_matplotlib() -> None:
    """Raise UsageError if matplotlib is not installed."""
    if not can_draw():
        raise UsageError(NO_MATPLOTLIB)


def new_figure(
    width_in: float, height_in: float, rows: int = 1, columns: int = 1
) -> tuple[Any, Any]:
    """Return a matplotlib figure and its axes, without a window system."""
    need_matplotlib()
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra requirement

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def check_chart(path: Path) -> None:
    """Raise UsageError if no chart can be written to this path.

    Its suffix must be of a kind that charts are written in, and matplotlib installed.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"{path.name} ends in none of {', '.join(_SUFFIXES)}; name it otherwise")
    need_matplotlib()


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG or JPEG, by its suffix."""
    data = io.BytesIO()
    figure.savefig(data, format=path.suffix.removeprefix("."), dpi=DPI)
    write_bytes(path, data.getvalue())
    return path


def tidy(axes: Any) -> None:
    """Draw a light grid and remove the right and upper frame."""
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def time_axis(axis: Any) -> None:
    """Make the x axis logarithmic, in milliseconds; call after plotting."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter  # noqa: PLC0415

    first, last = axis.dataLim.intervalx
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if last < 30 * first else (1,)))
    axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("time of a pair [ms]")


def evaluation_charts(folder: Path, records: Sequence[Record]) -> list[Path]:
    """Draw the charts of an evaluation and return their paths."""
    dense = [record for record in records if record.unknown == "wrong"]
    written = [_by_scene(folder, dense), _error_over_time(folder, dense)]
    if any(record.curve for record in dense):
        written.append(_sparsification(folder, dense))
    return written


def _by_scene(folder: Path, records: Sequence[Record]) -> Path:
    """Plot bad-2 of every scene and run."""
    runs = runs_of(records)
    first = sorted(runs[0], key=lambda record: record.figures["bad-2"])
    places = {record.scene: i for i, record in enumerate(first)}
    figure, axes = new_figure(8, 1.5 + 0.28 * len(places))
    (axis,) = axes.ravel()
    for i, run in enumerate(runs):
        axis.scatter(
            [record.figures["bad-2"] for record in run],
            [places[record.scene] for record in run],
            color=OKABE_ITO[i % len(OKABE_ITO)],
            marker=MARKERS[i % len(MARKERS)],
            s=36,
            alpha=0.85,
            label=run_name(run[0]),
        )
    axis.set_yticks(
        list(places.values()), [f"{scene.group}/{scene.name}" for scene in places], fontsize=8
    )
    axis.set_xlabel("bad-2, all pixels with ground truth [%]")
    axis.set_xlim(left=0)
    figure.legend(loc="outside upper center", ncols=3)
    tidy(axis)
    return save_figure(figure, folder / EVALUATION_CHARTS[0])


def _error_over_time(folder: Path, records: Sequence[Record]) -> Path:
    """Plot mean error over mean time."""
    figure, axes = new_figure(8, 3.6, columns=2)
    for axis, name, unit in ((axes[0, 0], "EPE", "px"), (axes[0, 1], "bad-2", "%")):
        for i, run in enumerate(runs_of(records)):
            means = mean_figures(run)
            axis.scatter(
                [1000 * means["seconds"]],
                [means[name]],
                color=OKABE_ITO[i % len(OKABE_ITO)],
                marker=MARKERS[i % len(MARKERS)],
                s=60,
                label=run_name(run[0]),
            )
        time_axis(axis)
        axis.margins(0.1)
        axis.set_ylim(bottom=0)
        axis.set_ylabel(f"{name}, mean over scenes [{unit}]")
        tidy(axis)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return save_figure(figure, folder / EVALUATION_CHARTS[1])


def _sparsification(folder: Path, records: Sequence[Record]) -> Path:
    """Plot bad-2 of the most confident pixels over their share."""
    figure, axes = new_figure(6, 3.6)
    (axis,) = axes.ravel()
    for i, run in enumerate(runs_of([record for record in records if record.curve])):
        mean = 100 * np.mean([record.curve for record in run], axis=0)
        shares = 100 * np.arange(1, mean.size + 1) / mean.size
        colour = OKABE_ITO[i % len(OKABE_ITO)]
        axis.plot(shares, mean, color=colour, label=run_name(run[0]))
    axis.set_xlabel("share of pixels kept, the most confident first [%]")
    axis.set_ylabel("bad-2 among them [%]")
    axis.set_xlim(0, 100)
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)
    tidy(axis)
    return save_figure(figure, folder / EVALUATION_CHARTS[2])
