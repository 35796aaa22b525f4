"""Show views in the window, from the main thread only.

Keys: q, Q and Esc leave, as closing the window does; `watch` lists the others. The mouse shows
the value under it, and a click on the bar seeks.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import cv2
import numpy as np

from crestereo.app.pipeline import ClosedError
from crestereo.app.render import UNKNOWN_GREY, Legend, View, hatched
from crestereo.app.script import run_rest, say, warn
from crestereo.colormap import colorize
from crestereo.errors import DisplayError
from crestereo.types import BGRImage

_KEYS = "q quit   s save   h hide this line"
_VIDEO_KEYS = "q quit   space pause   . next frame   s save   v record   h hide this line"
_SEEK_KEYS = (
    "q quit   space pause   , . frame   left right 5 s   < > speed   s save   v record   h hide"
)
_POLL_MS = 15  # far below the 100 ms in which a key is answered
_ESC = "\x1b"
_LEFT, _RIGHT = "left", "right"
_ARROWS = {0xFF51: _LEFT, 0xFF53: _RIGHT, 0x250000: _LEFT, 0x270000: _RIGHT}  # X11, Windows
_ARROWS |= {0xF702: _LEFT, 0xF703: _RIGHT}  # macOS
_SEEK_S = 5.0
_SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_RATED = 10  # frames whose mean rate is shown
_AGED_S = 0.25  # after which the age of a live frame is drawn again

_INK, _SHADE = (235, 235, 235), (32, 32, 32)
_LINE_PX, _MARGIN_PX = 24, 8
_BAR_PX, _SWATCH_PX, _WORDS_PX, _TIMES_PX = 160, 12, 700, 140


def why_no_window() -> str:
    """Return why no window can be opened; empty where one can."""
    # Without a display the Qt inside OpenCV would abort the process at the first window call.
    if not sys.platform.startswith("linux"):
        return _why_headless()
    display, wayland = os.environ.get("DISPLAY"), os.environ.get("WAYLAND_DISPLAY")
    if not display and not wayland:
        return "neither DISPLAY nor WAYLAND_DISPLAY is set"
    if not display:  # wheels of OpenCV bring Qt without its plugin for Wayland
        return "this OpenCV needs an X display, and DISPLAY is not set"
    with suppress(OSError):  # without the X library only OpenCV itself can tell
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
        connection = x11.XOpenDisplay(display.encode())
        if not connection:
            return f"the display {display} does not answer"
        x11.XCloseDisplay(connection)
    return _why_headless()


def _why_headless() -> str:
    gui = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    if gui and gui[1].upper() == "NONE":
        return "this OpenCV is a headless build; install opencv-python to see windows"
    return ""


class Window:
    """Window of a run; made by `open_window`."""

    def __init__(self, title: str, first: View) -> None:
        self.view = first
        self._title = title
        self._state = ""
        self._keys = _KEYS
        self._mouse = (-1, -1)
        self._click: float | None = None
        self._keys_shown = True
        self._stale = True
        self._visible_once = False
        self._drawn_s = 0.0
        self._height = 0  # of the image drawn
        self._shown_s: deque[float] = deque(maxlen=_RATED + 1)
        height, width = first.image.shape[:2]
        with _as_display_error():
            flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
            cv2.namedWindow(title, flags)
            cv2.resizeWindow(title, width, height + 2 * _LINE_PX)
            cv2.setMouseCallback(title, self._on_mouse)
            self._draw()

    def show(self, view: View) -> None:
        """Show a view from the next `poll` on."""
        self.view = view
        self._stale = True
        self._shown_s.append(time.monotonic())

    def set_words(self, state: str, keys: str) -> None:
        """Show the state of the run and its keys with every view."""
        self._stale |= (state, keys) != (self._state, self._keys)
        self._state, self._keys = state, keys

    def take_click(self) -> float | None:
        """Return where the bar was clicked last, from 0 to 1."""
        click, self._click = self._click, None
        return click

    def toggle_keys(self) -> None:
        """Hide or show the line of keys."""
        self._keys_shown = not self._keys_shown
        self._stale = True

    def poll(self) -> str:
        """Draw what is new, return the key; raise ClosedError at the end."""
        with _as_display_error():
            aged = self.view.taken_s and time.monotonic() - self._drawn_s > _AGED_S
            if self._stale or aged:
                self._draw()
            key = cv2.waitKeyEx(_POLL_MS)
        pressed = _key_name(key) if key >= 0 else ""
        if pressed in ("q", _ESC) or self._was_closed():
            raise ClosedError
        return pressed

    def _was_closed(self) -> bool:
        try:
            visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # some builds raise for a closed window
            return True
        self._visible_once |= visible  # a window that is still opening is not closed
        return self._visible_once and not visible

    def _draw(self) -> None:
        self._stale = False
        self._drawn_s = time.monotonic()
        words = (self._state, self._liveness(), self.view.note, self.view.describe(*self._mouse))
        lines = ["   ".join(filter(None, words)), *([self._keys] if self._keys_shown else [])]
        image = with_caption(self.view, lines)
        pair, length_s = self.view.pair, self.view.length_s
        if pair is not None and length_s:
            image = np.vstack((image, _bar(image.shape[1], pair.time_s, length_s)))
        if 0 < self._height != image.shape[0]:  # otherwise the text would be squeezed
            shown_px = cv2.getWindowImageRect(self._title)[2]
            if shown_px > 0:
                height = round(shown_px * image.shape[0] / image.shape[1])
                cv2.resizeWindow(self._title, shown_px, height)
        self._height = image.shape[0]
        cv2.imshow(self._title, image)

    def _liveness(self) -> str:
        """Return the shown frames per second and the age of this one."""
        if self.view.taken_s is None:
            return ""
        age = f"{self._drawn_s - self.view.taken_s:.2f} s old"
        if len(self._shown_s) < 2:
            return age
        rate = (len(self._shown_s) - 1) / max(self._shown_s[-1] - self._shown_s[0], 1e-3)
        return f"{rate:.1f} frames/s, {age}"

    def _on_mouse(self, event: int, x: int, y: int, flags: int, data: object) -> None:
        del flags, data
        width = self.view.image.shape[1] - 2 * _MARGIN_PX - _TIMES_PX
        if event == cv2.EVENT_LBUTTONDOWN and y >= self._height - _LINE_PX:
            self._click = min(max((x - _MARGIN_PX) / width, 0.0), 1.0)
        if (x, y) != self._mouse:
            self._mouse = (x, y)
            self._stale = True


def _key_name(code: int) -> str:
    """Return a key of `waitKeyEx` as a character or arrow name."""
    arrow = _ARROWS.get(code) or _ARROWS.get(code & 0xFFFF)
    if arrow or 0xFF00 < code & 0xFFFF != 0xFF1B:  # a special key of X11; the last is Esc
        return arrow or ""
    return chr(code & 0xFF).lower()


def _bar(width: int, time_s: float, length_s: float) -> BGRImage:
    """Draw how much of a recording is before a time."""
    strip: BGRImage = np.full((_LINE_PX, width, 3), _SHADE, np.uint8)
    end = width - _MARGIN_PX - _TIMES_PX
    at = _MARGIN_PX + round((end - _MARGIN_PX) * min(time_s / length_s, 1.0))
    strip[8:16, _MARGIN_PX:end] = UNKNOWN_GREY
    strip[8:16, _MARGIN_PX:at] = _INK
    times = [f"{int(seconds) // 60}:{int(seconds) % 60:02d}" for seconds in (time_s, length_s)]
    _put_text(strip, " / ".join(times), end + _MARGIN_PX)
    return strip


def with_caption(view: View, lines: list[str]) -> BGRImage:
    """Return a view's image above its legend and lines of text."""
    width = view.image.shape[1]
    legend = None if view.legend is None else _legend(view.legend)
    if legend is not None and legend.shape[1] > width:
        legend = None
    if legend is not None and legend.shape[1] + _WORDS_PX > width:
        lines = ["", *lines]  # the legend gets a line for itself
    strip = np.full((len(lines) * _LINE_PX, width, 3), _SHADE, np.uint8)
    for number, line in enumerate(lines):
        _put_text(strip[number * _LINE_PX :], line, _MARGIN_PX)
    if legend is not None:
        strip[:_LINE_PX, width - legend.shape[1] :] = legend
    return np.vstack((view.image, strip))


