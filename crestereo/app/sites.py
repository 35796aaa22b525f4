"""Find the streams of sites with yt-dlp, and open them with cap-from-youtube."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crestereo.app import http
from crestereo.errors import SourceError

if TYPE_CHECKING:
    import cv2

_TIMEOUT_S = 15.0
_MAX_STREAMS = 3


@dataclass(frozen=True)
class SiteStream:
    """Stream of a site, with the headers its server expects."""

    url: str
    headers: Mapping[str, str]
    title: str = ""


def rank_streams(
    formats: Iterable[Mapping[str, Any]], target_height: int
) -> list[Mapping[str, Any]]:
    """Order the streams of a video, the one to play first."""

    def order(stream: Mapping[str, Any]) -> tuple[bool, bool, bool, int, float]:
        codec = str(stream.get("vcodec") or "").lower()
        height = int(stream.get("height") or 0)
        return (
            str(stream.get("protocol") or "https").lower() not in ("http", "https"),
            not codec.startswith(("avc", "h264")),
            height < target_height,
            abs(height - target_height),
            -float(stream.get("tbr") or 0),
        )

    def has_frames(stream: Mapping[str, Any]) -> bool:
        storyboard = stream.get("ext") == "mhtml" or stream.get("format_note") == "storyboard"
        return bool(stream.get("url")) and stream.get("vcodec") != "none" and not storyboard

    return sorted(filter(has_frames, formats), key=order)


def find_streams(
    url: str, target_height: int, cookies_from_browser: str | None = None
) -> list[SiteStream]:
    """Return the best streams at an address, the best first."""
    import yt_dlp  # noqa: PLC0415  slow to import, and needed for sites only

    options: dict[str, Any] = {
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "no_color",
        "noplaylist": True,
        "socket_timeout": int(_TIMEOUT_S),
        "retries": 1,
        "extractor_retries": 1,
        "logger": _Silent(),
        "format": "all/bestvideo*",
    }
    if cookies_from_browser:
        options["cookiesfrombrowser"] = (cookies_from_browser,)
    try:
        with yt_dlp.YoutubeDL(options) as downloader:
            info = downloader.extract_info(url, download=False) or {}
    except yt_dlp.utils.YoutubeDLError as exc:
        raise SourceError(f"yt-dlp finds no video at {url}: {_site_reason(exc)}") from exc
    if "entries" in info:
        raise SourceError(f"{url} is a list of videos; give the address of one")
    streams = rank_streams(info.get("formats") or [info], target_height)[:_MAX_STREAMS]
    if not streams:
        raise SourceError(f"yt-dlp finds no stream with images at {url}")
    title = str(info.get("title") or "")
    return [SiteStream(str(s["url"]), s.get("http_headers") or {}, title) for s in streams]


def _site_reason(exc: Exception) -> str:
    """Return the reason of yt-dlp with advice for this program."""
    reason = re.sub(r"^ERROR:\s*(\[[^]]*\]\s*)?", "", http.one_line(exc))
    reason = re.split(r"(?i)[.;]?\s*(?:use --|see\s+https?://|please report)", reason)[0]
    advice = "download it with yt-dlp and give the path"
    if re.search(r"(?i)cookie|sign in|log ?in|bot", str(exc)):
        advice = f"--cookies-from-browser firefox lets yt-dlp use the cookies there, or {advice}"
    return f"{reason}; {advice}"


def open_with_cap_from_youtube(url: str) -> cv2.VideoCapture:
    """Open a video of a site as cap-from-youtube does, or raise SourceError."""
    from cap_from_youtube import cap_from_youtube  # noqa: PLC0415  slow to import

    try:
        with contextlib.redirect_stdout(sys.stderr):  # its yt-dlp prints
            return cap_from_youtube(url)  # type: ignore[no-any-return]
    except Exception as exc:  # IndexError, KeyError, what yt-dlp raises
        raise SourceError(f"cap-from-youtube finds no stream of {url}") from exc


class _Silent:
    """Logger that drops what yt-dlp would print: its errors are raised too."""

    def debug(self, text: str) -> None:
        """Drop a remark."""

    warning = error = debug
