"""Questions at the terminal: the words, forgiving answers, defaults and what is asked again."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from crestereo.app.script import end_line, say, show_prompt, warn
from crestereo.app.sources import Source, expand_home, partner_of
from crestereo.errors import CREStereoError, UsageError

LEFT_IMAGE = "Left Image (URL or file path) : "
RIGHT_IMAGE = "Right Image (URL or file path) : "
LEFT_VIDEO = "Left Video (URL or file path) : "
RIGHT_VIDEO = "Right Video (URL or file path) : "
STEREO_VIDEO = "Stereo Video (URL or file path) : "
SWAP = "Swap left and right(y/n) : "
FIRST_IMAGE = "Image1 : "
SECOND_IMAGE = "Image2 : "

Answer = TypeVar("Answer")


def ask(
    prompt: str,
    check: Callable[[str], Answer],
    *,
    default: str | None = None,
) -> Answer:
    """Ask until the answer is one that `check` takes.

    Parameters
    ----------
    prompt : str
        What to ask, word for word.
    check : callable
        Turns the cleaned answer into what is wanted, or raises a `CREStereoError` that says what
        is wrong with it.
    default : str, optional
        Taken for an empty answer and at the end of the input; named on a line above the prompt.

    Returns
    -------
    object
        What `check` returned.

    Raises
    ------
    UsageError
        When the input ends and there is no default.
    CREStereoError
        What `check` raised, when nobody sits at a terminal who could answer again.
    """
    if default is not None:
        say(f"(empty answer: {default})")
    while True:
        answer = _read_answer(prompt)
        if answer is None and default is None:
            raise UsageError(
                f"the input ended before an answer to {prompt.rstrip(' :')!r}; "
                "give it on the command line or answer the prompt"
            )
        answer = answer or default
        try:
            if not answer:
                raise UsageError("an answer is needed")
            return check(answer)
        except CREStereoError as exc:
            if not _at_terminal():
                raise
            warn(f"{exc}")


def ask_yes_no(prompt: str, *, default: bool | None = None) -> bool:
    """Ask a question that yes or no answers; see `ask`."""
    shown = None if default is None else ("y" if default else "n")
    return ask(prompt, parse_yes_no, default=shown)


def parse_yes_no(text: str) -> bool:
    """Read y, yes, n or no in any case, or raise UsageError."""
    answer = text.strip().lower()
    if answer in ("y", "yes"):
        return True
    if answer in ("n", "no"):
        return False
    raise UsageError(f"{text!r} is neither yes nor no; answer y or n")


def clean_answer(text: str) -> str:
    """Return a path or address without what dragging and pasting adds to it.

    Spaces and quotes around it go, ``file://`` addresses become paths, ``~`` the home folder, and
    the backslashes that a terminal puts before spaces and brackets go unless the path has them.
    """
    answer = _without_quotes(text.strip().strip("\u200b\ufeff"))
    if answer.lower().startswith("file:"):
        return _path_of_file_url(answer)
    if answer.startswith("~"):
        return expand_home(answer)
    if os.name != "nt" and "\\" in answer and not Path(answer).exists():
        return re.sub(r"\\(.)", r"\1", answer)
    return answer


def _without_quotes(answer: str) -> str:
    if os.name != "nt" and answer[:1] in ("'", '"'):
        with suppress(ValueError):  # a quote without its partner
            words = shlex.split(answer)  # terminals quote it's.png as 'it'\''s.png'
            if len(words) == 1:
                return words[0].strip()
    for quote in ("'", '"'):
        if len(answer) >= 2 and answer[0] == answer[-1] == quote:
            answer = answer[1:-1].strip()
    return answer


def _path_of_file_url(url: str) -> str:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if path[2:3] == ":":  # file:///C:/pictures/left.png
        path = path[1:]
    elif parts.netloc not in ("", "localhost"):
        path = f"//{parts.netloc}{path}"
    return path


def _read_answer(prompt: str) -> str | None:
    """Return the cleaned answer, or None at the end of the input."""
    try:
        line = input(show_prompt(prompt))
    except EOFError:
        end_line()
        return None
    except UnicodeDecodeError as exc:
        raise UsageError(
            "the answer is not text in this terminal's encoding; set PYTHONUTF8=1"
        ) from exc
    answer = clean_answer(line)
    if not _at_terminal():  # a pipe does not show what it answers: show it, as a terminal does
        end_line(answer)
    return answer


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


ROOT = Path(__file__).resolve().parents[2]
"""The checkout, where the samples are."""

Parse = Callable[[str], Source]


def ask_source(prompt: str, given: str | None, parse: Parse, default: str | None = None) -> Source:
    """Return the source named on the command line, else the one that is asked for.

    Parameters
    ----------
    prompt : str
        What to ask.
    given : str or None
        From the command line.
    parse : callable
        `sources.parse_picture` or `sources.parse_video`.
    default : str, optional
        Offered for an empty answer.
    """
    if given is not None:
        return parse(clean_answer(given))
    return ask(prompt, parse, default=default)


def ask_pair(
    prompts: tuple[str, str],
    given: Sequence[str | None],
    parse: Parse,
    samples: tuple[str, str],
) -> tuple[Source, Source]:
    """Return the two sources of a pair; see `ask_source`.

    Parameters
    ----------
    prompts : (str, str)
        What to ask for left and right.
    given : sequence of (str or None)
        Left and right from the command line.
    parse : callable
        `sources.parse_picture` or `sources.parse_video`.
    samples : (str, str)
        Offered where they are there; paths below the checkout. For another left one the file that
        goes with it by its name is offered.
    """
    left_sample, right_sample = (sample(path) for path in samples)
    left = ask_source(prompts[0], given[0], parse, left_sample)
    partner = right_sample if left.text == left_sample else partner_of(left.text)
    return left, ask_source(prompts[1], given[1], parse, partner)


def sample(path: str) -> str | None:
    """Return where a sample is, seen from the current folder; None where it is not there."""
    found = ROOT / path
    if not found.is_file():
        return None
    try:
        nearby = os.path.relpath(found)
    except ValueError:  # Windows: on another drive
        return str(found)
    return str(found) if nearby.startswith("..") else nearby
