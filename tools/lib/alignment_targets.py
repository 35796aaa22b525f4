"""Compare the measured alignment with the targets of the project."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .alignment_tasks import Row


@dataclass(frozen=True)
class Target:
    """Figure of a task and its limit.

    Parameters
    ----------
    task, figure : str
        Task, and name of the figure in its table or of a combination of its columns.
    limit : float
    value : callable
        Computes the figure from the rows of the task; NaN where it was not measured.
    at_least : bool
        The limit is a lower one.
    """

    task: str
    figure: str
    limit: float
    value: Callable[[Sequence[Row]], float]
    at_least: bool = False

    def row(self, rows: Sequence[Row]) -> list[str] | None:
        """Return task, figure, measurement, target and whether it is met, or None."""
        measured = self.value(rows)
        if math.isnan(measured):
            return None
        held = measured >= self.limit if self.at_least else measured <= self.limit
        sign = ">=" if self.at_least else "<="
        limit = f"{sign} {self.limit:g}"
        return [self.task, self.figure, f"{measured:.2f}", limit, "yes" if held else "no"]


def target_rows(task: str, rows: Sequence[Row]) -> list[list[str]]:
    """Return a line for each target of a task that was measured."""
    lines = [target.row(rows) for target in TARGETS if target.task == task]
    return [line for line in lines if line is not None]


def _known(rows: Sequence[Row], figure: str) -> list[float]:
    values = [row.figures.get(figure, math.nan) for row in rows]
    return [value for value in values if not math.isnan(value)]


def _mean(figure: str) -> Callable[[Sequence[Row]], float]:
    def value(rows: Sequence[Row]) -> float:
        known = _known(rows, figure)
        return float(np.mean(known)) if known else math.nan

    return value


def _most(figure: str) -> Callable[[Sequence[Row]], float]:
    return lambda rows: max(_known(rows, figure), default=math.nan)


def _more(figure: str, than: str) -> Callable[[Sequence[Row]], float]:
    return lambda rows: _mean(figure)(rows) - _mean(than)(rows)


def _change(figure: str, than: str) -> Callable[[Sequence[Row]], float]:
    return lambda rows: abs(_more(figure, than)(rows))


ORDERS = ("given", "shifted", "swapped", "swapped, shifted")


def _orders(rows: Sequence[Row], outcome: str, orders: Sequence[str] = ORDERS) -> float:
    return float(np.mean([_mean(f"{order}: {outcome} %")(rows) for order in orders]))


def _right_of_answered(rows: Sequence[Row]) -> float:
    right, wrong = _orders(rows, "right"), _orders(rows, "wrong")
    return 100 * right / (right + wrong) if right + wrong > 0 else math.nan


def _wrong_claims(rows: Sequence[Row]) -> float:
    claims = sum(_known(rows, "claims"))
    return 100 * sum(_known(rows, "wrong")) / claims if claims else math.nan


TARGETS = (
    Target("disturbed", "row error, median, px of 640", 0.5, _mean("rows median")),
    Target("disturbed", "row error, 95 %, px of 640", 1.5, _mean("rows 95 %")),
    Target(
        "disturbed", "bad-2 more than undisturbed, points", 2.0,
        _more("bad-2 aligned", "bad-2 undisturbed"),
    ),
    Target("untouched", "verdict rectified, %", 95.0, _mean("rectified %"), at_least=True),
    Target(
        "untouched", "bad-2 changed by, points", 0.1,
        _change("bad-2 with auto", "bad-2 as given"),
    ),
    Target("photos", "row error, median of the worst pair, px of 640", 0.8, _most("rows median")),
    Target("photos", "row error, 95 %, px of 640", 3.0, _mean("rows 95 %")),
    Target(
        "shifted", "bad-2 more than unshifted, points", 1.0,
        _more("bad-2 shifted", "bad-2 unshifted"),
    ),
    Target("swap", "right of those answered, %", 95.0, _right_of_answered, at_least=True),
    Target(
        "swap", "rightly ordered pairs called swapped, %", 1.0,
        lambda rows: _orders(rows, "wrong", ORDERS[:2]),
    ),
    Target(
        "swap", "unanswered, %", 15.0,
        lambda rows: 100 - _orders(rows, "right") - _orders(rows, "wrong"),
    ),
    Target("degraded", "claims that are wrong, %", 2.0, _wrong_claims),
    Target("sync", "offset exact, %", 100.0, _mean("exact %"), at_least=True),
    Target("sync", "offset believed and wrong, %", 0.0, _mean("wrong %")),
    Target("sync", "unrelated recordings believed, %", 0.0, _mean("unrelated believed %")),
    Target("layouts", "layout right, %", 100.0, _mean("layout right %"), at_least=True),
    Target("layouts", "bars right within 3 px, %", 100.0, _mean("bars right %"), at_least=True),
    Target("time", "check of the slowest 12-megapixel pair, s", 0.3, _most("median s")),
)  # fmt: skip
"""Limits that the project has set itself for pairs that are not rectified."""
