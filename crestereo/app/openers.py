"""Open videos: files, cameras, streams, addresses of videos, and pages of sites."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import cv2

from crestereo.app.deadline import DeadlineError, call_within
from crestereo.app.http_client import (
    Patience,
    RefusedError,
    ascii_url,
    loading,
    open_url,
)
from crestereo.app.sites import SiteStream, find_streams, open_as_cap_from_youtube_does
from crestereo.app.sources import Kind, Source
from crestereo.app.videos import Video
from crestereo.errors import SourceError

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
    address = ascii_url(name) if source.kind is Kind.WEB else name
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
    headers = {"User-Agent": "Mozilla/5.0 (compatible; crestereo)"}
    try:
        with loading(url), open_url(url, headers, Patience(DEADLINE_S, DEADLINE_S)) as response:
            kind = str(response.headers.get_content_type())
    except RefusedError as exc:
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
