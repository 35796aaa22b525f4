"""Turn each pair into one that the network can match, and report how in one sentence.

A video keeps its alignment until the rows of the pairs disagree with it for some time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from crestereo.alignment import (
    AlignedPair,
    AlignmentPlan,
    Bars,
    PairCheck,
    Verdict,
    check_pair,
    detect_swap,
    find_bars,
    plan_alignment,
)
from crestereo.alignment.check import REFERENCE_WIDTH_PX, too_few
from crestereo.alignment.matches import WorkingCopies, match_copies
from crestereo.app.script import debug, warn
from crestereo.app.settings import AUTO, ImageSettings, UnifiedVideoSettings
from crestereo.types import BGRImage, StereoPair

CHECKED_PAIRS = 3  # the one with the most matches decides
RETRY_AFTER = 25  # frames, where the pairs so far did not show an alignment
CHECK_EVERY = 250  # frames, ten seconds of most videos
CHECK_SIDE_PX = 480  # long side of the copies for that check
MISFIT_PX = 1.5  # median vertical disparity, at a width of 640 px, that the alignment may leave
BETTER = 0.5  # share of it that a new alignment may leave
MISFITS = 3  # checks in a row with a misfit before the alignment is replaced
SURE = 0.98  # confidence from which swapped views are reported or corrected
NOT_METRIC = (
    "metres are only approximate: aligning the images leaves a constant in all disparities unknown"
)

Result = TypeVar("Result")


def advise(what: str, step: Callable[[], Result], otherwise: Result) -> Result:
    """Return the result of a step that only advises; its failure is reported and ends nothing."""
    try:
        return step()
    except (cv2.error, ArithmeticError, ValueError, IndexError, np.linalg.LinAlgError) as exc:
        warn(f"{what} could not be checked; the run continues without it")
        debug(f"{what}: {type(exc).__name__}: {' '.join(str(exc).split())}")
        return otherwise


@dataclass(frozen=True)
class ReadyPair:
    """A pair on its way to the network.

    Parameters
    ----------
    original : StereoPair
        As it is shown; disparity is wanted on the grid of its left image.
    aligned : AlignedPair
        As the network gets it.
    note, doubt : str
        What was done and what is doubtful because of it, a sentence each; empty where nothing is.
    """

    original: StereoPair
    aligned: AlignedPair
    note: str = ""
    doubt: str = ""


class Aligner:
    """Alignment of one image pair or of all pairs of a video, called in one thread.

    Parameters
    ----------
    settings : ImageSettings
    beginning : sequence of StereoPair
        Pairs of a video that decide; by default the first pair that comes.
    still : bool
        There is only one pair.
    """

    def __init__(
        self, settings: ImageSettings, beginning: Sequence[StereoPair] = (), *, still: bool = False
    ) -> None:
        self._settings = settings
        self._still = still
        self._beginning = [self._ordered(pair) for pair in beginning]
        self._bars = Bars()
        if settings.align == AUTO and self._beginning:
            views = [[p.left for p in self._beginning], [p.right for p in self._beginning]]
            self._bars = advise("bars", lambda: find_bars(*views), Bars())
        self._plan: AlignmentPlan | None = None
        self._swapped = False
        self._note = ""
        self._wait = 0
        self._misfits = 0

    def __call__(self, pair: StereoPair) -> ReadyPair:
        """Return a pair as the network gets it."""
        original = self._ordered(pair)
        if self._settings.align != AUTO:
            return ReadyPair(original, AlignedPair(original.left, original.right))
        if self._wait <= 0:
            self._decide(original)
        self._wait -= 1
        if self._swapped:
            original = original.exchanged()
        views = self._bars.crop(original.left), self._bars.crop(original.right)
        if self._plan is None:
            return ReadyPair(original, AlignedPair(*views, bars=self._bars), self._note)
        aligned = AlignedPair(*self._plan.apply(*views), self._plan, self._bars)
        warped = self._plan.check.verdict is Verdict.ALIGNED  # a shift alone is undone exactly
        metric = self._settings.calibration is not None or self._settings.baseline_m is not None
        return ReadyPair(original, aligned, self._note, NOT_METRIC if warped and metric else "")

    def _ordered(self, pair: StereoPair) -> StereoPair:
        # The views of one video are exchanged where its frames are split.
        unified = isinstance(self._settings, UnifiedVideoSettings)
        return pair.exchanged() if self._settings.swap is True and not unified else pair

    def _decide(self, pair: StereoPair) -> None:
        if self._plan is not None and self._plan.check.usable:
            plan = self._plan
            advise("alignment", lambda: self._check_again(pair, plan), None)
            return
        self._wait = RETRY_AFTER
        best = advise("alignment", lambda: self._best_check(pair), None)
        if best is None:
            return
        check, checked = best
        if check.usable:
            self._wait = CHECK_EVERY
        if check.usable or not self._note:  # what was not found is reported once
            nothing: list[str] = []
            remarks = advise("left/right order", lambda: self._check_order(checked, check), nothing)
            if self._swapped:
                check = check_pair(self._bars.crop(checked.right), self._bars.crop(checked.left))
            self._take(check, remarks)

    def _best_check(self, pair: StereoPair) -> tuple[PairCheck, StereoPair]:
        pairs = self._beginning or [pair]
        self._beginning = []
        step = max(1, len(pairs) // CHECKED_PAIRS)
        checks = [
            (check_pair(self._bars.crop(p.left), self._bars.crop(p.right), turned=True), p)
            for p in pairs[::step][:CHECKED_PAIRS]
        ]
        return max(checks, key=lambda each: (each[0].usable, each[0].matches))

    def _check_again(self, pair: StereoPair, plan: AlignmentPlan) -> None:
        """Replace the alignment where it has misfitted at several checks in a row."""
        self._wait = CHECK_EVERY
        if self._swapped:
            pair = pair.exchanged()
        left, right = self._bars.crop(pair.left), self._bars.crop(pair.right)
        rows_px = _vertical_disparity_px(*plan.apply(left, right))
        check = check_pair(left, right) if rows_px > MISFIT_PX else plan.check
        most_px = BETTER * rows_px * check.shape[1] / REFERENCE_WIDTH_PX
        if rows_px <= MISFIT_PX or not check.usable or check.residual_px > most_px:
            self._misfits = 0
            return
        self._misfits += 1
        if self._misfits < MISFITS:
            self._wait = RETRY_AFTER
            return
        self._misfits = 0
        self._take(check, ["cameras moved: alignment re-estimated"])

    def _take(self, check: PairCheck, remarks: list[str]) -> None:
        self._plan = plan_alignment(check, still=self._still)
        debug(f"pair check: {check}")
        notes = [str(self._bars)] if self._bars else []
        notes.append(_sentence(check))
        if self._plan.shift_px:
            notes.append(f"disparity range shifted by {self._plan.shift_px} px for the network")
        self._note = "; ".join([*notes, *remarks])

    def _check_order(self, pair: StereoPair, check: PairCheck) -> list[str]:
        """Detect swapped views; those of a still image are exchanged."""
        if self._settings.swap is not None or isinstance(self._settings, UnifiedVideoSettings):
            return []
        finding = detect_swap(self._bars.crop(pair.left), self._bars.crop(pair.right), check=check)
        if not finding.swapped or finding.confidence < SURE:
            return []
        sure = f"{100 * finding.confidence:.0f} % sure"
        if not self._still:
            return [f"WARNING: left and right look swapped ({sure}); --swap exchanges them"]
        self._swapped = True
        return [f"left and right were swapped ({sure}) and are exchanged; --no-swap prevents it"]


def _sentence(check: PairCheck) -> str:
    if check.verdict is Verdict.RECTIFIED:
        removed = f" (vertical disparity of {check.vertical_offset_px:.1f} px removed)"
        return "pair: rectified" + ("" if check.model.does_nothing else removed)
    if check.model.orientation.text:
        return f"WARNING: {check.model.orientation.text}"
    if check.verdict is Verdict.ALIGNED:
        return (
            f"pair: corrected (vertical disparity {check.vertical_offset_px:.1f} px -> "
            f"{check.residual_px:.1f} px, roll {check.roll_deg:+.1f} deg, zoom {check.zoom:.3f})"
        )
    return f"WARNING: {check.verdict.value} ({check.matches} matches); the map may be wrong"


def _vertical_disparity_px(left: BGRImage, right: BGRImage) -> float:
    """Return the median vertical disparity at a width of `REFERENCE_WIDTH_PX`, 0 if unknown."""
    found = match_copies(WorkingCopies.of(left, right, CHECK_SIDE_PX))
    if too_few(found):
        return 0.0
    rows = np.abs(found.left - found.right)[:, 1]
    return float(np.median(rows) * REFERENCE_WIDTH_PX / left.shape[1])
