"""Measure the alignment, task by task; `tools/evaluate_alignment.py` runs them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from crestereo.alignment import (
    AlignedPair,
    Verdict,
    align_pair,
    check_pair,
    choose_model,
    detect_swap,
    find_matches,
    plan_alignment,
    transform,
)
from crestereo.formats import read_image
from crestereo.types import BGRImage, DisparityMap
from tools.lib.metrics import bad_rate

from .datasets import Scene, load_scene
from .disturbed import DisturbedPair, aligned_truth, disturb, draw_homography, focal_px
from .flicker import compressed_h264

Change = Callable[..., tuple[BGRImage, ...]]
Estimate = Callable[[BGRImage, BGRImage], DisparityMap]
BAD_PX = 2.0
REFERENCE_WIDTH_PX = 640
HELD_OUT = 0.4  # of the matches
SPLITS = 5  # random divisions into fitted and held-out matches
WIDTHS_PX, CRFS = (320, 480, 640), (28, 32, 36)  # of pairs that went through a video


@dataclass(frozen=True)
class Row:
    """Named figures of one scene; NaN where not measured."""

    name: str
    figures: dict[str, float]


def mean_row(rows: Sequence[Row]) -> Row:
    """Return the mean of every figure over the rows that have it."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    means = {}
    for name in names:
        values = [
            row.figures[name] for row in rows if math.isfinite(row.figures.get(name, math.nan))
        ]
        means[name] = float(np.mean(values)) if values else math.nan
    return Row("mean", means)


def disturbed_rows(
    scenes: Iterable[Scene], draws: int, estimate: Estimate | None, estimated_draws: int
) -> Iterator[Row]:
    """Measure the alignment of randomly disturbed pairs with ground truth.

    Notes
    -----
    A common horizontal shift, which a yaw of one camera is, cannot be measured in two images. So
    "bad-2 aligned" compares with the true position of each match after the alignment, and "bad-2
    to within a constant" with the ground truth after the median difference is removed.
    """
    for number, scene in enumerate(scenes):
        data = load_scene(scene)
        shape = (data.ground_truth.shape[0], data.ground_truth.shape[1])
        unit = REFERENCE_WIDTH_PX / shape[1]
        untouched = None if estimate is None else estimate(data.pair.left, data.pair.right)
        rows: list[Row] = []
        for draw in range(draws):
            rng = np.random.default_rng([number, draw])
            pair = disturb(data, draw_homography(rng, shape, focal_px(scene, shape[1])))
            plan = plan_alignment(check_pair(pair.left, pair.right))
            aligned = AlignedPair(*plan.apply(pair.left, pair.right), plan)
            truth, missed = aligned_truth(pair, plan)
            middle, most = np.percentile(np.abs(missed[pair.region]) * unit, [50, 95])
            figures = {"rows median": float(middle), "rows 95 %": float(most)}
            if estimate is not None and untouched is not None and draw < estimated_draws:
                found = aligned.restore(estimate(aligned.left, aligned.right))
                raw = estimate(pair.left, pair.right)
                figures |= _bad_rates(pair, data.ground_truth, truth, (untouched, found, raw))
            rows.append(Row(scene.name, figures))
        yield Row(scene.name, mean_row(rows).figures)


def _bad_rates(
    pair: DisturbedPair,
    truth: DisparityMap,
    carried: DisparityMap,
    maps: tuple[DisparityMap, DisparityMap, DisparityMap],
) -> dict[str, float]:
    """Return bad-2 of the undisturbed, aligned and disturbed pair."""
    untouched, found, raw = maps
    constant = np.float32(np.nanmedian((found - truth)[pair.region]))
    given = (np.arange(truth.shape[1]) - pair.match[..., 0]).astype(np.float32)
    compared = {
        "bad-2 undisturbed": (untouched, truth),
        "bad-2 aligned": (found, carried),
        "bad-2 to within a constant": (found - constant, truth),
        "bad-2 not aligned": (raw, given),
    }
    return {
        name: 100 * bad_rate(values, wanted, BAD_PX, pair.region)
        for name, (values, wanted) in compared.items()
    }


