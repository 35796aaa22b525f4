"""What a script does once it knows its sources; everything heavy is imported here, late.

The first prompt of a script must not wait for OpenCV, ONNX Runtime or a window system, so a script
imports this module at once and this module the rest when a run begins.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

from crestereo.app.messages import Messages
from crestereo.app.models import LoadModel
from crestereo.app.options import ImageSettings, UnifiedVideoSettings, VideoSettings
from crestereo.app.prompts import SWAP, ask_yes_no
from crestereo.app.sources import Source, pair_name


def estimate_pictures(
    left: Source, right: Source, load_model: LoadModel, settings: ImageSettings, messages: Messages
) -> None:
    """Open a pair of pictures, load the network, estimate, save and show; see `image_run`."""
    from crestereo.app.image_run import run_image
    from crestereo.app.pictures import open_picture_pair

    pair = open_picture_pair(left, right)
    run_image(pair, load_model(messages), settings, messages)


def estimate_two_videos(
    left: Source, right: Source, load_model: LoadModel, settings: VideoSettings, messages: Messages
) -> None:
    """Open a left and a right video, load the network, estimate and show; see `video_run`."""
    from crestereo.app.openers import open_video
    from crestereo.app.pairing import TwoVideos
    from crestereo.app.video_run import run_video

    near = settings.model_shape[0]
    stream = TwoVideos(open_video(left, near), open_video(right, near), pair_name(left, right))
    run_video(stream, load_model(messages), settings, messages)


def estimate_one_video(
    source: Source,
    load_model: LoadModel,
    settings: UnifiedVideoSettings,
    messages: Messages,
) -> None:
    """Open a side-by-side video, ask for its order where it is not set, estimate and show."""
    from crestereo.app.openers import open_video
    from crestereo.app.pairing import OneVideo
    from crestereo.app.video_run import run_video

    video = open_video(source, settings.model_shape[0])
    swap = settings.swap
    if swap is None:
        swap = ask_yes_no(SWAP, messages, default=False)
    stream = OneVideo(video, source.stem, swap=swap)
    run_video(stream, load_model(messages), settings, messages)


def compare_pictures(first: Source, second: Source, messages: Messages) -> None:
    """Open two pictures and say how different they are; see `comparison`."""
    from crestereo.app.comparison import compare_and_tell
    from crestereo.app.pictures import open_picture

    compare_and_tell(open_picture(first), open_picture(second), messages)
