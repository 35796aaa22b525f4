"""Error measures of the stereo benchmarks.

Conventions shared by every function here:

- ``estimate`` and ``ground_truth`` are (H, W) disparities in pixels of the same image; a value that
  is not finite (NaN or infinity) is unknown.
- Only pixels with a known ground truth count, and of these only the ones in ``region``
  (a boolean (H, W) mask, for example the non-occluded pixels); ``None`` means all of them.
- The error of a pixel is ``e = |estimate - ground_truth|``, infinite where the estimate is unknown.
- An estimate with unknown pixels is scored in one of two ways. ``unknown="wrong"``: an unknown
  pixel counts among the pixels and is a bad one (Middlebury's *total bad*). ``"ignored"``: it is
  left out, and the density is the share that remains (KITTI's *Est* columns). KITTI's third
  way, interpolation before scoring, is `crestereo.geometry.fill_from_background`.
- Rates are fractions, 0..1. A figure over no pixel at all is NaN.

References
----------
.. [1] Middlebury Stereo Evaluation v3, evaluation code ``evaldisp``: bad pixels and invalid
       pixels are fractions of the same pixels, *total bad* is their sum, and the average error
       is taken over the valid pixels. https://vision.middlebury.edu/stereo/eval3/
.. [2] A. Geiger, P. Lenz, R. Urtasun, "Are we ready for Autonomous Driving? The KITTI Vision
       Benchmark Suite", CVPR 2012, with its development kit.
.. [3] M. Menze, A. Geiger, "Object Scene Flow for Autonomous Vehicles", CVPR 2015: D1.
.. [4] E. Ilg et al., "Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow",
       ECCV 2018: sparsification curves.
.. [5] C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017: ECE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from crestereo.errors import UsageError
from crestereo.types import DisparityMap

Mask: TypeAlias = NDArray[np.bool_]
Unknown: TypeAlias = Literal["wrong", "ignored"]

BAD_THRESHOLDS_PX = (0.5, 1.0, 2.0, 3.0, 4.0)
D1_ABSOLUTE_PX = 3.0
D1_RELATIVE = 0.05


@dataclass(frozen=True)
class Score:
    """Error measures of one estimate over one region.

    Parameters
    ----------
    pixels : int
        Pixels the rates refer to.
    density : float
        Share of the pixels with known ground truth for which there is an estimate.
    epe_px, rms_px : float
        `end_point_error` and `root_mean_square`.
    bad : dict of float to float
        `bad_rate` for each of `BAD_THRESHOLDS_PX`.
    d1 : float
        `d1_rate`.
    a50_px, a90_px, a99_px : float
        `error_quantile` at 0.5, 0.9 and 0.99.
    """

    pixels: int
    density: float
    epe_px: float
    rms_px: float
    bad: dict[float, float]
    d1: float
    a50_px: float
    a90_px: float
    a99_px: float


def _errors(
    estimate: DisparityMap, ground_truth: DisparityMap, region: Mask | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return errors (infinite where unknown) and ground truth of valid pixels."""
    if estimate.shape != ground_truth.shape or (
        region is not None and region.shape != ground_truth.shape
    ):
        raise UsageError(
            "estimate, ground truth and region must have one shape, not "
            f"{[a.shape for a in (estimate, ground_truth, region) if a is not None]}: "
            "resize the estimate first"
        )
    if region is not None and region.dtype != np.bool_:
        raise UsageError(f"region must be a mask of booleans, not of {region.dtype}")
    valid = np.isfinite(ground_truth) if region is None else np.isfinite(ground_truth) & region
    wanted = ground_truth[valid].astype(np.float64)
    got = estimate[valid].astype(np.float64)
    known = np.isfinite(got)
    errors = np.full(wanted.shape, np.inf)
    errors[known] = np.abs(got[known] - wanted[known])
    return errors, wanted


