"""The downloader: a published model appears under its name only when it is whole and right.

Mirror after mirror is tried: the model's own file first, then the archives. Bytes grow in a part
file that survives Ctrl-C, a kill and a cut line, and the next run goes on from it. Before a file
gets its name it is compared with its known or first-seen digest and opened as a network of the
interface and shape its name says. One program at a time works in a folder.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from gzip import BadGzipFile
from itertools import groupby
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import IO, cast
from urllib.parse import urlsplit

from crestereo.app.digests import LOCK_FILE, expected_digest, remember_digest, sha256_of
from crestereo.app.folder_lock import folder_lock
from crestereo.app.http_client import PATIENCE, Patience
from crestereo.app.mirrors import PUBLISHED_MIRRORS, Mirrors, archive_part_name
from crestereo.app.progress import ByteBar
from crestereo.app.transfer import (
    MirrorError,
    UnreachableError,
    discard,
    local_failure,
    require_room,
    transfer,
)
from crestereo.errors import DownloadError, ModelFileError
from crestereo.interface import check_model_file
from crestereo.models import ModelSpec, check_published, file_name, find_model

Report = Callable[[str], None]
"""Takes one line for the user."""


def say(line: str) -> None:
    """Print a line for the user on stderr."""
    print(line, file=sys.stderr)


def fetch_model(
    spec: ModelSpec,
    folder: Path,
    *,
    report: Report = say,
    mirrors: Mirrors = PUBLISHED_MIRRORS,
    patience: Patience = PATIENCE,
) -> Path:
    """Return the file of a published model, downloaded when it is not in the folder yet.

    Parameters
    ----------
    spec : ModelSpec
        Published model.
    folder : Path
        Where models are kept; made when missing, searched below sub-folders too.
    report : callable
        Told in one line what is fetched from where; a progress bar appears at a terminal.
    mirrors : Mirrors
        Where to look.
    patience : Patience
        Deadlines for servers.

    Returns
    -------
    Path
        The ONNX file.

    Raises
    ------
    UnknownModelError
        Such a model was never published.
    DownloadError
        No mirror gave the file, or it cannot be written; says where a file put by hand belongs.
    """
    return fetch_models([spec], folder, report=report, mirrors=mirrors, patience=patience)[0]


def fetch_models(
    specs: Iterable[ModelSpec],
    folder: Path,
    *,
    report: Report = say,
    mirrors: Mirrors = PUBLISHED_MIRRORS,
    patience: Patience = PATIENCE,
) -> list[Path]:
    """Return the files of several models; an archive that serves many is fetched once.

    Everything that can be had is fetched before a failure is raised. Parameters and errors are
    those of :func:`fetch_model`.
    """
    wanted = list(specs)
    for spec in wanted:
        check_published(spec)
    missing = [spec for spec in wanted if find_model(spec, folder) is None]
    if missing:
        _fetch_missing(missing, folder.resolve(), report, mirrors, patience)
    found = [find_model(spec, folder) for spec in wanted]
    return [path for path in found if path is not None]


def _fetch_missing(
    specs: list[ModelSpec], folder: Path, report: Report, mirrors: Mirrors, patience: Patience
) -> None:
    failures: list[DownloadError] = []
    by_iters = attrgetter("iters")
    waiting = f"another program is downloading into {folder}; waiting for it"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with folder_lock(folder, on_wait=lambda: report(waiting)):
            for iters, group in groupby(sorted(specs, key=by_iters), key=by_iters):
                # what the other program has fetched meanwhile is not missing any more
                missing = {file_name(s): s for s in group if find_model(s, folder) is None}
                try:
                    _Group(iters, missing, folder, report, mirrors, patience).fetch()
                except DownloadError as exc:
                    failures.append(exc)
    except OSError as exc:
        names = ", ".join(map(file_name, specs))
        raise DownloadError(f"{names} cannot be stored: {local_failure(exc, folder)}") from exc
    if failures:
        raise DownloadError("; ".join(map(str, failures))) from failures[0]


@dataclass
class _Group:
    """Fetch models of one iteration count into a folder that the caller has locked."""

    iters: int
    missing: dict[str, ModelSpec]
    folder: Path
    report: Report
    mirrors: Mirrors
    patience: Patience

    def fetch(self) -> None:
        """Try mirror after mirror until nothing is missing."""
        archives = self.mirrors.archive_urls(self.iters)
        reasons: list[str] = []
        silent: set[str] = set()
        for url, names in [*self._single_urls(), *((url, set(self.missing)) for url in archives)]:
            wanted = names & self.missing.keys()
            if not wanted or urlsplit(url).netloc in silent:
                continue
            self.report(f"downloading {url}")
            try:
                if url in archives:
                    self._fetch_archive(url)
                else:
                    self._fetch_single(url, *wanted)
            except UnreachableError as exc:
                silent.add(urlsplit(url).netloc)
                reasons.append(f"{url}: {exc}")
            except MirrorError as exc:
                reasons.append(f"{url}: {exc}")
            except DownloadError as exc:  # of this machine: other mirrors do not help
                raise self._failure([f"{url}: {exc}"]) from exc
        if self.missing:
            raise self._failure(reasons)
        for url in archives:  # a piece of an archive that another mirror made needless
            discard(self.folder / archive_part_name(url))

    def _single_urls(self) -> list[tuple[str, set[str]]]:
        urls = ((self.mirrors.single_url(spec, n), {n}) for n, spec in self.missing.items())
        return [(url, names) for url, names in urls if url is not None]

    def _failure(self, reasons: list[str]) -> DownloadError:
        return DownloadError(
            f"{', '.join(self.missing)} could not be downloaded ({'; '.join(reasons)}); "
            f"try again later, or put the file by hand into {self.folder}"
        )

    def _fetch_single(self, url: str, name: str) -> None:
        part = self.folder / f"{name}.part"
        self._transfer(url, part, name)
        self._accept(part, name, url)

    def _fetch_archive(self, url: str) -> None:
        archive = self.folder / archive_part_name(url)
        self._transfer(url, archive, archive.stem)
        try:
            problems = self._unpack(archive, url)
        except (tarfile.TarError, BadGzipFile, EOFError, zlib.error) as exc:
            discard(archive)
            raise MirrorError("is not a whole .tar.gz archive") from exc
        except OSError as exc:
            raise local_failure(exc, archive) from exc
        discard(archive)
        if self.missing:
            raise MirrorError("; ".join(problems) or f"does not hold {', '.join(self.missing)}")

    def _unpack(self, archive: Path, url: str) -> list[str]:
        """Take what is missing out of an archive, by base name: none of its paths is used."""
        problems: list[str] = []
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name not in self.missing or not member.isfile():
                    continue
                part = self.folder / f"{name}.part"
                discard(part)
                require_room(self.folder, member.size)
                try:
                    with part.open("wb") as file:
                        shutil.copyfileobj(cast("IO[bytes]", tar.extractfile(member)), file)
                    self._accept(part, name, url)
                except MirrorError as exc:
                    problems.append(str(exc))
                finally:
                    discard(part)
        return problems

    def _transfer(self, url: str, part: Path, label: str) -> None:
        with ByteBar(label) as bar:
            transfer(url, part, patience=self.patience, progress=bar)

    def _accept(self, part: Path, name: str, url: str) -> None:
        """Give a part file its name, or remove it when it is not what it should be."""
        sha256 = sha256_of(part)
        expected = expected_digest(name, self.folder)
        try:
            if expected not in {None, sha256}:
                raise ModelFileError(
                    f"its SHA-256 is {sha256} and not {expected} as known or seen first "
                    f"(recorded in {LOCK_FILE}; remove its entry there to take this file)"
                )
            check_model_file(part, self.missing[name])
        except ModelFileError as exc:
            discard(part)
            raise MirrorError(str(exc)) from exc
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        size = part.stat().st_size
        remember_digest(name, self.folder, sha256=sha256, size=size, url=url)
        part.replace(self.folder / name)
        discard(part)
        del self.missing[name]
