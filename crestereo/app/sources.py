"""Read an answer that names a file, address, stream or camera.

Checked when the answer is given; `crestereo.app.images` and `crestereo.app.video` open it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from crestereo.errors import SourceError, UsageError

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
    """Name of an image or a video.

    Parameters
    ----------
    kind : Kind
        Where it comes from.
    text : str
        Path, address, or number of the camera.
    title : str
        Title on a site, where known.
    """

    kind: Kind
    text: str
    title: str = ""

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
