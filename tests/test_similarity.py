"""Three distances of images: 0 for the same, and each sees what it should."""

import cv2
import numpy as np
import pytest

from crestereo import SourceError, UsageError
from crestereo.similarity import compare, histogram_distance, pixel_difference, structure_distance


@pytest.fixture
def image():
    noise = np.random.default_rng(5).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, ksize=(0, 0), sigmaX=2)
    return cv2.normalize(smooth, None, alpha=0, beta=255, norm_type=cv2.NORM_MINMAX)


def test_the_same_image_is_exactly_zero(image):
    result = compare(image, image.copy())
    assert (result.histogram, result.structure, result.pixels) == (0.0, 0.0, 0.0)
    assert not result.resized


def test_images_without_a_common_colour_are_at_distance_one():
    red, blue = np.zeros((2, 10, 10, 3), np.uint8)
    red[..., 2] = blue[..., 0] = 255
    assert histogram_distance(red, blue) == 1.0


def test_half_a_common_colour_gives_the_bhattacharyya_distance():
    """All red, and red and blue half each: min-max normalisation makes (1, 0) and (1, 1)."""
    red = np.zeros((10, 10, 3), np.uint8)
    red[..., 2] = 255
    mixed = red.copy()
    mixed[:5] = (255, 0, 0)
    expected = np.sqrt(1 - 1 / np.sqrt(1 * 2))
    assert histogram_distance(red, mixed) == pytest.approx(expected, abs=1e-6)


def test_the_histogram_does_not_see_places_but_the_others_do(image):
    flipped = image[::-1].copy()
    assert histogram_distance(image, flipped) == pytest.approx(0, abs=1e-6)
    assert structure_distance(image, flipped) > 0.5
    assert pixel_difference(image, flipped) > 0.05


def test_pixel_difference_is_a_share_of_the_full_range():
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert pixel_difference(black, white) == 1.0
    half = black.copy()
    half[:4] = 255
    assert pixel_difference(black, half) == pytest.approx(np.sqrt(0.5))


def test_black_and_white_contradict_their_histograms(image):
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    difference = compare(black, white)
    assert difference.histogram == pytest.approx(0, abs=1e-6)  # both without hue and saturation
    assert difference.contradicted
    assert not compare(image, image).contradicted


def test_grey_images_of_different_scenes_contradict_their_histograms(image):
    grey = np.repeat(image[..., :1], 3, axis=2)
    difference = compare(grey, np.rot90(grey, 2).copy())
    assert difference.histogram < 1e-6
    assert difference.contradicted


def test_structure_falls_with_noise(image):
    noise = np.random.default_rng(6).normal(0, 1, image.shape)
    little, much = (np.clip(image + noise * s, 0, 255).astype(np.uint8) for s in (2, 20))
    assert 0 < structure_distance(image, little) < structure_distance(image, much)


def test_other_sizes_are_resized_and_said(image):
    larger = cv2.resize(image, (120, 80), interpolation=cv2.INTER_LINEAR)
    result = compare(image, larger)
    assert result.resized
    assert result.structure < 0.05
    assert result.pixels < 0.02
    for measure in (structure_distance, pixel_difference):
        with pytest.raises(SourceError, match="60x40 and 120x80"):
            measure(image, larger)


def test_what_is_no_image_is_named(image):
    with pytest.raises(UsageError, match=r"first image is None, which cv2\.imread"):
        compare(None, image)
    with pytest.raises(UsageError, match=r"second image must be .*COLOR_GRAY2BGR"):
        compare(image, image[..., 0])
    with pytest.raises(UsageError, match=r"second image must be .*COLOR_BGRA2BGR"):
        compare(image, np.dstack([image, image[..., 0]]))
    with pytest.raises(SourceError, match="second image is empty"):
        compare(image, image[:0])


def test_images_below_the_window_of_ssim_are_refused():
    tiny = np.zeros((5, 5, 3), np.uint8)
    with pytest.raises(SourceError, match="5x5 is too small"):
        structure_distance(tiny, tiny)
