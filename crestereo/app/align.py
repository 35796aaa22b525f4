"""Turn each pair into one that the network can match.

A video keeps its alignment until rows or disparities of its pairs disagree with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.alignment import (
    AlignedPair,
    AlignmentModel,
    AlignmentPlan,
    Bars,
    PairCheck,
    Verdict,
    check_pair,
    detect_swap,
    find_bars,
    plan_alignment,
)
from crestereo.alignment.check import (
    NEGATIVE_SHARE,
    RowsCheck,
    check_rows,
    disparity_range,
    median_rows_px,
    too_few,
    unit_px,
)
from crestereo.alignment.matches import WorkingCopies, match_copies
from crestereo.app.render import ASSUMED_BASELINE_M, ASSUMED_FOV_DEG
from crestereo.app.script import debug, report, say, warn
from crestereo.app.settings import AUTO, RECTIFIED, ImageSettings, UnifiedVideoSettings
from crestereo.camera import Calibration, CameraConfig, Rectification
from crestereo.geometry import baseline_of_length
from crestereo.types import BGRImage, DisparityMap, DisparityResult, StereoPair

CHECKED_PAIRS = 3  # the one with the most matches decides
RETRY_AFTER = 25  # frames, where the pairs so far did not show an alignment
CHECK_EVERY = 50  # frames of a video, two seconds of most
SUSPECTED_AFTER = 4  # frames at least between checks that something gave reason for
CHECK_SIDE_PX = 320  # long side of the copies for these checks
MISFIT_PX = 1.0  # median vertical disparity, at a width of 640 px, beyond what it left at first
RESTLESS = 0.7  # share of it from which the cameras seem to move: they are checked again soon
BETTER = 0.5  # share of the vertical disparity that a new alignment may leave
OUTSIDE_SHARE = 0.005  # of the pixels: this many at zero or at the network's reach are suspect
NEAR_ZERO_SHARE = 0.005  # of the width
NEAR_REACH = 0.95  # of the reach
FALLEN = 0.9  # share of the confidence after the last check
OBSERVED_AFTER = 3  # pairs: with threads, those in between may not have their result yet
MOST_ROWS_PX = 1.0  # median vertical disparity, at a width of 640 px, of a calibration that fits
MOST_ROWS_SHARE = 0.03  # of the disparity: depth is wrong by about as much
MOST_BEHIND = 0.1  # share of the matches that may lie behind the cameras
FITS_BETTER = 0.8  # share of the rows apart that images keep when they are rectified already
NOT_METRIC = (
    "metres are only approximate: rows or orientation of the images are not those that the "
    "calibration expects"
)
MOVED = "cameras or scene moved: alignment or disparity range re-estimated"

Result = TypeVar("Result")
Other = TypeVar("Other")


def advise(what: str, step: Callable[[], Result], otherwise: Other) -> Result | Other:
    """Return the result of an advisory step, whose failure is only reported."""
    try:
        return step()
    except (cv2.error, ArithmeticError, ValueError, IndexError, np.linalg.LinAlgError) as exc:
        warn(f"{what} could not be checked; the run continues without it")
        debug(f"{what}: {type(exc).__name__}: {' '.join(str(exc).split())}")
        return otherwise


@dataclass(frozen=True)
class ReadyPair:
    """A pair on its way to the network."""

    original: StereoPair  # as it is shown; disparity is wanted on the grid of its left image
    aligned: AlignedPair  # as the network gets it
    note: str = ""  # what was done
    doubt: str = ""  # what cannot be relied on because of it
    number: int = 0  # of the pair in its run
    rectification: Rectification | None = None  # between the original and the aligned pair

    def restore(self, disparity: DisparityMap) -> DisparityMap:
        """Map a disparity of the aligned pair to the original left image."""
        restored = self.aligned.restore(disparity)
        return restored if self.rectification is None else self.rectification.restore(restored)


def fit_calibration(
    given: Calibration, pairs: Sequence[StereoPair], *, trusted: bool, order_known: bool
) -> tuple[Calibration | None, list[str]]:
    """Return a calibration as it applies to pairs, and remarks.

    None where they contradict it; without a rectification where they are rectified already.
    `order_known`: left and right will not be exchanged.
    """
    shape, found = pairs[0].left.shape[:2], given
    seen = as_given = check_rows(pairs)
    remarks: list[str] = []
    if given.rectification is not None:
        rectify = given.rectification.apply
        seen = check_rows(StereoPair(*rectify(pair.left, pair.right)) for pair in pairs)
        rows = [math.inf if each is None else each.apart_px for each in (as_given, seen)]
        if rows[0] <= min(MOST_ROWS_PX * unit_px(shape), FITS_BETTER * rows[1]):
            found, seen = replace(given, rectification=None), as_given
            remarks.append("the images are rectified already: not rectified by the calibration")
        else:
            before, after = ("unknown" if r == math.inf else f"{r:.1f} px" for r in rows)
            remarks.append(f"rectified by the calibration: vertical disparity {before} -> {after}")
    if seen is not None and not (order_known or found.rectification):
        seen = seen._replace(disparities=seen.disparities * np.sign(np.median(seen.disparities)))
    contradiction = "" if seen is None else _contradiction(found.camera, seen, shape)
    if not contradiction:
        return found, remarks
    if trusted:
        return found, [*remarks, f"WARNING: {contradiction}; metres are kept as asked"]
    lost = "true proportions" if given.relative else "metres"
    advice = "--trust-calibration keeps them, crestereo calibrate makes a calibration"
    return None, [f"WARNING: {contradiction}; no {lost} ({advice})"]


def _contradiction(camera: CameraConfig, seen: RowsCheck, shape: tuple[int, ...]) -> str:
    """Return how matches of rectified pairs contradict a camera."""
    unit = unit_px((shape[0], shape[1]))
    depths_px = seen.disparities + camera.doffs_px
    share = seen.apart_px / max(float(np.median(np.abs(depths_px))), 1e-6)
    if seen.apart_px > MOST_ROWS_PX * unit and share > MOST_ROWS_SHARE:
        return (
            f"the images are not rectified as the calibration expects: matches are "
            f"{seen.apart_px:.1f} px off their rows, {100 * share:.0f} % of their disparity"
        )
    behind = float((depths_px < -unit).mean())
    if behind > MOST_BEHIND:
        return (
            f"with the calibration {100 * behind:.0f} % of the matches lie behind the cameras "
            f"(disparities down to {np.percentile(seen.disparities, 5):.0f} px)"
        )
    return ""


def representatives(pairs: Sequence[StereoPair]) -> Sequence[StereoPair]:
    """Return a few pairs, spread over the beginning of a video."""
    return pairs[:: max(1, len(pairs) // CHECKED_PAIRS)][:CHECKED_PAIRS]


class Aligner:
    """Alignment of one pair (`still`) or of a video, in one thread.

    The pairs of `beginning` decide. `calibration` applies to the original images of the pairs;
    None where none is set or they contradict it.
    """

    def __init__(
        self, settings: ImageSettings, beginning: Sequence[StereoPair], *, still: bool = False
    ) -> None:
        self._settings = settings
        self._still = still
        self._beginning = [self._ordered(pair) for pair in beginning]
        self.calibration, self.remarks = self._calibrate(representatives(self._beginning))
        self._bars = Bars()
        if settings.align == AUTO and self._rectification is None and not still:
            views = [[p.left for p in self._beginning], [p.right for p in self._beginning]]
            self._bars = advise("bars", lambda: find_bars(*views), Bars())
        self._plan: AlignmentPlan | None = None
        self._swapped = False
        self._note = ""
        self._wait = 0  # frames until the next check
        self._rest = 0  # frames until a suspicion counts
        self._rested = SUSPECTED_AFTER
        self._restless = False
        self._suspected = False
        self._confidence: float | None = None  # mean, after the last check
        self._number = 0
        self._observed: dict[int, tuple[AlignmentPlan, bool, float | None]] = {}

    def __call__(self, pair: StereoPair) -> ReadyPair:
        """Return a pair as the network gets it."""
        ready = replace(self._ready(pair), number=self._number)
        self._number += 1
        return ready

    def _ready(self, pair: StereoPair) -> ReadyPair:
        self._take_observation()
        original = self._ordered(pair)
        if self._settings.align != AUTO:
            return ReadyPair(original, AlignedPair(original.left, original.right))
        rectified = self._rectified(original)
        back = None if rectified is original else self._rectification
        if self._settings.output_grid == RECTIFIED:
            original, back = rectified, None
        if self._wait <= 0 or (self._suspected and self._rest <= 0):
            self._decide(rectified)
        self._wait -= 1
        self._rest -= 1
        if self._swapped:
            original = rectified = original.exchanged()
        views = self._cropped(rectified)
        if self._plan is None:
            aligned = AlignedPair(*views, bars=self._bars)
            return ReadyPair(original, aligned, self._note, rectification=back)
        aligned = AlignedPair(*self._plan.apply(*views), self._plan, self._bars)
        warped = self._plan.check.verdict is Verdict.ALIGNED  # a shift alone is undone exactly
        doubt = NOT_METRIC if warped and self.calibration is not None else ""
        return ReadyPair(original, aligned, self._note, doubt, rectification=back)

    def observe(self, ready: ReadyPair, result: DisparityResult) -> None:
        """Ask for a check where a result contradicts the alignment.

        Called from any thread.
        """
        plan = ready.aligned.plan
        if plan is None:
            return
        disparity, width = result.disparity[::4, ::4], plan.canvas[1]
        near_reach = NEAR_REACH * (plan.reach_px - plan.shift_px)
        outside = (disparity < NEAR_ZERO_SHARE * width) | (disparity > near_reach)
        confidence = result.confidence
        mean = None if confidence is None else float(np.mean(confidence[::4, ::4]))
        suspect = float(outside.mean()) > OUTSIDE_SHARE
        recent = {n: o for n, o in self._observed.items() if n > ready.number - 2 * OBSERVED_AFTER}
        self._observed = recent | {ready.number: (plan, suspect, mean)}  # copies share the old one

    def _take_observation(self) -> None:
        """Use the result that is `OBSERVED_AFTER` pairs old.

        So every run does the same, however its threads are scheduled.
        """
        observed = self._observed.get(self._number - OBSERVED_AFTER)
        if observed is None or observed[0] is not self._plan:
            return
        _, suspect, confidence = observed
        self._suspected |= suspect
        if confidence is not None:
            last = self._confidence
            self._suspected |= last is not None and confidence < FALLEN * last
            self._confidence = last or confidence

    def _ordered(self, pair: StereoPair) -> StereoPair:
        # The views of one video are exchanged where its frames are split.
        unified = isinstance(self._settings, UnifiedVideoSettings)
        return pair.exchanged() if self._settings.swap is True and not unified else pair

    def _calibrate(self, pairs: Sequence[StereoPair]) -> tuple[Calibration | None, list[str]]:
        height, width = pairs[0].left.shape[:2]
        recorded_px = pairs[0].focal_px
        calibration = self._settings.calibration_for((height, width), recorded_px)
        if calibration is None:
            return None, []
        notes = [f"WARNING: {note}" for note in calibration.notes]
        if self._settings.align != AUTO:  # assume a rectified pair
            return replace(calibration, rectification=None), notes
        trusted = self._settings.trust_calibration
        order_known = not self._still or self._settings.swap is not None
        fitted, remarks = advise(
            "calibration",
            lambda: fit_calibration(calibration, pairs, trusted=trusted, order_known=order_known),
            (calibration, []),
        )
        if self._settings.lens_is_set:
            return fitted, [*notes, *remarks]
        if fitted is None and calibration.relative:  # not asked for: two phones are never rectified
            return None, []
        said = f"focal length of {recorded_px:.0f} px from the EXIF data of the left image"
        return fitted, [said, *remarks]

    def report(self) -> None:
        """Print how the calibration fits, and what `max_distance` assumes."""
        for remark in self.remarks:
            report(remark)
        relative = self.calibration is not None and self.calibration.relative
        if relative and self._settings.length is None:
            say("the distance of the cameras is unknown: points are in multiples of it")
        if self._settings.max_distance is not None and self.camera is None:
            say(
                f"max_distance assumes cameras {1000 * ASSUMED_BASELINE_M:.0f} mm apart with a "
                f"field of view of {ASSUMED_FOV_DEG:.0f} degrees; set yours for metres"
            )

    def measure_baseline(self, disparity: DisparityMap) -> None:
        """Set the baseline that a known length in a map implies."""
        if self._settings.length is None or self.calibration is None:
            return
        *ends, length_m = self._settings.length
        camera = self.calibration.camera
        baseline_m = baseline_of_length(disparity, camera, ends, length_m, pixels=self.pixels)
        self.calibration = self.calibration.with_baseline(baseline_m)
        say(f"baseline by the known length: {baseline_m:.4g} m")

    @property
    def camera(self) -> CameraConfig | None:
        """Return the camera that gives metres, None where nothing does."""
        found = self.calibration
        return None if found is None or found.relative else found.camera

    @property
    def pixels(self) -> NDArray[np.float32] | None:
        """Return the rectified positions of original left pixels."""
        rectification, raw = self._rectification, self._settings.output_grid != RECTIFIED
        return None if rectification is None or not raw else rectification.pixels

    @property
    def _rectification(self) -> Rectification | None:
        return None if self.calibration is None else self.calibration.rectification

    def _rectified(self, pair: StereoPair) -> StereoPair:
        if self._rectification is None:
            return pair
        left, right = self._rectification.apply(pair.left, pair.right)
        return replace(pair, left=left, right=right)

    def _cropped(self, pair: StereoPair) -> tuple[BGRImage, BGRImage]:
        return self._bars.crop(pair.left), self._bars.crop(pair.right)

    def _decide(self, pair: StereoPair) -> None:
        plan = self._plan
        self._suspected, self._confidence = False, None
        if plan is None or not plan.check.usable:
            self._wait = RETRY_AFTER
            advise("alignment", lambda: self._begin(pair), None)
            return
        advise("alignment", lambda: self._check_again(pair, plan), None)
        changes = self._restless or self._plan is not plan
        self._rest = SUSPECTED_AFTER if changes else min(2 * self._rested, CHECK_EVERY)
        self._rested = self._rest
        self._wait = self._rest if changes else min(2 * self._rest, CHECK_EVERY)

    def _begin(self, pair: StereoPair) -> None:
        pairs = [self._rectified(p) for p in representatives(self._beginning)] or [pair]
        self._beginning = []
        checks = [(self._checked(*self._cropped(p)), p) for p in pairs]
        check, checked = max(checks, key=lambda c: (c[0].usable, c[0].matches))
        if check.usable:
            self._wait = 1  # it may come from later pairs
        elif self._note:  # what was not found is reported once
            return
        remarks = advise("left/right order", lambda: self._check_order(checked, check), [])
        if self._swapped:
            check = self._checked(*self._cropped(checked.exchanged()))
        self._take(check, remarks)

    def _checked(self, left: BGRImage, right: BGRImage) -> PairCheck:
        return check_pair(left, right, turned=True, rows_only=self.calibration is not None)

    def _check_again(self, pair: StereoPair, plan: AlignmentPlan) -> None:
        """Replace an alignment or a disparity range that does not hold."""
        left, right = self._cropped(pair.exchanged() if self._swapped else pair)
        copies = WorkingCopies.of(*plan.apply(left, right), CHECK_SIDE_PX)
        found = match_copies(copies)
        rows_px = 0.0 if too_few(found) else median_rows_px(found, copies.shape)
        limit_px = MISFIT_PX + plan.check.residual_px / unit_px(plan.check.shape)
        self._restless = rows_px > RESTLESS * limit_px
        if rows_px > limit_px:
            check = self._checked(left, right)
            if check.usable and check.residual_px < BETTER * rows_px * unit_px(check.shape):
                self._replace(plan_alignment(check, still=False))
                return
        seen = disparity_range(found, copies, AlignmentModel())
        if seen is not None:
            low, high = (value + plan.shift_px for value in seen)
            check = replace(plan.check, disparity_range=(low, high))
            new = plan_alignment(check, still=False)
            inside = low >= plan.shift_px - NEGATIVE_SHARE * copies.shape[1]
            if new.shift_px != plan.shift_px and not (inside and high <= plan.reach_px):
                self._replace(new)

    def _replace(self, plan: AlignmentPlan) -> None:
        debug(f"pair check: {plan.check}, shift {plan.shift_px} px")
        self._plan = plan
        if MOVED not in self._note:
            self._note = "; ".join([self._note, MOVED] if self._note else [MOVED])

    def _take(self, check: PairCheck, remarks: list[str]) -> None:
        self._plan = plan_alignment(check, still=self._still)
        debug(f"pair check: {check}")
        notes = [str(self._bars)] if self._bars else []
        notes.append(_sentence(check))
        if self._plan.shift_px:
            notes.append(f"disparity range shifted by {self._plan.shift_px} px for the network")
        if check.usable and check.disparity_range[1] > self._plan.reach_px:
            notes.append(
                f"WARNING: disparities up to {check.disparity_range[1]:.0f} px are beyond the "
                f"network's range of {self._plan.reach_px:.0f} px: near parts may be wrong"
            )
        self._note = "; ".join([*notes, *remarks])

    def _check_order(self, pair: StereoPair, check: PairCheck) -> list[str]:
        """Detect swapped views; those of a still image are exchanged."""
        told = self._settings.swap is not None or self._rectification is not None
        if told or isinstance(self._settings, UnifiedVideoSettings):
            return []
        finding = detect_swap(*self._cropped(pair), check=check)
        if not finding.swapped:
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
