"""What the bytes of the downloaded models are: known beforehand, or as first seen.

``models.lock.json`` beside the models remembers the SHA-256 of every file that was downloaded, so
that another file under the same name does not go unnoticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crestereo.app.json_file import read_json_object, write_json
from crestereo.app.mirrors import KNOWN_SHA256
from crestereo.errors import DownloadError

LOCK_FILE = "models.lock.json"
_CHUNK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def expected_digest(
    name: str, folder: Path, *, known: Mapping[str, str] = KNOWN_SHA256
) -> str | None:
    """Return the digest a model must have, None where none was seen yet.

    Parameters
    ----------
    name : str
        File name of the model.
    folder : Path
        Folder with the lock file.
    known : mapping of str to str
        Digests by file name that count more than what was seen.

    Raises
    ------
    DownloadError
        When the lock file is damaged.
    """
    entry = _entries(folder).get(name)
    seen = entry.get("sha256") if isinstance(entry, dict) else None
    return known.get(name) or (seen if isinstance(seen, str) else None)


def _entries(folder: Path) -> dict[str, Any]:
    try:
        return read_json_object(folder / LOCK_FILE)
    except ValueError as exc:
        raise DownloadError(
            f"{folder / LOCK_FILE} is damaged ({exc}); mend or delete it: without it nothing would "
            "tell another file under a model's name"
        ) from exc


def remember_digest(name: str, folder: Path, *, sha256: str, size: int, url: str) -> None:
    """Write the first-seen digest of a model, its size in bytes and its address.

    An entry that is there already stays as it is.
    """
    entries = _entries(folder)
    if name not in entries:
        entries[name] = {"sha256": sha256, "bytes": size, "url": url}
        write_json(folder / LOCK_FILE, entries)
