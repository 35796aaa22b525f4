"""Open still images of one or both views."""

from __future__ import annotations

import contextlib
import io
import math
import stat
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from crestereo.app import sources
from crestereo.app.align import advise
from crestereo.app.pipeline import TimeoutExceeded, call_within
from crestereo.app.script import say, warn
from crestereo.app.sources import Kind, Source, pair_name, partner_of
from crestereo.errors import SourceError
from crestereo.formats import RawImage, decode_image, read_bytes, to_bgr8
from crestereo.layouts import CONFIRMED, Layout, detect_layout, split_frame
from crestereo.preprocess import resize_image, same_aspect, turned_to
from crestereo.types import BGRImage, StereoPair

TIMEOUT_S = 15.0
MAX_BYTES = 200_000_000
MAX_FILE_BYTES = 2_000_000_000

FILM_MM = math.hypot(36, 24)
"""Diagonal of 35 mm film, by which CIPA DCG-001 compares focal lengths."""

FORBIDDEN = 403
_MP_ENTRIES = 0xB002
_CHUNK_BYTES = 1 << 16
DAMAGED = OSError, LookupError, AttributeError, SyntaxError, ValueError, TypeError
_RIGHT_FIRST = (".jps", ".pns")
"""Stereo JPEG and PNG hold the right view in the left half, unless their header differs."""


@dataclass(frozen=True)
class ImageFile:
    """An opened image file."""

    source: Source
    left: RawImage  # the image, or the left view of a stereo file
    right: RawImage | None = None  # view of a file that holds both
    focal_mm: float | None = None  # of a camera for 35 mm film that sees as much, by EXIF data


def open_image(source: Source, *, both_views: bool = True) -> ImageFile:
    """Read an image, split where the file holds both views.

    MPO files hold two images, JPS and PNS the views side by side, right one first. Others are
    split where their content shows two views.
    """
    try:
        data = _load(source)
    except sources.StatusError as exc:
        image = _load_as_browser(source.text) if exc.code == FORBIDDEN else None
        if image is None:
            raise
        return ImageFile(source, RawImage(image))
    parts = (_multi_picture_parts(data) if both_views else None) or (data,)
    views = [decode_image(part, str(source)) for part in parts]
    for view in views:
        if view.damaged:
            warn(f"{source}: {view.damaged}")
    if len(views) > 1 or not both_views:
        right = views[1] if len(views) > 1 else None
        return ImageFile(source, views[0], right, _focal_mm(data))
    layout = _layout_of(source, data, views[0])
    if layout is None:
        return ImageFile(source, views[0], focal_mm=_focal_mm(data))
    left_half, right_half = split_frame(to_bgr8(views[0])[0], layout)
    return ImageFile(source, RawImage(left_half), RawImage(right_half))


def pair_of(left: ImageFile, right: ImageFile | None = None) -> StereoPair:
    """Return the pair of two images, or of one with both views.

    The right image is resized to the left one, and both get their 8 bits by one factor.
    """
    name = left.source.stem
    second = left.right
    if second is None or (right is not None and right.source != left.source):
        if right is None:
            raise SourceError(f"{left.source} holds one view only; give the right image too")
        second, name = right.left, pair_name(left.source, right.source)
    left_view, right_view = to_bgr8(left.left, second)
    given, right_view = right_view, turned_to(right_view, left_view.shape)
    if right_view is not given:
        warn("the right image is turned by 90 degrees: turned back")  # upside down at most
    (h1, w1), (h2, w2) = left_view.shape[:2], right_view.shape[:2]
    if not same_aspect((h1, w1), (h2, w2)):
        raise SourceError(
            f"left is {w1}x{h1} px but right is {w2}x{h2} px; give two images of one aspect ratio "
            "(a crop cannot be undone by resizing)"
        )
    if (h1, w1) != (h2, w2):
        say(f"left is {w1}x{h1} px, right {w2}x{h2} px: the right one is resized")
    focal_px = None if left.focal_mm is None else left.focal_mm / FILM_MM * math.hypot(h1, w1)
    return StereoPair(left_view, resize_image(right_view, (h1, w1)), name, focal_px=focal_px)


