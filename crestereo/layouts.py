"""Detect how frames hold both views: tags, content, name."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

from crestereo.alignment.check import Verdict, check_pair
from crestereo.alignment.rectify import find_bars
from crestereo.errors import SourceError, UsageError
from crestereo.preprocess import resize_image
from crestereo.types import BGRImage

# Width over height of one view. Cameras and screens, and their upright forms:
_ASPECTS: Sequence[float] = (
    *(1, 5 / 4, 4 / 3, 3 / 2, 8 / 5, 5 / 3, 16 / 9, 1.85, 1.9, 2, 2.35, 2.39),
    *(4 / 5, 3 / 4, 5 / 8, 3 / 5, 9 / 16, 1 / 2),
)
_PHOTO_ASPECTS = (*_ASPECTS, 2 / 3)  # of a video 2:3 is half of 4:3
_PHONE_ASPECTS = (13 / 6, 20 / 9, 6 / 13, 9 / 20, 13 / 12, 10 / 9)  # and half their screens
ASPECT_TOLERANCE = 0.03

CONTENT_FRAMES = 3  # that are examined
MIN_FRAME_PX = 4
CONFIRMED = 0.8
SURE = 0.35  # content score: real pairs gave 0.4 to 0.9, single images up to 0.16
LIKELY = 0.2
UNSURE_MOST = 0.3  # score without a common camera geometry: a pattern repeats itself too
_BLOCK_PX, _WIDTH_PX = 20, 240  # of the views when they are compared by blocks
_REACH_PX, _ROWS_PX = 72, 5  # how far a block may move
_TEXTURE_GREY = 4.0  # standard deviation within a block
_MIN_BLOCKS = 6
_SAME_BLOCK = 0.8  # correlation

_STEREO = r"3d|stereo|vr|180|360|side.?by.?side|sbs"
_SUFFIX = r"\.(?:mp4|m4v|mov|mkv|webm|avi|wmv|flv|mpe?g|ts|m2ts|mts|3gp|ogv|jpe?g|png|tiff?|webp)$"
_FULL_MOVIE = r"full[ _-]*(movie|film|video|length|hd)"
_START, _END = r"(?<![a-z0-9])", r"(?![a-z0-9])"
_NEGATED = re.compile(
    _START
    + r"(?:not?|non|never|isn.?t)[ _.-]+(?:an?[ _.-]+)?(?:[hf]?(?:sbs|tab|tb|ou)"
    + _END
    + "|"
    r"(?:cross|parallel|side|left|right|top|over)(?:[ _.-]?(?:eyed?|view(?:ed|ing)?|by|and|side|"
    r"left|right|bottom|under)|ed)*)"
)
_ABBREVIATED = re.compile(
    _START + r"(3d)?[-_. ]?(h|f|half|full)?[-_. ]?(sbs|tab|tb|ou)(3d)?" + _END
)
# Written in one word or several, but never inside of others: a laptop has a bottom.
_COMPOUNDS = re.compile(
    r"(?:\b|(?<=3d)|(?<=vr)|(?<=360)|(?<=180)|(?<=half)|(?<=full))"
    r"(side ?by ?side|left ?right|right ?left|cross ?eye|cross ?view|parallel ?view|parallel ?eye|"
    r"top ?bottom|bottom ?top|top ?and ?bottom|over ?under|right view first)"
    r"(?=(?:e?d|ing)?(?:\b|3d|vr|360|180|half|full))"
)
_NEAR_SHORT = re.compile(r"3d|vr\d*|180|360|\d{3,4}p|[48]k|h|half|full")
_CROSS = {"crosseye", "crossview"}
_PARALLEL = {"parallelview", "paralleleye"}
_SIDE = {"sbs", "hsbs", "fsbs", "lr", "lrf", "rl", "rlf", "lrq", "3dh", "sidebyside", "leftright"}
_SIDE |= {"rightleft", *_CROSS, *_PARALLEL}
_OVER = {"tb", "htb", "ftb", "tbf", "bt", "btf", "ou", "hou", "fou", "tab", "htab", "ftab", "3dv"}
_OVER |= {"topbottom", "bottomtop", "topandbottom", "overunder"}
_HALF = {"hsbs", "htb", "hou", "htab", "lrq"}
_FULL = {"fsbs", "ftb", "fou", "ftab", "lrf", "rlf", "tbf", "btf"}
_LEFT_FIRST = {"lr", "lrf", "lrq", "tbf", "leftright", *_PARALLEL}
_RIGHT_FIRST = {"rl", "rlf", "cross", "bt", "btf", "rightleft", "bottomtop", "rightviewfirst"}
_RIGHT_FIRST |= _CROSS
_FILM = re.compile(
    _START + r"(?:\d{3,4}p|[xh]\.?26[45]|hevc|blu.?ray|b[dr].?rip|web.?(?:dl|rip)|dvd\w*|remux|"
    r"movie|film|trailer|(?:19|20)\d\d(?=[\W_]+(?:3d|\d{3,4}p|h|half|blu|[hf]?(?:sbs|tab|ou))))"
    + _END
)
_VR = re.compile(_START + r"(?:vr\d*|180|360)")


@dataclass(frozen=True)
class Layout:
    """Position of both views in a frame."""

    stacked: bool = False  # left view above right view; otherwise side by side
    half: bool = False  # each view is squeezed to half its width (or height, where stacked)
    right_first: bool = False  # the right view is the first, left or upper, half

    @property
    def name(self) -> str:
        """Return the name that `parse_layout` understands, for example ``sbs_half``."""
        name = ("tb" if self.stacked else "sbs") + ("_half" if self.half else "_full")
        return name + ("_rl" if self.right_first else "")


_LAYOUTS = [
    Layout(stacked, half, right_first)
    for right_first, stacked, half in product((False, True), repeat=3)
]
LAYOUT_NAMES = tuple(layout.name for layout in _LAYOUTS)


@dataclass(frozen=True)
class LayoutFinding:
    """Detected layout of a video or image."""

    layout: Layout
    confidence: float  # 0.95 by tag or content, `CONFIRMED` by name and content, 0.5 by the name
    reason: str  # evidence, for the user
    has_views: bool = True  # a second view was found, stated, or could not be excluded
    order_known: bool = False  # name or tag also state which view comes first
    alternative: Layout | None = None  # where full and half both have a usual aspect ratio

    def __str__(self) -> str:
        return f"layout {self.layout.name} ({self.reason})"


class _Statement(NamedTuple):
    stacked: bool
    half: bool | None = None
    right_first: bool | None = None

    def __str__(self) -> str:
        return "one view above the other" if self.stacked else "views side by side"


class _Texts(NamedTuple):
    tag: str  # of the container about stereo
    tagged: _Statement | None
    named: _Statement | None  # by the name of the file, else by the title
    source: str
    film: bool


def parse_layout(text: str) -> Layout:
    """Return the layout of a name."""
    for layout in _LAYOUTS:
        if layout.name == text.strip().lower():
            return layout
    raise UsageError(f"layout {text!r} is unknown; choose from auto, {', '.join(LAYOUT_NAMES)}")


def split_frame(frame: BGRImage, layout: Layout) -> tuple[BGRImage, BGRImage]:
    """Cut a frame into left and right view, stretched where squeezed."""
    height, width = frame.shape[:2]
    if min(height, width) < MIN_FRAME_PX:
        raise SourceError(f"A frame of {width}x{height} pixels is too small to hold two images")
    if layout.stacked:
        views = frame[: height // 2], frame[height - height // 2 :]
    else:
        views = frame[:, : width // 2], frame[:, width - width // 2 :]
    first, second = (_stretched(view, layout) for view in views)
    return (second, first) if layout.right_first else (first, second)


def _stretched(view: BGRImage, layout: Layout) -> BGRImage:
    if not layout.half:
        return view
    height, width = view.shape[:2]
    size = (width, 2 * height) if layout.stacked else (2 * width, height)
    return np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def detect_layout(
    name: str,
    tags: str,
    frames: Sequence[BGRImage],
    *,
    pixel_aspect: float = 1.0,
    photo: bool = False,
) -> LayoutFinding:
    """Detect the layout by tags, sure content, or name.

    `tags` are those of a `Video`: "stereo3d=...; stereo_mode=...; title".
    """
    texts = _read_texts(name, tags)
    scores = _content_scores(frames)
    chosen, reason = _choose(texts, scores)
    if chosen is None:
        return LayoutFinding(Layout(), 0.0, reason, has_views=not (scores or texts.tag))
    score = scores[chosen.stacked] if scores else 0.0
    confidence = 0.5 if texts.named else 0.4
    if texts.tagged or score >= SURE:
        confidence = 0.95
    elif texts.named and score >= LIKELY:
        confidence = CONFIRMED
    layout, alternative = Layout(chosen.stacked, bool(chosen.half), bool(chosen.right_first)), None
    if chosen.half is None and frames:
        half, unclear = _is_half(frames, layout, pixel_aspect, photo=photo, film=texts.film)
        layout = replace(layout, half=half)
        alternative = replace(layout, half=not half) if unclear else None
    known = chosen.right_first is not None
    return LayoutFinding(layout, confidence, reason, order_known=known, alternative=alternative)


def _read_texts(name: str, tags: str) -> _Texts:
    parts = [part.strip() for part in tags.split(";")]
    stereo = [part for part in parts if part.startswith(("stereo_mode=", "stereo3d="))]
    title = "; ".join(part for part in parts if part not in stereo)
    tag = "; ".join(part for part in stereo if not part.endswith("=mono"))
    named, source, tagged = _stated(name), "file name", _stated(tag)
    if named is None and re.search(_STEREO, title.lower()):
        named, source = _stated(title), "title"
    words = f"{name.replace(chr(92), '/').rsplit('/', 1)[-1]} {title}".lower()
    film = bool(tagged or _FILM.search(words)) and not _VR.search(words)
    return _Texts(tag, tagged, named, source, film)


def _choose(texts: _Texts, scores: dict[bool, float] | None) -> tuple[_Statement | None, str]:
    """Return the most credible statement, completed by the others, and the reason."""
    stacked = scores is not None and scores[True] > scores[False]
    score = scores[stacked] if scores else 0.0
    shown = _Statement(stacked) if score >= LIKELY else None
    tagged, named = texts.tagged, texts.named
    if tagged:
        chosen, reason = tagged, "from the tag of the container"
    elif shown and (score >= SURE or not named):
        chosen, reason = shown, "from the content" + ("" if score >= SURE else ", not certain")
    elif named:
        chosen, reason = named, f"from the {texts.source}"
    elif texts.tag:
        return None, f"its container states {texts.tag}"
    elif scores is None:
        return None, "too little texture to detect it, default used"
    else:
        return None, "no second view was found"
    if shown and shown.stacked != chosen.stacked:
        reason += f", although the content shows {shown}"
    elif scores and not shown:
        reason += ", although no second view was found"
    if named and named.stacked != chosen.stacked:
        reason += f", although the {texts.source} states {named}"
    elif named and chosen is not named:
        reason += f" and the {texts.source}"
        if chosen.right_first is not None and named.right_first not in (None, chosen.right_first):
            reason += ", which states the other order"
        half = named.half if chosen.half is None else chosen.half
        order = named.right_first if chosen.right_first is None else chosen.right_first
        chosen = _Statement(chosen.stacked, half, order)
    return chosen, reason


def _stated(text: str) -> _Statement | None:
    """Return what a name, title or tag states."""
    name = re.sub(_SUFFIX, "", text.rsplit("/", 1)[-1].rsplit("\\", 1)[-1].lower())
    name = _NEGATED.sub(" ", re.sub(_FULL_MOVIE, "", name))
    name = re.sub(_START + r"([lr])[-_]([lr])" + _END, r"\1\2", name)
    name = _ABBREVIATED.sub(_joined, name)
    in_order = re.split(r"[^a-z0-9]+", name)
    in_place = list(zip(["", *in_order], in_order, [*in_order[1:], ""], strict=False))
    words = {word for before, word, after in in_place if _is_stereo(before, word, after)}
    words |= {word.replace(" ", "") for word in _COMPOUNDS.findall(" ".join(in_order))}
    side, over = words & _SIDE, words & _OVER
    if bool(side) == bool(over):
        return None
    beside = {  # a "full movie" or "half time" states nothing about the views
        word
        for before, word, after in in_place
        if {"side", "over", "top", *side, *over} & {before, after}
    }
    half = True if words & _HALF or "half" in beside else None
    half = half or (False if words & _FULL or "full" in beside else None)
    left, right = words & _LEFT_FIRST, words & _RIGHT_FIRST
    return _Statement(bool(over), half, None if bool(left) == bool(right) else bool(right))


def _joined(found: re.Match[str]) -> str:
    """Return an abbreviation as one word: "H-TAB" and "half tab" are "htab"."""
    before, size, layout, after = (group or "" for group in found.groups())
    return f" {'3d ' if before or after else ''}{size[:1]}{layout} "


def _is_stereo(before: str, word: str, after: str) -> bool:
    """Return whether "cross", "tab" or "ou" means a layout here."""
    if word == "cross":
        return before in _SIDE or after in ("view", "eye", "eyed")
    short = word in ("ou", "tab")
    return not short or not after or any(map(_NEAR_SHORT.fullmatch, (before, after)))


def _content_scores(frames: Sequence[BGRImage]) -> dict[bool, float] | None:
    """Return how alike both halves are; None without texture."""
    found: list[tuple[float, float]] = []  # side by side, stacked
    for frame in frames:
        if len(found) == CONTENT_FRAMES or min(frame.shape[:2]) < MIN_FRAME_PX:
            continue
        if float(np.std(frame)) < _TEXTURE_GREY:
            continue
        beside, above = (_score(*split_frame(frame, Layout(stacked))) for stacked in (False, True))
        if beside is not None and above is not None:
            found.append((beside, above))
    best = [max(scores) for scores in zip(*found, strict=True)]
    return {False: best[0], True: best[1]} if best else None


def _score(first: BGRImage, second: BGRImage) -> float | None:
    """Return the share of blocks in both views, beyond chance."""
    same, chance = _same_blocks(first, second), _same_blocks(first, second[::-1])
    if same is None or chance is None:
        return None
    share = max(same - chance, 0.0)
    check = check_pair(first, second)
    common = check.usable or check.verdict is Verdict.SAME
    return share if common else min(share / 2, UNSURE_MOST)


def _same_blocks(first: BGRImage, second: BGRImage) -> float | None:
    """Return the share of textured blocks found in the other view."""
    height = max(2 * _BLOCK_PX, round(first.shape[0] * _WIDTH_PX / first.shape[1]))
    height = min(height, 3 * _WIDTH_PX)
    one, other = (
        cv2.cvtColor(
            resize_image(np.ascontiguousarray(view), (height, _WIDTH_PX)), cv2.COLOR_BGR2GRAY
        )
        for view in (first, second)
    )
    best = []
    for top in range(_ROWS_PX, height - _BLOCK_PX - _ROWS_PX + 1, _BLOCK_PX):
        for left in range(0, _WIDTH_PX - _BLOCK_PX + 1, _BLOCK_PX):
            block = one[top : top + _BLOCK_PX, left : left + _BLOCK_PX]
            if block.std() < _TEXTURE_GREY:
                continue
            rows = slice(top - _ROWS_PX, top + _BLOCK_PX + _ROWS_PX)
            columns = slice(max(left - _REACH_PX, 0), left + _BLOCK_PX + _REACH_PX)
            found = cv2.matchTemplate(other[rows, columns], block, method=cv2.TM_CCOEFF_NORMED)
            best.append(float(found.max()))
    return float(np.mean(np.array(best) > _SAME_BLOCK)) if len(best) >= _MIN_BLOCKS else None


def _is_half(
    frames: Sequence[BGRImage], layout: Layout, pixel_aspect: float, *, photo: bool, film: bool
) -> tuple[bool, bool]:
    """Return whether views are squeezed, and whether that is unclear."""
    views = [split_frame(frame, replace(layout, half=False)) for frame in frames]
    whole = views[0][0]
    bars = find_bars([left for left, _ in views], [right for _, right in views])
    aspects = _PHOTO_ASPECTS if photo else _ASPECTS
    stretch = 1 / pixel_aspect if layout.stacked else pixel_aspect
    # Bars are part of a film's frame: they decide where its content does not.
    for view, usual in ((bars.crop(whole), aspects), (whole, (*aspects, *_PHONE_ASPECTS))):
        aspect = view.shape[1] / view.shape[0]
        forms = [aspect / by if layout.stacked else aspect * by for by in (stretch, 2 * stretch)]
        strange = [min(abs(math.log(form / common)) for common in usual) for form in forms]
        full, half = (value < ASPECT_TOLERANCE for value in strange)
        if full != half:
            break
    unclear = full and half
    if full == half:
        half = film and not photo if unclear else strange[1] < strange[0]
    # Pixels of 2:1 are those of squeezed views already.
    return stretch * (2 if half else 1) > math.sqrt(2), unclear
