"""Measure the gain of a warm start from the previous frame.

    python -m tools.warm_start models/crestereo_lite.onnx

Renders three clips with exact ground truth and estimates every frame without a prior and with the
estimate of the frame before (a chain, as in a video), at several iteration counts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from crestereo import CREStereo
from tools.lib.metrics import bad_rate, end_point_error
from training.scenes.clips import room_clip, street_clip, table_clip

SIZE = (360, 640)
SECONDS, RATE = 4, 24  # of the whole clip, of which the first frames are used


def main() -> None:
    """Print a table: iterations, error without and with the start."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--frames", type=int, default=12, help="of each film (default 12)")
    parser.add_argument("--iters", default="1,2,5,10", help="counts (default 1,2,5,10)")
    options = parser.parse_args()
    networks = [CREStereo(options.onnx, iters=int(n)) for n in options.iters.split(",")]
    marks: dict[tuple[int | None, bool], list[tuple[float, float]]] = {}
    for clip in (make(*SIZE) for make in (room_clip, table_clip, street_clip)):
        last: dict[int | None, np.ndarray] = {}
        frames = clip.samples(options.frames, SECONDS * RATE)
        for number, frame in enumerate(tqdm(frames, total=options.frames, file=sys.stderr)):
            for network in networks:
                for warm in (False, True):
                    prior = last.get(network.iters) if warm else None
                    found = network.estimate(frame.left, frame.right, prior=prior).disparity
                    if warm:
                        last[network.iters] = found
                    if number:
                        ground_truth = frame.disparity_left
                        mark = (
                            end_point_error(found, ground_truth),
                            100 * bad_rate(found, ground_truth, 2),
                        )
                        marks.setdefault((network.iters, warm), []).append(mark)
    print("| iterations | EPE, px | bad-2, % | EPE, warm | bad-2, warm |")
    print("|---:|---:|---:|---:|---:|")
    for network in networks:
        means = [np.mean(marks[network.iters, warm], axis=0) for warm in (False, True)]
        row = [f"{epe:.3f} | {bad:.2f}" for epe, bad in means]
        print(f"| {network.iters} | {row[0]} | {row[1]} |")


if __name__ == "__main__":
    main()
