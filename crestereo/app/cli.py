"""The command line: flags made from a script's settings, and errors made into sentences."""

from __future__ import annotations

import argparse
import dataclasses
import io
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from crestereo.app.interrupts import Interrupts
from crestereo.app.options import CommonSettings
from crestereo.errors import CREStereoError, UsageError

INTERRUPTED = 130
BUG = 70
_INSTALL = (
    "install requirements.txt into the environment that runs this, and libgl1 and libglib2.0-0 on "
    "a bare Debian or Ubuntu"
)

AnySettings = TypeVar("AnySettings", bound=CommonSettings)


def read_flags(
    settings: AnySettings,
    description: str | None,
    sources: Sequence[str],
    argv: Sequence[str] | None = None,
) -> tuple[AnySettings, list[str | None]]:
    """Let the command line override a script's settings.

    Parameters
    ----------
    settings : CommonSettings
        What the block at the top of the script says: the defaults.
    description : str or None
        What the script does; its first line opens ``--help``.
    sources : sequence of str
        Names of the positional arguments, all optional.
    argv : sequence of str, optional
        The arguments; those of the process where left out.

    Returns
    -------
    settings : CommonSettings
        With the flags put in.
    given : list of (str or None)
        A positional argument each, None where the script has to ask.

    Raises
    ------
    UsageError
        When a flag is unknown or its value cannot be.
    """
    parser = _Parser(description=(description or "").strip().partition("\n")[0], allow_abbrev=False)
    for name in sources:
        parser.add_argument(
            name, nargs="?", metavar=name.upper(), help="asked for where it is left out"
        )
    for item in dataclasses.fields(settings):
        if not item.metadata:
            continue
        _add_flag(parser, item.name, item.metadata, getattr(settings, item.name))
    parser.add_argument(
        "--version",
        action=_ShowVersion,
        nargs=0,
        dest=argparse.SUPPRESS,
        help="print the version and end",
    )
    values = vars(parser.parse_args(argv))
    given = [values.pop(name) for name in sources]
    return dataclasses.replace(settings, **values, given=frozenset(values)), given


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


class _Parser(argparse.ArgumentParser):
    """Raise instead of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; --help lists what there is")


class _ShowVersion(argparse.Action):
    """Print the version, looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from crestereo import __version__  # noqa: PLC0415

        print(f"crestereo {__version__}")
        parser.exit()


def _add_flag(parser: argparse.ArgumentParser, name: str, metadata: Any, default: object) -> None:
    how: dict[str, Any] = {key: metadata[key] for key in ("metavar",) if key in metadata}
    if "type" in metadata:
        how["type"] = _naming_its_flag(metadata["type"])
    if "choices" in metadata:
        how["choices"] = metadata["choices"]
        how.pop("metavar", None)
    if metadata.get("pair"):
        how["action"] = argparse.BooleanOptionalAction
    elif isinstance(default, bool):
        how["action"] = "store_true"
    explained = f"{metadata['explained']} (default: {_shown(default)})".replace("%", "%%")
    parser.add_argument(
        metadata["flag"], dest=name, default=argparse.SUPPRESS, help=explained, **how
    )


def _naming_its_flag(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader whose errors argparse puts behind the name of the flag."""

    def convert(text: str) -> Any:
        try:
            return read(text)
        except UsageError as exc:
            raise argparse.ArgumentTypeError(f"{exc}") from exc

    return convert


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "x".join(str(side) for side in value)
    return "none" if value is None else str(value)
