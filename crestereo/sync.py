"""How two separately started recordings of one scene belong together in time.

Both cameras see the same things move: whatever shakes one shakes the other, and what moves in a row
of one image moves in about the same row of the other. These signals are compared at every offset.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.alignment.check import check_pair
from crestereo.errors import UsageError
from crestereo.types import BGRImage

Signals = NDArray[np.float64]
"""(T, channels) float64, one row for each step from a frame to the next."""

SMALL_SIDE_PX = 160
ROW_BANDS = 12
STEADY = 0.25  # of a frame's time: steps that differ by less are those of a constant rate


def motion_signals(frames: Iterable[BGRImage]) -> Signals:
    """Measure what moves from each frame to the next."""
    rows: list[NDArray[np.float64]] = []
    last: NDArray[np.float32] | None = None
    window: NDArray[np.float32] | None = None
    for frame in frames:
        small = _small(frame)
        if last is None or window is None or small.shape != last.shape:
            window = np.asarray(
                cv2.createHanningWindow((small.shape[1], small.shape[0]), cv2.CV_32F), np.float32
            )
        else:
            # Some versions of OpenCV multiply the window into the images they are given.
            (dx, dy), _ = cv2.phaseCorrelate(last.copy(), small.copy(), window=window)
            change = np.abs(small - last).mean(axis=1)
            bands = [float(np.mean(band)) for band in np.array_split(change, ROW_BANDS)]
            moved = [dx / small.shape[1], dy / small.shape[1]]
            rows.append(np.array([*moved, *np.log1p(bands)]))
        last = small
    return np.array(rows).reshape(-1, 2 + ROW_BANDS)


def at_constant_rate(signals: Signals, times_s: Sequence[float], fps: float) -> Signals:
    """Return signals as a recording of a constant rate would have them."""
    steps = np.diff(times_s) * fps
    if len(steps) != len(signals) or (np.abs(steps - 1) < STEADY).all():
        return signals
    per_step = signals.copy()
    per_step[:, :2] /= np.maximum(steps, STEADY)[:, None]  # motion adds up while frames are missing
    middles = (np.asarray(times_s[1:]) + np.asarray(times_s[:-1])) / 2
    places = (np.arange(int(times_s[-1] * fps + 0.5)) + 0.5) / fps
    columns = [np.interp(places, middles, column) for column in per_step.T]
    return np.stack(columns, axis=1)


def _small(frame: BGRImage) -> NDArray[np.float32]:
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) if frame.ndim == 3 else frame
    scale = SMALL_SIDE_PX / max(grey.shape)
    size = (max(8, round(grey.shape[1] * scale)), max(8, round(grey.shape[0] * scale)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)


MAX_OFFSET_S = 3.0
MIN_OVERLAP_S = 0.6
NEARBY_FRAMES = 2.5  # offsets so close to the best one are the same peak
SMALLEST_PEAK = 0.3  # of the mean correlation; unrelated clips stay below
CLEAR_LEAD = 0.12  # over the best offset elsewhere
BELIEVE_FROM = 0.5
SAME_FRAMES = 1.0  # offsets up to which the top of a broad hill means no offset
VERIFIED_PAIRS = 3  # of frames that belong together if the offset is right
UNVERIFIED = 0.49  # what remains of the confidence if none of them matches


class TimedFrame(Protocol):
    """Image and its time [s] from the beginning of the recording."""

    @property
    def image(self) -> BGRImage:
        """Return the image."""

    @property
    def time_s(self) -> float:
        """Return the time."""


@dataclass(frozen=True)
class SyncFinding:
    """Time offset of two recordings; `str()` of it is one line.

    Parameters
    ----------
    offset_s : float
        What happens at time t of the left recording happens at ``t + offset_s`` of the right
        one [s]; 0 where it was not found.
    offset_frames : float
        The same in frames of the right recording.
    confidence : float
        0 to 1.
    measured_frames : float
        Most likely offset, found or not; NaN where nothing could be measured.
    """

    offset_s: float = 0.0
    offset_frames: float = 0.0
    confidence: float = 0.0
    measured_frames: float = math.nan

    @property
    def found(self) -> bool:
        """Return whether the evidence suffices to shift one recording."""
        return self.confidence >= BELIEVE_FROM

    def __str__(self) -> str:
        if not self.found:
            measured = ""
            if not math.isnan(self.measured_frames):
                measured = f", measured {self.measured_frames:+.1f}"
            return f"sync: offset not found (too little shared motion{measured}), using 0 frames"
        late = f"right video {abs(self.offset_frames):.1f} frames "
        late += "behind" if self.offset_frames > 0 else "ahead"
        text = "already synchronized" if round(self.offset_frames) == 0 else late
        return f"sync: {text} ({100 * self.confidence:.0f} % sure)"


def find_offset(
    left_frames: Sequence[TimedFrame], right_frames: Sequence[TimedFrame]
) -> SyncFinding:
    """Find the time offset of two recordings from their first seconds."""
    both = left_frames, right_frames
    times = [
        [frame.time_s - (frames[0].time_s if frames else 0.0) for frame in frames]
        for frames in both
    ]
    rates = [1 / float(np.median(np.diff(at_s))) if len(at_s) > 1 else 25.0 for at_s in times]
    signals = [
        at_constant_rate(motion_signals(frame.image for frame in frames), at_s, fps)
        for frames, at_s, fps in zip(both, times, rates, strict=True)
    ]
    found = offset_of_signals(signals[0], signals[1], rates[0], rates[1])
    counts = len(signals[0]) + 1, len(signals[1]) + 1
    places = pairs_to_verify(found, counts, rates[1] / rates[0])

    def shown(side: int, place: int) -> BGRImage:
        return both[side][int(np.abs(np.asarray(times[side]) - place / rates[side]).argmin())].image

    found = verified(found, ((shown(0, i), shown(1, k)) for i, k in places))
    offset_s = found.offset_frames / rates[1]
    if found.found:
        offset_s += right_frames[0].time_s - left_frames[0].time_s
    return SyncFinding(offset_s, found.offset_frames, found.confidence, found.measured_frames)


def pairs_to_verify(
    found: SyncFinding, counts: tuple[int, int], rate: float
) -> list[tuple[int, int]]:
    """Return which frames of the left and the right video are looked at to verify an offset."""
    if not found.found:
        return []
    pairs = [
        (i, partner)
        for i in range(counts[0])
        if 0 <= (partner := round(i * rate + found.offset_frames)) < counts[1]
    ]
    return pairs[:: max(1, len(pairs) // VERIFIED_PAIRS)][:VERIFIED_PAIRS]


def verified(found: SyncFinding, pairs: Iterable[tuple[BGRImage, BGRImage]]) -> SyncFinding:
    """Return a believed finding only if one of the `pairs` of `pairs_to_verify` really matches."""
    if not found.found:
        return found
    if any(a.shape == b.shape and check_pair(a, b).usable for a, b in pairs):
        return found
    return SyncFinding(0.0, 0.0, found.confidence * UNVERIFIED, found.measured_frames)


def offset_of_signals(
    left: Signals, right: Signals, fps_left: float, fps_right: float
) -> SyncFinding:
    """Find the offset of recordings of which `motion_signals` are known, see `find_offset`."""
    if not (0 < fps_left < math.inf and 0 < fps_right < math.inf):
        raise UsageError(f"frame rates are positive numbers, not {fps_left} and {fps_right}")
    left, right = _without_cadence(left), _without_cadence(right)
    resampled = _resample(left, fps_left / fps_right)
    most = int(MAX_OFFSET_S * fps_right)
    least_overlap = max(8, round(MIN_OVERLAP_S * fps_right))
    offsets = np.arange(-most, most + 1)
    scores = np.array([_similarity(resampled, right, int(k), least_overlap) for k in offsets])
    if not np.isfinite(scores).any():
        return SyncFinding(0.0, 0.0, 0.0, math.nan)
    best = int(np.nanargmax(scores))
    elsewhere = np.abs(offsets - offsets[best]) > NEARBY_FRAMES
    confidence = _confidence(scores[best], scores[elsewhere])
    measured = offsets[best] + _vertex(scores, best)
    if confidence < BELIEVE_FROM and abs(measured) <= SAME_FRAMES:
        # Slow motion makes a hill too broad to shift by; standing alone, it tells "in step".
        hill = _hill(scores, best)
        in_step = _confidence(scores[best], np.delete(scores, hill))
        if in_step >= BELIEVE_FROM:
            return SyncFinding(0.0, 0.0, in_step, float(measured))
    believed = measured if confidence >= BELIEVE_FROM else 0.0
    return SyncFinding(0.0, float(believed), confidence, float(measured))


def _without_cadence(signals: Signals) -> Signals:
    """Return medians over three steps."""
    if len(signals) < 3:
        return signals
    around = np.stack([signals[:-2], signals[1:-1], signals[2:]])
    return np.concatenate([signals[:1], np.median(around, axis=0), signals[-1:]])


def _resample(signals: Signals, step: float) -> Signals:
    """Return the signals at the other video's rate; a step belongs to the middle of two frames."""
    if len(signals) == 0 or abs(step - 1) < 1e-9:
        return signals
    places = np.arange(int((len(signals) - 1) / step) + 1) * step + (step - 1) / 2
    known = np.arange(len(signals))
    columns = [np.interp(places, known, column) for column in signals.T]
    return np.stack(columns, axis=1)


