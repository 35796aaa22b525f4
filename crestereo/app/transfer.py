"""One address into one part file over HTTP: with a deadline, resumed, never taken for a page.

The body of ``url`` grows in ``X.part``; beside it ``X.part.json`` remembers where the bytes came
from (address, entity tag or date, full size), so that a later run, also one after a kill, goes on
where the last one stopped and never joins the pieces of two different files.
"""

from __future__ import annotations

import errno
import http.client
import re
import shutil
import urllib.error
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import IO, Any

from crestereo.app.http_client import Patience, one_line, open_url
from crestereo.app.json_file import read_json_object, write_json
from crestereo.errors import DownloadError

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes that are there and the bytes there will be, None where unknown."""

CHUNK_BYTES = 1 << 16
MAX_CUTS = 5
"""A server that cuts the line this often in one run is left alone."""

# Errors of writing that no other mirror can mend; EFBIG is a limit on the size of a file.
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class MirrorError(DownloadError):
    """Say why one address did not give its file; another one may."""


class UnreachableError(MirrorError):
    """Say that no connection to a server came about."""


class _CutOffError(MirrorError):
    """Say that a transfer ended before its end; what came so far is kept."""


def discard(part: Path) -> None:
    """Remove a part file and what is remembered of its origin."""
    part.unlink(missing_ok=True)
    _origin_path(part).unlink(missing_ok=True)


def transfer(url: str, part: Path, *, patience: Patience, progress: Progress) -> None:
    """Fetch an address into a part file, going on from what is there where that is of one version.

    Parameters
    ----------
    url : str
        http or https address.
    part : Path
        File that grows; complete when the function returns.
    patience : Patience
        Deadlines.
    progress : callable
        Told how far the transfer is.

    Raises
    ------
    MirrorError
        The address does not give the file; what came of it stays in ``part``.
    UnreachableError
        There is no connection to the server.
    DownloadError
        The file cannot be written here, whatever the address.
    """
    for cut in range(1, MAX_CUTS + 1):
        before = _size(part)
        try:
            _attempt(url, part, patience, progress, again=cut > 1)
            return
        except MirrorError as exc:
            have = _size(part)
            if have == 0:
                discard(part)
            # a line was cut: try again where it went on meanwhile, or has to start anew
            if not isinstance(exc, _CutOffError) or cut == MAX_CUTS or have == before:
                raise


def _attempt(url: str, part: Path, patience: Patience, progress: Progress, *, again: bool) -> None:
    origin = _origin_of(part)
    if origin.get("url") != url:
        discard(part)
        origin = {}
    # Where the server names no version, the file may be another one since an earlier run.
    have = _size(part) if again or origin.get("validator") else 0
    try:
        response = open_url(url, _resume_headers(have, origin), patience)
    except urllib.error.HTTPError as exc:
        with exc:
            if exc.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or have == 0:
                raise MirrorError(f"{exc.code} {one_line(exc.reason)}") from exc
            if _whole_size(exc.headers) == have:
                return  # nothing was missing any more
        discard(part)
        raise _CutOffError("changed since its download was interrupted") from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise UnreachableError(f"no connection: {_reason(exc)}") from exc
    with response:
        _receive(response, url, part, origin, progress)


def _origin_of(part: Path) -> dict[str, Any]:
    """Return what is known of a part file, nothing where that is damaged: then it starts anew."""
    try:
        return read_json_object(_origin_path(part))
    except ValueError:
        return {}


def _resume_headers(have: int, origin: dict[str, Any]) -> dict[str, str]:
    if not have:
        return {}
    headers = {"Range": f"bytes={have}-"}
    if origin.get("validator"):
        headers["If-Range"] = str(origin["validator"])
    return headers


def _receive(
    response: http.client.HTTPResponse,
    url: str,
    part: Path,
    origin: dict[str, Any],
    progress: Progress,
) -> None:
    if url.startswith("https:") and not response.url.startswith("https:"):
        raise MirrorError(f"redirects to the unprotected address {response.url}")
    if response.headers.get_content_type() in {"text/html", "application/xhtml+xml"}:
        raise MirrorError("answers with a web page instead of the file")
    start, total = _span(response)
    known = origin.get("total")
    other = _validator(response) not in ("", origin.get("validator"))
    if start and (other or start != _size(part) or (known is not None and known != total)):
        discard(part)
        raise _CutOffError("does not go on where its download was interrupted")
    try:
        if not start:
            part.unlink(missing_ok=True)
        require_room(part.parent, (total or 0) - start)
        if not start:
            record = {"url": url, "validator": _validator(response), "total": total}
            write_json(_origin_path(part), record)
        with part.open("ab") as file:
            _copy(response, file, start, total, progress)
    except OSError as exc:
        raise local_failure(exc, part) from exc


def _copy(
    response: http.client.HTTPResponse,
    file: IO[bytes],
    have: int,
    total: int | None,
    progress: Progress,
) -> None:
    progress(have, total)
    while True:
        try:
            chunk = response.read1(CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as exc:
            raise _CutOffError(f"stopped after {have} bytes: {_reason(exc)}") from exc
        if not chunk:
            break
        if have == 0 and chunk.lstrip().startswith(b"<"):
            raise MirrorError("answers with a web page instead of the file")
        file.write(chunk)
        have += len(chunk)
        progress(have, total)
    if total is not None and have != total:
        raise _CutOffError(f"stopped after {have} of {total} bytes")
    if have == 0:
        raise MirrorError("answers with an empty file")


def require_room(folder: Path, needed: int) -> None:
    """Raise :class:`DownloadError` where a folder's disk has less than ``needed`` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadError(
            f"the disk of {folder} is too full: {needed / 1e6:.0f} MB are needed, "
            f"{free / 1e6:.0f} MB are free"
        )


def local_failure(exc: OSError, path: Path) -> DownloadError:
    """Return the error for a file that cannot be written here."""
    if exc.errno in _DISK_FULL:
        return DownloadError(f"the disk of {path.parent} is full (what came so far is kept)")
    return DownloadError(f"{path} cannot be written: {_reason(exc)}")


def _origin_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _span(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Return where an answer's first byte belongs and how long the whole file is."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if found is None:
            raise MirrorError("answers with a part of the file, but not which one")
        return int(found.group(1)), _whole_size(response.headers)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _whole_size(headers: Message) -> int | None:
    found = re.search(r"/(\d+)\s*$", headers.get("Content-Range", ""))
    return int(found.group(1)) if found else None


def _validator(response: http.client.HTTPResponse) -> str:
    """Return what names this version of the file in If-Range; a weak tag may not (RFC 9110)."""
    tag: str = response.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return tag
    return str(response.headers.get("Last-Modified", ""))


def _reason(exc: Exception) -> str:
    reason = exc.reason if isinstance(exc, urllib.error.URLError) else exc
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    return one_line(getattr(reason, "strerror", None) or reason) or type(reason).__name__
