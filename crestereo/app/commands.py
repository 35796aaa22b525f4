"""Commands that the scripts and the console command ``crestereo`` run.

Nothing slow is imported before the first prompt: OpenCV, PyAV and ONNX Runtime come with the
first answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from crestereo import __version__
from crestereo.app import prompts
from crestereo.app.prompts import ask, partner_or_sample, sample
from crestereo.app.script import run_script, say
from crestereo.app.settings import (
    CalibrateSettings,
    CommonSettings,
    ImageSettings,
    TwoVideosSettings,
    UnifiedVideoSettings,
    VideoSettings,
    read_settings,
)
from crestereo.app.sources import parse_image, parse_video
from crestereo.errors import ModelFileError, UsageError
from crestereo.models import ModelChoice, choose_model, iters_in_name, models_dir
from crestereo.session import check_installed, check_is_file

if TYPE_CHECKING:
    from crestereo.app.images import ImageFile
    from crestereo.app.video import Video
    from crestereo.estimator import CREStereo

LoadModel = Callable[[], "CREStereo"]
"""Opens the chosen network and prints a line about it."""

Given = Sequence[str | None]
"""Sources named on the command line, None where the user is asked."""

_HELP = {
    "image": "Estimate depth from a left and a right image, save it and show it.",
    "videos": "Estimate depth from a left and a right video, save it and show it.",
    "video": "Estimate depth from one video that holds both views, save it and show it.",
    "compare": "Print how different two images are.",
    "calibrate": "Calibrate two cameras with images or videos of a board.",
    "download": "Download published CREStereo models.",
}
IMAGE_SAMPLES = "input_files/table_left.png", "input_files/table_right.png"
VIDEO_SAMPLES = "input_files/clip1_left.mp4", "input_files/clip1_right.mp4"
STEREO_SAMPLE = "input_files/street_SBS.mp4"


def estimate_images(
    settings: ImageSettings, given: Given, samples: tuple[str, str] = IMAGE_SAMPLES
) -> None:
    """Estimate the depth of two images, or of one with both views."""
    load_model = _choose_network(settings)
    alone = given[1] in (None, given[0])  # it may hold both views
    open_left = partial(_open_image, both_views=alone)
    left = ask(prompts.LEFT_IMAGE, open_left, given[0], default=sample(samples[0]))
    from crestereo.app import images, run_image  # slow to import

    if left.right is not None:
        pair = images.pair_of(left)
    else:
        pair = ask(
            prompts.RIGHT_IMAGE,
            lambda text: images.pair_of(left, _open_image(text)),
            given[1],
            default=partner_or_sample(left.source, samples),
        )
    run_image.run_image(pair, load_model(), settings)


def estimate_videos(
    settings: TwoVideosSettings, given: Given, samples: tuple[str, str] = VIDEO_SAMPLES
) -> None:
    """Estimate the depth of a left and a right video."""
    load_model = _choose_network(settings)
    open_one = _video_opener(settings, settings.model_shape[0])
    left = ask(prompts.LEFT_VIDEO, open_one, given[0], default=sample(samples[0]))
    from crestereo.app import run_video, stereo_video  # slow to import

    def open_right(text: str) -> Video:
        right = open_one(text)
        stereo_video.check_sizes(left, right)
        return right

    default = partner_or_sample(left.source, samples)
    right = ask(prompts.RIGHT_VIDEO, open_right, given[1], default=default)
    stream = stereo_video.pair_videos(left, right, settings)
    run_video.run_video(stream, load_model(), settings)


def estimate_video(
    settings: UnifiedVideoSettings, given: Given, video_sample: str = STEREO_SAMPLE
) -> None:
    """Estimate the depth of one video that holds both views."""
    load_model = _choose_network(settings)
    open_one = _video_opener(settings, 2 * settings.model_shape[0])  # a view may be half a frame
    video = ask(prompts.STEREO_VIDEO, open_one, given[0], default=sample(video_sample))
    from crestereo.app import run_video, stereo_video  # slow to import

    stream = stereo_video.split_video(video, settings)
    run_video.run_video(stream, load_model(), settings)


def compare_images(
    settings: CommonSettings, given: Given, samples: tuple[str, str] = IMAGE_SAMPLES
) -> None:
    """Print how different two images are."""
    del settings  # all are about the output, see `read_settings`
    first = ask(prompts.FIRST_IMAGE, _open_image, given[0], default=sample(samples[0]))
    default = partner_or_sample(first.source, samples)
    second = ask(prompts.SECOND_IMAGE, _open_image, given[1], default=default)
    from crestereo.app.run_image import compare_images as compare  # slow to import

    compare(first, second)


def calibrate(settings: CalibrateSettings, given: Given) -> None:
    """Calibrate two cameras from images or videos of a board."""
    from crestereo.app import run_calibrate  # slow to import

    run_calibrate.run_calibrate([text for text in given if text is not None], settings)


_COMMANDS: dict[str, tuple[Any, ...]] = {  # function, settings, sources
    "image": (estimate_images, ImageSettings, "left", "right"),
    "videos": (estimate_videos, TwoVideosSettings, "left", "right"),
    "video": (estimate_video, UnifiedVideoSettings, "video"),
    "compare": (compare_images, CommonSettings, "image1", "image2"),
    "calibrate": (calibrate, CalibrateSettings, "left", "right"),
}


def main() -> NoReturn:
    """Run the console command ``crestereo``."""
    run_script(_dispatch)


def _dispatch() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in _HELP:
        _show_help(name)
        return
    sys.argv = [f"crestereo {name}", *sys.argv[2:]]  # argparse names itself after it
    if name == "download":
        from crestereo.app.download import run_download  # slow to import

        run_download()
        return
    run, kind, *sources = _COMMANDS[name]
    run(*read_settings(kind, {}, _HELP[name], sources))


def _show_help(name: str) -> None:
    if name not in ("", "-h", "--help", "--version"):
        raise UsageError(f"there is no command {name!r}; choose one of {', '.join(_HELP)}")
    print(f"crestereo {__version__}")
    if name != "--version":
        print("usage: crestereo COMMAND [--help | arguments]\n")
        for command, text in _HELP.items():
            print(f"  {command:11}{text}")


def _open_image(text: str, *, both_views: bool = False) -> ImageFile:
    source = parse_image(text)
    from crestereo.app.images import open_image  # slow to import

    return open_image(source, both_views=both_views)


def _video_opener(settings: VideoSettings, height: int) -> Callable[[str], Video]:
    def open_one(text: str) -> Video:
        source = parse_video(text)
        from crestereo.app.video import open_video  # slow to import

        return open_video(
            source,
            height,
            cookies_from_browser=settings.cookies_from_browser,
            camera_size=settings.camera_size,
            camera_fps=settings.camera_fps,
        )

    return open_one


def _choose_network(settings: ImageSettings) -> LoadModel:
    """Choose the network for the settings and return what opens it."""
    check_installed(settings.device)
    if settings.model_path is None:
        choice = choose_model(settings.version, settings.iters, settings.model_shape)
        return partial(_open_chosen, choice, settings)
    path = Path(settings.model_path)
    if not path.is_file():
        raise ModelFileError(f"there is no model file {path}; check --model-path")
    check_is_file(path)
    return partial(_open_own, path, settings)


def _open_chosen(choice: ModelChoice, settings: ImageSettings) -> CREStereo:
    path = choice.path
    if path is None:
        from crestereo.app.download import fetch_models  # heavy

        path = fetch_models([choice.spec], models_dir())[0]
    estimator = _open(path, settings, settings.iters, settings.model_shape)
    say(f"{choice.note}; runs on {estimator.provider}")
    return estimator


def _open_own(path: Path, settings: ImageSettings) -> CREStereo:
    """Open a model file; its own settings precede the script's."""
    iters = settings.iters if "iters" in settings.given else None
    shape = settings.model_shape if "model_shape" in settings.given else None
    estimator = _open(path, settings, iters, shape)
    free_iters = estimator.iters is not None and iters_in_name(path.name) is None
    free_shape = estimator.shape is None
    if free_iters or free_shape:
        iters = settings.iters if free_iters else iters
        shape = settings.model_shape if free_shape else shape
        estimator = _open(path, settings, iters, shape)
    say(f"model: {path.name}; runs on {estimator.provider}")
    return estimator


def _open(
    path: Path, settings: ImageSettings, iters: int | None, shape: tuple[int, int] | None
) -> CREStereo:
    from crestereo.estimator import CREStereo  # heavy

    return CREStereo(
        path,
        iters=iters,
        model_shape=shape,
        device=settings.device,
        threads=settings.threads,
    )
