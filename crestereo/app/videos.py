"""Frames of an open video, each with its time; the broken ones are left out and counted."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import urlsplit

import cv2
import numpy as np

from crestereo.app.sources import Kind
from crestereo.errors import SourceError
from crestereo.types import BGRImage

_USUAL_FPS = 25.0
_MAX_FPS = 480.0  # above it stands a time base that some containers report as a rate
_LATE_FRAMES = 2.5
_COUNTING = (".mp4", ".m4v", ".mov", ".avi")  # Matroska and streams do not
_MAX_FAILURES = 100  # frames in a row that cannot be decoded, before a file counts as over
MAX_FAILURES_OF_STREAM = 3
"""Frames in a row that a live source may fail to give; each may take the whole deadline."""


@dataclass(frozen=True)
class Frame:
    """Hold one frame and when it is to be seen, in seconds from the first one."""

    image: BGRImage
    time_s: float


class Video:
    """Read frames one after the other; make it with `openers.open_video`.

    Parameters
    ----------
    name : str
        For messages.
    capture : cv2.VideoCapture
        Open.
    kind : Kind
        A camera or stream is live: what was not read in time is gone. So is a web address whose
        header tells no number of frames, such as that of an HTTP camera.
    title : str
        What a site calls it; empty elsewhere.

    Attributes
    ----------
    first : (H, W, 3) uint8
        The first frame.
    fps : float
        Frames per second, 25 where the video does not tell.
    count : int or None
        Frames the header tells of.
    skipped : int
        Frames that could not be decoded between others, up to where `frames` is.
    missing : int
        Frames at the end that the header tells of and that did not come.
    counted : bool
        The header counts frames; others tell a length only, which may be that of the sound.
    late_s : float
        How much of the beginning could not be decoded.

    Raises
    ------
    SourceError
        When there is no frame.
    """

    def __init__(self, name: str, capture: cv2.VideoCapture, kind: Kind, title: str = "") -> None:
        self.name = name
        self.title = title
        self._capture = capture
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        endless = kind is Kind.WEB and not count > 0
        self.live = endless or kind in (Kind.CAMERA, Kind.STREAM)
        self._patience = _MAX_FAILURES if kind is Kind.FILE else MAX_FAILURES_OF_STREAM
        fps = capture.get(cv2.CAP_PROP_FPS)
        told = math.isfinite(fps) and 0 < fps <= _MAX_FPS
        self.fps = fps if told else _USUAL_FPS
        known = told and not self.live and math.isfinite(count) and count > 0
        self.count = int(count) if known else None
        path = name if kind is Kind.FILE else urlsplit(name).path
        self.counted = PurePath(path).suffix.lower() in _COUNTING
        self.skipped = 0
        self.missing = 0
        self._delivered = 0
        first = self._next_image()
        if first is None:
            raise SourceError(f"no frame of {name} can be decoded; convert it to H.264 in .mp4")
        self.first: BGRImage = first
        begin_s = self._position_s()
        # Some files start at a time of their own, by a frame or two; far beyond, what came before
        # could not be decoded.
        self.late_s = begin_s if not self.live and begin_s > _LATE_FRAMES / self.fps else 0.0
        self._start_s = begin_s - self.late_s

    @property
    def size(self) -> tuple[int, int]:
        """Return (width, height) [px]."""
        return self.first.shape[1], self.first.shape[0]

    def frames(self) -> Iterator[Frame]:
        """Yield every frame that can be decoded, the first one included."""
        image: BGRImage | None = self.first
        time_s, step_s = self.late_s, 1 / self.fps
        while image is not None:
            yield Frame(image, time_s)
            failed_before = self.skipped
            image = self._next_image()
            position_s = self._position_s() - self._start_s
            # Some streams tell no time, or one that stands still.
            counted_s = time_s + step_s * (1 + self.skipped - failed_before)
            time_s = position_s if position_s > time_s else counted_s

    def grab(self) -> bool:
        """Take the next frame from a camera without decoding it."""
        return self._capture.grab()

    def retrieve(self) -> BGRImage | None:
        """Decode what was grabbed, None where it is broken."""
        done, image = self._capture.retrieve()
        return _as_picture(image) if done else None

    def close(self) -> None:
        """Let the file or camera go."""
        self._capture.release()

    def _next_image(self) -> BGRImage | None:
        """Return the next frame that can be decoded, None at the end."""
        for failures in range(self._patience):
            done, image = self._capture.read()
            if done and image is not None:
                self.skipped += failures
                self._delivered += 1
                return _as_picture(image)
            if self.count is not None and self._delivered + self.skipped + failures >= self.count:
                break  # the header tells that this was the end
        if self.count is not None:  # the rest is cut off, broken, or trimmed and never to be seen
            missing = self.count - self._delivered - self.skipped - round(self.late_s * self.fps)
            self.missing = missing if missing > 1 else 0  # a header may count one too many
        return None

    def _position_s(self) -> float:
        if self.live:
            return time.monotonic()
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000


def _as_picture(image: object) -> BGRImage:
    """Return a frame as (H, W, 3) uint8; some cameras give grey ones."""
    picture = np.asarray(image, dtype=np.uint8)
    if picture.ndim == 2:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    return picture