def _legend(legend: Legend) -> BGRImage:
    """Draw the colour bar, and the patterns of guesses and unknown pixels."""
    near, far = "near", "far"
    if legend.unit:
        near, far = f"{legend.near:.3g}", f"{legend.far:.3g} {legend.unit}"
    ramp = np.linspace(1, 0, _BAR_PX, dtype=np.float32)[None].repeat(_SWATCH_PX, axis=0)
    bar = colorize(ramp, low=0.0, high=1.0, colormap=legend.colormap)
    grey: BGRImage = np.full((_SWATCH_PX, _SWATCH_PX, 3), UNKNOWN_GREY, np.uint8)
    guess = hatched(grey, np.ones(grey.shape[:2], np.bool_))
    strip: BGRImage = np.full((_LINE_PX, 1000, 3), _SHADE, np.uint8)
    x = _MARGIN_PX
    for part in (near, bar, far, guess, "guess", grey, "unknown"):
        if isinstance(part, str):
            x += _put_text(strip, part, x)
        else:
            strip[6 : 6 + _SWATCH_PX, x : x + part.shape[1]] = part
            x += part.shape[1]
        x += _MARGIN_PX
    return strip[:, :x]


def _put_text(image: BGRImage, text: str, x: int) -> int:
    """Write a text and return its width."""
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.5
    cv2.putText(image, text, (x, _LINE_PX - 7), font, scale, _INK, lineType=cv2.LINE_AA)
    return int(cv2.getTextSize(text, font, scale, thickness=1)[0][0])


