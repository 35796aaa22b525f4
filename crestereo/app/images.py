"""Pictures from files and from the web, in one form: (H, W, 3) uint8, BGR, upright."""

from __future__ import annotations

import contextlib
import importlib
import io
import time
from types import FunctionType, SimpleNamespace

from crestereo.app import http
from crestereo.app.sources import Kind, Source, pair_name
from crestereo.app.video import DeadlineError, call_within
from crestereo.errors import SourceError
from crestereo.formats import decode_image, read_image
from crestereo.types import BGRImage, StereoPair

DEADLINE_S = 15.0
SIZE_LIMIT_BYTES = 100_000_000
_CHUNK_BYTES = 1 << 16


def open_picture(
    source: Source, *, deadline_s: float = DEADLINE_S, size_limit: int = SIZE_LIMIT_BYTES
) -> BGRImage:
    """Read a picture from a file or the web.

    Parameters
    ----------
    source : Source
        What `sources.parse_picture` returned.
    deadline_s : float
        For a web address: the time for everything, in seconds.
    size_limit : int
        For a web address: the most bytes that are taken.

    Returns
    -------
    (H, W, 3) uint8
        BGR, turned upright as its EXIF data say, whichever way it came.

    Raises
    ------
    SourceError
        When it cannot be read; the message names the source and says why.
    """
    if source.kind is not Kind.WEB:
        return read_image(source.text)
    url = source.text
    try:
        data = call_within(deadline_s, lambda: _fetch(url, deadline_s, size_limit))
    except DeadlineError as exc:
        raise SourceError(
            f"{url} was not loaded within {deadline_s:g} s; check the network or save the "
            "picture and give its path"
        ) from exc
    return _decode(url, data)


def open_picture_pair(left: Source, right: Source) -> StereoPair:
    """Read the two pictures of a pair and see that they go together.

    Raises
    ------
    SourceError
        When one cannot be read or their sizes differ.
    """
    pair = StereoPair(open_picture(left), open_picture(right), pair_name(left, right))
    check_same_size(size_of(pair.left), size_of(pair.right))
    return pair


def size_of(picture: BGRImage) -> tuple[int, int]:
    """Return (width, height) [px]."""
    return picture.shape[1], picture.shape[0]


def check_same_size(left: tuple[int, int], right: tuple[int, int]) -> None:
    """Raise SourceError unless two sizes (width, height) [px] are the same."""
    if left != right:
        raise SourceError(
            f"left is {left[0]}x{left[1]} px but right is {right[0]}x{right[1]} px; "
            "give two pictures of the same size"
        )


def _fetch(url: str, deadline_s: float, size_limit: int) -> bytes:
    """Return the body of an address, or raise SourceError saying why not."""
    end = time.monotonic() + deadline_s
    too_large = SourceError(
        f"{url} is larger than {size_limit / 1e6:g} MB; save the image and give its path"
    )
    with http.get(url, {"Accept": "image/*,*/*;q=0.5"}, read_s=deadline_s) as response:
        kind = response.headers.get("Content-Type", "").lower()
        if kind.startswith("text/") and not kind.startswith("text/plain"):
            raise SourceError(f"{url} is a web page, not an image; give the image's address")
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit() and int(announced) > size_limit:
            raise too_large
        body = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            body += chunk
            if len(body) > size_limit:
                raise too_large
            if time.monotonic() > end:  # the caller has given up: stop the thread
                raise DeadlineError("the deadline has passed")
    return bytes(body)


def _decode(url: str, data: bytes) -> BGRImage:
    """Decode as a file is decoded; what OpenCV does not know goes through imread-from-url."""
    try:
        return decode_image(data, url)
    except SourceError as exc:
        image = _decode_by_imread_from_url(url, data)
        if image is None:
            raise SourceError(
                f"{url} answers with {len(data)} bytes that are not a picture; check the address"
            ) from exc
        return image


def _decode_by_imread_from_url(url: str, data: bytes) -> BGRImage | None:
    """Return the picture as imread-from-url reads it, None where it cannot.

    That package loads without a deadline, a limit or a look at the status, so it is handed the
    bytes that were fetched with them, in the place of its own request.
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
