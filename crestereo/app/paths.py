"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path


def expand_home(path: str) -> str:
    """Return a path with the home folder for a ``~`` at its beginning, as a shell does."""
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # no such user: the name is taken as it stands
        return path
