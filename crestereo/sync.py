"""Estimate the time offset of two separately started recordings of one scene.

Points are tracked for a while in each recording and matched between them. At the correct offset all
tracks of a moving scene or camera keep the rows of one alignment, and their columns change alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.alignment.epipolar import NOTHING, STAGES, AlignmentModel, choose_model, transform
from crestereo.alignment.matches import match_descriptors, sift_features
from crestereo.types import BGRImage

Values = NDArray[np.float64]
Shape = tuple[int, int]

MAX_OFFSET_S = 3.0
MIN_FRAMES = 8
SPACING_S = 0.6  # between the windows of tracks
HALF_LIFE_S = 0.75  # of a window
MAX_POINTS = 250
MIN_MATCHES = 8
MIN_TRACK = 5  # frames compared
FITTED = 600  # samples from which the alignment is estimated
MOVES_PX = 2.0  # range of the tracks that are compared
NOISE_PX = 0.3  # of the tracks
GAP_FRAMES = 2.5  # tracks are not interpolated over longer gaps
COARSE_STEP = 2  # every second frame is compared at every offset
FINE_FRAMES = 3  # around the best offset, where every frame is compared
MIN_EVIDENCE = 0.15  # of the samples of the richest offset
NEARBY_FRAMES = 2.5  # offsets that share a minimum
MIN_LEAD = 0.05  # of the log residual over all other offsets
MAX_RESIDUAL = 1.6  # mean log, 0.6 px; recordings that were not simultaneous have more
DRAWS, AGREES_FRAMES = 200, 0.5  # of the bootstrap
BELIEVE_FROM = 0.9
SOUND_PEAK, SOUND_LEAD = 8.0, 1.5  # over the noise, over the second peak
SOUND_AGREES_FRAMES = 1.5  # latency of microphones included


class TimedFrame(Protocol):
    """Image and its time [s] from the beginning of the recording."""

    @property
    def image(self) -> BGRImage: ...

    @property
    def time_s(self) -> float: ...


@dataclass(frozen=True)
class SyncFinding:
    """Time offset of two recordings; `str()` of it is one line.

    What happens at time t of the left recording happens at ``t + offset_s`` of the right one.
    """

    offset_s: float = 0.0  # 0 where it was not found
    offset_frames: float = 0.0  # the same in frames of the right recording
    confidence: float = 0.0  # 0 to 1
    measured_frames: float = math.nan  # most likely offset, found or not
    sound_frames: float = math.nan  # offset of the sound, NaN without a clear one

    @property
    def found(self) -> bool:
        """Return whether the evidence suffices to shift one recording."""
        return self.confidence >= BELIEVE_FROM

    def __str__(self) -> str:
        if self.found:
            late = f"right video {abs(self.offset_frames):.1f} frames "
            late += "behind" if self.offset_frames > 0 else "ahead"
            text = "already synchronized" if round(self.offset_frames) == 0 else late
            text += f" ({100 * self.confidence:.0f} % sure)"
        elif math.isnan(self.measured_frames):
            text = "offset not found (too few moving points in both videos), using 0 frames"
        else:
            text = f"offset not certain (measured {self.measured_frames:+.1f}), using 0 frames"
        certain = self.found
        if not math.isnan(self.sound_frames):
            agrees = abs(self.sound_frames - self.measured_frames) <= SOUND_AGREES_FRAMES
            certain &= agrees
            text += (
                f"; the sound {'agrees' if agrees else 'differs'}: {self.sound_frames:+.1f} frames"
            )
        text += "" if certain else "; --sync sets the offset"
        return f"sync: {text}"


def find_offset(
    left_frames: Sequence[TimedFrame], right_frames: Sequence[TimedFrame]
) -> SyncFinding:
    """Find the time offset of two recordings from their first seconds."""
    if min(len(left_frames), len(right_frames)) < MIN_FRAMES:
        return SyncFinding()
    period_s = float(np.median(np.diff([frame.time_s for frame in right_frames])))
    width = left_frames[0].image.shape[1]
    pairs = _matched(*(_windows(frames, width) for frames in (left_frames, right_frames)))
    if not pairs or period_s <= 0:
        return SyncFinding()
    start_s = right_frames[0].time_s - left_frames[0].time_s
    most = int(MAX_OFFSET_S / period_s)
    offsets = np.arange(-most, most + 1) - round(start_s / period_s)  # around simultaneous frames
    curve = _curve([_costs(pairs, start_s + k * period_s, period_s) for k in offsets])
    best = int(curve.argmin())
    if not np.isfinite(curve[best]):
        return SyncFinding()
    far = np.abs(offsets - offsets[best]) > NEARBY_FRAMES
    lead = float(curve[far].min(initial=np.inf) - curve[best])
    place, agree = _fine_offset(pairs, start_s + offsets[best] * period_s, period_s)
    measured = float(start_s / period_s + offsets[best] + place)
    there = _curve([_costs(pairs, measured * period_s, period_s)])[0]
    fits = min(there, curve[best]) < MAX_RESIDUAL
    confidence = agree * min(lead / MIN_LEAD, 1.0) * float(fits)
    if confidence < BELIEVE_FROM:
        return SyncFinding(confidence=confidence, measured_frames=measured)
    return SyncFinding(measured * period_s, measured, confidence, measured)


def sound_offset_s(left: Values, right: Values, rate: int) -> float:
    """Return the delay of the right sound [s], NaN where unclear.

    Both are samples from the beginning, correlated with all frequencies weighted alike (GCC-PHAT).
    """
    length = len(left) + len(right)
    if min(len(left), len(right)) < rate:
        return math.nan
    product = np.fft.rfft(right, length) * np.conj(np.fft.rfft(left, length))
    correlation = np.fft.irfft(product / (np.abs(product) + 1e-9), length)
    most = min(round(MAX_OFFSET_S * rate), length // 2 - 1)
    values = np.abs(np.concatenate([correlation[-most:], correlation[: most + 1]]))
    best = int(values.argmax())
    elsewhere = np.abs(np.arange(len(values)) - best) > rate // 50
    clear = values[best] > SOUND_LEAD * values[elsewhere].max()
    return (best - most) / rate if clear and values[best] > SOUND_PEAK * values.std() else math.nan


@dataclass(frozen=True)
class _Window:
    """Tracks of the points that were detected at one moment."""

    number: int
    at_s: float
    times_s: Values  # (T,)
    points: Values  # (T, N, 2), NaN where lost
    descriptors: NDArray[np.float32]  # (N, 128)
    shape: Shape  # height and width of the frames

    def only(self, chosen: NDArray[np.intp]) -> _Window:
        """Return the window with some of its tracks."""
        return replace(self, points=self.points[:, chosen], descriptors=self.descriptors[chosen])


def _windows(frames: Sequence[TimedFrame], width: int) -> list[_Window]:
    """Track points of evenly spaced windows [px of `width`]."""
    times = np.array([frame.time_s for frame in frames])
    greys = [cv2.cvtColor(frame.image, code=cv2.COLOR_BGR2GRAY) for frame in frames]
    length_s = times[-1] - times[0]
    count = max(1, round(length_s / SPACING_S))
    moments = times[0] + length_s * (np.arange(count) + 0.5) / count
    places = [int(np.abs(times - at).argmin()) for at in moments]
    return [_track(greys, times, at, number, width) for number, at in enumerate(places)]


def _track(
    greys: Sequence[NDArray[Any]], times: Values, at: int, number: int, width: int
) -> _Window:
    """Track points of one frame backward and forward (Lucas-Kanade)."""
    inside = np.flatnonzero(np.abs(times - times[at]) <= HALF_LIFE_S)
    first, last = int(inside[0]), int(inside[-1])
    points, descriptors = sift_features(np.asarray(greys[at], np.uint8), MAX_POINTS)
    found = np.full((last - first + 1, len(points), 2), np.nan)
    found[at - first] = points
    for step, end in ((1, last), (-1, first)):
        current, kept = points.astype(np.float32), np.ones(len(points), bool)
        for k in range(at, end, step):
            if not kept.any() or greys[k].shape != greys[k + step].shape:
                break
            current, status, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
                greys[k], greys[k + step], current, None, winSize=(15, 15), maxLevel=3
            )
            kept &= status.ravel() > 0
            found[k + step - first, kept] = current[kept]
    scale = width / greys[at].shape[1]
    shape = (round(greys[at].shape[0] * scale), width)
    window_s = times[first : last + 1]
    return _Window(number, float(times[at]), window_s, found * scale, descriptors, shape)


Matched = tuple[_Window, _Window]


def _matched(lefts: Sequence[_Window], rights: Sequence[_Window]) -> list[Matched]:
    """Match the points of all windows that may be simultaneous."""
    pairs = []
    for left in lefts:
        for right in rights:
            few = min(len(left.descriptors), len(right.descriptors)) < MIN_MATCHES
            if few or abs(right.at_s - left.at_s) > MAX_OFFSET_S + SPACING_S:
                continue
            index = match_descriptors(left.descriptors, right.descriptors)
            if len(index) >= MIN_MATCHES:
                pairs.append((left.only(index[:, 0]), right.only(index[:, 1])))
    return pairs


@dataclass(frozen=True)
class _Part:
    """Positions of matched points at the same times, for some offsets."""

    group: int
    left: Values  # (T, N, 2), NaN where a track ended
    right: Values  # (offsets, T, N, 2)


def _part(pair: Matched, offsets_s: Values, period_s: float, step: int) -> _Part | None:
    """Return what is known of matched points at all offsets."""
    left, right = pair
    wanted = left.times_s[::step] + offsets_s[:, None]  # (offsets, T)
    after = np.clip(np.searchsorted(right.times_s, wanted), 1, len(right.times_s) - 1)
    start, end = right.times_s[after - 1], right.times_s[after]
    share = (wanted - start) / (end - start)
    usable = (share >= -1e-3) & (share <= 1.001) & (end - start < GAP_FRAMES * period_s)
    inside = usable.all(axis=0)
    after, share = after[:, inside], np.round(share[:, inside, None, None], 3)
    a = left.points[::step][inside]
    before, later = right.points[after - 1], right.points[after]
    b = np.where(share == 0, before, np.where(share == 1, later, before + share * (later - before)))
    both = np.isfinite(a[..., 0]) & np.isfinite(b[..., 0]).all(axis=0)
    long = both.sum(axis=0) >= MIN_TRACK
    if not long.any():
        return None
    there = both[:, long, None]
    a, b = np.where(there, a[:, long], np.nan), np.where(there, b[:, :, long], np.nan)
    return _Part(left.number, a, b)


def _costs(pairs: Sequence[Matched], at_s: float, period_s: float, around: int = 0) -> Values:
    """Return sums and counts of log residuals, (offsets, 2, groups of tracks).

    With `around` offsets to both sides, all frames of the same tracks are compared at each.
    """
    offsets_s = np.asarray(at_s + np.arange(-around, around + 1) * period_s, float)
    groups = 4 * (1 + max(left.number for left, _ in pairs))
    found = [
        _part(pair, offsets_s, period_s, 1 if around else COARSE_STEP)
        for pair in pairs
        if abs(pair[1].at_s - pair[0].at_s - at_s) <= SPACING_S / 2 + 1e-6
    ]
    parts = [part for part in found if part is not None]
    if sum(part.left.shape[1] for part in parts) < 2 * MIN_MATCHES:
        return np.zeros((len(offsets_s), 2, groups))
    shape, free = pairs[0][0].shape, STAGES[-1]
    if around:
        theta = _model(parts, around, shape, None).theta
        free = next(free for free in STAGES if theta[free:] == NOTHING[free:])
    models = [_model(parts, k, shape, free) for k in range(len(offsets_s))]
    return np.stack([_cost(parts, k, model, shape, groups) for k, model in enumerate(models)])


def _model(parts: Sequence[_Part], which: int, shape: Shape, free: int | None) -> AlignmentModel:
    left = np.concatenate([part.left.reshape(-1, 2) for part in parts])
    right = np.concatenate([part.right[which].reshape(-1, 2) for part in parts])
    there = np.flatnonzero(np.isfinite(left[:, 0]))
    chosen = np.random.default_rng(0).permutation(there)[:FITTED]
    return choose_model(left[chosen], right[chosen], shape, free=free)


def _cost(
    parts: Sequence[_Part], which: int, model: AlignmentModel, shape: Shape, groups: int
) -> Values:
    """Return sums and counts of log residuals by track, (2, groups)."""
    total = np.zeros((2, groups))
    maps = model.left_homography(shape), model.right_homography(shape)
    for part in parts:
        both = part.left, part.right[len(part.right) // 2]
        ranges = [np.nanmax(track, axis=0) - np.nanmin(track, axis=0) for track in both]
        moving = np.maximum(*ranges).max(axis=1) > MOVES_PX
        if not moving.any():
            continue
        left, right = part.left[:, moving], part.right[which][:, moving]
        a, b = (
            transform(m, points.reshape(-1, 2)).reshape(points.shape)
            for m, points in zip(maps, (left, right), strict=True)
        )
        apart = np.stack([_detrended((a - b)[..., 0]), (a - b)[..., 1]])  # (2, T, N)
        logs = np.nansum(np.log1p((apart / NOISE_PX) ** 2), axis=(0, 1)) / 2
        far = np.nanmean(left, axis=0) > np.array(shape)[::-1] / 2
        places = 4 * part.group + 2 * far[:, 1] + far[:, 0]  # quadrants of each window
        total[0] += np.bincount(places, logs, minlength=groups)
        total[1] += np.bincount(places, np.isfinite(left[..., 0]).sum(axis=0), minlength=groups)
    return total


def _detrended(columns: Values) -> Values:
    """Remove mean and linear trend in time from (T, N) columns."""
    times = np.where(np.isfinite(columns), np.arange(len(columns))[:, None], np.nan)
    times -= np.nanmean(times, axis=0)
    columns = columns - np.nanmean(columns, axis=0)
    slope = np.nansum(times * columns, axis=0) / np.nansum(times**2, axis=0)
    return np.asarray(columns - slope * times)


def _curve(costs: Sequence[Values] | Values, weight: Values | float = 1.0) -> Values:
    """Return the mean log residual by offset, infinite where unknown."""
    sums, counts = (np.reshape(costs, (-1, *np.shape(costs)[-2:])) * weight).sum(axis=2).T
    enough = counts > MIN_EVIDENCE * counts.max()
    return np.asarray(np.divide(sums, counts, out=np.full(len(sums), np.inf), where=enough))


def _fine_offset(pairs: Sequence[Matched], at_s: float, period_s: float) -> tuple[float, float]:
    """Return the minimum [frames from `at_s`] and its agreement."""
    costs = _costs(pairs, at_s, period_s, FINE_FRAMES)
    whole = _minimum(_curve(costs))
    groups = costs.shape[2]
    draws = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), DRAWS)
    found = np.array([_minimum(_curve(costs, draw)) for draw in draws])
    inside = costs.any() and abs(whole) < FINE_FRAMES - 0.5
    return whole, float(inside * (np.abs(found - whole) < AGREES_FRAMES).mean())


def _minimum(curve: Values) -> float:
    """Return the parabola's minimum, counted from the middle."""
    best = int(curve.argmin())
    place = float(best - len(curve) // 2)
    if not 0 < best < len(curve) - 1 or not np.isfinite(curve[best - 1 : best + 2]).all():
        return place
    before, least, after = curve[best - 1 : best + 2]
    bend = before - 2 * least + after
    return place + (0.5 * float((before - after) / bend) if bend > 0 else 0.0)
