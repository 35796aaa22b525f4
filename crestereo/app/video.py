"""Open videos: files, cameras, streams, addresses of videos, and pages of sites."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import cv2
import numpy as np

from crestereo.app import http
from crestereo.app.sources import Kind, Source
from crestereo.errors import SourceError
from crestereo.types import BGRImage

if TYPE_CHECKING:
    import cv2


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


Result = TypeVar("Result")

_LOOK_EVERY_S = 0.05


class DeadlineError(Exception):
    """Say that a call did not return in time; translated where it was made."""


def call_within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return what `call` returns, unless it takes longer than `seconds`.

    Parameters
    ----------
    seconds : float
        Wall time given [s].
    call : callable
        Runs in a daemon thread of its own, which is left to itself when the time is over. The
        caller stays open to Ctrl-C.

    Returns
    -------
    object
        What the call returned.

    Raises
    ------
    DeadlineError
        When the time is over.
    Exception
        What the call raised.
    """
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as exc:  # noqa: BLE001  raised again in the caller's thread
            failures.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    end = time.monotonic() + seconds
    while thread.is_alive():
        left = end - time.monotonic()
        if left <= 0:
            raise DeadlineError(f"no answer within {seconds:g} s")
        thread.join(min(left, _LOOK_EVERY_S))
    if failures:
        raise failures[0]
    return results[0]


_SOCKET_TIMEOUT_S = 15
_MAX_TRIES = 3


