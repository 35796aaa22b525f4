"""Ask at the terminal, again after a wrong answer; parse numbers."""

from __future__ import annotations

import os
import re
import shlex
import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from crestereo.app.script import say, show_prompt, warn
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

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, where the samples are."""

MAX_NUMBER = 1e6
"""Largest number a setting takes: farther than any camera sees, longer than any focal length."""

Answer = TypeVar("Answer")


def ask(
    prompt: str,
    check: Callable[[str], Answer],
    given: str | None = None,
    *,
    default: str | None = None,
) -> Answer:
    """Return the checked answer; ask again at a terminal."""
    if given is not None:
        return check(clean_answer(given))
    if default is not None:
        say(f"Press Enter for {default}")
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
    """Ask a question that is answered by yes or no; see `ask`."""
    shown = None if default is None else ("y" if default else "n")
    return ask(prompt, parse_yes_no, default=shown)


def parse_yes_no(text: str) -> bool:
    """Parse y, yes, n or no in any case."""
    answer = text.strip().lower()
    if answer in ("y", "yes"):
        return True
    if answer in ("n", "no"):
        return False
    raise UsageError(f"{text!r} is neither yes nor no; answer y or n")


def sample(path: str) -> str | None:
    """Return the path of a sample, None outside a checkout."""
    found = ROOT / path
    if not found.is_file():
        return None
    try:
        nearby = os.path.relpath(found)
    except ValueError:  # Windows: on another drive
        return str(found)
    return str(found) if nearby.startswith("..") else nearby


def partner_or_sample(left: Source, samples: tuple[str, str]) -> str | None:
    """Return the second prompt's default: sample or partner by name."""
    if left.text == sample(samples[0]):
        return sample(samples[1])
    return partner_of(left.text)


def clean_answer(text: str) -> str:
    """Return an answer without what dragging and pasting adds."""
    answer = _without_quotes(text.strip().strip("\u200b\ufeff"))
    if answer.lower().startswith("file:"):
        answer = _path_of_file_url(answer)
    elif answer.startswith("~"):
        answer = expand_home(answer)
    elif re.match(r"[A-Za-z]:\\", answer) and os.name != "nt":
        return answer  # a path of Windows: the error names it as it was typed
    elif os.name != "nt" and "\\" in answer and not _exists(answer):
        answer = re.sub(r"\\(.)", r"\1", answer)
    forms = (answer, *(unicodedata.normalize(form, answer) for form in ("NFC", "NFD")))
    return next((form for form in forms if _exists(form)), answer)


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


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
    if path[2:3] == ":":  # file:///C:/images/left.png
        path = path[1:]
    elif parts.netloc not in ("", "localhost"):
        path = f"//{parts.netloc}{path}"
    return path


def _read_answer(prompt: str) -> str | None:
    """Return the cleaned answer, or None at the end of the input."""
    try:
        line = input(show_prompt(prompt))
    except EOFError:
        say("")
        return None
    except UnicodeDecodeError as exc:
        raise UsageError(
            "the answer is not text in this terminal's encoding; set PYTHONUTF8=1"
        ) from exc
    answer = clean_answer(line)
    if not _at_terminal():  # echo what a pipe answers, as a terminal does
        say(answer)
    return answer


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def whole_number(text: str) -> int:
    """Parse a whole number."""
    try:
        return int(text)
    except ValueError as exc:
        raise UsageError(f"{text!r} is not a whole number") from exc


def number(text: str) -> float:
    """Parse a number up to `MAX_NUMBER`, with point or comma."""
    try:
        value = float(text.replace(",", "."))
    except ValueError as exc:
        raise UsageError(f"{text!r} is not a number") from exc
    if not abs(value) <= MAX_NUMBER:  # NaN too
        raise UsageError(f"{text[:40]!r} is not a number up to {MAX_NUMBER:,.0f}")
    return value


def seconds(text: str) -> float:
    """Parse a time: seconds, M:SS or H:MM:SS."""
    if not re.fullmatch(r"(\d+:){0,2}\d+([.,]\d+)?", text):
        raise UsageError(f"{text!r} is not a time; give seconds, M:SS or H:MM:SS")
    parts = [number(part) for part in text.split(":")]
    return sum(part * 60.0**power for power, part in enumerate(reversed(parts)))


def two_numbers(text: str) -> tuple[int, int]:
    """Parse a size, for example 2560x720."""
    found = re.fullmatch(r"(\d{1,5})[xX*](\d{1,5})", text)
    if found is None:
        raise UsageError(f"{text!r} is not a size; write two numbers as 2560x720")
    return int(found[1]), int(found[2])
