"""Settings of the scripts and the command-line flags made from them.

The block at the top of a script holds the values its users edit; the console command takes the
defaults given here, and a test holds both equal.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_args, get_type_hints

from crestereo import __version__
from crestereo.app.prompts import MAX_NUMBER, number, seconds, two_numbers, whole_number
from crestereo.app.script import reserve_stdout
from crestereo.app.sources import check_output_dir, expand_home
from crestereo.errors import SourceError, UsageError
from crestereo.models import VERSIONS, check_iters, check_model_shape, parse_model_shape
from crestereo.session import DEVICES, check_threads

if TYPE_CHECKING:
    from crestereo.camera import Calibration

AUTO, ON, OFF = "auto", "on", "off"
RAW, RECTIFIED = "raw", "rectified"
MAX_FOV_DEG = 170  # of a rectified image

LAYOUTS = (
    "auto",
    *(f"{kind}_{size}" for kind in ("sbs", "tb") for size in ("full", "half")),
    *(f"{kind}_{size}_rl" for kind in ("sbs", "tb") for size in ("full", "half")),
)
"""Names of `crestereo.layouts`; importing that module would delay the first prompt."""

BOARDS = "chessboard", "charuco", "aprilgrid"
"""Kinds of `crestereo.boards`, for the same reason."""

VIEWS = ("side", "depth", "overlay", "sbs-depth")
DEPTH_FRAMES = (OFF, "png16", "ffv1", "npz")

AnySettings = TypeVar("AnySettings", bound="CommonSettings")


def setting(default: Any, help_text: str, **how: Any) -> Any:
    """Return a field whose flag is ``--its-name``."""
    return field(default=default, metadata={"help": help_text, **how})


@dataclass(frozen=True, kw_only=True)
class CommonSettings:
    """Settings of every script; an invalid value raises UsageError."""

    json: bool = setting(False, "print a summary as JSON on standard output")
    debug: bool = setting(False, "show details and the traceback of an error")
    given: frozenset[str] = frozenset()  # names of the settings that a flag has overridden

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        for item in dataclasses.fields(self):
            value, choices = getattr(self, item.name), item.metadata.get("choices")
            _check_type(item.name, value, kinds[item.name])
            if choices and value not in choices:
                raise UsageError(f"{item.name} must be one of {', '.join(choices)}, not {value!r}")
            if isinstance(value, str) and item.metadata.get("metavar") in ("FILE", "DIR"):
                # a shell does not expand the ~ of --name=~/x
                object.__setattr__(self, item.name, expand_home(value))


@dataclass(frozen=True, kw_only=True)
class ImageSettings(CommonSettings):
    """Settings of an estimation; see the block of ``image_depth_estimation.py``."""

    iters: int = setting(10, "refinement steps", metavar="N", type=whole_number)
    model_shape: tuple[int, int] = setting(
        (720, 960), "height x width the network works at", metavar="HxW", type=parse_model_shape
    )
    version: str = setting(
        AUTO,
        "network: lite is bundled, init and combined are downloaded, auto never downloads",
        choices=VERSIONS,
        flags=("--model-version",),  # --version prints the program's
    )
    model_path: str | None = setting(None, "ONNX file of another network", metavar="FILE")
    device: str = setting(AUTO, "device that runs the network", choices=DEVICES)
    threads: int | None = setting(
        None, "processor threads; none: all", metavar="N", type=whole_number
    )
    colormap: str = setting("magma", "colour map of OpenCV", metavar="NAME")
    max_distance: float | None = setting(
        None, "far end of the colours [m]; none: range of the scene", metavar="M", type=number
    )
    align: str = setting(
        AUTO, "auto: detect and correct misalignment; off: assume a rectified pair",
        choices=(AUTO, OFF),
    )  # fmt: skip
    swap: bool | None = setting(None, "exchange left and right; none: detected")
    baseline_m: float | None = setting(
        None, "distance of the cameras [m]", metavar="M", type=number, flags=("--baseline",)
    )
    focal_px: float | None = setting(
        None, "focal length [px]", metavar="PX", type=number, flags=("--focal-length",)
    )
    fov_deg: float | None = setting(
        None,
        "horizontal field of view [degrees], instead of the focal length",
        metavar="DEGREES",
        type=number,
        flags=("--fov",),
    )
    calibration: str | None = setting(
        None,
        "calibration file of the two cameras, or LEFT,RIGHT; kinds: docs/usage.md",
        metavar="FILE",
    )
    trust_calibration: bool = setting(
        False, "give metres even where the images contradict the calibration"
    )
    output_grid: str = setting(
        RAW,
        "image that the results belong to where a calibration rectifies: raw or rectified",
        choices=(RAW, RECTIFIED),
    )
    known_length: str | None = setting(
        None,
        "two points of the left image and their distance, which gives metres without a baseline",
        metavar="ROW,COL,ROW,COL,METRES",
    )
    output_dir: str = setting("output", "folder of the results", metavar="DIR")
    overwrite: bool = setting(False, "replace results of an earlier run")
    save: bool = setting(True, "save the results; --no-save only shows them")
    window: bool | None = setting(None, "show the result; none: where there is a screen")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "iters", check_iters(self.iters))
        object.__setattr__(self, "model_shape", check_model_shape(self.model_shape))
        if self.max_distance is not None and not 0 < self.max_distance <= MAX_NUMBER:
            raise UsageError(
                f"max_distance must be None or metres from 0 to {MAX_NUMBER:,.0f}, not "
                f"{self.max_distance!r}"
            )
        _check_colormap(self.colormap)
        self._check_camera()
        check_threads(self.threads)
        check_output_dir(self.output_dir)

    def calibration_for(
        self, shape: tuple[int, int], recorded_focal_px: float | None = None
    ) -> Calibration | None:
        """Return the calibration of images (H, W), None where none is known.

        `recorded_focal_px`: what their camera recorded, for want of a setting.
        """
        from crestereo.camera import Calibration, CameraConfig  # slow to import

        width = shape[1]
        if self.calibration is not None:
            from crestereo.camera_files import read_calibration  # slow to import

            found = read_calibration(self.calibration, image_shape=shape)
        else:
            focal_px = self.focal_px or recorded_focal_px
            if self.fov_deg is not None:
                focal_px = width / 2 / math.tan(math.radians(self.fov_deg) / 2)
            if focal_px is None:
                self.check_scale()
                return None
            found = Calibration(CameraConfig(1.0, focal_px, width), relative=True)
        if self.baseline_m is not None:
            found = found.with_baseline(self.baseline_m)
        return found.fitted(shape)

    @property
    def length(self) -> tuple[tuple[int, int], tuple[int, int], float] | None:
        """Return two points (row, column) and their distance [m] of `known_length`."""
        if self.known_length is None:
            return None
        try:
            *places, length_m = (number(part) for part in self.known_length.split(","))
            row, column, other_row, other_column = (int(place) for place in places)
        except ValueError as exc:
            raise UsageError(
                f"known_length must be ROW,COL,ROW,COL,METRES, not {self.known_length!r}"
            ) from exc
        if (row, column) == (other_row, other_column) or length_m <= 0:
            raise UsageError(f"known_length needs two points apart, not {self.known_length!r}")
        return (row, column), (other_row, other_column), length_m

    def _check_camera(self) -> None:
        """Check what describes the cameras."""
        for name in ("baseline_m", "focal_px"):
            if (value := getattr(self, name)) is not None and not 0 < value <= MAX_NUMBER:
                raise UsageError(f"{name} must be above 0, not {value!r}")
        if self.fov_deg is not None and not 0 < self.fov_deg < MAX_FOV_DEG:
            raise UsageError(f"fov_deg must be from 0 to {MAX_FOV_DEG}, not {self.fov_deg!r}")
        lenses = sum(v is not None for v in (self.focal_px, self.fov_deg, self.calibration))
        scales = (self.baseline_m is not None) + (self.length is not None)
        if lenses > 1:
            raise UsageError("give one of a calibration file, a focal length and a field of view")
        if scales > 1:
            raise UsageError("give a baseline or a known length, not both")
        if self.focal_px is not None and not scales:
            raise UsageError("a focal length needs a baseline [m] too, or a known length")
        if self.calibration is not None:
            from crestereo.camera_files import calibration_files  # slow to import

            names = calibration_files(self.calibration)
            if missing := [name for name in names if not Path(name).is_file()]:
                raise SourceError(f"there is no calibration file {missing[0]}; check the path")

    @property
    def lens_is_set(self) -> bool:
        """Return whether a setting gives a focal length."""
        return any(v is not None for v in (self.focal_px, self.fov_deg, self.calibration))

    def check_scale(self) -> None:
        """Check that what gives a scale comes with a focal length."""
        if (self.baseline_m is not None or self.length is not None) and not self.lens_is_set:
            raise UsageError("metres need a focal length, a field of view or a calibration too")


@dataclass(frozen=True, kw_only=True)
class VideoSettings(ImageSettings):
    """Settings of a stereo video; see the blocks of the video scripts."""

    iters: int = setting(5, "refinement steps", metavar="N", type=whole_number)
    model_shape: tuple[int, int] = setting(
        (240, 320), "height x width the network works at", metavar="HxW", type=parse_model_shape
    )
    codec: str = setting("libx264", "encoder of FFmpeg for the video", metavar="NAME")
    crf: int = setting(18, "quality of the video, 0 best to 51", metavar="N", type=whole_number)
    view: str = setting(
        "side",
        "frames of the video: left and depth side by side, depth alone, depth over the left view, "
        "or left view and grey depth for 2.5-D players",
        choices=VIEWS,
    )
    start: float | None = setting(
        None, "time of the first frame, as 0:30 or seconds", metavar="TIME", type=seconds
    )
    end: float | None = setting(
        None, "time of the end, as 1:10 or seconds", metavar="TIME", type=seconds
    )
    every: int = setting(1, "estimate every Nth frame", metavar="N", type=whole_number)
    depth_frames: str = setting(
        OFF, "save the map of each frame too, 16 bit: disparity, or millimetres with a camera",
        choices=DEPTH_FRAMES,
    )  # fmt: skip
    resume: bool = setting(False, "continue an interrupted run of the same settings")
    warm_start: bool = setting(
        False, "start each frame from the disparity of the last one (bundled network)"
    )
    steady: str = setting(
        AUTO, "filter the depth over time; auto: of recordings, not of cameras",
        choices=(AUTO, ON, OFF),
    )  # fmt: skip
    camera_size: tuple[int, int] | None = setting(
        None, "width x height asked of a camera [px]", metavar="WxH", type=two_numbers
    )
    camera_fps: float | None = setting(
        None, "frames per second asked of a camera", metavar="FPS", type=number
    )
    cookies_from_browser: str | None = setting(
        None, "let yt-dlp use the cookies of this browser", metavar="BROWSER"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.crf <= 51:
            raise UsageError(f"crf must be a whole number from 0 to 51, not {self.crf!r}")
        if self.every < 1:
            raise UsageError(f"every must be 1 or more, not {self.every!r}")
        self.check_scale()  # images may record a focal length, videos do not
        begin_s, end_s = self.start or 0.0, math.inf if self.end is None else self.end
        if not 0 <= begin_s < end_s:
            raise UsageError(f"start ({begin_s:g} s) must be before end ({end_s:g} s), from 0 on")
        sides = (1, 1) if self.camera_size is None else self.camera_size
        if [type(side) for side in sides] != [int, int] or min(sides) < 1:
            raise UsageError(f"camera_size must be None or (width, height), not {sides!r}")
        if self.camera_fps is not None and self.camera_fps <= 0:
            raise UsageError(f"camera_fps must be above 0, not {self.camera_fps!r}")
        if self.resume and not self.save:
            raise UsageError("resume needs the saved video; leave out --no-save")


@dataclass(frozen=True, kw_only=True)
class TwoVideosSettings(VideoSettings):
    """Settings of a left and a right video."""

    sync: str | float = setting(
        AUTO,
        "frames the right video is behind, off, or auto: estimated",
        metavar="FRAMES",
        flags=("--sync-offset",),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.sync_frames  # checks the value

    @property
    def sync_frames(self) -> float | None:
        """Return the frames the right video is behind, None if auto."""
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
    """Settings of one video that holds both views."""

    swap: bool | None = setting(None, "the left view is on the right; none: ask")
    layout: str = setting(AUTO, "position of the views in a frame", choices=LAYOUTS)


@dataclass(frozen=True, kw_only=True)
class CalibrateSettings(CommonSettings):
    """Settings of a calibration."""

    board: str = setting("chessboard", "kind of the board", choices=BOARDS)
    board_shape: tuple[int, int] = setting(
        (6, 9),
        "rows x columns: inner corners of a chessboard, squares of a ChArUco board, tags of an "
        "AprilGrid",
        metavar="RxC",
        type=two_numbers,
    )
    square_mm: float = setting(
        25.0, "side of a square or a tag, as measured [mm]", metavar="MM", type=number
    )
    print_board: str | None = setting(
        None, "write the board to scale as .pdf or .png, and end", metavar="FILE"
    )
    self_calibrate: bool = setting(
        False, "without a board: rotation and zoom from scenes of any kind; depth stays relative"
    )
    sync: str = setting(AUTO, "two videos: estimate their time offset", choices=(AUTO, OFF))
    layout: str = setting(
        "sbs_full", "one video or folder: position of the views in a frame", choices=LAYOUTS[1:]
    )
    output: str = setting("calibration.yml", "calibration file to write", metavar="FILE")
    overwrite: bool = setting(False, "replace a calibration that exists")
    window: bool | None = setting(None, "show the search; none: where there is a screen")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_output_dir(str(Path(self.print_board or self.output).absolute().parent))


def read_settings(
    kind: type[AnySettings],
    block: Mapping[str, Any],
    description: str | None,
    sources: Sequence[str],
    argv: Sequence[str] | None = None,
) -> tuple[AnySettings, list[str | None]]:
    """Combine a script's block of settings with the command line."""
    flags = [item for item in dataclasses.fields(kind) if item.metadata]
    asked = "" if kind is CalibrateSettings else " (prompted for if omitted)"
    defaults = {item.name: block.get(item.name, item.default) for item in flags}
    parser = _Parser(
        description=(description or "").strip().partition("\n")[0],
        allow_abbrev=False,
    )
    for name in sources:
        parser.add_argument(name, nargs="?", metavar=name.upper(), help=f"path or URL{asked}")
    hints = get_type_hints(kind)
    for item in flags:
        _add_flag(parser, item, hints[item.name], defaults[item.name])
    version = f"crestereo {__version__}"
    parser.add_argument(
        "--version", action="version", version=version, help="print the version and exit"
    )
    values = vars(parser.parse_args(argv))
    given = [values.pop(name) for name in sources]
    settings = kind(**{**defaults, **values}, given=frozenset(values))
    reserve_stdout(settings.json)
    return settings, given


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; --help lists what there is")


