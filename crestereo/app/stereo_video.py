"""Look at the beginning of videos: how the eyes share a frame, which frames belong together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain, islice, pairwise, takewhile
from typing import Protocol
from urllib.parse import unquote, urlsplit

import numpy as np

from crestereo.alignment import SwapFinding, detect_swap, find_bars
from crestereo.app.images import check_same_size
from crestereo.app.script import say
from crestereo.app.settings import AUTO, OFF, TwoVideosSettings, UnifiedVideoSettings
from crestereo.app.sources import Kind, Source
from crestereo.app.video import MAX_FAILURES_OF_STREAM, Frame, Video, open_video
from crestereo.errors import SourceError
from crestereo.layouts import Layout, LayoutFinding, detect_layout, parse_layout, split_frame
from crestereo.preprocess import resize_image
from crestereo.sync import (
    Signals,
    at_constant_rate,
    motion_signals,
    offset_of_signals,
    pairs_to_verify,
    verified,
)
from crestereo.types import BGRImage, StereoPair

_MIN_WIDTH_PX = 64
_SIDE_BY_SIDE = Layout()


class PairStream(Protocol):
    """Give the pairs of a video one after the other."""

    name: str
    live: bool

    @property
    def first(self) -> StereoPair:
        """Return the first pair."""

    @property
    def fps(self) -> float:
        """Return the pairs per second."""

    @property
    def count(self) -> int | None:
        """Return how many pairs will come, as far as is known."""

    def __iter__(self) -> Iterator[StereoPair]:
        """Yield the pairs, in any one thread; the videos are let go at the end."""

    def remarks(self) -> list[str]:
        """Return what went wrong on the way so far, a sentence each."""


class TwoVideos:
    """Pair the frames of a left and a right video by their time.

    Parameters
    ----------
    left, right : Video
        Of the same size.
    name : str
        For messages and file names.
    offset_s : float
        How much later the right video was started [s]: its frame of time t belongs to the left
        one's of t + offset.

    Raises
    ------
    SourceError
        When the sizes differ, or no frame has a partner at this offset.

    Notes
    -----
    Frames go together when their times differ by less than half a frame. So one that could not be
    decoded costs its partner and nothing else, and rates may differ.
    """

    def __init__(self, left: Video, right: Video, name: str, *, offset_s: float = 0.0) -> None:
        check_same_size(left.size, right.size)
        self.name = name
        self.live = left.live or right.live
        self._left, self._right = left, right
        self._offset_s = offset_s
        self._endings: list[str] = []
        if self.count == 0:
            raise SourceError(
                f"{left.name} and {right.name} share no moment when the right one is moved by "
                f"{-offset_s * right.fps:.0f} frames; give a smaller --sync-offset"
            )

    @property
    def first(self) -> StereoPair:
        return StereoPair(self._left.first, self._right.first, self.name)

    @property
    def fps(self) -> float:
        return min(self._left.fps, self._right.fps)

    @property
    def count(self) -> int | None:
        if self._left.count is None or self._right.count is None:
            return None
        end_s = min(
            self._left.count / self._left.fps, self._right.count / self._right.fps + self._offset_s
        )
        shared_s = end_s - max(self._offset_s, 0.0)
        return max(int(shared_s * self.fps + 0.5), 0)

    def __iter__(self) -> Iterator[StereoPair]:
        try:
            yield from self._live_pairs() if self.live else self._timed_pairs()
        finally:
            self._left.close()
            self._right.close()

    def remarks(self) -> list[str]:
        found = (remark for video in (self._left, self._right) for remark in _remarks(video))
        return [*found, *self._endings]

    def _timed_pairs(self) -> Iterator[StereoPair]:
        lefts, rights = self._left.frames(), self._right.frames()
        tolerance_s = 0.51 / max(self._left.fps, self._right.fps)
        left, right = next(lefts, None), next(rights, None)
        while left is not None and right is not None:
            lag_s = right.time_s + self._offset_s - left.time_s
            if abs(lag_s) <= tolerance_s:
                yield StereoPair(left.image, right.image, self.name, left.time_s)
            if lag_s >= -tolerance_s:
                left = next(lefts, None)
            if lag_s <= tolerance_s:
                right = next(rights, None)
        self._note_end(left, right)

    def _note_end(self, left: Frame | None, right: Frame | None) -> None:
        if (left is None) == (right is None):
            return
        shorter, longer = ("left", "right") if left is None else ("right", "left")
        self._endings = [
            f"the {shorter} video is shorter: stopped where it ends, the rest of the {longer} one "
            "was not used"
        ]

    def _live_pairs(self) -> Iterator[StereoPair]:
        yield self.first
        videos = self._left, self._right
        failures = [0, 0]  # in a row
        while max(failures) < MAX_FAILURES_OF_STREAM:
            grabbed = [video.grab() for video in videos]  # both first: nearer to the same moment
            images = [v.retrieve() if g else None for v, g in zip(videos, grabbed, strict=True)]
            failures = [n + 1 if i is None else 0 for n, i in zip(failures, images, strict=True)]
            left, right = images
            if left is not None and right is not None:
                yield StereoPair(left, right, self.name)  # whoever writes it has the clock
        lost = (v for v, n in zip(videos, failures, strict=True) if n == MAX_FAILURES_OF_STREAM)
        self._endings = [_lost(video) for video in lost]


class OneVideo:
    """Take the halves of one video's frames as left and right.

    Parameters
    ----------
    video : Video
        Left eye in the left or upper half.
    name : str
        For messages and file names.
    swap : bool
        The left eye is in the other half.
    layout : Layout
        Where the halves are; side by side in full size by default.

    Raises
    ------
    SourceError
        When the frames are too small to hold two pictures.
    """

    def __init__(
        self, video: Video, name: str, *, swap: bool = False, layout: Layout = _SIDE_BY_SIDE
    ) -> None:
        if not layout.stacked and video.size[0] < 2 * _MIN_WIDTH_PX:
            raise SourceError(
                f"{video.name} is {video.size[0]} px wide, too small for two pictures side by side"
            )
        self.name = name
        self.live = video.live
        self._video = video
        self._swap = swap
        self._layout = layout
        self._endings: list[str] = []

    @property
    def first(self) -> StereoPair:
        return self._split(self._video.first, 0.0)

    @property
    def fps(self) -> float:
        return self._video.fps

    @property
    def count(self) -> int | None:
        return self._video.count

    def __iter__(self) -> Iterator[StereoPair]:
        try:
            for frame in self._video.frames():
                yield self._split(frame.image, frame.time_s)
            if self.live:
                self._endings = [_lost(self._video)]
        finally:
            self._video.close()

    def remarks(self) -> list[str]:
        return [*_remarks(self._video), *self._endings]

    def _split(self, frame: BGRImage, time_s: float) -> StereoPair:
        pair = StereoPair(*split_frame(frame, self._layout), self.name, time_s)
        return pair.exchanged() if self._swap else pair


def _lost(video: Video) -> str:
    return f"{video.name} gives no more frames: stopped there"


def _remarks(video: Video) -> list[str]:
    found = []
    if video.skipped == 1:
        found.append(f"1 frame of {video.name} could not be decoded and was left out")
    elif video.skipped:
        found.append(
            f"{video.skipped} frames of {video.name} could not be decoded and were left out"
        )
    if video.late_s:
        found.append(
            f"the first {video.late_s:.1f} s of {video.name} could not be decoded and were left out"
        )
    if video.count is None:
        return found
    came = video.count - video.missing
    if video.missing and video.counted:
        found.append(
            f"{video.name} ended after {came} of the {video.count} frames "
            "its header tells of: cut off, or trimmed"
        )
    elif video.missing > video.fps:  # by a second
        found.append(
            f"{video.name} ended after {came / video.fps:.1f} of {video.count / video.fps:.1f} s: "
            "cut off, or its sound is longer"
        )
    return found


LOOKED_AT_FRAMES = 96  # of the beginning of a video
LOOKED_AT_EVERY = 16
JUDGED_PAIRS = 3  # whose order is judged
SYNC_SECONDS = 10.0
SYNC_SIDE_PX = 480
_END = Frame(np.empty((0, 0, 3), np.uint8), math.inf)  # what follows the last frame


def beginning_of(source: Source) -> list[BGRImage]:
    """Return frames spread over the beginning of a video file; none of a camera or address."""
    if source.kind is not Kind.FILE:
        return []
    video = open_video(source, 0)
    try:
        return [f.image for f in islice(video.frames(), 0, LOOKED_AT_FRAMES, LOOKED_AT_EVERY)]
    finally:
        video.close()


def beginning_of_two(left: Source, right: Source, offset_s: float) -> list[StereoPair]:
    """Return pairs spread over the beginning of two video files; none where one is no file."""
    if left.kind is not Kind.FILE or right.kind is not Kind.FILE:
        return []
    videos = open_video(left, 0), open_video(right, 0)
    stream = TwoVideos(*videos, left.stem, offset_s=offset_s)  # it closes them
    pairs = iter(stream)
    return list(islice(pairs, 0, LOOKED_AT_FRAMES, LOOKED_AT_EVERY))


def with_order(pairs: Sequence[StereoPair], swap: bool) -> list[StereoPair]:
    """Return the pairs with their eyes exchanged where `swap` says so."""
    if not swap:
        return list(pairs)
    return [pair.exchanged() for pair in pairs]


def choose_layout(
    source: Source, video: Video, settings: UnifiedVideoSettings
) -> tuple[Layout, list[StereoPair], bool | None]:
    """Return the layout of a video, some of its pairs, and whether its eyes are swapped.

    Returns
    -------
    layout : Layout
        Never with the right eye first: that is the third value.
    pairs : list of StereoPair
        Cut with this layout.
    swap : bool or None
        What name, layout or content tell; None where nothing does.
    """
    frames = beginning_of(source) or [video.first]
    if settings.layout == AUTO:
        found = detect_layout(_file_name(source), video.title, frames)
        say(str(found))
    else:
        found = LayoutFinding(parse_layout(settings.layout), 1.0, "as set")
    layout = Layout(found.layout.stacked, found.layout.half)
    pairs = [StereoPair(*split_frame(frame, layout), source.stem) for frame in frames]
    swap = settings.swap
    if swap is None and (found.order_known or found.layout.right_first):
        swap = found.layout.right_first
        say(f"the name says: {'right' if swap else 'left'} eye first")
    elif swap is None:
        finding = _order_of(pairs)
        say(str(finding))
        swap = finding.swapped
    return layout, pairs, swap


def _file_name(source: Source) -> str:
    """Return the name that may tell a layout: of an address the path, its query is chance."""
    if source.kind is Kind.FILE:
        return source.text
    return "" if source.kind is Kind.CAMERA else unquote(urlsplit(source.text).path)


def choose_offset_s(
    sources: tuple[Source, Source],
    videos: tuple[Video, Video],
    settings: TwoVideosSettings,
) -> float:
    """Return by how many seconds the right video was started later than the left one."""
    rates = (videos[0].fps, videos[1].fps)
    if settings.sync_frames is not None:
        return -settings.sync_frames / rates[1]
    if settings.sync == OFF or any(source.kind is not Kind.FILE for source in sources):
        return 0.0
    say("looking how the two videos belong together in time")
    left, right = (_motion_of(source, rate) for source, rate in zip(sources, rates, strict=True))
    finding = offset_of_signals(left, right, *rates)
    places = pairs_to_verify(finding, (len(left) + 1, len(right) + 1), rates[1] / rates[0])
    of_left, of_right = (
        _images_at([pair[side] / rates[side] for pair in places], _small_frames(sources[side]))
        for side in (0, 1)
    )
    finding = verified(finding, zip(of_left, of_right, strict=True))
    say(str(finding))
    if not finding.believed:
        return 0.0
    # Measured from the first frames that can be decoded, which may be late in their files.
    late_s = videos[0].late_s - videos[1].late_s
    return late_s - round(finding.offset_frames) / rates[1]


def _motion_of(source: Source, rate: float) -> Signals:
    """Return what moves in the first seconds, at a constant rate: phones do not keep theirs."""
    times_s: list[float] = []

    def images() -> Iterator[BGRImage]:
        for frame in _small_frames(source):
            times_s.append(frame.time_s)
            yield frame.image

    return at_constant_rate(motion_signals(images()), times_s, rate)


def _small_frames(source: Source) -> Iterator[Frame]:
    """Yield every frame of the first seconds that can be decoded, small, the first at time zero."""
    video = open_video(source, 0)
    try:
        end_s = video.late_s + SYNC_SECONDS
        for frame in takewhile(lambda frame: frame.time_s < end_s, video.frames()):
            height, width = frame.image.shape[:2]
            scale = min(1.0, SYNC_SIDE_PX / max(height, width))
            shape = (max(1, round(height * scale)), max(1, round(width * scale)))
            yield Frame(resize_image(frame.image, shape), frame.time_s - video.late_s)
    finally:
        video.close()


def _images_at(times_s: Sequence[float], frames: Iterator[Frame]) -> list[BGRImage]:
    """Return the picture that is to be seen at each of some rising times; read no further."""
    found: list[BGRImage] = []
    for shown, following in pairwise(chain(frames, [_END])):
        half_way_s = (shown.time_s + following.time_s) / 2  # from there on the next one is nearer
        while len(found) < len(times_s) and times_s[len(found)] <= half_way_s:
            found.append(shown.image)
        if len(found) == len(times_s):
            break
    return found


def _order_of(pairs: Sequence[StereoPair]) -> SwapFinding:
    """Return the surest of the findings, unless they contradict one another."""
    bars = find_bars([pair.left for pair in pairs], [pair.right for pair in pairs])
    step = max(1, len(pairs) // JUDGED_PAIRS)
    findings = [
        detect_swap(bars.crop(pair.left), bars.crop(pair.right))
        for pair in list(pairs)[::step][:JUDGED_PAIRS]
    ]
    answers = [finding for finding in findings if finding.swapped is not None]
    if len({finding.swapped for finding in answers}) != 1:
        return SwapFinding(None, 0.5)
    return max(answers, key=lambda finding: finding.confidence)
