"""Open still images from files and the web, of one view or of both.

Images are (H, W, 3) uint8 BGR, upright as their EXIF data say.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, SimpleNamespace

import numpy as np

from crestereo.app import http
from crestereo.app.align import advise
from crestereo.app.script import say
from crestereo.app.sources import Kind, Source, pair_name
from crestereo.app.video import TimeoutExceeded, call_within
from crestereo.errors import SourceError
from crestereo.formats import decode_image, read_bytes
from crestereo.layouts import LayoutFinding, detect_layout, split_frame
from crestereo.preprocess import resize_image
from crestereo.types import BGRImage, StereoPair

TIMEOUT_S = 15.0
MAX_BYTES = 200_000_000
ASPECT_TOLERANCE = 0.02
SURE = 0.5
"""Confidence from which an image is taken to hold both views."""

_CHUNK_BYTES = 1 << 16
_RIGHT_FIRST = (".jps", ".pns")
"""Stereo JPEG and PNG hold the right view in the left half."""


@dataclass(frozen=True)
class ImageFile:
    """An opened image file.

    Parameters
    ----------
    source : Source
    left : (H, W, 3) uint8
        The image, or the left view of a stereo file.
    right : (H, W, 3) uint8, optional
        Right view of a file that holds both.
    """

    source: Source
    left: BGRImage
    right: BGRImage | None = None


def open_image(source: Source, *, both_views: bool = True) -> ImageFile:
    """Read an image, split where the file holds both views.

    MPO files hold two images, JPS and PNS the views side by side, right one first. Others are
    split where their name or content shows two views.

    Raises
    ------
    SourceError
        It cannot be read; the message names the source and the reason.
    """
    data = _load(source)
    if not both_views:
        return ImageFile(source, _decode(source, data))
    views = _multi_picture(data)
    if views is not None:
        return ImageFile(source, *views)
    image = _decode(source, data)
    suffix = Path(source.text).suffix.lower()
    if suffix in _RIGHT_FIRST:
        half = image.shape[1] // 2
        return ImageFile(source, image[:, half : 2 * half], image[:, :half])
    name = source.text if source.kind is Kind.FILE else ""
    found: LayoutFinding | None = advise("layout", lambda: detect_layout(name, "", [image]), None)
    if found is None or found.confidence < SURE:
        return ImageFile(source, image)
    say(f"both views in one image: {found}")
    return ImageFile(source, *split_frame(image, found.layout))


def pair_of(left: ImageFile, right: ImageFile | None = None) -> StereoPair:
    """Return the pair of two image files, or of one that holds both views.

    Raises
    ------
    SourceError
        The aspect ratios differ.
    """
    if left.right is not None and (right is None or right.source == left.source):
        return StereoPair(left.left, left.right, left.source.stem)
    if right is None:
        raise SourceError(f"{left.source} holds one view only; give the right image too")
    views = [left.left, right.left]
    (h1, w1), (h2, w2) = (view.shape[:2] for view in views)
    if (h1, w1) != (h2, w2):
        if abs(w1 / h1 / (w2 / h2) - 1) > ASPECT_TOLERANCE:
            raise SourceError(
                f"left is {w1}x{h1} px but right is {w2}x{h2} px; give two images of one "
                "aspect ratio (a crop cannot be undone by resizing)"
            )
        say(f"left is {w1}x{h1} px, right {w2}x{h2} px: the larger one is resized")
        views = [resize_image(view, min((h1, w1), (h2, w2))) for view in views]
    return StereoPair(views[0], views[1], pair_name(left.source, right.source))


def _load(source: Source) -> bytes:
    if source.kind is Kind.WEB:
        try:
            return call_within(TIMEOUT_S, lambda: _fetch(source.text))
        except TimeoutExceeded as exc:
            raise SourceError(
                f"{source} was not loaded within {TIMEOUT_S:g} s; check the network or save the "
                "image and give its path"
            ) from exc
    path = Path(source.text)
    if stat.S_ISREG(path.stat().st_mode):
        return read_bytes(path)
    with path.open("rb") as pipe:  # for example <(command): its end is not known
        data = pipe.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise SourceError(f"{source} gives more than {MAX_BYTES / 1e6:g} MB; is it an image?")
    return data


def _fetch(url: str) -> bytes:
    end = time.monotonic() + TIMEOUT_S
    too_large = SourceError(
        f"{url} is larger than {MAX_BYTES / 1e6:g} MB; save the image and give its path"
    )
    with http.get(url, {"Accept": "image/*,*/*;q=0.5"}, read_s=TIMEOUT_S) as response:
        kind = response.headers.get("Content-Type", "").lower()
        if kind.startswith("text/") and not kind.startswith("text/plain"):
            raise SourceError(f"{url} is a web page, not an image; give the image's address")
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit() and int(announced) > MAX_BYTES:
            raise too_large
        body = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_BYTES:
                raise too_large
            if time.monotonic() > end:  # the caller has given up: end this thread
                raise TimeoutExceeded("the time is over")
    return bytes(body)


def _multi_picture(data: bytes) -> tuple[BGRImage, BGRImage] | None:
    """Return both images of an MPO file (CIPA DC-007), None for other files."""
    if b"MPF\x00" not in data[:65536]:
        return None
    from PIL import Image, ImageOps  # noqa: PLC0415  slow to import, and needed for MPO only

    try:
        with Image.open(io.BytesIO(data)) as file:
            if getattr(file, "n_frames", 1) < 2:
                return None
            views = []
            for number in range(2):
                file.seek(number)
                upright = ImageOps.exif_transpose(file).convert("RGB")
                views.append(np.ascontiguousarray(np.asarray(upright)[..., ::-1]))
    except (OSError, ValueError, SyntaxError, EOFError):
        return None
    return (views[0], views[1]) if views[0].shape == views[1].shape else None


def _decode(source: Source, data: bytes) -> BGRImage:
    """Decode an image; what OpenCV does not know goes through imread-from-url."""
    try:
        return decode_image(data, str(source))
    except SourceError:
        image = _decode_by_imread_from_url(source.text, data) if source.kind is Kind.WEB else None
        if image is None:
            raise
        return image


def _decode_by_imread_from_url(url: str, data: bytes) -> BGRImage | None:
    """Return the image as imread-from-url decodes it, None where it cannot.

    That package loads without timeout, limit or check of the status, so it gets the bytes that
    were fetched with them in place of its own request.
    """
    package = importlib.import_module("imread_from_url.imread_from_url")
    function = package.imread_from_url
    transport = SimpleNamespace(get=lambda *_, **__: SimpleNamespace(content=data))
    read = FunctionType(
        function.__code__,
        {**vars(package), "requests": transport},
        argdefs=function.__defaults__,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            image: BGRImage | None = read(url)
        except Exception:  # noqa: BLE001  it lets any error of its decoder through
            return None
    return image