@dataclass(frozen=True)
class SiteStream:
    """Name one stream of a site: its address, the headers its server expects, the video's title."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    title: str = ""


def rank_streams(
    formats: Iterable[Mapping[str, Any]], target_height: int
) -> list[Mapping[str, Any]]:
    """Order the streams of a video, the one to play first.

    Parameters
    ----------
    formats : iterable of mapping
        As yt-dlp lists them: ``url``, ``vcodec``, ``protocol``, ``height``, ``tbr``.
    target_height : int
        Wanted height [px]: the smallest that reaches it is best, then the largest below.

    Returns
    -------
    list of mapping
        Those with a picture. AV1, and streams in pieces such as HLS, come last, because OpenCV's
        FFmpeg often cannot play them; of the others H.264 comes first.
    """

    def order(stream: Mapping[str, Any]) -> tuple[bool, bool, bool, int, float]:
        codec = str(stream.get("vcodec") or "").lower()
        height = int(stream.get("height") or 0)
        awkward = codec.startswith(("av01", "av1")) or not _in_one_piece(stream)
        return (
            awkward,
            not codec.startswith(("avc", "h264")),
            height < target_height,
            abs(height - target_height),
            -float(stream.get("tbr") or 0),
        )

    playable = [s for s in formats if s.get("url") and s.get("vcodec") != "none"]
    return sorted((s for s in playable if not _is_storyboard(s)), key=order)


def find_streams(url: str, target_height: int) -> list[SiteStream]:
    """Ask yt-dlp for a video's streams and return the best few, the first to be tried first.

    Raises
    ------
    SourceError
        When yt-dlp finds no video there.
    """
    import yt_dlp  # noqa: PLC0415  heavy, and needed for sites only

    options = {
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "no_color",
        "noplaylist": True,
        "socket_timeout": _SOCKET_TIMEOUT_S,
        "retries": 1,
        "extractor_retries": 1,
        "logger": _Silent(),
        "format": "all/bestvideo*",
    }
    try:
        with yt_dlp.YoutubeDL(options) as downloader:
            info = downloader.extract_info(url, download=False) or {}
    except yt_dlp.utils.YoutubeDLError as exc:
        reason = re.sub(r"^ERROR:\s*(\[[^]]*\]\s*)?", "", " ".join(str(exc).split()))
        raise SourceError(f"yt-dlp finds no video at {url}: {reason[:200]}") from exc
    if "entries" in info:
        raise SourceError(f"{url} is a list of videos; give the address of one")
    formats = info.get("formats") or [info]
    streams = rank_streams(formats, target_height)[:_MAX_TRIES]
    if not streams:
        raise SourceError(f"yt-dlp finds no stream with a picture at {url}")
    title = str(info.get("title") or "")
    return [SiteStream(str(s["url"]), s.get("http_headers") or {}, title) for s in streams]


def open_as_cap_from_youtube_does(url: str) -> cv2.VideoCapture:
    """Open a video by the choice of cap-from-youtube, the last resort.

    Raises
    ------
    SourceError
        When it finds no stream; it knows the usual sizes of YouTube only.
    """
    from cap_from_youtube import cap_from_youtube  # noqa: PLC0415

    try:
        with contextlib.redirect_stdout(sys.stderr):  # its yt-dlp talks
            return cap_from_youtube(url)  # type: ignore[no-any-return]
    except Exception as exc:  # IndexError, KeyError, what yt-dlp raises
        raise SourceError(f"no stream of {url} can be played; download it with yt-dlp") from exc


def _in_one_piece(stream: Mapping[str, Any]) -> bool:
    protocol = str(stream.get("protocol") or "https").lower()
    return protocol in ("http", "https")


def _is_storyboard(stream: Mapping[str, Any]) -> bool:
    """Return whether a stream is a sheet of preview pictures."""
    return stream.get("ext") == "mhtml" or stream.get("format_note") == "storyboard"


class _Silent:
    """Take what yt-dlp would print: its errors reach us as exceptions."""

    def debug(self, text: str) -> None:
        """Take a remark."""

    warning = error = debug


DEADLINE_S = 15.0
_SITE_DEADLINE_S = 60.0
_VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".ogv", ".m3u8")
)


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
        path = str(Path(name).absolute())  # FFmpeg takes "12:30.mp4" for an address
        return _opened(source, lambda: cv2.VideoCapture(path), "is it a video, and complete?")
    if source.kind is Kind.WEB and not _is_video(name):
        return _open_site(source, target_height)
    address = http.encoded(name) if source.kind is Kind.WEB else name
    return _opened(source, lambda: open_address(address), "check the address and the network")


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
    title: str = "",
) -> Video:
    """Return an open video, or raise SourceError with a hint what to look at."""

    def attempt() -> Video:
        capture = open_it()
        if not capture.isOpened():
            raise SourceError(f"OpenCV cannot open {source}; {advice}")
        return Video(str(source), capture, source.kind, title)

    try:
        return call_within(deadline_s, attempt)
    except DeadlineError as exc:
        raise SourceError(f"{source} gave no frame within {deadline_s:g} s; {advice}") from exc
    except cv2.error as exc:
        raise SourceError(f"OpenCV cannot open {source}: {exc.err}; {advice}") from exc


def _is_video(url: str) -> bool:
    """Return whether an address is a video itself, or raise SourceError when it is not there."""
    named = PurePosixPath(urlsplit(url).path).suffix.lower() in _VIDEO_SUFFIXES
    try:
        with http.get(url, read_s=DEADLINE_S) as response:
            kind = response.headers.get("Content-Type", "").partition(";")[0].lower()
    except http.StatusError as exc:
        if exc.code == HTTPStatus.UNAUTHORIZED and "@" in urlsplit(url).netloc:
            return True  # FFmpeg knows more ways to log in
        if named:
            raise
        return False  # sites may turn us away, the address of a file must not
    if named:
        return kind != "text/html"
    return kind.startswith(("video/", "multipart/")) or "mpegurl" in kind  # multipart: a camera


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
            return _opened(source, _opener(stream), advice, title=stream.title)
        except SourceError:  # the next one may be of a kind that this OpenCV knows
            continue
    return _opened(
        source,
        lambda: open_as_cap_from_youtube_does(source.text),
        advice,
        _SITE_DEADLINE_S,
        streams[0].title,
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
