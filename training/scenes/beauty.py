"""High-quality rendering: supersampled colour, ground truth at pixel centres."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from training.scenes.camera import Camera, Vector
from training.scenes.lighting import Atmosphere
from training.scenes.motion import depth_of
from training.scenes.raster import paint_view
from training.scenes.scene import Sample, finish_pair
from training.scenes.surfaces import Surface
from training.scenes.textures import Image

SUPERSAMPLING = 2


def fine_camera(camera: Camera) -> Camera:
    """Return the camera of the supersampled images; scenes are composed for it."""
    n = SUPERSAMPLING
    return Camera(camera.height * n, camera.width * n, camera.focal * n, camera.position)


def daylight(light: Vector, level: float = 128.0) -> Atmosphere:
    """Return light from one direction with fine shadows and vignetting."""
    ys, xs = np.mgrid[-1:1:24j, -1:1:32j]
    shade = (1.04 - 0.16 * (xs * xs + 0.6 * ys * ys)).astype(np.float32)
    return Atmosphere(
        shade=shade,
        light=light,
        shadow=0.5,
        reach=0.16,
        softness=1.5,
        level=level,
        optics=0.5,
        fog=(235.0, 230.0, 225.0),
        density=0.0,
        reflection=None,
        reflecting=0,
        strength=0.0,
        layer_part=0.0,
        shadow_grid=(640, 28),
    )


def render_fine(
    surfaces: list[Surface], camera: Camera, baseline: float, atmosphere: Atmosphere
) -> Sample:
    """Render a pair with a given baseline.

    Parameters
    ----------
    surfaces : list of Surface
        In any order.
    camera : Camera
        Left camera, at the size of the result.
    baseline : float
        World units.
    atmosphere : Atmosphere

    Returns
    -------
    Sample
        Colours averaged over 2x2 subpixels; ground truth of the rays through the pixel centres.
    """
    ordered = sorted(surfaces, key=depth_of, reverse=True)
    plain = [
        paint_view(replace(camera, position=position), ordered) for position in (0.0, baseline)
    ]
    exact = finish_pair(plain[0], plain[1], baseline, camera, None)
    left, right = render_colours(ordered, camera, baseline, atmosphere)
    return replace(exact, left=left, right=right)


def render_colours(
    surfaces: list[Surface], camera: Camera, baseline: float, atmosphere: Atmosphere
) -> tuple[Image, Image]:
    """Render the images of a pair without ground truth, see `render_fine`."""
    ordered = sorted(surfaces, key=depth_of, reverse=True)
    fine = fine_camera(camera)
    views = [paint_view(replace(fine, position=position), ordered) for position in (0.0, baseline)]
    coloured = finish_pair(views[0], views[1], baseline, fine, atmosphere)
    return _shrink(coloured.left), _shrink(coloured.right)


def _shrink(image: Image) -> Image:
    size = (image.shape[1] // SUPERSAMPLING, image.shape[0] // SUPERSAMPLING)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
