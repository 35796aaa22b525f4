"""Download of published models; a file gets its name only when it is whole and valid.

Bytes collect in ``NAME.part``, which survives Ctrl-C, a kill and a cut connection; the next run
resumes it by a Range request. One process at a time downloads into a folder.

References
----------
Conversion 284_CREStereo of PINTO's model zoo (Apache-2.0), https://github.com/PINTO0309/PINTO_model_zoo;
single files: release v0.1-crestereo of https://github.com/nburrus/stereodemo.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import BadGzipFile
from http import HTTPStatus
from itertools import groupby
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import urlsplit

from tqdm import tqdm

from crestereo.app import http
from crestereo.app.script import warn
from crestereo.errors import DownloadError, ModelFileError, SourceError, UsageError
from crestereo.interface import check_model_file
from crestereo.models import (
    PUBLISHED,
    ModelSpec,
    check_published,
    file_name,
    find_model,
    models_dir,
    parse_model_shape,
)

if TYPE_CHECKING:
    import requests

MAX_TRIES = 5
"""A server that cuts the connection this often in one run is given up."""

LOCK_NAME = ".download.lock"
_CHUNK_BYTES = 4096  # what a cut connection loses at most
_SINGLE_SHAPES = {
    "init": {(180, 320), (240, 320), (480, 640), (720, 1280)},
    "combined": {(240, 320), (480, 640), (720, 1280)},
}
"""What the release with single files holds, each for 2, 5, 10 and 20 iterations."""

KNOWN_SHA256 = {
    "crestereo_init_iter10_480x640.onnx": (
        "ea67a517e61ff381b0b26beec72222f5ba4ef416a251d6e3e1d7224c6f7ba730"
    ),
}
"""Digest of a third party's copy; another one is reported, not refused."""


@dataclass(frozen=True)
class Mirrors:
    """Addresses of the published files.

    Parameters
    ----------
    single : str
        Folder of single files, ``<single>/<name>.onnx``.
    archives : tuple of str
        Folders of archives with every shape of one iteration count,
        ``<archive>/resources_iter<n>.tar.gz``; tried in this order.
    """

    single: str
    archives: tuple[str, ...]

    def urls(self, spec: ModelSpec) -> list[str]:
        """Return the addresses that may hold a model, the best first."""
        single = spec.shape in _SINGLE_SHAPES.get(spec.version, set())
        archives = [f"{folder}/resources_iter{spec.iters}.tar.gz" for folder in self.archives]
        return [f"{self.single}/{file_name(spec)}"] * single + archives


PUBLISHED_MIRRORS = Mirrors(
    single="https://github.com/nburrus/stereodemo/releases/download/v0.1-crestereo",
    archives=(
        "https://s3.ap-northeast-2.wasabisys.com/pinto-model-zoo/284_CREStereo/tensorrt",
        "https://s3.ap-northeast-2.wasabisys.com/pinto-model-zoo/284_CREStereo/non_tensorrt",
    ),
)


class _MirrorError(DownloadError):
    """An address that does not give the file; another one may."""


def fetch_models(
    specs: Iterable[ModelSpec], folder: Path, *, mirrors: Mirrors = PUBLISHED_MIRRORS
) -> list[Path]:
    """Return the files of published models, downloaded where the folder does not hold them."""
    wanted = [check_published(spec) for spec in specs]
    missing = [spec for spec in wanted if find_model(spec, folder) is None]
    if missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder):
                _fetch_missing(missing, folder, mirrors)
        except OSError as exc:
            raise _local_error(exc, folder) from exc
    found = [find_model(spec, folder) for spec in wanted]
    return [path for path in found if path is not None]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout  # noqa: PLC0415  slow to import

    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        warn(f"another program is downloading into {folder}; waiting for it")
        lock.acquire()
    except NotImplementedError:  # a network folder without locks
        warn(f"{folder} cannot be locked; start no second download meanwhile")
    try:
        yield
    finally:
        lock.release()


