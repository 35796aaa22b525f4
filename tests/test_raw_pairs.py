"""Raw pairs of a calibrated rig: rectified, rectified already, or contradicting the calibration."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from crestereo.app.align import Aligner
from crestereo.app.images import open_image, pair_of
from crestereo.app.settings import ImageSettings
from crestereo.app.sources import parse_image
from crestereo.camera import Calibration, CameraConfig, RawCamera, Rectification
from crestereo.errors import UsageError
from crestereo.geometry import baseline_of_length
from crestereo.types import BGRImage, StereoPair
from tools.lib.moving_scene import Stage

HEIGHT, WIDTH = SIZE = (240, 320)
CAMERA = CameraConfig(0.1, 300.0, WIDTH, 0.0, (159.5, 119.5), HEIGHT)
PINHOLE = (-0.25, 0.05, 0.001, -0.001, 0.01)
FISHEYE = (0.02, -0.01, 0.002, 0.0)


def rig(*, fisheye: bool = False, tilt_deg: float = 1.5) -> Rectification:
    """Return two cameras that are distorted, turned and rolled against each other."""
    projection = np.array([[300.0, 0, 159.5], [0, 300, 119.5], [0, 0, 1]])
    tilt = np.radians(tilt_deg)

    def camera(focal: float, x: float, y: float, turn: tuple[float, ...]) -> RawCamera:
        matrix = np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]])
        rotation = cv2.Rodrigues(np.array(turn))[0]
        return RawCamera(matrix, np.array(FISHEYE if fisheye else PINHOLE), rotation, projection)

    left = camera(290, 163, 117, (0.3 * tilt, -tilt, 0.2 * tilt))
    return Rectification(
        left, camera(285, 155, 123, (-tilt, tilt, -0.8 * tilt)), SIZE, fisheye=fisheye
    )


def rectified_pair() -> StereoPair:
    stage = Stage(3, SIZE)
    return StereoPair(stage.view(False)[0], stage.view(True)[0], "toy")


def raw_pair(cameras: Rectification) -> StereoPair:
    """Return the toy scene as the cameras see it, by the inverse of what is tested."""
    swapped = replace(cameras, left=cameras.right)
    pair = rectified_pair()

    def seen(image: BGRImage, pixels: NDArray[np.float32]) -> BGRImage:
        return np.asarray(cv2.remap(image, pixels, None, cv2.INTER_CUBIC), np.uint8)

    return StereoPair(seen(pair.left, cameras.pixels), seen(pair.right, swapped.pixels), "toy")


def settings_with(
    monkeypatch: pytest.MonkeyPatch, found: Calibration
) -> Callable[..., ImageSettings]:
    monkeypatch.setattr(ImageSettings, "calibration_for", lambda _, shape, __: found.fitted(shape))
    return partial(ImageSettings, fov_deg=60.0)  # stands for the file


@pytest.mark.parametrize("fisheye", [False, True])
def test_the_images_of_distorted_cameras_are_rectified(fisheye: bool) -> None:
    cameras, expected = rig(fisheye=fisheye), rectified_pair()
    given = raw_pair(cameras)
    for image, wanted in zip(
        cameras.apply(given.left, given.right), (expected.left, expected.right), strict=True
    ):
        inside = (slice(30, -30), slice(30, -30))
        difference = np.abs(image[inside].astype(float) - wanted[inside])
        assert np.median(difference) < 3
        shifted = np.abs(image[inside].astype(float) - np.roll(wanted, 1, axis=0)[inside])
        assert difference.mean() < 0.5 * shifted.mean()


@pytest.mark.parametrize("fisheye", [False, True])
def test_a_map_comes_back_on_the_grid_of_the_raw_image(fisheye: bool) -> None:
    # given a map of the rectified image that says where each of its pixels is
    cameras = rig(fisheye=fisheye)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    disparity = 5 + 0.02 * columns + 0.01 * rows
    # when it is mapped back
    restored = cameras.restore(disparity)
    # then the pixel of the raw image has the value of the ray that it sees (forward projection)
    rectified = np.array([[100.0, 80.0], [200.0, 150.0], [160.0, 60.0]])
    left = cameras.left
    rays = np.column_stack([rectified, np.ones(3)]) @ np.linalg.inv(left.projection).T
    rays = rays @ left.rotation  # back to the raw camera
    project = cv2.fisheye.projectPoints if fisheye else cv2.projectPoints
    raw, _ = project(rays[:, None], np.zeros(3), np.zeros(3), left.matrix, left.distortion)
    for (x, y), (u, v) in zip(rectified, raw.reshape(-1, 2), strict=True):
        patch = cv2.getRectSubPix(restored, (1, 1), (float(u), float(v)))
        assert patch[0, 0] == pytest.approx(5 + 0.02 * x + 0.01 * y, abs=0.02)
    assert np.isnan(cameras.restore(np.full(SIZE, 400, np.float32))).all()  # no such right column


def test_rays_from_behind_a_wide_fisheye_are_unknown() -> None:
    # given a fisheye of 60 px per radian: 160 px from its centre are 153 degrees from its axis
    matrix = np.array([[60.0, 0, 159.5], [0, 60, 119.5], [0, 0, 1]])
    camera = RawCamera(matrix, np.zeros(4), np.eye(3), matrix)
    wide = Rectification(camera, camera, SIZE, fisheye=True)
    # when a map is brought back to its image
    restored = wide.restore(np.zeros(SIZE, np.float32))
    # then it is known where the image sees what is ahead
    assert restored[120, 160] == 0
    assert np.isnan(restored[120, [0, 60, 260, 319]]).all()  # 89 degrees are 93 px


def test_the_maps_do_not_travel_with_a_copy_that_is_saved() -> None:
    cameras = rig()
    before = len(pickle.dumps(cameras))
    pair = rectified_pair()
    cameras.apply(pair.left, pair.right)
    assert len(pickle.dumps(cameras)) == before
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(cameras)).pixels, cameras.pixels)


@pytest.mark.parametrize("fisheye", [False, True])
def test_raw_images_are_rectified_and_results_are_on_the_raw_grid(
    monkeypatch: pytest.MonkeyPatch, fisheye: bool
) -> None:
    cameras = rig(fisheye=fisheye)
    settings = settings_with(monkeypatch, Calibration(CAMERA, cameras))
    given = raw_pair(cameras)
    aligner = Aligner(settings(), [given], still=True)
    ready = aligner(given)
    assert "rectified by the calibration" in aligner.remarks[0]
    assert aligner.camera == CAMERA
    np.testing.assert_array_equal(ready.original.left, given.left)
    flat = np.full(ready.aligned.left.shape[:2], 20, np.float32)
    shift = 0 if ready.aligned.plan is None else ready.aligned.plan.shift_px
    restored = ready.restore(flat - shift)
    assert np.nanmedian(restored) == pytest.approx(20)
    # the rectified grid is there when it is asked for
    ready = Aligner(settings(output_grid="rectified"), [given], still=True)(given)
    assert ready.rectification is None
    inside = (slice(30, -30), slice(30, -30))
    difference = np.abs(ready.original.left[inside].astype(float) - rectified_pair().left[inside])
    assert np.median(difference) < 3


def test_images_that_are_rectified_already_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_with(monkeypatch, Calibration(CAMERA, rig()))
    given = rectified_pair()
    aligner = Aligner(settings(), [given], still=True)
    assert aligner.remarks == ["the images are rectified already: not rectified by the calibration"]
    assert aligner.camera == CAMERA
    assert aligner(given).rectification is None


def test_metres_are_withheld_where_the_file_is_of_another_rig(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_with(monkeypatch, Calibration(CAMERA, rig(tilt_deg=-2)))
    given = raw_pair(rig())
    aligner = Aligner(settings(), [given], still=True)
    assert aligner.camera is None
    assert "px off their rows" in aligner.remarks[-1]
    assert "--trust-calibration" in aligner.remarks[-1]
    assert "pair: corrected" in aligner(given).note  # by its content instead
    trusting = Aligner(settings(trust_calibration=True), [given], still=True)
    assert trusting.camera == CAMERA
    assert "metres are kept" in trusting.remarks[-1]


def test_metres_are_withheld_where_disparities_are_impossible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a pair shifted for a comfortable view on a screen, and a camera without an offset
    settings = settings_with(monkeypatch, Calibration(CAMERA))
    pair = rectified_pair()
    given = replace(pair, right=np.roll(pair.right, 20, axis=1))
    # then half of the scene would be behind the cameras
    aligner = Aligner(settings(swap=False), [given], still=True)
    assert aligner.camera is None
    assert "behind the cameras" in aligner.remarks[-1]


def test_a_calibration_of_another_size_is_scaled_or_cropped() -> None:
    cameras = rig()
    calibration = Calibration(CAMERA, cameras)
    half = calibration.fitted((120, 160))
    assert half.notes == ()
    assert half.camera.focal_px == 150
    assert half.rectification is not None
    np.testing.assert_allclose(
        half.rectification.pixels[60, 80] * 2 + 0.5,
        (cameras.pixels[120, 160] + cameras.pixels[121, 161]) / 2, atol=0.02,
    )  # fmt: skip
    cut = calibration.fitted((240, 280))
    assert "20 px cropped at the left" in cut.notes[0]
    assert cut.camera.focal_px == 300
    assert cut.camera.principal_px == (139.5, 119.5)
    assert cut.rectification is not None
    np.testing.assert_allclose(
        cut.rectification.pixels[100, 50], cameras.pixels[100, 70] - [20, 0], atol=1e-3
    )


def test_images_of_a_few_rows_less_stay_so() -> None:
    """Video encoders cut rows: 1088 to 1080, here 240 to 238."""
    maps = Calibration(CAMERA, rig()).fitted((238, WIDTH)).rectification
    assert maps is not None
    image = np.zeros((238, WIDTH, 3), np.uint8)
    assert [side.shape for side in maps.apply(image, image)] == [image.shape] * 2
    assert maps.restore(np.ones((238, WIDTH), np.float32)).shape == (238, WIDTH)


def test_a_copy_for_a_checkpoint_keeps_the_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = rig()
    settings = settings_with(monkeypatch, Calibration(CAMERA, cameras))
    given = raw_pair(cameras)
    aligner = Aligner(settings(), [given])
    kept = pickle.loads(pickle.dumps(copy.copy(aligner)))
    np.testing.assert_array_equal(kept(given).aligned.left, aligner(given).aligned.left)


def phone_photo(path: Path, image: BGRImage, focal_mm: int) -> Path:
    """Write a JPEG with the focal length in its EXIF data, as phones do."""
    photo = Image.fromarray(image[:, :, ::-1])
    exif = photo.getexif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = focal_mm
    photo.save(path, exif=exif, quality=95)
    return path


def test_the_focal_length_of_a_photo_gives_proportions(tmp_path: Path) -> None:
    pair = rectified_pair()
    left = phone_photo(tmp_path / "left.jpg", pair.left, 26)
    right = phone_photo(tmp_path / "right.jpg", pair.right, 26)
    photos = pair_of(open_image(parse_image(str(left))), open_image(parse_image(str(right))))
    # 26 mm of a film with a diagonal of 43.27 mm; the image has a diagonal of 400 px
    assert photos.focal_px == pytest.approx(26 / 43.2666 * 400, rel=1e-4)
    aligner = Aligner(ImageSettings(), [photos], still=True)
    assert aligner.remarks == ["focal length of 240 px from the EXIF data of the left image"]
    assert aligner.calibration is not None
    assert aligner.camera is None  # no metres without a baseline
    assert Aligner(ImageSettings(baseline_m=0.1), [photos], still=True).camera is not None
    # what is not rectified is aligned by its content, without a word about a calibration
    moved = replace(photos, right=np.roll(photos.right, 14, axis=0))
    aligner = Aligner(ImageSettings(), [moved], still=True)
    assert (aligner.calibration, aligner.remarks) == (None, [])
    with pytest.raises(UsageError, match="metres need a focal length"):
        Aligner(ImageSettings(baseline_m=0.1), [pair], still=True)


def test_a_known_length_gives_the_baseline() -> None:
    # given a wall at 2 m, seen by cameras 0.12 m apart with a focal length of 300 px
    camera = CameraConfig(1.0, 300.0, WIDTH, 0.0, (159.5, 119.5), HEIGHT)
    wall = np.full(SIZE, 300 * 0.12 / 2, np.float32)
    # when it is known that 150 columns of it are 1 m long (150 / 300 * 2 m)
    ends = [(100, 50), (100, 200)]
    assert baseline_of_length(wall, camera, ends, 1.0) == pytest.approx(0.12)
    with pytest.raises(UsageError, match="no depth at row 100, column 400"):
        baseline_of_length(wall, camera, [(100, 50), (100, 400)], 1.0)
    wall[95:106, 45:56] = np.nan
    with pytest.raises(UsageError, match="no depth at row 100, column 50"):
        baseline_of_length(wall, camera, ends, 1.0)


def test_a_photo_too_large_for_pillow_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a photo with more pixels than Pillow opens, as those of 200 megapixels have
    path = phone_photo(tmp_path / "photo.jpg", rectified_pair().left, 26)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    # then its focal length stays unknown, and that is all
    opened = open_image(parse_image(str(path)))
    assert opened.focal_mm is None
    assert opened.left.array.shape[:2] == SIZE
