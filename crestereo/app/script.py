"""The command line: flags made from a script's settings, and errors made into sentences."""

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

_output = {"json": False}
"""Whether standard output is reserved for the JSON summary."""


def reserve_stdout(for_json: bool) -> None:
    """Keep standard output for the JSON summary; sentences then go to standard error."""
    _output["json"] = for_json


def say(text: str) -> None:
    """Write a sentence; where nobody reads any more the work goes on without."""
    with suppress(OSError):  # for example a pipe into `head`, or a terminal that was closed
        print(text, file=sys.stderr if _output["json"] else sys.stdout, flush=True)


def answer(text: str) -> None:
    """Write what the user asked for, which no file holds; with JSON the summary holds it.

    Raises
    ------
    UsageError
        When it cannot be written, for example to a disk that is full.
    """
    if _output["json"]:
        say(text)
        return
    with _unwritable():
        print(text, flush=True)


def warn(text: str) -> None:
    """Write a sentence that must be seen even where the output is kept in a file."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def summary(values: dict[str, Any]) -> None:
    """Write the summary of a run, where it was asked for, as one JSON object.

    In ASCII: what an output cannot encode would be replaced by what is no JSON.

    Raises
    ------
    UsageError
        When it cannot be written.
    """
    if not _output["json"]:
        return
    with _unwritable():
        print(json.dumps(values, indent=2), flush=True)


def show_prompt(prompt: str) -> str:
    """Return the prompt for `input`, or show it here where standard output is taken."""
    if not _output["json"]:
        return prompt
    with suppress(OSError):
        print(prompt, end="", file=sys.stderr, flush=True)
    return ""


def end_line(text: str = "") -> None:
    """End the line of a prompt that nobody ended by typing."""
    say(text)


@contextmanager
def _unwritable() -> Iterator[None]:
    """Make a sentence of an output that takes nothing; one that was closed is no error."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise UsageError(f"cannot write the answer: {exc.strerror or exc}") from exc


_ONE_REQUEST_S = 1.0  # the process is gone by then; a key that bounces asks again within 20 ms


class Interrupts:
    """Raise KeyboardInterrupt for the first request to end, and for a late one that still finds us.

    What comes right after a request belongs to it: it must not cut off what the first one lets
    finish, such as the video that is kept. A closed terminal and a polite request of the system
    count as Ctrl-C.

    Attributes
    ----------
    requested : bool
        Whether there was a request. Libraries turn the exception into others of their own.
    """

    def __init__(self) -> None:
        self.requested = False
        self._last_s = 0.0

    def install(self) -> None:
        """Take the signals over, but for those that are ignored: nohup lets a run outlive."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)  # each system has its own
            defaults = (signal.SIG_DFL, signal.default_int_handler)
            if number is not None and signal.getsignal(number) in defaults:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self.requested and now_s - self._last_s < _ONE_REQUEST_S:
            return
        self.requested, self._last_s = True, now_s
        raise KeyboardInterrupt


INTERRUPTED = 130
BUG = 70
_INSTALL = (
    "install requirements.txt into the environment that runs this, and libgl1 and libglib2.0-0 on "
    "a bare Debian or Ubuntu"
)


def run_script(main: Callable[[], None]) -> NoReturn:
    """Run a script and leave with the exit code of what happened.

    A `CREStereoError` becomes one sentence on standard error and its own exit code, Ctrl-C 130,
    anything else 70 and a hint; the traceback is shown with ``--debug`` only. A request to end and
    a closed terminal count as Ctrl-C.
    """
    interrupts = Interrupts()
    interrupts.install()
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name this terminal cannot show is no error
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in sys.argv[1:]
    if not debug:
        _hush_libraries()
    code = _outcome(main, interrupts, debug)
    _leave(code)


def _replace_closed_streams() -> None:
    """Read nothing and write nowhere where the program was started without a stream."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  until the end
            setattr(sys, name, nothing)


def _outcome(main: Callable[[], None], interrupts: Interrupts, debug: bool) -> int:
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has had enough of it
        _discard_output()
    except KeyboardInterrupt:
        return _interrupted(debug)
    except CREStereoError as exc:
        _complain(f"Error: {exc}", debug)
        return exc.exit_code
    except Exception as exc:  # noqa: BLE001  the border where a bug becomes a sentence
        if interrupts.requested:  # inside of a library, which made an error of its own of it
            return _interrupted(debug)
        what = " ".join(str(exc).split())
        if isinstance(exc, ImportError) and not str(exc.name).startswith("crestereo"):
            _complain(f"Error: a package is missing or broken: {what}; {_INSTALL}", debug)
            return UsageError.exit_code
        hint = "please report it" if debug else "run again with --debug to see where"
        _complain(f"Error: this is a bug: {type(exc).__name__}: {what}; {hint}", debug)
        return BUG
    return 0


def _interrupted(debug: bool) -> int:
    _complain("stopped by Ctrl-C", debug)
    return INTERRUPTED


def _complain(sentence: str, debug: bool) -> None:
    with suppress(OSError):  # the terminal may have been closed
        if debug:
            traceback.print_exc()
        print(sentence, file=sys.stderr, flush=True)


def _leave(code: int) -> NoReturn:
    """End the process, without waiting for a thread that is still inside a library.

    A network that is asked to stop does so between two of its layers; taking the interpreter
    down around it could crash, and waiting for it would keep the user.
    """
    if any(thread.daemon for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                _discard_output()
        os._exit(code)
    sys.exit(code)


def _discard_output() -> None:
    """Send what is still buffered nowhere, so that Python's own flush at exit is silent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _hush_libraries() -> None:
    """Keep OpenCV, FFmpeg and Qt from writing beside our sentences; read when cv2 is imported."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false;*.debug=false;*.info=false")
