"""What happens to a pair before the network sees it, and how its disparity comes back from that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crestereo.types import DisparityMap, StereoPair


def _as_it_is(disparity: DisparityMap) -> DisparityMap:
    return disparity


@dataclass(frozen=True)
class PreparedPair:
    """Hold a pair as the network shall see it.

    Parameters
    ----------
    original : StereoPair
        The pair as it is shown; disparity is wanted on the grid of its left picture.
    pair : StereoPair
        The pair as the network sees it.
    undo : callable
        Brings the disparity of `pair` onto the grid of the left picture of `original`.
    note : str
        One line for the user about what was done; empty where nothing was.
    doubt : str
        One line about what cannot be relied on because of it; empty where all can.
    """

    original: StereoPair
    pair: StereoPair
    undo: Callable[[DisparityMap], DisparityMap] = _as_it_is
    note: str = ""
    doubt: str = ""


Prepare = Callable[[StereoPair], PreparedPair]
"""Makes a pair ready for the network; called in one thread, pair after pair."""


def prepare_nothing(pair: StereoPair) -> PreparedPair:
    """Let the network see a pair as it came."""
    return PreparedPair(pair, pair)
