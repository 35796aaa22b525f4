"""Videos from files, addresses, sites and cameras: frames with their time, broken ones counted."""

from __future__ import annotations

import math
import os
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import cv2
import numpy as np

from crestereo.app.deadline import DeadlineError, call_within
from crestereo.app.http_client import Patience, open_url
from crestereo.app.sites import SiteStream, find_streams, open_as_cap_from_youtube_does
from crestereo.app.sources import Kind, Source
from crestereo.errors import SourceError
from crestereo.types import BGRImage

DEADLINE_S = 15.0
_SITE_DEADLINE_S = 60.0
_USUAL_FPS = 25.0
_MAX_FPS = 480.0  # above it stands a time base that some containers report as a rate
_MAX_FAILURES = 100  # frames in a row that cannot be decoded, before a file counts as over
_MAX_FAILURES_OF_STREAM = 3  # each may take the whole deadline
_VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".ogv", ".m3u8")
)


@dataclass(frozen=True)
class Frame:
    """Hold one frame and when it is to be seen, in seconds from the first one."""

    image: BGRImage
    time_s: float


class Video:
    """Read frames one after the other; make it with `open_video`.

    Parameters
    ----------
    name : str
        For messages.
    capture : cv2.VideoCapture
        Open.
    kind : Kind
        A camera or stream is live: what was not read in time is gone.

    Attributes
    ----------
    first : (H, W, 3) uint8
        The first frame.
    fps : float
        Frames per second, 25 where the video does not tell.
    count : int or None
        Frames the header tells of.
    skipped : int
        Frames that could not be decoded, up to where `frames` is.

    Raises
    ------
    SourceError
        When there is no frame.
    """

    def __init__(self, name: str, capture: cv2.VideoCapture, kind: Kind) -> None:
        self.name = name
        self._capture = capture
        self.live = kind in (Kind.CAMERA, Kind.STREAM)
        self._patience = _MAX_FAILURES if kind is Kind.FILE else _MAX_FAILURES_OF_STREAM
        fps = capture.get(cv2.CAP_PROP_FPS)
        told = math.isfinite(fps) and 0 < fps <= _MAX_FPS
        self.fps = fps if told else _USUAL_FPS
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        known = told and not self.live and math.isfinite(count) and count > 0
        self.count = int(count) if known else None
        self.skipped = 0
        self._delivered = 0
        first = self._next_image()
        if first is None:
            raise SourceError(f"no frame of {name} can be decoded; convert it to H.264 in .mp4")
        self.first: BGRImage = first
        self._start_s = self._position_s()

    @property
    def size(self) -> tuple[int, int]:
        """Return (width, height) [px]."""
        return self.first.shape[1], self.first.shape[0]

    def frames(self) -> Iterator[Frame]:
        """Yield every frame that can be decoded, the first one included."""
        image: BGRImage | None = self.first
        time_s, step_s = 0.0, 1 / self.fps
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
        if self.count is not None:  # decoders drop broken frames at the end without a word
            missing = self.count - self._delivered - self.skipped
            self.skipped += missing if missing > 1 else 0  # a header may count one too many
        return None

    def _position_s(self) -> float:
        if self.live:
            return time.monotonic()
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000


def open_video(source: Source, target_height: int) -> Video:
    """Open a video and read its first frame.

    Parameters
    ----------
    source : Source
        What `sources.parse_video` returned.
    target_height : int
        Where a site offers several sizes, the one near this height [px] is taken.

    Raises
    ------
    SourceError
        When it cannot be opened; the message names the source and says why.
    """
    name = str(source)
    if source.kind is Kind.CAMERA:
        number = int(source.text)
        return _opened(source, lambda: cv2.VideoCapture(number), "is it connected and free?")
    if source.kind is Kind.FILE:
        return _opened(source, lambda: cv2.VideoCapture(name), "is it a video, and complete?")
    if source.kind is Kind.STREAM or _is_video_file(name):
        return _opened(source, lambda: open_address(name), "check the address and the network")
    return _open_site(source, target_height)


