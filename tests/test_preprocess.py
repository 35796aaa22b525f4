"""Images as arrays: another size for them."""

import numpy as np
import pytest

from crestereo.preprocess import resize_image


@pytest.mark.parametrize(
    ("image", "shape"),
    [((400, 2000), (480, 640)), ((2000, 600), (480, 640)), ((720, 1280), (480, 640))],
)
def test_a_side_that_shrinks_is_averaged_in_place_whatever_the_other_does(image, shape):
    height, width = image
    ramps = np.zeros((height, width, 3), np.uint8)
    ramps[..., 0] = np.linspace(0, 250, width)[None]
    ramps[..., 1] = np.linspace(0, 250, height)[:, None]
    small = resize_image(ramps, shape).astype(np.float64)
    assert small.shape == (*shape, 3)
    # Where the middle of each pixel lies in the image before.
    across = (np.arange(shape[1]) + 0.5) / shape[1] * 250
    down = (np.arange(shape[0]) + 0.5) / shape[0] * 250
    assert abs((small[..., 0].mean(0) - across)[5:-5].mean()) < 0.6  # bytes are cut, not rounded
    assert abs((small[..., 1].mean(1) - down)[5:-5].mean()) < 0.6


def test_a_side_that_shrinks_does_not_alias():
    stripes = np.zeros((100, 800, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.ptp(resize_image(stripes, (150, 100))) <= 1


def test_a_side_that_grows_is_interpolated_by_more_than_its_neighbours():
    """A sine of eight pixels a period, drawn at twice the width; linear interpolation errs by 6."""
    fine = 128 + 100 * np.sin((np.arange(160) + 0.5) / 16 * 2 * np.pi)
    coarse = 128 + 100 * np.sin((np.arange(80) + 0.5) / 8 * 2 * np.pi)
    image = np.broadcast_to(np.rint(coarse)[None, :, None], (20, 80, 3)).astype(np.uint8)
    large = resize_image(image, (40, 160)).astype(np.float64)
    assert np.abs(large[20, 8:-8, 0] - fine[8:-8]).max() < 4


def test_the_same_size_is_the_same_image():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    assert np.array_equal(resize_image(image, (40, 50)), image)