def _fetch_missing(specs: list[ModelSpec], folder: Path, mirrors: Mirrors) -> None:
    """Fetch what is missing; an archive that serves several models is fetched once."""
    failures: list[DownloadError] = []
    by_iters = attrgetter("iters")
    for _, group in groupby(sorted(specs, key=by_iters), key=by_iters):
        # another process may have fetched some while this one waited
        missing = {file_name(s): s for s in group if find_model(s, folder) is None}
        urls = {url: None for spec in missing.values() for url in mirrors.urls(spec)}
        reasons: list[str] = []
        silent: set[str] = set()
        for url in sorted(urls, key=lambda url: url.endswith(".tar.gz")):
            name = PurePosixPath(urlsplit(url).path).name
            archive = name.endswith(".tar.gz")
            if not missing or not (archive or name in missing) or urlsplit(url).netloc in silent:
                continue
            warn(f"downloading {url}")
            try:
                if archive:
                    _fetch_archive(url, folder, missing)
                else:
                    part = folder / f"{name}.part"
                    _transfer(url, part)
                    _accept(part, missing[name])
                    del missing[name]
            except _MirrorError as exc:
                reasons.append(f"{url}: {exc}")
            except (DownloadError, OSError) as exc:  # a full disk: other mirrors do not help
                local = exc if isinstance(exc, DownloadError) else _local_error(exc, folder)
                reasons.append(f"{url}: {local}")
                break
            except SourceError as exc:  # no connection
                reasons.append(str(exc))
                silent.add(urlsplit(url).netloc)
        if missing:
            failures.append(
                DownloadError(
                    f"{', '.join(missing)} could not be downloaded ({'; '.join(reasons)}); try "
                    f"again later, or put the file by hand into {folder}"
                )
            )
    if failures:
        raise DownloadError("; ".join(map(str, failures))) from failures[0]


def _fetch_archive(url: str, folder: Path, missing: dict[str, ModelSpec]) -> None:
    """Take the missing models out of an archive by base name: none of its paths is used."""
    *_, place, name = PurePosixPath(urlsplit(url).path).parts
    archive = folder / f"{place}_{name}.part"
    _transfer(url, archive)
    problems: list[str] = []
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                model = PurePosixPath(member.name).name
                if model not in missing or not member.isfile():
                    continue
                part = folder / f"{model}.part"
                _require_room(folder, member.size)
                with part.open("wb") as file:
                    shutil.copyfileobj(cast("IO[bytes]", tar.extractfile(member)), file)
                try:
                    _accept(part, missing[model])
                    del missing[model]
                except _MirrorError as exc:
                    problems.append(str(exc))
    except (tarfile.TarError, BadGzipFile, EOFError, zlib.error) as exc:
        for damaged in (archive, *(folder / f"{model}.part" for model in missing)):
            _discard(damaged)
        raise _MirrorError("is not a whole .tar.gz archive") from exc
    _discard(archive)
    if missing:
        raise _MirrorError("; ".join(problems) or f"does not hold {', '.join(missing)}")


def _accept(part: Path, spec: ModelSpec) -> None:
    """Give a part file its name, or remove it when it is not the network of that name."""
    name = file_name(spec)
    try:
        check_model_file(part, spec)
    except ModelFileError as exc:
        _discard(part)
        raise _MirrorError(str(exc)) from exc
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    if KNOWN_SHA256.get(name, digest) != digest:
        warn(f"{name} has SHA-256 {digest}, another one than the copy known to this program")
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(part.with_name(name))
    _discard(part)


def _transfer(url: str, part: Path) -> None:
    """Fetch an address into a part file, resuming what is there of the same version."""
    version = _version_of(part, url)
    for attempt in range(MAX_TRIES):
        # Without a version the file may be another one since an earlier run, not within this one.
        have = part.stat().st_size if part.exists() and (version or attempt) else 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if version:
                headers["If-Range"] = version
        try:
            with http.get(url, headers) as response:
                _receive(response, url, part, have)
            break
        except http.StatusError as exc:
            if exc.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
                raise _MirrorError(str(exc)) from exc
            _discard(part)
        except SourceError:
            received = part.stat().st_size if part.exists() else 0
            if received == have or attempt == MAX_TRIES - 1:
                raise
            version = _version_of(part, url)
    with part.open("rb") as file:
        beginning = file.read(512).lstrip()
    if not beginning or beginning.startswith(b"<"):
        _discard(part)
        raise _MirrorError(
            "answers with a web page instead of the file"
            if beginning
            else "answers with an empty file"
        )


