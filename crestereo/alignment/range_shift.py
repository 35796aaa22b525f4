"""Where the disparities of a pair begin, and the shift that suits a network to them.

A network for rectified pairs knows disparities from zero up. Converged cameras and 3D films have
negative ones, close-ups begin far above zero; moving the right picture sideways by whole pixels
serves both, and the number is added back to the result.
"""

from __future__ import annotations

import math

NEGATIVE_SHARE = 0.001  # of the width: a smallest disparity below minus this is really negative
HIGH_SHARE = 0.08  # of the width: a smallest disparity above this wastes the network's range
MAX_SHARE = 0.5  # of the width: a larger shift leaves nothing to match
MARGIN_SHARE = 0.01  # of the width, and
MARGIN_OF_RANGE = 0.5  # of the range: a plain wall behind everything has no features that show it


def choose_shift(disparity_range: tuple[float, float], width_px: int) -> int:
    """Return the whole number of pixels that the smallest disparity lies too high.

    Parameters
    ----------
    disparity_range : (float, float)
        Robust smallest and largest disparity, pixels; NaN where unknown.
    width_px : int
        Width of the picture.

    Returns
    -------
    int
        To be subtracted from every disparity; negative for pairs with negative disparities, and
        zero where the range suits a network as it is.
    """
    low, high = disparity_range
    if not math.isfinite(low) or -NEGATIVE_SHARE * width_px <= low <= HIGH_SHARE * width_px:
        return 0
    margin = MARGIN_SHARE * width_px + MARGIN_OF_RANGE * (high - low)
    most = int(MAX_SHARE * width_px)
    shift = max(-most, min(most, math.floor(low - margin)))
    return max(shift, 0) if low > 0 else shift  # a close-up is never moved away
