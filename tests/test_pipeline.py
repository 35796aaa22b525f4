"""The pipeline: order, overlap, back-pressure, errors, and how it ends."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from crestereo.app.pipeline import ClosedError, Mailbox, Pipeline, TimeoutExceeded, call_within


def collect(pipeline: Pipeline[int], limit_s: float = 10) -> list[int]:
    """Poll until the end, as a window loop does."""
    results, end = [], time.monotonic() + limit_s
    while time.monotonic() < end:
        try:
            result = pipeline.poll()
        except ClosedError:
            return results
        if result is None:
            time.sleep(0.001)
        else:
            results.append(result)
    raise TimeoutError("the pipeline did not end")


def wait_until(condition: Callable[[], bool], limit_s: float = 10) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it did not come to pass")
        time.sleep(0.001)


def test_results_come_in_order_and_then_the_end() -> None:
    pipeline: Pipeline[int] = Pipeline(range(50), [lambda n: n + 1, lambda n: n * 2])
    assert collect(pipeline) == [2 * (n + 1) for n in range(50)]
    assert pipeline.close()


def test_without_steps_the_items_themselves_come() -> None:
    assert collect(Pipeline([1, 2, 3], [])) == [1, 2, 3]


def test_all_work_is_done_beside_the_calling_thread() -> None:
    names = []

    def items() -> Iterator[int]:
        names.append(threading.current_thread())
        yield 0

    def step(number: int) -> int:
        names.append(threading.current_thread())
        return number

    assert collect(Pipeline(items(), [step, step])) == [0]
    assert len(set(names)) == 3
    assert threading.main_thread() not in names
    assert all(thread.daemon for thread in names)


def test_stages_overlap() -> None:
    """The second step meets the first one at its next item: in turns neither would go on."""
    barrier = threading.Barrier(2, timeout=10)

    def meet_at(numbers: tuple[int, ...]) -> Callable[[int], int]:
        def step(number: int) -> int:
            if number in numbers:
                barrier.wait()
            return number

        return step

    assert collect(Pipeline(range(6), [meet_at((1, 2, 3)), meet_at((0, 1, 2))])) == [*range(6)]


def test_who_does_not_take_stops_everything_behind() -> None:
    read = []

    def items() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield number

    pipeline: Pipeline[int] = Pipeline(items(), [lambda n: n, lambda n: n])
    wait_until(lambda: len(read) >= 4)
    time.sleep(0.1)
    assert len(read) <= 7  # one in each of 3 mailboxes and in the hands of each of 3 threads
    assert pipeline.close()


def test_a_camera_gives_its_latest_picture() -> None:
    go, produced = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 0
        while not started.is_set():
            time.sleep(0.001)
        yield from range(1, 9)
        produced.set()

    started = threading.Event()

    def slow(number: int) -> int:
        started.set()
        go.wait(10)
        return number

    pipeline: Pipeline[int] = Pipeline(items(), [slow], latest_only=True)
    assert produced.wait(10)
    go.set()
    assert collect(pipeline) == [0, 8]


def test_an_error_of_a_step_arrives_after_what_came_before() -> None:
    def step(number: int) -> int:
        if number == 3:
            raise ZeroDivisionError("three")
        return number

    pipeline: Pipeline[int] = Pipeline(range(100), [step, lambda n: n])
    results = []
    with pytest.raises(ZeroDivisionError, match="three"):
        while True:
            result = pipeline.poll()
            results += [] if result is None else [result]
            time.sleep(0.001)
    assert results == [0, 1, 2]
    assert pipeline.close()


def test_an_error_of_the_items_arrives_too() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the camera was unplugged")

    pipeline: Pipeline[int] = Pipeline(items(), [lambda n: n])
    with pytest.raises(OSError, match="unplugged"):
        collect(pipeline)


def test_close_cancels_the_step_and_lets_the_items_go() -> None:
    cancelled, entered, let_go = threading.Event(), threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            let_go.set()

    def step(number: int) -> int:
        entered.set()
        if cancelled.wait(10):
            raise RuntimeError("cancelled")
        return number

    pipeline: Pipeline[int] = Pipeline(items(), [step], cancel=cancelled.set)
    assert entered.wait(10)
    assert pipeline.close(patience_s=5)
    assert let_go.wait(5)
    with pytest.raises(ClosedError):  # the error of the cancelled step is nobody's business
        pipeline.poll()


def test_close_does_not_wait_for_a_step_that_cannot_be_cancelled() -> None:
    release = threading.Event()
    pipeline: Pipeline[int] = Pipeline([1], [lambda n: release.wait(20) and n])
    start = time.monotonic()
    assert not pipeline.close(patience_s=0.1)
    assert time.monotonic() - start < 5
    release.set()


def test_nothing_is_kept_of_what_has_passed() -> None:
    alive: weakref.WeakSet[Frame] = weakref.WeakSet()

    class Frame:
        """Stand for a picture."""

        def __init__(self) -> None:
            alive.add(self)

    pipeline: Pipeline[Frame] = Pipeline((Frame() for _ in range(300)), [lambda f: f])
    most = 0
    while True:
        try:
            pipeline.poll()
        except ClosedError:
            break
        most = max(most, len(alive))
    assert 1 <= most <= 8


def test_a_mailbox_that_was_closed_takes_and_gives_nothing() -> None:
    box: Mailbox[int] = Mailbox()
    assert box.take(0) is None
    box.put(1)
    box.close()
    with pytest.raises(ClosedError):
        box.take()
    with pytest.raises(ClosedError):
        box.put(2)


def test_a_mailbox_that_ended_gives_what_it_has() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(1)
    box.put(2, replace=True)
    box.end()
    assert box.take() == 2
    with pytest.raises(ClosedError):
        box.take()


def test_a_call_within_its_deadline_returns_or_raises() -> None:
    assert call_within(5, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        call_within(5, lambda: 1 // 0)


def test_a_call_that_hangs_is_left_to_itself() -> None:
    release = threading.Event()
    with pytest.raises(TimeoutExceeded, match=r"within 0\.1 s"):
        call_within(0.1, lambda: release.wait(20))
    release.set()
