"""What a script asks for: the sources it was not given on the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from crestereo.app.messages import Messages
from crestereo.app.prompts import ask, clean_answer
from crestereo.app.sources import Source, partner_of

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, where the samples are."""

Parse = Callable[[str], Source]


def ask_source(
    prompt: str, given: str | None, parse: Parse, messages: Messages, default: str | None = None
) -> Source:
    """Return the source named on the command line, else the one that is asked for.

    Parameters
    ----------
    prompt : str
        What to ask.
    given : str or None
        From the command line.
    parse : callable
        `sources.parse_picture` or `sources.parse_video`.
    messages : Messages
        Where to ask.
    default : str, optional
        Offered for an empty answer.
    """
    if given is not None:
        return parse(clean_answer(given))
    return ask(prompt, parse, messages, default=default)


def ask_pair(
    prompts: tuple[str, str],
    given: Sequence[str | None],
    parse: Parse,
    samples: tuple[str, str],
    messages: Messages,
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
    messages : Messages
        Where to ask.
    """
    left_sample, right_sample = (sample(path) for path in samples)
    left = ask_source(prompts[0], given[0], parse, messages, left_sample)
    partner = right_sample if left.text == left_sample else partner_of(left.text)
    return left, ask_source(prompts[1], given[1], parse, messages, partner)


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
