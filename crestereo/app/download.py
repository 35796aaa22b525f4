"""Download published models; a file gets its name only when valid.

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
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from gzip import BadGzipFile
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from tqdm import tqdm

from crestereo.app import sources
from crestereo.app.script import warn
from crestereo.errors import DownloadError, ModelFileError, SourceError, UsageError
from crestereo.models import (
    PUBLISHED,
    ModelSpec,
    check_published,
    file_name,
    find_model,
    models_dir,
    parse_model_shape,
)
from crestereo.session import check_model_file

if TYPE_CHECKING:
    import requests

MAX_TRIES = 5
"""A server that cuts the connection this often in one run is given up."""

LOCK_NAME = ".download.lock"
_ARCHIVE = ".tar.gz"
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
    """Addresses of the published files."""

    single: str  # folder of single files, SINGLE/NAME.onnx
    archives: tuple[str, ...]  # of archives with every shape, ARCHIVE/resources_iterN.tar.gz

    def urls(self, spec: ModelSpec) -> list[str]:
        """Return the addresses that may hold a model, the best first."""
        single = spec.shape in _SINGLE_SHAPES.get(spec.version, set())
        archives = [f"{folder}/resources_iter{spec.iters}{_ARCHIVE}" for folder in self.archives]
        return [f"{self.single}/{file_name(spec)}"] * single + archives


PUBLISHED_MIRRORS = Mirrors(
    single="https://github.com/nburrus/stereodemo/releases/download/v0.1-crestereo",
    archives=(
        "https://s3.ap-northeast-2.wasabisys.com/pinto-model-zoo/284_CREStereo/tensorrt",
        "https://s3.ap-northeast-2.wasabisys.com/pinto-model-zoo/284_CREStereo/non_tensorrt",
    ),
)


class _MirrorError(DownloadError):
    """Failure of one address; another one may serve the file."""


def fetch_models(
    specs: Iterable[ModelSpec], folder: Path, *, mirrors: Mirrors = PUBLISHED_MIRRORS
) -> list[Path]:
    """Return the files of published models, downloaded where missing."""
    wanted = [check_published(spec) for spec in specs]
    if any(find_model(spec, folder) is None for spec in wanted):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder):
                _fetch_missing(wanted, folder, mirrors)
        except OSError as exc:
            raise DownloadError(_reason(exc, folder)) from exc
    found = [find_model(spec, folder) for spec in wanted]
    return [path for path in found if path is not None]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
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
    failures = []
    for iters in sorted({spec.iters for spec in specs}):  # an archive holds those of one number
        # another process may have fetched some while this one waited
        group = [s for s in specs if s.iters == iters and find_model(s, folder) is None]
        missing = {file_name(spec): spec for spec in group}
        reasons = _fetch_group(missing, folder, mirrors)
        if missing:
            failures.append(
                f"{', '.join(missing)} could not be downloaded ({'; '.join(reasons)}); try again "
                f"later, or put the file by hand into {folder}"
            )
    if failures:
        raise DownloadError("; ".join(failures))


def _fetch_group(missing: dict[str, ModelSpec], folder: Path, mirrors: Mirrors) -> list[str]:
    """Fetch models, removed from `missing`; return the failures of addresses."""
    reasons = []
    silent = set()  # servers without connection
    urls = {url: None for spec in missing.values() for url in mirrors.urls(spec)}  # in order
    for url in sorted(urls, key=lambda url: url.endswith(_ARCHIVE)):
        parts = urlsplit(url)
        if not missing or parts.netloc in silent:
            continue
        warn(f"downloading {url}")
        *_, place, name = PurePosixPath(parts.path).parts
        try:
            archive = name.endswith(_ARCHIVE)
            part = folder / (f"{place}_{name}.part" if archive else f"{name}.part")
            _transfer(url, part)
            (_unpack if archive else _accept)(part, missing)
        except _MirrorError as exc:
            reasons.append(f"{url}: {exc}")
        except OSError as exc:  # a full disk: other mirrors do not help
            return [*reasons, f"{url}: {_reason(exc, folder)}"]
        except SourceError as exc:
            reasons.append(str(exc))
            silent.add(parts.netloc)
    return reasons


def _unpack(archive: Path, missing: dict[str, ModelSpec]) -> None:
    """Extract missing models by base name, whatever their path."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name in missing and member.isfile():
                    part = archive.with_name(f"{name}.part")
                    with part.open("wb") as file:
                        shutil.copyfileobj(cast("IO[bytes]", tar.extractfile(member)), file)
                    _accept(part, missing)
    except (tarfile.TarError, BadGzipFile, EOFError, zlib.error) as exc:
        for damaged in (archive, *(archive.with_name(f"{name}.part") for name in missing)):
            damaged.unlink(missing_ok=True)
        raise _MirrorError("is not a whole .tar.gz archive") from exc
    archive.unlink()
    if missing:
        raise _MirrorError(f"does not hold {', '.join(missing)}")


