"""Measure the networks and OpenCV's matcher on stereo pairs with ground truth.

For example::

    python tools/evaluate.py DATASET_DIR --iters 2,5,10,20 --model-shape 240x320,480x640,native \
        --baseline sgbm --csv results.csv --plots plots

reads Middlebury v3, ETH3D two-view and KITTI 2012/2015 folders as they are downloaded, and the
samples in input_files/. The definitions of the figures are in tools/lib/metrics.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

from crestereo.errors import CREStereoError, SourceError
from crestereo.types import BGRImage
from tools.lib.charts import EVALUATION_CHARTS, evaluation_charts, need_matplotlib
from tools.lib.cli import add_model_options, check_free, chosen_methods, run_tool
from tools.lib.datasets import Scene, SceneData, find_scenes, load_scene
from tools.lib.methods import Method, open_method
from tools.lib.records import Record, measure, write_csv, write_json
from tools.lib.tables import defeats, region_table, scene_table, summary_table


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("dataset", type=Path, help="folder of stereo pairs with ground truth")
    add_model_options(parser, iters="5", shapes="native")
    parser.add_argument("--scenes", default="", help="names of scenes, comma separated; empty: all")
    parser.add_argument(
        "--folders",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="means of folders",
    )
    parser.add_argument("--per-scene", action="store_true", help="print bad-2 of each scene")
    parser.add_argument("--regions", action="store_true", help="print the bad pixels by region")
    parser.add_argument(
        "--row-offset", type=float, default=0.0, help="pixels by which the right image is moved up"
    )
    parser.add_argument("--csv", type=Path, help="CSV file for the figures of every scene")
    parser.add_argument("--json", type=Path, help="JSON file for the same")
    parser.add_argument("--plots", type=Path, help="folder for charts")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    options = parse(arguments)
    charts = [options.plots / name for name in EVALUATION_CHARTS] if options.plots else []
    check_free([options.csv, options.json, *charts], options.overwrite)
    if charts:
        need_matplotlib()
    scenes = chosen_scenes(options.dataset, options.scenes)
    methods = chosen_methods(options)
    broken: dict[str, str] = {}
    records = list(evaluate(methods, scenes, broken, options))
    if records:
        print(summary_table(records, options.folders))
        if options.per_scene:
            print("\nbad-2 [%], all pixels\n\n" + scene_table(records, "bad-2"))
            print("\n" + "\n".join(defeats(records, "bad-2")))
        if options.regions:
            print("\npixels that both cameras see\n\n" + region_table(records))
        if options.csv:
            write_csv(options.csv, records)
        if options.json:
            write_json(options.json, records)
        if options.plots:
            for path in evaluation_charts(options.plots, records):
                print(f"wrote {path}", file=sys.stderr)
    for name, reason in broken.items():
        print(f"skipped {name}: {reason}", file=sys.stderr)
    return SourceError.exit_code if broken else 0


def chosen_scenes(dataset: Path, names: str) -> list[Scene]:
    """Return the scenes of a data set, or the named ones."""
    scenes = find_scenes(dataset)
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    missing = wanted - {scene.name for scene in scenes}
    if missing:
        raise SourceError(f"no scene {', '.join(sorted(missing))} in {dataset}; check the spelling")
    return [scene for scene in scenes if not wanted or scene.name in wanted]


def evaluate(
    methods: Sequence[Method],
    scenes: Sequence[Scene],
    broken: dict[str, str],
    options: argparse.Namespace,
) -> Iterator[Record]:
    """Yield the records of every method on every scene.

    A scene that cannot be read is put into ``broken`` with the reason and left out.
    """
    with tqdm(total=len(methods) * len(scenes), unit="pair", disable=None) as bar:
        for method in methods:
            run = open_method(method, device=options.device, threads=options.threads)
            warm = False
            for scene in scenes:
                bar.set_postfix_str(f"{method.model} {scene.name}")
                bar.update()
                data = _load(scene, broken, options.row_offset)
                if data is None:
                    continue
                if not warm:  # the first run allocates; its time would not be the network's
                    run(data.pair, data.disparities)
                    warm = True
                result = run(data.pair, data.disparities)
                yield from measure(method, scene, data, result, options.regions)


def _load(scene: Scene, broken: dict[str, str], row_offset: float) -> SceneData | None:
    try:
        data = load_scene(scene)
    except CREStereoError as exc:
        broken[f"{scene.group}/{scene.name}"] = str(exc)
        return None
    if not row_offset:
        return data
    pair = data.pair
    return replace(data, pair=replace(pair, right=moved_up(pair.right, row_offset)))


def moved_up(image: BGRImage, rows: float) -> BGRImage:
    """Move an image up by some pixels, its last row repeated."""
    height, width = image.shape[:2]
    matrix = np.array([[1, 0, 0], [0, 1, -rows]])
    moved = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


if __name__ == "__main__":
    run_tool(main)
