"""THE window: the only place that calls OpenCV's windows, always from the main thread.

Keys: q, Q and escape leave, as closing the window by mouse does; space pauses, ``.`` goes one
frame on in a pause, ``s`` saves the view. The mouse shows the value under it.
"""

from __future__ import annotations

import ctypes
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2

from crestereo.app.pipeline import ClosedError
from crestereo.app.render import View
from crestereo.app.script import say, warn
from crestereo.errors import DisplayError
from crestereo.types import BGRImage

_X11 = "libX11.so.6"
_TCP_BASE_PORT = 6000
_CONNECT_S = 2.0


def wants_window(wish: bool | None) -> bool:
    """Return whether to open a window, and say in one line why not where one was expected.

    Parameters
    ----------
    wish : bool or None
        What ``window`` says; None means where there is a screen.

    Raises
    ------
    DisplayError
        When a window was asked for and cannot be.
    """
    if wish is False:
        return False
    reason = why_no_screen()
    if reason and wish:
        raise DisplayError(f"no window can be opened: {reason}; leave --window out to do without")
    if reason:
        say(f"no window: {reason}; the result is saved")
    return not reason


def why_no_screen(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> str:
    """Return why no window can be opened, as half a sentence; empty where one can.

    Parameters
    ----------
    environ : mapping
        The environment of the process.
    platform : str
        As ``sys.platform``.
    """
    on_linux = platform.startswith("linux")
    display = environ.get("DISPLAY", "")
    if on_linux and not display and not environ.get("WAYLAND_DISPLAY"):
        return "neither DISPLAY nor WAYLAND_DISPLAY is set"
    if _gui_of_opencv() == "NONE":
        return "this OpenCV is a headless build; install opencv-python to see windows"
    if not on_linux:
        return ""
    if not display:
        return (
            "" if _draws_on_wayland() else "this OpenCV needs an X display, and DISPLAY is not set"
        )
    if not _answers(display):
        return f"the display {display} does not answer"
    return ""


def _gui_of_opencv() -> str:
    """Return what draws OpenCV's windows: QT5, GTK3, WIN32UI, COCOA, NONE, or an empty string."""
    import cv2  # noqa: PLC0415  heavy, and not needed where the environment tells enough

    match = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    return match[1].upper() if match else ""


def _draws_on_wayland() -> bool:
    """Return whether OpenCV can do without X: GTK can, Qt with its plugin for Wayland."""
    import cv2  # noqa: PLC0415

    if not _gui_of_opencv().startswith("QT"):
        return True
    plugins = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms"
    return not plugins.is_dir() or any(plugins.glob("*wayland*"))


def _answers(display: str) -> bool:
    """Try to open an X display, and let it go.

    Where the X library is missing the socket alone is tried, which cannot tell whether the
    server would let us in.
    """
    try:
        x11 = ctypes.CDLL(_X11)
    except OSError:
        return _socket_answers(display)
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XOpenDisplay.argtypes = [ctypes.c_char_p]
    x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
    connection = x11.XOpenDisplay(display.encode())
    if not connection:
        return False
    x11.XCloseDisplay(connection)
    return True


def _socket_answers(display: str) -> bool:
    match = re.fullmatch(r"(?:\w+/)?([^:]*):(\d+)(?:\.\d+)?", display)
    if match is None:
        return False
    host, number = match[1], int(match[2])
    if host in ("", "unix"):
        path = f"/tmp/.X11-unix/X{number}"
        return any(_connects(socket.AF_UNIX, address) for address in (path, f"\0{path}"))
    return _connects(socket.AF_INET, (host, _TCP_BASE_PORT + number))


def _connects(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_S)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


_KEYS = "keys: q leaves, space pauses, . goes one frame on, s saves the view"
_POLL_MS = 15  # far below the 100 ms in which a key is answered
_LEAVE_KEYS = (ord("q"), ord("Q"), 27)
_SAVE_KEYS = (ord("s"), ord("S"))
_PAUSE_KEY = ord(" ")
_STEP_KEY = ord(".")

_INK = (255, 255, 255)
_SHADE = (32, 32, 32)


class Window:
    """Show views and say what the user did; make it with `open_window`.

    Attributes
    ----------
    view : View
        What is shown.
    """

    def __init__(self, title: str, first: View) -> None:
        self._title = title
        self.view = first
        self._state = ""
        self._mouse = (-1, -1)
        self._stale = True
        self._seen = False
        height, width = first.picture.shape[:2]
        with _as_display_error():
            look = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
            cv2.namedWindow(title, look)
            cv2.resizeWindow(title, width, height)
            cv2.setMouseCallback(title, self._on_mouse)
            self._draw()

    def show(self, view: View) -> None:
        """Show another view from the next `poll` on."""
        self.view = view
        self._stale = True

    def tell(self, state: str) -> None:
        """Write a word about the state on whatever is shown."""
        self._state = state
        self._stale = True

    def poll(self) -> int:
        """Draw what is new, wait a moment, and return the key that was pressed, -1 for none.

        Raises
        ------
        ClosedError
            When the user has closed the window.
        DisplayError
            When OpenCV has lost it.
        """
        with _as_display_error():
            if self._stale:
                self._draw()
            key = cv2.waitKey(_POLL_MS)
        if self._was_closed():
            raise ClosedError
        return key

    def _was_closed(self) -> bool:
        try:
            visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # how some builds say that there is no such window
            return True
        self._seen |= visible  # a window that is still opening has not been closed
        return self._seen and not visible

    def _draw(self) -> None:
        self._stale = False
        words = (self._state, self.view.note, self.view.describe(*self._mouse))
        text = "   ".join(filter(None, words))
        picture = self.view.picture
        cv2.imshow(self._title, _with_text(picture, text) if text else picture)

    def _on_mouse(self, event: int, x: int, y: int, flags: int, data: object) -> None:
        del event, flags, data
        if (x, y) != self._mouse:
            self._mouse = (x, y)
            self._stale = True


@contextmanager
def _as_display_error() -> Iterator[None]:
    try:
        yield
    except cv2.error as exc:
        raise DisplayError(
            f"OpenCV cannot show a window ({exc.err}); use --no-window to do without"
        ) from exc


@contextmanager
def open_window(title: str, first: View, wish: bool | None) -> Iterator[Window | None]:
    """Open the window where there is to be one, and close it however the block ends.

    Parameters
    ----------
    title : str
        Of the window.
    first : View
        Shown until something else is.
    wish : bool or None
        The setting ``window``; None means where there is a screen.

    Yields
    ------
    Window or None
        None where there is none.

    Raises
    ------
    DisplayError
        When it was asked for and cannot be opened.
    """
    window = None
    if wants_window(wish):
        try:
            window = Window(title, first)
            say(_KEYS)
        except DisplayError as exc:
            if wish:
                raise
            warn(f"{exc}")
    try:
        yield window
    finally:
        if window is not None:
            with suppress(cv2.error):  # it may be gone already
                cv2.destroyAllWindows()


def watch(
    window: Window,
    next_view: Callable[[], View | None],
    save_view: Callable[[BGRImage], None],
    *,
    stay: bool,
) -> bool:
    """Show what comes until the user leaves, or until nothing more comes.

    Parameters
    ----------
    window : Window
        Where to show it.
    next_view : callable
        Returns the next view at once, None where there is none yet; raises ClosedError at the
        end. Not called in a pause, so that whatever makes the views rests too.
    save_view : callable
        Saves the picture that is shown.
    stay : bool
        Keep the last view on the screen until the user leaves.

    Returns
    -------
    bool
        Whether the user left; False when nothing more came.
    """
    paused, step, ended = False, False, False
    while True:
        try:
            key = window.poll()
        except ClosedError:
            return True
        if key in _LEAVE_KEYS:
            return True
        if key in _SAVE_KEYS:
            save_view(window.view.picture)
        elif key == _PAUSE_KEY:
            paused, step = not paused, False
            window.tell("paused" if paused else "")
        elif key == _STEP_KEY:
            step = paused
        if ended or (paused and not step):
            continue
        try:
            view = next_view()
        except ClosedError:
            ended = True
            if not stay:
                return False
            continue
        if view is not None:
            window.show(view)
            step = False


def _with_text(picture: BGRImage, text: str) -> BGRImage:
    """Return a copy with a line of text in its lower left corner."""
    copy: BGRImage = picture.copy()
    height = copy.shape[0]
    scale = min(max(height / 600, 0.4), 0.7)
    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, tall), below = cv2.getTextSize(text=text, fontFace=font, fontScale=scale, thickness=1)
    margin = 6
    top = height - tall - below - 2 * margin
    right_bottom = (width + 2 * margin, height)
    cv2.rectangle(copy, pt1=(0, top), pt2=right_bottom, color=_SHADE, thickness=cv2.FILLED)
    cv2.putText(
        img=copy,
        text=text,
        org=(margin, height - below - margin),
        fontFace=font,
        fontScale=scale,
        color=_INK,
        thickness=1,
        lineType=cv2.LINE_AA,
    )
    return copy
