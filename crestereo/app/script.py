"""Border of the program: messages, signals, and exceptions turned into exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from crestereo.errors import CREStereoError, UsageError

INTERRUPTED, TERMINATED, BUG = 130, 143, 70
_ONE_REQUEST_S = 1.0  # a key that bounces repeats Ctrl-C within 20 ms
_INSTALL = (
    "install requirements.txt into the environment that runs this, and libgl1 and libglib2.0-0 on "
    "a bare Debian or Ubuntu"
)
_output = {"json": False}
"""Whether standard output is reserved for the JSON summary."""


def reserve_stdout(for_json: bool) -> None:
    """Keep standard output for the JSON summary alone."""
    _output["json"] = for_json


def say(text: str) -> None:
    """Print a sentence; a closed output stream is ignored."""
    with suppress(OSError):  # for example a pipe into `head`, or a closed terminal
        print(text, file=sys.stderr if _output["json"] else sys.stdout, flush=True)


def warn(text: str) -> None:
    """Print a sentence on standard error; a closed stream is ignored."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def report(remark: str) -> None:
    """Print a remark, one with a warning on standard error."""
    (warn if "WARNING" in remark else say)(remark)


def notify(text: str) -> None:
    """Print a sentence on standard error above the progress bar."""
    from tqdm import tqdm  # slow to import

    with tqdm.external_write_mode(file=sys.stderr):
        warn(text)


def debug(text: str) -> None:
    """Print a detail on standard error where ``--debug`` is given."""
    if "--debug" in sys.argv[1:]:
        warn(text)


def answer(text: str) -> None:
    """Print a result that neither files nor the JSON summary hold."""
    if _output["json"]:
        say(text)
        return
    with _checked_output():
        print(text, flush=True)


def summary(values: dict[str, Any]) -> None:
    """Print the JSON summary of a run where ``--json`` is given."""
    if _output["json"]:
        with _checked_output():
            print(json.dumps(values, indent=2), flush=True)


def show_prompt(prompt: str) -> str:
    """Return the prompt for `input`; with JSON print it on standard error."""
    if not _output["json"]:
        return prompt
    with suppress(OSError):
        print(prompt, end="", file=sys.stderr, flush=True)
    return ""


@contextmanager
def _checked_output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise UsageError(f"cannot write the answer: {exc.strerror or exc}") from exc


class _Interrupts:
    """Signals that end the process, as KeyboardInterrupt.

    What follows within a second belongs to the same request: it must not cut off what the first
    one lets finish, such as the video that is kept. `signal` is the last one, 0 for none.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._last_s = 0.0
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)  # each system has its own
            defaults = (signal.SIG_DFL, signal.default_int_handler)  # nohup ignores SIGHUP
            if number is not None and signal.getsignal(number) in defaults:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self.signal and now_s - self._last_s < _ONE_REQUEST_S:
            return
        self.signal, self._last_s = number, now_s
        raise KeyboardInterrupt


_running: list[_Interrupts] = []


def run_rest(main: Callable[[], None]) -> NoReturn:
    """Run the rest of a script that a library is ending."""
    code = _outcome(main, _running[-1] if _running else _Interrupts())
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def run_script(main: Callable[[], None]) -> NoReturn:
    """Run a script and exit with the code of its outcome."""
    interrupts = _Interrupts()
    _running.append(interrupts)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # started without it
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):  # a name the terminal cannot show is no error
            stream.reconfigure(errors="backslashreplace")
    if "--debug" not in sys.argv[1:]:
        _silence_libraries()
    _leave(_outcome(main, interrupts))


def _leave(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # closed: nothing may be left for Python's own flush at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if any(thread.daemon for thread in threading.enumerate()):
        os._exit(code)  # a thread inside a library neither ends at once nor survives a shutdown
    sys.exit(code)


def _outcome(main: Callable[[], None], interrupts: _Interrupts) -> int:
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has left
        return 0
    except KeyboardInterrupt:
        return _interrupted(interrupts)
    except CREStereoError as exc:
        _complain(f"Error: {exc}")
        return exc.exit_code
    except Exception as exc:  # noqa: BLE001  the border where a bug becomes a sentence
        if interrupts.signal:  # a library has turned the interrupt into an error of its own
            return _interrupted(interrupts)
        return _unexpected(exc)
    return 0


def _unexpected(exc: Exception) -> int:
    what = " ".join(str(exc).split())
    if isinstance(exc, ImportError) and not str(exc.name).startswith("crestereo"):
        _complain(f"Error: a package is missing or broken: {what}; {_INSTALL}")
        return UsageError.exit_code
    hint = "please report it" if "--debug" in sys.argv[1:] else "run again with --debug"
    _complain(f"Error: this is a bug: {type(exc).__name__}: {what}; {hint}")
    return BUG


def _interrupted(interrupts: _Interrupts) -> int:
    if interrupts.signal == getattr(signal, "SIGTERM", None):
        _complain("terminated by the system")
        return TERMINATED
    _complain("stopped by Ctrl-C")
    return INTERRUPTED


def _complain(sentence: str) -> None:
    with suppress(OSError):  # the terminal may have been closed
        if "--debug" in sys.argv[1:]:
            traceback.print_exc()
        print(sentence, file=sys.stderr, flush=True)


def _silence_libraries() -> None:
    """Keep OpenCV, FFmpeg and Qt from writing to the terminal."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false;*.debug=false;*.info=false")
