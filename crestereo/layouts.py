"""Find the two views in one frame: by name, tags, aspect ratio and content."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from crestereo.alignment.bars import Bars, find_bars
from crestereo.alignment.check import check_pair
from crestereo.errors import SourceError, UsageError
from crestereo.types import BGRImage

# Aspect ratios (width / height) of one view: films, cameras, VR, and screens of phones, upright too
COMMON_FORMS = (
    *(16 / 9, 4 / 3, 3 / 2, 5 / 4, 1.0, 1.85, 2.0, 2.39),
    *(19.5 / 9, 20 / 9, 9 / 16, 3 / 4, 1 / 2, 9 / 19.5, 9 / 20),
)
CONTENT_FRAMES = 3  # that are looked at
MIN_FRAME_PX = 4
SPEAKS_OF_STEREO = r"3d|stereo|vr|180|360|side.?by.?side|sbs"

_SUFFIX = r"\.(?:mp4|m4v|mov|mkv|webm|avi|wmv|flv|mpe?g|ts|m2ts|mts|3gp|ogv)$"
# Written in one word or several, but never inside of others: a laptop has a bottom.
_COMPOUNDS = re.compile(
    r"(?:\b|(?<=3d)|(?<=vr)|(?<=360)|(?<=180)|(?<=half)|(?<=full))"
    r"(side ?by ?side|left ?right|right ?left|cross ?eye|parallel ?view"
    r"|top ?bottom|top ?and ?bottom|over ?under)"
    r"(?=(?:e?d)?(?:\b|3d|vr|360|180|half|full))"
)
_BESIDE_OU = re.compile(r"3d|vr\d*|180|360|\d{3,4}p|[48]k|h|half|full")
_SHORT = {"3dh": "sbs", "3dv": "tb"}  # horizontal and vertical
_SIDE_COMPOUNDS = {"sidebyside", "leftright", "rightleft", "crosseye", "parallelview"}
_OVER_WORDS = {
    *("tb", "htb", "ftb", "tbf", "bt", "btf", "ou", "hou", "fou", "fulltb", "halftb"),
    *("tab", "htab", "ftab", "halftab", "fulltab"),
}
_SIDE_WORDS = {"sbs", "hsbs", "fsbs", "halfsbs", "fullsbs", "lr", "lrf", "rl", "rlf", "lrq"}


@dataclass(frozen=True)
class Layout:
    """Position of the two views in a frame.

    Parameters
    ----------
    stacked : bool
        Left eye above right eye; otherwise side by side.
    half : bool
        Each eye is squeezed to half its width (side by side) or height (stacked).
    right_first : bool
        The right eye is the first, left or upper, half.
    """

    stacked: bool = False
    half: bool = False
    right_first: bool = False

    @property
    def name(self) -> str:
        """Return the name that `parse_layout` understands, for example ``sbs_half``."""
        name = ("tb" if self.stacked else "sbs") + ("_half" if self.half else "_full")
        return name + ("_rl" if self.right_first else "")


LAYOUT_NAMES = tuple(
    Layout(stacked, half, right_first).name
    for right_first in (False, True)
    for stacked in (False, True)
    for half in (False, True)
)


@dataclass(frozen=True)
class LayoutFinding:
    """Layout of a video and the reason for it.

    Parameters
    ----------
    layout : Layout
    confidence : float
        0 to 1; below 0.5 it is only the usual one.
    reason : str
        What told it, for the user.
    order_known : bool
        The name or record also told which eye comes first.
    """

    layout: Layout
    confidence: float
    reason: str
    order_known: bool = False

    def __str__(self) -> str:
        """Return a line for the user."""
        return f"layout {self.layout.name} ({self.reason})"


def parse_layout(text: str) -> Layout:
    """Return the layout of a name."""
    for stacked in (False, True):
        for half in (False, True):
            for right_first in (False, True):
                layout = Layout(stacked, half, right_first)
                if layout.name == text.strip().lower():
                    return layout
    raise UsageError(f"layout {text!r} is unknown; choose from auto, {', '.join(LAYOUT_NAMES)}")


def split_frame(frame: BGRImage, layout: Layout) -> tuple[BGRImage, BGRImage]:
    """Cut a frame into the left and the right eye's image, stretched back where squeezed."""
    height, width = frame.shape[:2]
    if min(height, width) < MIN_FRAME_PX:
        raise SourceError(f"A frame of {width}x{height} pixels is too small to hold two images")
    if layout.stacked:
        eyes = frame[: height // 2], frame[height - height // 2 :]
    else:
        eyes = frame[:, : width // 2], frame[:, width - width // 2 :]
    first, second = (_stretched(eye, layout) for eye in eyes)
    return (second, first) if layout.right_first else (first, second)


def _stretched(eye: BGRImage, layout: Layout) -> BGRImage:
    if not layout.half:
        return eye
    height, width = eye.shape[:2]
    size = (width, 2 * height) if layout.stacked else (2 * width, height)
    return np.asarray(cv2.resize(eye, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def detect_layout(path_name: str, metadata: str, frames: Sequence[BGRImage]) -> LayoutFinding:
    """Detect the layout of a video by its name, tags and first frames."""
    record = metadata if re.search(SPEAKS_OF_STEREO, metadata.lower()) else ""
    for text, source in ((path_name, "from the file name"), (record, "from the video's record")):
        told = _from_text(text)
        if told is None:
            continue
        layout, half_told, order_told = told
        if not half_told and len(frames):
            layout = replace(layout, half=_is_half(frames, layout))
        return LayoutFinding(layout, 0.95, source, order_told)
    scores = {stacked: _content_score(frames, Layout(stacked)) for stacked in (False, True)}
    stacked = scores[True] > scores[False]
    best, other = scores[stacked], scores[not stacked]
    if best == 0:
        usual = Layout()
        if len(frames):
            usual = replace(usual, half=_is_half(frames, usual))
        return LayoutFinding(usual, 0.3, "nothing tells it, the usual one is taken")
    layout = Layout(stacked)
    layout = replace(layout, half=_is_half(frames, layout))
    return LayoutFinding(layout, best / (best + other + 10), "from the content")


def _from_text(text: str) -> tuple[Layout, bool, bool] | None:
    """Return layout, whether half or full was said, whether the order was; None if nothing."""
    name = text.rsplit("/", 1)[-1].rsplit("\\", 1)[-1].lower()
    name = re.sub(_SUFFIX, "", name)
    name = re.sub(r"full[ _-]*(movie|film|video|length|hd)", "", name)
    name = re.sub(r"\b(?:not?|non)[ _.-]*cross[ _.-]*eyed?", "", name)
    in_order = re.split(r"[^a-z0-9]+", re.sub(r"(?<![a-z0-9])3d(?=[a-z]{2})", "3d ", name))
    in_order = [_SHORT.get(word, word) for word in in_order]
    in_place = list(zip(["", *in_order], in_order, [*in_order[1:], ""], strict=False))
    words = {word for before, word, after in in_place if _speaks_of_stereo(before, word, after)}
    joined = {word.replace(" ", "") for word in _COMPOUNDS.findall(" ".join(in_order))}
    words |= {a + b for _, a, b in in_place if {a, b} == {"l", "r"}}  # L-R and R-L
    right_first = bool(words & {"rl", "rlf", "cross", "bt", "btf"})
    right_first = right_first or bool(joined & {"rightleft", "crosseye"})
    side = words & _SIDE_WORDS
    side = side or joined & _SIDE_COMPOUNDS
    over = words & _OVER_WORDS
    over = over or joined & {"topbottom", "topandbottom", "overunder"}
    if bool(side) == bool(over):
        return None
    beside = {  # a "full movie" or "half time" says nothing of the images
        word
        for before, word, after in in_place
        if {"side", "over", "top", *side, *over} & {before, after}
    }
    half = bool(words & {"hsbs", "htb", "htab", "hou", "halfsbs", "halftb", "halftab", "lrq"})
    half = half or bool({"half", "h"} & beside)
    full = bool(words & {"fsbs", "ftb", "fou", "fullsbs", "fulltb", "lrf", "rlf", "tbf", "btf"})
    full = full or "full" in beside
    order = (
        right_first
        or bool(words & {"lr", "lrf", "lrq", "tbf"})
        or bool(joined & {"leftright", "parallelview"})
    )
    return Layout(bool(over), half, right_first), half or full, order


def _speaks_of_stereo(before: str, word: str, after: str) -> bool:
    """Return whether a word means a layout here: titles have "cross", "tab" and "ou" too."""
    if word == "cross":
        return before in _SIDE_WORDS or after in ("view", "eye", "eyed")
    beside = any(map(_BESIDE_OU.fullmatch, (before, after)))
    if word == "tab":
        return beside
    return word != "ou" or not after or beside


def _content_score(frames: Sequence[BGRImage], layout: Layout) -> float:
    """Return how many points both halves share, on average over some frames."""
    step = max(1, len(frames) // CONTENT_FRAMES)
    scores = []
    for frame in list(frames)[::step][:CONTENT_FRAMES]:
        if min(frame.shape[:2]) < MIN_FRAME_PX:
            continue
        check = check_pair(*split_frame(frame, layout))
        scores.append(check.matches if check.usable else 0)
    return float(np.mean(scores)) if scores else 0.0


def _is_half(frames: Sequence[BGRImage], layout: Layout) -> bool:
    """Return whether stretched views would have the more usual aspect ratio."""
    eyes = [split_frame(frame, replace(layout, half=False)) for frame in frames]
    bars: Bars = find_bars([left for left, _ in eyes], [right for _, right in eyes])
    height, width = bars.crop(eyes[0][0]).shape[:2]
    form = width / height
    squeezed = form / 2 if layout.stacked else form * 2
    return _strangeness(squeezed) < _strangeness(form)


def _strangeness(form: float) -> float:
    return min(abs(math.log(form / common)) for common in COMMON_FORMS)
