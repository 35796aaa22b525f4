"""Run on a stereo video: read, estimate and draw in threads."""

from __future__ import annotations

import math
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from crestereo.alignment import AlignmentPlan
from crestereo.app.align import Aligner, ReadyPair
from crestereo.app.output import (
    STATE,
    Checkpoint,
    Checkpoints,
    MapFrames,
    Recorder,
    ViewSaver,
    claim_names,
    find_names,
    identity_of,
    is_complete,
    model_record,
    report_files,
    restore,
    save_record,
)
from crestereo.app.pipeline import ClosedError, Pipeline
from crestereo.app.render import Painted, Painter, View, result_view, video_frame, waiting_view
from crestereo.app.script import report, say, summary, warn
from crestereo.app.settings import AUTO, OFF, ON, VideoSettings
from crestereo.app.sources import Kind
from crestereo.app.stereo_video import PairStream, Section
from crestereo.app.video_writer import VideoWriter
from crestereo.app.window import Controls, Window, open_window, watch
from crestereo.colormap import RangeSmoother
from crestereo.errors import CREStereoError, DisplayError
from crestereo.steady import Steady
from crestereo.types import BGRImage, DisparityMap, DisparityResult, StereoPair

if TYPE_CHECKING:
    from crestereo.estimator import CREStereo

TITLE = "CREStereo: left video and depth"
_POLL_S = 0.1
_ENDINGS = ("depth.mp4", "run.json", "maps.mkv", "maps")


@dataclass
class _Progress:
    """Progress of a run; each field is written by one thread."""

    frames: int = 0
    estimation_s: float = 0.0
    note: str = ""
    doubt: str = ""
    plan: AlignmentPlan | None = None  # of the last frame
    prior: DisparityMap | None = None  # disparity of the last frame, as the network gave it
    started_s: float = field(default_factory=time.perf_counter)
    ended_s: float = 0.0  # of the last frame; the window stays open longer


def run_video(stream: PairStream, estimator: CREStereo, settings: VideoSettings) -> None:
    """Estimate the pairs of a video, save and show the result."""
    section = Section.of(stream, settings)
    if settings.resume and is_complete(settings.output_dir, stream.name, _ENDINGS):
        say(
            f"{stream.name} is complete in {settings.output_dir}: nothing to resume; "
            "--overwrite estimates it again"
        )
        return
    run = VideoRun(section, estimator, settings)
    if run.camera is None:
        say("relative depth: no camera is set")
    left = True
    try:
        with open_window(TITLE, waiting_view(stream.first.left), settings.window) as window:
            pipeline = run.start(shown=window is not None)
            try:
                left = run.follow(pipeline, window)
            finally:
                pipeline.close()
    finally:
        run.close(complete=not left)
    if left and not run.progress.frames:
        say("window closed before the first result was ready; nothing was saved")


class _Files:
    """Files of a run, opened where an interrupted one ended."""

    def __init__(self, section: Section, estimator: CREStereo, settings: VideoSettings,
                 *, metric: bool) -> None:  # fmt: skip
        stream, first = section.stream, section.stream.first.left
        folder = settings.output_dir
        found = find_names(folder, stream.name, _ENDINGS, STATE) if settings.resume else None
        self.names = found or claim_names(
            folder, stream.name, _ENDINGS, overwrite=settings.overwrite
        )
        video = stream.video
        sound = video.source.text if video.source.kind is Kind.FILE else None
        fps = stream.fps / section.every
        self.video = VideoWriter(
            self.names.path("depth.mp4"), fps, codec=settings.codec, crf=settings.crf, sound=sound
        )
        self.maps: MapFrames | None = None
        if settings.depth_frames != OFF:
            size = first.shape[1], first.shape[0]
            self.maps = MapFrames(settings.depth_frames, self.names, fps, size, metric=metric)
        self.checkpoint: Checkpoint | None = None
        self.checkpoints = Checkpoints(
            self.names.path(STATE), identity_of(stream, estimator, settings)
        )
        if found is not None:
            self.checkpoint = self.checkpoints.load(self._frames_kept)
        elif settings.resume:
            say("nothing to resume: starting from the beginning")
        if self.checkpoint is None:
            self._begin(live=stream.live)
        else:
            say(f"resumed after {self.checkpoint.frames} frames")
            self.video.resume(
                self.checkpoint.frames,
                self.checkpoint.video,
                video_frame(settings.view, first, first),
            )
            if self.maps is not None:
                self.maps.resume(self.checkpoint.frames, self.checkpoint.maps)

    def _writers(self) -> list[VideoWriter]:
        maps = None if self.maps is None else self.maps.writer
        return [self.video] if maps is None else [self.video, maps]

    def _frames_kept(self) -> int:
        return min(writer.frames_kept() for writer in self._writers())

    def _begin(self, *, live: bool) -> None:
        for writer in self._writers():
            writer.forget()
        if not live:
            self.checkpoints.save(None)

    def add(
        self,
        frame: BGRImage,
        disparity: DisparityMap,
        painted: Painted,
        time_s: float,
        *,
        steps: bytes | None,
        drawing: Any,
    ) -> None:
        """Write a frame, before a key frame also the state."""
        checkpoint = None
        if steps is not None:
            maps = None if self.maps is None or self.maps.writer is None else self.maps.writer.state
            checkpoint = Checkpoint(self.video.frames, steps, drawing, self.video.state, maps)
        if self.maps is not None:
            self.maps.add(disparity, painted.depth, time_s)
        self.video.add(frame, time_s)
        if checkpoint is not None:  # the key frame has brought those before it to the disk
            self.checkpoints.save(checkpoint)

    def close(self) -> list[str]:
        """Finish the files; return their paths."""
        if self.maps is not None:
            self.maps.close()
        self.video.close()
        return [str(self.names.path("depth.mp4"))] + (
            [str(self.maps.path)] if self.maps is not None else []
        )


