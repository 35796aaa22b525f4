"""Run the commands written in a page and put what they print under them.

A command stands in a block of its own, and its output between two marks::

    ```sh
    python tools/evaluate.py ../shared/eval --baseline sgbm
    ```
    <!-- output -->
    | scenes | ...
    <!-- end of output -->

For example ``python tools/renew_page.py docs/results.md``. Commands run one after the other in
the folder of the project; the page is written when all of them have succeeded.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

from crestereo.errors import SourceError, UsageError
from crestereo.formats import write_bytes
from tools.lib.cli import run_tool

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"(?P<before>```sh\n(?P<command>[^`]*)\n```\n\s*<!-- output -->\n)"
    r".*?"
    r"(?P<after><!-- end of output -->)",
    re.DOTALL,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("pages", type=Path, nargs="+", help="Markdown files")
    options = parser.parse_args(arguments)
    for page in options.pages:
        if not page.is_file():
            raise SourceError(f"there is no page {page}")
        write_bytes(page, renewed(page.read_text("utf-8")).encode())
    return 0


def renewed(text: str) -> str:
    """Return a page with the output of its commands as they print it now.

    Raises
    ------
    UsageError
        A command is not one of the project's tools, or it failed.
    """
    outputs = [run(match["command"]) for match in tqdm([*BLOCK.finditer(text)], disable=None)]
    remaining = iter(outputs)
    return BLOCK.sub(lambda m: f"{m['before']}{next(remaining)}\n{m['after']}", text)


def run(command: str) -> str:
    """Run ``python tools/NAME.py ...`` with this Python and return what it prints."""
    words = shlex.split(command.replace("\\\n", " "))
    if len(words) < 2 or words[0] != "python" or not words[1].startswith("tools/"):
        raise UsageError(f"a page may only run the project's tools, not {command!r}")
    result = subprocess.run(
        [sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise UsageError(f"{shlex.join(words)} failed with code {result.returncode}: {last}")
    return result.stdout.strip()


if __name__ == "__main__":
    run_tool(main)
