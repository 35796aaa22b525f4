"""Pairs of frames, from two videos or from the two halves of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from crestereo.app.pictures import check_same_size
from crestereo.app.videos import MAX_FAILURES_OF_STREAM, Frame, Video
from crestereo.errors import SourceError
from crestereo.layouts import Layout, split_frame
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
