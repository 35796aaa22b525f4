"""Whether the left picture was taken by the left eye, told from what hides what.

Beside the edge of a near thing there is a strip of background that only one eye sees. In pictures
in the right order the left eye sees it left of the near thing, and the strip ends, on the near
thing's side, at a visible outline; on the other side it goes on as the background it belongs to.
With swapped eyes it is the other way round, whatever constant is added to all disparities. So
every such strip votes: on which side is the stronger outline, and which side looks like the strip?
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.alignment.check import PairCheck, check_pair
from crestereo.alignment.dense import Field, Mask, agrees, aligned_copies, two_sided_disparity
from crestereo.types import BGRImage

WORKING_WIDTH_PX = 400
MIN_JUMP_PX = 3.0  # of disparity: smaller ones leave no strip to look at
MIN_STRIPS = 60  # fewer rows of strips are not asked
EDGE_NOISE, COLOUR_NOISE = 4.0, 3.0  # CIE Lab units below which differences do not count
LOG_ODDS = 12.0
"""Log-odds for each unit of vote, from 80 rendered scenes: votes below 0.14 are as often wrong as
right, none beyond 0.25 was wrong."""
ANSWER_FROM = 0.95


@dataclass(frozen=True)
class SwapFinding:
    """Hold whether the eyes of a pair are swapped.

    Parameters
    ----------
    swapped : bool or None
        None: the pictures do not tell.
    confidence : float
        Probability of the more likely order, 0.5 to 1.
    """

    swapped: bool | None
    confidence: float

    def __str__(self) -> str:
        """Return a line for the user."""
        if self.swapped is None:
            return "order of the eyes: the pictures do not tell"
        order = "swapped" if self.swapped else "as it should be"
        return f"order of the eyes: {order} ({100 * self.confidence:.0f} % sure)"


def detect_swap(left: BGRImage, right: BGRImage, *, check: PairCheck | None = None) -> SwapFinding:
    """Find out whether the eyes of a pair are swapped.

    Parameters
    ----------
    left, right : (H, W, 3) uint8
        BGR pictures of the same size, in the order to be judged.
    check : PairCheck, optional
        What `check_pair` said of them; looked at anew by default.

    Returns
    -------
    SwapFinding

    Raises
    ------
    SourceError
        If the pictures differ in size.
    """
    check = check_pair(left, right) if check is None else check
    if not check.usable:
        return SwapFinding(None, 0.5)
    (left_small, left_data), (right_small, right_data) = aligned_copies(
        left, right, check.model, WORKING_WIDTH_PX
    )
    scale = left_small.shape[1] / check.shape[1]
    low, high = (value * scale for value in check.disparity_range)
    margin = 0.1 * (high - low) + 3
    from_left, from_right = two_sided_disparity(
        left_small, right_small, math.floor(low - margin), math.ceil(high + margin)
    )
    known_left = left_data & agrees(from_left, from_right, right_data, -1)
    known_right = right_data & agrees(from_right, from_left, left_data, 1)
    mirror = np.s_[:, ::-1]  # seen in a mirror the right picture is a left one
    votes = np.concatenate(
        [
            _votes(left_small, from_left, known_left),
            _votes(right_small[mirror], from_right[mirror], known_right[mirror]),
        ]
    )
    if len(votes) < MIN_STRIPS:
        return SwapFinding(None, 0.5)
    vote = float(votes.mean())
    confidence = 1 / (1 + math.exp(-LOG_ODDS * abs(vote)))
    return SwapFinding(vote < 0 if confidence >= ANSWER_FROM else None, confidence)


def _votes(picture: BGRImage, disparity: Field, known: Mask) -> Field:
    """Return one number for each row of each strip, positive for the right order."""
    row, before, after = _strips(disparity, known)
    lab = cv2.cvtColor(picture, cv2.COLOR_BGR2LAB).astype(np.float32)
    lab = np.asarray(cv2.GaussianBlur(lab, (0, 0), sigmaX=0.7), np.float32)
    slope = np.zeros(disparity.shape, np.float32)
    slope[:, 1:-1] = np.linalg.norm(lab[:, 2:] - lab[:, :-2], axis=-1)
    edge = cv2.dilate(slope, np.ones((1, 5), np.uint8)) + EDGE_NOISE
    outline = np.log(edge[row, after] / edge[row, before])
    length = (after - before - 1)[:, None]
    inside = before[:, None] + 1 + length * np.array([0.3, 0.5, 0.7])  # (N, 3)
    reach = 2 + length * np.linspace(0, 1, 6)  # (N, 6)

    def strangeness(columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far the colours in the strip are from the nearest beside it."""
        last = disparity.shape[1] - 1
        beside = lab[row[:, None], np.clip(np.rint(columns), 0, last).astype(np.intp)]
        strip = lab[row[:, None], np.clip(np.rint(inside), 0, last).astype(np.intp)]
        apart = np.linalg.norm(strip[:, :, None] - beside[:, None], axis=-1)  # (N, 3, 6)
        return np.asarray(apart.min(axis=2).mean(axis=1) + COLOUR_NOISE)

    likeness = np.log(strangeness(after[:, None] + reach) / strangeness(before[:, None] - reach))
    return np.asarray(outline + likeness, np.float32)


def _strips(
    disparity: Field, known: Mask
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return row, last known column before and first known column after each one-eyed strip."""
    rows, columns = np.nonzero(known)
    values = disparity[rows, columns]
    jump = values[1:] - values[:-1]
    length = columns[1:] - columns[:-1] - 1
    chosen = (
        (rows[1:] == rows[:-1])
        & (jump >= MIN_JUMP_PX)
        & (length >= 0.5 * jump)
        & (length <= 1.6 * jump + 2)
    )
    return rows[:-1][chosen], columns[:-1][chosen], columns[1:][chosen]
