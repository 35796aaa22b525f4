"""Where the bad pixels of an evaluation lie, on a scene whose regions are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import mini_datasets as mini
from tests.tiny_models import lite_model
from tools import evaluate
from tools.lib.regions import BORDER_PX, EDGE_REACH_PX, REGIONS, regions_of


def test_a_wall_at_the_left_border_a_board_and_cloth_are_told_apart() -> None:
    rng = np.random.default_rng(3)
    left = np.full((80, 120, 3), 128, np.uint8)
    left[:, 60:] = rng.integers(0, 255, (80, 60, 1))
    left[30:60, 75:105] = 90  # a blank board before the cloth
    truth = np.full((80, 120), 10, np.float32)
    truth[:20] = 20  # the upper part is nearer
    truth[70:, :5] = np.nan
    masks = regions_of(left, truth)
    assert tuple(masks) == REGIONS
    assert not np.any(np.sum([m.astype(int) for m in masks.values()], axis=0) > 1)
    edge, textured, blank, wall = masks.values()
    assert edge[20 - EDGE_REACH_PX : 20 + EDGE_REACH_PX].all()
    assert not edge[20 + EDGE_REACH_PX + 2 : 60].any()
    assert textured[35:65, 112:].all()
    assert wall[40:60, BORDER_PX:50].all()
    assert blank[42:48, 85:95].all()


@pytest.mark.parametrize("rows", [1.0, -2.0])
def test_the_right_image_is_moved_by_rows(rows: float) -> None:
    rising = np.repeat(np.arange(40, dtype=np.uint8)[:, None, None], 30, axis=1).repeat(3, axis=2)
    moved = evaluate.moved_up(rising, rows)
    assert (moved[5:30].astype(int) - rising[5:30]).tolist() == np.full((25, 30, 3), rows).tolist()


def test_the_table_gives_shares_and_rates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plane is at 6 px and the network says 5, then 2."""
    mini.rendered_sample(tmp_path / "data")
    network = lite_model(tmp_path / "networks" / "constant.onnx", weights=(0, 0, 0))
    words = ["--model-version", "none", "--model-path", str(network), "--iters", "5,2"]
    assert evaluate.main([str(tmp_path / "data"), *words, "--regions"]) == 0
    table = capsys.readouterr().out.split("pixels that both cameras see")[1]
    rows = [line.strip("| ").split("|") for line in table.splitlines() if "constant" in line]
    figures = {(row[0].strip(), row[2].strip()): [float(v) for v in row[4:]] for row in rows}
    assert figures["textured", "5"][1:] == [0, 0, 1]
    assert figures["textured", "2"][1] == 100
    assert figures["textured", "2"][3] == 4


def test_a_scene_without_a_mask_has_regions_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mini.middlebury_scene(tmp_path / "data" / "Piano")
    (tmp_path / "data" / "Piano" / "mask0nocc.png").unlink()
    network = lite_model(tmp_path / "networks" / "constant.onnx", weights=(0, 0, 0))
    words = ["--model-version", "none", "--model-path", str(network), "--regions"]
    assert evaluate.main([str(tmp_path / "data"), *words]) == 0
    assert "| near edges" in capsys.readouterr().out
