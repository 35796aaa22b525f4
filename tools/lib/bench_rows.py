"""Measure each part of the benchmark as rows of its table."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from crestereo.app.render import Painter, side_by_side
from crestereo.app.sources import parse_video
from crestereo.app.video import open_video
from crestereo.errors import UsageError
from crestereo.estimator import CREStereo
from crestereo.preprocess import Fit
from crestereo.types import StereoPair

from .bare_network import BareNetwork
from .bench_process import growth_bytes, probe, run_program, seconds_to_text
from .bench_setup import Row, Setup, shape_text, threads_text, time_row
from .timing import Timing, interleave, repeat

_DISPARITY_PX = 12
_MARGIN_PX = 64
SHORT_CLIP_FRAMES = 96
"""Long enough for every check of the beginning of a video."""

PROMPT = "Left Image (URL or file path) : "
VIDEO_SCRIPT = "video_depth_estimation_unified_vid.py"
SMALL_SHAPE = (96, 128)
"""Size for the memory growth over many frames; a leak does not depend on the size."""


def start_rows(setup: Setup) -> list[Row]:
    """Measure the time to the first prompt and to load the network."""
    model = ["--model-path", str(setup.model.resolve())]
    command = [sys.executable, "image_depth_estimation.py", *model]
    seconds_to_text(command, PROMPT)  # the first start compiles the modules
    starts = [seconds_to_text(command, PROMPT) for _ in _steps("start", setup.rounds)]
    load = repeat(lambda: _estimator(setup), min(setup.rounds, 10))
    return [
        time_row("start to the first prompt", "new process", Timing(tuple(starts)), "wanted: 600"),
        time_row("model load", setup.model.name, load),
    ]


def stage_rows(setup: Setup) -> list[Row]:
    """Measure the stages of one estimation, interleaved."""
    pair = texture_pair(setup.shape)
    estimator = _estimator(setup)
    fit = Fit.squash(setup.shape, setup.shape)
    result = estimator.estimate(pair.left, pair.right)
    painter = Painter("magma")
    float32 = np.dtype(np.float32)

    def preprocess() -> None:
        for image in (pair.left, pair.right):
            fit.image_to_network(image, "RGB", float32)

    def postprocess() -> None:
        fit.disparity_from_network(result.disparity)
        if result.confidence is not None:
            fit.confidence_from_network(result.confidence)

    def draw() -> None:
        side_by_side(pair.left, painter.paint(result.disparity).colored)

    stages: dict[str, Callable[[], object]] = {
        "preprocessing": preprocess,
        "inference": _bare(setup).run,
        "postprocessing": postprocess,
        "drawing": draw,
        "estimate(), all of it": lambda: estimator.estimate(pair.left, pair.right),
    }
    with _bar("stages", setup.rounds * len(stages)) as bar:
        timings = interleave(stages, setup.rounds, tick=bar.update)
    around = sum(timings[name].median for name in ("preprocessing", "postprocessing", "drawing"))
    share = f"{100 * around / timings['inference'].median:.1f} % of inference (wanted: 10)"
    rows = [time_row(name, setup.setting, timing) for name, timing in timings.items()]
    return [*rows, Row("all but inference", setup.setting, 1e3 * around, np.nan, "ms", share)]


def video_rows(setup: Setup) -> list[Row]:
    """Measure the frame rate of the video script from file to file.

    The rate is that between a short and a long clip, so that starting up does not count; both are
    long enough for the checks at the beginning of a video. The bare network is timed
    directly before and after each pair of runs, and compared with that pair.
    """
    short = SHORT_CLIP_FRAMES
    bare = _bare(setup)
    rates: list[float] = []
    ceilings: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        clips = [
            write_clip(Path(folder) / f"{n}.mp4", n, setup.shape)
            for n in (short, short + setup.frames)
        ]
        commands = [_video_command(setup, clip, setup.shape) for clip in clips]
        for _ in _steps("video", max(1, min(setup.rounds // 5, 5))):
            before = repeat(bare.run, 10)
            fast, slow = (run_program(command)[0] for command in commands)
            after = repeat(bare.run, 10)
            rates.append(setup.frames / (slow - fast))
            ceilings.append(1 / Timing(before.values + after.values).median)
    share = 100 * float(np.median(np.divide(rates, ceilings)))
    note = f"{share:.0f} % of the bare rate (wanted: 97)"
    return [
        _rate_row("video, file to file", setup.setting, rates, note),
        _rate_row("inference alone", setup.setting, ceilings),
    ]


def decode_rows(setup: Setup) -> list[Row]:
    """Measure decoding of a clip by the program and by OpenCV, interleaved."""
    with tempfile.TemporaryDirectory() as folder:
        clip = write_clip(Path(folder) / "clip.mp4", setup.frames, setup.shape)

        def by_opencv() -> None:
            video = cv2.VideoCapture(str(clip))
            while video.read()[0]:
                pass
            video.release()

        def by_program() -> None:
            video = open_video(parse_video(str(clip)), setup.shape[0])
            for _ in video.frames():
                pass
            video.close()

        actions: dict[str, Callable[[], object]] = {"OpenCV": by_opencv, "program": by_program}
        with _bar("decoding", setup.rounds * len(actions)) as bar:
            timings = interleave(actions, setup.rounds, tick=bar.update)
    setting = f"{setup.frames} frames of {shape_text(setup.shape)} twice"
    share = timings["program"].median / timings["OpenCV"].median
    return [
        time_row("decoding, OpenCV", setting, timings["OpenCV"]),
        time_row("decoding, program", setting, timings["program"], f"{share:.2f} x (wanted: 1)"),
    ]


def memory_rows(setup: Setup) -> list[Row]:
    """Measure peak memory and its growth over a long video."""
    _, peak = probe(
        setup.model,
        setup.shape,
        iters=setup.iters,
        device="cpu",
        threads=setup.threads[0],
        rounds=3,
    )
    with tempfile.TemporaryDirectory() as folder, _bar("memory", 1) as bar:
        clip = write_clip(Path(folder) / "long.mp4", setup.memory_frames, SMALL_SHAPE)
        _, samples = run_program(_video_command(setup, clip, SMALL_SHAPE))
        bar.update()
    if peak is None or not samples:
        print("memory is not measured: not available on this system", file=sys.stderr)
        return []
    setting = f"{setup.memory_frames} frames of {shape_text(SMALL_SHAPE)}"
    highest = max(size for _, size in samples)
    return [
        Row("peak memory, network", setup.setting, peak / 1e6, np.nan, "MB"),
        Row("peak memory, video script", setting, highest / 1e6, np.nan, "MB"),
        Row("memory growth", setting, growth_bytes(samples) / 1e6, np.nan, "MB", "wanted: none"),
    ]


def peer_rows(setup: Setup) -> list[Row]:
    """Compare the run time of networks, interleaved."""
    rows: list[Row] = []
    for device in setup.devices:
        for threads in setup.threads if device == "cpu" else setup.threads[:1]:
            rows += _peer_rows(setup, device, threads)
    return rows


def _peer_rows(setup: Setup, device: str, threads: int) -> list[Row]:
    networks = {
        path.stem: BareNetwork(
            path, shape or setup.shape, iters=setup.iters, device=device, threads=threads
        )
        for path, shape in ((setup.model, None), *setup.peers)
    }
    with _bar(f"networks, {device}, {threads_text(threads)}", setup.rounds * len(networks)) as bar:
        runs = {name: network.run for name, network in networks.items()}
        timings = interleave(runs, setup.rounds, tick=bar.update)
    first = timings[setup.model.stem].median
    return [
        time_row(
            f"network {name}",
            f"{shape_text(networks[name].shape)}, {threads_text(threads)}, {device}",
            timing,
            f"{timing.median / first:.2f} x",
        )
        for name, timing in timings.items()
    ]


def _rate_row(what: str, setting: str, rates: Sequence[float], note: str = "") -> Row:
    """Return the row of frame rates; p90 is the tenth percentile."""
    reached = float(np.percentile(rates, 10))
    return Row(what, setting, float(np.median(rates)), reached, "frames/s", note)


def _estimator(setup: Setup) -> CREStereo:
    return CREStereo(
        setup.model,
        iters=setup.iters,
        model_shape=setup.shape,
        device="cpu",
        threads=setup.threads[0],
    )


def _bare(setup: Setup) -> BareNetwork:
    return BareNetwork(
        setup.model, setup.shape, iters=setup.iters, device="cpu", threads=setup.threads[0]
    )


def _video_command(setup: Setup, clip: Path, shape: tuple[int, int]) -> list[str]:
    flags = {
        "--model-path": str(setup.model.resolve()),
        "--iters": str(setup.iters),
        "--model-shape": shape_text(shape),
        "--threads": str(setup.threads[0]),
        "--device": "cpu",
        "--output-dir": str(clip.parent),
    }
    words = [word for flag in flags.items() for word in flag]
    return [
        sys.executable, VIDEO_SCRIPT, str(clip), *words, "--no-window", "--no-swap", "--overwrite",
    ]  # fmt: skip


def _bar(name: str, total: int) -> tqdm:
    return tqdm(desc=name, total=total, disable=None)


def _steps(name: str, count: int) -> Sequence[int] | tqdm:
    return tqdm(range(count), desc=name, disable=None)


def texture_pair(shape: tuple[int, int], at: int = 0) -> StereoPair:
    """Return a pair whose disparity is 12 px everywhere."""
    height, width = shape
    random = np.random.default_rng(0)
    canvas = np.zeros((height, width + _MARGIN_PX, 3), np.float32)
    for octave in (4, 8, 16, 32):
        coarse = random.random((height // octave + 2, canvas.shape[1] // octave + 2, 3), np.float32)
        size = canvas.shape[1], height
        canvas += cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC) * octave
    low, high = float(canvas.min()), float(canvas.max())
    image = ((canvas - low) / (high - low) * 255).astype(np.uint8)
    left = np.ascontiguousarray(image[:, at : at + width])
    right = np.ascontiguousarray(image[:, at + _DISPARITY_PX : at + _DISPARITY_PX + width])
    return StereoPair(left, right, "texture")


def write_clip(path: Path, frames: int, shape: tuple[int, int]) -> Path:
    """Write a side-by-side clip of a texture that drifts back and forth."""
    drift = _MARGIN_PX - _DISPARITY_PX
    steps = [np.hstack((p.left, p.right)) for p in (texture_pair(shape, i) for i in range(drift))]
    size = 2 * shape[1], shape[0]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, size)
    if not writer.isOpened():
        raise UsageError(f"cannot write the clip {path}: OpenCV has no MPEG-4 encoder here")
    for number in range(frames):
        place = number % (2 * drift - 2)
        writer.write(steps[min(place, 2 * drift - 2 - place)])
    writer.release()
    return path
