"""Look at pairs before the network does: black bars, alignment, order of the eyes.

The core says what it found; here it becomes a sentence for the user and a `PreparedPair`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from crestereo.alignment import (
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
from crestereo.app.settings import AUTO, ImageSettings, UnifiedVideoSettings
from crestereo.errors import CREStereoError
from crestereo.types import BGRImage, DisparityMap, StereoPair


def _as_it_is(disparity: DisparityMap) -> DisparityMap:
    return disparity


@dataclass(frozen=True)
class PreparedPair:
    """Hold a pair as the network shall see it.

    Parameters
    ----------
    original : StereoPair
        The pair as it is shown; disparity is wanted on the grid of its left picture.
    pair : StereoPair
        The pair as the network sees it.
    undo : callable
        Brings the disparity of `pair` onto the grid of the left picture of `original`.
    note : str
        One line for the user about what was done; empty where nothing was.
    doubt : str
        One line about what cannot be relied on because of it; empty where all can.
    """

    original: StereoPair
    pair: StereoPair
    undo: Callable[[DisparityMap], DisparityMap] = _as_it_is
    note: str = ""
    doubt: str = ""


Prepare = Callable[[StereoPair], PreparedPair]
"""Makes a pair ready for the network; called in one thread, pair after pair."""


def prepare_nothing(pair: StereoPair) -> PreparedPair:
    """Let the network see a pair as it came."""
    return PreparedPair(pair, pair)


CHECKED_PAIRS = 3  # of these the one with the most matches gives the model
LOOK_AGAIN_AFTER = 25  # frames, where the beginning did not tell (a film fades in)
LOOK_EVERY = 250  # frames, ten seconds of most videos: whether the cameras still stand alike
LOOK_SIDE_PX = 480  # long side of what is looked at then: a tenth of a second
MISFIT_PX = 1.5  # rows apart, median, of a picture 640 px wide: the model does not fit any more
BETTER = 0.5  # of these rows: what a new model may leave of them
MISFITS = 3  # looks in a row at which it is so, before the new model is taken
NOT_METRIC = (
    "metres are only approximate: the pictures had to be aligned, which leaves a constant "
    "in all disparities unknown"
)
WARN_FROM = 0.98  # confidence from which a swap is proposed unasked


def prepare_pictures(settings: ImageSettings) -> Prepare:
    """Return what makes a pair of pictures ready."""
    return _Preparer(settings, Bars(), still=True)


def prepare_video(settings: ImageSettings, beginning: Sequence[StereoPair]) -> Prepare:
    """Return what makes the pairs of a video ready, all in the same way until the cameras move.

    Parameters
    ----------
    settings : ImageSettings
    beginning : sequence of StereoPair
        Some pairs spread over the beginning; empty for cameras, whose first pair is looked at.
    """
    bars = Bars()
    if beginning and settings.align == AUTO:
        bars = find_bars([pair.left for pair in beginning], [pair.right for pair in beginning])
    return _Preparer(settings, bars, beginning)


@dataclass(frozen=True)
class _Undo:
    """Bring a disparity back through alignment and bars."""

    plan: AlignmentPlan
    bars: Bars

    def __call__(self, disparity: DisparityMap) -> DisparityMap:
        restored = self.plan.restore(disparity)
        return self.bars.restore(restored) if self.bars else restored


class _Preparer:
    """Decide once how pairs are prepared, then prepare each; decide again where that misfits."""

    def __init__(
        self,
        settings: ImageSettings,
        bars: Bars,
        beginning: Sequence[StereoPair] = (),
        *,
        still: bool = False,
    ) -> None:
        self._settings = settings
        self._metric = settings.calibration is not None or settings.baseline_m is not None
        self._bars = bars
        self._beginning = list(beginning)
        self._still = still
        self._plan: AlignmentPlan | None = None
        self._note = ""
        self._wait = 0
        self._misfits = 0

    def __call__(self, pair: StereoPair) -> PreparedPair:
        """Return the pair as the network shall see it."""
        original = self._ordered(pair)
        if self._settings.align != AUTO:
            return PreparedPair(original, original)
        left, right = self._bars.crop(original.left), self._bars.crop(original.right)
        if self._plan is None or (not self._plan.check.usable and self._wait <= 0):
            self._decide(original)
        elif self._wait <= 0:
            self._look_again(StereoPair(left, right, pair.name), self._plan)
        self._wait -= 1
        plan = self._plan
        if plan is None:
            return PreparedPair(original, original)
        seen = StereoPair(*plan.apply(left, right), pair.name)
        warped = plan.check.verdict is Verdict.ALIGNED  # a shift alone is taken back exactly
        doubt = NOT_METRIC if warped and self._metric else ""
        return PreparedPair(original, seen, _Undo(plan, self._bars), self._note, doubt)

    def _ordered(self, pair: StereoPair) -> StereoPair:
        # The halves of one video are exchanged where they are cut.
        exchanged = self._settings.swap is True and not isinstance(
            self._settings, UnifiedVideoSettings
        )
        return pair.exchanged() if exchanged else pair

    def _decide(self, pair: StereoPair) -> None:
        pairs = [self._ordered(p) for p in self._beginning] or [pair]
        self._beginning = []
        step = max(1, len(pairs) // CHECKED_PAIRS)
        best: PairCheck | None = None
        looked_at = pair
        for candidate in pairs[::step][:CHECKED_PAIRS]:
            check = check_pair(self._bars.crop(candidate.left), self._bars.crop(candidate.right))
            if best is None or (check.usable, check.matches) > (best.usable, best.matches):
                best, looked_at = check, candidate
        if best is None:
            raise CREStereoError("there is no pair to look at")
        self._wait = LOOK_EVERY if best.usable else LOOK_AGAIN_AFTER
        if best.usable or not self._note:  # once said, that it did not tell is not said again
            self._take(best, self._swap_note(looked_at, best))

    def _look_again(self, pair: StereoPair, plan: AlignmentPlan) -> None:
        """Take another model where the present one has misfitted at several looks in a row."""
        self._wait = LOOK_EVERY
        rows_px = _rows_apart_px(*plan.apply(pair.left, pair.right))
        check = check_pair(pair.left, pair.right) if rows_px > MISFIT_PX else plan.check
        most_px = BETTER * rows_px * check.shape[1] / REFERENCE_WIDTH_PX
        if rows_px <= MISFIT_PX or not check.usable or check.residual_px > most_px:
            self._misfits = 0
            return
        self._misfits += 1
        if self._misfits < MISFITS:
            self._wait = LOOK_AGAIN_AFTER
            return
        self._misfits = 0
        self._take(check, ["from here on the cameras stand otherwise"])

    def _take(self, check: PairCheck, remarks: list[str]) -> None:
        self._plan = plan_alignment(check, still=self._still)
        notes = [str(self._bars)] if self._bars else []
        notes.append(f"pair check: {check}")
        if self._plan.shift_px:
            notes.append(f"range moved by {self._plan.shift_px} px for the network")
        self._note = "; ".join([*notes, *remarks])

    def _swap_note(self, pair: StereoPair, check: PairCheck) -> list[str]:
        if self._settings.swap is not None or isinstance(self._settings, UnifiedVideoSettings):
            return []
        finding = detect_swap(self._bars.crop(pair.left), self._bars.crop(pair.right), check=check)
        if not finding.swapped or finding.confidence < WARN_FROM:
            return []
        sure = f"{100 * finding.confidence:.0f} % sure"
        return [f"left and right look swapped ({sure}): --swap exchanges them"]


def _rows_apart_px(left: BGRImage, right: BGRImage) -> float:
    """Return the median difference of rows of points that match, 0 where too few do.

    In pixels of a picture `REFERENCE_WIDTH_PX` wide.
    """
    found = match_copies(WorkingCopies.of(left, right, LOOK_SIDE_PX))
    if too_few(found):
        return 0.0
    rows = np.abs(found.left - found.right)[:, 1]
    return float(np.median(rows) * REFERENCE_WIDTH_PX / left.shape[1])
