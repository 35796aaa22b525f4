"""Files of a run: names that replace nothing, whole files, what is printed about them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from crestereo.app.output import (
    Recorder,
    ViewSaver,
    claim_names,
    report_files,
    save_maps,
    save_record,
)
from crestereo.app.render import View
from crestereo.app.settings import VideoSettings
from crestereo.app.sources import parse_video
from crestereo.app.video import open_video
from crestereo.camera import CameraConfig
from crestereo.errors import UsageError
from crestereo.formats import read_depth_png, read_image, read_pfm
from crestereo.types import StereoPair
from tests.app_helpers import BLOCK, texture

ENDINGS = ("depth.png", "run.json")


def test_results_of_a_second_run_are_numbered(tmp_path: Path) -> None:
    # given a run that has written one of its files
    first = claim_names(tmp_path, "table", ENDINGS, overwrite=False)
    assert first.path("depth.png") == tmp_path / "table_depth.png"
    first.path("run.json").write_text("{}")
    # when other runs follow
    second = claim_names(tmp_path, "table", ENDINGS, overwrite=False)
    second.path("depth.png").write_text("image")
    third = claim_names(tmp_path, "table", ENDINGS, overwrite=False)
    # then each has a number of its own, unless it may overwrite
    assert second.path("depth.png") == tmp_path / "table_depth_2.png"
    assert third.path("run.json") == tmp_path / "table_run_3.json"
    assert claim_names(tmp_path, "table", ENDINGS, overwrite=True) == first


def test_two_runs_at_once_get_different_names(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    names = [claim_names(folder, "table", ENDINGS, overwrite=False) for _ in range(2)]
    assert [each.number for each in names] == [0, 2]


def test_the_claim_of_a_killed_run_is_ignored(tmp_path: Path) -> None:
    # given an empty file that a run has left an hour ago
    killed = claim_names(tmp_path, "table", ENDINGS, overwrite=False)
    hour_ago = time.time() - 3600
    os.utime(killed.path("depth.png"), (hour_ago, hour_ago))
    # then the next run takes its name, and a third one at the same time does not
    assert claim_names(tmp_path, "table", ENDINGS, overwrite=False).number == 0
    assert claim_names(tmp_path, "table", ENDINGS, overwrite=False).number == 2


def test_a_run_that_has_written_nothing_leaves_nothing(tmp_path: Path) -> None:
    claim_names(tmp_path / "a" / "output", "table", ENDINGS, overwrite=False).release()
    assert not (tmp_path / "a" / "output").exists()
    names = claim_names(tmp_path, "table", ENDINGS, overwrite=False)
    names.path("depth.png").write_text("image")
    names.release()
    assert names.path("depth.png").read_text() == "image"


def test_maps_come_back_as_they_were(tmp_path: Path) -> None:
    left = texture(20, 40)
    disparity = np.linspace(1, 20, 800, dtype=np.float32).reshape(20, 40)
    disparity[3, 4] = np.nan
    names = claim_names(tmp_path / "새 폴더", "table", ENDINGS, overwrite=False)

    paths = save_maps(names, left, disparity, None, None)
    assert [path.name for path in paths] == ["table_disparity.pfm"]
    np.testing.assert_array_equal(read_pfm(paths[0]), disparity)

    depth = (10 / disparity).astype(np.float32)
    paths = save_maps(names, left, disparity, depth, CameraConfig(0.1, 100, 40))
    np.testing.assert_allclose(read_depth_png(paths[1]), depth, atol=0.0006)
    ply = paths[2].read_bytes()
    assert b"element vertex 799\n" in ply
    header = ply[: ply.index(b"end_header\n") + 11]
    assert len(ply) - len(header) == 799 * 15


def test_depths_that_the_png_cannot_hold_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given a quarter of the pixels 100 m away
    depth = np.full((20, 40), 2, np.float32)
    depth[:5] = 100
    names = claim_names(tmp_path, "table", ENDINGS, overwrite=False)
    # when it is saved
    camera = CameraConfig(0.1, 100, 40)
    paths = save_maps(names, texture(20, 40), 10 / depth, depth, camera)
    # then a warning gives the share and the limit, and they are unknown in the file
    assert "25.0 % of the depths exceed the 65.535 m" in capsys.readouterr().err
    assert np.isnan(read_depth_png(paths[1])[:5]).all()


def test_a_record_is_json_with_any_letters(tmp_path: Path) -> None:
    save_record(tmp_path / "run.json", {"name": "탁자"})
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == {"name": "탁자"}


def test_every_file_is_reported_with_its_content(capsys: pytest.CaptureFixture[str]) -> None:
    report_files(["o/my_depth_depth.png", "o/x_depth_only_2.png", "o/x_disparity.pfm"])
    assert capsys.readouterr().out.splitlines() == [
        "saved o/my_depth_depth.png (left image and coloured depth)",
        "saved o/x_depth_only_2.png (coloured depth)",
        "saved o/x_disparity.pfm (disparity in pixels; cv2.imread(path, -1) reads it)",
    ]


def test_views_are_saved_under_new_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save = ViewSaver(tmp_path, "table")
    images = [texture(20, 40, seed) for seed in (1, 2)]
    for image in images:
        save(View(image))
    save.wait()
    paths = [tmp_path / "table_view.png", tmp_path / "table_view_2.png"]
    said = sorted(capsys.readouterr().out.splitlines())
    assert said == [f"saved {path} (what the window showed)" for path in paths]
    for path, image in zip(paths, images, strict=True):
        np.testing.assert_array_equal(read_image(path), image)


def test_a_view_of_a_video_is_saved_with_its_views_and_maps(tmp_path: Path) -> None:
    # given a view of the window, smaller than the frame that it shows
    left, right = texture(40, 80, 1), texture(40, 80, 2)
    disparity = np.full((40, 80), 4, np.float32)
    camera = CameraConfig(0.1, 100, 80)
    view = View(
        texture(20, 40),
        disparity=disparity,
        depth=10 / disparity,
        pair=StereoPair(left, right, "cam"),
    )
    # when it is saved
    save = ViewSaver(tmp_path, "cam", camera)
    save(view)
    save.wait()
    # then views and maps have the size of the frame
    np.testing.assert_array_equal(read_image(tmp_path / "cam_left.png"), left)
    np.testing.assert_array_equal(read_image(tmp_path / "cam_right.png"), right)
    np.testing.assert_array_equal(read_pfm(tmp_path / "cam_disparity.pfm"), disparity)
    assert {path.name for path in tmp_path.iterdir()} >= {"cam_depth_mm.png", "cam_points.ply"}


def test_input_and_depth_are_recorded_between_two_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given frames of which the second to fourth come while it is on, one of them from the past
    values = {**BLOCK, "output_dir": str(tmp_path)}
    recorder = Recorder(VideoSettings(**values), "cam", 10)  # type: ignore[arg-type]
    for number, time_s in enumerate((0.0, 0.1, 0.05, 0.2, 0.3)):
        if number in (1, 4):
            recorder.toggle()
        grey = np.full((32, 32, 3), 20 * number, np.uint8)
        recorder.add(StereoPair(grey, grey + 100, "cam", time_s), 200 - grey)
    # then both videos hold the same frames, the input with both views
    assert not recorder.on
    names = "cam_recorded_input.mp4", "cam_recorded_depth.mp4"
    both, depth = (
        [frame.image for frame in open_video(parse_video(str(tmp_path / name)), 0).frames()]
        for name in names
    )
    np.testing.assert_allclose([f[:, :32].mean() for f in both], [20, 60], atol=3)
    np.testing.assert_allclose([f[:, 32:].mean() for f in both], [120, 160], atol=3)
    np.testing.assert_allclose([f.mean() for f in depth], [180, 140], atol=3)
    said = capsys.readouterr().out
    assert [name in said for name in names] == [True, True]


def test_a_recording_without_a_frame_leaves_nothing(tmp_path: Path) -> None:
    values = {**BLOCK, "output_dir": str(tmp_path / "output")}
    recorder = Recorder(VideoSettings(**values), "cam", 10)  # type: ignore[arg-type]
    recorder.toggle()
    recorder.toggle()
    assert not (tmp_path / "output").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    names = claim_names(tmp_path / "file", "table", ENDINGS, overwrite=False)
    with pytest.raises(UsageError, match="cannot write"):
        save_record(names.path("run.json"), {})


def test_a_view_that_cannot_be_saved_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given an output folder that became a file
    (tmp_path / "file").touch()
    # when a view is saved there
    save = ViewSaver(tmp_path / "file", "table")
    save(View(texture(20, 40)))
    save.wait()
    # then one sentence reports it
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "cannot write" in err
