"""What a run leaves behind: names that replace nothing, whole files, whole videos."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.app.messages import Messages
from crestereo.app.sinks import choose_names, save_maps, save_record, video_file, view_saver
from crestereo.errors import SourceError, UsageError
from crestereo.formats import read_depth_png, read_image, read_pfm
from crestereo.settings import CameraConfig
from tests.app_helpers import frame_number, texture

ENDINGS = ("depth.png", "run.json")


def test_results_of_a_second_run_are_numbered(tmp_path: Path) -> None:
    names = choose_names(tmp_path, "table", ENDINGS, overwrite=False)
    assert names.path("depth.png") == tmp_path / "table_depth.png"
    names.path("run.json").touch()  # one of them is enough

    second = choose_names(tmp_path, "table", ENDINGS, overwrite=False)
    assert second.path("depth.png") == tmp_path / "table_depth_2.png"
    second.path("depth.png").touch()

    third = choose_names(tmp_path, "table", ENDINGS, overwrite=False)
    assert third.path("run.json") == tmp_path / "table_run_3.json"
    assert choose_names(tmp_path, "table", ENDINGS, overwrite=True) == names


def test_maps_come_back_as_they_were(tmp_path: Path) -> None:
    left = texture(20, 40)
    disparity = np.linspace(1, 20, 800, dtype=np.float32).reshape(20, 40)
    disparity[3, 4] = np.nan
    names = choose_names(tmp_path / "새 폴더", "table", (), overwrite=False)

    assert [path.name for path in save_maps(names, left, disparity, None, None)] == [
        "table_disparity.pfm"
    ]
    np.testing.assert_array_equal(read_pfm(names.path("disparity.pfm")), disparity)

    camera = CameraConfig(0.1, 100, 40)
    depth = (10 / disparity).astype(np.float32)
    paths = save_maps(names, left, disparity, depth, camera)
    np.testing.assert_allclose(read_depth_png(paths[1]), depth, atol=0.0006)
    ply = paths[2].read_bytes()
    assert b"element vertex 799\n" in ply
    header = ply[: ply.index(b"end_header\n") + 11]
    assert len(ply) - len(header) == 799 * 15


def test_a_record_is_json_with_any_letters(tmp_path: Path) -> None:
    save_record(tmp_path / "run.json", {"name": "탁자"})
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == {"name": "탁자"}


def test_views_are_saved_beside_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save = view_saver(tmp_path, "table", Messages())
    pictures = [texture(20, 40, seed) for seed in (1, 2)]
    for picture in pictures:
        save(picture)
    paths = [tmp_path / "table_view.png", tmp_path / "table_view_2.png"]
    assert capsys.readouterr().out.splitlines() == [f"saved {path}" for path in paths]
    for path, picture in zip(paths, pictures, strict=True):
        np.testing.assert_array_equal(read_image(path), picture)


def grey(number: int) -> np.ndarray:
    return np.full((65, 97, 3), 10 * number, np.uint8)  # odd: encoders halve both sides


def frames_of(path: Path) -> list[int]:
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    numbers = []
    while True:
        done, image = capture.read()
        if not done:
            return numbers
        assert image.shape == (64, 96, 3)
        numbers.append(frame_number(image))


def test_a_video_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "영상" / "table_depth.mp4"
    with video_file(path, 12.5) as add:
        for number in range(5, 11):
            add(grey(number))
        assert not path.exists()
    assert frames_of(path) == [5, 6, 7, 8, 9, 10]
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_video_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "table_depth.mp4"
    with pytest.raises(KeyboardInterrupt), video_file(path, 12.5) as add:
        add(grey(5))
        add(grey(6))
        raise KeyboardInterrupt
    assert frames_of(path) == [5, 6]


def test_a_video_that_failed_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), video_file(tmp_path / "v.mp4", 12.5) as add:
        add(grey(5))
        raise ZeroDivisionError
    with pytest.raises(SourceError, match="no frame came"), video_file(tmp_path / "v.mp4", 12.5):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    names = choose_names(tmp_path / "file", "table", (), overwrite=False)
    with pytest.raises(UsageError, match="cannot write"):
        save_record(names.path("run.json"), {})
    with (
        pytest.raises(UsageError, match="cannot write"),
        video_file(names.path("v.mp4"), 10) as add,
    ):
        add(grey(1))
