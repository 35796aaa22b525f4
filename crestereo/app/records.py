"""What a run tells about itself, to people in a sentence and to programs as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crestereo.colormap import robust_range
from crestereo.types import DepthMap, DisparityMap

if TYPE_CHECKING:
    from crestereo.estimator import CREStereo


def model_record(estimator: CREStereo) -> dict[str, Any]:
    """Return what estimated: file, iterations, size of its input and what ran it."""
    return {
        "model": estimator.name,
        "iters": estimator.iters,
        "model_shape": estimator.shape,
        "provider": estimator.provider,
    }


def map_record(disparity: DisparityMap, depth: DepthMap | None) -> dict[str, Any]:
    """Return size and range of a map; the range leaves 2 % out at either end."""
    known = np.isfinite(disparity)
    record: dict[str, Any] = {
        "size_px": [disparity.shape[1], disparity.shape[0]],
        "known": round(float(known.mean()), 4),
        "disparity_px": _range(disparity),
        "relative": depth is None,
    }
    if depth is not None:
        record["depth_m"] = _range(depth)
    return record


def range_sentence(record: dict[str, Any]) -> str:
    """Return one sentence about what was estimated."""
    low, high = record["disparity_px"] or (float("nan"), float("nan"))
    text = f"disparity {low:.1f} to {high:.1f} px, estimated in {record['seconds']:.2f} s"
    if record["relative"]:
        return f"relative depth: {text}"
    near, far = record["depth_m"] or (float("nan"), float("nan"))
    return f"depth {near:.2f} to {far:.2f} m: {text}"


def _range(values: DisparityMap) -> list[float] | None:
    if not np.isfinite(values).any():
        return None
    return [round(value, 4) for value in robust_range(values)]
