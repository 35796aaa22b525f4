"""Run on a stereo video: reading, estimating and drawing in threads, shown and saved."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from crestereo.alignment import AlignmentPlan
from crestereo.app.align import Aligner, ReadyPair
from crestereo.app.output import (
    OutputNames,
    claim_names,
    model_record,
    report_files,
    save_record,
    view_saver,
)
from crestereo.app.pipeline import ClosedError, Pipeline
from crestereo.app.render import Painter, View, result_view, side_by_side, waiting_view
from crestereo.app.run_image import report_camera
from crestereo.app.script import say, summary, warn
from crestereo.app.settings import VideoSettings
from crestereo.app.sources import Kind
from crestereo.app.stereo_video import PairStream
from crestereo.app.video_writer import VideoWriter
from crestereo.app.window import Window, open_window, watch
from crestereo.types import DisparityMap, DisparityResult

if TYPE_CHECKING:
    from crestereo.estimator import CREStereo

TITLE = "CREStereo: left video and depth"
_POLL_S = 0.1
_ENDINGS = ("depth.mp4", "run.json")


@dataclass
class _Progress:
    """What a run has done so far; each field is written by one thread."""

    frames: int = 0
    estimation_s: float = 0.0
    note: str = ""
    doubt: str = ""
    plan: AlignmentPlan | None = None  # of the last frame
    prior: DisparityMap | None = None  # disparity of the last frame, as the network gave it
    started_s: float = field(default_factory=time.perf_counter)


def run_video(stream: PairStream, estimator: CREStereo, settings: VideoSettings) -> None:
    """Estimate every pair of a video, save the result, and show it where there is a screen."""
    report_camera(settings, stream.first.left.shape)
    camera = settings.camera_for(stream.first.left.shape[1])
    if camera is None:
        say("relative depth: no camera is set")
    names, writer = _writer(stream, settings) if settings.save else (None, None)
    progress = _Progress()
    painter = Painter(settings.colormap, camera, settings.max_distance)
    aligner = Aligner(settings, stream.beginning)
    left = False
    try:
        with open_window(TITLE, waiting_view(stream.first.left), settings.window) as window:
            steps: list[Callable[[Any], Any]] = [
                aligner,
                lambda ready: _estimate(ready, aligner, estimator, settings, progress),
                lambda done: _draw(done, painter, progress, writer, shown=window is not None),
            ]
            if stream.live:  # one step more would show the world one frame later
                steps[:2] = [
                    lambda pair: _estimate(aligner(pair), aligner, estimator, settings, progress)
                ]
            pipeline: Pipeline[View] = Pipeline(
                stream, steps, latest_only=stream.live, cancel=estimator.cancel
            )
            try:
                left = _follow(pipeline, window, stream, settings)
            finally:
                pipeline.close()
    finally:
        if writer is not None:
            writer.close()
        _report(stream, estimator, progress, names, relative=camera is None)
    if left and not progress.frames:
        say("window closed before the first result was ready; nothing was saved")


def _writer(stream: PairStream, settings: VideoSettings) -> tuple[OutputNames, VideoWriter]:
    names = claim_names(settings.output_dir, stream.name, _ENDINGS, overwrite=settings.overwrite)
    sound = stream.video.source.text if stream.video.source.kind is Kind.FILE else None
    writer = VideoWriter(
        names.path("depth.mp4"),
        stream.fps,
        codec=settings.codec,
        crf=settings.crf,
        sound=sound,
    )
    return names, writer


def _follow(
    pipeline: Pipeline[View], window: Window | None, stream: PairStream, settings: VideoSettings
) -> bool:
    """Follow a run until its end or until the user leaves; return whether the user left."""
    if window is not None:
        return watch(window, pipeline.poll, view_saver(settings.output_dir, stream.name))
    terminal = sys.stderr.isatty()
    done, tenths = 0, 0
    with tqdm(total=stream.count, unit=" frames", disable=not terminal) as bar:
        while True:
            try:
                view = pipeline.poll(_POLL_S)
            except ClosedError:
                return False
            if view is None:
                continue
            bar.update()
            done += 1
            if stream.count and not terminal and 10 * done // stream.count > tenths:
                tenths = 10 * done // stream.count
                warn(f"{10 * tenths} %, {done} of {stream.count} frames")


def _estimate(
    ready: ReadyPair,
    aligner: Aligner,
    estimator: CREStereo,
    settings: VideoSettings,
    progress: _Progress,
) -> tuple[ReadyPair, DisparityResult]:
    if ready.note != progress.note:
        _report_note(ready, progress)
    aligned = ready.aligned
    if aligned.plan is not progress.plan:
        progress.plan, progress.prior = aligned.plan, None
    result = estimator.estimate(aligned.left, aligned.right, prior=progress.prior)
    aligner.observe(ready, result)
    progress.estimation_s += result.seconds
    if settings.warm_start and estimator.accepts_prior:
        progress.prior = result.disparity
    return ready, result


def _report_note(ready: ReadyPair, progress: _Progress) -> None:
    with tqdm.external_write_mode(file=sys.stderr):  # not into the line of the bar
        if ready.note:
            (warn if "WARNING" in ready.note else say)(ready.note)
        if ready.doubt and ready.doubt != progress.doubt:
            warn(ready.doubt)
    progress.note, progress.doubt = ready.note, ready.doubt


def _draw(
    done: tuple[ReadyPair, DisparityResult],
    painter: Painter,
    progress: _Progress,
    writer: VideoWriter | None,
    *,
    shown: bool,
) -> View:
    ready, result = done
    left, disparity = ready.original.left, ready.aligned.restore(result.disparity)
    painted = painter.paint(disparity)
    if writer is not None:
        writer.add(side_by_side(left, painted.colored), ready.original.time_s)
    progress.frames += 1
    return result_view(left, disparity, painted) if shown else View(left)


def _report(
    stream: PairStream,
    estimator: CREStereo,
    progress: _Progress,
    names: OutputNames | None,
    *,
    relative: bool,
) -> None:
    """Print what came out, and write the record next to the video."""
    wall_s = time.perf_counter() - progress.started_s
    frames = progress.frames
    remarks = stream.remarks()
    for remark in remarks:
        warn(remark)
    record: dict[str, Any] = {
        "name": stream.name,
        **model_record(estimator),
        "frames": frames,
        "seconds": round(wall_s, 3),
        "frames_per_second": round(frames / max(wall_s, 1e-9), 3),
        "estimation_seconds_per_frame": round(progress.estimation_s / max(frames, 1), 4),
        "relative": relative,
        "note": progress.note,
        "doubt": progress.doubt,
        "remarks": remarks,
        "files": [],
    }
    if names is not None and frames:
        record["files"] = [str(names.path(ending)) for ending in _ENDINGS]
        save_record(names.path("run.json"), record)
    elif names is not None:
        names.release()
    count = "1 frame" if frames == 1 else f"{frames} frames"
    say(f"{count}, {record['frames_per_second']:.1f} a second")
    report_files(record["files"])
    summary(record)