def open_address(url: str, headers: Mapping[str, str] | None = None) -> cv2.VideoCapture:
    """Open an address through FFmpeg, with deadlines for opening and for every frame."""
    patience_ms = int(DEADLINE_S * 1000)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, patience_ms]
    limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, patience_ms]
    with _ffmpeg_headers(headers or {}):
        return cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)


def _opened(
    source: Source,
    open_it: Callable[[], cv2.VideoCapture],
    advice: str,
    deadline_s: float = 2 * DEADLINE_S,
) -> Video:
    """Return an open video, or raise SourceError with a hint what to look at."""

    def attempt() -> Video:
        capture = open_it()
        if not capture.isOpened():
            raise SourceError(f"OpenCV cannot open {source}; {advice}")
        return Video(str(source), capture, source.kind)

    try:
        return call_within(deadline_s, attempt)
    except DeadlineError as exc:
        raise SourceError(f"{source} gave no frame within {deadline_s:g} s; {advice}") from exc
    except cv2.error as exc:
        raise SourceError(f"OpenCV cannot open {source}: {exc.err}; {advice}") from exc


def _is_video_file(url: str) -> bool:
    """Return whether an address is a video itself, or raise SourceError when it is not there."""
    if PurePosixPath(urlsplit(url).path).suffix.lower() in _VIDEO_SUFFIXES:
        return _content_type(url, needed=True) != "text/html"
    kind = _content_type(url, needed=False)
    return kind.startswith("video/") or "mpegurl" in kind


def _content_type(url: str, *, needed: bool) -> str:
    """Return the type a server tells; sites may turn us away, the address of a file must not."""
    headers = {"User-Agent": "Mozilla/5.0 (compatible; crestereo)"}
    try:
        with open_url(url, headers, Patience(DEADLINE_S, DEADLINE_S)) as response:
            return str(response.headers.get_content_type())
    except urllib.error.HTTPError as exc:
        with exc:
            if needed:
                raise SourceError(
                    f"{url} answers {exc.code} {exc.reason}; check the address"
                ) from exc
            return ""
    except (OSError, HTTPException, ValueError) as exc:
        reason = getattr(exc, "reason", None) or exc
        raise SourceError(
            f"cannot load {url}: {reason}; check the address and the network"
        ) from exc


def _open_site(source: Source, target_height: int) -> Video:
    """Open the best stream of a site that opens at all."""
    advice = "download the video with yt-dlp and give its path"
    try:
        streams = call_within(_SITE_DEADLINE_S, lambda: find_streams(source.text, target_height))
    except DeadlineError as exc:
        raise SourceError(
            f"{source} was not found within {_SITE_DEADLINE_S:g} s; {advice}"
        ) from exc
    for stream in streams:
        try:
            return _opened(source, _opener(stream), advice)
        except SourceError:  # the next one may be of a kind that this OpenCV knows
            continue
    return _opened(
        source, lambda: open_as_cap_from_youtube_does(source.text), advice, _SITE_DEADLINE_S
    )


def _opener(stream: SiteStream) -> Callable[[], cv2.VideoCapture]:
    return lambda: open_address(stream.url, stream.headers)


@contextmanager
def _ffmpeg_headers(headers: Mapping[str, str]) -> Iterator[None]:
    """Let FFmpeg send what a site expects; OpenCV takes it from the environment only."""
    variable = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    names = {"User-Agent": "user_agent", "Referer": "referer"}
    told = [f"{names[key]};{value}" for key, value in headers.items() if key in names]
    before = os.environ.get(variable)
    if not told or before is not None:  # what the user has set stays
        yield
        return
    os.environ[variable] = "|".join(told)
    try:
        yield
    finally:
        del os.environ[variable]


def _as_picture(image: object) -> BGRImage:
    """Return a frame as (H, W, 3) uint8; some cameras give grey ones."""
    picture = np.asarray(image, dtype=np.uint8)
    if picture.ndim == 2:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    return picture
