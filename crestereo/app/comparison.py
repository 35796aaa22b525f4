"""How different two pictures are, in words."""

from __future__ import annotations

from dataclasses import asdict

from crestereo.app.messages import Messages
from crestereo.app.pictures import size_of
from crestereo.similarity import compare
from crestereo.types import BGRImage

HEADLINE = "How Different (0 = Same Image, 1 = Totally Different Image) : "


def compare_and_tell(first: BGRImage, second: BGRImage, messages: Messages) -> None:
    """Say how different two pictures are: their colours first, then what colours cannot tell.

    Parameters
    ----------
    first, second : (H, W, 3) uint8
        BGR pictures of any sizes.
    messages : Messages
        Where to say it.
    """
    difference = compare(first, second)
    messages.answer(f"{HEADLINE} {_six_digits(difference.histogram)}")
    messages.answer(f"Structure (1 - SSIM, 0 = same) :  {_six_digits(difference.structure)}")
    messages.answer(f"Pixels (RMSE of 0..1 values, 0 = same) :  {_six_digits(difference.pixels)}")
    sizes = [size_of(picture) for picture in (first, second)]
    if difference.resized:
        (w1, h1), (w2, h2) = sizes
        messages.say(
            f"the sizes differ, {w1}x{h1} and {w2}x{h2}: the second was resized for structure and "
            "pixels"
        )
    messages.summary({**asdict(difference), "sizes_px": sizes})


def _six_digits(value: float) -> float:
    """Return a value as it is shown: 0.0 for the same picture, as ever."""
    return float(f"{value:.6g}")
