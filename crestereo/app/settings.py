"""What a run can be told: the settings of the scripts, each with the flag that overrides it.

A setting has its home in the block at the top of a script; the classes here only say what it is.
`crestereo.app.cli` makes the flags from their fields.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from crestereo.app.script import reserve_stdout
from crestereo.app.sources import expand_home, nearest_existing
from crestereo.errors import SourceError, UsageError
from crestereo.models import VERSIONS, check_iters, check_model_shape, parse_model_shape
from crestereo.session import DEVICES, check_threads

if TYPE_CHECKING:
    from crestereo.camera import CameraConfig

AUTO, OFF = "auto", "off"
ALIGN = (AUTO, OFF)


LARGEST = 1e6
"""Of numbers that a user gives: farther than any camera sees, longer than any focal length."""


def whole_number(text: str) -> int:
    """Read a whole number, or raise UsageError."""
    try:
        return int(text)
    except ValueError as exc:
        raise UsageError(f"{text!r} is not a whole number") from exc


def number(text: str) -> float:
    """Read a number up to `LARGEST`, with point or comma, or raise UsageError."""
    try:
        value = float(text.replace(",", "."))
    except ValueError as exc:
        raise UsageError(f"{text!r} is not a number") from exc
    if not abs(value) <= LARGEST:  # NaN too
        raise UsageError(f"{text[:40]!r} is not a number up to {LARGEST:,.0f}")
    return value


def flag(name: str, explained: str, **how: Any) -> dict[str, Any]:
    """Return the metadata of a setting that a flag overrides.

    Parameters
    ----------
    name : str
        The flag, with its dashes.
    explained : str
        What ``--help`` says of it; the default is added there.
    **how
        ``metavar``, ``type`` and ``choices`` as argparse takes them; for yes and no ``pair=True``
        gives ``--name`` and ``--no-name``.
    """
    return {"flag": name, "explained": explained, **how}


@dataclass(frozen=True, kw_only=True)
class CommonSettings:
    """Hold what every script can be told."""

    json: bool = field(
        default=False, metadata=flag("--json", "print a summary for programs, as JSON")
    )
    debug: bool = field(
        default=False, metadata=flag("--debug", "show the traceback of an error, and warnings")
    )
    given: frozenset[str] = frozenset()  # which settings a flag has overridden


@dataclass(frozen=True, kw_only=True)
class ImageSettings(CommonSettings):
    """Hold the settings of one estimation; see the block of ``image_depth_estimation.py``.

    Raises
    ------
    UsageError
        When a value cannot be.
    """

    iters: int = field(metadata=flag("--iters", "refinement steps", metavar="N", type=whole_number))
    model_shape: tuple[int, int] = field(
        metadata=flag(
            "--model-shape",
            "size the network works at, height x width",
            metavar="HxW",
            type=parse_model_shape,
        )
    )
    version: str = field(
        metadata=flag("--model-version", "which network", metavar="V", choices=VERSIONS)
    )
    device: str = field(metadata=flag("--device", "what runs the network", choices=DEVICES))
    colormap: str = field(
        metadata=flag("--colormap", "an OpenCV colour map", metavar="NAME", type=str)
    )
    baseline_m: float | None = field(
        metadata=flag("--baseline", "distance of the cameras [m]", metavar="M", type=number)
    )
    focal_px: float | None = field(
        metadata=flag("--focal-length", "focal length [px]", metavar="PX", type=number)
    )
    calibration: str | None = field(
        default=None,
        metadata=flag(
            "--calibration",
            "calib.txt (Middlebury), K.txt or an OpenCV .yml, instead of the two numbers",
            metavar="FILE",
            type=str,
        ),
    )
    align: str = field(
        default="auto",
        metadata=flag("--align", "mend pairs that are not rectified", choices=ALIGN),
    )
    swap: bool | None = field(
        default=None,
        metadata=flag("--swap", "exchange left and right; none: warn if it seems so", pair=True),
    )
    model_path: str | None = field(
        default=None,
        metadata=flag("--model-path", "use this network", metavar="FILE.onnx", type=str),
    )
    threads: int | None = field(
        default=None,
        metadata=flag("--threads", "processor threads; none: all", metavar="N", type=whole_number),
    )
    output_dir: str = field(
        default="output",
        metadata=flag("--output-dir", "where results go", metavar="DIR", type=str),
    )
    window: bool | None = field(
        default=None,
        metadata=flag("--window", "show the result; none: where there is a screen", pair=True),
    )
    overwrite: bool = field(
        default=False, metadata=flag("--overwrite", "replace results of an earlier run")
    )

    def __post_init__(self) -> None:
        for name in ("baseline_m", "focal_px", "max_distance"):
            _check_number(name, getattr(self, name, None))
        object.__setattr__(self, "iters", check_iters(self.iters))
        object.__setattr__(self, "model_shape", check_model_shape(self.model_shape))
        check_choice("version", self.version, VERSIONS)
        check_choice("device", self.device, DEVICES)
        check_choice("align", self.align, ALIGN)
        _check_colormap(self.colormap)
        for name in ("calibration", "output_dir"):  # a shell leaves the ~ of --name=~/x as it is
            if isinstance(path := getattr(self, name), str):
                object.__setattr__(self, name, expand_home(path))
        self._check_camera()
        check_threads(self.threads)
        _check_output_dir(self.output_dir)

    def camera_for(self, width_px: int) -> CameraConfig | None:
        """Return the camera for pictures `width_px` wide, None where none is set."""
        from crestereo.camera import CameraConfig, read_calibration  # noqa: PLC0415  slow: OpenCV

        if self.calibration is not None:
            camera = read_calibration(self.calibration, image_width_px=width_px)
            return camera.scaled_to(width_px)
        if self.baseline_m is None or self.focal_px is None:
            return None
        return CameraConfig(self.baseline_m, self.focal_px, width_px)

    def _check_camera(self) -> None:
        told = [value is not None for value in (self.baseline_m, self.focal_px)]
        if any(told) != all(told):
            raise UsageError(
                "a camera needs both a baseline [m] and a focal length [px]; give both or neither"
            )
        if self.calibration is not None and any(told):
            raise UsageError("give a calibration file, or baseline and focal length, not both")
        if self.calibration is not None and not Path(self.calibration).is_file():
            raise SourceError(f"there is no calibration file {self.calibration}; check the path")
        if all(told):
            self.camera_for(1)  # looks at the values


@dataclass(frozen=True, kw_only=True)
class VideoSettings(ImageSettings):
    """Hold the settings of a video of two eyes; see the block of the video scripts."""

    max_distance: float = field(
        metadata=flag("--max-distance", "depth of the darkest colour [m]", metavar="M", type=number)
    )
    warm_start: bool = field(
        default=False,
        metadata=flag("--warm-start", "start each frame from the last one's disparity (bundled)"),
    )
    save_video: bool = field(
        default=False,
        metadata=flag("--save-video", "write the video also where a window shows it"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < (self.max_distance or 0) <= LARGEST:  # None and NaN too
            raise UsageError(
                f"max_distance must be above zero metres and up to {LARGEST:,.0f}, not "
                f"{self.max_distance!r}"
            )


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise UsageError unless a setting is one of its choices."""
    if value not in choices:
        raise UsageError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def _check_number(name: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise UsageError(f"{name} must be a number or None, not {value!r}")


def _check_output_dir(folder: str) -> None:
    """Raise UsageError where the output folder is not and cannot be: before the work, not after."""
    path = Path(folder)
    try:
        there = nearest_existing(path)
    except OSError as exc:  # for example a name that is too long
        raise UsageError(f"{folder[:80]} cannot be a folder: {exc.strerror}") from exc
    if not there.is_dir():
        raise UsageError(f"{there} is a file; choose a folder for the output")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{there} cannot be written to; choose another folder for the output")


def _check_colormap(name: str) -> None:
    if name == "magma":  # known to be there; asking OpenCV would delay the first prompt
        return
    from crestereo.colormap import check_colormap  # noqa: PLC0415

    check_colormap(str(name))


LAYOUTS = (
    "auto",
    *(f"{form}_{size}" for form in ("sbs", "tb") for size in ("full", "half")),
    *(f"{form}_{size}_rl" for form in ("sbs", "tb") for size in ("full", "half")),
)
"""As `crestereo.layouts` knows them; that module would delay the first prompt."""


@dataclass(frozen=True, kw_only=True)
class TwoVideosSettings(VideoSettings):
    """Hold the settings of a left and a right video."""

    sync: str = field(
        default="auto",
        metadata=flag(
            "--sync-offset",
            "frames that the right video is behind, off, or auto: found from the motion",
            metavar="FRAMES",
            type=str,
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.sync_frames  # looks at the value

    @property
    def sync_frames(self) -> float | None:
        """Return the frames that the right video is behind, None where it is auto or off."""
        if self.sync in (AUTO, OFF):
            return None
        try:
            return number(str(self.sync))
        except UsageError as exc:
            raise UsageError(
                f"sync must be auto, off or a number of frames, not {self.sync!r}"
            ) from exc


@dataclass(frozen=True, kw_only=True)
class UnifiedVideoSettings(VideoSettings):
    """Hold the settings of a video that holds both eyes."""

    swap: bool | None = field(
        metadata=flag("--swap", "the left eye is on the right; none: ask", pair=True)
    )
    layout: str = field(
        default="auto",
        metadata=flag("--layout", "how the eyes share a frame", choices=LAYOUTS),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("layout", self.layout, LAYOUTS)


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
    overridden = dataclasses.replace(settings, **values, given=frozenset(values))
    reserve_stdout(overridden.json)
    return overridden, given


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
