"""Pareto front, table and recommendation of a comparison."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from crestereo.formats import write_bytes

from .comparison import Trial
from .methods import Method
from .tables import markdown_table

CLOSE_ENOUGH = 0.05
"""Relative error above the best one at which a faster choice is recommended."""


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials on the Pareto front of time and error."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: (trial.ms, trial.quality_px)):
        if not front or trial.quality_px < front[-1].quality_px:
            front.append(trial)
    return front


def advice(trials: Sequence[Trial], budget_ms: float | None, scale_px: float) -> list[str]:
    """Return the recommended settings as sentences."""
    best = min(trials, key=lambda trial: trial.quality_px)
    lines = []
    if budget_ms is not None:
        fitting = [trial for trial in trials if trial.ms <= budget_ms]
        if fitting:
            choice = min(fitting, key=lambda trial: trial.quality_px)
            lines.append(f"Best within {budget_ms:g} ms: {describe(choice)}.")
        else:
            fastest = min(trials, key=lambda trial: trial.ms)
            lines.append(f"Nothing takes {budget_ms:g} ms or less; fastest: {describe(fastest)}.")
    if math.isnan(best.epe_px):
        limit, of_what = CLOSE_ENOUGH * scale_px, "of the best one's mean disparity"
    else:
        limit, of_what = (1 + CLOSE_ENOUGH) * best.quality_px, "of the best"
    close = min((t for t in trials if t.quality_px <= limit), key=lambda trial: trial.ms)
    lines.append(f"Fastest within {CLOSE_ENOUGH:.0%} {of_what}: {describe(close)}.")
    lines.append(f"Best of all: {describe(best)}.")
    return lines


def describe(trial: Trial) -> str:
    """Return model, settings, time and quality in words."""
    what = "from the best" if math.isnan(trial.epe_px) else "error"
    return f"{settings_text(trial.method)} ({trial.ms:.0f} ms, {trial.quality_px:.2f} px {what})"


def settings_text(method: Method) -> str:
    """Return model, iterations and size as text."""
    steps = "" if method.iters is None else f", {method.iters} iterations"
    return f"{method.model}{steps}, {method.size_text}"


def trial_table(trials: Sequence[Trial]) -> str:
    """Return a Markdown table sorted by time, Pareto front starred."""
    front = pareto_front(trials)
    rows = []
    for trial in sorted(trials, key=lambda trial: trial.ms):
        known = not math.isnan(trial.epe_px)
        rows.append(
            [
                trial.method.model,
                "" if trial.method.iters is None else str(trial.method.iters),
                trial.method.size_text,
                f"{trial.ms:.0f}",
                f"{trial.difference_px:.2f}",
                f"{trial.epe_px:.2f}" if known else "",
                f"{100 * trial.bad2:.1f}" if known else "",
                "*" if trial in front else "",
            ]
        )
    header = ["model", "iters", "size", "ms", "px from best", "EPE px", "bad-2 %", "front"]
    return markdown_table(header, rows, text_columns=1)


def write_trials(path: Path, trials: Sequence[Trial]) -> None:
    """Write one CSV line per trial."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(
        ["pair", "model", "iters", "size", "ms", "difference_px", "epe_px", "bad2", "front"]
    )
    for name in dict.fromkeys(trial.pair for trial in trials):
        own = [trial for trial in trials if trial.pair == name]
        front = pareto_front(own)
        for t in own:
            numbers = (t.ms, t.difference_px, t.epe_px, t.bad2)
            cells = ["" if math.isnan(value) else f"{value:.6g}" for value in numbers]
            settings = [t.method.model, t.method.iters, t.method.size_text]
            writer.writerow([name, *settings, *cells, int(t in front)])
    write_bytes(path, text.getvalue().encode())
