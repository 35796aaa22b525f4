"""tools/clip_experiments.py: the order of the views, and the start from the previous frame."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tools import clip_experiments
from tools.lib.flicker import card_shots, still_shots


@pytest.fixture(autouse=True)
def small_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = {"clip2": clip_experiments.CLIPS["clip2"]}
    monkeypatch.setattr(clip_experiments, "CLIPS", clips)
    monkeypatch.setattr(clip_experiments, "SIZE", (144, 256))


def test_order_correlation_is_one_for_the_same_order_and_minus_one_for_the_inverse() -> None:
    nearness = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert clip_experiments.order_correlation(nearness**2, nearness) == pytest.approx(1)
    assert clip_experiments.order_correlation(-nearness, nearness) == pytest.approx(-1)


def test_exchanged_views_lose_the_order_of_depth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given a rendered clip, when its views are matched in both orders
    chart = tmp_path / "maps.jpg"
    assert clip_experiments.main(["exchanged-views", "--frames", "2", "--plot", str(chart)]) == 0
    # then the order of depth is right only for left, right
    rows = re.findall(
        r"\| clip2 +\| ([a-z, ]+?) +\|.*\| +(-?[\d.]+) \| +\d+ \|", capsys.readouterr().out
    )
    correlations = {order: float(value) for order, value in rows}
    assert list(correlations) == list(clip_experiments.ORDERS)
    assert correlations["left, right"] > 0.9
    assert correlations["right, left"] < 0.9
    assert correlations["right, left, aligned"] < 0
    assert chart.stat().st_size > 1000


def test_warm_start_prints_a_row_for_each_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert clip_experiments.main(["warm-start", "--frames", "2", "--iters", "1,2"]) == 0
    table = capsys.readouterr().out.strip().splitlines()
    assert [line.split("|")[1].strip() for line in table[2:]] == ["1", "2"]


def test_steady_prints_flicker_and_errors_of_every_clip(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clip_experiments, "CLIPS", {})
    monkeypatch.setattr(
        clip_experiments,
        "SHOTS",
        {
            "cards": lambda n: card_shots(1, n, camera=False),
            "still": lambda n: still_shots("room", n),
        },
    )
    assert clip_experiments.main(["steady", "--frames", "7"]) == 0
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.strip().splitlines()[2:]]
    assert [row[0].strip() for row in rows] == ["cards", "still"]
    change, steady = (float(cell) for cell in rows[1][1:3])
    assert steady < change
    assert float(rows[0][6]) < float(rows[0][5]) * 1.02
    assert rows[1][5].strip() == "-"
