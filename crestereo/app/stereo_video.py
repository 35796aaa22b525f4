"""Make stereo pairs of one or two videos; examine the beginning."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from urllib.parse import unquote, urlsplit

import numpy as np

from crestereo.alignment import Bars, SwapFinding, detect_swap, find_bars
from crestereo.app.align import advise
from crestereo.app.prompts import SWAP, ask_yes_no
from crestereo.app.script import say, warn
from crestereo.app.settings import AUTO, OFF, TwoVideosSettings, UnifiedVideoSettings, VideoSettings
from crestereo.app.sources import Kind, pair_name
from crestereo.app.video import Frame, Video, read_sound
from crestereo.errors import SourceError, UsageError
from crestereo.layouts import Layout, LayoutFinding, detect_layout, parse_layout, split_frame
from crestereo.preprocess import resize_image, same_aspect, turned_to
from crestereo.sync import SyncFinding, find_offset, sound_offset_s
from crestereo.types import BGRImage, StereoPair

EXAMINED_S = 60.0  # of a video, from which `EXAMINED_FRAMES` are taken
EXAMINED_FRAMES = 6
SEARCHED_FRAMES = 48  # of a whole video whose beginning is blank
BLANK_GREY = 6.0  # standard deviation of a frame
JUDGED_PAIRS = 3  # whose left/right order is judged
SYNC_S = 10.0
SYNC_SIDE_PX = 480
SOUND_HZ = 8000
_MIN_WIDTH_PX = 64
_SIDE_BY_SIDE = Layout()


class PairStream:
    """Pairs of a video, iterated once, in any one thread."""

    arrangement: str  # how the pairs are formed

    def __init__(self, name: str, *videos: Video) -> None:
        self.name = name  # in messages and file names
        self.videos: Sequence[Video] = videos
        self.live = any(video.live for video in videos)
        self.beginning: list[StereoPair] = []  # spread over it, where it was examined
        self._endings: list[str] = []

    @property
    def video(self) -> Video:
        """Return the video, the left one of two."""
        return self.videos[0]

    @property
    def first(self) -> StereoPair:
        """Return the first pair."""
        raise NotImplementedError

    @property
    def fps(self) -> float:
        """Return the pairs per second."""
        return min(video.fps for video in self.videos)

    @property
    def count(self) -> int | None:
        """Return the number of pairs, None where unknown."""
        return self.video.count

    def __iter__(self) -> Iterator[StereoPair]:
        return self.pairs()

    def pairs(self, begin_s: float = 0.0) -> Generator[StereoPair, None, None]:
        """Yield the pairs from a time of the left video on."""
        try:
            yield from self._pairs(begin_s)
        finally:
            for video in self.videos:
                video.close()

    def _pairs(self, begin_s: float) -> Iterator[StereoPair]:
        raise NotImplementedError

    def again(self) -> PairStream:
        """Return the same pairs of the videos opened once more."""
        stream = copy(self)
        stream.videos = [_reopened(video) for video in self.videos]
        return stream

    def remarks(self) -> list[str]:
        """Return what went wrong so far, a sentence each."""
        return [*(remark for video in self.videos for remark in _remarks(video)), *self._endings]


class TwoVideos(PairStream):
    """Simultaneous frames of two videos; the right one started `offset_s` later.

    Frames form a pair when their times differ by half a frame at most. So one that could not be
    decoded costs its partner and nothing else, and rates may differ.
    """

    def __init__(self, left: Video, right: Video, name: str, *, offset_s: float = 0.0) -> None:
        check_sizes(left, right)
        super().__init__(name, left, right)
        self._offset_s = offset_s
        self.arrangement = f"offset {offset_s:.4f} s"
        if self.count == 0:
            raise SourceError(
                f"{left.name} and {right.name} do not overlap in time at an offset of "
                f"{-offset_s * right.fps:.0f} frames; give a smaller --sync"
            )

    @property
    def first(self) -> StereoPair:
        left, right = self.videos
        return self._pair(left.first, right.first, 0.0)

    @property
    def count(self) -> int | None:
        left, right = self.videos
        if left.count is None or right.count is None:
            return None
        end_s = min(left.count / left.fps, right.count / right.fps + self._offset_s)
        return max(int((end_s - max(self._offset_s, 0.0)) * self.fps + 0.5), 0)

    def pairs_at(self, times_s: Sequence[float]) -> list[StereoPair]:
        """Return the pairs at some rising times of the left video."""
        left, right = self.videos
        lefts = left.frames_at(times_s)
        rights = right.frames_at([frame.time_s - self._offset_s for frame in lefts])
        return [self._pair(a.image, b.image, a.time_s) for a, b in zip(lefts, rights, strict=False)]

    def _pair(self, left: BGRImage, right: BGRImage, time_s: float) -> StereoPair:
        right = resize_image(turned_to(right, left.shape), left.shape[:2])
        return StereoPair(left, right, self.name, time_s)

    def _pairs(self, begin_s: float) -> Iterator[StereoPair]:
        return self._live_pairs() if self.live else self._timed_pairs(begin_s)

    def _timed_pairs(self, begin_s: float) -> Iterator[StereoPair]:
        fps = self.videos[1].fps
        lefts = self.videos[0].frames(begin_s)
        rights = self.videos[1].frames(max(begin_s - self._offset_s - 1 / fps, 0.0))
        tolerance_s = 0.51 / max(video.fps for video in self.videos)
        left, right = next(lefts, None), next(rights, None)
        while left is not None and right is not None:
            lag_s = right.time_s + self._offset_s - left.time_s
            if abs(lag_s) <= tolerance_s:
                yield self._pair(left.image, right.image, left.time_s)
            if lag_s >= -tolerance_s:
                left = next(lefts, None)
            if lag_s <= tolerance_s:
                right = next(rights, None)
        if (left is None) != (right is None):
            shorter, longer = ("left", "right") if left is None else ("right", "left")
            self._endings = [
                f"the {shorter} video is shorter: stopped at its end, the rest of the {longer} "
                "one was not used"
            ]

    def _live_pairs(self) -> Iterator[StereoPair]:
        lefts, rights = (video.frames() for video in self.videos)
        left, right = next(lefts, None), next(rights, None)
        while left is not None and right is not None:
            lag_s = right.time_s - left.time_s
            together = abs(lag_s) <= 1 / self.fps or not all(v.live for v in self.videos)
            if together:
                yield self._pair(left.image, right.image, min(left.time_s, right.time_s))
            if together or lag_s > 0:
                left = next(lefts, None)
            if together or lag_s < 0:
                right = next(rights, None)
        self._endings = [_ending(self.videos[0 if left is None else 1])]


class OneVideo(PairStream):
    """Pairs of the two views in the frames of one video.

    `swap`: the left view is in the right or lower half.
    """

    def __init__(
        self, video: Video, name: str, *, swap: bool = False, layout: Layout = _SIDE_BY_SIDE
    ) -> None:
        if not layout.stacked and video.size[0] < 2 * _MIN_WIDTH_PX:
            raise SourceError(
                f"{video.name} is {video.size[0]} px wide, too small for two views side by side"
            )
        super().__init__(name, video)
        self._swap, self._layout = swap, layout
        self.arrangement = f"{layout}, {'exchanged' if swap else 'in order'}"

    @property
    def first(self) -> StereoPair:
        return self.split(Frame(self.video.first, 0.0))

    def _pairs(self, begin_s: float) -> Iterator[StereoPair]:
        yield from map(self.split, self.video.frames(begin_s))
        if self.live:
            self._endings = [_ending(self.video)]

    def split(self, frame: Frame) -> StereoPair:
        """Return the pair of views in a frame."""
        pair = StereoPair(*split_frame(frame.image, self._layout), self.name, frame.time_s)
        return pair.exchanged() if self._swap else pair


@dataclass(frozen=True)
class Section:
    """Part of a video to estimate, without its first `skipped` pairs."""

    stream: PairStream
    start_s: float = 0.0
    end_s: float = math.inf
    every: int = 1
    skipped: int = 0

    @classmethod
    def of(cls, stream: PairStream, settings: VideoSettings) -> Section:
        """Return the section that is set, or raise SourceError."""
        start_s, end_s = settings.start or 0.0, settings.end
        video = stream.video
        if stream.live:
            if settings.resume or start_s or end_s is not None:
                raise UsageError(f"{video.name} is live: leave out --start, --end and --resume")
        elif video.count is not None and start_s >= video.count / video.fps:
            length_s = video.count / video.fps
            raise SourceError(
                f"{video.name} is {length_s:.1f} s long; give a --start before its end"
            )
        return cls(stream, start_s, math.inf if end_s is None else end_s, settings.every)

    @property
    def count(self) -> int | None:
        """Return the number of pairs, None where unknown."""
        count, fps = self.stream.count, self.stream.fps
        if count is None:
            return None
        # half a frame as in __iter__
        inside = math.ceil((min(self.end_s, count / fps) - self.start_s) * fps - 0.5)
        return max(-(-inside // self.every) - self.skipped, 0)

    def __iter__(self) -> Iterator[StereoPair]:
        pairs = self.stream.pairs(self.start_s)
        half_s = 0.5 / self.stream.fps
        try:
            chosen = islice(pairs, 0, None, self.every)
            yield from takewhile(
                lambda pair: pair.time_s < self.end_s - half_s or self.stream.live,
                islice(chosen, self.skipped, None),
            )
        finally:
            pairs.close()


def check_sizes(left: Video, right: Video) -> None:
    """Raise SourceError where two videos have different aspect ratios."""
    if not any(same_aspect(left.size, size) for size in (right.size, right.size[::-1])):
        (w1, h1), (w2, h2) = left.size, right.size
        raise SourceError(
            f"left is {w1}x{h1} px but right is {w2}x{h2} px; give two videos of one aspect ratio"
        )


def pair_videos(left: Video, right: Video, settings: TwoVideosSettings) -> TwoVideos:
    """Pair two videos by the offset that is set or estimated."""
    if not same_aspect(left.size, right.size):
        warn("the right video is turned by 90 degrees: turned back")  # upside down at most
    elif left.size != right.size:
        (w1, h1), (w2, h2) = left.size, right.size
        say(f"left is {w1}x{h1} px, right {w2}x{h2} px: the right one is resized")
    offset_s = _offset_s(left, right, settings)
    stream = TwoVideos(left, right, pair_name(left.source, right.source), offset_s=offset_s)
    if not stream.live:
        begin_s = max(offset_s, left.late_s, right.late_s + offset_s, 0.0)
        stream.beginning = stream.pairs_at(_examined_times(stream, begin_s, settings.start))
    return stream


def split_video(video: Video, settings: UnifiedVideoSettings) -> OneVideo:
    """Find the views of a video; ask for their order."""
    frames = _examined_frames(video, settings.start)
    found = _layout_of(video, [frame.image for frame in frames], settings.layout)
    layout = Layout(found.layout.stacked, found.layout.half)
    stream = OneVideo(video, video.source.stem, layout=layout)
    swap = settings.swap
    if swap is None:
        swap = ask_yes_no(SWAP, default=_order(found, [stream.split(frame) for frame in frames]))
    stream = OneVideo(video, video.source.stem, swap=swap, layout=layout)
    if not video.live:
        stream.beginning = [stream.split(frame) for frame in frames]
    return stream


def _layout_of(video: Video, images: Sequence[BGRImage], layout: str) -> LayoutFinding:
    """Return the layout that is set or detected, or raise SourceError."""
    if layout != AUTO:
        return LayoutFinding(parse_layout(layout), 1.0, "as set")
    usual = LayoutFinding(_SIDE_BY_SIDE, 0.0, "could not be checked, default used")
    name, aspect = _file_name(video), video.pixel_aspect
    found = advise(
        "layout", lambda: detect_layout(name, video.tags, images, pixel_aspect=aspect), usual
    )
    if not found.has_views:
        raise SourceError(
            f"{video.name}: {found.reason}; it is 2-D, anaglyph or interlaced, or --layout "
            f"{_SIDE_BY_SIDE.name} or another one has to state where the views are"
        )
    text = str(found)
    if found.alternative:
        size = "half" if found.layout.half else "full"
        text += f"; {size} views assumed, --layout {found.alternative.name} changes it"
    say(text)
    return found


def _examined_frames(video: Video, start_s: float | None) -> list[Frame]:
    """Return frames of the beginning, of all where they are blank."""
    frames = video.frames_at(_examined_times(video, video.late_s, start_s))
    shown = [frame for frame in frames if not _is_blank(frame)]
    if len(shown) <= len(frames) // 2 and video.count is not None and not video.live:
        begin_s, end_s = max(video.late_s, start_s or 0.0), video.count / video.fps
        times = np.linspace(begin_s, end_s, SEARCHED_FRAMES, endpoint=False)
        spread = [frame for frame in video.frames_at(list(times)) if not _is_blank(frame)]
        shown = spread[:: -(-len(spread) // EXAMINED_FRAMES) or 1] or shown
    return shown or frames or [Frame(video.first, 0.0)]


def _is_blank(frame: Frame) -> bool:
    return float(np.std(frame.image)) < BLANK_GREY


def _examined_times(video: Video | TwoVideos, begin_s: float, start_s: float | None) -> list[float]:
    start_s = start_s or 0.0
    begin_s = max(begin_s, start_s)
    length_s = EXAMINED_S if video.count is None else video.count / video.fps
    end_s = begin_s + min(EXAMINED_S, max(length_s - start_s, 0.0))
    return list(np.linspace(begin_s, end_s, EXAMINED_FRAMES, endpoint=False))


def _order(found: LayoutFinding, pairs: Sequence[StereoPair]) -> bool:
    """Return whether the right view comes first, by name or content."""
    if found.order_known or found.layout.right_first:
        say(f"order: {'right' if found.layout.right_first else 'left'} view first ({found.reason})")
        return found.layout.right_first
    finding = advise("left/right order", lambda: _order_of(pairs), SwapFinding(None, 0.5))
    say(str(finding))
    return bool(finding.swapped)


def _order_of(pairs: Sequence[StereoPair]) -> SwapFinding:
    """Return the surest of the findings, unless they contradict one another."""
    bars: Bars = find_bars([pair.left for pair in pairs], [pair.right for pair in pairs])
    step = max(1, len(pairs) // JUDGED_PAIRS)
    findings = [
        detect_swap(bars.crop(pair.left), bars.crop(pair.right))
        for pair in list(pairs)[::step][:JUDGED_PAIRS]
    ]
    answers = [finding for finding in findings if finding.swapped is not None]
    if len({finding.swapped for finding in answers}) != 1:
        return SwapFinding(None, 0.5)
    return max(answers, key=lambda finding: finding.confidence)


def _file_name(video: Video) -> str:
    """Return the name that may state a layout, without a query."""
    source = video.source
    if source.kind is Kind.FILE:
        return source.text
    return "" if source.kind is Kind.CAMERA else unquote(urlsplit(source.text).path)


def _offset_s(left: Video, right: Video, settings: TwoVideosSettings) -> float:
    """Return how much later the right video was started [s]."""
    if settings.sync_frames is not None:
        return -settings.sync_frames / right.fps
    if settings.sync == OFF or left.live or right.live:
        return 0.0
    say("estimating the time offset of the two videos")
    frames = _small_frames(left), _small_frames(right)
    finding = advise("sync", lambda: find_offset(*frames), SyncFinding())
    heard_s = advise("sound", lambda: _sound_offset_s(left, right), math.nan)
    say(str(replace(finding, sound_frames=heard_s * right.fps)))
    return -finding.offset_s


def _sound_offset_s(left: Video, right: Video) -> float:
    sounds = [read_sound(video, SOUND_HZ, SYNC_S) for video in (left, right)]
    return sound_offset_s(sounds[0], sounds[1], SOUND_HZ)


def _small_frames(video: Video) -> list[Frame]:
    """Return the frames of the first seconds that can be decoded, small."""
    end_s = video.late_s + SYNC_S
    height, width = video.first.shape[:2]
    scale = min(1.0, SYNC_SIDE_PX / max(height, width))
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    return [
        Frame(resize_image(frame.image, shape), frame.time_s)
        for frame in takewhile(lambda frame: frame.time_s < end_s, video.frames())
    ]


def _ending(video: Video) -> str:
    return f"{video.name} gives no more frames: stopped there"


def _reopened(video: Video) -> Video:
    if video.reopen is None:
        raise SourceError(f"{video.name} can be read only once")
    return video.reopen()


def _remarks(video: Video) -> list[str]:
    found = []
    if video.skipped:
        frames = "1 frame" if video.skipped == 1 else f"{video.skipped} frames"
        was = "was" if video.skipped == 1 else "were"
        found.append(f"{frames} of {video.name} could not be decoded and {was} left out")
    if video.late_s:
        found.append(f"the first {video.late_s:.1f} s of {video.name} could not be decoded")
    if video.count is not None and video.missing > (1 if video.counted else video.fps):
        found.append(
            f"{video.name} ended after {(video.count - video.missing) / video.fps:.1f} of "
            f"{video.count / video.fps:.1f} s: cut off or trimmed, or its sound is longer"
        )
    return found