def _add_flag(
    parser: argparse.ArgumentParser, item: dataclasses.Field[Any], kind: Any, default: object
) -> None:
    how = {key: item.metadata[key] for key in ("metavar", "choices") if key in item.metadata}
    names = [f"--{item.name.replace('_', '-')}", *item.metadata.get("flags", ())]
    if item.name == "version":
        names = names[1:]
    if kind is bool and not default:
        how["action"] = "store_true"
    elif kind in (bool, bool | None):
        how["action"] = argparse.BooleanOptionalAction
    elif "type" in item.metadata:
        how["type"] = _naming_its_flag(item.metadata["type"])
    help_text = f"{item.metadata['help']} (default: {_shown(default)})".replace("%", "%%")
    parser.add_argument(*names, dest=item.name, default=argparse.SUPPRESS, help=help_text, **how)


def _naming_its_flag(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser whose errors argparse prefixes with the flag."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except UsageError as exc:
            raise argparse.ArgumentTypeError(f"{exc}") from exc

    return convert


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "x".join(str(side) for side in value)
    return "none" if value is None else str(value)


def _check_type(name: str, value: object, kind: Any) -> None:
    allowed = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if name in ("iters", "model_shape", "camera_size", "board_shape", "given"):  # own checks
        return
    accepted = (*allowed, int) if float in allowed else allowed
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in allowed):
        words = {bool: "True or False", str: "a text", int: "a whole number", float: "a number"}
        wanted = [words[each] for each in allowed if each is not NoneType]
        wanted += ["None"] if NoneType in allowed else []
        raise UsageError(f"{name} must be {' or '.join(wanted)}, not {value!r}")


def _check_colormap(name: str) -> None:
    if name == "magma":  # known; asking OpenCV would delay the first prompt
        return
    from crestereo.colormap import check_colormap  # slow to import

    check_colormap(name)
