"""Videos on sites: which of the streams that yt-dlp finds OpenCV can play best."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crestereo.errors import SourceError

if TYPE_CHECKING:
    import cv2

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