def _mean(values: NDArray[np.float64] | NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else float("nan")


def end_point_error(
    estimate: DisparityMap, ground_truth: DisparityMap, region: Mask | None = None
) -> float:
    """Return the mean of e over the estimated pixels [px].

    Notes
    -----
    EPE, *avgerr* at Middlebury. Unknown estimates cannot enter a mean, so they are left out
    whichever way the rates count them [1]_.
    """
    errors, _ = _errors(estimate, ground_truth, region)
    return _mean(errors[np.isfinite(errors)])


def root_mean_square(
    estimate: DisparityMap, ground_truth: DisparityMap, region: Mask | None = None
) -> float:
    """Return the root mean square of e [px]."""
    errors, _ = _errors(estimate, ground_truth, region)
    return float(np.sqrt(_mean(errors[np.isfinite(errors)] ** 2)))


def bad_rate(
    estimate: DisparityMap,
    ground_truth: DisparityMap,
    threshold_px: float,
    region: Mask | None = None,
    *,
    unknown: Unknown = "wrong",
) -> float:
    """Return bad-t, the share of pixels with e > threshold.

    An error of exactly the threshold is not bad, as in both benchmarks' code.
    """
    errors, _ = _errors(estimate, ground_truth, region)
    return _mean(_counted(errors, unknown) > threshold_px)


def d1_rate(
    estimate: DisparityMap,
    ground_truth: DisparityMap,
    region: Mask | None = None,
    *,
    unknown: Unknown = "wrong",
) -> float:
    """Return D1, e > 3 px and > 5 % [3]_."""
    errors, wanted = _errors(estimate, ground_truth, region)
    outlier = (errors > D1_ABSOLUTE_PX) & (errors > D1_RELATIVE * np.abs(wanted))
    return _mean(outlier if _counts_unknown(unknown) else outlier[np.isfinite(errors)])


def error_quantile(
    estimate: DisparityMap,
    ground_truth: DisparityMap,
    quantile: float,
    region: Mask | None = None,
    *,
    unknown: Unknown = "wrong",
) -> float:
    """Return a quantile of the error [px].

    Notes
    -----
    Middlebury's A50, A90 and A99 are the quantiles 0.5, 0.9 and 0.99. No interpolation between
    pixels: the result is the error of a pixel, and infinite where too many are unknown.
    """
    errors, _ = _errors(estimate, ground_truth, region)
    counted = _counted(errors, unknown)
    if not counted.size:
        return float("nan")
    return float(np.quantile(counted, quantile, method="inverted_cdf"))


def density(
    estimate: DisparityMap, ground_truth: DisparityMap, region: Mask | None = None
) -> float:
    """Return the share of valid pixels that have an estimate."""
    errors, _ = _errors(estimate, ground_truth, region)
    return _mean(np.isfinite(errors))


def _counted(errors: NDArray[np.float64], unknown: Unknown) -> NDArray[np.float64]:
    return errors if _counts_unknown(unknown) else errors[np.isfinite(errors)]


def _counts_unknown(unknown: Unknown) -> bool:
    if unknown not in get_args(Unknown):
        raise UsageError(f"unknown must be one of {', '.join(get_args(Unknown))}, not {unknown!r}")
    return unknown == "wrong"


def score(
    estimate: DisparityMap,
    ground_truth: DisparityMap,
    region: Mask | None = None,
    *,
    unknown: Unknown = "wrong",
) -> Score:
    """Return all error measures of one estimate.

    Parameters
    ----------
    estimate, ground truth : (H, W) float32
        Disparities in pixels, not finite where unknown.
    region : (H, W) bool, optional
        Pixels that count; default all.
    unknown : {"wrong", "ignored"}
        How the rates and quantiles count pixels without an estimate.

    Raises
    ------
    UsageError
        The shapes differ, the region is no mask, or none of its pixels has a known ground truth.
    """
    errors, _ = _errors(estimate, ground_truth, region)
    if not errors.size:
        raise UsageError("the ground truth has no known pixel in this region: nothing to score")
    a50, a90, a99 = (
        error_quantile(estimate, ground_truth, q, region, unknown=unknown) for q in (0.5, 0.9, 0.99)
    )
    return Score(
        pixels=_counted(errors, unknown).size,
        density=density(estimate, ground_truth, region),
        epe_px=end_point_error(estimate, ground_truth, region),
        rms_px=root_mean_square(estimate, ground_truth, region),
        bad={
            t: bad_rate(estimate, ground_truth, t, region, unknown=unknown)
            for t in BAD_THRESHOLDS_PX
        },
        d1=d1_rate(estimate, ground_truth, region, unknown=unknown),
        a50_px=a50,
        a90_px=a90,
        a99_px=a99,
    )


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return sum(w v) / sum(w).

    Notes
    -----
    Middlebury v3 gives half weight to its hardest scenes; KITTI adds up pixels over all
    images, which is a mean weighted by their number of pixels.
    """
    if len(values) != len(weights) or not sum(weights) > 0:
        raise UsageError("a weighted mean needs one weight per value and a positive total weight")
    return float(
        np.average(np.asarray(values, np.float64), weights=np.asarray(weights, np.float64))
    )


def sparsification_curve(
    wrong: NDArray[np.float64] | NDArray[np.bool_],
    confidence: NDArray[np.float32],
    points: int = 100,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean error of the most confident pixels, by share.

    Parameters
    ----------
    wrong, confidence : arrays of one shape
        Quantity to average (for bad-t: whether a pixel is bad; for EPE: its error), and the
        confidence of the network.
    points : int
        Number of shares, evenly spaced up to 1.

    Returns
    -------
    shares, means : (points,) float64
        ``means[i]`` is the mean of ``wrong`` over the share ``shares[i]`` of highest confidence.

    Notes
    -----
    Pixels of equal confidence enter together, in proportion, so their order in the image has
    no influence.
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
    """Return the area under a sparsification curve (AUSC) [4]_.

    The mean height of the curve. An uninformative confidence gives the overall mean m of
    ``wrong``; a perfect one gives, for a bad-t rate m, ``m + (1 - m) ln(1 - m)``.
    """
    return float(np.average(means, weights=np.diff(shares, prepend=0.0)))


def calibration_error(
    right: NDArray[np.bool_], confidence: NDArray[np.float32], bins: int = 10
) -> float:
    """Return the expected calibration error (ECE) of the confidence [5]_.

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
