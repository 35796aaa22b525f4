"""Real windows: on a display of their own, with real keys, while a slow network runs."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from crestereo.formats import read_image
from tests.app_helpers import (
    IMAGE,
    SEPARATE,
    command,
    environment,
    frame_number,
    picture_pair,
    write_video,
)
from tests.tiny_models import lite_model, slow_model

ANSWER_S = 0.1
LEAVE_S = 1.0
TITLE = "CREStereo"
VERY_SLOW = 200_000  # rounds: minutes, so that no answer can come from the end of an inference

_MISSING = [tool for tool in ("Xvfb", "xdotool") if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(
    bool(_MISSING) and not os.environ.get("CI"),
    reason=f"{' and '.join(_MISSING)} not installed",
)


class _ClientMessage(ctypes.Structure):
    """Be XClientMessageEvent of Xlib, as long as its XEvent."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("rest", ctypes.c_long * 12),
    )


class Desktop:
    """Press keys and look for windows on a display."""

    def __init__(self, display: str, framebuffer: Path) -> None:
        self.display = display
        self._framebuffer = framebuffer

    def tool(self, *args: object) -> str:
        done = subprocess.run(
            ["xdotool", *map(str, args)],
            env=environment(self.display),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return done.stdout.strip()

    def windows(self) -> list[str]:
        return self.tool("search", "--onlyvisible", "--name", TITLE).split()

    def key(self, name: str) -> None:
        self.tool("key", "--delay", 0, name)

    def screen(self) -> np.ndarray:
        """Return what is seen, (H, W, 3) BGR; Xvfb keeps it in a file of the form XWD."""
        data = self._framebuffer.read_bytes()
        header = np.frombuffer(data, ">u4", 25)
        size, width, height, row_bytes, colors = (int(header[n]) for n in (0, 4, 5, 12, 19))
        start = size + 12 * colors
        rows = np.frombuffer(data, np.uint8, height * row_bytes, start).reshape(height, row_bytes)
        return rows[:, : 4 * width].reshape(height, width, 4)[..., :3]

    def close_by_mouse(self) -> None:
        """Send what the cross of a window frame makes the window manager send."""
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XInternAtom.restype = ctypes.c_ulong
        display = ctypes.c_void_p(x11.XOpenDisplay(self.display.encode()))
        protocols, delete = (
            x11.XInternAtom(display, name, False) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")
        )
        for window in map(int, self.windows()):
            event = _ClientMessage(33, 0, 1, display, window, protocols, 32, (delete, 0, 0, 0, 0))
            x11.XSendEvent(display, ctypes.c_ulong(window), False, 0, ctypes.byref(event))
        x11.XCloseDisplay(display)


def wait_until(condition: Callable[[], object], limit_s: float = 30) -> float:
    """Return how long it took until a condition held."""
    start = time.perf_counter()
    while not condition():
        if time.perf_counter() - start > limit_s:
            raise TimeoutError("it did not come to pass")
        time.sleep(0.002)
    return time.perf_counter() - start


@pytest.fixture(scope="module")
def desktop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desktop]:
    reading, writing = os.pipe()
    folder = tmp_path_factory.mktemp("framebuffer")
    what = ["-screen", "0", "1280x720x24", "-fbdir", str(folder), "-noreset", "-r"]
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), *what],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as numbers:
        number = numbers.readline().strip()
    assert number, "Xvfb did not start"
    yield Desktop(f":{number}", folder / "Xvfb_screen0")
    server.terminate()
    server.wait(timeout=10)


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(desktop: Desktop, tmp_path: Path) -> Iterator[Start]:
    """Start a script and wait for its window; end it with the test."""
    processes: list[subprocess.Popen[str]] = []

    def run(script: str, *args: object) -> subprocess.Popen[str]:
        wait_until(lambda: not desktop.windows())
        process = subprocess.Popen(
            command(script, *args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment(desktop.display),
        )
        processes.append(process)
        wait_until(lambda: desktop.windows() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        desktop.tool("mousemove", 20, 20)
        time.sleep(0.3)  # the keyboard follows the mouse to the new window
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def ctrl_c(process: subprocess.Popen[str], desktop: Desktop) -> None:
    del desktop
    process.send_signal(signal.SIGINT)


def press(name: str) -> Callable[[subprocess.Popen[str], Desktop], None]:
    return lambda _, desktop: desktop.key(name)


WAYS_TO_LEAVE = {
    "q": (press("q"), 0),
    "Q": (press("shift+q"), 0),
    "escape": (press("Escape"), 0),
    "mouse": (lambda _, desktop: desktop.close_by_mouse(), 0),
    "ctrl-c": (ctrl_c, 130),
}


Leave = Callable[["subprocess.Popen[str]", Desktop], None]


def check_leaving(
    start_it: Callable[[], subprocess.Popen[str]], desktop: Desktop, leave: Leave, code: int = 0
) -> None:
    """Leave in the middle of an inference of minutes and measure how soon it is answered.

    The limits hold for the best of three: a busy machine may delay one or two of them, but keys
    that are looked at once an inference, or threads that are waited for, delay them all. Where
    xdotool alone takes longer than the answer may, the machine is that much slower than the
    limits are meant for, and they stretch with it: still far from the minutes of the inference.
    """
    best_s = [float("inf"), float("inf")]
    slowness = 1.0
    for _ in range(3):
        process = start_it()
        overhead = overhead_s(desktop)  # beside the inference, as what is measured next
        begin = time.perf_counter()
        leave(process, desktop)
        wait_until(lambda: not desktop.windows())
        answered_s = time.perf_counter() - begin
        process.wait(timeout=30)
        gone_s = time.perf_counter() - begin
        slowness = max(slowness, overhead / ANSWER_S)
        measured_s = [max(answered_s - overhead, 0.0), gone_s]
        assert process.returncode == code, process.communicate()
        best_s = list(map(min, best_s, measured_s))
        if best_s[0] < ANSWER_S * slowness and best_s[1] < LEAVE_S * slowness:
            return
    raise AssertionError(f"the window went after {best_s[0]:.3f} s, the process {best_s[1]:.3f} s")


def overhead_s(desktop: Desktop) -> float:
    """Return what pressing a key and looking for a window take by themselves."""
    begin = time.perf_counter()
    desktop.key("F12")
    desktop.windows()
    return time.perf_counter() - begin


@pytest.mark.parametrize("way", WAYS_TO_LEAVE)
def test_leaving_is_answered_at_once_while_a_picture_is_estimated(
    way: str, start: Start, desktop: Desktop, tmp_path: Path
) -> None:
    left, right = picture_pair(tmp_path)
    model = slow_model(tmp_path / "slow.onnx", rounds=VERY_SLOW)
    leave, code = WAYS_TO_LEAVE[way]
    check_leaving(lambda: start(IMAGE, left, right, "--model-path", model), desktop, leave, code)
    assert not (tmp_path / "output").exists()


def test_leaving_a_video_is_answered_at_once(
    start: Start, desktop: Desktop, tmp_path: Path
) -> None:
    videos = [write_video(tmp_path / f"toy_{side}.avi") for side in ("left", "right")]
    model = slow_model(tmp_path / "slow.onnx", rounds=VERY_SLOW)
    check_leaving(lambda: start(SEPARATE, *videos, "--model-path", model), desktop, press("q"))
    assert not (tmp_path / "output").exists()


def test_a_picture_stays_until_it_is_left_and_its_view_can_be_saved(
    start: Start, desktop: Desktop, tmp_path: Path
) -> None:
    left, right = picture_pair(tmp_path)
    process = start(IMAGE, left, right, "--model-path", lite_model(tmp_path / "lite.onnx"))
    output = tmp_path / "output"
    wait_until((output / "toy_run.json").exists)
    time.sleep(0.2)
    assert desktop.windows()

    desktop.key("s")
    wait_until((output / "toy_view.png").exists)
    np.testing.assert_array_equal(
        read_image(output / "toy_view.png"), read_image(output / "toy_depth.png")
    )
    desktop.key("q")
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out.count("saved ") == 4
    assert out.count("relative depth") == 1


def test_space_pauses_a_full_stop_goes_one_frame_on_and_space_goes_on(
    start: Start, desktop: Desktop, tmp_path: Path
) -> None:
    videos = [write_video(tmp_path / f"toy_{side}.avi", 24) for side in ("left", "right")]
    model = slow_model(tmp_path / "slow.onnx", rounds=200)
    process = start(SEPARATE, *videos, "--model-path", model)
    saved = 0

    def shown() -> int:
        """Return which frame is shown, by saving the view; -1 before the first result."""
        nonlocal saved
        saved += 1
        number = f"_{saved}" if saved > 1 else ""
        path = tmp_path / "output" / f"toy_view{number}.png"
        time.sleep(0.3)  # OpenCV keeps one key between two looks
        desktop.key("s")
        wait_until(path.exists)
        left = read_image(path)
        return -1 if not left[:, 96:].any() else frame_number(left[:, :96])

    wait_until(lambda: shown() >= 1)
    desktop.key("space")
    paused_at = shown()
    time.sleep(1)
    assert shown() == paused_at
    for step in (1, 2):
        desktop.key("period")
        wait_until(lambda expected=paused_at + step: shown() == expected, limit_s=10)
        time.sleep(0.3)
        assert shown() == paused_at + step
    desktop.key("space")
    wait_until(lambda: shown() > paused_at + 2)
    desktop.key("q")
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert " frames, " in out


def test_the_value_under_the_mouse_is_shown(start: Start, desktop: Desktop, tmp_path: Path) -> None:
    left, right = picture_pair(tmp_path)
    process = start(IMAGE, left, right, "--model-path", lite_model(tmp_path / "lite.onnx"))
    wait_until((tmp_path / "output" / "toy_run.json").exists)

    def below_pointer() -> np.ndarray:
        return desktop.screen()[40:].copy()  # the pointer itself, at row 20, is part of the screen

    def steady() -> bool:
        seen = below_pointer()
        time.sleep(0.5)
        return np.array_equal(seen, below_pointer())

    wait_until(steady)
    before = below_pointer()
    desktop.tool("mousemove", 90, 20)
    wait_until(lambda: not np.array_equal(below_pointer(), before))
    assert process.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="about X displays")
def test_a_window_is_shown_and_the_video_saved_too_where_both_are_wished(
    start: Start, desktop: Desktop, tmp_path: Path
) -> None:
    videos = [write_video(tmp_path / f"toy_{side}.avi", 5) for side in ("left", "right")]
    model = slow_model(tmp_path / "slow.onnx", rounds=150)
    process = start(SEPARATE, *videos, "--model-path", model, "--save-video")
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "output" / "toy_depth.mp4").is_file()
