"""What a run leaves behind beside videos: names that replace nothing, whole files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crestereo.app.output import choose_names, claimed_names, save_maps, save_record, view_saver
from crestereo.camera import CameraConfig
from crestereo.errors import UsageError
from crestereo.formats import read_depth_png, read_image, read_pfm
from tests.app_helpers import texture

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


def test_names_that_are_lent_are_chosen_by_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    with (
        claimed_names(folder, "table", ENDINGS, overwrite=False) as first,
        claimed_names(folder, "table", ENDINGS, overwrite=False) as second,
    ):
        assert (first.number, second.number) == (0, 2)
        second.path("run.json").write_text("{}")
    assert [path.name for path in folder.iterdir()] == ["table_run_2.json"]


def test_names_of_which_nothing_is_written_leave_nothing(tmp_path: Path) -> None:
    with claimed_names(tmp_path / "a" / "output", "table", ENDINGS, overwrite=False):
        pass
    assert not (tmp_path / "a").exists()
    record = tmp_path / "table_run.json"
    record.write_text("{}")
    with claimed_names(tmp_path, "table", ENDINGS, overwrite=True) as names:
        assert names.number == 0
    assert record.read_text() == "{}"


def test_a_place_where_no_name_can_be_claimed_is_said_by_whoever_writes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        claimed_names(tmp_path / "file", "table", ENDINGS, overwrite=False) as names,
        pytest.raises(UsageError, match="cannot write"),
    ):
        save_record(names.path("run.json"), {})


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
    save = view_saver(tmp_path, "table")
    pictures = [texture(20, 40, seed) for seed in (1, 2)]
    for picture in pictures:
        save(picture)
    paths = [tmp_path / "table_view.png", tmp_path / "table_view_2.png"]
    assert capsys.readouterr().out.splitlines() == [f"saved {path}" for path in paths]
    for path, picture in zip(paths, pictures, strict=True):
        np.testing.assert_array_equal(read_image(path), picture)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    names = choose_names(tmp_path / "file", "table", (), overwrite=False)
    with pytest.raises(UsageError, match="cannot write"):
        save_record(names.path("run.json"), {})


def test_a_view_that_cannot_be_saved_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given a place that became a file
    (tmp_path / "file").touch()
    # when a view is saved there
    view_saver(tmp_path / "file", "table")(texture(20, 40))
    # then a sentence says so
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "cannot write" in err
