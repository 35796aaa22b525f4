"""Records of an evaluation: measure, average, write as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from crestereo.formats import write_bytes
from crestereo.types import DisparityResult
from tools.lib.metrics import (
    Mask,
    Score,
    Unknown,
    area_under_curve,
    calibration_error,
    score,
    sparsification_curve,
    weighted_mean,
)

from .datasets import Scene, SceneData
from .methods import Method
from .regions import SEEN, regions_of

CONFIDENT_SHARE = 0.8
CONFIDENCE_THRESHOLD_PX = 2.0
PROMISED_PX = 1.0  # the confidence is the probability of an error below this, seen by both cameras
Figures = dict[str, float]


@dataclass(frozen=True)
class Record:
    """Error measures of one method on one scene.

    Parameters
    ----------
    method, scene
    unknown : {"wrong", "ignored"}
        How pixels without an estimate were counted.
    figures : dict of str to float
        Named as in the tables: rates in per cent, errors in pixels, time in seconds. Those of
        the non-occluded pixels end in " nonocc", those of a region in its name.
    curve : tuple of float
        Share of bad-2 pixels among the most confident 1 %, 2 %, ... 100 %; empty without
        confidence.
    """

    method: Method
    scene: Scene
    unknown: Unknown
    figures: Figures = field(repr=False)
    curve: tuple[float, ...] = field(default=(), repr=False)


def measure(
    method: Method, scene: Scene, data: SceneData, result: DisparityResult, regions: bool = False
) -> list[Record]:
    """Score one estimate, with both treatments of unknown pixels.

    Also by region if `regions`.
    """
    ground_truth = data.ground_truth
    dense = bool(np.isfinite(result.disparity[np.isfinite(ground_truth)]).all())
    ways: tuple[Unknown, ...] = ("wrong",) if dense else ("wrong", "ignored")
    records = []
    for unknown in ways:
        figures = _named(score(result.disparity, ground_truth, unknown=unknown), "")
        if data.non_occluded is not None:
            inner = score(result.disparity, ground_truth, data.non_occluded, unknown=unknown)
            figures |= _named(inner, " nonocc")
        for name, mask in _regions(data).items() if regions else ():
            figures |= _named(score(result.disparity, ground_truth, mask, unknown=unknown), name)
        confidence, curve = _confidence(data, result)
        figures |= confidence | {"seconds": result.seconds}
        records.append(Record(method, scene, unknown, figures, curve))
    return records


def _regions(data: SceneData) -> dict[str, Mask]:
    """Return the non-empty regions of known non-occluded pixels.

    The keys are the endings of the names of figures.
    """
    seen = np.isfinite(data.ground_truth)
    if data.non_occluded is not None:
        seen &= data.non_occluded
    masks = {SEEN: seen, **regions_of(data.pair.left, data.ground_truth)}
    return {f" {name}": mask & seen for name, mask in masks.items() if (mask & seen).any()}


def _named(result: Score, ending: str) -> Figures:
    figures = {
        "pixels": float(result.pixels),
        "density": 100 * result.density,
        "EPE": result.epe_px,
        "RMS": result.rms_px,
        **{f"bad-{threshold:g}": 100 * rate for threshold, rate in result.bad.items()},
        "D1": 100 * result.d1,
        "A50": result.a50_px,
        "A90": result.a90_px,
        "A99": result.a99_px,
    }
    return {name + ending: value for name, value in figures.items()}


def _confidence(data: SceneData, result: DisparityResult) -> tuple[Figures, tuple[float, ...]]:
    """Return the measures of the confidence and its sparsification curve."""
    if result.confidence is None:
        return {}, ()
    known = np.isfinite(data.ground_truth)
    confidence = result.confidence[known]
    errors = np.abs(result.disparity[known] - data.ground_truth[known])
    wrong = ~(errors <= CONFIDENCE_THRESHOLD_PX)  # an unknown estimate is wrong too
    shares, rates = sparsification_curve(wrong, confidence)
    right = errors < PROMISED_PX
    if data.non_occluded is not None:
        right &= data.non_occluded[known]
    figures = {
        "bad-2 top 80 %": float(np.interp(CONFIDENT_SHARE, shares, rates)),
        "AUSC": area_under_curve(shares, rates),
        "ECE": calibration_error(right, confidence),
    }
    return {name: 100 * value for name, value in figures.items()}, tuple(rates.tolist())


def mean_figures(
    records: Sequence[Record], weight: Callable[[Record, str], float] = lambda record, name: 1.0
) -> Figures:
    """Return the mean of each figure over the records that have it."""
    means = {}
    for name in dict.fromkeys(name for record in records for name in record.figures):
        having = [record for record in records if name in record.figures]
        means[name] = weighted_mean(
            [record.figures[name] for record in having], [weight(record, name) for record in having]
        )
    return means


def benchmark_weight(record: Record, name: str) -> float:
    """Return the weight of a record in its benchmark's averages.

    Middlebury v3 halves five scenes; KITTI adds up pixels, not images.
    """
    if record.scene.benchmark == "kitti":
        return record.figures["pixels nonocc" if name.endswith(" nonocc") else "pixels"]
    return record.scene.weight


def write_csv(path: Path, records: Sequence[Record]) -> None:
    """Write one line per record."""
    rows = [_flat(record) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def write_json(path: Path, records: Sequence[Record]) -> None:
    """Write a list of objects, non-finite values as null."""
    rows = [
        {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
        for row in map(_flat, records)
    ]
    write_bytes(path, json.dumps(rows, indent=1).encode())


def _flat(record: Record) -> dict[str, str | float | int | None]:
    method = record.method
    return {
        "model": method.model,
        "iters": method.iters,
        "shape": method.size_text,
        "group": record.scene.group,
        "scene": record.scene.name,
        "unknown": record.unknown,
        **record.figures,
    }
