"""Count the outcomes of the commands on random degenerate inputs.

For example::

    python tools/fuzz_inputs.py --images 500 --videos 20

Every input is written to a file and estimated by the commands with the bundled network. An input
may be refused with a message; an exception other than `CREStereoError` is a bug, printed with the
seed that reproduces the input (--seed NUMBER --images 1).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

from crestereo.app.commands import estimate_images, estimate_video, estimate_videos
from crestereo.app.settings import ImageSettings, TwoVideosSettings, UnifiedVideoSettings
from crestereo.errors import CREStereoError, UsageError
from tools.lib.cli import run_tool
from tools.lib.moving_scene import Stage, texture
from tools.lib.tables import markdown_table

Rng = np.random.Generator
Image = NDArray[Any]

SIDES_PX = (8, 200)  # of an image
FRAMES = (1, 12)  # of a video
REASONS = 5  # for refusals that are printed, the most common ones
SHAPE = (96, 128)  # the network's input: small, because outcomes are counted


@dataclass(frozen=True)
class Outcome:
    """Outcome of one run: "done", "refused" or "bug", kind and seed."""

    word: str
    kind: str
    seed: int
    detail: str = ""


def _scene(rng: Rng, height: int, width: int) -> tuple[Image, Image]:
    stage = Stage(int(rng.integers(1000)), (max(height, 24), max(width, 40)))
    left, right = (stage.view(side)[0][:height, :width] for side in (False, True))
    return left, right


def _noise(rng: Rng, height: int, width: int) -> Image:
    return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


def _flat(rng: Rng, height: int, width: int) -> Image:
    return np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)


def _crops(rng: Rng, height: int, width: int) -> tuple[Image, Image]:
    wide = texture(int(rng.integers(1000)), height + 20, width + 60)
    places = rng.integers(0, 20, 2), rng.integers(0, 60, 2)
    left, right = (
        wide[y : y + height, x : x + width] for y, x in zip(*places, strict=True)
    )  # fmt: skip
    return left, right


def _repeated(rng: Rng, height: int, width: int) -> tuple[Image, Image]:
    cell = texture(int(rng.integers(1000)), int(rng.integers(2, 12)), int(rng.integers(2, 12)))
    tiled = np.tile(cell, (height, width + 1, 1))
    by_px = int(rng.integers(0, 8))
    return tiled[:height, :width], tiled[:height, by_px : by_px + width]


def _turned(rng: Rng, height: int, width: int) -> tuple[Image, Image]:
    left, right = _scene(rng, height, width)
    turns = [right[:, ::-1], right[::-1], right[::-1, ::-1]]
    if height == width:
        turns += [np.rot90(right), np.rot90(right, 3)]
    return left, turns[rng.integers(len(turns))]


def _dark(rng: Rng, height: int, width: int) -> tuple[Image, Image]:
    left, right = _scene(rng, height, width)
    share = rng.uniform(0.002, 0.1)
    return (left * share).astype(np.uint8), (right * share).astype(np.uint8)


def _deep(rng: Rng, height: int, width: int) -> tuple[Image, Image]:
    left, right = _scene(rng, height, width)
    bits = int(rng.integers(8, 17))
    return tuple((v.astype(np.uint16) << 8) >> (16 - bits) for v in (left, right))  # type: ignore[return-value]


def _twice(make: Callable[[Rng, int, int], Image]) -> Callable[[Rng, int, int], Any]:
    return lambda rng, height, width: (make(rng, height, width), make(rng, height, width))


KINDS: dict[str, Callable[[Rng, int, int], tuple[Image, Image]]] = {
    "scene": _scene,
    "noise": _twice(_noise),
    "one colour": _twice(_flat),
    "noise and colour": lambda rng, h, w: (_noise(rng, h, w), _flat(rng, h, w)),
    "the same twice": lambda rng, h, w: (_scene(rng, h, w)[0],) * 2,
    "crops": _crops,
    "repeated": _repeated,
    "turned": _turned,
    "dark": _dark,
    "9 to 16 bits": _deep,
    "unrelated": lambda rng, h, w: (_scene(rng, h, w)[0], _scene(rng, h, w)[0]),
    "one larger": lambda rng, h, w: (_scene(rng, h, w)[0], _scene(rng, 2 * h, 2 * w)[1]),
}


def draw_pair(seed: int) -> tuple[str, Image, Image]:
    """Return the kind and the images of a seed."""
    rng = np.random.default_rng(seed)
    kind = list(KINDS)[seed % len(KINDS)]
    height, width = (int(side) for side in np.geomspace(*SIDES_PX, 193)[rng.integers(0, 193, 2)])
    if rng.random() < 0.2:
        height = width
    return (kind, *KINDS[kind](rng, height, width))


def run_images(seed: int, folder: Path) -> Outcome:
    """Estimate the pair of a seed from files."""
    kind, left, right = draw_pair(seed)
    ending = ".png" if left.dtype == np.uint16 or seed % 3 else ".jpg"
    paths = [folder / f"fuzz_{side}{ending}" for side in ("left", "right")]
    for path, image in zip(paths, (left, right), strict=True):
        path.write_bytes(cv2.imencode(ending, np.ascontiguousarray(image))[1].tobytes())
    settings = ImageSettings(**_common(folder))
    return _outcome(kind, seed, lambda: estimate_images(settings, [str(path) for path in paths]))


def run_videos(seed: int, folder: Path) -> Outcome:
    """Estimate a video of a seed: two files or one."""
    rng = np.random.default_rng(seed)
    kind, left, right = draw_pair(seed)
    size = int(rng.integers(24, 240)), int(rng.integers(16, 160))
    views = [
        cv2.resize(_eight_bits(view), size, interpolation=cv2.INTER_AREA) for view in (left, right)
    ]
    count = int(rng.integers(*FRAMES))
    frames = [[np.roll(view, number, axis=1) for number in range(count)] for view in views]
    if seed % 2:
        paths = [_write(folder / f"fuzz_{k}.avi", frames[k]) for k in (0, 1)]
        two = TwoVideosSettings(**_common(folder))
        return _outcome(f"videos: {kind}", seed, lambda: estimate_videos(two, paths))
    stack = np.hstack if seed % 4 else np.vstack
    both = [stack(pair) for pair in zip(*frames, strict=True)]
    paths = [_write(folder / "fuzz.avi", both)]
    one = UnifiedVideoSettings(**_common(folder), swap=False)
    return _outcome(f"video: {kind}", seed, lambda: estimate_video(one, paths))


def _common(folder: Path) -> dict[str, Any]:
    return {
        "model_shape": SHAPE, "iters": 2, "version": "lite", "device": "cpu", "threads": 1,
        "window": False, "output_dir": str(folder / "output"), "overwrite": True,
    }  # fmt: skip


def _eight_bits(image: Image) -> Image:
    return image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)


def _write(path: Path, frames: Sequence[Image]) -> str:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return str(path)


def _outcome(kind: str, seed: int, run: Callable[[], None]) -> Outcome:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            run()
    except CREStereoError as exc:
        return Outcome("refused", kind, seed, str(exc))
    except Exception:  # noqa: BLE001  any other exception is a bug
        return Outcome("bug", kind, seed, traceback.format_exc())
    word = "bug" if "Traceback" in printed.getvalue() else "done"
    return Outcome(word, kind, seed, printed.getvalue())


def fuzz(images: int, videos: int, seed: int) -> Iterator[Outcome]:
    """Yield the outcomes of pairs and videos with seeds from `seed` on."""
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        for number in range(seed, seed + images):
            yield run_images(number, Path(folder))
        for number in range(seed, seed + videos):
            yield run_videos(number, Path(folder))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return 1 if a bug was found."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=500, help="pairs of images")
    parser.add_argument("--videos", type=int, default=20, help="short videos")
    parser.add_argument("--seed", type=int, default=0, help="number of the first input")
    options = parser.parse_args(arguments)
    if min(options.images, options.videos, options.seed) < 0:
        raise UsageError("--images, --videos and --seed take numbers from 0")
    runs = fuzz(options.images, options.videos, options.seed)
    counts: dict[str, Counter[str]] = {}
    bugs = 0
    reasons: Counter[str] = Counter()
    for outcome in tqdm(runs, total=options.images + options.videos, unit=" inputs"):
        counts.setdefault(outcome.kind, Counter())[outcome.word] += 1
        if outcome.word == "refused":
            reasons[outcome.detail] += 1
        if outcome.word == "bug":
            bugs += 1
            tqdm.write(f"{outcome.kind}, seed {outcome.seed}:\n{outcome.detail}")
    words = ["done", "refused", "bug"]
    rows = [[kind, *(str(count[word]) for word in words)] for kind, count in counts.items()]
    rows.append(["all", *(str(sum(c[word] for c in counts.values())) for word in words)])
    print(markdown_table(["input", *words], rows, 1))
    for reason, count in reasons.most_common(REASONS):
        print(f"refused {count}: {reason}")
    return 1 if bugs else 0


if __name__ == "__main__":
    run_tool(main)
