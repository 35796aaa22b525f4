"""Check and rectify stereo pairs without calibration."""

from crestereo.alignment.check import PairCheck, Verdict, check_pair, choose_shift
from crestereo.alignment.epipolar import AlignmentModel, choose_model, transform
from crestereo.alignment.matches import Matches, find_matches
from crestereo.alignment.rectify import (
    AlignedPair,
    AlignmentPlan,
    Bars,
    align_pair,
    find_bars,
    plan_alignment,
)
from crestereo.alignment.swap import SwapFinding, detect_swap

__all__ = [
    "AlignedPair",
    "AlignmentModel",
    "AlignmentPlan",
    "Bars",
    "Matches",
    "PairCheck",
    "SwapFinding",
    "Verdict",
    "align_pair",
    "check_pair",
    "choose_model",
    "choose_shift",
    "detect_swap",
    "find_bars",
    "find_matches",
    "plan_alignment",
    "transform",
]
