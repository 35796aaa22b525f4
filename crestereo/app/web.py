"""Requests to web servers; streams that yt-dlp and cap-from-youtube find."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crestereo.errors import SourceError

if TYPE_CHECKING:
    import cv2
    import requests

CONNECT_S, READ_S = 5.0, 30.0
"""Time limits for the connection and between two pieces of an answer."""

_MAX_REASON = 160
_AGENT = "Mozilla/5.0 (compatible; crestereo)"  # image hosts refuse clients that are no browser
_TIMEOUT_S = 15.0
_MAX_STREAMS = 3


class StatusError(SourceError):
    """A server's answer with an error status; `code` is the HTTP status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@contextlib.contextmanager
def get(
    url: str, headers: Mapping[str, str] | None = None, *, read_s: float | None = None
) -> Iterator[requests.Response]:
    """Request an address; yield the response with its body unread."""
    import requests  # noqa: PLC0415  slow to import

    timeout = (CONNECT_S, READ_S if read_s is None else read_s)
    headers = {"User-Agent": _AGENT, **(headers or {})}
    try:
        login = requests.utils.get_auth_from_url(url)
        auth = requests.auth.HTTPBasicAuth(*(part.encode() for part in login))
        with requests.get(
            url,
            headers=headers,
            timeout=timeout,
            stream=True,
            auth=auth if any(login) else None,  # in UTF-8, which requests would not choose
        ) as response:
            if not response.ok:
                reason = f"{response.status_code} {one_line(response.reason)}"
                raise StatusError(
                    f"{url} answers {reason}; check the address", response.status_code
                )
            yield response
    except (requests.RequestException, UnicodeError, ValueError) as exc:
        raise SourceError(
            f"cannot load {url}: {reason_of(exc)}; check the address and the network"
        ) from exc


def encoded(url: str) -> str:
    """Return an address with everything percent-encoded, as FFmpeg needs it."""
    import requests  # noqa: PLC0415

    try:
        request = requests.PreparedRequest()
        request.prepare_url(url, None)
        return str(request.url)
    except (requests.RequestException, UnicodeError) as exc:
        raise SourceError(f"{url} is not a valid address: {one_line(exc)}") from exc


def reason_of(exc: BaseException) -> str:
    """Return the root cause of a failed request in one short line."""
    import requests  # noqa: PLC0415

    if isinstance(exc, requests.TooManyRedirects):
        return "it redirects in a loop"
    root = exc
    while (deeper := root.__cause__ or root.__context__) is not None:
        root = deeper
    if isinstance(exc, requests.Timeout) or isinstance(root, TimeoutError):
        return "no answer in time"
    return one_line(getattr(root, "strerror", None) or root) or type(root).__name__


def one_line(text: object) -> str:
    """Return a server's text as printable words of one short line."""
    words = "".join(c if c.isprintable() else " " for c in str(text)).split()
    return " ".join(words)[:_MAX_REASON]


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
    reason = re.sub(r"^ERROR:\s*(\[[^]]*\]\s*)?", "", one_line(exc))
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
