"""One program at a time in a folder; the system lets go when a program dies."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LOCK_NAME = ".download.lock"
_POLL_S = 0.2

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as exc:
            return exc.errno not in (errno.EACCES, errno.EDEADLK)  # no locks there: then without
        return True

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as exc:  # some network folders have none: then without
            if exc.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        return True


@contextmanager
def folder_lock(folder: Path, *, on_wait: Callable[[], None]) -> Iterator[None]:
    """Keep other programs that take this lock out of a folder.

    Parameters
    ----------
    folder : Path
        An existing folder; a small lock file stays in it.
    on_wait : callable
        Called once when another program has the lock.

    Notes
    -----
    The lock belongs to the open file, not to the file's existence: when a program is killed the
    system releases it, so there are no stale locks to guess about.
    """
    with (folder / LOCK_NAME).open("ab") as file:
        if not _try_lock(file):
            on_wait()
            while not _try_lock(file):
                time.sleep(_POLL_S)
        yield
