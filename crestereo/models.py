"""Choose the network for settings and find its file."""

from __future__ import annotations

import hashlib
import math
import os
import re
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Literal, TypeAlias

from crestereo.errors import ModelFileError, UnknownModelError, UsageError

VERSIONS = ("auto", "lite", "init", "combined")
"""Values of the setting ``version``; "auto" takes the best network that is present."""

MIN_SIDE_PX = 64
"""Smallest height and width of a network's input: its coarsest level still has two cells."""

MAX_ITERS = 32
"""Most iterations of the bundled network."""


@dataclass(frozen=True)
class ModelSpec:
    """Specification of a network.

    Parameters
    ----------
    version : str
        "lite" (the bundled network), "init" or "combined" (the published kinds).
    iters : int
        Refinement steps, 1 to 32.
    height, width : int
        Size of the network's input [px], 64 or more.

    Raises
    ------
    UsageError
        A value is invalid.
    """

    version: str
    iters: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.version not in VERSIONS[1:]:
            raise UsageError(
                f"there is no network of version {self.version!r}; choose one of "
                f"{', '.join(VERSIONS[1:])}"
            )
        check_iters(self.iters)
        check_model_shape((self.height, self.width))

    @property
    def shape(self) -> tuple[int, int]:
        """Return (height, width) [px]."""
        return self.height, self.width

    def __str__(self) -> str:
        return f"{self.version}, {self.iters} iterations, {self.height}x{self.width}"


def check_iters(iters: int) -> int:
    """Return `iters` from 1 to 32, else raise UsageError."""
    if not _is_whole(iters) or not 1 <= iters <= MAX_ITERS:
        raise UsageError(f"iters must be a whole number from 1 to {MAX_ITERS}, not {iters!r}")
    return int(iters)


def check_model_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) from 64 px, else raise UsageError."""
    sides = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if len(sides) != 2 or not all(map(_is_whole, sides)) or min(sides) < MIN_SIDE_PX:
        raise UsageError(
            "model_shape must be (height, width) in whole pixels, each "
            f"{MIN_SIDE_PX} or more, not {shape!r}"
        )
    return int(sides[0]), int(sides[1])


def _is_whole(number: object) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)


def parse_model_shape(text: str) -> tuple[int, int]:
    """Parse a size written as HEIGHTxWIDTH."""
    match = re.fullmatch(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*", text)
    if match is None:
        raise UsageError(f"{text!r} is not a size; write HEIGHTxWIDTH, for example 480x640")
    return check_model_shape((int(match[1]), int(match[2])))


ChannelOrder: TypeAlias = Literal["BGR", "RGB"]
CHANNEL_ORDERS: tuple[ChannelOrder, ...] = ("BGR", "RGB")

BUNDLED_NAME = "crestereo_lite.onnx"
"""File name of the network that ships with the program."""

BUNDLED_SHA256 = "13ab8a448958533eb4c70b6ba60483e45b29e9154d5a08b7b7f86382562ba1cf"
"""Digest of that file, checked when it is opened; ``sha256sum`` prints it."""

_PACKAGE = Path(__file__).resolve().parent


def models_dir() -> Path:
    """Return ``models/`` of a checkout, else the user's cache folder."""
    checkout = _PACKAGE.parent / "models"
    if (checkout / BUNDLED_NAME).is_file():
        return checkout
    import platformdirs  # needed outside a checkout only

    return Path(platformdirs.user_cache_dir("crestereo", appauthor=False)) / "models"


def bundled_model() -> Path:
    """Return the path of the network that ships with the program."""
    places = (_PACKAGE.parent / "models" / BUNDLED_NAME, _PACKAGE / "data" / BUNDLED_NAME)
    for place in places:
        if place.is_file():
            return place
    raise ModelFileError(
        f"the bundled network {BUNDLED_NAME} is missing from {places[0].parent}; install again"
    )


def check_bundled(path: Path) -> None:
    """Raise ModelFileError where the file is the bundled network, but damaged."""
    if path.name != BUNDLED_NAME or path.resolve() != bundled_model().resolve():
        return
    if hashlib.sha256(path.read_bytes()).hexdigest() != BUNDLED_SHA256:
        raise ModelFileError(
            f"{path} is damaged: its SHA-256 is not that of the bundled network; install again, "
            "or give a network of your own another name and use --model-path"
        )