def untouched_rows(scenes: Iterable[Scene], estimate: Estimate | None) -> Iterator[Row]:
    """Measure rectified pairs, which must stay unchanged."""
    for scene in scenes:
        data = load_scene(scene)
        check = check_pair(data.pair.left, data.pair.right)
        aligned = align_pair(data.pair.left, data.pair.right, check=check)
        figures = {"rectified %": 100.0 * (check.verdict is Verdict.RECTIFIED)}
        if estimate is not None:
            before = estimate(data.pair.left, data.pair.right)
            after = before
            if aligned.left is not data.pair.left:
                after = aligned.restore(estimate(aligned.left, aligned.right))
            for name, values in (("bad-2 as given", before), ("bad-2 with auto", after)):
                figures[name] = 100 * bad_rate(values, data.ground_truth, BAD_PX, data.non_occluded)
        yield Row(scene.name, figures)


def photo_rows(photos: Iterable[tuple[Path, Path]]) -> Iterator[Row]:
    """Fit to 60 % of the matches of photos; measure the others."""
    for left_path, right_path in photos:
        left, right = read_image(left_path), read_image(right_path)
        shape = (left.shape[0], left.shape[1])
        unit = REFERENCE_WIDTH_PX / shape[1]
        found = find_matches(left, right)
        results = []
        for seed in range(SPLITS):
            order = np.random.default_rng(seed).permutation(len(found))
            cut = int((1 - HELD_OUT) * len(found))
            fitted, held = order[:cut], order[cut:]
            model = choose_model(found.left[fitted], found.right[fitted], shape)
            rows = transform(model.left_homography(shape), found.left[held])[:, 1]
            rows -= transform(model.right_homography(shape), found.right[held])[:, 1]
            plain = found.left[held, 1] - found.right[held, 1]
            plain -= np.median(found.left[fitted, 1] - found.right[fitted, 1])
            results.append([np.percentile(np.abs(v) * unit, [50, 95]) for v in (plain, rows)])
        shift, aligned = np.mean(results, axis=0)
        yield Row(
            left_path.stem.removesuffix("_left"),
            {
                "matches": float(len(found)),
                "plain shift, median": float(shift[0]),
                "rows median": float(aligned[0]),
                "rows 95 %": float(aligned[1]),
            },
        )


def shifted_rows(scenes: Iterable[Scene], estimate: Estimate) -> Iterator[Row]:
    """Measure pairs whose right image is moved by half the range.

    Half of the disparities are then negative.
    """
    for scene in scenes:
        data = load_scene(scene)
        right, by = _converged(data.pair.right, data.ground_truth)
        inside = (
            np.arange(data.ground_truth.shape[1]) - data.ground_truth + by
            < data.ground_truth.shape[1]
        )
        seen = inside if data.non_occluded is None else inside & data.non_occluded
        aligned = align_pair(data.pair.left, right)
        found = aligned.restore(estimate(aligned.left, aligned.right))
        wanted = data.ground_truth - np.float32(by)
        yield Row(
            scene.name,
            {
                "bad-2 unshifted": 100
                * bad_rate(
                    estimate(data.pair.left, data.pair.right), data.ground_truth, BAD_PX, seen
                ),
                "bad-2 shifted": 100 * bad_rate(found, wanted, BAD_PX, seen),
                "bad-2 not moved back": 100
                * bad_rate(estimate(data.pair.left, right), wanted, BAD_PX, seen),
            },
        )


