"""The runs in this process: how pairs are prepared, what frames know of one another."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.alignment import AlignedPair
from crestereo.app import run_image as run_image_module
from crestereo.app import run_video as run_video_module
from crestereo.app.align import Aligner, ReadyPair
from crestereo.app.run_image import run_image
from crestereo.app.run_video import run_video
from crestereo.app.settings import ImageSettings, TwoVideosSettings, VideoSettings
from crestereo.app.sources import parse_video
from crestereo.app.stereo_video import TwoVideos
from crestereo.app.video import open_video
from crestereo.errors import UsageError
from crestereo.estimator import CREStereo
from crestereo.formats import read_image, read_pfm
from crestereo.types import DisparityMap, DisparityResult, StereoPair
from tests.app_helpers import BLOCK, texture, write_video
from tests.tiny_models import lite_model, matching_model


def image_settings(folder: Path, **changes: object) -> ImageSettings:
    return ImageSettings(**{**BLOCK, "output_dir": str(folder), **changes})  # type: ignore[arg-type]


def video_settings(folder: Path, **changes: object) -> VideoSettings:
    told = {**BLOCK, "output_dir": str(folder), **changes}
    return VideoSettings(**told)  # type: ignore[arg-type]


def shifted_pair(shift: int) -> StereoPair:
    """Return a pair whose disparity is `shift` everywhere."""
    wide = texture(96, 160)
    return StereoPair(wide[:, 20:140], wide[:, 20 + shift : 140 + shift], "toy")


class Shifting(Aligner):
    """An aligner that moves the right image by 10 px."""

    note = "moved by 10 px"

    def __call__(self, pair: StereoPair) -> ReadyPair:
        return ReadyPair(pair, _Shifted(pair.left, np.roll(pair.right, -10, axis=1)), self.note)

    def observe(self, ready: ReadyPair, result: DisparityResult) -> None:
        """Keep the alignment whatever the result."""


class _Shifted(AlignedPair):
    def restore(self, disparity: DisparityMap) -> DisparityMap:
        return disparity - 10


def test_alignment_is_undone_in_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a pair with negative disparities, which no network for rectified pairs can express
    pair = shifted_pair(-4)
    monkeypatch.setattr(run_image_module, "Aligner", Shifting)
    estimator = CREStereo(matching_model(tmp_path / "matcher.onnx"))
    # when it is estimated on a shifted right image
    run_image(pair, estimator, image_settings(tmp_path))
    # then map, image and record belong to the images as they came
    disparity = read_pfm(tmp_path / "toy_disparity.pfm")
    assert np.nanmedian(disparity) == pytest.approx(-4, abs=0.01)
    np.testing.assert_array_equal(read_image(tmp_path / "toy_depth.png")[:, :120], pair.left)
    record = json.loads((tmp_path / "toy_run.json").read_text(encoding="utf-8"))
    assert record["note"] == "moved by 10 px"


def test_without_saving_nothing_is_written(tmp_path: Path) -> None:
    estimator = CREStereo(matching_model(tmp_path / "matcher.onnx"))
    run_image(shifted_pair(4), estimator, image_settings(tmp_path / "output", save=False))
    assert not (tmp_path / "output").exists()


class Recorder(CREStereo):
    """Note the prior of every estimation."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.priors: list[DisparityMap | None] = []
        self.maps: list[DisparityMap] = []

    def estimate(
        self, left: np.ndarray, right: np.ndarray, *, prior: DisparityMap | None = None
    ) -> DisparityResult:
        self.priors.append(prior)
        result = super().estimate(left, right, prior=prior)
        self.maps.append(result.disparity)
        return result


def still_video(folder: Path, frames: int = 4) -> TwoVideos:
    videos = []
    for side in ("left", "right"):
        path = folder / f"{side}.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 96))
        for _ in range(frames):
            writer.write(texture(96, 128))
        writer.release()
        videos.append(open_video(parse_video(str(path)), 96))
    return TwoVideos(videos[0], videos[1], "toy")


@pytest.mark.parametrize("warm", [False, True])
def test_a_warm_start_gives_each_frame_the_map_of_the_last(tmp_path: Path, warm: bool) -> None:
    estimator = Recorder(lite_model(tmp_path / "lite.onnx", weights=(0, 0, 0)))
    settings = video_settings(tmp_path, warm_start=warm)
    run_video(still_video(tmp_path), estimator, settings)
    if not warm:
        assert estimator.priors == [None] * 4
        return
    assert estimator.priors[0] is None
    for prior, before in zip(estimator.priors[1:], estimator.maps[:-1], strict=True):
        assert prior is before


def test_a_network_without_a_prior_ignores_the_warm_start(tmp_path: Path) -> None:
    estimator = Recorder(lite_model(tmp_path / "lite.onnx", with_prior=False))
    settings = video_settings(tmp_path, warm_start=True)
    run_video(still_video(tmp_path), estimator, settings)
    assert estimator.priors == [None] * 4


def test_what_was_done_to_the_pairs_of_a_video_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_video_module, "Aligner", Shifting)
    estimator = CREStereo(lite_model(tmp_path / "lite.onnx"))
    run_video(still_video(tmp_path), estimator, video_settings(tmp_path))
    assert capsys.readouterr().out.count("moved by 10 px") == 1


def test_a_second_video_is_numbered_together_with_its_record(tmp_path: Path) -> None:
    estimator = CREStereo(lite_model(tmp_path / "lite.onnx"))
    for _ in range(2):
        run_video(still_video(tmp_path), estimator, video_settings(tmp_path))
    names = sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("toy_"))
    assert names == ["toy_depth.mp4", "toy_depth_2.mp4", "toy_run.json", "toy_run_2.json"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"iters": "5"},
        {"model_shape": 480},
        {"version": "Lite"},
        {"device": None},
        {"colormap": 3},
        {"baseline_m": "0.1", "focal_px": 700},
        {"max_distance": "10"},
        {"max_distance": 0},
    ],
)
def test_a_setting_of_the_block_that_cannot_be_is_a_usage_error(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        video_settings(tmp_path, **wrong)


@pytest.mark.parametrize(
    ("sync", "frames"), [("auto", None), ("off", None), ("7", 7.0), ("-2,5", -2.5), (3, 3.0)]
)
def test_the_offset_of_recordings_is_auto_off_or_frames(sync: object, frames: float | None) -> None:
    settings = TwoVideosSettings(**BLOCK, sync=sync)  # type: ignore[arg-type]
    assert settings.sync_frames == frames


@pytest.mark.parametrize("sync", ["soon", "", "inf"])
def test_another_offset_of_recordings_is_a_usage_error(sync: str) -> None:
    with pytest.raises(UsageError, match="auto, off or a number of frames"):
        TwoVideosSettings(**BLOCK, sync=sync)  # type: ignore[arg-type]


def test_the_camera_belongs_to_the_width_of_the_pictures(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", size=(128, 64))
    width = open_video(parse_video(str(path)), 64).size[0]
    found = image_settings(tmp_path, baseline_m=0.1, focal_px=100).calibration_for((96, width))
    assert found is not None
    camera = found.camera
    assert (camera.focal_px, camera.image_width_px) == (100, 128)
