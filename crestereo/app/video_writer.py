"""The video a run writes: kept however the run ends, and looked at before it gets its name."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from crestereo.app.pipeline import ClosedError
from crestereo.app.sources import Kind, Source
from crestereo.app.video import open_video
from crestereo.errors import SourceError, UsageError
from crestereo.formats import replacing
from crestereo.types import BGRImage

LONGEST_HOLD_S = 10.0
"""A longer gap between two frames is a pause of the user, or a clock that jumped: cut to this."""


class VideoFile:
    """Write frames to a video, which appears under its name when no more will come.

    A frame is repeated until the next one's time, and left out where the video is ahead by more
    than one, so that it plays as fast as things happened, also where a recording is uneven.

    Parameters
    ----------
    path : Path
        An ``.mp4`` file.
    fps : float
        Frames per second.
    live : bool
        Frames come when they come: the clock tells their time.
    clock : callable
        Tells the time [s].

    Attributes
    ----------
    saved : bool
        Whether the file lies under its name.
    """

    def __init__(
        self,
        path: Path,
        fps: float,
        *,
        live: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.saved = False
        self._path = path
        self._fps = fps
        self._live = live
        self._clock = clock
        self._writer = cv2.VideoWriter()
        self._lock = threading.Lock()  # a thread may still be adding when the block ends
        self._closed = False
        self._written = 0
        self._elapsed_s = 0.0
        self._last: tuple[BGRImage, float] | None = None  # a frame and its time

    @contextmanager
    def writing(self) -> Iterator[Callable[[BGRImage, float], None]]:
        """Lend a function that adds frames.

        Yields
        ------
        callable
            Takes one frame (H, W, 3) uint8 after the other, and its time [s] where the clock does
            not tell it; called from one thread. Raises ClosedError when the block has ended.

        Raises
        ------
        UsageError
            When the file cannot be written, or not to its end.
        SourceError
            When the block ended well and no frame came.
        BaseException
            What ended the block; the frames that were added by then are kept.
        """
        failure: BaseException | None = None
        with replacing(self._path) as temporary:
            try:
                yield lambda frame, time_s: self._add(frame, time_s, temporary)
            except BaseException as exc:  # noqa: BLE001  raised again once the file is whole
                failure = exc
            finally:
                with self._lock:
                    self._closed = True
                    self._writer.release()
            if not self._written:
                raise failure or SourceError(f"no frame came, so {self._path} was not written")
            self._check_whole(temporary)
        self.saved = True
        if failure is not None:
            raise failure

    def _add(self, frame: BGRImage, time_s: float, temporary: Path) -> None:
        now_s = self._clock() if self._live else time_s
        if self._last is not None:
            held, since_s = self._last
            self._elapsed_s += min(max(now_s - since_s, 0.0), LONGEST_HOLD_S)
            # The number of this frame, if none were missing. The uneven clock of a file must not
            # repeat a frame; a camera's is right.
            due = self._elapsed_s * self._fps
            for _ in range(self._written, round(due) if self._live else math.floor(due + 0.25)):
                self._write(held, temporary)
        self._last = frame, now_s
        if self._written <= self._elapsed_s * self._fps + 1:
            self._write(frame, temporary)

    def _write(self, frame: BGRImage, temporary: Path) -> None:
        height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2  # yuv420 halves both
        with self._lock:
            if self._closed:
                raise ClosedError
            if not self._writer.isOpened():
                code = cv2.VideoWriter.fourcc(*"mp4v")
                fps = round(self._fps, 2)  # MPEG-4 counts a second in at most 65,535 ticks
                if not self._writer.open(str(temporary), code, fps, (width, height)):
                    raise UsageError(f"OpenCV cannot write {self._path}; choose another place")
            self._writer.write(frame[:height, :width])
            self._written += 1

    def _check_whole(self, temporary: Path) -> None:
        """Raise UsageError where the file is not what was written: OpenCV says nothing of that."""
        try:
            video = open_video(Source(Kind.FILE, str(temporary)), 0)
            video.close()
            whole = video.count is None or video.count >= self._written
        except SourceError:
            whole = False
        if not whole:
            raise UsageError(
                f"cannot write {self._path} to its end: the disk is full, or the file may not "
                "grow so large; choose another place for the output"
            )
