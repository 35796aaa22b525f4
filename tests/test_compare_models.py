"""tools/compare_models.py: its choices by hand-made trials, and whole runs of tiny networks."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crestereo.errors import SourceError, UsageError
from crestereo.formats import read_image, write_image
from crestereo.types import DisparityResult, StereoPair
from tests import mini_datasets as mini
from tests.tiny_models import init_model, lite_model
from tools import compare_models
from tools.lib.advice import advice, pareto_front
from tools.lib.bubbles import busiest_part
from tools.lib.charts import new_figure
from tools.lib.comparison import Subject, Trial, average, compare
from tools.lib.methods import Method

TOOL = Path(__file__).parents[1] / "tools" / "compare_models.py"


def trial(iters: int, ms: float, error: float, pair: str = "p") -> Trial:
    method = Method("net", Path("net.onnx"), iters, (240, 320))
    return Trial(method, pair, ms, difference_px=error / 2, epe_px=error, bad2=error / 10)


# time grows with iterations; 10 iterations are slower and worse than 5
TRIALS = [trial(2, 50, 2.0), trial(5, 80, 1.04), trial(10, 120, 1.2), trial(20, 200, 1.0)]


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    assert [t.method.iters for t in pareto_front(TRIALS)] == [2, 5, 20]


def test_of_equal_quality_only_the_fastest_is_on_the_front() -> None:
    same = [trial(2, 50, 1.0), trial(5, 60, 1.0)]
    assert [t.method.iters for t in pareto_front(same)] == [2]


def test_advice_names_the_best_within_the_budget_and_the_fastest_close_to_the_best() -> None:
    within, close, best = advice(TRIALS, budget_ms=100, scale_px=30)
    assert within.startswith("Best within 100 ms: net, 5 iterations, 240x320 (80 ms, 1.04 px")
    assert close.startswith("Fastest within 5% of the best: net, 5 iterations")  # 1.04 <= 1.05
    assert best.startswith("Best of all: net, 20 iterations")


def test_advice_when_nothing_is_fast_enough() -> None:
    within, *_ = advice(TRIALS, budget_ms=10, scale_px=30)
    assert within == (
        "Nothing takes 10 ms or less; fastest: net, 2 iterations, 240x320 (50 ms, 2.00 px error)."
    )


def test_advice_without_a_budget_has_two_lines() -> None:
    assert len(advice(TRIALS, budget_ms=None, scale_px=30)) == 2


def test_without_truth_close_means_a_share_of_the_disparity() -> None:
    """The best differs from itself by 0; within 5 % of 30 px is within 1.5 px."""
    methods = [Method("net", None, n, (240, 320)) for n in (2, 5, 20)]
    trials = [
        Trial(method, "p", ms, difference)
        for method, ms, difference in zip(methods, (50, 80, 200), (1.6, 1.4, 0.0), strict=True)
    ]
    close, best = advice(trials, budget_ms=None, scale_px=30)
    assert "5 iterations" in close
    assert "mean disparity" in close
    assert "20 iterations" in best


def test_the_average_takes_errors_where_truth_is_known() -> None:
    known, unknown = trial(5, 100, 1.0, "a"), trial(5, 300, math.nan, "b")
    (mean,) = average([known, Trial(unknown.method, "b", 300, 2.5)])
    assert mean.ms == 200
    assert mean.epe_px == 1.0
    assert mean.difference_px == pytest.approx((0.5 + 2.5) / 2)
    assert mean.pair == "average of 2 pairs"


class Recorder:
    """Answer with a constant and write down when asked."""

    def __init__(self, name: str, answer: float, calls: list[str]) -> None:
        self.name, self.answer, self.calls = name, answer, calls

    def __call__(self, pair: StereoPair, disparities: int) -> DisparityResult:
        self.calls.append(self.name)
        disparity = np.full(pair.left.shape[:2], self.answer, np.float32)
        return DisparityResult(disparity, None, 0.0, self.name, "none")


def test_methods_take_turns_and_the_most_accurate_is_the_reference() -> None:
    left, right = mini.shifted_pair()
    ground_truth = np.full(left.shape[:2], 5, np.float32)
    calls: list[str] = []
    runners = {
        Method("far"): Recorder("far", 8, calls),
        Method("near"): Recorder("near", 4, calls),
    }
    result = compare(
        runners, [Subject(StereoPair(left, right, "p"), 16, ground_truth)], 3, lambda _: None
    )
    assert calls == ["far", "near"] * 4  # one round to warm up, three that count
    assert result.best.model == "near"
    far, near = result.trials
    assert (far.epe_px, far.difference_px, far.bad2) == (3, 4, 1)
    assert (near.epe_px, near.difference_px, near.bad2) == (1, 0, 0)


def test_the_crop_is_where_the_depth_edges_are() -> None:
    disparity = np.zeros((90, 120), np.float32)
    disparity[70:85, 90:110:4] = 20  # thin bars in the lower right
    rows, columns = busiest_part(disparity)
    assert rows.start <= 70 and rows.stop >= 85
    assert columns.start <= 90 and columns.stop >= 107


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A network whose answer is ``iters``, in pixels of its own input."""
    return lite_model(tmp_path / "constant.onnx", weights=(0, 0, 0))


