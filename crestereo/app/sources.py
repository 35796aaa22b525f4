"""What an answer names: a file, a web address, a stream or a camera.

Looked at when the answer is given, so that a slip of the keyboard is found at its prompt;
`crestereo.app.pictures` and `crestereo.app.videos` open what is named here. Nothing heavy is
imported, because the first prompt waits for this module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from crestereo.errors import SourceError


def expand_home(path: str) -> str:
    """Return a path with the home folder for a ``~`` at its beginning, as a shell does."""
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # no such user: the name is taken as it stands
        return path


_STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "tcp", "srt", "mms")
_MAX_CAMERA = 99
_MAX_STEM_BYTES = 200  # of 255 that file systems allow: names get endings and numbers


class Kind(Enum):
    """Say where a source comes from."""

    FILE = "file"
    WEB = "web address"
    STREAM = "stream"
    CAMERA = "camera"


@dataclass(frozen=True)
class Source:
    """Name a picture or a video.

    Parameters
    ----------
    kind : Kind
        Where it comes from.
    text : str
        Path, address, or number of the camera.
    title : str
        What a site calls it, where that is known.
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
            name = Path(self.text).stem
        else:
            name = _name_of_address(self.text)
        name = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", name).strip(" .")[:80] or "result"
        while len(name.encode("utf-8", "surrogatepass")) > _MAX_STEM_BYTES:
            name = name[:-1]
        return name

    def __str__(self) -> str:
        return f"camera {self.text}" if self.kind is Kind.CAMERA else self.text


def _name_of_address(url: str) -> str:
    """Return the file that an address names, else the video it asks for, else its server."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    videos = parse_qs(parts.query).get("v", []) if not path.suffix else []
    return "_".join([path.stem, *videos]) if path.stem else parts.netloc.rpartition("@")[2]


def nearest_existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def parse_picture(text: str) -> Source:
    """Return what an answer to a question for a picture names, or raise SourceError."""
    source = _parse(text)
    if source.kind is Kind.STREAM:
        raise SourceError(f"{text} is a video stream; a picture is needed here")
    return source


def parse_video(text: str) -> Source:
    """Return what an answer to a question for a video names, or raise SourceError.

    A number that is not the name of a file is the number of a camera.
    """
    if re.fullmatch(r"\d{1,2}", text) and int(text) <= _MAX_CAMERA and not Path(text).exists():
        return Source(Kind.CAMERA, str(int(text)))
    return _parse(text)


def partner_of(left: str) -> str | None:
    """Return the file that goes with a left one by its name, None where there is none.

    ``table_left.png`` goes with ``table_right.png``, ``im0.png`` with ``im1.png``.
    """
    path = Path(left)
    for ours, theirs in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"), ("im0", "im1")):
        head, found, tail = path.name.rpartition(ours)
        other = path.with_name(f"{head}{theirs}{tail}") if found else None
        if other is not None and other.is_file():
            return str(other)
    return None


def pair_name(left: Source, right: Source) -> str:
    """Return a name for a pair: what the two names share, else the left one's."""
    shared = _without("left", left.stem)
    same = shared and shared == _without("right", right.stem)
    return shared if same and shared != left.stem else left.stem


def _without(side: str, name: str) -> str:
    """Return a name without a word that tells the side, as a word of its own."""
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
    except OSError as exc:  # for example a name that is too long
        raise SourceError(f"{text[:80]} cannot be a path: {exc.strerror}") from exc
    return text
