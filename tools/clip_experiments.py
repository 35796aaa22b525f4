"""Measure the networks on rendered clips: warm start, exchanged views, temporal filter.

For example::

    python tools/clip_experiments.py warm-start --frames 8
    python tools/clip_experiments.py exchanged-views --plot exchanged.jpg
    python tools/clip_experiments.py steady --frames 60

The clips of input_files/ are rendered again, with exact ground truth.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

from crestereo.alignment import align_pair
from crestereo.errors import UsageError
from crestereo.estimator import CREStereo
from crestereo.models import bundled_model
from crestereo.steady import Steady
from crestereo.types import BGRImage, DisparityMap
from tools.lib.charts import check_chart, new_figure, save_figure
from tools.lib.cli import check_free, run_tool
from tools.lib.flicker import SHOTS, Shot, errors, flicker
from tools.lib.metrics import bad_rate, end_point_error
from tools.lib.tables import markdown_table
from training.scenes.clips import room_clip, street_clip, table_clip
from training.scenes.scene import Sample

CLIPS = {"clip1": room_clip, "clip2": table_clip, "street_SBS": street_clip}
SIZE = (360, 640)
CLIP_FRAMES = 96  # of the whole clip, of which the first are used
EXPERIMENTS = ("warm-start", "exchanged-views", "steady")
ORDERS = ("left, right", "right, left", "right, left, aligned")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("experiment", choices=EXPERIMENTS, help="experiment to run")
    add("--model-path", type=Path, default=bundled_model(), help="ONNX file")
    add("--frames", type=int, default=8, help="frames of each clip")
    add("--iters", default="1,2,5,10", help="iterations of warm-start, comma separated")
    add("--plot", type=Path, help="draw the maps of the exchanged views into this file")
    add("--overwrite", action="store_true", help="replace a file that exists")
    options = parser.parse_args(arguments)
    if options.frames < 2:
        raise UsageError(f"--frames must be 2 or more, not {options.frames}")
    check_free([options.plot], options.overwrite)
    if options.plot:
        check_chart(options.plot)
    if options.experiment == "warm-start":
        iters = [int(word) for word in options.iters.split(",")]
        print(warm_start(options.model_path, iters, options.frames))
        return 0
    if options.experiment == "steady":
        print(steadiness(options.model_path, options.frames))
        return 0
    print(exchanged_views(options.model_path, options.frames))
    if options.plot:
        save_figure(draw_exchanged(options.model_path), options.plot)
    return 0


def rendered(name: str, count: int) -> Iterator[Sample]:
    """Render the first frames of a clip under a progress bar."""
    frames = CLIPS[name](*SIZE).samples(count, CLIP_FRAMES)
    yield from tqdm(frames, desc=name, total=count, disable=None)


def warm_start(path: Path, iters: Sequence[int], count: int) -> str:
    """Return a table of errors without and with a warm start."""
    networks = [CREStereo(path, iters=n) for n in iters]
    errors: dict[tuple[int | None, bool], list[tuple[float, float]]] = defaultdict(list)
    for name in CLIPS:
        last: dict[int | None, DisparityMap] = {}
        for number, frame in enumerate(rendered(name, count)):
            for network in networks:
                for warm in (False, True):
                    prior = last.get(network.iters) if warm else None
                    found = network.estimate(frame.left, frame.right, prior=prior).disparity
                    if warm:
                        last[network.iters] = found
                    if number:
                        errors[network.iters, warm].append(errors_of(found, frame.disparity_left))
    rows = []
    for network in networks:
        means = [np.mean(errors[network.iters, warm], axis=0) for warm in (False, True)]
        figures = [text for epe, bad in means for text in (f"{epe:.3f}", f"{bad:.2f}")]
        rows.append([str(network.iters), *figures])
    header = ["iterations", "EPE, px", "bad-2, %", "EPE, warm", "bad-2, warm"]
    return markdown_table(header, rows, text_columns=0)


def errors_of(found: DisparityMap, ground_truth: DisparityMap) -> tuple[float, float]:
    """Return EPE [px] and bad-2 [%]."""
    return end_point_error(found, ground_truth), 100 * bad_rate(found, ground_truth, 2)


def steadiness(path: Path, count: int) -> str:
    """Return a table of flicker and errors with and without temporal filter."""
    network = CREStereo(path, iters=5, model_shape=(240, 320))
    shots: dict[str, Callable[[int], list[Shot]]] = {
        **SHOTS,
        **{name: partial(clip_shots, name) for name in CLIPS},
    }
    rows = []
    for name, render in shots.items():
        steady, taken_s, maps, filtered, truth = Steady(), 0.0, [], [], []
        for left, right, ground_truth in tqdm(render(count), desc=name, disable=None):
            maps.append(network.estimate(left, right).disparity)
            start_s = time.perf_counter()
            filtered.append(steady.update(left, maps[-1]))
            taken_s += time.perf_counter() - start_s
            if ground_truth is not None:
                truth.append(ground_truth)
        rows.append([name, *compared(flicker(maps), flicker(filtered))])
        rows[-1] += compared(errors(maps, truth), errors(filtered, truth)) if truth else ["-"] * 4
        rows[-1].append(f"{1000 * taken_s / count:.1f}")
    header = ["clip", "change, px", "steady", "jumps, %", "steady"]
    header += ["EPE, px", "steady", "EPE uncovered", "steady", "filter, ms"]
    return markdown_table(header, rows, text_columns=1)


def clip_shots(name: str, count: int) -> list[Shot]:
    """Return the first frames of a rendered clip with their ground truth."""
    return [(frame.left, frame.right, frame.disparity_left) for frame in rendered(name, count)]


def compared(before: tuple[float, float], after: tuple[float, float]) -> list[str]:
    """Return the cells of two figures, each without and with the filter."""
    return [f"{value:.3f}" for pair in zip(before, after, strict=True) for value in pair]


def exchanged_views(path: Path, count: int) -> str:
    """Return a table of errors for both orders of the views."""
    network = CREStereo(path, iters=5)
    figures: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for name in CLIPS:
        for frame in rendered(name, count):
            for order in ORDERS:
                found, confidence, ground_truth = estimate_in_order(network, frame, order)
                figures[name, order].append(
                    [
                        float(np.nanmedian(ground_truth)),
                        float(np.nanmedian(found)),
                        *errors_of(found, ground_truth),
                        order_correlation(found, np.abs(ground_truth)),
                        100 * confidence,
                    ]
                )
    header = ["clip", "views", "true median, px", "found median, px", "EPE, px", "bad-2, %"]
    header += ["order correlation", "confidence, %"]
    rows = []
    for (name, order), values in figures.items():
        *first, correlation, confidence = np.mean(values, axis=0)
        cells = [*(f"{value:.1f}" for value in first), f"{correlation:.2f}", f"{confidence:.0f}"]
        rows.append([name, order, *cells])
    return markdown_table(header, rows, text_columns=2)


def estimate_in_order(
    network: CREStereo, frame: Sample, order: str
) -> tuple[DisparityMap, float, DisparityMap]:
    """Return disparity, mean confidence and ground truth of the first view."""
    if order == ORDERS[0]:
        views, ground_truth = (frame.left, frame.right), frame.disparity_left
    else:
        views, ground_truth = (frame.right, frame.left), -frame.disparity_right
    if order == ORDERS[2]:
        aligned = align_pair(*views)
        result = network.estimate(aligned.left, aligned.right)
        found = aligned.restore(result.disparity)
    else:
        result = network.estimate(*views)
        found = result.disparity
    confidence = np.nan if result.confidence is None else float(result.confidence.mean())
    return found, confidence, ground_truth


def order_correlation(found: DisparityMap, nearness: NDArray[np.float32]) -> float:
    """Return Spearman's rank correlation of a map with the true nearness."""
    known = np.isfinite(found)
    first, second = (values[known].argsort(kind="stable").argsort() for values in (found, nearness))
    return float(np.corrcoef(first, second)[0, 1])


def draw_exchanged(path: Path) -> Any:
    """Return a figure of the maps by order, one row per clip."""
    network = CREStereo(path, iters=5)
    figure, axes = new_figure(12, 4.3, rows=len(CLIPS), columns=2 + len(ORDERS))
    for row, name in zip(axes, CLIPS, strict=True):
        *_, frame = rendered(name, 2)
        nearest = float(frame.disparity_left.max())
        maps = [estimate_in_order(network, frame, order)[0] for order in ORDERS]
        shown: list[BGRImage | DisparityMap] = [
            cv2.cvtColor(frame.left, code=cv2.COLOR_BGR2RGB).astype(np.uint8),
            frame.disparity_left,
            *maps,
        ]
        titles = ["left view", "ground truth", *(f"estimated: {order}" for order in ORDERS)]
        for axis, image, title in zip(row, shown, titles, strict=True):
            low = 0.0 if image is not maps[2] else -nearest
            axis.imshow(image, cmap="magma", vmin=low, vmax=low + nearest)
            axis.axis("off")
            if name == next(iter(CLIPS)):
                axis.set_title(title, fontsize=9)
    return figure


if __name__ == "__main__":
    run_tool(main)
