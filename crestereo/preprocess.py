"""From pictures to the network's input, and from its output back to the picture's grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .geometry import resize_disparity
from .images import resize_image
from .model_files import ChannelOrder
from .settings import MIN_SIDE_PX
from .types import BGRImage, ConfidenceMap, DisparityMap

Shape = tuple[int, int]


@dataclass(frozen=True)
class Fit:
    """Say how a picture lies in the network's input, and carry maps there and back.

    The picture is resized to `content` and continued to `canvas` on the right and at the bottom.

    Parameters
    ----------
    picture, content, canvas : (int, int)
        Height and width [px].
    """

    picture: Shape
    content: Shape
    canvas: Shape

    @staticmethod
    def squash(picture: Shape, shape: Shape) -> Fit:
        """Fill `shape` whatever the picture's form: what the published models are used with."""
        return Fit(picture, shape, shape)

    @staticmethod
    def keep_aspect(picture: Shape, limit: Shape | None) -> Fit:
        """Shrink to the area of `limit` with the form kept; never enlarge, but fill up to 64 px.

        The time is that of the area: a wide or an upright picture gets all of it.
        """
        scale = 1.0
        if limit is not None:
            scale = min(1.0, math.sqrt(limit[0] * limit[1] / (picture[0] * picture[1])))
        content = max(1, round(picture[0] * scale)), max(1, round(picture[1] * scale))
        return Fit(picture, content, (max(content[0], MIN_SIDE_PX), max(content[1], MIN_SIDE_PX)))

    def image_to_network(
        self, image: BGRImage, order: ChannelOrder, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Return a picture as the network wants it: (1, 3, H, W) of `dtype`, 0 to 255."""
        content = _pad(resize_image(image, self.content), self.canvas, cv2.BORDER_REPLICATE)
        planes = cv2.split(content)
        return np.stack(planes if order == "BGR" else planes[::-1])[None].astype(dtype)

    def prior_to_network(self, prior: DisparityMap) -> NDArray[np.float32]:
        """Return a disparity of the picture as (1, 1, H, W), in pixels of the network's input."""
        if prior.shape != self.picture:
            size = "x".join(str(side) for side in reversed(prior.shape))
            raise UsageError(
                f"the prior is {size}, but the left picture {self.picture[1]}x{self.picture[0]}; "
                "both need one size"
            )
        resized = resize_disparity(prior.astype(np.float32, copy=False), self.content)
        return _pad(resized, self.canvas, cv2.BORDER_CONSTANT, float("nan"))[None, None]

    def disparity_from_network(self, output: NDArray[np.float32]) -> DisparityMap:
        """Return the network's (H, W) disparity on the picture's grid, in the picture's pixels."""
        content = output[: self.content[0], : self.content[1]].astype(np.float32)
        content[~np.isfinite(content)] = np.nan
        return resize_disparity(content, self.picture)

    def confidence_from_network(self, output: NDArray[np.float32]) -> ConfidenceMap:
        """Return the network's (H, W) confidence on the picture's grid."""
        content = output[: self.content[0], : self.content[1]].astype(np.float32)
        if self.content == self.picture:
            return content
        size = self.picture[1], self.picture[0]
        resized = cv2.resize(content, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(resized, dtype=np.float32)


def _pad(values: NDArray[Any], shape: Shape, border: int, fill: float = 0.0) -> NDArray[Any]:
    bottom, right = shape[0] - values.shape[0], shape[1] - values.shape[1]
    if bottom == 0 and right == 0:
        return values
    padded = cv2.copyMakeBorder(
        values, top=0, bottom=bottom, left=0, right=right, borderType=border, value=fill
    )
    return np.asarray(padded)
