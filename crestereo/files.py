"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UsageError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Lend a temporary path beside `path` and rename it when the block ends well.

    Parameters
    ----------
    path : str or Path
        Where the file belongs; missing parent folders are made.

    Yields
    ------
    Path
        Where to write. It keeps the suffix, because some writers go by it.

    Raises
    ------
    UsageError
        When the file cannot be written; the temporary file is removed.
    BrokenPipeError
        As the block raises it: it is about what reads the program's output.
    """
    target = Path(path)
    # Short even where the target's name is as long as names can be; absolute, because FFmpeg takes
    # "a:b/c.mp4" for an address.
    temporary = target.absolute().with_name(f".{os.urandom(8).hex()}.tmp{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except BrokenPipeError:
        raise
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise UsageError(
            f"cannot write {target}: {reason}; choose another place for the output"
        ) from exc
    finally:
        with suppress(OSError):  # where there is no folder there is nothing to remove
            temporary.unlink(missing_ok=True)


def nearest_existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def write_bytes(path: str | Path, *parts: bytes) -> None:
    """Write a whole file made of `parts`, or none of it; raise UsageError when that fails."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        for part in parts:
            file.write(part)
