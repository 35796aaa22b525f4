"""Which network, iterations and size to take: times and errors side by side, and advice."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crestereo.errors import SourceError
from crestereo.files import write_bytes
from crestereo.formats import read_image
from crestereo.metrics import bad_rate, end_point_error
from crestereo.types import DisparityMap, StereoPair

from .contestants import Contestant, Runner
from .datasets import find_scenes, load_scene
from .tables import markdown_table

CLOSE_ENOUGH = 0.05
"""How much worse than the best a faster choice may be."""


@dataclass(frozen=True)
class Subject:
    """Hold one pair, with its truth where that is known."""

    pair: StereoPair
    disparities: int
    truth: DisparityMap | None = None


@dataclass(frozen=True)
class Trial:
    """Hold what one contestant did on one pair, or on average over pairs.

    Parameters
    ----------
    contestant : Contestant
    pair : str
    ms : float
        Median time of a warm run [ms].
    difference_px : float
        Mean distance from the best contestant's disparity [px of the left picture].
    epe_px, bad2 : float
        Error where the truth is known, else NaN.
    """

    contestant: Contestant
    pair: str
    ms: float
    difference_px: float
    epe_px: float = math.nan
    bad2: float = math.nan

    @property
    def quality_px(self) -> float:
        """Return the error where it is known, else the difference from the best."""
        return self.difference_px if math.isnan(self.epe_px) else self.epe_px


@dataclass(frozen=True)
class Comparison:
    """Hold the outcome of a comparison.

    Parameters
    ----------
    trials : list of Trial
        One per contestant and pair.
    disparities : dict
        The map of each contestant on each pair, by (contestant, pair name).
    best : Contestant
        Where truth is known the one of smallest mean error, else the slowest.
    """

    trials: list[Trial]
    disparities: dict[tuple[Contestant, str], DisparityMap]
    best: Contestant


def subjects_from(paths: Sequence[Path], pairs: Sequence[Sequence[Path]]) -> list[Subject]:
    """Read scenes with truth below the folders, and pairs of pictures without.

    Raises
    ------
    SourceError
        Something is missing or broken, or two pictures differ in size.
    """
    subjects = []
    for scene in (scene for path in paths for scene in find_scenes(path)):
        data = load_scene(scene)
        subjects.append(Subject(data.pair, data.disparities, data.truth))
    for left_path, right_path in pairs:
        left, right = read_image(left_path), read_image(right_path)
        if left.shape != right.shape:
            raise SourceError(
                f"{left_path} is {left.shape[1]}x{left.shape[0]} but {right_path} is "
                f"{right.shape[1]}x{right.shape[0]}; a pair has one size"
            )
        pair = StereoPair(left, right, left_path.stem)
        subjects.append(Subject(pair, left.shape[1] // 4))
    return subjects


def compare(
    runners: dict[Contestant, Runner],
    subjects: Sequence[Subject],
    runs: int,
    progress: Callable[[str], object],
) -> Comparison:
    """Run everything on everything.

    The contestants take turns, round after round, so that a machine that is busy for a while
    slows all of them and not one; the round before the first is not counted.
    """
    disparities: dict[tuple[Contestant, str], DisparityMap] = {}
    seconds: dict[tuple[Contestant, str], list[float]] = {}
    for subject in subjects:
        for number in range(runs + 1):
            for contestant, run in runners.items():
                progress(f"{subject.pair.name} round {number}/{runs}")
                start = time.perf_counter()
                result = run(subject.pair, subject.disparities)
                key = (contestant, subject.pair.name)
                if number == 0:
                    disparities[key] = result.disparity
                else:
                    seconds.setdefault(key, []).append(time.perf_counter() - start)
    best = _best(list(runners), subjects, disparities, seconds)
    trials = [
        _trial(contestant, subject, disparities, best, seconds)
        for subject in subjects
        for contestant in runners
    ]
    return Comparison(trials, disparities, best)


def _best(
    contestants: list[Contestant],
    subjects: Sequence[Subject],
    disparities: dict[tuple[Contestant, str], DisparityMap],
    seconds: dict[tuple[Contestant, str], list[float]],
) -> Contestant:
    known = [subject for subject in subjects if subject.truth is not None]

    def cost(contestant: Contestant) -> float:
        if known:
            return sum(
                end_point_error(disparities[contestant, s.pair.name], s.truth)
                for s in known
                if s.truth is not None
            )
        return -sum(float(np.median(seconds[contestant, s.pair.name])) for s in subjects)

    return min(contestants, key=cost)


def _trial(
    contestant: Contestant,
    subject: Subject,
    disparities: dict[tuple[Contestant, str], DisparityMap],
    best: Contestant,
    seconds: dict[tuple[Contestant, str], list[float]],
) -> Trial:
    name = subject.pair.name
    disparity = disparities[contestant, name]
    truth = subject.truth
    return Trial(
        contestant,
        name,
        1000 * float(np.median(seconds[contestant, name])),
        end_point_error(disparity, disparities[best, name]),
        math.nan if truth is None else end_point_error(disparity, truth),
        math.nan if truth is None else bad_rate(disparity, truth, 2.0),
    )


def average(trials: Sequence[Trial]) -> list[Trial]:
    """Return the mean of each contestant over the pairs, errors over those of known truth."""
    contestants = list(dict.fromkeys(trial.contestant for trial in trials))
    pairs = len({trial.pair for trial in trials})
    means = []
    for contestant in contestants:
        own = [trial for trial in trials if trial.contestant == contestant]
        known = [trial for trial in own if not math.isnan(trial.epe_px)]
        means.append(
            Trial(
                contestant,
                f"average of {pairs} pairs" if pairs > 1 else own[0].pair,
                float(np.mean([trial.ms for trial in own])),
                float(np.mean([trial.difference_px for trial in own])),
                float(np.mean([trial.epe_px for trial in known])) if known else math.nan,
                float(np.mean([trial.bad2 for trial in known])) if known else math.nan,
            )
        )
    return means


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other beats in both time and quality, the fastest first."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: (trial.ms, trial.quality_px)):
        if not front or trial.quality_px < front[-1].quality_px:
            front.append(trial)
    return front


def advice(trials: Sequence[Trial], budget_ms: float | None, scale_px: float) -> list[str]:
    """Return what to take, in sentences.

    Parameters
    ----------
    trials : sequence of Trial
        One per contestant.
    budget_ms : float or None
        Time a pair may take.
    scale_px : float
        What "within 5 %" refers to when no truth is known: the mean disparity. With truth it
        is the error of the best.
    """
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
        limit, of_what = CLOSE_ENOUGH * scale_px, "of the mean disparity from the best"
    else:
        limit, of_what = (1 + CLOSE_ENOUGH) * best.quality_px, "of the best"
    close = min((t for t in trials if t.quality_px <= limit), key=lambda trial: trial.ms)
    lines.append(f"Fastest within {CLOSE_ENOUGH:.0%} {of_what}: {describe(close)}.")
    lines.append(f"Best of all: {describe(best)}.")
    return lines


def describe(trial: Trial) -> str:
    """Return model, settings, time and quality in words."""
    what = "from the best" if math.isnan(trial.epe_px) else "error"
    return (
        f"{settings_text(trial.contestant)} ({trial.ms:.0f} ms, {trial.quality_px:.2f} px {what})"
    )


def settings_text(contestant: Contestant) -> str:
    """Return for example "crestereo_lite, 5 iterations, 240x320"."""
    steps = "" if contestant.iters is None else f", {contestant.iters} iterations"
    return f"{contestant.model}{steps}, {contestant.shape_text}"


def trial_table(trials: Sequence[Trial]) -> str:
    """Return a Markdown table, the fastest first; a star marks the Pareto front."""
    front = pareto_front(trials)
    rows = []
    for trial in sorted(trials, key=lambda trial: trial.ms):
        known = not math.isnan(trial.epe_px)
        rows.append(
            [
                trial.contestant.model,
                "" if trial.contestant.iters is None else str(trial.contestant.iters),
                trial.contestant.shape_text,
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
            settings = [t.contestant.model, t.contestant.iters, t.contestant.shape_text]
            writer.writerow([name, *settings, *cells, int(t in front)])
    write_bytes(path, text.getvalue().encode())
