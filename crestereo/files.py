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
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise UsageError(
            f"cannot write {target}: {reason}; choose another place for the output"
        ) from exc
    finally:
        with suppress(OSError):  # where there is no folder there is nothing to remove
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, *parts: bytes) -> None:
    """Write a whole file made of `parts`, or none of it; raise UsageError when that fails."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        for part in parts:
            file.write(part)
