"""What a script does once it knows its sources; everything heavy is imported here, late.

The first prompt of a script must not wait for OpenCV, ONNX Runtime or a window system, so a script
imports this module at once and this module the rest when a run begins.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

from crestereo.app.messages import Messages
from crestereo.app.models import LoadModel
from crestereo.app.options import ImageSettings
from crestereo.app.sources import Source


def estimate_pictures(
    left: Source, right: Source, load_model: LoadModel, settings: ImageSettings, messages: Messages
) -> None:
    """Open a pair of pictures, load the network, estimate, save and show; see `image_run`."""
    from crestereo.app.image_run import run_image
    from crestereo.app.pictures import open_picture_pair

    pair = open_picture_pair(left, right)
    run_image(pair, load_model(messages), settings, messages)