def _accept(part: Path, missing: dict[str, ModelSpec]) -> None:
    """Name a part file after its model, or remove it."""
    name = part.stem
    try:
        check_model_file(part, missing[name])
    except ModelFileError as exc:
        part.unlink()
        raise _MirrorError(str(exc)) from exc
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    if KNOWN_SHA256.get(name, digest) != digest:
        warn(f"{name} has SHA-256 {digest}, another one than the copy known to this program")
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(part.with_name(name))
    del missing[name]


def _transfer(url: str, part: Path) -> None:
    """Fetch an address into a part file, resuming what is there."""
    for attempt in range(MAX_TRIES):
        have = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            with sources.request(url, headers) as response:
                _receive(response, url, part, have)
            return
        except sources.StatusError as exc:
            if exc.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
                raise _MirrorError(str(exc)) from exc
            part.unlink()
        except SourceError:
            received = part.stat().st_size if part.exists() else 0
            if received == have or attempt == MAX_TRIES - 1:
                raise


def _receive(response: requests.Response, url: str, part: Path, have: int) -> None:
    """Append a response to a part file, or replace the file."""
    if url.startswith("https:") and not response.url.startswith("https:"):
        raise _MirrorError(f"redirects to the unprotected address {response.url}")
    if "html" in response.headers.get("Content-Type", ""):
        raise _MirrorError("answers with a web page instead of the file")
    if response.status_code != HTTPStatus.PARTIAL_CONTENT:  # the whole file
        part.unlink(missing_ok=True)
        have = 0
    length = response.headers.get("Content-Length", "")
    total = have + int(length) if length.isdigit() else None
    bar = tqdm(desc=part.stem, initial=have, total=total, unit="B", unit_scale=True, disable=None)
    with part.open("ab") as file, bar:
        for chunk in response.iter_content(_CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))


def _reason(exc: OSError, folder: Path) -> str:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk of {folder} is full (what was received is kept)"
    return f"{folder} cannot be written: {exc.strerror or exc}"


def run_download(argv: Sequence[str] | None = None) -> None:
    """Fetch or list published models by command-line flags."""
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
        for spec in sorted(PUBLISHED, key=astuple):
            print(f"{file_name(spec):40} {find_model(spec, flags.folder) or '-'}")
        return
    for path in fetch_models(_wanted(flags), flags.folder):
        print(path)


def _wanted(flags: argparse.Namespace) -> list[ModelSpec]:
    """Return the published models of the flags; an omitted one means all."""
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
        for spec in sorted(PUBLISHED, key=astuple)
        if (not versions or spec.version in versions)
        and (not iters or spec.iters in {int(n) for n in iters})
        and (not sizes or spec.shape in sizes)
    ]
    if not wanted:
        raise UsageError("no published model fits these flags; --list shows all of them")
    return wanted
