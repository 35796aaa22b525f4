"""tools/evaluate.py on miniature data sets of every layout, with networks of known answers."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from crestereo.errors import ModelFileError, SourceError, UsageError
from crestereo.formats import read_image, write_image
from crestereo.types import StereoPair
from tests import mini_datasets as mini
from tests.tiny_models import init_model, lite_model, save_graph
from tools import evaluate
from tools.lib.cli import add_model_options, chosen_methods
from tools.lib.datasets import find_scenes, load_scene, seen_by_both
from tools.lib.methods import BASELINES, Method, open_method
from tools.lib.sgbm import half_size_prior, sgbm_disparity

EVAL = Path(__file__).parents[1].parent / "shared" / "eval"
TOOL = Path(__file__).parents[1] / "tools" / "evaluate.py"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A network whose answer is ``iters`` everywhere; confidence is red / 255 of the left."""
    return lite_model(tmp_path / "networks" / "constant.onnx", weights=(0, 0, 0))


def run(dataset: Path, *words: str | Path) -> tuple[int, list[dict[str, str]]]:
    """Run the tool and return its exit code and the lines of its CSV."""
    table = dataset / "results.csv"
    arguments = [dataset, "--csv", table, "--overwrite", *words]
    code = evaluate.main([str(word) for word in arguments])
    with table.open(encoding="utf-8", newline="") as file:
        return code, list(csv.DictReader(file))


def only(network: Path) -> list[str | Path]:
    return ["--model-version", "none", "--model-path", network]


