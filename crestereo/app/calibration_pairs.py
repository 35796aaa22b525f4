"""Pairs of images for a calibration, from folders, videos and cameras."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.app.images import open_image
from crestereo.app.script import say, warn
from crestereo.app.settings import OFF, CalibrateSettings, TwoVideosSettings
from crestereo.app.sources import parse_image, parse_video
from crestereo.app.stereo_video import OneVideo, PairStream, TwoVideos, pair_videos
from crestereo.app.video import Video, open_video
from crestereo.boards import Board
from crestereo.calibration import board_centre, track_offset_s
from crestereo.errors import SourceError, UsageError
from crestereo.formats import to_bgr8
from crestereo.layouts import parse_layout, split_frame
from crestereo.preprocess import resize_image
from crestereo.types import BGRImage, StereoPair

WINDOW_S = 0.3  # of a video, of which the stillest pair is searched
TRACKED_S, TRACKED_PX = 20.0, 400  # time and width in which the offset is measured
MOST_HEIGHT_PX = 4320
_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm")

Values = NDArray[Any]
SearchedPair: TypeAlias = tuple[StereoPair, BGRImage | None]
"""A pair, and the left image before it where the cameras are not synchronized."""


def board_pairs(
    sources: Sequence[str], settings: CalibrateSettings, board: Board
) -> tuple[int | None, bool, Iterator[SearchedPair]]:
    """Return the number of pairs, whether they are live, and the pairs."""
    names = _named_pairs(sources)
    if names is not None:
        return len(names), False, ((pair, None) for pair in _image_pairs(names, settings))

    def paired(left: Video, right: Video) -> PairStream:
        as_given = settings.sync == OFF or left.live or right.live
        offset_s = 0.0 if as_given else _offset_s(left, right, board)
        return TwoVideos(left, right, left.name, offset_s=offset_s)

    stream = _open_stream(sources, settings, paired)
    step = max(1, round(WINDOW_S * stream.fps))
    count = None if stream.live or stream.count is None else -(-stream.count // step)
    return count, stream.live, _stillest(stream, step)


def spread_pairs(
    sources: Sequence[str], settings: CalibrateSettings, most: int
) -> Iterator[StereoPair]:
    """Yield up to `most` pairs from everywhere in the sources."""
    names = _named_pairs(sources)
    if names is not None:
        yield from _image_pairs(names[:: -(-len(names) // most)], settings)
        return

    def paired(left: Video, right: Video) -> PairStream:
        return pair_videos(left, right, TwoVideosSettings(sync=settings.sync))

    stream = _open_stream(sources, settings, paired)
    step = max(1, round(stream.fps))
    if not stream.live and stream.count is not None:
        step = max(1, stream.count // most)
    yield from islice(iter(stream), 0, most * step, step)


def _named_pairs(sources: Sequence[str]) -> list[tuple[Path, ...]] | None:
    """Return the image files of the pairs of folders, None for videos."""
    folders = [Path(source).is_dir() for source in sources]
    if all(folders):
        return _pair_files([images_in(Path(source)) for source in sources])
    if any(folders):
        raise UsageError("give two folders or two videos, not one of each")
    return None


def _open_stream(
    sources: Sequence[str],
    settings: CalibrateSettings,
    paired: Callable[[Video, Video], PairStream],
) -> PairStream:
    """Open one video of both views, or two and pair them."""
    videos = [open_video(parse_video(source), MOST_HEIGHT_PX) for source in sources]
    if len(videos) == 1:
        return OneVideo(videos[0], videos[0].name, layout=parse_layout(settings.layout))
    return paired(*videos)


def _offset_s(left: Video, right: Video, board: Board) -> float:
    """Estimate how much later the right video of a board was started."""
    say("estimating the time offset of the two videos by the moving board")
    offset_s = track_offset_s(_track(left, board), _track(right, board))
    if np.isnan(offset_s):
        say("sync: the board moves too little to measure an offset, using 0 s")
        return 0.0
    say(f"sync: the right video was started {offset_s:+.3f} s later than the left one")
    return offset_s


def _track(video: Video, board: Board) -> Values:
    """Return times and centres of the board in a video, (N, 3)."""
    found = []
    for frame in video.frames():
        if frame.time_s > TRACKED_S:
            break
        height, width = frame.image.shape[:2]
        small = resize_image(frame.image, (round(height * TRACKED_PX / width), TRACKED_PX))
        seen = board.find(small if width > TRACKED_PX else frame.image, rough=True)
        centre = None if seen is None else board_centre(*seen, board.points)
        if centre is not None:
            found.append([frame.time_s, *centre])
    return np.array(found).reshape(-1, 3)


def _stillest(stream: PairStream, step: int) -> Iterator[SearchedPair]:
    """Yield the stillest pair of each window of a video."""
    pairs = iter(stream)
    window = list(islice(pairs, step + 1))
    while len(window) > 1:
        motions = [max(map(_change, a, b)) for a, b in pairwise(map(_views, window))]
        best = int(np.argmin(motions))
        pair = replace(window[best + 1], name=f"{window[best + 1].time_s:.2f} s")
        apart = isinstance(stream, TwoVideos)
        yield pair, window[best].left if apart else None
        window = [window[-1], *islice(pairs, step)]


def _views(pair: StereoPair) -> tuple[BGRImage, BGRImage]:
    return pair.left, pair.right


def _change(image: BGRImage, other: BGRImage) -> float:
    return float(cv2.absdiff(image[::2, ::2, 1], other[::2, ::2, 1]).mean())


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted."""
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in _IMAGES)
    if not found:
        raise SourceError(f"{folder} holds no images; give a folder of {', '.join(_IMAGES[:3])}")
    return found


def _pair_files(folders: Sequence[Sequence[Path]]) -> list[tuple[Path, ...]]:
    """Pair images whose names differ in nothing but the side."""
    if len(folders) == 1:
        return [(path,) for path in folders[0]]
    keyed = [{_without_side(path.stem): path for path in paths} for paths in folders]
    shared = [key for key in keyed[0] if key in keyed[1]]
    if len(shared) >= min(map(len, folders)) / 2:
        lone = sum(map(len, folders)) - 2 * len(shared)
        if lone:
            warn(f"{lone} images without a partner of the same name are left out")
        return [(keyed[0][key], keyed[1][key]) for key in shared]
    if len(folders[0]) != len(folders[1]):
        raise SourceError(
            f"the folders hold {len(folders[0])} and {len(folders[1])} images whose names do not "
            "pair them; name the two images of a pair alike"
        )
    return list(zip(*folders, strict=True))


def _without_side(stem: str) -> str:
    return re.sub(r"(?i)left|right|(?<![a-z])[lr](?![a-z])|cam(era)?_?[0-9]", "", stem)


def _image_pairs(
    names: Sequence[tuple[Path, ...]], settings: CalibrateSettings
) -> Iterator[StereoPair]:
    layout = parse_layout(settings.layout)
    for paths in names:
        opened = [open_image(parse_image(str(path)), both_views=False) for path in paths]
        images = to_bgr8(*(each.left for each in opened))
        views = images if len(images) == 2 else split_frame(images[0], layout)
        if views[0].shape != views[1].shape:
            raise SourceError(f"{paths[0]} and {paths[-1]} differ in size; give images of one size")
        yield StereoPair(*views, paths[0].name)
