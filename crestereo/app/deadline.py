"""Patience with an end: calls into libraries that may hang, without hanging along."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

_LOOK_EVERY_S = 0.05


class DeadlineError(Exception):
    """Say that a call did not return in time; translated where it was made."""


def call_within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return what `call` returns, unless it takes longer than `seconds`.

    Parameters
    ----------
    seconds : float
        Wall time given [s].
    call : callable
        Runs in a daemon thread of its own, which is left to itself when the time is over. The
        caller stays open to Ctrl-C.

    Returns
    -------
    object
        What the call returned.

    Raises
    ------
    DeadlineError
        When the time is over.
    Exception
        What the call raised.
    """
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as exc:  # noqa: BLE001  raised again in the caller's thread
            failures.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    end = time.monotonic() + seconds
    while thread.is_alive():
        left = end - time.monotonic()
        if left <= 0:
            raise DeadlineError(f"no answer within {seconds:g} s")
        thread.join(min(left, _LOOK_EVERY_S))
    if failures:
        raise failures[0]
    return results[0]
