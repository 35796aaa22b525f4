"""Ctrl-C, and what else asks the process to end, as one request."""

from __future__ import annotations

import signal
import time
from types import FrameType

_ONE_REQUEST_S = 1.0  # the process is gone by then; a key that bounces asks again within 20 ms


class Interrupts:
    """Raise KeyboardInterrupt for the first request to end, and for a late one that still finds us.

    What comes right after a request belongs to it: it must not cut off what the first one lets
    finish, such as the video that is kept. A closed terminal and a polite request of the system
    count as Ctrl-C.

    Attributes
    ----------
    requested : bool
        Whether there was a request. Libraries turn the exception into others of their own.
    """

    def __init__(self) -> None:
        self.requested = False
        self._last_s = 0.0

    def install(self) -> None:
        """Take the signals over, but for those that are ignored: nohup lets a run outlive."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)  # each system has its own
            defaults = (signal.SIG_DFL, signal.default_int_handler)
            if number is not None and signal.getsignal(number) in defaults:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self.requested and now_s - self._last_s < _ONE_REQUEST_S:
            return
        self.requested, self._last_s = True, now_s
        raise KeyboardInterrupt
