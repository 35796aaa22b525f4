"""Whether there is a screen, told before any window call."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from crestereo.app import window as screen
from crestereo.app.window import wants_window, why_no_screen
from crestereo.errors import DisplayError

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="about X displays")


def test_linux_without_a_display() -> None:
    assert "neither DISPLAY nor WAYLAND_DISPLAY" in why_no_screen({}, "linux")


def test_a_headless_build_of_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "_gui_of_opencv", lambda: "NONE")
    for platform in ("linux", "win32", "darwin"):
        assert "headless" in why_no_screen({"DISPLAY": ":0"}, platform)


def test_other_systems_have_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "_gui_of_opencv", lambda: "WIN32UI")
    assert why_no_screen({}, "win32") == ""


def test_wayland_alone_is_enough_where_opencv_can_draw_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environ = {"WAYLAND_DISPLAY": "wayland-0"}
    monkeypatch.setattr(screen, "_draws_on_wayland", lambda: True)
    assert why_no_screen(environ, "linux") == ""
    monkeypatch.setattr(screen, "_draws_on_wayland", lambda: False)
    assert "needs an X display" in why_no_screen(environ, "linux")


@linux_only
@pytest.mark.parametrize("display", [":98765", "127.0.0.1:9876", "nonsense"])
@pytest.mark.parametrize("library", [True, False])
def test_a_display_that_does_not_answer(
    display: str, library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not library:
        monkeypatch.setattr(screen, "_X11", "libNothing.so")
    assert why_no_screen({"DISPLAY": display}, "linux") == f"the display {display} does not answer"


@linux_only
def test_without_the_x_library_a_socket_that_answers_is_enough() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        address = str(Path(folder) / "X7")
        server.bind(address)
        server.listen()
        assert screen._connects(socket.AF_UNIX, address)
    assert not screen._connects(socket.AF_UNIX, address)


def test_a_window_is_opened_only_where_it_is_wished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(screen, "why_no_screen", lambda: "")
    assert [wants_window(wish) for wish in (None, True, False)] == [True, True, False]
    assert capsys.readouterr().out == ""


def test_no_screen_is_one_line_and_an_error_only_where_a_window_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(screen, "why_no_screen", lambda: "DISPLAY is not set")
    assert not wants_window(False)
    assert capsys.readouterr().out == ""
    assert not wants_window(None)
    assert capsys.readouterr().out == "no window: DISPLAY is not set; the result is saved\n"
    with pytest.raises(DisplayError, match="DISPLAY is not set"):
        wants_window(True)


@linux_only
def test_this_opencv_tells_what_draws_its_windows() -> None:
    assert screen._gui_of_opencv() != ""
    assert os.environ.get("DISPLAY") or why_no_screen() != ""
