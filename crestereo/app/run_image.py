"""One pair of pictures: estimated beside the window, saved in any case, shown until it is left."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from crestereo.app.align import Prepare, PreparedPair, prepare_nothing, prepare_pictures
from crestereo.app.images import open_picture, open_picture_pair, size_of
from crestereo.app.load_model import LoadModel
from crestereo.app.output import (
    OutputNames,
    claimed_names,
    map_record,
    model_record,
    range_sentence,
    save_maps,
    save_picture,
    save_record,
    view_saver,
)
from crestereo.app.pipeline import Mailbox, Pipeline
from crestereo.app.render import Painted, Painter, View, side_by_side, waiting_view, window_half
from crestereo.app.script import answer, say, summary, warn
from crestereo.app.settings import ImageSettings
from crestereo.app.sources import Source
from crestereo.app.window import open_window, watch
from crestereo.similarity import compare
from crestereo.types import BGRImage, DisparityResult, StereoPair

if TYPE_CHECKING:
    from crestereo.estimator import CREStereo


HEADLINE = "How Different (0 = Same Image, 1 = Totally Different Image) : "


def compare_and_tell(first: BGRImage, second: BGRImage) -> None:
    """Say how different two pictures are: their colours first, then what colours cannot tell.

    Parameters
    ----------
    first, second : (H, W, 3) uint8
        BGR pictures of any sizes.
    """
    difference = compare(first, second)
    answer(f"{HEADLINE} {_six_digits(difference.histogram)}")
    answer(f"Structure (1 - SSIM, 0 = same) :  {_six_digits(difference.structure)}")
    answer(f"Pixels (RMSE of 0..1 values, 0 = same) :  {_six_digits(difference.pixels)}")
    sizes = [size_of(picture) for picture in (first, second)]
    if difference.resized:
        (w1, h1), (w2, h2) = sizes
        say(
            f"the sizes differ, {w1}x{h1} and {w2}x{h2}: the second was resized for structure and "
            "pixels"
        )
    summary({**asdict(difference), "sizes_px": sizes})


def _six_digits(value: float) -> float:
    """Return a value as it is shown: 0.0 for the same picture, as ever."""
    return float(f"{value:.6g}")


TITLE = "CREStereo: left picture and depth"
_LOOK_EVERY_S = 0.01
_ENDINGS = ("depth.png", "disparity.pfm", "depth_mm.png", "points.ply", "run.json")


def run_image(
    pair: StereoPair,
    estimator: CREStereo,
    settings: ImageSettings,
    prepare: Prepare = prepare_nothing,
) -> None:
    """Estimate a pair, save the result, and show it where there is a screen.

    Parameters
    ----------
    pair : StereoPair
        Pictures of the same size.
    estimator : CREStereo
        The network.
    settings : ImageSettings
        Colours, camera, window and where results go.
    prepare : callable
        Makes the pair ready for the network.

    Raises
    ------
    CREStereoError
        When the estimation fails or its result cannot be written.
    """
    job = _ImageJob(pair, estimator, settings, prepare)
    try:
        with open_window(TITLE, waiting_view(pair.left), settings.window) as window:
            if window is not None:
                save = view_saver(settings.output_dir, pair.name)
                watch(window, job.next_view, save, stay=True)
        if window is not None and not job.estimated:
            say("left before the result was there; nothing was saved")
            return
        while not job.finished():
            time.sleep(_LOOK_EVERY_S)
    finally:
        job.stop()


class _ImageJob:
    """Estimate and save beside the main thread, which only asks how far it is."""

    def __init__(
        self,
        pair: StereoPair,
        estimator: CREStereo,
        settings: ImageSettings,
        prepare: Prepare,
    ) -> None:
        self._settings = settings
        self._estimator = estimator
        self._prepare = prepare
        self._camera = settings.camera_for(pair.left.shape[1])
        self._views: Mailbox[View] = Mailbox()
        self._finished = False
        self.estimated = False
        self._pipeline: Pipeline[dict[str, Any]] = Pipeline(
            [pair], [self._estimate, self._save], cancel=estimator.cancel
        )

    def finished(self) -> bool:
        """Return whether everything is saved; the first time it is, say so.

        Raises
        ------
        CREStereoError
            What went wrong in the estimation or in saving.
        """
        if not self._finished and (record := self._pipeline.poll()) is not None:
            self._finished = True
            if record["note"]:
                say(record["note"])
            if record["doubt"]:
                warn(record["doubt"])
            say(range_sentence(record))
            for path in record["files"]:
                say(f"saved {path}")
            summary(record)
        return self._finished

    def next_view(self) -> View | None:
        """Return the view of the result once, None otherwise."""
        self.finished()
        return self._views.take(0)

    def stop(self) -> None:
        """Give up what is not done yet."""
        self._pipeline.close()

    def _estimate(self, pair: StereoPair) -> tuple[PreparedPair, DisparityResult, Painted]:
        prepared = self._prepare(pair)
        result = self._estimator.estimate(prepared.pair.left, prepared.pair.right)
        result = replace(result, disparity=prepared.undo(result.disparity))
        painted = Painter(self._settings.colormap, self._camera).paint(result.disparity)
        halves = window_half(prepared.original.left), window_half(painted.colored)
        note = "relative depth" if painted.depth is None else ""
        self._views.put(View(side_by_side(*halves), note, result.disparity, painted.depth))
        self.estimated = True
        return prepared, result, painted

    def _save(self, done: tuple[PreparedPair, DisparityResult, Painted]) -> dict[str, Any]:
        prepared, settings = done[0], self._settings
        with claimed_names(
            settings.output_dir, prepared.original.name, _ENDINGS, overwrite=settings.overwrite
        ) as names:
            return self._write(names, done)

    def _write(
        self, names: OutputNames, done: tuple[PreparedPair, DisparityResult, Painted]
    ) -> dict[str, Any]:
        prepared, result, painted = done
        left = prepared.original.left
        files = [save_picture(names.path("depth.png"), side_by_side(left, painted.colored))]
        files += save_maps(names, left, result.disparity, painted.depth, self._camera)
        record = {
            "name": prepared.original.name,
            **model_record(self._estimator),
            "seconds": round(result.seconds, 4),
            **map_record(result.disparity, painted.depth),
            "note": prepared.note,
            "doubt": prepared.doubt,
            "files": [str(path) for path in (*files, names.path("run.json"))],
        }
        save_record(names.path("run.json"), record)
        return record


def estimate_pictures(
    left: Source, right: Source, load_model: LoadModel, settings: ImageSettings
) -> None:
    """Open a pair of pictures, load the network, estimate, save and show; see `image_run`."""

    pair = open_picture_pair(left, right)
    run_image(pair, load_model(), settings, prepare_pictures(settings))


def compare_pictures(first: Source, second: Source) -> None:
    """Open two pictures and say how different they are; see `comparison`."""

    compare_and_tell(open_picture(first), open_picture(second))
