"""A video: reading, estimating and drawing side by side in threads, shown or written to a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from crestereo.app.align import Prepare, PreparedPair, prepare_nothing, prepare_video
from crestereo.app.images import check_same_size
from crestereo.app.load_model import LoadModel
from crestereo.app.output import OutputNames, claimed_names, model_record, save_record, view_saver
from crestereo.app.pipeline import ClosedError, Pipeline
from crestereo.app.prompts import SWAP, ask_yes_no
from crestereo.app.render import Painter, View, side_by_side, waiting_view, window_half
from crestereo.app.script import say, summary, warn
from crestereo.app.settings import (
    TwoVideosSettings,
    UnifiedVideoSettings,
    VideoSettings,
)
from crestereo.app.sources import Source, pair_name
from crestereo.app.stereo_video import (
    OneVideo,
    PairStream,
    TwoVideos,
    beginning_of_two,
    choose_layout,
    choose_offset_s,
    with_order,
)
from crestereo.app.video import open_video
from crestereo.app.video_writer import VideoFile
from crestereo.app.window import Window, open_window, watch
from crestereo.errors import SourceError
from crestereo.types import BGRImage, DisparityMap, DisparityResult

if TYPE_CHECKING:
    from crestereo.estimator import CREStereo


TITLE = "CREStereo: left video and depth"
_LOOK_EVERY_S = 0.1
_ENDINGS = ("depth.mp4", "run.json")


def run_video(
    stream: PairStream,
    estimator: CREStereo,
    settings: VideoSettings,
    prepare: Prepare = prepare_nothing,
) -> None:
    """Estimate every pair of a video; show the result, or write it where there is no window.

    Parameters
    ----------
    stream : PairStream
        The video.
    estimator : CREStereo
        The network.
    settings : VideoSettings
        Colours, camera, window and where results go.
    prepare : callable
        Makes each pair ready for the network.

    Raises
    ------
    CREStereoError
        When the estimation fails or the video cannot be written. What was estimated by then is
        kept and reported, as it is after Ctrl-C.
    """
    job = _VideoJob(stream, estimator, settings, prepare)
    with claimed_names(
        settings.output_dir, stream.name, _ENDINGS, overwrite=settings.overwrite
    ) as names:
        video = VideoFile(names.path("depth.mp4"), stream.fps, live=stream.live)
        write, left = True, False
        try:
            first = waiting_view(stream.first.left)
            with open_window(TITLE, first, settings.window) as window:
                write = window is None or settings.save_video
                with video.writing() if write else nullcontext() as add:
                    left = job.run(window, add)
        except SourceError:  # once the user has left: that no frame came
            if not left:
                raise
            say("left before the first result was there; nothing was saved")
        finally:
            if video.saved or left or not write:
                job.report(names if video.saved else None)


class _VideoJob:
    """Estimate and draw beside the main thread, and count."""

    def __init__(
        self,
        stream: PairStream,
        estimator: CREStereo,
        settings: VideoSettings,
        prepare: Prepare,
    ) -> None:
        camera = settings.camera_for(stream.first.left.shape[1])
        self._relative = camera is None
        self._stream = stream
        self._estimator = estimator
        self._settings = settings
        self._prepare = prepare
        self._painter = Painter(settings.colormap, camera, settings.max_distance)
        self._note = ""
        self._doubt = ""
        self._prior: DisparityMap | None = None  # the last frame's disparity, as the network saw it
        self._frames = 0
        self._estimation_s = 0.0
        self._wall_s = 0.0

    def run(self, window: Window | None, add: Callable[[BGRImage, float], None] | None) -> bool:
        """Go through the video until it ends or the user leaves; return whether the user left."""
        if self._relative:
            say("relative depth: colours show disparity, no camera is set")
        else:
            farthest = self._settings.max_distance
            say(f"depth in metres: what is beyond {farthest:g} m is black")
        start = time.perf_counter()
        steps: list[Callable[[Any], Any]] = [
            self._prepare,
            self._estimate,
            lambda done: self._draw(done, window, add),
        ]
        if self._stream.live:  # a step more would show the world one frame later
            steps[:2] = [lambda pair: self._estimate(self._prepare(pair))]
        pipeline: Pipeline[View] = Pipeline(
            self._stream,
            steps,
            latest_only=self._stream.live,
            cancel=self._estimator.cancel,
        )
        try:
            if window is None:
                self._wait(pipeline)
                return False
            save = view_saver(self._settings.output_dir, self._stream.name)
            return watch(window, pipeline.poll, save, stay=False)
        finally:
            pipeline.close()
            self._wall_s = time.perf_counter() - start

    def report(self, names: OutputNames | None) -> None:
        """Say what came out, and write the record beside the video where one was written."""
        remarks = self._stream.remarks()
        for remark in remarks:
            warn(remark)
        record: dict[str, Any] = {
            "name": self._stream.name,
            **model_record(self._estimator),
            "frames": self._frames,
            "seconds": round(self._wall_s, 3),
            "frames_per_second": round(self._frames / max(self._wall_s, 1e-9), 3),
            "estimation_seconds_per_frame": round(self._estimation_s / max(self._frames, 1), 4),
            "relative": self._relative,
            "note": self._note,
            "doubt": self._doubt,
            "remarks": remarks,
            "files": [],
        }
        if names is not None:
            record["files"] = [str(names.path(ending)) for ending in _ENDINGS]
            save_record(names.path("run.json"), record)
        rate = record["frames_per_second"]
        say(f"{self._frames} frames, {rate:.1f} a second")
        for path in record["files"]:
            say(f"saved {path}")
        summary(record)

    def _wait(self, pipeline: Pipeline[View]) -> None:
        """Show how far it is until the end."""
        every_s = 0.1 if sys.stderr.isatty() else 5.0  # a file needs no moving bar
        with tqdm(total=self._stream.count, unit=" frames", mininterval=every_s) as bar:
            while True:
                try:
                    view = pipeline.poll(_LOOK_EVERY_S)
                except ClosedError:
                    return
                if view is not None:
                    bar.update()

    def _estimate(self, prepared: PreparedPair) -> tuple[PreparedPair, DisparityResult]:
        if prepared.note != self._note:
            self._tell(prepared)
            self._prior = None  # the pairs are aligned otherwise now
        prior = self._prior
        result = self._estimator.estimate(prepared.pair.left, prepared.pair.right, prior=prior)
        self._estimation_s += result.seconds
        if self._settings.warm_start and self._estimator.accepts_prior:
            self._prior = result.disparity
        return prepared, result

    def _tell(self, prepared: PreparedPair) -> None:
        """Say what is done to the pairs from this one on."""
        with tqdm.external_write_mode(file=sys.stderr):  # not into the line of the bar
            if prepared.note:
                say(prepared.note)
            if prepared.doubt and prepared.doubt != self._doubt:
                warn(prepared.doubt)
        self._note, self._doubt = prepared.note, prepared.doubt

    def _draw(
        self,
        done: tuple[PreparedPair, DisparityResult],
        window: Window | None,
        add: Callable[[BGRImage, float], None] | None,
    ) -> View:
        prepared, result = done
        left, disparity = prepared.original.left, prepared.undo(result.disparity)
        painted = self._painter.paint(disparity)
        if add is not None:
            add(side_by_side(left, painted.colored), prepared.original.time_s)
        self._frames += 1
        if window is None:
            return View(left)
        halves = window_half(left), window_half(painted.colored)
        note = "relative depth" if self._relative else ""
        return View(side_by_side(*halves), note, disparity, painted.depth)


def estimate_two_videos(
    left: Source,
    right: Source,
    load_model: LoadModel,
    settings: TwoVideosSettings,
) -> None:
    """Open a left and a right video, load the network, estimate and show; see `video_run`."""

    near = settings.model_shape[0]
    videos = open_video(left, near), open_video(right, near)
    check_same_size(videos[0].size, videos[1].size)
    offset_s = choose_offset_s((left, right), videos, settings)
    name = pair_name(replace(left, title=videos[0].title), replace(right, title=videos[1].title))
    stream = TwoVideos(*videos, name, offset_s=offset_s)
    prepare = prepare_video(settings, beginning_of_two(left, right, offset_s))
    run_video(stream, load_model(), settings, prepare)


def estimate_one_video(
    source: Source,
    load_model: LoadModel,
    settings: UnifiedVideoSettings,
) -> None:
    """Open a video of both eyes, ask for its order where it is not set, estimate and show."""

    video = open_video(source, 2 * settings.model_shape[0])  # half of a frame may be one eye
    source = replace(source, title=video.title)
    layout, pairs, found = choose_layout(source, video, settings)
    swap = settings.swap
    if swap is None:
        swap = ask_yes_no(SWAP, default=bool(found))
    stream = OneVideo(video, source.stem, swap=swap, layout=layout)
    prepare = prepare_video(settings, with_order(pairs, swap))
    run_video(stream, load_model(), settings, prepare)
