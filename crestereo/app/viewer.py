"""THE window: the only place that calls OpenCV's windows, always from the main thread.

Keys: q, Q and escape leave, as closing the window by mouse does; space pauses, ``.`` goes one
frame on in a pause, ``s`` saves the view. The mouse shows the value under it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import cv2

from crestereo.app.messages import Messages
from crestereo.app.screen import wants_window
from crestereo.app.views import View
from crestereo.app.worker import ClosedError
from crestereo.errors import DisplayError
from crestereo.types import BGRImage

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
def open_window(
    title: str, first: View, wish: bool | None, messages: Messages
) -> Iterator[Window | None]:
    """Open the window where there is to be one, and close it however the block ends.

    Parameters
    ----------
    title : str
        Of the window.
    first : View
        Shown until something else is.
    wish : bool or None
        The setting ``window``; None means where there is a screen.
    messages : Messages
        Told in one line why there is none.

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
    if wants_window(wish, messages):
        try:
            window = Window(title, first)
            messages.say(_KEYS)
        except DisplayError as exc:
            if wish:
                raise
            messages.warn(f"{exc}")
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
