"""What is in the models folder, and whether it is what it should be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crestereo.app.digests import LOCK_FILE, expected_digest, sha256_of
from crestereo.errors import ModelFileError
from crestereo.interface import check_model_file
from crestereo.models import ModelSpec, parse_file_name

Verdict = Literal["right", "unrecorded", "wrong"]


@dataclass(frozen=True)
class Finding:
    """Say how a model's file was found.

    Parameters
    ----------
    path : Path
        The file.
    verdict : str
        "right": digest and interface are what they should be. "unrecorded": the interface is
        what the name says, and no digest is known. "wrong": it must not be used.
    text : str
        The verdict in words.
    """

    path: Path
    verdict: Verdict
    text: str


def verify_models(folder: Path) -> list[Finding]:
    """Check every file with the name of a published model in a folder and below it.

    Parameters
    ----------
    folder : Path
        Folder of the models and their lock file.
    """
    named = ((path, parse_file_name(path.name)) for path in sorted(folder.rglob("*.onnx")))
    return [_verify(path, spec, folder) for path, spec in named if spec is not None]


def unfinished_downloads(folder: Path) -> list[tuple[Path, int]]:
    """Return the part files in a folder and how many bytes each has."""
    return [(path, path.stat().st_size) for path in sorted(folder.glob("*.part"))]


def _verify(path: Path, spec: ModelSpec, folder: Path) -> Finding:
    try:
        sha256, expected = sha256_of(path), expected_digest(path.name, folder)
        check_model_file(path, spec)
    except ModelFileError as exc:
        return Finding(path, "wrong", str(exc))
    except OSError as exc:
        return Finding(path, "wrong", f"cannot be read: {exc.strerror or exc}")
    if expected is None:
        return Finding(path, "unrecorded", "interface as its name says; no digest on record")
    if sha256 != expected:
        text = f"SHA-256 is {sha256}, not {expected} as known or as recorded in {LOCK_FILE}"
        return Finding(path, "wrong", text)
    return Finding(path, "right", "digest and interface as recorded")