class VideoRun:
    """Steps, files and progress of one run."""

    def __init__(self, section: Section, estimator: CREStereo, settings: VideoSettings) -> None:
        stream = section.stream
        self.estimator, self.settings = estimator, settings
        self.progress = _Progress()
        self._aligner = Aligner(settings, stream.beginning or [stream.first])
        self._aligner.report()
        if settings.length is not None:
            ready = copy(self._aligner)(stream.first)
            result = estimator.estimate(ready.aligned.left, ready.aligned.right)
            self._aligner.measure_baseline(ready.restore(result.disparity))
        self.camera = self._aligner.camera
        players = settings.view == "sbs-depth"  # which take the depth as it is, in grey
        self._painter = Painter(
            "gray" if players else settings.colormap,
            self.camera,
            settings.max_distance,
            guesses_hatched=not players,
        )
        wanted = settings.steady == ON or (settings.steady == AUTO and not stream.live)
        self._steady = Steady() if wanted else None
        self.recorder = Recorder(settings, stream.name, stream.fps / section.every)
        self._files: _Files | None = None
        if settings.save:
            self._files = _Files(section, estimator, settings, metric=self.camera is not None)
        checkpoint = None if self._files is None else self._files.checkpoint
        if checkpoint is not None:
            section = replace(section, skipped=checkpoint.frames)
            self._aligner, values = restore(checkpoint.steps)
            self._painter.colors, filtered = checkpoint.drawing
            if self._steady is not None:
                self._steady.state = filtered
            self.progress = _Progress(checkpoint.frames, **values)
        self.section, self._skipped = section, section.skipped
        self._number = section.skipped  # of the next pair to align

    def start(self, *, shown: bool) -> Pipeline[View]:
        """Start the threads."""
        steps = self._steps(shown=shown)
        live = self.section.stream.live
        if live:  # one step more would show the world one frame later
            steps[:2] = [lambda pair: self._estimate(self._align(pair))]
        return Pipeline(self.section, steps, latest_only=live, cancel=self.estimator.cancel)

    def look(self, time_s: float, every: int) -> Pipeline[View]:
        """Start threads that show the video from a time on."""
        run = copy(self)
        run._files = None
        run.progress = _Progress(note=self.progress.note, doubt=self.progress.doubt)
        run._aligner, run._painter = copy(self._aligner), copy(self._painter)
        run._steady = None if self._steady is None else Steady()

        def pairs() -> Iterator[StereoPair]:  # opened in the thread that reads
            yield from Section(self.section.stream.again(), time_s, every=every)

        # without `cancel`, which would end the estimation of the run too
        return Pipeline(pairs(), run._steps(shown=True))

    def _steps(self, *, shown: bool) -> list[Callable[[Any], Any]]:
        def draw(done: tuple[ReadyPair, DisparityResult, bytes | None]) -> View:
            return self._draw(*done, shown=shown)

        return [self._align, self._estimate, draw]

    def follow(self, pipeline: Pipeline[View], window: Window | None) -> bool:
        """Follow a run to its end; return whether the user left."""
        if window is None:
            self._follow_in_terminal(pipeline)
            return False

        player = _Player(self, pipeline)

        def rest() -> None:
            complete = False
            player.back()
            try:
                self._follow_in_terminal(pipeline)
                complete = True
            finally:
                pipeline.close()
                self.close(complete=complete)

        stream = self.section.stream
        saver = ViewSaver(self.settings.output_dir, stream.name, self.camera, self._aligner.pixels)
        controls = Controls(
            player.next_view, saver, rest, self.recorder.toggle, words=player.words,
            frame_s=self.section.every / stream.fps,
        )  # fmt: skip
        if not stream.live and all(video.reopen for video in stream.videos):
            controls = replace(controls, seek=player.seek, back=player.back)
        try:
            watch(window, controls)
        except DisplayError as exc:
            warn(f"{exc}; the run continues without a window")
            player.back()
            self._follow_in_terminal(pipeline)
            return False
        finally:
            saver.wait()
        return not player.done

    def _follow_in_terminal(self, pipeline: Pipeline[View]) -> None:
        terminal = sys.stderr.isatty()
        begun, count = self.progress.frames, self.section.count
        total = None if count is None else count + self._skipped
        done, tenths = begun, 10 * begun // total if total else 0
        bar = tqdm(total=total, initial=begun, unit=" frames", disable=not terminal)
        started_s = time.perf_counter()
        with bar:
            while True:
                try:
                    view = pipeline.poll(_POLL_S)
                except ClosedError:
                    return
                if view is None:
                    continue
                bar.update()
                done += 1
                if total and not terminal and 10 * done // total > tenths:
                    tenths = 10 * done // total
                    rate = (done - begun) / max(time.perf_counter() - started_s, 1e-9)
                    rest = tqdm.format_interval(max(total - done, 0) / rate)
                    warn(f"{10 * tenths} %, {done} of {total} frames, {rest} remaining")

    def _align(self, pair: StereoPair) -> tuple[ReadyPair, Aligner | None]:
        """Align a pair; before a key frame copy the aligner."""
        number, files = self._number, self._files
        self._number += 1
        if files is None or self.section.stream.live or number % files.video.key_every:
            return self._aligner(pair), None
        before = copy(self._aligner) if number else None
        return self._aligner(pair), before

    def _estimate(
        self, aligned: tuple[ReadyPair, Aligner | None]
    ) -> tuple[ReadyPair, DisparityResult, bytes | None]:
        ready, aligner = aligned
        progress = self.progress
        state = None
        if aligner is not None:
            names = ("note", "doubt", "plan", "prior")
            state = pickle.dumps((aligner, {name: getattr(progress, name) for name in names}))
        if ready.note != progress.note:
            _report_note(ready, progress)
        views = ready.aligned
        if views.plan is not progress.plan:
            progress.plan, progress.prior = views.plan, None
        result = self.estimator.estimate(views.left, views.right, prior=progress.prior)
        self._aligner.observe(ready, result)
        progress.estimation_s += result.seconds
        if self.settings.warm_start and self.estimator.accepts_prior:
            progress.prior = result.disparity
        return ready, result, state

    def _draw(
        self, ready: ReadyPair, result: DisparityResult, state: bytes | None, *, shown: bool
    ) -> View:
        left, disparity = ready.original.left, ready.restore(result.disparity)
        drawing = self._painter.colors, None if self._steady is None else self._steady.state
        if self._steady is not None:
            disparity = self._steady.update(left, disparity)
            if self._steady.cut:
                self._painter.colors = RangeSmoother()
        painted = self._painter.paint(disparity)
        if self._files is not None:
            frame = video_frame(self.settings.view, left, painted.colored)
            time_s = ready.original.time_s
            self._files.add(frame, disparity, painted, time_s, steps=state, drawing=drawing)
        self.recorder.add(ready.original, painted.colored)
        self.progress.frames += 1
        self.progress.ended_s = time.perf_counter()
        if not shown:
            return View(left)
        pair, video = ready.original, self.section.stream.video
        return replace(
            result_view(left, disparity, painted),
            pair=pair,
            taken_s=pair.time_s if video.live else None,
            length_s=None if video.count is None else video.count / video.fps,
        )

    def close(self, *, complete: bool) -> None:
        """Finish the files, print what came out, write the record."""
        if self.recorder.on:
            self.recorder.toggle()
        files = self._files
        paths: list[str] = []
        try:
            if files is not None:
                paths = files.close()
        finally:
            if files is not None and (complete or not self.progress.frames):
                files.checkpoints.remove()
            try:
                self._report(paths, complete=complete)
            finally:  # its record may not fit on a full disk
                if files is not None and files.names.path(STATE).exists():
                    say("the run is not complete; repeat it with --resume to continue it")

    def _report(self, paths: list[str], *, complete: bool) -> None:
        progress, stream = self.progress, self.section.stream
        wall_s = max(progress.ended_s - progress.started_s, 0.0)
        frames, done = progress.frames, progress.frames - self._skipped
        remarks, files = stream.remarks(), self._files
        whole = complete and math.isinf(self.section.end_s)
        if files is not None and files.video.sound_cut and whole:
            remarks.append(f"the sound of {stream.video.name} is longer than the video: cut there")
        for remark in remarks:
            warn(remark)
        record: dict[str, Any] = {
            "name": stream.name,
            **model_record(self.estimator),
            "frames": frames,
            "seconds": round(wall_s, 3),
            "frames_per_second": round(done / max(wall_s, 1e-9), 3),
            "estimation_seconds_per_frame": round(progress.estimation_s / max(done, 1), 4),
            "relative": self.camera is None,
            "note": progress.note,
            "doubt": progress.doubt,
            "remarks": remarks,
            "files": [],
        }
        if files is not None and frames:
            if files.maps is not None:
                record["maps"] = files.maps.scale
            record["files"] = [*paths, str(files.names.path("run.json"))]
            save_record(files.names.path("run.json"), record)
        elif files is not None:
            files.names.release()
        if frames:
            count = "1 frame" if frames == 1 else f"{frames} frames"
            say(f"{count}, {record['frames_per_second']:.1f} a second")
        report_files(record["files"])
        summary(record)


