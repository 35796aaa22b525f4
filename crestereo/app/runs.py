"""What a script does once it knows its sources; everything heavy is imported here, late.

The first prompt of a script must not wait for OpenCV, ONNX Runtime or a window system, so a script
imports this module at once and this module the rest when a run begins.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

from dataclasses import replace

from crestereo.app.messages import Messages
from crestereo.app.models import LoadModel
from crestereo.app.options import ImageSettings
from crestereo.app.prompts import SWAP, ask_yes_no
from crestereo.app.sources import Source, pair_name
from crestereo.app.video_options import TwoVideosSettings, UnifiedVideoSettings


def estimate_pictures(
    left: Source, right: Source, load_model: LoadModel, settings: ImageSettings, messages: Messages
) -> None:
    """Open a pair of pictures, load the network, estimate, save and show; see `image_run`."""
    from crestereo.app.image_run import run_image
    from crestereo.app.pictures import open_picture_pair
    from crestereo.app.preparing import prepare_pictures

    pair = open_picture_pair(left, right)
    run_image(pair, load_model(messages), settings, messages, prepare_pictures(settings))


def estimate_two_videos(
    left: Source,
    right: Source,
    load_model: LoadModel,
    settings: TwoVideosSettings,
    messages: Messages,
) -> None:
    """Open a left and a right video, load the network, estimate and show; see `video_run`."""
    from crestereo.app.beginnings import beginning_of_two, choose_offset_s
    from crestereo.app.openers import open_video
    from crestereo.app.pairing import TwoVideos
    from crestereo.app.pictures import check_same_size
    from crestereo.app.preparing import prepare_video
    from crestereo.app.video_run import run_video

    near = settings.model_shape[0]
    videos = open_video(left, near), open_video(right, near)
    check_same_size(videos[0].size, videos[1].size)
    offset_s = choose_offset_s((left, right), videos, settings, messages)
    name = pair_name(replace(left, title=videos[0].title), replace(right, title=videos[1].title))
    stream = TwoVideos(*videos, name, offset_s=offset_s)
    prepare = prepare_video(settings, beginning_of_two(left, right, offset_s))
    run_video(stream, load_model(messages), settings, messages, prepare)


def estimate_one_video(
    source: Source,
    load_model: LoadModel,
    settings: UnifiedVideoSettings,
    messages: Messages,
) -> None:
    """Open a video of both eyes, ask for its order where it is not set, estimate and show."""
    from crestereo.app.beginnings import choose_layout, with_order
    from crestereo.app.openers import open_video
    from crestereo.app.pairing import OneVideo
    from crestereo.app.preparing import prepare_video
    from crestereo.app.video_run import run_video

    video = open_video(source, 2 * settings.model_shape[0])  # half of a frame may be one eye
    source = replace(source, title=video.title)
    layout, pairs, found = choose_layout(source, video, settings, messages)
    swap = settings.swap
    if swap is None:
        swap = ask_yes_no(SWAP, messages, default=bool(found))
    stream = OneVideo(video, source.stem, swap=swap, layout=layout)
    prepare = prepare_video(settings, with_order(pairs, swap))
    run_video(stream, load_model(messages), settings, messages, prepare)


def compare_pictures(first: Source, second: Source, messages: Messages) -> None:
    """Open two pictures and say how different they are; see `comparison`."""
    from crestereo.app.comparison import compare_and_tell
    from crestereo.app.pictures import open_picture

    compare_and_tell(open_picture(first), open_picture(second), messages)
