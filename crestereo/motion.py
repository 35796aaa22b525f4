"""What moves in a recording from each frame to the next, as numbers that can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.types import BGRImage

Signals = NDArray[np.float64]
"""(T, channels) float64, one row for each step from a frame to the next."""

SMALL_SIDE_PX = 160
ROW_BANDS = 12
STEADY = 0.25  # of a frame's time: steps that differ by less are those of a constant rate


def motion_signals(frames: Iterable[BGRImage]) -> Signals:
    """Measure what moves from each frame to the next.

    Parameters
    ----------
    frames : iterable of (H, W, 3) uint8
        All frames of the stretch to compare; read once, never held together.

    Returns
    -------
    (T - 1, 2 + ROW_BANDS) float64
        Sideways and vertical motion of the whole picture [share of the width], then the change of
        brightness in bands of rows.
    """
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
            # Some versions of OpenCV multiply the window into the pictures they are given.
            (dx, dy), _ = cv2.phaseCorrelate(last.copy(), small.copy(), window=window)
            change = np.abs(small - last).mean(axis=1)
            bands = [float(np.mean(band)) for band in np.array_split(change, ROW_BANDS)]
            moved = [dx / small.shape[1], dy / small.shape[1]]
            rows.append(np.array([*moved, *np.log1p(bands)]))
        last = small
    return np.array(rows).reshape(-1, 2 + ROW_BANDS)


def at_constant_rate(signals: Signals, times_s: Sequence[float], fps: float) -> Signals:
    """Return signals as a recording of a constant rate would have them.

    Parameters
    ----------
    signals : (T - 1, channels) float64
        Of `motion_signals`.
    times_s : sequence of T float
        When the frames were to be seen, from 0 on and rising.
    fps : float
        The constant rate.

    Returns
    -------
    (T', channels) float64
        Step i goes from the time ``i / fps`` to ``(i + 1) / fps``; unchanged where the frames came
        at that rate anyway.
    """
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
