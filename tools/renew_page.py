"""Run the commands of a Markdown page and update their output.

A command is a separate fenced block, and its output is between two marks::

    ```sh
    python tools/evaluate.py DATASETS/middlebury --baseline sgbm
    ```
    <!-- output -->
    | scenes | ...
    <!-- end of output -->

For example ``python tools/renew_page.py docs/results.md --folder DATASETS=/data/stereo``. Commands
run in the folder of the project; the page is written when all of them have succeeded.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
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
    parser.add_argument(
        "--folder",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="replace a folder name such as DATASETS in the commands; repeatable",
    )
    options = parser.parse_args(arguments)
    folders = dict(_parse_folder(text) for text in options.folder)
    for page in options.pages:
        if not page.is_file():
            raise SourceError(f"no such page: {page}")
        write_bytes(page, renewed(page.read_text("utf-8"), folders).encode())
    return 0


def _parse_folder(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise UsageError(f"--folder must be NAME=PATH, not {text!r}")
    return name, path


def renewed(text: str, folders: Mapping[str, str] | None = None) -> str:
    """Return a page with the present output of its commands."""
    commands = [match["command"] for match in BLOCK.finditer(text)]
    outputs = iter([run(command, folders or {}) for command in tqdm(commands, disable=None)])
    return BLOCK.sub(lambda m: f"{m['before']}{next(outputs)}\n{m['after']}", text)


def run(command: str, folders: Mapping[str, str]) -> str:
    """Run ``python tools/NAME.py ...`` with this Python and return what it prints."""
    words = shlex.split(command.replace("\\\n", " "))
    if len(words) < 2 or words[0] != "python" or not words[1].startswith("tools/"):
        raise UsageError(f"a page may only run the project's tools, not {command!r}")
    for name, path in folders.items():
        words = [path + word[len(name) :] if _is_below(name, word) else word for word in words]
    result = subprocess.run(
        [sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise UsageError(f"{shlex.join(words)} failed with code {result.returncode}: {last}")
    return result.stdout.strip()


def _is_below(folder: str, word: str) -> bool:
    return word == folder or word.startswith(f"{folder}/")


if __name__ == "__main__":
    run_tool(main)
