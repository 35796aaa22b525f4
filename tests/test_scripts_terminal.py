"""The scripts at a terminal, their order of work, and how they are interrupted."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app_helpers import COMPARE, IMAGE, command, environment, picture_pair, run_script
from tests.tiny_models import lite_model, slow_model

if sys.platform == "win32":
    pytest.skip("pseudo-terminals and signals are others there", allow_module_level=True)

import pty

# Ctrl-C of a keyboard goes to the session that owns the terminal.
_OWN_THE_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)


class Terminal:
    """Type at a script and read what it shows."""

    def __init__(self, *args: object, cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _OWN_THE_TERMINAL, *command(*map(str, args))],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env=environment(),
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def expect(self, text: str, limit_s: float = 30) -> None:
        """Read until a text is shown."""
        end = time.monotonic() + limit_s
        while text not in self.shown:
            ready, _, _ = select.select([self._ours], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{text!r} was not shown in {self.shown!r}"
            try:
                self.shown += os.read(self._ours, 4096).decode()
            except OSError as exc:  # how Linux tells that the script has left
                raise AssertionError(f"{text!r} was not shown in {self.shown!r}") from exc

    def type(self, text: str) -> None:
        self.shown = ""
        os.write(self._ours, text.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)
        os.close(self._ours)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    model = lite_model(tmp_path / "lite.onnx")
    session = Terminal(IMAGE, "--model-path", model, cwd=tmp_path)
    yield session
    session.close()


def test_a_wrong_answer_is_asked_again_with_the_reason(terminal: Terminal, tmp_path: Path) -> None:
    left, right = picture_pair(tmp_path)
    terminal.expect("Left Image (URL or file path) : ")
    terminal.type("no/such/file.png\n")
    terminal.expect("there is no file no/such/file.png; check the path")
    terminal.expect("Left Image (URL or file path) : ")
    terminal.type(f'"{left}" \n')
    terminal.expect(f"{right}")  # offered
    terminal.expect("Right Image (URL or file path) : ")
    terminal.type("\n")
    terminal.expect("toy_run.json")
    assert terminal.process.wait(timeout=20) == 0


def test_ctrl_c_at_a_prompt_is_130(terminal: Terminal) -> None:
    terminal.expect("Left Image (URL or file path) : ")
    time.sleep(0.3)  # nobody is faster; Python loses it between writing a prompt and reading
    terminal.type("\x03")
    terminal.expect("stopped by Ctrl-C")
    assert terminal.process.wait(timeout=20) == 130
    assert "Traceback" not in terminal.shown


def test_ctrl_c_ends_an_estimation_without_a_window(tmp_path: Path) -> None:
    left, right = picture_pair(tmp_path)
    process = subprocess.Popen(
        command(
            IMAGE, left, right, "--model-path", slow_model(tmp_path / "slow.onnx", rounds=200_000)
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("no window"):
        assert process.poll() is None
    time.sleep(0.5)
    begin = time.perf_counter()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert time.perf_counter() - begin < 1
    assert (process.returncode, err) == (130, "stopped by Ctrl-C\n")
    assert not (tmp_path / "output").exists()


def test_the_model_is_checked_before_anything_is_asked(tmp_path: Path) -> None:
    done = run_script(IMAGE, "--model-path", "no.onnx", cwd=tmp_path, answers="no.png\n")
    assert done.returncode == 4
    assert done.stdout == ""


def test_the_sources_are_opened_before_the_network(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_text("not a network", encoding="utf-8")
    text = tmp_path / "text.png"
    text.write_text("not a picture", encoding="utf-8")
    done = run_script(IMAGE, text, text, "--model-path", broken, cwd=tmp_path)
    assert done.returncode == 3


def test_names_that_the_output_cannot_show_are_no_error(tmp_path: Path) -> None:
    folder = tmp_path / "사진"
    folder.mkdir()
    left, right = picture_pair(folder)
    done = run_script(
        IMAGE, left, right, "--model-path", lite_model(tmp_path / "lite.onnx"), "--output-dir",
        folder, cwd=tmp_path, environ={"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"saved .*\\uc0ac\\uc9c4", done.stdout)
    assert (folder / "toy_depth.png").is_file()


def test_the_samples_are_offered_and_taken(tmp_path: Path) -> None:
    done = run_script(COMPARE, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"Press Enter for .*table_left\.png", lines[0])
    assert lines[1] == "Image1 : "
    assert re.fullmatch(r"Press Enter for .*table_right\.png", lines[2])
