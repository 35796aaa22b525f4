"""Shared command-line options and exit codes of the tools."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from crestereo.app.script import run_script
from crestereo.app.sources import nearest_existing
from crestereo.errors import ModelFileError, UsageError
from crestereo.models import (
    ModelSpec,
    bundled_model,
    check_iters,
    check_published,
    file_name,
    find_model,
    models_dir,
    parse_model_shape,
)

from .methods import BASELINES, NATIVE, PRIORS, Method, Size, baseline, variants

VERSIONS = ("lite", "init", "combined", "none")


def add_model_options(
    parser: argparse.ArgumentParser, *, iters: str, shapes: str, baselines: str = ""
) -> None:
    """Add the options that select networks, iterations and sizes."""
    add = parser.add_argument
    add(
        "--model-version",
        choices=VERSIONS,
        default="lite",
        help="none: only those of --model-path",
    )
    add(
        "--model-path", type=Path, action="append", default=[], help="another ONNX file; repeatable"
    )
    add("--iters", default=iters, help="iterations, comma separated")
    add(
        "--model-shape",
        default=shapes,
        help="HxW, native (up to 1080x1920) or a multiple like 1.5x, comma separated",
    )
    add(
        "--baseline",
        default=baselines,
        help=f"matchers, comma separated: {', '.join(BASELINES)}",
    )
    add(
        "--prior",
        choices=PRIORS,
        default="none",
        help="initial disparity: SGBM at half size, or the estimate of the previous pair of the "
        "folder, as for the frames of a clip",
    )
    add("--device", default="auto", help="device of the networks: cpu, cuda, ...")
    add("--threads", type=int, default=None, help="threads of the networks")


def chosen_methods(options: argparse.Namespace) -> list[Method]:
    """Return the selected networks at every size and iteration count, then baselines."""
    iters = [_whole_number(text) for text in options.iters.split(",")]
    sizes = [_size(text.strip()) for text in options.model_shape.split(",")]
    baselines = [baseline(name.strip()) for name in options.baseline.split(",") if name.strip()]
    paths: list[Path] = []
    if options.model_version == "lite":
        paths.append(bundled_model())
    elif options.model_version != "none":
        paths += [_published(options.model_version, n, size) for n in iters for size in sizes]
    paths += options.model_path
    chosen: list[Method] = []
    if paths:
        for path in paths:
            chosen += variants(path, iters, sizes, options.prior)
    chosen += baselines
    if not chosen:
        raise UsageError("nothing to measure: name a --model-version, --model-path or --baseline")
    return list(dict.fromkeys(chosen))


def _whole_number(text: str) -> int:
    try:
        return check_iters(int(text))
    except ValueError as exc:
        raise UsageError(f"--iters takes whole numbers like 2,5,10, not {text!r}") from exc


def _size(text: str) -> Size:
    if text == "native":
        return NATIVE
    multiple = re.fullmatch(r"(\d+(?:\.\d+)?)x", text)
    return float(multiple[1]) if multiple else parse_model_shape(text)


def _published(version: str, iters: int, size: Size) -> Path:
    if not isinstance(size, tuple):
        raise UsageError(f"the {version} models have a fixed size: give --model-shape HxW")
    spec = check_published(ModelSpec(version, iters, *size))
    path = find_model(spec)
    if path is None:
        raise ModelFileError(
            f"{file_name(spec)} is not in {models_dir()}; `crestereo download` fetches it"
        )
    return path


def check_free(paths: Iterable[Path | None], overwrite: bool) -> None:
    """Raise UsageError if a path cannot be written or exists already."""
    wanted = [path for path in paths if path is not None]
    for path in wanted:
        above = nearest_existing(path.parent)
        if not above.is_dir():
            raise UsageError(f"{path} cannot be written: {above} is a file; name another place")
    taken = [str(path) for path in wanted if path.exists()]
    if taken and not overwrite:
        raise UsageError(f"{', '.join(taken)} exists already; name another place or --overwrite")


def run_tool(main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Run a tool; report errors as one line and an exit code.

    ``--debug`` prints the traceback.
    """
    arguments = [word for word in sys.argv[1:] if word != "--debug"]

    def run() -> None:
        code = main(arguments)
        if code:
            sys.exit(code)

    run_script(run)
