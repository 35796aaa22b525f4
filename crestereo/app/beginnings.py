"""Look at the beginning of videos: how the eyes share a frame, which frames belong together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain, islice, pairwise, takewhile
from urllib.parse import unquote, urlsplit

import numpy as np

from crestereo.alignment import SwapFinding, detect_swap, find_bars
from crestereo.app.messages import Messages
from crestereo.app.openers import open_video
from crestereo.app.options import AUTO, OFF
from crestereo.app.pairing import TwoVideos
from crestereo.app.sources import Kind, Source
from crestereo.app.video_options import TwoVideosSettings, UnifiedVideoSettings
from crestereo.app.videos import Frame, Video
from crestereo.images import resize_image
from crestereo.layouts import Layout, LayoutFinding, detect_layout, parse_layout, split_frame
from crestereo.motion import Signals, at_constant_rate, motion_signals
from crestereo.sync import offset_of_signals, pairs_to_verify, verified
from crestereo.types import BGRImage, StereoPair

LOOKED_AT_FRAMES = 96  # of the beginning of a video
LOOKED_AT_EVERY = 16
JUDGED_PAIRS = 3  # whose order is judged
SYNC_SECONDS = 10.0
SYNC_SIDE_PX = 480
_END = Frame(np.empty((0, 0, 3), np.uint8), math.inf)  # what follows the last frame


def beginning_of(source: Source) -> list[BGRImage]:
    """Return frames spread over the beginning of a video file; none of a camera or address."""
    if source.kind is not Kind.FILE:
        return []
    video = open_video(source, 0)
    try:
        return [f.image for f in islice(video.frames(), 0, LOOKED_AT_FRAMES, LOOKED_AT_EVERY)]
    finally:
        video.close()


def beginning_of_two(left: Source, right: Source, offset_s: float) -> list[StereoPair]:
    """Return pairs spread over the beginning of two video files; none where one is no file."""
    if left.kind is not Kind.FILE or right.kind is not Kind.FILE:
        return []
    videos = open_video(left, 0), open_video(right, 0)
    stream = TwoVideos(*videos, left.stem, offset_s=offset_s)  # it closes them
    pairs = iter(stream)
    return list(islice(pairs, 0, LOOKED_AT_FRAMES, LOOKED_AT_EVERY))


def with_order(pairs: Sequence[StereoPair], swap: bool) -> list[StereoPair]:
    """Return the pairs with their eyes exchanged where `swap` says so."""
    if not swap:
        return list(pairs)
    return [pair.exchanged() for pair in pairs]


def choose_layout(
    source: Source, video: Video, settings: UnifiedVideoSettings, messages: Messages
) -> tuple[Layout, list[StereoPair], bool | None]:
    """Return the layout of a video, some of its pairs, and whether its eyes are swapped.

    Returns
    -------
    layout : Layout
        Never with the right eye first: that is the third value.
    pairs : list of StereoPair
        Cut with this layout.
    swap : bool or None
        What name, layout or content tell; None where nothing does.
    """
    frames = beginning_of(source) or [video.first]
    if settings.layout == AUTO:
        found = detect_layout(_file_name(source), video.title, frames)
        messages.say(str(found))
    else:
        found = LayoutFinding(parse_layout(settings.layout), 1.0, "as set")
    layout = Layout(found.layout.stacked, found.layout.half)
    pairs = [StereoPair(*split_frame(frame, layout), source.stem) for frame in frames]
    swap = settings.swap
    if swap is None and (found.order_known or found.layout.right_first):
        swap = found.layout.right_first
        messages.say(f"the name says: {'right' if swap else 'left'} eye first")
    elif swap is None:
        finding = _order_of(pairs)
        messages.say(str(finding))
        swap = finding.swapped
    return layout, pairs, swap


def _file_name(source: Source) -> str:
    """Return the name that may tell a layout: of an address the path, its query is chance."""
    if source.kind is Kind.FILE:
        return source.text
    return "" if source.kind is Kind.CAMERA else unquote(urlsplit(source.text).path)


def choose_offset_s(
    sources: tuple[Source, Source],
    videos: tuple[Video, Video],
    settings: TwoVideosSettings,
    messages: Messages,
) -> float:
    """Return by how many seconds the right video was started later than the left one."""
    rates = (videos[0].fps, videos[1].fps)
    if settings.sync_frames is not None:
        return -settings.sync_frames / rates[1]
    if settings.sync == OFF or any(source.kind is not Kind.FILE for source in sources):
        return 0.0
    messages.say("looking how the two videos belong together in time")
    left, right = (_motion_of(source, rate) for source, rate in zip(sources, rates, strict=True))
    finding = offset_of_signals(left, right, *rates)
    places = pairs_to_verify(finding, (len(left) + 1, len(right) + 1), rates[1] / rates[0])
    of_left, of_right = (
        _images_at([pair[side] / rates[side] for pair in places], _small_frames(sources[side]))
        for side in (0, 1)
    )
    finding = verified(finding, zip(of_left, of_right, strict=True))
    messages.say(str(finding))
    if not finding.believed:
        return 0.0
    # Measured from the first frames that can be decoded, which may be late in their files.
    late_s = videos[0].late_s - videos[1].late_s
    return late_s - round(finding.offset_frames) / rates[1]


def _motion_of(source: Source, rate: float) -> Signals:
    """Return what moves in the first seconds, at a constant rate: phones do not keep theirs."""
    times_s: list[float] = []

    def images() -> Iterator[BGRImage]:
        for frame in _small_frames(source):
            times_s.append(frame.time_s)
            yield frame.image

    return at_constant_rate(motion_signals(images()), times_s, rate)


def _small_frames(source: Source) -> Iterator[Frame]:
    """Yield every frame of the first seconds that can be decoded, small, the first at time zero."""
    video = open_video(source, 0)
    try:
        end_s = video.late_s + SYNC_SECONDS
        for frame in takewhile(lambda frame: frame.time_s < end_s, video.frames()):
            height, width = frame.image.shape[:2]
            scale = min(1.0, SYNC_SIDE_PX / max(height, width))
            shape = (max(1, round(height * scale)), max(1, round(width * scale)))
            yield Frame(resize_image(frame.image, shape), frame.time_s - video.late_s)
    finally:
        video.close()


def _images_at(times_s: Sequence[float], frames: Iterator[Frame]) -> list[BGRImage]:
    """Return the picture that is to be seen at each of some rising times; read no further."""
    found: list[BGRImage] = []
    for shown, following in pairwise(chain(frames, [_END])):
        half_way_s = (shown.time_s + following.time_s) / 2  # from there on the next one is nearer
        while len(found) < len(times_s) and times_s[len(found)] <= half_way_s:
            found.append(shown.image)
        if len(found) == len(times_s):
            break
    return found


def _order_of(pairs: Sequence[StereoPair]) -> SwapFinding:
    """Return the surest of the findings, unless they contradict one another."""
    bars = find_bars([pair.left for pair in pairs], [pair.right for pair in pairs])
    step = max(1, len(pairs) // JUDGED_PAIRS)
    findings = [
        detect_swap(bars.crop(pair.left), bars.crop(pair.right))
        for pair in list(pairs)[::step][:JUDGED_PAIRS]
    ]
    answers = [finding for finding in findings if finding.swapped is not None]
    if len({finding.swapped for finding in answers}) != 1:
        return SwapFinding(None, 0.5)
    return max(answers, key=lambda finding: finding.confidence)
