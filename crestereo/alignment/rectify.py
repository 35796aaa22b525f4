"""Warp a pair so that a network can match it, and bring the result back to the left picture."""

from __future__ import annotations

from dataclasses import dataclass

from crestereo.alignment.check import PairCheck, check_pair
from crestereo.alignment.plan import AlignmentPlan, plan_alignment
from crestereo.types import BGRImage, DisparityMap


@dataclass(frozen=True)
class AlignedPair:
    """Hold a pair that a network can match.

    Parameters
    ----------
    left, right : (H', W', 3) uint8
        The pictures as given where nothing was to do, else warped onto a common canvas.
    plan : AlignmentPlan
        What was done.
    """

    left: BGRImage
    right: BGRImage
    plan: AlignmentPlan

    @property
    def check(self) -> PairCheck:
        """Return what the pair looked like."""
        return self.plan.check

    def restore(self, disparity: DisparityMap) -> DisparityMap:
        """Bring the disparity of the aligned pair back to the left picture, see the plan."""
        return self.plan.restore(disparity)


def align_pair(left: BGRImage, right: BGRImage, *, check: PairCheck | None = None) -> AlignedPair:
    """Align two pictures as far as their matches tell how.

    Parameters
    ----------
    left, right : (H, W, 3) uint8
        BGR pictures of the same size.
    check : PairCheck, optional
        What `check_pair` said; looked at anew by default.

    Returns
    -------
    AlignedPair
        Its `restore` brings a disparity back to the given left picture.

    Raises
    ------
    SourceError
        If the pictures differ in size.
    """
    plan = plan_alignment(check_pair(left, right) if check is None else check)
    return AlignedPair(*plan.apply(left, right), plan)