def _similarity(left: Signals, right: Signals, offset: int, least_overlap: int) -> float:
    """Return the mean correlation, weighted by what the signals have to tell, at one offset."""
    start, end = max(0, -offset), min(len(left), len(right) - offset)
    overlap = end - start
    if overlap < least_overlap:
        return math.nan
    a, b = left[start:end], right[start + offset : end + offset]
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    covariance = (a * b).sum(axis=0)
    power = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    weight = np.array([2.0, 3.0] + [3.0 / ROW_BANDS] * ROW_BANDS)
    # Signals that hardly move carry noise only: the floors are a thousandth of the width of
    # motion and a hundredth of the brightness change.
    floor = overlap * np.array([1e-3, 1e-3] + [0.05] * ROW_BANDS) ** 2
    correlation = covariance / (power + floor)
    # A short overlap correlates by chance.
    reliability = math.sqrt(1 - 1 / math.sqrt(overlap))
    return float((weight * correlation).sum() / weight.sum() * reliability)


def _confidence(score: float, others: NDArray[np.float64]) -> float:
    """Return 0 to 1 from the similarity and its lead over the offsets it competes with."""
    lead = score - (np.nanmax(others) if np.isfinite(others).any() else 0.0)
    likely = np.clip(score / (2 * SMALLEST_PEAK), 0, 1) * np.clip(lead / (2 * CLEAR_LEAD), 0, 1)
    return math.sqrt(likely)


def _hill(scores: NDArray[np.float64], top: int) -> range:
    """Return the places around a top from which it goes up all the way."""
    start, stop = top, top + 1
    while start > 0 and scores[start - 1] <= scores[start]:
        start -= 1
    while stop < len(scores) and scores[stop] <= scores[stop - 1]:
        stop += 1
    return range(start, stop)


def _vertex(scores: NDArray[np.float64], best: int) -> float:
    """Return where between frames the peak lies, -0.5 to 0.5."""
    if not 0 < best < len(scores) - 1:
        return 0.0
    before, peak, after = scores[best - 1 : best + 2]
    bend = before - 2 * peak + after
    if not np.isfinite(bend) or bend >= 0:
        return 0.0
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))