@contextlib.contextmanager
def _header(data: bytes) -> Iterator[Any]:
    """Open the header of an image, even a damaged one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damage is reported by the decoder
        try:
            with Image.open(io.BytesIO(data)) as file:
                yield file
        except Image.DecompressionBombError as exc:  # photos have 200 megapixels
            raise ValueError("too large for Pillow") from exc


def _focal_mm(data: bytes) -> float | None:
    """Return the 35 mm equivalent focal length of EXIF data, or None."""
    if b"Exif" not in data[: 1 << 16] and b"eXIf" not in data[: 1 << 16]:
        return None
    try:
        with _header(data) as file:
            details = file.getexif().get_ifd(ExifTags.IFD.Exif)
            value = float(details.get(ExifTags.Base.FocalLengthIn35mmFilm, 0))
    except DAMAGED:
        return None
    return value if value > 0 else None


def _layout_of(source: Source, data: bytes, image: RawImage) -> Layout | None:
    """Return how an image holds both views, None where it holds one."""
    layout = _stereo_jpeg_layout(data)
    if layout is None and Path(source.text).suffix.lower() in _RIGHT_FIRST:
        layout = Layout(right_first=True)
    if layout is not None or partner_of(source.text) is not None:  # the name says: the left view
        return layout
    frame = to_bgr8(image)[0]
    found = advise("layout", lambda: detect_layout(source.text, "", [frame], photo=True), None)
    if found is None or found.confidence < CONFIRMED:
        return None
    say(f"both views in one image: {found}; give the right image too if it holds one")
    if found.alternative:
        size = "half" if found.layout.half else "full"
        say(f"{size} views assumed; give both views as separate images if that is wrong")
    return found.layout


def _stereo_jpeg_layout(data: bytes) -> Layout | None:
    """Return the layout in the header of a JPS file (segment APP3)."""
    at = data.find(b"_JPSJPS_", 0, 1 << 16) if data.startswith(b"\xff\xd8") else -1
    if at < 0 or len(data) < at + 14:
        return None
    flags, kind, media = data[at + 11 : at + 14]
    if media != 1 or kind not in (2, 3):  # side by side, over under
        return None
    stacked = kind == 3
    half = bool(flags & (1 if stacked else 2))
    return Layout(stacked, half, right_first=not flags & 4)


def _load(source: Source) -> bytes:
    """Read a file or address; `TIMEOUT_S` limits all but regular files."""
    try:
        if source.kind is Kind.WEB:
            return call_within(TIMEOUT_S, lambda: _fetch(source.text))
        path = Path(source.text)
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return call_within(TIMEOUT_S, lambda: _read_pipe(path))
        if status.st_size > MAX_FILE_BYTES:
            raise _too_large(path, MAX_FILE_BYTES)
        return read_bytes(path)
    except TimeoutExceeded as exc:
        raise SourceError(
            f"{source} was not loaded within {TIMEOUT_S:g} s; save the image and give its path"
        ) from exc
    except OSError as exc:
        raise SourceError(f"cannot read {source}: {exc.strerror or exc}") from exc


def _read_pipe(path: Path) -> bytes:
    """Read a pipe or device up to the size of an image."""
    with path.open("rb") as pipe:
        data = pipe.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _too_large(path, MAX_BYTES)
    return data


def _too_large(name: object, limit: int) -> SourceError:
    return SourceError(f"{name} is larger than {limit / 1e6:g} MB, too large for an image")


def _fetch(url: str) -> bytes:
    end = time.monotonic() + TIMEOUT_S
    with sources.request(url, {"Accept": "image/*,*/*;q=0.5"}, read_s=TIMEOUT_S) as response:
        kind = response.headers.get("Content-Type", "").lower()
        if kind.startswith("text/") and not kind.startswith("text/plain"):
            raise SourceError(f"{url} is a web page, not an image; give the image's address")
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit() and int(announced) > MAX_BYTES:
            raise _too_large(url, MAX_BYTES)
        body = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_BYTES:
                raise _too_large(url, MAX_BYTES)
            if time.monotonic() > end:  # the caller has given up: end this thread
                raise TimeoutExceeded("the time is over")
    return bytes(body)


def _load_as_browser(url: str) -> BGRImage | None:
    """Load an image as a browser does; None where it fails."""
    from imread_from_url import imread_from_url  # slow to import

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its errors
        try:
            image: BGRImage | None = call_within(TIMEOUT_S, lambda: imread_from_url(url))
        except Exception:  # noqa: BLE001  it lets any error of its decoder through
            return None
    return image


def _multi_picture_parts(data: bytes) -> tuple[bytes, bytes] | None:
    """Return both JPEG files of an MPO file (CIPA DC-007), else None."""
    index_at = data.find(b"MPF\x00")
    if index_at < 0:
        return None
    try:
        with _header(data) as file:
            second = file.mpinfo[_MP_ENTRIES][1]
    except DAMAGED:
        return None  # a JPEG of one image, or whose index is damaged
    start = index_at + len(b"MPF\x00") + second["DataOffset"]
    if not data.startswith(b"\xff\xd8", start):
        return None
    return data[:start], data[start:]