def run(tmp_path: Path, network: Path, *words: str | Path) -> Path:
    folder = tmp_path / "out"
    arguments = [*words, "--model-version", "none", "--model-path", network, "--runs", "1"]
    assert compare_models.main([str(w) for w in (*arguments, "--output-dir", folder)]) == 0
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "comparison.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_writes_tables_charts_and_strips(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plane is at 6 px, so the network is best at 6 iterations."""
    for name in ("one", "two"):
        mini.rendered_sample(tmp_path / "data", name)
    words = ["--iters", "2,6,10", "--model-shape", "native", "--budget-ms", "100000"]
    folder = run(tmp_path, network, tmp_path / "data", *words)
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "comparison.csv",
        "comparison.md",
        "bubbles_average.png",
        *(f"bubbles_data_{name}.png" for name in ("one", "two")),
        *(f"detail_data_{name}.jpg" for name in ("one", "two")),
    }
    rows = rows_of(folder)
    assert len(rows) == 3 * 3  # two pairs and the average
    errors = {row["iters"]: float(row["epe_px"]) for row in rows if row["pair"] == "data/one"}
    assert errors == pytest.approx({"2": 4, "6": 0, "10": 4})
    best = next(row for row in rows if row["iters"] == "6")
    assert float(best["difference_px"]) == 0
    out = capsys.readouterr().out
    assert "Best within 100000 ms: constant, 6 iterations, native" in out
    assert "| constant" in (folder / "comparison.md").read_text("utf-8")
    assert read_image(folder / "bubbles_average.png").shape[1] >= 1000


def test_disparities_of_different_sizes_are_compared_in_the_images_pixels(
    tmp_path: Path,
) -> None:
    """3.84 px in a fixed network 64 px wide are 6 px of a image 100 px wide."""
    mini.rendered_sample(tmp_path / "data")
    half = init_model(tmp_path / "half_iter5.onnx", (64, 64), weights=(0, 0, 0), bias=3.84)
    folder = run(tmp_path, half, tmp_path / "data")
    (row,) = rows_of(folder)[:1]
    assert float(row["epe_px"]) == pytest.approx(0, abs=1e-4)


def test_a_pair_without_truth_is_compared_with_the_costliest(tmp_path: Path, network: Path) -> None:
    left, right = mini.shifted_pair()
    write_image(tmp_path / "l.png", left)
    write_image(tmp_path / "r.png", right)
    sizes = ["--iters", "5", "--model-shape", "64x64,native"]
    folder = run(tmp_path, network, "--pair", tmp_path / "l.png", tmp_path / "r.png", *sizes)
    small, native = rows_of(folder)[:2]
    assert (small["epe_px"], native["epe_px"]) == ("", "")
    assert float(native["difference_px"]) == 0
    # With the area of 64x64 the image is 76 px wide instead of 100: 5 px there are 6.6 px here
    assert float(small["difference_px"]) == pytest.approx(5 * 100 / 76 - 5, rel=0.01)


def test_pairs_of_two_sizes_are_refused(tmp_path: Path, network: Path) -> None:
    left, right = mini.shifted_pair()
    write_image(tmp_path / "l.png", left)
    write_image(tmp_path / "r.png", right[:, :-1])
    with pytest.raises(SourceError, match="one size"):
        run(tmp_path, network, "--pair", tmp_path / "l.png", tmp_path / "r.png")


def test_pairs_of_one_name_are_told_apart(tmp_path: Path, network: Path) -> None:
    words: list[str | Path] = ["--iters", "2", "--model-shape", "native"]
    for name, shift in (("a", 3), ("b", 6)):
        left, right = mini.shifted_pair()
        write_image(tmp_path / name / "left.png", left[:, shift:])
        write_image(tmp_path / name / "right.png", right[:, shift:])
        words += ["--pair", tmp_path / name / "left.png", tmp_path / name / "right.png"]
    folder = run(tmp_path, network, *words)
    assert [row["pair"] for row in rows_of(folder)[:2]] == ["left", "left (2)"]
    assert (folder / "bubbles_left.png").exists()
    assert (folder / "bubbles_left_2_.png").exists()


def test_without_matplotlib_only_the_charts_are_missing(
    tmp_path: Path,
    network: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("tools.compare_models.can_draw", lambda: False)
    mini.rendered_sample(tmp_path / "data")
    folder = run(tmp_path, network, tmp_path / "data", "--iters", "2", "--model-shape", "native")
    assert {path.name for path in folder.iterdir()} == {"comparison.csv", "comparison.md"}
    assert "no charts: charts need matplotlib" in capsys.readouterr().err


def test_an_earlier_result_is_kept_unless_told(tmp_path: Path, network: Path) -> None:
    mini.rendered_sample(tmp_path / "data")
    words: list[str | Path] = [tmp_path / "data", "--iters", "2", "--model-shape", "native"]
    run(tmp_path, network, *words)
    with pytest.raises(UsageError, match="exists already"):
        run(tmp_path, network, *words)
    run(tmp_path, network, *words, "--overwrite")


def test_published_files_in_models_take_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    init_model(models / "deep" / "crestereo_init_iter5_240x320.onnx", (240, 320))
    init_model(models / "crestereo_next_iter5_240x320.onnx", (240, 320))
    (models / "notes.onnx").write_bytes(b"")
    monkeypatch.setattr(compare_models, "models_dir", lambda: models)
    assert [p.name for p in compare_models.published_files()] == [
        "crestereo_init_iter5_240x320.onnx"
    ]


def test_as_a_user_runs_it(tmp_path: Path, network: Path) -> None:
    mini.rendered_sample(tmp_path / "data")
    words = ["data", "--model-version", "none", "--model-path", network, "--iters", "2,5"]
    result = subprocess.run(
        [sys.executable, TOOL, *words, "--runs", "1", "--model-shape", "native"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Best of all: constant, 5 iterations" in result.stdout
    assert (tmp_path / "output" / "compare_models" / "comparison.csv").is_file()


def test_charts_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.lib.charts.can_draw", lambda: False)
    with pytest.raises(UsageError, match=r"requirements-dev\.txt"):
        new_figure(4, 3)
