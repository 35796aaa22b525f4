"""Where the program's sentences go: to the screen, or aside when a machine reads the output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from crestereo.errors import UsageError


@dataclass(frozen=True)
class Messages:
    """Write sentences for people, and one summary for machines.

    Parameters
    ----------
    as_json : bool
        Keep standard output for the summary alone; sentences go to standard error.
    """

    as_json: bool = False

    def say(self, text: str) -> None:
        """Write a sentence; where nobody reads any more the work goes on without."""
        with suppress(OSError):  # for example a pipe into `head`, or a terminal that was closed
            print(text, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def answer(self, text: str) -> None:
        """Write what the user asked for, which no file holds; with JSON the summary holds it.

        Raises
        ------
        UsageError
            When it cannot be written, for example to a disk that is full.
        """
        if self.as_json:
            self.say(text)
            return
        with _unwritable():
            print(text, flush=True)

    def warn(self, text: str) -> None:
        """Write a sentence that must be seen even where the output is kept in a file."""
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)

    def summary(self, values: dict[str, Any]) -> None:
        """Write the summary of a run, where it was asked for, as one JSON object.

        In ASCII: what an output cannot encode would be replaced by what is no JSON.

        Raises
        ------
        UsageError
            When it cannot be written.
        """
        if not self.as_json:
            return
        with _unwritable():
            print(json.dumps(values, indent=2), flush=True)

    def show_prompt(self, prompt: str) -> str:
        """Return the prompt for `input`, or show it here where standard output is taken."""
        if not self.as_json:
            return prompt
        with suppress(OSError):
            print(prompt, end="", file=sys.stderr, flush=True)
        return ""

    def end_line(self, text: str = "") -> None:
        """End the line of a prompt that nobody ended by typing."""
        self.say(text)


@contextmanager
def _unwritable() -> Iterator[None]:
    """Make a sentence of an output that takes nothing; one that was closed is no error."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise UsageError(f"cannot write the answer: {exc.strerror or exc}") from exc
