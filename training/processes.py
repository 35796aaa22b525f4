"""Supervision of the processes of a training run.

No process outlives the run, and none waits for a process that has failed.
"""

from __future__ import annotations

import multiprocessing as mp
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

_POLL_S = 1.0


def exit_if_orphaned() -> None:
    """Exit if the parent process has ended."""
    parent = mp.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit("the parent process has ended")


def check_alive(renderers: Sequence[SpawnProcess]) -> None:
    """Exit if a rendering process has ended."""
    if not all(renderer.is_alive() for renderer in renderers):
        raise SystemExit("A rendering process failed; see its message above.")


def wait_for(trainers: Sequence[SpawnProcess], renderers: Sequence[SpawnProcess]) -> None:
    """Wait for all trainers; terminate them if a process fails."""
    try:
        while any(trainer.is_alive() for trainer in trainers) and not _failed(trainers):
            alive = [process for process in (*trainers, *renderers) if process.is_alive()]
            wait([process.sentinel for process in alive], timeout=_POLL_S)
            check_alive(renderers)
    finally:
        for trainer in trainers:
            trainer.terminate()
    if _failed(trainers):
        raise SystemExit("A training process failed; see its message above.")


def _failed(trainers: Sequence[SpawnProcess]) -> bool:
    return any(trainer.exitcode for trainer in trainers)
