"""Run on one image pair: estimated in threads, saved, shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from crestereo.app.align import Aligner, ReadyPair
from crestereo.app.images import ImageFile
from crestereo.app.output import (
    ViewSaver,
    claim_names,
    model_record,
    report_files,
    save_image,
    save_maps,
    save_record,
)
from crestereo.app.pipeline import Mailbox, Pipeline
from crestereo.app.render import (
    Painted,
    Painter,
    View,
    result_view,
    side_by_side,
    waiting_view,
)
from crestereo.app.script import answer, report, say, summary, warn
from crestereo.app.settings import ImageSettings
from crestereo.app.window import Controls, open_window, watch
from crestereo.colormap import robust_range
from crestereo.formats import to_bgr8
from crestereo.similarity import compare
from crestereo.types import DepthMap, DisparityMap, DisparityResult, StereoPair

if TYPE_CHECKING:
    from crestereo.estimator import CREStereo

TITLE = "CREStereo: left image and depth"
HEADLINE = "How Different (0 = Same Image, 1 = Totally Different Image) : "
_POLL_S = 0.01
_ENDINGS = (
    "depth.png",
    "depth_only.png",
    "disparity.pfm",
    "depth_mm.png",
    "points.ply",
    "run.json",
)


@dataclass(frozen=True)
class _Done:
    """Result of one pair on its way to the files."""

    ready: ReadyPair
    result: DisparityResult
    painted: Painted
    aligner: Aligner


def run_image(pair: StereoPair, estimator: CREStereo, settings: ImageSettings) -> None:
    """Estimate a pair; save and show the result."""
    aligner = Aligner(settings, [pair], still=True)
    aligner.report()
    views: Mailbox[View] = Mailbox()
    steps: list[Callable[[Any], Any]] = [
        partial(_estimate, aligner, estimator=estimator, settings=settings, views=views),
        partial(_save, estimator=estimator, settings=settings),
    ]
    pipeline: Pipeline[dict[str, Any]] = Pipeline([pair], steps, cancel=estimator.cancel)
    record: dict[str, Any] | None = None
    shown = False

    def next_view() -> View | None:
        nonlocal record, shown
        if record is None and (record := pipeline.poll()) is not None:
            _report(record)
        view = views.take(0)
        shown |= view is not None
        return view

    def wait() -> None:
        try:
            while record is None:
                next_view()
                time.sleep(_POLL_S)
        finally:
            pipeline.close()

    try:
        with open_window(TITLE, waiting_view(pair.left), settings.window) as window:
            if window is not None:
                saver = ViewSaver(settings.output_dir, pair.name)
                watch(window, Controls(next_view, saver, wait))
                saver.wait()
        if window is not None and not shown:
            say("window closed before the result was ready; nothing was saved")
            return
        wait()
    finally:
        pipeline.close()


def _estimate(
    aligner: Aligner,
    pair: StereoPair,
    estimator: CREStereo,
    settings: ImageSettings,
    views: Mailbox[View],
) -> _Done:
    ready = aligner(pair)
    result = estimator.estimate(ready.aligned.left, ready.aligned.right)
    result = replace(result, disparity=ready.restore(result.disparity))
    aligner.measure_baseline(result.disparity)
    painter = Painter(settings.colormap, aligner.camera, settings.max_distance)
    painted = painter.paint(result.disparity)
    views.put(result_view(ready.original.left, result.disparity, painted))
    return _Done(ready, result, painted, aligner)


def _save(done: _Done, estimator: CREStereo, settings: ImageSettings) -> dict[str, Any]:
    """Write the files and return the record."""
    ready, disparity, painted = done.ready, done.result.disparity, done.painted
    left = ready.original.left
    calibration, pixels = done.aligner.calibration, done.aligner.pixels
    camera = None if calibration is None else calibration.camera
    record = {
        "name": ready.original.name,
        **model_record(estimator),
        "seconds": round(done.result.seconds, 4),
        **_map_record(disparity, painted.depth),
        "note": ready.note,
        "doubt": ready.doubt,
        "files": [],
    }
    if settings.save:
        names = claim_names(
            settings.output_dir, ready.original.name, _ENDINGS, overwrite=settings.overwrite
        )
        try:
            files = [
                save_image(names.path("depth.png"), side_by_side(left, painted.colored)),
                save_image(names.path("depth_only.png"), painted.colored),
                *save_maps(names, left, disparity, painted.depth, camera, pixels=pixels),
            ]
            record["files"] = [str(path) for path in (*files, names.path("run.json"))]
            save_record(names.path("run.json"), record)
        finally:
            names.release()
    return record


def _report(record: dict[str, Any]) -> None:
    if record["note"]:
        report(record["note"])
    if record["doubt"]:
        warn(record["doubt"])
    say(_range_sentence(record))
    report_files(record["files"])
    summary(record)


def _map_record(disparity: DisparityMap, depth: DepthMap | None) -> dict[str, Any]:
    """Return size and range of a map."""
    record: dict[str, Any] = {
        "size_px": [disparity.shape[1], disparity.shape[0]],
        "known": round(float(np.isfinite(disparity).mean()), 4),
        "disparity_px": _range(disparity),
        "relative": depth is None,
    }
    if depth is not None:
        record["depth_m"] = _range(depth)
    return record


def _range_sentence(record: dict[str, Any]) -> str:
    """Return one sentence about the range of a map."""
    low, high = record["disparity_px"] or (float("nan"), float("nan"))
    text = f"disparity {low:.1f} to {high:.1f} px, estimated in {record['seconds']:.2f} s"
    if record["relative"]:
        return f"relative depth: {text}"
    near, far = record["depth_m"] or (float("nan"), float("nan"))
    return f"depth {near:.2f} to {far:.2f} m: {text}"


def _range(values: DisparityMap) -> list[float] | None:
    if not np.isfinite(values).any():
        return None
    return [round(value, 4) for value in robust_range(values, least=0)]


def compare_images(first: ImageFile, second: ImageFile) -> None:
    """Print how different two images are: colours, structure, pixels."""
    a, b = to_bgr8(first.left, second.left)
    difference = compare(a, b)
    answer(f"{HEADLINE} {_six_digits(difference.histogram)}")
    answer(f"Structure (1 - SSIM, 0 = same) :  {_six_digits(difference.structure)}")
    answer(f"Pixels (RMSE of 0..1 values, 0 = same) :  {_six_digits(difference.pixels)}")
    if difference.contradicted:
        say("the histogram ignores brightness and places: structure and pixels show the difference")
    sizes = [(image.shape[1], image.shape[0]) for image in (a, b)]
    if difference.resized:
        (w1, h1), (w2, h2) = sizes
        say(
            f"the sizes differ, {w1}x{h1} and {w2}x{h2}: the second was resized for structure and "
            "pixels"
        )
    summary({**asdict(difference), "sizes_px": sizes})


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")
