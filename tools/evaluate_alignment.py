"""Evaluate the alignment on pairs and clips against targets.

For example::

    python tools/evaluate_alignment.py DATASET_DIR --photos PHOTOS_DIR

reads the folders that tools/evaluate.py reads, and NAME_left.jpg with NAME_right.jpg for the
photos, which are also resized to 12 megapixels to time the check. Clips for the tasks sync and
layouts are rendered. Row errors are vertical disparities [px] at a width of 640, bad-2 is the share
[%] of the pixels that both cameras see. --no-network omits what requires the network.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

from crestereo.errors import SourceError, UsageError
from crestereo.models import bundled_model
from tools.lib.alignment_targets import target_rows
from tools.lib.alignment_tasks import (
    DEGRADATIONS,
    Estimate,
    Row,
    degraded_rows,
    disturbed_rows,
    mean_row,
    photo_rows,
    shifted_rows,
    swap_rows,
    time_rows,
    untouched_rows,
)
from tools.lib.cli import run_tool
from tools.lib.clip_tasks import FILMS, layout_rows, sync_rows
from tools.lib.datasets import Scene, find_scenes
from tools.lib.tables import markdown_table

TITLES = {
    "disturbed": "Disturbed",
    "untouched": "Untouched",
    "photos": "Photos, held-out matches",
    "shifted": "Shifted by half the range",
    "swap": "Order of the views",
    "degraded": "Order of the views, compressed and changed",
    "sync": "Two recordings, synchronized",
    "layouts": "Layouts and black bars",
    "time": "Time of a check",
}
TASKS = tuple(TITLES)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("dataset", type=Path, help="folder of rectified pairs with ground truth")
    parser.add_argument("--photos", type=Path, help="folder of unrectified pairs")
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma separated")
    parser.add_argument("--draws", type=int, default=10, help="random disturbances of each scene")
    parser.add_argument("--network-draws", type=int, default=10, help="those with the network")
    parser.add_argument("--scenes", type=int, default=0, help="number of scenes; 0: all")
    parser.add_argument("--clips", type=int, default=10, help="clips of each kind, for sync")
    parser.add_argument("--no-network", action="store_true", help="omit all that needs the network")
    parser.add_argument("--model-path", type=Path, default=bundled_model(), help="ONNX file")
    parser.add_argument("--iters", type=int, default=5, help="iterations of the network")
    parser.add_argument("--threads", type=int, default=None, help="threads of the network")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    options = parse(arguments)
    tasks = chosen_tasks(options)
    scenes = find_scenes(options.dataset)
    scenes = scenes[: options.scenes or len(scenes)]
    estimate = None if options.no_network else _network(options)
    photos = [] if options.photos is None else find_photos(options.photos)
    targets: list[list[str]] = []
    for task in tasks:
        rows, count = _rows(task, options, scenes, photos, estimate)
        done = list(_with_progress(rows, task, count))
        if done:
            show(task, done)
            targets += target_rows(task, done)
    if targets:
        head = ["task", "figure", "measured", "target", "met"]
        print(f"\n## Targets\n\n{markdown_table(head, targets, 2)}")
    return 0


def chosen_tasks(options: argparse.Namespace) -> list[str]:
    """Return the tasks that the options name, every one by default.

    Raises
    ------
    UsageError
        If an option has an impossible value.
    """
    tasks = [word.strip() for word in options.tasks.split(",") if word.strip()]
    unknown = set(tasks) - set(TASKS)
    if unknown or not tasks:
        raise UsageError(f"--tasks takes {', '.join(TASKS)}, not {', '.join(unknown) or 'nothing'}")
    if min(options.draws, options.clips) < 1 or min(options.network_draws, options.scenes) < 0:
        raise UsageError(
            "--draws and --clips take a number from 1, --network-draws and --scenes one from 0"
        )
    if set(tasks) <= {"photos", "time"} and options.photos is None:
        raise UsageError(f"{', '.join(tasks)}: name a folder of unrectified pairs with --photos")
    return tasks


def _rows(
    task: str,
    options: argparse.Namespace,
    scenes: Sequence[Scene],
    photos: Sequence[tuple[Path, Path]],
    estimate: Estimate | None,
) -> tuple[Iterable[Row], int]:
    """Return an iterator of the rows of a task, and their number."""
    pairs = len(scenes)
    shifted = () if estimate is None else shifted_rows(scenes, estimate)
    return {  # generators: nothing runs before its task is shown
        "disturbed": (
            disturbed_rows(scenes, options.draws, estimate, options.network_draws),
            pairs,
        ),
        "untouched": (untouched_rows(scenes, estimate), pairs),
        "photos": (photo_rows(photos), len(photos)),
        "shifted": (shifted, 0 if estimate is None else pairs),
        "swap": (swap_rows(scenes), pairs),
        "degraded": (degraded_rows(scenes, photos), len(DEGRADATIONS)),
        "sync": (sync_rows(options.clips), 2 * options.clips + 2 * (options.clips // 2)),
        "layouts": (layout_rows(), FILMS),
        "time": (time_rows(photos), len(photos)),
    }[task]


def find_photos(folder: Path) -> list[tuple[Path, Path]]:
    """Return the left and right files of every pair in a folder.

    Raises
    ------
    SourceError
        If there is none.
    """
    pairs = [
        (left, right)
        for left in sorted(folder.glob("*_left.*"))
        if left.suffix.lower() in (".jpg", ".jpeg", ".png")
        and (right := left.with_name(left.name.replace("_left.", "_right."))).is_file()
    ]
    if not pairs:
        raise SourceError(f"no NAME_left.jpg with NAME_right.jpg in {folder}")
    return pairs


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the rows of a task and their mean as a table."""
    done = [*rows, mean_row(rows)]
    columns = list(done[-1].figures)
    cells = [
        [row.name, *(_figure(row.figures.get(name, math.nan)) for name in columns)] for row in done
    ]
    print(f"\n## {TITLES[title]}\n\n{markdown_table(['', *columns], cells, 1)}", flush=True)


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _with_progress(rows: Iterable[Row], title: str, count: int) -> Iterator[Row]:
    with tqdm(total=count, desc=title, unit=" rows", disable=count == 0) as bar:
        for row in rows:
            yield row
            bar.update()


def _network(options: argparse.Namespace) -> Estimate:
    from crestereo import CREStereo  # late: loading the runtime takes a while  # noqa: PLC0415

    return CREStereo(options.model_path, iters=options.iters, threads=options.threads)


if __name__ == "__main__":
    run_tool(main)
