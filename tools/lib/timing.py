"""Interleaved time measurements for noisy machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

SETTLE_S = 0.01
"""Pause before a run, so that the threads of the previous one are idle."""


@dataclass(frozen=True)
class Timing:
    """Repeated measurements.

    Parameters
    ----------
    values : tuple of float
        In seconds unless documented otherwise.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the median."""
        return float(np.median(self.values))

    @property
    def p90(self) -> float:
        """Return the 90th percentile."""
        return float(np.percentile(self.values, 90))


def seconds_of(action: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def repeat(action: Callable[[], object], rounds: int, *, warmup: int = 1) -> Timing:
    """Time an action repeatedly, after warm-up calls."""
    for _ in range(warmup):
        action()
    return Timing(tuple(seconds_of(action) for _ in range(rounds)))


def interleave(
    actions: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    warmup: int = 1,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, Timing]:
    """Time several actions in turn."""
    for action in actions.values():
        for _ in range(warmup):
            action()
    measured: dict[str, list[float]] = {name: [] for name in actions}
    names = list(actions)
    for turn in range(rounds):
        first = turn % max(len(names), 1)
        for name in names[first:] + names[:first]:
            time.sleep(SETTLE_S)
            measured[name].append(seconds_of(actions[name]))
            tick()
    return {name: Timing(tuple(values)) for name, values in measured.items()}


def growth_exponent(sizes: list[float], values: list[float]) -> float:
    """Return the log-log slope of values over sizes."""
    slope, _ = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(slope)