LAYOUTS = {
    "middlebury v3": lambda root: mini.middlebury_scene(root / "MiddEval3" / "trainingQ" / "Piano"),
    "middlebury 2014": lambda root: mini.middlebury_scene(
        root / "Piano-perfect", truth_name="disp0.pfm"
    ),
    "eth3d": lambda root: mini.middlebury_scene(root / "two_view_training" / "delivery_area_1l"),
    "eth3d, ground truth apart": lambda root: mini.middlebury_scene(
        root / "two_view_training" / "delivery_area_1l",
        truth_folder=root / "two_view_training_gt" / "delivery_area_1l",
    ),
    "kitti 2015": lambda root: mini.kitti_training(root, 2015),
    "kitti 2012": lambda root: mini.kitti_training(root, 2012),
    "kitti 2012, grey": lambda root: mini.kitti_training(root, 2011),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_measured_to_the_pixel(layout: str, tmp_path: Path, network: Path) -> None:
    """The network says 5; the ground truth is 5 in one half and 8 in the other, so half are wrong.

    Of the non-occluded pixels (three quarters) a third is 5 and two thirds are 8.
    """
    LAYOUTS[layout](tmp_path / "data")
    code, rows = run(tmp_path / "data", *only(network))
    assert code == 0
    (row,) = rows
    assert float(row["pixels"]) == (mini.HEIGHT - 1) * mini.WIDTH
    assert float(row["EPE"]) == pytest.approx(1.5)
    assert float(row["bad-2"]) == pytest.approx(50)
    assert float(row["bad-3"]) == 0  # an error of exactly 3 px
    assert float(row["RMS"]) == pytest.approx(4.5**0.5)
    assert float(row["bad-2 nonocc"]) == pytest.approx(200 / 3)
    assert float(row["EPE nonocc"]) == pytest.approx(2)
    assert (row["iters"], row["shape"], row["unknown"]) == ("5", "native", "wrong")


def test_a_rendered_sample_is_measured(tmp_path: Path, network: Path) -> None:
    mini.rendered_sample(tmp_path / "data")
    _, (row,) = run(tmp_path / "data", *only(network), "--iters", "4")
    assert float(row["EPE"]) == pytest.approx(2)  # the plane is at 6 px
    assert (row["group"], row["scene"]) == ("data", "desk")
    assert float(row["pixels nonocc"]) == mini.HEIGHT * (mini.WIDTH - mini.SHIFT_PX)


def test_the_network_may_be_smaller_than_the_image(tmp_path: Path, network: Path) -> None:
    """With the area of 64x96 the image (70x100) is 94 px wide: 4 px there are 4 * 100/94 here."""
    mini.rendered_sample(tmp_path / "data")
    _, (row,) = run(tmp_path / "data", *only(network), "--iters", "4", "--model-shape", "64x96")
    assert float(row["EPE"]) == pytest.approx(6 - 4 * mini.WIDTH / 94, abs=1e-3)


def test_every_iters_and_shape_runs_and_a_fixed_file_runs_once(
    tmp_path: Path, network: Path
) -> None:
    mini.rendered_sample(tmp_path / "data")
    fixed = init_model(tmp_path / "networks" / "other_iter5_64x96.onnx", (64, 96))
    _, rows = run(
        tmp_path / "data",
        *only(network),
        *("--model-path", fixed, "--iters", "2,7", "--model-shape", "64x96,native"),
    )
    ran = [(row["model"], row["iters"], row["shape"]) for row in rows]
    assert ran[:4] == [
        ("constant", iters, shape) for iters in ("2", "7") for shape in ("64x96", "native")
    ]
    assert ran[4:] == [("other_iter5_64x96", "5", "64x96")]


def test_the_prior_reaches_the_network(tmp_path: Path, network: Path) -> None:
    """This network adds the mean of its prior, which the matcher puts at the plane's 6 px."""
    mini.rendered_sample(tmp_path / "data")
    _, (row,) = run(tmp_path / "data", *only(network), "--iters", "1", "--prior", "sgbm")
    assert float(row["EPE"]) == pytest.approx(1, abs=0.1)  # 1 + 6 for 6


def test_the_previous_frame_reaches_the_network(tmp_path: Path, network: Path) -> None:
    """Each answer is 1 plus the mean of the one before, except at the start of a clip."""
    for clip in ("a", "b"):
        for frame in ("f0", "f1", "f2"):
            mini.rendered_sample(tmp_path / "data" / clip, frame)
    _, rows = run(tmp_path / "data", *only(network), "--iters", "1", "--prior", "previous")
    assert [float(row["EPE"]) for row in rows] == pytest.approx([5, 4, 3] * 2)  # 1, 2, 3 for 6


def test_a_prior_for_a_network_that_takes_none_is_refused(tmp_path: Path) -> None:
    mini.rendered_sample(tmp_path / "data")
    plain = lite_model(tmp_path / "networks" / "plain.onnx", with_prior=False)
    with pytest.raises(UsageError, match="takes no prior"):
        run(tmp_path / "data", *only(plain), "--prior", "sgbm")


def test_confidence_is_scored(tmp_path: Path, network: Path) -> None:
    """Wrong in the right half (8 for 5); sure of the left half and of three fifths of the right.

    So the surest 80 % are the left half, all right, and 30 % of all, wrong: 30 / 80.
    """
    scene = mini.middlebury_scene(tmp_path / "data" / "a")
    left = read_image(scene / "im0.png")
    left[..., 2] = 0
    left[:, : mini.WIDTH // 2, 2] = 250
    left[:, mini.WIDTH // 2 : mini.WIDTH * 8 // 10, 2] = 200
    write_image(scene / "im0.png", left)
    _, (row,) = run(tmp_path / "data", *only(network))
    assert float(row["bad-2 top 80 %"]) == pytest.approx(100 * 30 / 80, abs=0.01)
    # half are sure (250/255), of which half are right: the left quarter is occluded; 3/10 are
    # less sure and wrong; the rest is unsure and wrong
    by_hand = (0.5 * 250 / 255 - 0.25) + 0.3 * 200 / 255
    assert float(row["ECE"]) == pytest.approx(100 * by_hand, abs=0.01)
    # mean height of the curve: 0 up to 1/2, then 1 - 1/(2s): integral 1/2 - ln(2) / 2
    assert float(row["AUSC"]) == pytest.approx(50 - 50 * np.log(2), abs=0.5)


def stacked_grey_model(path: Path) -> Path:
    """Write a network like HITNet: 10 times the left grey value, [1,2,H,W] -> [1,H,W,1]."""
    nodes = [
        helper.make_node("Slice", ["input:0", "start", "end", "axis"], ["left"]),
        helper.make_node("Mul", ["left", "ten"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["output"], perm=[0, 2, 3, 1]),
    ]
    numbers = {"start": [0], "end": [1], "axis": [1]}
    constants = [
        onnx.numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in numbers.items()
    ]
    constants.append(onnx.numpy_helper.from_array(np.array(10, np.float32), "ten"))
    return save_graph(
        path,
        nodes,
        inputs=[("input:0", TensorProto.FLOAT, [1, 2, "H", "W"])],
        outputs=[("output", TensorProto.FLOAT, [1, "H", "W", 1])],
        constants=constants,
    )


def test_a_stacked_grey_network_sees_grey_and_gives_the_images_grid(tmp_path: Path) -> None:
    path = stacked_grey_model(tmp_path / "grey.onnx")
    run_network = open_method(Method("grey", path))
    left = np.zeros((70, 100, 3), np.uint8)
    left[:, 50:] = 51  # a fifth of white: 2 px
    result = run_network(StereoPair(left, left.copy()), 16)
    assert result.disparity.shape == (70, 100)
    np.testing.assert_allclose(result.disparity[:, :50], 0)
    np.testing.assert_allclose(result.disparity[:, 50:], 2, rtol=1e-5)


def test_a_network_of_another_kind_is_refused(tmp_path: Path) -> None:
    mini.rendered_sample(tmp_path / "data")
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    shape = [1, 7]
    other = save_graph(
        tmp_path / "other.onnx",
        nodes,
        inputs=[("x", TensorProto.FLOAT, shape)],
        outputs=[("y", TensorProto.FLOAT, shape)],
    )
    with pytest.raises(ModelFileError):
        run(tmp_path / "data", *only(other))


def test_sgbm_finds_a_shift() -> None:
    left, right = mini.shifted_pair(7)
    disparity = sgbm_disparity(left, right, 16)
    assert np.isfinite(disparity).all()
    assert (np.abs(disparity - 7) < 0.5).mean() > 0.95
    raw = sgbm_disparity(left, right, 16, mode="3way", filled=False)
    assert np.isnan(raw[:, :4]).any()  # the right camera does not see this border
    assert np.nanmedian(raw) == pytest.approx(7, abs=0.1)


def test_the_prior_is_on_the_grid_of_the_images() -> None:
    left, right = mini.shifted_pair(8)
    prior = half_size_prior(left, right, 16)
    assert prior.shape == left.shape[:2]
    assert np.nanmedian(prior) == pytest.approx(8, abs=0.2)


def test_baselines_run_beside_a_network_in_one_table(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mini.rendered_sample(tmp_path / "data")
    _, rows = run(tmp_path / "data", *only(network), "--baseline", "sgbm,sgbm-3way")
    assert [row["model"] for row in rows] == ["constant", "SGBM", "SGBM 3-way"]
    assert float(rows[1]["bad-1"]) < 10 < float(rows[0]["bad-0.5"])
    table = capsys.readouterr().out
    lines = [line for line in table.splitlines() if line.startswith("| data")]
    assert len(lines) == 3
    assert all(float(row["seconds"]) > 0 for row in rows)


def test_an_estimate_with_holes_is_scored_both_ways(tmp_path: Path) -> None:
    mini.rendered_sample(tmp_path / "data")
    _, rows = run(tmp_path / "data", "--model-version", "none", "--baseline", "sgbm-holes")
    wrong, ignored = rows
    assert (wrong["unknown"], ignored["unknown"]) == ("wrong", "ignored")
    share = float(wrong["density"]) / 100
    assert 0.5 < share < 1
    # what is bad among the known ones is bad among all too; the unknown ones come on top
    expected = share * float(ignored["bad-2"]) + 100 * (1 - share)
    assert float(wrong["bad-2"]) == pytest.approx(expected)
    assert wrong["EPE"] == ignored["EPE"]


def test_a_broken_scene_is_reported_and_skipped(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mini.middlebury_scene(tmp_path / "data" / "good")
    for name, file in (("no_right", "im1.png"), ("no_truth", "disp0GT.pfm")):
        (mini.middlebury_scene(tmp_path / "data" / name) / file).unlink()
    cut = mini.middlebury_scene(tmp_path / "data" / "cut_truth") / "disp0GT.pfm"
    cut.write_bytes(cut.read_bytes()[:1000])
    code, rows = run(tmp_path / "data", *only(network))
    assert code == SourceError.exit_code
    assert [row["scene"] for row in rows] == ["good"]
    errors = capsys.readouterr().err
    for name in ("no_right", "no_truth", "cut_truth"):
        assert f"skipped data/{name}: " in errors


def test_middlebury_weights_halve_its_hardest_scenes(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Piano is right everywhere, PianoL wrong by 3 px: plain 1.5, weighted 3 * 0.5 / 1.5 = 1."""
    folder = tmp_path / "data" / "MiddEval3" / "trainingQ"
    right = np.full((mini.HEIGHT, mini.WIDTH), 5, np.float32)
    mini.middlebury_scene(folder / "Piano", right)
    mini.middlebury_scene(folder / "PianoL", right + 3)
    run(tmp_path / "data", *only(network))
    plain, weighted = data_rows(capsys.readouterr().out)
    assert (plain[0], float(plain[4])) == ("trainingQ (2)", 1.5)
    assert (weighted[0], float(weighted[4])) == ("trainingQ, weighted", 1.0)


def test_kitti_adds_up_pixels(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """EPE 1.5 over 100 columns, 0 over 50: plain 0.75, by pixels 150 / 150 = 1.

    Both cameras see 75 and 25 columns, of which 50 and none are bad: plain 33.3, by pixels 50 %.
    """
    mini.kitti_training(tmp_path / "data", 2015, known_columns=(100, 50))
    run(tmp_path / "data", *only(network))
    plain, weighted = data_rows(capsys.readouterr().out)
    assert (plain[0], float(plain[4]), plain[7]) == ("training (2)", 0.75, "33.3")
    assert (weighted[0], float(weighted[4]), weighted[7]) == ("training, weighted", 1.0, "50.0")


def data_rows(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_means_over_all_scenes_and_by_folder(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = np.full((mini.HEIGHT, mini.WIDTH), 5, np.float32)
    mini.middlebury_scene(tmp_path / "data" / "one" / "a", right)
    mini.middlebury_scene(tmp_path / "data" / "two" / "b", right + 1)
    mini.middlebury_scene(tmp_path / "data" / "two" / "c", right + 2)
    run(tmp_path / "data", *only(network), "--per-scene")
    rows = data_rows(capsys.readouterr().out)
    means = {row[0]: row[4] for row in rows if len(row) > 4}
    assert means["all (3)"] == "1.00"  # (0 + 1 + 2) / 3
    assert means["one (1)"] == "0.00"
    assert means["two (2)"] == "1.50"
    assert rows[-1] == ["two/c", "0.0"]  # bad-2: an error of exactly 2 is not bad


def test_it_is_said_where_another_is_better(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At 5 iterations "easy" is right and "hard" (8 px) wrong; at 8 it is the other way round."""
    right = np.full((mini.HEIGHT, mini.WIDTH), 5, np.float32)
    mini.middlebury_scene(tmp_path / "data" / "one" / "easy", right)
    mini.middlebury_scene(tmp_path / "data" / "two" / "hard", right + 3)
    run(tmp_path / "data", *only(network), "--iters", "5,8", "--per-scene", "--no-folders")
    out = capsys.readouterr().out
    assert "constant, 8 it has the smaller bad-2 in 1 of 2 scenes: hard (100.0)." in out
    assert "| one (1)" not in out


def test_chosen_scenes_only(tmp_path: Path, network: Path) -> None:
    for name in ("a", "b", "c"):
        mini.middlebury_scene(tmp_path / "data" / name)
    _, rows = run(tmp_path / "data", *only(network), "--scenes", "a,c")
    assert [row["scene"] for row in rows] == ["a", "c"]
    with pytest.raises(SourceError, match="no scene d"):
        run(tmp_path / "data", *only(network), "--scenes", "d")


def test_json_holds_the_same_rows(tmp_path: Path, network: Path) -> None:
    mini.middlebury_scene(tmp_path / "data" / "a")
    _, (row,) = run(tmp_path / "data", *only(network), "--json", tmp_path / "results.json")
    (record,) = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert record["EPE"] == pytest.approx(float(row["EPE"]))
    assert record["iters"] == 5


def test_charts_are_written(tmp_path: Path, network: Path) -> None:
    for name in ("a", "b"):
        mini.middlebury_scene(tmp_path / "data" / name)
    run(tmp_path / "data", *only(network), "--baseline", "sgbm", "--plots", tmp_path / "plots")
    written = {path.name: read_image(path).shape for path in (tmp_path / "plots").iterdir()}
    assert set(written) == {"bad2_by_scene.png", "error_over_time.png", "sparsification.png"}
    assert all(shape[1] >= 600 for shape in written.values())


def test_nothing_is_overwritten_unasked(tmp_path: Path, network: Path) -> None:
    mini.middlebury_scene(tmp_path / "data" / "a")
    table = tmp_path / "mine.csv"
    table.write_text("precious", "utf-8")
    words = [str(w) for w in (tmp_path / "data", *only(network), "--csv", table)]
    with pytest.raises(UsageError, match="exists already"):
        evaluate.main(words)
    assert table.read_text("utf-8") == "precious"


def test_disparities_to_search(tmp_path: Path) -> None:
    """What calib.txt says; else the largest true value, rounded up, and 0."""
    mini.middlebury_scene(tmp_path / "a" / "told", ndisp=33)
    mini.middlebury_scene(tmp_path / "a" / "untold", two := mini.two_halves() + 0.5, ndisp=None)
    told, untold = (load_scene(scene).disparities for scene in find_scenes(tmp_path / "a"))
    assert (told, untold) == (33, int(np.ceil(np.nanmax(two))) + 1)
    mini.kitti_training(tmp_path / "k", 2015)
    assert load_scene(find_scenes(tmp_path / "k")[0]).disparities == 256


def test_seen_by_both_knows_borders_and_hidden_pixels() -> None:
    # x - d: -1 (outside), 0, then 2 - 0 = 2, 3 - 0 = 3 (hidden by the last), 7 - 4 = 3, 5 - 0 = 5
    ground_truth = np.array([[1, 1, 0, 0, np.nan, 0, np.nan, 4]], np.float32)
    seen = [[False, True, True, False, False, True, False, True]]
    np.testing.assert_array_equal(seen_by_both(ground_truth), seen)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--iters", "two"], "whole numbers"),
        (["--iters", "0"], "from 1 to"),
        (["--model-shape", "wide"], "HEIGHTxWIDTH"),
        (["--baseline", "magic"], "choose of"),
        (["--model-version", "none"], "nothing to measure"),
        (["--model-version", "init"], "fixed size"),
    ],
)
def test_impossible_options_are_refused(tmp_path: Path, words: list[str], message: str) -> None:
    mini.middlebury_scene(tmp_path / "data" / "a")
    with pytest.raises(UsageError, match=message):
        evaluate.main([str(tmp_path / "data"), *words])


def test_what_cannot_be_written_is_said_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    for flag in ("--csv", "--plots"):
        with pytest.raises(UsageError, match="file is a file; name another place"):
            evaluate.main([str(tmp_path), flag, str(tmp_path / "file" / "x.csv")])
    monkeypatch.setattr("tools.lib.charts.can_draw", lambda: False)
    with pytest.raises(UsageError, match="need matplotlib"):
        evaluate.main([str(tmp_path), "--plots", str(tmp_path / "charts")])


def test_a_damaged_network_is_a_model_error(tmp_path: Path) -> None:
    mini.middlebury_scene(tmp_path / "data" / "a")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ModelFileError, match="damaged or cut off"):
        run(tmp_path / "data", *only(tmp_path / "text.onnx"))


def test_a_missing_network_is_named(tmp_path: Path) -> None:
    mini.middlebury_scene(tmp_path / "data" / "a")
    with pytest.raises(ModelFileError, match=r"nowhere\.onnx"):
        run(tmp_path / "data", *only(tmp_path / "nowhere.onnx"))


def test_as_a_user_runs_it(tmp_path: Path) -> None:
    """As a process, from another folder: the table on success, one sentence on failure."""
    mini.rendered_sample(tmp_path / "data")
    words = [sys.executable, str(TOOL), "data", "--model-version", "none", "--baseline", "sgbm"]
    good = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stderr
    assert "SGBM" in good.stdout
    shutil.rmtree(tmp_path / "data")
    bad = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert bad.returncode == SourceError.exit_code
    assert len(bad.stderr.strip().splitlines()) == 1
    assert "is not a folder" in bad.stderr


def test_every_baseline_has_its_own_name() -> None:
    assert len({settings[0] for settings in BASELINES.values()}) == len(BASELINES)


@pytest.mark.skipif(not EVAL.is_dir(), reason="the evaluation pairs are not beside the checkout")
def test_sgbm_reaches_its_known_figures(tmp_path: Path) -> None:
    """Tuned full SGBM on the 20 pairs: bad-2 13.3, non-occluded 8.9, bad-1 17.3, EPE 1.64."""
    table = tmp_path / "sgbm.csv"
    words = [str(EVAL), "--model-version", "none", "--baseline", "sgbm", "--csv", str(table)]
    assert evaluate.main(words) == 0
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    figures = {name: np.mean([float(row[name]) for row in rows]) for name in rows[0] if "b" in name}
    assert figures["bad-2"] == pytest.approx(13.3, abs=0.5)
    assert figures["bad-2 nonocc"] == pytest.approx(8.9, abs=0.5)
    assert figures["bad-1"] == pytest.approx(17.3, abs=0.5)
    assert np.mean([float(row["EPE"]) for row in rows]) == pytest.approx(1.64, abs=0.1)


@pytest.mark.parametrize(
    ("size", "text"), [((240, 320), "240x320"), (1.0, "native"), (1.5, "1.5x"), (2.0, "2x")]
)
def test_a_size_is_named_as_it_is_given(size: tuple[int, int] | float, text: str) -> None:
    parser = argparse.ArgumentParser()
    add_model_options(parser, iters="5", shapes=text)
    (method,) = chosen_methods(parser.parse_args([]))
    assert (method.size, method.size_text) == (size, text)


def test_images_are_enlarged_to_a_multiple_of_their_size(tmp_path: Path) -> None:
    # given a network and images of 64x96, when it works at 1.5 times their size
    path = lite_model(tmp_path / "lite.onnx")
    pair = StereoPair(*(np.zeros((64, 96, 3), np.uint8) for _ in range(2)), "pair")
    result = open_method(Method("lite", path, 2, 1.5))(pair, 16)
    # then the disparity has the size of the images
    assert result.disparity.shape == (64, 96)
