"""Measure pair check, alignment, range shift and swapped eyes on pairs whose truth is known.

For example::

    python tools/evaluate_alignment.py DATASET_DIR --photos PHOTOS_DIR

reads the folders that tools/evaluate.py reads, and NAME_left.jpg beside NAME_right.jpg for the
photos. Row errors are pixels of a picture 640 px wide, bad-2 is per cent of the pixels that both
cameras see. --no-network leaves out what needs the network.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

from crestereo.errors import SourceError, UsageError
from crestereo.model_files import BUNDLED_NAME, MODELS_DIR
from tools.lib.alignment_tasks import (
    Estimate,
    Row,
    check_seconds,
    disturbed_rows,
    mean_row,
    photo_rows,
    shifted_rows,
    swap_rows,
    untouched_rows,
)
from tools.lib.cli import run_tool
from tools.lib.datasets import find_scenes
from tools.lib.tables import markdown_table

TASKS = ("disturbed", "untouched", "photos", "shifted", "swap")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("dataset", type=Path, help="folder of rectified pairs with ground truth")
    parser.add_argument("--photos", type=Path, help="folder of unrectified pairs")
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma separated")
    parser.add_argument("--draws", type=int, default=10, help="disturbances of each scene")
    parser.add_argument("--network-draws", type=int, default=10, help="of them with the network")
    parser.add_argument("--scenes", type=int, default=0, help="only so many; 0: all")
    parser.add_argument("--no-network", action="store_true", help="row errors and verdicts only")
    parser.add_argument("--model-path", type=Path, default=MODELS_DIR / BUNDLED_NAME)
    parser.add_argument("--iters", type=int, default=5, help="of the network")
    parser.add_argument("--threads", type=int, default=None, help="of the network")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    options = parse(arguments)
    tasks = options.tasks.split(",")
    if set(tasks) - set(TASKS) or options.draws < 1:
        raise UsageError(f"--tasks takes {', '.join(TASKS)}, and --draws a number from 1")
    scenes = find_scenes(options.dataset)
    scenes = scenes[: options.scenes or len(scenes)]
    estimate = None if options.no_network else _network(options)
    draws = options.draws, options.network_draws
    if "disturbed" in tasks:
        show("Disturbed", disturbed_rows(scenes, draws[0], estimate, draws[1]), len(scenes))
    if "untouched" in tasks:
        show("Untouched", untouched_rows(scenes, estimate), len(scenes))
    if "photos" in tasks and options.photos is not None:
        photos = find_photos(options.photos)
        show("Photos, held-out matches", photo_rows(photos), len(photos))
        print(f"\nfastest check of the first pair: {check_seconds(*photos[0]):.2f} s")
    if "shifted" in tasks and estimate is not None:
        show("Shifted by half the range", shifted_rows(scenes, estimate), len(scenes))
    if "swap" in tasks:
        show("Order of the eyes", swap_rows(scenes), len(scenes))
    return 0


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


def show(title: str, rows: Iterable[Row], count: int) -> None:
    """Print the rows of a task and their mean as a table."""
    done = list(_with_progress(rows, title, count))
    done.append(mean_row(done))
    columns = list(done[-1].figures)
    cells = [[row.name, *(f"{row.figures[name]:.2f}" for name in columns)] for row in done]
    print(f"\n## {title}\n\n{markdown_table(['scene', *columns], cells, 1)}", flush=True)


def _with_progress(rows: Iterable[Row], title: str, count: int) -> Iterator[Row]:
    with tqdm(total=count, desc=title, unit=" scenes") as bar:
        for row in rows:
            yield row
            bar.update()


def _network(options: argparse.Namespace) -> Estimate:
    from crestereo import CREStereo  # late: loading the runtime takes a while  # noqa: PLC0415

    return CREStereo(options.model_path, iters=options.iters, threads=options.threads)


if __name__ == "__main__":
    run_tool(main)
