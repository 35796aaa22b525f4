"""Find the network, iterations and size that suit this machine.

For example::

    python tools/compare_models.py --budget-ms 100
    python tools/compare_models.py my_dataset --pair left.png right.png --iters 2,5 \
        --model-shape 240x320,480x640

runs the bundled network and every published file found in models/ on the samples of input_files/
(or on the scenes and pairs named), and writes a table, charts and a line of advice.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

from crestereo.errors import UsageError
from crestereo.formats import write_bytes
from crestereo.models import models_dir, parse_file_name
from tools.lib.advice import advice, trial_table, write_trials
from tools.lib.bubbles import bubble_chart, detail_strip
from tools.lib.charts import NO_MATPLOTLIB, can_draw
from tools.lib.cli import add_model_options, check_free, chosen_methods, run_tool
from tools.lib.comparison import Comparison, Subject, Trial, average, compare, subjects_from
from tools.lib.methods import Method, open_method

SAMPLES_DIR = Path(__file__).resolve().parents[1] / "input_files"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "folders",
        type=Path,
        nargs="*",
        help="folders of scenes with ground truth; without them and --pair the samples",
    )
    add(
        "--pair",
        type=Path,
        nargs=2,
        action="append",
        default=[],
        metavar=("LEFT", "RIGHT"),
        help="pair without ground truth; repeatable",
    )
    add_model_options(parser, iters="2,5,10,20", shapes="240x320,360x480,480x640")
    add("--budget-ms", type=float, help="time limit for a pair: print the best choice within it")
    add("--runs", type=int, default=5, help="timed rounds")
    add(
        "--output-dir",
        type=Path,
        default=Path("output/compare_models"),
        help="folder of the results",
    )
    add("--overwrite", action="store_true", help="replace the results of an earlier run")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    options = parse(arguments)
    if options.runs < 1:
        raise UsageError(f"--runs must be 1 or more, not {options.runs}")
    folder = options.output_dir
    check_free([folder / "comparison.csv"], options.overwrite)
    if options.model_version == "lite":
        options.model_path += published_files()
    methods = chosen_methods(options)
    folders = options.folders or ([] if options.pair else [SAMPLES_DIR])
    subjects = subjects_from(folders, options.pair)
    comparison = measure(methods, subjects, options)
    means = average(comparison.trials)
    lines = advice(means, options.budget_ms, mean_disparity(comparison, subjects))
    print("\n".join([trial_table(means), "", *lines]))
    write_trials(folder / "comparison.csv", [*comparison.trials, *means])
    write_bytes(folder / "comparison.md", page(comparison, means, lines).encode())
    if not can_draw():
        print(f"no charts: {NO_MATPLOTLIB}", file=sys.stderr)
        return 0
    for path in draw(folder, comparison, subjects):
        print(f"wrote {path}", file=sys.stderr)
    return 0


def published_files() -> list[Path]:
    """Return the published networks in models/."""
    found = [(path, parse_file_name(path.name)) for path in sorted(models_dir().rglob("*.onnx"))]
    return [path for path, spec in found if spec is not None and spec.version != "next"]


def measure(
    methods: Sequence[Method], subjects: Sequence[Subject], options: argparse.Namespace
) -> Comparison:
    """Open every method and run the comparison under a progress bar."""
    runners = {
        method: open_method(method, device=options.device, threads=options.threads)
        for method in tqdm(methods, desc="loading", unit="model", disable=None, leave=False)
    }
    total = len(runners) * len(subjects) * (options.runs + 1)
    with tqdm(total=total, unit="run", disable=None) as bar:

        def progress(text: str) -> None:
            bar.set_postfix_str(text)
            bar.update()

        return compare(runners, subjects, options.runs, progress)


def mean_disparity(comparison: Comparison, subjects: Sequence[Subject]) -> float:
    """Return the mean disparity the best method found [px]."""
    maps = [comparison.disparities[comparison.best, subject.pair.name] for subject in subjects]
    return float(np.mean([np.nanmean(disparity) for disparity in maps]))


def page(comparison: Comparison, means: Sequence[Trial], lines: Sequence[str]) -> str:
    """Return the tables and the advice as Markdown."""
    parts = ["# Comparison of models", *lines, f"## {means[0].pair}", trial_table(means)]
    pairs = list(dict.fromkeys(trial.pair for trial in comparison.trials))
    for name in pairs if len(pairs) > 1 else []:
        parts += [f"## {name}", trial_table([t for t in comparison.trials if t.pair == name])]
    return "\n\n".join(parts) + "\n"


def draw(folder: Path, comparison: Comparison, subjects: Sequence[Subject]) -> list[Path]:
    """Draw every chart and return the files written."""
    written = []
    for subject in subjects:
        name = re.sub(r"[^\w-]+", "_", subject.pair.name)
        own = [trial for trial in comparison.trials if trial.pair == subject.pair.name]
        written.append(bubble_chart(folder / f"bubbles_{name}.png", own))
        strip = detail_strip(folder / f"detail_{name}.jpg", comparison, subject)
        written += [strip] if strip else []
    if len(subjects) > 1:
        written.append(bubble_chart(folder / "bubbles_average.png", average(comparison.trials)))
    return written


if __name__ == "__main__":
    run_tool(main)
