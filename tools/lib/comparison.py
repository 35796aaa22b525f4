"""Compare time and error of networks, iterations and sizes."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crestereo.errors import SourceError
from crestereo.formats import read_image
from crestereo.types import DisparityMap, StereoPair
from tools.lib.metrics import bad_rate, end_point_error

from .datasets import find_scenes, load_scene
from .methods import Method, Runner


@dataclass(frozen=True)
class Subject:
    """Pair with optional ground truth."""

    pair: StereoPair
    disparities: int
    ground_truth: DisparityMap | None = None


@dataclass(frozen=True)
class Trial:
    """Result of one method on one pair, or averaged over pairs.

    Parameters
    ----------
    method : Method
    pair : str
    ms : float
        Median time of a warm run [ms].
    difference_px : float
        Mean distance from the best method's disparity [px of the left image].
    epe_px, bad2 : float
        Error where the ground truth is known, else NaN.
    """

    method: Method
    pair: str
    ms: float
    difference_px: float
    epe_px: float = math.nan
    bad2: float = math.nan

    @property
    def quality_px(self) -> float:
        """Return the error if known, else the difference from the best."""
        return self.difference_px if math.isnan(self.epe_px) else self.epe_px


@dataclass(frozen=True)
class Comparison:
    """Result of a comparison.

    Parameters
    ----------
    trials : list of Trial
        One per method and pair.
    disparities : dict
        The map of each method on each pair, by (method, pair name).
    best : Method
        The smallest mean error; without ground truth the slowest at the largest size.
    """

    trials: list[Trial]
    disparities: dict[tuple[Method, str], DisparityMap]
    best: Method


def subjects_from(paths: Sequence[Path], pairs: Sequence[Sequence[Path]]) -> list[Subject]:
    """Read scenes with ground truth, and image pairs without."""
    subjects = []
    for scene in (scene for path in paths for scene in find_scenes(path)):
        data = load_scene(scene)
        subjects.append(Subject(data.pair, data.disparities, data.ground_truth))
    for left_path, right_path in pairs:
        left, right = read_image(left_path), read_image(right_path)
        if left.shape != right.shape:
            raise SourceError(
                f"{left_path} is {left.shape[1]}x{left.shape[0]} but {right_path} is "
                f"{right.shape[1]}x{right.shape[0]}; a pair has one size"
            )
        pair = StereoPair(left, right, left_path.stem)
        subjects.append(Subject(pair, left.shape[1] // 4))
    return _with_unique_names(subjects)


def _with_unique_names(subjects: Sequence[Subject]) -> list[Subject]:
    """Return the subjects with unique names, equal ones numbered."""
    seen: Counter[str] = Counter()
    named = []
    for subject in subjects:
        name = subject.pair.name
        seen[name] += 1
        unlike = name if seen[name] == 1 else f"{name} ({seen[name]})"
        named.append(replace(subject, pair=replace(subject.pair, name=unlike)))
    return named


def compare(
    runners: dict[Method, Runner],
    subjects: Sequence[Subject],
    runs: int,
    progress: Callable[[str], object],
) -> Comparison:
    """Run every method on every pair.

    The methods take turns, round after round, so that a machine that is busy for a while
    slows all of them and not one; the round before the first is not counted.
    """
    disparities: dict[tuple[Method, str], DisparityMap] = {}
    seconds: dict[tuple[Method, str], list[float]] = {}
    for subject in subjects:
        for number in range(runs + 1):
            for method, run in runners.items():
                progress(f"{subject.pair.name} round {number}/{runs}")
                start = time.perf_counter()
                result = run(subject.pair, subject.disparities)
                key = (method, subject.pair.name)
                if number == 0:
                    disparities[key] = result.disparity
                else:
                    seconds.setdefault(key, []).append(time.perf_counter() - start)
    best = _best(list(runners), subjects, disparities, seconds)
    trials = [
        _trial(method, subject, disparities, best, seconds)
        for subject in subjects
        for method in runners
    ]
    return Comparison(trials, disparities, best)


def _best(
    methods: list[Method],
    subjects: Sequence[Subject],
    disparities: dict[tuple[Method, str], DisparityMap],
    seconds: dict[tuple[Method, str], list[float]],
) -> Method:
    known = [subject for subject in subjects if subject.ground_truth is not None]

    def error(method: Method) -> float:
        return sum(
            end_point_error(disparities[method, s.pair.name], s.ground_truth)
            for s in known
            if s.ground_truth is not None
        )

    def effort(method: Method) -> tuple[float, float]:
        time_spent = sum(float(np.median(seconds[method, s.pair.name])) for s in subjects)
        return method.pixels, time_spent

    return min(methods, key=error) if known else max(methods, key=effort)


def _trial(
    method: Method,
    subject: Subject,
    disparities: dict[tuple[Method, str], DisparityMap],
    best: Method,
    seconds: dict[tuple[Method, str], list[float]],
) -> Trial:
    name = subject.pair.name
    disparity = disparities[method, name]
    ground_truth = subject.ground_truth
    return Trial(
        method,
        name,
        1000 * float(np.median(seconds[method, name])),
        end_point_error(disparity, disparities[best, name]),
        math.nan if ground_truth is None else end_point_error(disparity, ground_truth),
        math.nan if ground_truth is None else bad_rate(disparity, ground_truth, 2.0),
    )


def average(trials: Sequence[Trial]) -> list[Trial]:
    """Return the mean of each method over the pairs."""
    methods = list(dict.fromkeys(trial.method for trial in trials))
    pairs = len({trial.pair for trial in trials})
    means = []
    for method in methods:
        own = [trial for trial in trials if trial.method == method]
        known = [trial for trial in own if not math.isnan(trial.epe_px)]
        means.append(
            Trial(
                method,
                f"average of {pairs} pairs" if pairs > 1 else own[0].pair,
                float(np.mean([trial.ms for trial in own])),
                float(np.mean([trial.difference_px for trial in own])),
                float(np.mean([trial.epe_px for trial in known])) if known else math.nan,
                float(np.mean([trial.bad2 for trial in known])) if known else math.nan,
            )
        )
    return means
