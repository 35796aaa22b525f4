"""Measure synchronization, layouts and bars on clips rendered here."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from crestereo.alignment import find_bars
from crestereo.app.video import Frame
from crestereo.errors import SourceError
from crestereo.layouts import LAYOUT_NAMES, Layout, detect_layout, parse_layout, split_frame
from crestereo.sync import MAX_OFFSET_S, find_offset
from crestereo.types import BGRImage

from .alignment_tasks import Row
from .moving_scene import Stage, two_recordings, with_noise

Recording = tuple[list[BGRImage], float]
"""Frames and frame rate [1/s]."""
Size = tuple[int, int]

FILM, NTSC = 24000 / 1001, 30000 / 1001  # frames per second
RATES = ((24.0, 24.0), (FILM, FILM), (FILM, 24.0), (NTSC, 25.0), (30.0, NTSC))  # left, right
CLIP_S = 5.0
LONGEST_DRAWN_S = MAX_OFFSET_S - 0.2
VIEWS = (
    ((270, 480), ((0, 0), (36, 0), (0, 60))),
    ((300, 400), ((0, 0), (36, 0), (0, 115))),
)
"""Height and width of a view; then bars above and below, and at both sides."""
FILM_FRAMES = 3
FILMS = len(LAYOUT_NAMES) * sum(len(all_bars) for _, all_bars in VIEWS)
BAR_TOLERANCE_PX = 3  # compression smears the edge of a bar


def sync_rows(clips: int) -> Iterator[Row]:
    """Measure the time offset on recordings with known offset.

    `clips` recordings have a moving and as many a static camera. Recordings of two different
    scenes, with unrelated motion, are compared too.
    """
    before: Recording | None = None
    for moving_camera, number in product((True, False), range(clips)):
        rates = RATES[number % len(RATES)]
        seed = 100 * (1 + moving_camera) + number
        most = int(LONGEST_DRAWN_S * rates[1])
        offset = int(np.random.default_rng(seed).integers(-most, most + 1))
        left, right = two_recordings(
            seed, offset, moving_camera=moving_camera, rates=rates,
            frames=int((CLIP_S + MAX_OFFSET_S) * rates[0]), kept=int(CLIP_S * rates[0]),
        )  # fmt: skip
        found = find_offset(_timed(left, rates[0]), _timed(right, rates[1]))
        exact = found.found and round(found.offset_frames) == offset
        yield Row(
            f"{'moving' if moving_camera else 'still'} camera {number + 1}, "
            f"{rates[0]:.2f} and {rates[1]:.2f} a second",
            {
                "offset": float(offset),
                "found": found.offset_frames if found.found else math.nan,
                "sure %": 100 * found.confidence,
                "exact %": 100.0 * exact,
                "wrong %": 100.0 * (found.found and not exact),
            },
        )
        if before is not None and number % 2:
            found = find_offset(_timed(*before), _timed(right, rates[1]))
            yield Row(
                f"{'moving' if moving_camera else 'still'} camera {number} and {number + 1}",
                {"sure %": 100 * found.confidence, "unrelated believed %": 100.0 * found.found},
            )
        before = left, rates[0]


def _timed(images: Sequence[BGRImage], fps: float) -> list[Frame]:
    return [Frame(image, number / fps) for number, image in enumerate(images)]


def layout_rows() -> Iterator[Row]:
    """Detect layout and bars of compressed, noisy films in every layout."""
    films = [(size, bars) for size, all_bars in VIEWS for bars in all_bars]
    for name, (seed, (size, bars)) in product(LAYOUT_NAMES, enumerate(films)):
        layout = parse_layout(name)
        frames = compressed(_film(layout, size, bars, seed))
        found = detect_layout("film.mp4", "", frames).layout
        pairs = [split_frame(frame, Layout(layout.stacked, layout.half)) for frame in frames]
        cut = find_bars([left for left, _ in pairs], [right for _, right in pairs])
        wanted = (bars[0], bars[0], bars[1], bars[1])
        sides = (cut.top, cut.bottom, cut.left, cut.right)
        missed = max(abs(a - b) for a, b in zip(sides, wanted, strict=True))
        bars_text = f"bars {bars[0]} and {bars[1]} px" if any(bars) else "no bars"
        alike = (found.stacked, found.half) == (layout.stacked, layout.half)
        yield Row(
            f"{name}, views {size[1]}x{size[0]}, {bars_text}",
            {
                "layout right %": 100.0 * alike,
                "bars right %": 100.0 * (missed <= BAR_TOLERANCE_PX),
                "bars off by px": float(missed),
            },
        )


def _film(layout: Layout, size: Size, bars: Size, seed: int) -> list[BGRImage]:
    """Render frames of a film whose views have bars."""
    stage = Stage(10 + seed, (size[0] - 2 * bars[0], size[1] - 2 * bars[1]), cards=5)
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(FILM_FRAMES):
        camera = (3.0 * number, 2.0 * number)
        views = [stage.view(right, camera)[0] for right in (False, True)]
        framed = [np.pad(view, ((bars[0],) * 2, (bars[1],) * 2, (0, 0))) for view in views]
        frames.append(with_noise(_joined(framed, layout), rng))
    return frames


def compressed(frames: Sequence[BGRImage]) -> list[BGRImage]:
    """Return the frames after encoding and decoding as MPEG-4.

    Raises
    ------
    SourceError
        If this OpenCV can neither write nor read MPEG-4.
    """
    size = (frames[0].shape[1], frames[0].shape[0])
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "film.mp4")
        writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), 24, size)
        for frame in frames:
            writer.write(frame)
        writer.release()
        capture = cv2.VideoCapture(path)
        back = []
        while (read := capture.read())[0]:
            back.append(np.asarray(read[1], np.uint8))
        capture.release()
    if not back:
        raise SourceError("this OpenCV cannot write MPEG-4, which the layouts are measured with")
    return back


def _joined(views: Sequence[BGRImage], layout: Layout) -> BGRImage:
    """Return one frame of the left and the right view."""
    ordered = list(reversed(views)) if layout.right_first else list(views)
    if layout.half:
        height, width = views[0].shape[:2]
        size = (width, height // 2) if layout.stacked else (width // 2, height)
        squeezed = [cv2.resize(view, size, interpolation=cv2.INTER_AREA) for view in ordered]
        ordered = [np.asarray(view, np.uint8) for view in squeezed]
    return np.asarray(np.vstack(ordered) if layout.stacked else np.hstack(ordered), np.uint8)