def _receive(response: requests.Response, url: str, part: Path, have: int) -> None:
    """Append the body of a response to a part file; an answer with all of it replaces the file."""
    if url.startswith("https:") and not response.url.startswith("https:"):
        raise _MirrorError(f"redirects to the unprotected address {response.url}")
    if "html" in response.headers.get("Content-Type", ""):
        raise _MirrorError("answers with a web page instead of the file")
    resumed = response.status_code == HTTPStatus.PARTIAL_CONTENT
    if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        _discard(part)
        raise _MirrorError("answers with another part of the file than was asked for")
    have = have if resumed else 0
    length = response.headers.get("Content-Length", "")
    total = have + int(length) if length.isdigit() else None
    if not resumed:
        _discard(part)
        _require_room(part.parent, total or 0)
        _origin_path(part).write_text(json.dumps({"url": url, "version": _version(response)}))
    bar = tqdm(desc=part.stem, initial=have, total=total, unit="B", unit_scale=True, disable=None)
    with part.open("ab") as file, bar:
        for chunk in response.iter_content(_CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))


def _version(response: requests.Response) -> str:
    """Return what names this version in If-Range; a weak tag may not (RFC 9110)."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _origin_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _version_of(part: Path, url: str) -> str:
    """Return the recorded version of a part file, empty when it is of another or unknown origin."""
    try:
        origin = json.loads(_origin_path(part).read_text())
        return str(origin["version"]) if origin["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _origin_path(part).unlink(missing_ok=True)


def _require_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadError(
            f"the disk of {folder} is too full: {needed / 1e6:.0f} MB are needed, "
            f"{free / 1e6:.0f} MB are free"
        )


def _local_error(exc: OSError, folder: Path) -> DownloadError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DownloadError(f"the disk of {folder} is full (what was received is kept)")
    return DownloadError(f"{folder} cannot be written: {exc.strerror or exc}")


def run_download(argv: Sequence[str] | None = None) -> None:
    """Fetch or list published models as the command-line flags ask."""
    parser = argparse.ArgumentParser(
        prog="crestereo download", description="Download published CREStereo models."
    )
    parser.add_argument("--iters", default="", metavar="N,...", help="2, 5, 10, 20; default: all")
    parser.add_argument(
        "--model-shape", default="", metavar="HxW,...", help="default: every published shape"
    )
    parser.add_argument(
        "--model-version", default="", metavar="V,...", help="init, combined; default: both"
    )
    parser.add_argument("--all", action="store_true", help="fetch everything that was published")
    parser.add_argument("--list", action="store_true", help="show what is published and present")
    parser.add_argument("--folder", type=Path, default=models_dir(), help="folder of the models")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    flags = parser.parse_args(argv)
    if flags.list:
        for spec in sorted(PUBLISHED, key=_order):
            print(f"{file_name(spec):40} {find_model(spec, flags.folder) or '-'}")
        return
    for path in fetch_models(_wanted(flags), flags.folder):
        print(path)


def _wanted(flags: argparse.Namespace) -> list[ModelSpec]:
    """Return the published models that the flags name; an omitted flag means every value."""
    versions, shapes, iters = (
        [part.strip() for part in text.split(",") if part.strip()]
        for text in (flags.model_version, flags.model_shape, flags.iters)
    )
    if not (versions or shapes or iters or flags.all):
        raise UsageError("name --iters, --model-shape or --model-version, or give --all")
    if not all(text.isdecimal() for text in iters):
        raise UsageError(f"--iters takes whole numbers separated by commas, not {flags.iters!r}")
    sizes = {parse_model_shape(shape) for shape in shapes}
    wanted = [
        spec
        for spec in sorted(PUBLISHED, key=_order)
        if (not versions or spec.version in versions)
        and (not iters or spec.iters in {int(n) for n in iters})
        and (not sizes or spec.shape in sizes)
    ]
    if not wanted:
        raise UsageError("no published model fits these flags; --list shows all of them")
    return wanted


def _order(spec: ModelSpec) -> tuple[str, int, int, int]:
    return spec.version, spec.iters, spec.height, spec.width