@contextmanager
def _as_display_error() -> Iterator[None]:
    try:
        yield
    except cv2.error as exc:
        raise DisplayError(
            f"OpenCV cannot show a window ({exc.err}); use --no-window to run without"
        ) from exc


@contextmanager
def open_window(title: str, first: View, wanted: bool | None) -> Iterator[Window | None]:
    """Open the window for a block, where there is a screen."""
    window = None
    reason = "" if wanted is False else why_no_window()
    if reason and wanted:
        raise DisplayError(f"no window can be opened: {reason}; omit --window to run without")
    if reason:
        say(f"no window: {reason}")
    elif wanted is not False:
        try:
            window = Window(title, first)
        except DisplayError as exc:
            if wanted:
                raise
            warn(f"{exc}")
    try:
        yield window
    finally:
        if window is not None:
            with suppress(cv2.error):  # it may be gone already
                cv2.destroyAllWindows()


_rest: list[Callable[[], None]] = []
_HANDLE = ctypes.create_string_buffer(1)  # its address marks the handler below in the C library


def _run_rest(data: object) -> None:
    del data
    if _rest:
        warn("the display was lost; the run continues without a window")
        run_rest(_rest.pop())


_AT_EXIT = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_run_rest)


def _outlive_display(rest: Callable[[], None] | None) -> None:
    """Run `rest` and exit when Qt loses the display; None: no longer.

    Handlers run last in, first out: called again with every view, it comes before the end of what
    the network's libraries have set up until then.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    _rest.clear()
    library["__cxa_finalize"](_HANDLE)  # calls the handler, now idle, and removes it
    if rest is not None:
        library["__cxa_atexit"](_AT_EXIT, None, _HANDLE)
        _rest.append(rest)


@dataclass(frozen=True)
class Controls:
    """What a window shows, and what its keys act on.

    `next_view` returns None where there is none yet and raises ClosedError at the end. It is not
    called in a pause, so that the pipeline behind it rests too.
    """

    next_view: Callable[[], View | None]
    save: Callable[[View], None]
    rest: Callable[[], None]  # left to do when the display is lost; the process exits after it
    record: Callable[[], None] | None = None  # starts or stops
    seek: Callable[[float, float], None] | None = None  # to a time [s], with a speed
    back: Callable[[], None] | None = None  # from there to the run
    words: Callable[[], str] = str  # state of the run
    frame_s: float = 0.0  # from one frame to the next

    @property
    def keys(self) -> str:
        """Return the line of keys."""
        if self.seek is not None:
            return _SEEK_KEYS
        return _KEYS if self.record is None else _VIDEO_KEYS


def watch(window: Window, controls: Controls) -> None:
    """Show views until the user leaves.

    Space pauses, ``.`` and ``,`` show the next and the last frame, arrows and the bar seek, ``<``
    and ``>`` change the speed, ``b`` returns to the run, ``s`` saves the view, ``v`` records, ``h``
    hides the line of keys.
    """
    try:
        _Watch(window, controls).run()
    finally:
        _outlive_display(None)


class _Watch:
    """State of a window that is watched."""

    def __init__(self, window: Window, controls: Controls) -> None:
        self._window, self._controls = window, controls
        self._paused = self._step = self._ended = False
        self._speed = 1.0
        self._sought_s: float | None = None  # until the frame there is shown

    def run(self) -> None:
        window, controls = self._window, self._controls
        _outlive_display(controls.rest)
        while True:
            state = "end" if self._ended else "paused" if self._paused else ""
            speed = "" if self._speed == 1 else f"speed {self._speed:g}"
            words = "   ".join(filter(None, (state, speed, controls.words())))
            window.set_words(words, controls.keys)
            try:
                self._press(window.poll())
            except ClosedError:
                return
            if self._ended or (self._paused and not self._step):
                continue
            try:
                view = controls.next_view()
            except ClosedError:
                self._ended = True
                continue
            if view is not None:
                window.show(view)
                _outlive_display(controls.rest)
                self._step, self._sought_s = False, None

    def _press(self, key: str) -> None:
        window, controls = self._window, self._controls
        if key == "s":
            controls.save(window.view)
        elif key == "h":
            window.toggle_keys()
        elif key == " ":
            self._paused, self._step = not self._paused, False
        elif key == ".":
            self._step = self._paused
            self._paused |= controls.seek is not None
        elif key == "v" and controls.record is not None:
            controls.record()
        elif key == "b" and controls.back is not None:
            controls.back()
            self._ended, self._step, self._speed, self._sought_s = False, self._paused, 1.0, None
        if controls.seek is not None:
            self._press_seeking(key, controls.seek)

    def _press_seeking(self, key: str, seek: Callable[[float, float], None]) -> None:
        pair, click = self._window.view.pair, self._window.take_click()
        if pair is None:
            return
        speed, length_s = self._speed, self._window.view.length_s
        now_s = pair.time_s if self._sought_s is None else self._sought_s
        moves = {_LEFT: -_SEEK_S, _RIGHT: _SEEK_S, ",": -self._controls.frame_s}
        target_s = now_s + moves.get(key, 0.0)
        if click is not None and length_s:
            target_s = click * length_s
        if key in ("<", ">"):
            step = _SPEEDS.index(speed) + (1 if key == ">" else -1)
            self._speed = _SPEEDS[min(max(step, 0), len(_SPEEDS) - 1)]
        if target_s == now_s and self._speed == speed:
            return
        last_s = length_s - self._controls.frame_s if length_s else math.inf
        self._sought_s = max(min(target_s, last_s), 0.0)
        self._paused |= key == ","
        self._step, self._ended = self._paused, False
        seek(self._sought_s, self._speed)
