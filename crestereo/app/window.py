"""Show views in the window, from the main thread only.

Keys: q, Q and Esc leave, as closing the window does; space pauses, ``.`` shows the next frame in a
pause, ``s`` saves the view, ``h`` hides the line of keys. The mouse shows the value under it.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import cv2
import numpy as np

from crestereo.app.pipeline import ClosedError
from crestereo.app.render import UNKNOWN_GREY, Legend, View, hatched
from crestereo.app.script import run_rest, say, warn
from crestereo.colormap import colorize
from crestereo.errors import DisplayError
from crestereo.types import BGRImage

_KEYS = "q leave   space pause   . next frame   s save view   h hide this line"
_POLL_MS = 15  # far below the 100 ms in which a key is answered
_ESC = "\x1b"
_RATED = 10  # frames whose mean rate is shown
_AGED_S = 0.25  # after which the age of a live frame is drawn again

_INK, _SHADE = (235, 235, 235), (32, 32, 32)
_LINE_PX, _MARGIN_PX = 24, 8
_BAR_PX, _SWATCH_PX, _WORDS_PX = 160, 12, 480


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
        self._mouse = (-1, -1)
        self._keys_shown = True
        self._stale = True
        self._visible_once = False
        self._drawn_s = 0.0
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

    def set_state(self, state: str) -> None:
        """Show the state of the run with every view."""
        self._state = state
        self._stale = True

    def toggle_keys(self) -> None:
        """Hide or show the line of keys."""
        self._keys_shown = not self._keys_shown
        self._stale = True

    def poll(self) -> str:
        """Draw what is new and return the key, in lower case; raise ClosedError at the end."""
        with _as_display_error():
            aged = self.view.taken_s and time.monotonic() - self._drawn_s > _AGED_S
            if self._stale or aged:
                self._draw()
            key = cv2.waitKey(_POLL_MS)
        pressed = chr(key).lower() if key >= 0 else ""
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
        lines = ["   ".join(filter(None, words)), *([_KEYS] if self._keys_shown else [])]
        cv2.imshow(self._title, with_caption(self.view, lines))

    def _liveness(self) -> str:
        """Return how many live frames a second are shown, and how old this one is."""
        if self.view.taken_s is None:
            return ""
        age = f"{self._drawn_s - self.view.taken_s:.2f} s old"
        if len(self._shown_s) < 2:
            return age
        rate = (len(self._shown_s) - 1) / max(self._shown_s[-1] - self._shown_s[0], 1e-3)
        return f"{rate:.1f} frames/s, {age}"

    def _on_mouse(self, event: int, x: int, y: int, flags: int, data: object) -> None:
        del event, flags, data
        if (x, y) != self._mouse:
            self._mouse = (x, y)
            self._stale = True


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
    """Open the window for a block, by default where there is a screen."""
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
    """Run `rest` and exit when the display is lost, where Qt calls exit(1); None: no longer.

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


def watch(
    window: Window,
    next_view: Callable[[], View | None],
    save_view: Callable[[BGRImage], None],
    rest: Callable[[], None],
) -> bool:
    """Show views until the user leaves; return whether before the end.

    `next_view` returns the next view at once, None where there is none yet, and raises ClosedError
    at the end. It is not called in a pause, so that the pipeline behind it rests too.
    `rest` is what the run still has to do when the display is lost; the process exits after it.
    """
    try:
        return _watch(window, next_view, save_view, rest)
    finally:
        _outlive_display(None)


def _watch(
    window: Window,
    next_view: Callable[[], View | None],
    save_view: Callable[[BGRImage], None],
    rest: Callable[[], None],
) -> bool:
    _outlive_display(rest)
    paused, step, ended = False, False, False
    while True:
        try:
            key = window.poll()
        except ClosedError:
            return not ended
        if key == "s":
            save_view(window.view.image)
        elif key == "h":
            window.toggle_keys()
        elif key == " ":
            paused, step = not paused, False
            window.set_state("paused" if paused else "")
        elif key == ".":
            step = paused
        if ended or (paused and not step):
            continue
        try:
            view = next_view()
        except ClosedError:
            ended = True
            window.set_state("end")
            continue
        if view is not None:
            window.show(view)
            _outlive_display(rest)
            step = False
