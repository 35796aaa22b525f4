"""Measure time and memory against resolution and iterations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .bench_process import probe
from .bench_setup import Row, Setup, shape_text
from .charts import MARKERS, OKABE_ITO, new_figure, save_figure, tidy
from .timing import Timing, growth_exponent

SHAPES = ((120, 160), (240, 320), (360, 480), (480, 640), (720, 960))
ITERS = (2, 5, 10, 20)


@dataclass(frozen=True)
class Point:
    """Measurement of one size and iteration count.

    Parameters
    ----------
    shape : (int, int)
        Height and width [px].
    iters : int
        Refinement steps.
    timing : Timing
        Of one run [s].
    peak_mb : float
        Peak memory of a process that runs it [MB], NaN if unknown.
    """

    shape: tuple[int, int]
    iters: int
    timing: Timing
    peak_mb: float

    @property
    def pixels(self) -> float:
        """Return the number of pixels of one image."""
        return float(self.shape[0] * self.shape[1])


def measure_growth(
    setup: Setup, shapes: Sequence[tuple[int, int]] = SHAPES, iters: Sequence[int] = ITERS
) -> list[Point]:
    """Measure every size and iteration count in separate processes."""
    settings = [(shape, n) for shape in shapes for n in iters]
    return [_measure(setup, shape, n) for shape, n in tqdm(settings, desc="growth", disable=None)]


def growth_rows(points: Sequence[Point]) -> list[Row]:
    """Return a row per point and the growth exponents."""
    rows = [
        Row(
            "inference",
            f"{shape_text(p.shape)}, {p.iters} iterations",
            1e3 * p.timing.median,
            1e3 * p.timing.p90,
            "ms",
            "" if np.isnan(p.peak_mb) else f"peak {p.peak_mb:.0f} MB",
        )
        for p in points
    ]
    for n, line in _lines(points, lambda p: p.iters):
        if len(line) > 1:
            slope = growth_exponent([p.pixels for p in line], [p.timing.median for p in line])
            note = f"time ~ pixels^{slope:.2f}"
            rows.append(Row("growth", f"{n} iterations", np.nan, np.nan, "", note))
    return rows


def growth_chart(path: Path, points: Sequence[Point]) -> Path:
    """Plot time and memory over resolution and iterations, log-log."""
    figure, axes = new_figure(10, 6.5, 2, 2)
    quantities: list[tuple[str, Callable[[Point], float]]] = [
        ("time [ms]", lambda p: 1e3 * p.timing.median),
        ("peak memory [MB]", lambda p: p.peak_mb),
    ]
    for row, (label, value) in zip(axes, quantities, strict=True):
        for n, line in _lines(points, lambda p: p.iters):
            _draw(
                row[0], [p.pixels / 1e6 for p in line], [value(p) for p in line], f"{n} iterations"
            )
        for shape, line in _lines(points, lambda p: p.shape):
            _draw(row[1], [p.iters for p in line], [value(p) for p in line], shape_text(shape))
        for axis, under in zip(row, ("image [megapixels]", "iterations"), strict=True):
            axis.set(xscale="log", yscale="log", xlabel=under, ylabel=label)
            _plain_ticks(axis)
            tidy(axis)
            axis.legend(  # right of the curves, in their order
                frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), reverse=True
            )
    return save_figure(figure, path)


def _measure(setup: Setup, shape: tuple[int, int], iters: int) -> Point:
    seconds, peak = probe(
        setup.model,
        shape,
        iters=iters,
        device="cpu",
        threads=setup.threads[0],
        rounds=min(setup.rounds, 7),
    )
    return Point(shape, iters, Timing(tuple(seconds)), np.nan if peak is None else peak / 1e6)


def _lines(
    points: Sequence[Point], key: Callable[[Point], Any]
) -> Iterator[tuple[Any, list[Point]]]:
    for value in sorted({key(point) for point in points}):
        yield value, [point for point in points if key(point) == value]


def _draw(axis: Any, x: list[float], y: list[float], label: str) -> None:
    number = len(axis.get_lines())
    style = {"color": OKABE_ITO[number % len(OKABE_ITO)], "marker": MARKERS[number % len(MARKERS)]}
    axis.plot(x, y, label=label, **style)


def _plain_ticks(axis: Any) -> None:
    """Label the axes with plain numbers."""
    lines = axis.get_lines()
    places = sorted({float(x) for line in lines for x in line.get_xdata()})
    axis.set_xticks(places, [f"{place:.2g}" for place in places])
    values = [float(y) for line in lines for y in line.get_ydata() if np.isfinite(y)]
    steps = one_two_five(min(values), max(values)) if values else []
    axis.set_yticks(steps, [f"{step:g}" for step in steps])
    axis.minorticks_off()


def one_two_five(low: float, high: float) -> list[float]:
    """Return the series 1, 2, 5, 10... that encloses a range."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    series = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    first = max(i for i, step in enumerate(series) if step <= low)
    last = min(i for i, step in enumerate(series) if step >= high)
    return series[first : last + 1]
