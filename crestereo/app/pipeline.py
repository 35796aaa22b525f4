"""Run stages in daemon threads with one-slot mailboxes between them.

::

    items ──► mailbox ──► step 1 ──► mailbox ──► step 2 ──► mailbox ──► poll()
    (thread)              (thread)              (thread)              (main thread)

Every mailbox holds one thing, so reading, estimating and drawing overlap while at most a few
frames are in memory, and a main thread that does not take (a pause) stops everything behind it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ClosedError(Exception):
    """Use of a mailbox that is closed."""


class Mailbox(Generic[Item]):
    """Slot for one item on its way between two threads."""

    def __init__(self) -> None:
        self._things: list[Item] = []
        self._changed = threading.Condition()
        self._ended = False
        self._closed = False

    def put(self, thing: Item, *, replace: bool = False) -> None:
        """Wait for a free slot and put; `replace` discards the old one."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or replace or not self._things)
            if self._closed:
                raise ClosedError
            self._things[:] = [thing]
            self._changed.notify_all()

    def take(self, timeout_s: float | None = None) -> Item | None:
        """Return the thing, None where none comes within `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._ended or self._things, timeout_s)
            if self._closed or (self._ended and not self._things):
                raise ClosedError
            thing = self._things.pop() if self._things else None
            self._changed.notify_all()
            return thing

    def end(self) -> None:
        """Refuse more things; what is there can still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Discard the item and wake waiting threads."""
        with self._changed:
            self._closed = True
            self._things.clear()
            self._changed.notify_all()


class Pipeline(Generic[Item]):
    """Chain of steps that run in separate threads.

    `latest_only` lets a new item replace one that still waits for the first step (without steps:
    for `poll`), as a camera needs it. `cancel` ends the call that a step is in; `close` calls it.
    """

    def __init__(
        self,
        items: Iterable[Any],
        steps: Sequence[Callable[[Any], Any]],
        *,
        latest_only: bool = False,
        cancel: Callable[[], None] | None = None,
    ) -> None:
        self._boxes: list[Mailbox[Any]] = [Mailbox() for _ in range(len(steps) + 1)]
        self._cancel = cancel
        self._failures: list[BaseException] = []
        self._closing = False
        self._threads = [self._start(0, lambda: self._feed(items, latest_only))]
        for position, step in enumerate(steps):
            work = partial(self._work, self._boxes[position], self._boxes[position + 1], step)
            self._threads.append(self._start(position + 1, work))

    def poll(self, timeout_s: float = 0.0) -> Item | None:
        """Return the next result, None where none comes within `timeout_s`."""
        try:
            return self._boxes[-1].take(timeout_s)
        except ClosedError:
            if self._failures:
                raise self._failures[0] from None
            raise

    def close(self, patience_s: float = 0.3) -> bool:
        """Stop all threads and return whether they ended in time."""
        self._closing = True
        for box in self._boxes:
            box.close()
        end = time.monotonic() + patience_s
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < end:
            if self._cancel is not None:  # again: the step may only now be entering its call
                self._cancel()
            for thread in self._threads:
                thread.join(0.01)
        return not any(thread.is_alive() for thread in self._threads)

    def _start(self, outbox: int, task: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=self._guarded, args=(outbox, task), daemon=True)
        thread.start()
        return thread

    def _guarded(self, outbox: int, task: Callable[[], None]) -> None:
        try:
            task()
        except ClosedError:
            pass  # the end of the work, not an error
        except BaseException as exc:  # noqa: BLE001  raised again where the results are polled
            if not self._closing:
                self._failures.append(exc)
        for box in self._boxes[:outbox]:  # nobody takes from these any more
            box.close()
        self._boxes[outbox].end()

    def _feed(self, items: Iterable[Any], latest_only: bool) -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                self._boxes[0].put(item, replace=latest_only)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:  # a generator lets its files go in the thread that reads them
                close()

    @staticmethod
    def _work(inbox: Mailbox[Any], outbox: Mailbox[Any], step: Callable[[Any], Any]) -> None:
        while True:
            outbox.put(step(inbox.take()))


class TimeoutExceeded(Exception):  # noqa: N818
    """A call that did not return in time."""


def call_within(limit_s: float, call: Callable[[], Result]) -> Result:
    """Return what a blocking call returns, or raise TimeoutExceeded."""
    outcome: list[Result | BaseException] = []

    def work() -> None:
        try:
            outcome.append(call())
        except BaseException as exc:  # noqa: BLE001  raised again by the caller
            outcome.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    end = time.monotonic() + limit_s
    while thread.is_alive() and time.monotonic() < end:
        thread.join(0.05)  # in pieces: Windows delivers Ctrl-C between them
    if not outcome:
        raise TimeoutExceeded(f"no answer within {limit_s:g} s")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