_INIT_SHAPES = ((120, 160), (160, 240), (180, 320), (240, 320), (360, 640), (480, 640), (720, 1280))
_COMBINED_SHAPES = ((240, 320), (320, 480), (360, 640), (480, 640), (720, 1280))

PUBLISHED = frozenset(
    ModelSpec(version, iters, *shape)
    for version, shapes in (("init", _INIT_SHAPES), ("combined", _COMBINED_SHAPES))
    for iters in (2, 5, 10, 20)
    for shape in shapes
) | {ModelSpec("combined", 5, 380, 480)}
"""Every published ONNX file; the last one is probably a misspelt 360x480 or 320x480."""

_NAME = re.compile(r"crestereo_(init|combined)_iter(\d+)_(\d+)x(\d+)\.onnx", re.IGNORECASE)


def file_name(spec: ModelSpec) -> str:
    """Return the name of the file of a network, for example crestereo_init_iter5_480x640.onnx."""
    if spec.version == "lite":
        return BUNDLED_NAME
    return f"crestereo_{spec.version}_iter{spec.iters}_{spec.height}x{spec.width}.onnx"


def parse_file_name(name: str) -> ModelSpec | None:
    """Return the specification in a published file name, None for other names."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        return ModelSpec(match[1].lower(), int(match[2]), int(match[3]), int(match[4]))
    except UsageError:  # shaped like a published name, with numbers that no network has
        return None


def iters_in_name(name: str) -> int | None:
    """Return n of a file name that contains ``iter<n>``."""
    match = re.search(r"iters?[_-]?(\d{1,3})(?!\d)", name, re.IGNORECASE)
    return int(match[1]) if match else None


def recorded_channel_order(path: Path) -> ChannelOrder:
    """Return the channel order of a file that records none."""
    # The published networks were trained on BGR; the wrappers that spread with them feed RGB.
    return "BGR" if parse_file_name(path.name) else "RGB"


def find_model(spec: ModelSpec, folder: Path | None = None) -> Path | None:
    """Return the least deep file of a network below a folder."""
    wanted = file_name(spec)
    visited: set[str] = set()
    found: list[Path] = []
    for place, folders, names in os.walk(folder or models_dir(), followlinks=True):
        real = os.path.realpath(place)
        if real in visited:  # a link to a folder above
            folders.clear()
        elif wanted in names:
            found.append(Path(place) / wanted)
        visited.add(real)
    return min(found, key=lambda path: (len(path.parts), path), default=None)


def check_published(spec: ModelSpec) -> ModelSpec:
    """Return `spec` when it was published, else raise UnknownModelError naming the nearest."""

    def distance(other: ModelSpec) -> tuple[bool, float, str]:
        ratios = (other.height / spec.height, other.width / spec.width, other.iters / spec.iters)
        return other.version != spec.version, sum(abs(math.log(r)) for r in ratios), str(other)

    if spec in PUBLISHED:
        return spec
    nearest = "; ".join(str(other) for other in sorted(PUBLISHED, key=distance)[:6])
    raise UnknownModelError(
        f"no model was published for {spec}; the nearest that were: {nearest} "
        '(version = "lite" takes any iters from 1 to 32 and any size)'
    )


@dataclass(frozen=True)
class ModelChoice:
    """Network for the settings; `path` is None before its download."""

    spec: ModelSpec
    path: Path | None
    note: str


def choose_model(
    version: str, iters: int, model_shape: tuple[int, int], folder: Path | None = None
) -> ModelChoice:
    """Choose the network for the user's settings."""
    if version not in VERSIONS:
        raise UsageError(f"version must be one of {', '.join(VERSIONS)}, not {version!r}")
    bundled = ModelSpec("lite", iters, *check_model_shape(model_shape))
    # combined is the more accurate one: 0.93 against 0.96 px at 5 iterations
    kinds = {"auto": ("combined", "init"), "lite": ()}.get(version, (version,))
    for kind in kinds:
        spec = replace(bundled, version=kind)
        if version == kind:
            check_published(spec)
        path = find_model(spec, folder) if spec in PUBLISHED else None
        if version == kind or path is not None:
            return ModelChoice(spec, path, f"model: {file_name(spec)}")
    plural = "" if iters == 1 else "s"
    note = f"model: {BUNDLED_NAME}, {iters} iteration{plural}"
    return ModelChoice(bundled, bundled_model(), note)
