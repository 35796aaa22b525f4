"""The processes of a run: none outlives it, and none waits for one that has died."""

from __future__ import annotations

import multiprocessing as mp
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

_LOOK_EVERY_S = 1.0


def orphaned() -> None:
    """End this process when the one that started it is gone, however that ended."""
    parent = mp.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit("the run was ended")


def check_alive(renderers: Sequence[SpawnProcess]) -> None:
    """Leave where a rendering process has ended: nothing new would come."""
    if not all(renderer.is_alive() for renderer in renderers):
        raise SystemExit("A rendering process failed; its message stands above.")


def wait_for(trainers: Sequence[SpawnProcess], renderers: Sequence[SpawnProcess]) -> None:
    """Wait until all trainers are done, and leave with all of them as soon as one process fails."""
    try:
        while any(trainer.is_alive() for trainer in trainers) and not _failed(trainers):
            alive = [process for process in (*trainers, *renderers) if process.is_alive()]
            wait([process.sentinel for process in alive], timeout=_LOOK_EVERY_S)
            check_alive(renderers)
    finally:
        for trainer in trainers:
            trainer.terminate()
    if _failed(trainers):
        raise SystemExit("A training process failed; its message stands above.")


def _failed(trainers: Sequence[SpawnProcess]) -> bool:
    return any(trainer.exitcode for trainer in trainers)
