"""Figures of the alignment compared with targets, and the clips they are measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crestereo.errors import UsageError
from crestereo.formats import write_image
from tests.mini_datasets import middlebury_scene
from tools import evaluate_alignment
from tools.lib.alignment_targets import target_rows
from tools.lib.alignment_tasks import Row, degraded_rows
from tools.lib.clip_tasks import compressed
from tools.lib.moving_scene import Stage, texture, two_recordings


def test_wishes_are_judged_by_their_limits() -> None:
    rows = [
        Row("a", {"rows median": 0.3, "rows 95 %": 2.0, "bad-2 aligned": 9.0}),
        Row("b", {"rows median": 0.5, "rows 95 %": 2.0, "bad-2 aligned": 11.0}),
    ]
    judged = {line[1]: line[2:] for line in target_rows("disturbed", rows)}
    assert judged["row error, median, px of 640"] == ["0.40", "<= 0.5", "yes"]
    assert judged["row error, 95 %, px of 640"] == ["2.00", "<= 1.5", "no"]
    assert len(judged) == 2  # without the undisturbed pair no difference is known


def test_swap_is_judged_among_those_answered() -> None:
    outcomes = {"given": (1, 0), "shifted": (0, 1), "swapped": (1, 0), "swapped, shifted": (0, 0)}
    figures: dict[str, float] = {}
    for order, (right, wrong) in outcomes.items():
        figures |= {f"{order}: right %": 100.0 * right, f"{order}: wrong %": 100.0 * wrong}
    judged = {line[1]: float(line[2]) for line in target_rows("swap", [Row("a", figures)])}
    assert judged["right of those answered, %"] == pytest.approx(66.67)
    assert judged["rightly ordered pairs called swapped, %"] == 50
    assert judged["unanswered, %"] == 25


def test_wrong_claims_are_counted_among_all_claims() -> None:
    rows = [
        Row("a", {"claims": 30.0, "wrong": 2.0, "pairs": 25.0}),
        Row("b", {"claims": 70.0, "wrong": 1.0, "pairs": 25.0}),
    ]
    assert [line[2:] for line in target_rows("degraded", rows)] == [["3.00", "<= 2", "no"]]
    assert target_rows("degraded", [Row("a", {"claims": 0.0, "wrong": 0.0})]) == []


def test_pairs_are_judged_in_both_orders_after_a_video(tmp_path: Path) -> None:
    """Given a rendered pair of near cards, compressed lightly."""
    stage = Stage(0, (300, 400), cards=5)
    for side, name in ((False, "cards_left.png"), (True, "cards_right.png")):
        write_image(tmp_path / name, stage.view(side)[0])
    photos = [(tmp_path / "cards_left.png", tmp_path / "cards_right.png")]
    row = next(degraded_rows([], photos))
    assert row.name == "320 px wide, crf 28"
    assert (row.figures["pairs"], row.figures["claims"]) == (1, 2)
    assert row.figures["wrong"] == row.figures["correct called swapped"] == 0


def test_the_tool_prints_a_table_and_the_wishes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    middlebury_scene(tmp_path / "scene")
    arguments = [str(tmp_path), "--no-network", "--tasks", "untouched, shifted, time"]
    assert evaluate_alignment.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "## Untouched" in printed
    assert "verdict rectified, %" in printed
    assert "Shifted" not in printed  # that needs the network
    assert "Time" not in printed  # and that photos


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scenes", "-1"], "one from 0"),
        (["--network-draws", "-1"], "one from 0"),
        (["--draws", "0"], "number from 1"),
        (["--tasks", "swap, magic"], "not magic"),
        (["--tasks", "photos, time"], "--photos"),
    ],
)
def test_impossible_options_are_refused(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate_alignment.main([str(tmp_path), *words])


def test_recordings_of_other_rates_are_cut_where_said() -> None:
    rates = (30.0, 15.0)
    left, _ = two_recordings(5, 0, moving_camera=True, frames=30, kept=20, rates=rates)
    later, right = two_recordings(5, 3, moving_camera=True, frames=30, kept=20, rates=rates)
    assert (len(left), len(right)) == (20, 10)
    # The left one starts 3 frames of 1/15 s later, 6 of its own; only noise differs.
    difference = np.abs(later[0].astype(int) - left[6])
    assert difference.mean() < 4 < np.abs(left[0].astype(int) - left[6]).mean()


def test_compressed_frames_come_back_changed_but_alike() -> None:
    frames = [texture(seed, 64, 96) for seed in range(3)]
    back = compressed(frames)
    assert len(back) == 3
    differences = [np.abs(back[2].astype(int) - frame).mean() for frame in frames]
    assert 0 < differences[2] < 0.5 * min(differences[:2])