def swap_rows(scenes: Iterable[Scene]) -> Iterator[Row]:
    """Detect the order of the views: given, shifted, swapped, and both."""
    for scene in scenes:
        data = load_scene(scene)
        left, right = data.pair.left, data.pair.right
        shifted, _ = _converged(right, data.ground_truth)
        figures = {}
        for name, pair, swapped in (
            ("given", (left, right), False),
            ("shifted", (left, shifted), False),
            ("swapped", (right, left), True),
            ("swapped, shifted", (shifted, left), True),
        ):
            answer = detect_swap(*pair).swapped
            figures[f"{name}: right %"] = 100.0 * (answer is swapped)
            figures[f"{name}: wrong %"] = 100.0 * (answer is not swapped and answer is not None)
        yield Row(scene.name, figures)


def degraded_rows(scenes: Iterable[Scene], photos: Iterable[tuple[Path, Path]]) -> Iterator[Row]:
    """Detect the order of the views of degraded pairs."""
    pairs = [(data.pair.left, data.pair.right) for data in map(load_scene, scenes)]
    pairs += [
        (_resized(read_image(left), 1280), _resized(read_image(right), 1280))
        for left, right in photos
    ]
    for name, change in DEGRADATIONS.items():
        right = wrong = called_swapped = 0
        for given in pairs:
            views = change(*given)
            answers = detect_swap(*views).swapped, detect_swap(*views[::-1]).swapped
            right += (answers[0] is False) + (answers[1] is True)
            wrong += (answers[0] is True) + (answers[1] is False)
            called_swapped += answers[0] is True
        figures = {"pairs": len(pairs), "claims": right + wrong, "wrong": wrong}
        figures["correct called swapped"] = called_swapped
        yield Row(name, {key: float(value) for key, value in figures.items()})


def _resized(image: BGRImage, width: int) -> BGRImage:
    size = width // 2 * 2, round(image.shape[0] * width / image.shape[1] / 2) * 2
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _through_video(width: int, crf: int) -> Change:
    def change(*views: BGRImage) -> tuple[BGRImage, ...]:
        return tuple(compressed_h264([_resized(view, width)], crf)[0] for view in views)

    return change


def _each(change: Callable[[BGRImage], BGRImage]) -> Change:
    return lambda *views: tuple(np.ascontiguousarray(change(view)) for view in views)


DEGRADATIONS: dict[str, Change] = {
    **{
        f"{width} px wide, crf {crf}": _through_video(width, crf)
        for width, crf in product(WIDTHS_PX, CRFS)
    },
    "dark, 15 %": _each(lambda view: (view * 0.15).astype(np.uint8)),
    "cropped to 70 %": _each(
        lambda view: view[: view.shape[0] * 7 // 10, view.shape[1] * 3 // 10 :]
    ),
    "upside down": lambda left, right: (right[::-1, ::-1].copy(), left[::-1, ::-1].copy()),
    "mirrored": lambda left, right: (right[:, ::-1].copy(), left[:, ::-1].copy()),
}


def time_rows(photos: Iterable[tuple[Path, Path]], runs: int = 5) -> Iterator[Row]:
    """Time the check of pairs brought to 12 megapixels."""
    for left_path, right_path in photos:
        left, right = _twelve_megapixels(left_path), _twelve_megapixels(right_path)
        ticks = []
        for _ in range(runs):
            start = cv2.getTickCount()
            check_pair(left, right)
            ticks.append(cv2.getTickCount() - start)
        seconds = np.array(ticks) / cv2.getTickFrequency()
        yield Row(
            left_path.stem.removesuffix("_left"),
            {"median s": float(np.median(seconds)), "fastest s": float(seconds.min())},
        )


def _twelve_megapixels(path: Path) -> BGRImage:
    image = read_image(path)
    scale = math.sqrt(12e6 / (image.shape[0] * image.shape[1]))
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _converged(right: BGRImage, truth: DisparityMap) -> tuple[BGRImage, int]:
    """Return the right image moved by the middle of the disparity range."""
    low, high = np.nanpercentile(truth, [2, 98])
    by = round(float(low + high) / 2)
    height, width = truth.shape
    move = np.array([[1, 0, by], [0, 1, 0]], np.float64)
    return np.asarray(cv2.warpAffine(right, move, (width, height)), np.uint8), by