class _Player:
    """What the window shows: a run, or another place of its video."""

    def __init__(self, run: VideoRun, pipeline: Pipeline[View]) -> None:
        self.done = False  # the run
        self._run, self._pipeline = run, pipeline
        self._last: View | None = None  # of the run
        self._returned = False  # from another place: the last view of the run is shown again
        self._look: Pipeline[View] | None = None
        self._target: tuple[float, float] | None = None
        self._due_s = 0.0  # when the next frame is shown, at the earliest
        self._interval_s = 0.0

    def next_view(self) -> View | None:
        if self._target is not None:
            self._start(*self._target)
        if self._look is None:
            return self._view_of_run()
        if self._target is not None or time.monotonic() < self._due_s:
            return None
        try:
            view = self._look.poll()
        except CREStereoError as exc:
            warn(f"{exc}; back to the run")
            self.back()
            return None
        if view is not None:
            self._due_s = time.monotonic() + self._interval_s
        return view

    def _view_of_run(self) -> View | None:
        returned, self._returned = self._returned, False
        if returned and self._last is not None:
            return self._last
        try:
            view = self._pipeline.poll()
        except ClosedError:
            self.done = True
            raise
        if view is not None:
            self._last = view
        return view

    def seek(self, time_s: float, speed: float) -> None:
        self._target = time_s, speed
        if self._run.recorder.on:  # its frames follow one another
            self._run.recorder.toggle()

    def back(self) -> None:
        if self._look is not None:
            self._look.close(0)
        self._returned = self._look is not None
        self._look = self._target = None

    def words(self) -> str:
        words = ["recording"] if self._run.recorder.on else []
        if self._run.settings.save and not self.done and (self._look or self._target):
            words.append("saving waits, b: back")
        return "   ".join(words)

    def _start(self, time_s: float, speed: float) -> None:
        """Start at a place once earlier threads have ended."""
        if self._look is not None and not self._look.close(0):
            return
        every = self._run.section.every
        self._look = self._run.look(time_s, every * max(round(speed), 1))
        self._interval_s = every / self._run.section.stream.fps / min(speed, 1.0)
        self._target, self._due_s = None, 0.0


def _report_note(ready: ReadyPair, progress: _Progress) -> None:
    with tqdm.external_write_mode(file=sys.stderr):  # not into the line of the bar
        if ready.note:
            report(ready.note)
        if ready.doubt and ready.doubt != progress.doubt:
            warn(ready.doubt)
    progress.note, progress.doubt = ready.note, ready.doubt
