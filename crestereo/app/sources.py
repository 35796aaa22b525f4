"""Read answers that name a file, address, stream or camera; request addresses.

Checked when the answer is given; `crestereo.app.images` and `crestereo.app.video` open it. Sites
are searched by yt-dlp and cap-from-youtube.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from crestereo.errors import SourceError, UsageError

if TYPE_CHECKING:
    import cv2
    import requests

CONNECT_S, READ_S = 5.0, 30.0
"""Time limits for the connection and between two pieces of an answer."""

_MAX_REASON = 160
_AGENT = "Mozilla/5.0 (compatible; crestereo)"  # image hosts refuse clients that are no browser
_TIMEOUT_S = 15.0
_MAX_STREAMS = 3
_STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "tcp", "srt", "mms")
_MAX_CAMERA = 99
_MAX_STEM_BYTES = 200  # of 255 that file systems allow: names get endings and numbers


class Kind(Enum):
    """Origin of a source."""

    FILE = "file"
    WEB = "web address"
    STREAM = "stream"
    CAMERA = "camera"


@dataclass(frozen=True)
class Source:
    """Name of an image or a video."""

    kind: Kind
    text: str  # path, address, or number of the camera
    title: str = ""  # on a site, where known

    @property
    def stem(self) -> str:
        """Return a short name for files made from this source."""
        if self.kind is Kind.CAMERA:
            return f"camera{self.text}"
        if self.title:
            name = self.title
        elif self.kind is Kind.FILE:
            name = re.sub(r"_?%0?\d*d", "", Path(self.text).stem)
        else:
            name = _name_of_address(self.text)
        name = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", name).strip(" .")[:80] or "result"
        while len(name.encode("utf-8", "surrogatepass")) > _MAX_STEM_BYTES:
            name = name[:-1]
        return name

    def __str__(self) -> str:
        return f"camera {self.text}" if self.kind is Kind.CAMERA else self.text


def _name_of_address(url: str) -> str:
    """Return the file, video or server that an address names."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    videos = parse_qs(parts.query).get("v", []) if not path.suffix else []
    return "_".join([path.stem, *videos]) if path.stem else parts.netloc.rpartition("@")[2]


def expand_home(path: str) -> str:
    """Return a path with a ``~`` at its beginning expanded."""
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:  # no such user
        return path


def nearest_existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def parse_image(text: str) -> Source:
    """Return the source of an image that an answer names."""
    source = _parse(text)
    if source.kind is Kind.STREAM:
        raise SourceError(f"{text} is a video stream; an image is needed here")
    return source


def parse_video(text: str) -> Source:
    """Return the source of a video that an answer names; see `parse_image`."""
    if re.fullmatch(r"\d{1,2}", text) and int(text) <= _MAX_CAMERA and not Path(text).exists():
        return Source(Kind.CAMERA, str(int(text)))
    if first_of_sequence(text) is not None:
        return Source(Kind.FILE, text)
    return _parse(text)


def first_of_sequence(text: str) -> int | None:
    """Return the first number of a sequence ``img_%06d.png``, else None."""
    name = Path(text).name
    if "://" in text or not re.search(r"%0?\d*d", name) or Path(text).exists():
        return None
    pattern = re.sub(r"%0?\d*d", "\0", name)
    number = re.compile(re.escape(pattern).replace("\0", r"(\d+)"))
    found = [number.fullmatch(path.name) for path in Path(text).parent.glob("*")]
    return min((int(match[1]) for match in found if match), default=None)


def partner_of(left: str) -> str | None:
    """Return the partner of a left file by name, else None."""
    path = Path(left)
    for ours, theirs in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"), ("im0", "im1")):
        head, found, tail = path.name.rpartition(ours)
        other = path.with_name(f"{head}{theirs}{tail}") if found else None
        if other is not None and other.is_file():
            return str(other)
    return None


def pair_name(left: Source, right: Source) -> str:
    """Return what two names share, else the left one."""
    shared = _without("left", left.stem)
    same = shared and shared == _without("right", right.stem)
    return shared if same and shared != left.stem else left.stem


def _without(side: str, name: str) -> str:
    """Return a name without "left" or "right" where it is a word."""
    return re.sub(rf"(?i)(?:[ ._-]+|(?<![a-z])){side}(?![a-z])", "", name)


def _parse(text: str) -> Source:
    scheme, colon, _ = text.partition("://")
    scheme = scheme.lower() if colon else ""
    if scheme in ("http", "https"):
        return Source(Kind.WEB, _checked_address(text))
    if scheme in _STREAM_SCHEMES:
        return Source(Kind.STREAM, _checked_address(text))
    if scheme and re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise SourceError(f"{text} starts with {scheme}://, which is not supported; use https://")
    return Source(Kind.FILE, _checked_file(text))


def _checked_address(text: str) -> str:
    try:
        host = urlsplit(text).hostname
    except ValueError as exc:
        raise SourceError(f"{text} is not an address: {exc}") from exc
    if not host:
        raise SourceError(f"{text} is not an address: it names no server")
    return text


def _checked_file(text: str) -> str:
    if not text:
        raise SourceError("the path is empty; name a file")
    path = Path(text)
    try:
        if path.is_dir():
            raise SourceError(f"{text} is a folder; name a file in it")
        if not path.exists():
            raise SourceError(f"there is no file {text}; check the path")
    except (OSError, ValueError) as exc:  # a name that is too long, or holds a NUL
        reason = getattr(exc, "strerror", None) or exc
        raise SourceError(f"{text[:80]} is no valid path: {reason}") from exc
    return text


def check_output_dir(folder: str) -> None:
    """Raise UsageError before the work where the output folder cannot be written."""
    try:
        existing = nearest_existing(Path(folder))
    except OSError as exc:  # for example a name that is too long
        raise UsageError(f"{folder[:80]} is no valid folder: {exc.strerror}") from exc
    if not existing.is_dir():
        raise UsageError(f"{existing} is a file; choose a folder for the output")
    if not os.access(existing, os.W_OK):
        raise UsageError(f"{existing} is not writable; choose another folder for the output")


# --- addresses ------------------------------------------------------------------------------------


class StatusError(SourceError):
    """A server's answer with an error status; `code` is the HTTP status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@contextlib.contextmanager
def request(
    url: str, headers: Mapping[str, str] | None = None, *, read_s: float | None = None
) -> Iterator[requests.Response]:
    """Request an address; yield the response with its body unread."""
    import requests  # slow to import

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
    import requests

    try:
        request = requests.PreparedRequest()
        request.prepare_url(url, None)
        return str(request.url)
    except (requests.RequestException, UnicodeError) as exc:
        raise SourceError(f"{url} is not a valid address: {one_line(exc)}") from exc


def reason_of(exc: BaseException) -> str:
    """Return the root cause of a failed request in one short line."""
    import requests

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
    import yt_dlp  # slow to import, and needed for sites only

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


def capture_site(url: str) -> cv2.VideoCapture:
    """Open a video of a site as cap-from-youtube does, or raise SourceError."""
    from cap_from_youtube import cap_from_youtube  # slow to import

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
