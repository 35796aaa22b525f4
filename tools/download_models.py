"""Fetch and list the published CREStereo models.

Examples
--------
::

    python tools/download_models.py --iters 5 --model-shape 240x320,480x640 --model-version init
    python tools/download_models.py --list
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crestereo.app.download import fetch_models
from crestereo.app.script import run_script
from crestereo.errors import UsageError
from crestereo.models import (
    MODELS_DIR,
    PUBLISHED,
    ModelSpec,
    check_published,
    file_name,
    find_model,
    parse_model_shape,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the flags say; raise a CREStereoError where that cannot be."""
    flags = _parser().parse_args(arguments)
    if flags.list and not flags.folder.is_dir():
        raise UsageError(f"{flags.folder} is not a folder; check the path")
    if flags.list:
        _list_models(flags.folder)
    else:
        _fetch(_wanted(flags), flags.folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="download_models.py",
        description="Fetch and list the published CREStereo models.",
    )
    parser.add_argument("--iters", default="", metavar="N,...", help="2, 5, 10, 20; default: all")
    parser.add_argument(
        "--model-shape", default="", metavar="HxW,...", help="default: every published shape"
    )
    parser.add_argument(
        "--model-version", default="", metavar="V,...", help="init, combined; default: both"
    )
    parser.add_argument("--all", action="store_true", help="fetch everything that was published")
    parser.add_argument("--list", action="store_true", help="show what is published and present")
    parser.add_argument(
        "--folder", type=Path, default=MODELS_DIR, help="where models are kept; default: models/"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _wanted(flags: argparse.Namespace) -> list[ModelSpec]:
    """Return the published models that the flags name; a flag left out means every value."""
    versions, shapes, iters = (
        [part for part in text.split(",") if part.strip()]
        for text in (flags.model_version, flags.model_shape, flags.iters)
    )
    if not (versions or shapes or iters or flags.all):
        raise UsageError(
            "nothing was asked for; name --iters, --model-shape or --model-version, or say --all"
        )
    if not all(text.strip().isdecimal() for text in iters):
        raise UsageError(f"--iters takes whole numbers with commas between, not {flags.iters!r}")
    if versions and shapes and iters:  # complete names: a wrong one is an error that says so
        named = product(versions, map(int, iters), map(parse_model_shape, shapes))
        return [check_published(ModelSpec(v.strip(), n, *shape)) for v, n, shape in named]
    wanted = [
        spec
        for spec in _by_size(PUBLISHED)
        if (not versions or spec.version in {v.strip() for v in versions})
        and (not iters or spec.iters in {int(n) for n in iters})
        and (not shapes or spec.shape in {parse_model_shape(shape) for shape in shapes})
    ]
    if not wanted:
        raise UsageError("no published model fits these flags; --list shows all of them")
    return wanted


def _by_size(specs: frozenset[ModelSpec]) -> list[ModelSpec]:
    return sorted(specs, key=lambda s: (s.version, s.iters, s.height, s.width))


def _fetch(specs: list[ModelSpec], folder: Path) -> None:
    for path in fetch_models(specs, folder):
        print(path)


def _list_models(folder: Path) -> None:
    for spec in _by_size(PUBLISHED):
        path = find_model(spec, folder)
        print(f"{file_name(spec):40} {path or '-'}")
    for part in sorted(folder.glob("*.part")):
        print(f"{part.name:40} unfinished, {part.stat().st_size / 1e6:.1f} MB so far")


if __name__ == "__main__":
    run_script(main)
