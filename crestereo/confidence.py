"""Whether a confidence tells good pixels from bad ones, and whether it can be believed.

References
----------
.. [1] X. Hu, P. Mordohai, "A Quantitative Evaluation of Confidence Measures for Stereo
       Vision", PAMI 34(11), 2012: sparsification curve and the area under it.
.. [2] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks",
       ICML 2017: expected calibration error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError


def sparsification_curve(
    wrong: NDArray[np.float64] | NDArray[np.bool_],
    confidence: NDArray[np.float32],
    points: int = 100,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how much is wrong among the most confident pixels, for growing shares of them.

    Parameters
    ----------
    wrong, confidence : arrays of one shape
        What to average (for bad-t: whether a pixel is bad; for EPE: its error), and how sure
        the network was.
    points : int
        Number of shares, evenly spaced up to 1.

    Returns
    -------
    shares, means : (points,) float64
        ``means[i]`` is the mean of ``wrong`` over the share ``shares[i]`` of highest confidence.

    Notes
    -----
    Pixels of equal confidence enter together, in proportion, so the order in which they lie in
    the picture has no influence.
    """
    if wrong.shape != confidence.shape or not wrong.size:
        raise UsageError("a sparsification curve needs one confidence for each of some pixels")
    levels, group = np.unique(-confidence.ravel().astype(np.float64), return_inverse=True)
    counts = np.bincount(group.ravel(), minlength=levels.size)
    sums = np.bincount(group.ravel(), weights=wrong.ravel().astype(np.float64))
    shares = np.arange(1, points + 1) / points
    kept = shares * wrong.size
    total = np.interp(kept, np.r_[0, np.cumsum(counts)], np.r_[0.0, np.cumsum(sums)])
    return shares, total / kept


def area_under_curve(shares: NDArray[np.float64], means: NDArray[np.float64]) -> float:
    """Return the area under a sparsification curve over 0..1: lower is better [1]_.

    The mean height of the curve. A confidence that says nothing gives the overall mean m of
    what is wrong; a perfect one gives, for a bad-t rate m, ``m + (1 - m) ln(1 - m)``.
    """
    return float(np.average(means, weights=np.diff(shares, prepend=0.0)))


def calibration_error(
    right: NDArray[np.bool_], confidence: NDArray[np.float32], bins: int = 10
) -> float:
    """Return how far the confidence is from the share of pixels that are right, on average [2]_.

    Parameters
    ----------
    right, confidence : arrays of one shape
        Whether a pixel is what the confidence is the probability of, and the confidence, 0..1.
    bins : int
        Number of equal intervals of 0..1 in which the two are compared.

    Notes
    -----
    ``sum over bins of n_b / n * |share right in b - mean confidence in b|``.
    """
    if right.shape != confidence.shape or not right.size:
        raise UsageError("a calibration error needs one confidence for each of some pixels")
    values = confidence.ravel().astype(np.float64)
    place = np.clip((values * bins).astype(np.intp), 0, bins - 1)
    surplus = np.bincount(place, weights=values - right.ravel(), minlength=bins)
    return float(np.abs(surplus).sum() / values.size)
