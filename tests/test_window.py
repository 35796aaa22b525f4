"""The window: whether there is a screen, its legend, and real keys while a slow network runs."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.app import window as window_module
from crestereo.app.render import UNKNOWN_GREY, Legend, View
from crestereo.app.sources import parse_video
from crestereo.app.video import open_video
from crestereo.app.window import Controls, Window, open_window, watch, why_no_window, with_caption
from crestereo.errors import DisplayError
from crestereo.formats import read_image
from crestereo.types import StereoPair
from tests.app_helpers import (
    IMAGE,
    ROOT,
    SEPARATE,
    command,
    environment,
    frame_number,
    picture_pair,
    texture,
    write_video,
)
from tests.tiny_models import lite_model, slow_model

ANSWER_S = 0.1
LEAVE_S = 1.0
TITLE = "CREStereo"
IDLE = Controls(lambda: None, lambda _: None, lambda: None)
SHOWN_PX = 320  # width to which the user has resized the window
VERY_SLOW = 200_000  # rounds: minutes, so that no answer can come from the end of an inference

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="about X displays")


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return an environment without a display."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@linux_only
def test_linux_without_a_display(environ: pytest.MonkeyPatch) -> None:
    assert why_no_window() == "neither DISPLAY nor WAYLAND_DISPLAY is set"
    environ.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert "needs an X display" in why_no_window()


@linux_only
@pytest.mark.parametrize("display", [":98765", "127.0.0.1:9876", "nonsense"])
def test_a_display_that_does_not_answer(display: str, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("DISPLAY", display)
    assert why_no_window() == f"the display {display} does not answer"


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_a_headless_build_of_opencv(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    for gui, reason in (("WIN32UI", ""), ("NONE", "this OpenCV is a headless build")):
        build = f"  GUI:                           {gui}\n"
        monkeypatch.setattr(cv2, "getBuildInformation", lambda build=build: build)
        assert why_no_window().partition(";")[0] == reason


def test_no_screen_is_one_line_and_an_error_only_where_a_window_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(window_module, "why_no_window", lambda: "DISPLAY is not set")
    for wish, printed in ((False, ""), (None, "no window: DISPLAY is not set\n")):
        with open_window(TITLE, View(texture(20, 40)), wish) as opened:
            assert opened is None
        assert capsys.readouterr().out == printed
    with (
        pytest.raises(DisplayError, match="DISPLAY is not set"),
        open_window(TITLE, View(texture(20, 40)), True),
    ):
        pass


@pytest.mark.parametrize("module", ["run_video", "video", "video_writer"])
def test_opencv_is_imported_before_pyav(module: str) -> None:
    """Otherwise Qt finds the libxcb of PyAV, and the first window hangs (Linux)."""
    program = f"import sys, crestereo.app.{module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    names = done.stdout.split()
    assert names.index("cv2") < names.index("av")


def test_the_window_keeps_its_width_and_the_scale_of_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = replace_opencv_windows(monkeypatch, lambda _: -1, [])
    sizes: list[tuple[int, int]] = []
    monkeypatch.setattr(cv2, "resizeWindow", lambda _, *size: sizes.append(size))
    window = Window(TITLE, View(texture(360, 640)))
    for _ in range(2):
        window.toggle_keys()
        window.poll()
        height, width = drawn[-1].shape[:2]
        assert sizes[-1] == (SHOWN_PX, round(SHOWN_PX * height / width))
    assert len({size[1] for size in sizes[1:]}) == 2


@pytest.mark.parametrize("width", [300, 640, 1600])
def test_the_legend_covers_neither_the_image_nor_the_words(width: int) -> None:
    """Given views of any width, then each line of the caption shows what it should."""
    image = texture(40, width)
    legend = Legend("magma", 20.0, 10.0, "px")
    plain = with_caption(View(image), ["words", "keys"])
    captioned = with_caption(View(image, legend=legend), ["words", "keys"])
    np.testing.assert_array_equal(captioned[:40], image)
    if width == 300:  # too narrow for a legend
        np.testing.assert_array_equal(captioned, plain)
        return
    extra = captioned.shape[0] - plain.shape[0]
    assert (extra > 0) == (width == 640)  # a line for itself
    np.testing.assert_array_equal(captioned[40 + extra :, :100], plain[40:, :100])
    colors = np.unique(captioned[40:].reshape(-1, 3), axis=0)
    assert len(colors) > 100  # the bar


_MISSING = [tool for tool in ("Xvfb", "xdotool") if shutil.which(tool) is None]


class _ClientMessage(ctypes.Structure):
    """XClientMessageEvent of Xlib, as long as its XEvent."""

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
    """A display with its keys, mouse and windows."""

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
        """Return the screen, (H, W, 3) BGR; Xvfb keeps it in an XWD file."""
        data = self._framebuffer.read_bytes()
        header = np.frombuffer(data, ">u4", 25)
        size, width, height, row_bytes, colors = (int(header[n]) for n in (0, 4, 5, 12, 19))
        start = size + 12 * colors
        rows = np.frombuffer(data, np.uint8, height * row_bytes, start).reshape(height, row_bytes)
        return rows[:, : 4 * width].reshape(height, width, 4)[..., :3]

    def close_by_mouse(self) -> None:
        """Send the message of a click on the cross of a window frame."""
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


def replace_opencv_windows(
    monkeypatch: pytest.MonkeyPatch,
    wait_key: Callable[[int], int],
    mouse_callbacks: list[Callable[..., None]],
) -> list[np.ndarray]:
    """Replace OpenCV's windows; return the list of the images that will be drawn.

    Without a window manager a real window stays black now and then.
    """
    drawn: list[np.ndarray] = []
    for name in ("namedWindow", "resizeWindow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "setMouseCallback", lambda _, call: mouse_callbacks.append(call))
    monkeypatch.setattr(cv2, "imshow", lambda _, image: drawn.append(image))
    monkeypatch.setattr(cv2, "waitKeyEx", wait_key)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
    monkeypatch.setattr(cv2, "getWindowImageRect", lambda _: (0, 0, SHOWN_PX, 100))
    return drawn


@pytest.fixture(scope="module")
def desktop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desktop]:
    if _MISSING and not os.environ.get("CI"):
        pytest.skip(f"{' and '.join(_MISSING)} not installed")
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


def is_written(path: Path) -> bool:
    """Return whether a file holds more than the claim of its name."""
    return path.exists() and path.stat().st_size > 0


def steady_screen(desktop: Desktop) -> np.ndarray:
    """Return the screen once it has not changed for half a second."""

    def is_steady() -> bool:
        before = desktop.screen().copy()
        time.sleep(0.5)
        return np.array_equal(before, desktop.screen())

    wait_until(is_steady)
    return desktop.screen().copy()


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
    """Leave in the middle of an inference of minutes and measure the time until it is answered.

    The limits hold for the best of ten: a busy machine may delay most of them, but keys
    that are polled once an inference, or threads that are waited for, delay them all. On a machine
    where xdotool alone takes longer than the answer may, the limits grow in proportion: still far
    from the minutes of the inference.
    """
    best_s = [float("inf"), float("inf")]
    slowness = 1.0
    for _ in range(10):  # ends at the first good one
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
def test_leaving_is_answered_at_once_while_an_image_is_estimated(
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


def test_an_image_stays_until_it_is_left_and_its_view_can_be_saved(
    start: Start, desktop: Desktop, tmp_path: Path
) -> None:
    left, right = picture_pair(tmp_path, 400, 600)  # too large to be enlarged
    process = start(IMAGE, left, right, "--model-path", lite_model(tmp_path / "lite.onnx"))
    output = tmp_path / "output"
    wait_until((output / "toy_run.json").exists)
    time.sleep(0.2)
    assert desktop.windows()

    desktop.key("s")
    wait_until(lambda: is_written(output / "toy_view.png"))
    np.testing.assert_array_equal(
        read_image(output / "toy_view.png"), read_image(output / "toy_depth.png")
    )
    desktop.key("q")
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out.count("saved ") == 5
    assert out.count("relative depth") == 1


def test_h_hides_the_line_of_keys_and_shows_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = iter(map(ord, "hhq"))
    drawn = replace_opencv_windows(monkeypatch, lambda _: next(keys), [])
    window = Window("title", View(np.full((400, 600, 3), 90, np.uint8)))
    watch(window, IDLE)
    with_keys, hidden, again = drawn
    assert not np.array_equal(hidden, with_keys)
    np.testing.assert_array_equal(again, with_keys)


def frame_shown(desktop: Desktop, folder: Path) -> Callable[[], int]:
    """Return a function that returns which frame is shown, by saving the view.

    It returns -1 before the first result.
    """
    saved = 0

    def shown() -> int:
        nonlocal saved
        saved += 1
        number = f"_{saved}" if saved > 1 else ""
        path = folder / "output" / f"toy_view{number}.png"
        time.sleep(0.3)  # OpenCV keeps one key between two looks
        desktop.key("s")
        wait_until(lambda: is_written(path))
        image = read_image(path)
        half = image.shape[1] // 2
        return -1 if (image[:, half:] == UNKNOWN_GREY).all() else frame_number(image[:, :half])

    return shown


def test_space_pauses_a_full_stop_goes_one_frame_on_and_space_goes_on(
    start: Start, desktop: Desktop, tmp_path: Path
) -> None:
    videos = [write_video(tmp_path / f"toy_{side}.avi", 24) for side in ("left", "right")]
    model = slow_model(tmp_path / "slow.onnx", rounds=200)
    process = start(SEPARATE, *videos, "--model-path", model)
    shown = frame_shown(desktop, tmp_path)
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


def test_seeking_is_for_looking_and_the_saved_video_is_that_of_the_run(
    start: Start, desktop: Desktop, tmp_path: Path
) -> None:
    # given a video of 1.2 s in a window, whose run is at its beginning
    videos = [write_video(tmp_path / f"toy_{side}.avi", 12) for side in ("left", "right")]
    model = slow_model(tmp_path / "slow.onnx", rounds=500)  # seconds even where it is fast
    flags = "--align", "off", "--sync", "off", "--steady", "off"
    process = start(SEPARATE, *videos, "--model-path", model, *flags)
    shown = frame_shown(desktop, tmp_path)
    wait_until(lambda: shown() >= 1)
    # when the user pauses, seeks to the end, one frame back, and into the middle by the bar
    desktop.key("space")
    stood = shown()
    desktop.key("Right")
    wait_until(lambda: shown() == 11)
    desktop.key("comma")
    wait_until(lambda: shown() == 10)
    geometry = desktop.tool("getwindowgeometry", "--shell", desktop.windows()[0])
    sizes = dict(line.split("=") for line in geometry.splitlines())
    width, height = int(sizes["WIDTH"]), int(sizes["HEIGHT"])
    x, y = int(sizes["X"]), int(sizes["Y"])
    bar_px = width - 156  # without margins and times
    desktop.tool("mousemove", x + 8 + bar_px // 2, y + height - 12, "click", 1)
    wait_until(lambda: shown() in (5, 6, 7))
    # when the user goes back, the run continues from where it was, to its end
    desktop.key("b")
    wait_until(lambda: shown() == stood)
    desktop.key("space")
    wait_until(lambda: shown() == 11, limit_s=90)
    # when the user looks at another frame and goes back after the end
    desktop.key("comma")
    wait_until(lambda: shown() == 10)
    desktop.key("b")
    wait_until(lambda: shown() == 11)
    time.sleep(0.5)
    desktop.key("q")
    out, err = process.communicate(timeout=20)
    # then each frame was saved once
    assert process.returncode == 0, err
    assert "12 frames, " in out
    frames = open_video(parse_video(str(tmp_path / "output" / "toy_depth.mp4")), 0).frames()
    half = [frame.image[:, : frame.image.shape[1] // 2] for frame in frames]
    assert [frame_number(image) for image in half] == list(range(12))


@pytest.mark.parametrize(
    ("keys", "calls"),
    [
        ([0xFF51], [(15.0, 1.0)]),  # left and right of X11, Windows and macOS
        ([0x270000], [(25.0, 1.0)]),
        ([0xF703, 0xF703], [(25.0, 1.0), (30.0, 1.0)]),  # before a frame is there
        ([0xFF51] * 5, [(15.0, 1), (10.0, 1), (5.0, 1), (0.0, 1), (0.0, 1)]),
        ([ord(",")], [(19.9, 1.0)]),
        ([ord(">"), ord(">"), ord("<")], [(20.0, 2.0), (20.0, 4.0), (20.0, 2.0)]),
        ([0xFF52, 0xFFE1], []),  # other special keys
    ],
)
def test_keys_that_seek(
    keys: list[int], calls: list[tuple[float, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given the frame at 20 of 60 s, and none that follows
    pressed = iter([*keys, ord("q")])
    words: list[str] = []
    monkeypatch.setattr(window_module, "_put_text", lambda _, text, x: words.append(text) or x)
    replace_opencv_windows(monkeypatch, lambda _: next(pressed), [])
    image = np.full((60, 160, 3), 90, np.uint8)
    view = View(image, pair=StereoPair(image, image, "toy", 20.0), length_s=60.0)
    sought: list[tuple[float, float]] = []
    controls = replace(IDLE, seek=lambda *where: sought.append(where), frame_s=0.1)
    # when keys are pressed
    watch(Window("title", view), controls)
    # then they seek from there
    assert sought == [pytest.approx(call) for call in calls]
    assert "0:20 / 1:00" in words
    assert any("left right 5 s" in text for text in words)


def test_the_value_under_the_mouse_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = iter([-1, ord("q")])
    move: list[Callable[..., None]] = []

    def wait_key(_: int) -> int:
        move[0](0, 40, 20, 0, None)
        return next(keys)

    drawn = replace_opencv_windows(monkeypatch, wait_key, move)
    disparity = np.full((60, 80), 12.5, np.float32)
    view = View(np.full((60, 160, 3), 90, np.uint8), disparity=disparity)
    watch(Window("title", view), IDLE)
    without, with_value = drawn
    assert without.shape == with_value.shape
    assert not np.array_equal(without, with_value)


def test_a_video_is_saved_and_its_last_frame_stays_until_a_key(
    start: Start, desktop: Desktop, tmp_path: Path
) -> None:
    videos = [write_video(tmp_path / f"toy_{side}.avi", 5) for side in ("left", "right")]
    model = slow_model(tmp_path / "slow.onnx", rounds=150)
    process = start(SEPARATE, *videos, "--model-path", model)
    wait_until(lambda: is_written(tmp_path / "output" / "toy_depth.mp4"))
    steady_screen(desktop)
    time.sleep(1)
    assert process.poll() is None
    desktop.key("q")
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "output" / "toy_run.json").is_file()
