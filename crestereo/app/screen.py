"""Is there a screen? Asked before the first window call: OpenCV ends the process without one.

On Linux the Qt inside OpenCV aborts when it cannot reach a display, so everything that can be
known beforehand is: the environment, the build of OpenCV, and whether the display answers.
"""

from __future__ import annotations

import ctypes
import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from crestereo.app.messages import Messages
from crestereo.errors import DisplayError

_X11 = "libX11.so.6"
_TCP_BASE_PORT = 6000
_CONNECT_S = 2.0


def wants_window(wish: bool | None, messages: Messages) -> bool:
    """Return whether to open a window, and say in one line why not where one was expected.

    Parameters
    ----------
    wish : bool or None
        What ``window`` says; None means where there is a screen.
    messages : Messages
        Where to say it.

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
        messages.say(f"no window: {reason}; the result is saved")
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
