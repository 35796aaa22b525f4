"""Training: losses, ring buffer of scenes, batches, checkpoints and resumed runs."""

from __future__ import annotations

import csv
import math
import multiprocessing as mp
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training/ needs PyTorch: requirements-train.txt")

from training import data  # noqa: E402
from training.checkpoints import Facts, restore, save  # noqa: E402
from training.data import batches, make_prior, to_batch, vary  # noqa: E402
from training.export import export  # noqa: E402
from training.judge import append, drop_rows_after  # noqa: E402
from training.losses import bins_loss, disparity_loss, loss, start_loss  # noqa: E402
from training.network import LiteStereo, Upsample  # noqa: E402
from training.pool import Ring, Shape, place_after  # noqa: E402
from training.processes import wait_for  # noqa: E402
from training.scenes import render_scene  # noqa: E402
from training.train import draw_iters  # noqa: E402

ROOT = Path(__file__).parents[2]
SMALL = Shape(96, 160, 64, 128, 1.0)


def test_a_network_learns_one_scene_by_heart() -> None:
    # given one scene
    torch.manual_seed(0)
    blank = np.full((96, 160), np.nan, np.float32)
    batch = to_batch([(render_scene(4, 96, 160), blank)]).to(torch.device("cpu"))
    net = LiteStereo().train()
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3)
    errors = []
    # when the network is trained on it alone
    for _ in range(12):
        terms = loss(net(batch.left, batch.right, 2, batch.prior), batch.ground_truth)
        optimizer.zero_grad()
        terms["total"].backward()
        optimizer.step()
        errors.append(float(terms["final"]))
    # then its error falls
    assert np.mean(errors[-3:]) < 0.7 * np.mean(errors[:3])


def test_every_weight_learns() -> None:
    # given a network after two steps, so that what starts as zero has grown
    torch.manual_seed(0)
    net = LiteStereo().train()
    blank = np.full((96, 160), np.nan, np.float32)
    batch = to_batch([(render_scene(4, 96, 160), blank)]).to(torch.device("cpu"))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        loss(net(batch.left, batch.right, 4, batch.prior), batch.ground_truth)["total"].backward()
        optimizer.step()
    # then the loss reaches every one of them
    still = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_a_very_large_error_counts_hardly_more_than_one_of_some_pixels() -> None:
    # given errors of nothing, 1, 8 and 80 px
    goal = torch.zeros(1, 1, 1, 1)
    errors = torch.tensor([0.0, 1.0, 8.0, 80.0], requires_grad=True)
    # when they are weighed
    values = torch.stack(
        [disparity_loss(e.reshape(1, 1, 1, 1), 1, goal, torch.ones_like(goal)) for e in errors]
    )
    values.sum().backward()
    values = values.detach()
    # then they rise from 0, and the pull of each pixel falls with its error
    assert values[0] == 0
    assert float(values[1]) == pytest.approx(4 * math.log1p(0.75 / 4))
    assert values.diff().min() > 0
    assert errors.grad is not None
    _, near, far, lost = errors.grad.tolist()
    assert near > 2 * far > 10 * lost > 0


def test_the_bins_loss_is_least_at_the_truth() -> None:
    # given cells of 16 px disparity (bin 2 of 5), and scores for the right and for a wrong bin
    quarter, weight = torch.full((1, 1, 2, 2), 16.0), torch.ones(1, 1, 2, 2)
    right, wrong = torch.zeros(1, 1, 1, 7, 1), torch.zeros(1, 1, 1, 7, 1)
    right[..., 3, :], wrong[..., 5, :] = 5.0, 5.0  # with the border of one
    # then a vote for the truth costs -log softmax = log(e^5 + 4) - 5 = 0.0266
    assert float(bins_loss(right, quarter, weight)) == pytest.approx(0.0266, abs=1e-3)
    assert float(bins_loss(wrong, quarter, weight)) > 4


def test_a_ring_gives_back_what_was_rendered(tmp_path: Path) -> None:
    ring = Ring(tmp_path, SMALL, 3)
    ring.write(1, seed=5)
    assert ring.filled().tolist() == [1]
    sample, scene = ring.read(1), render_scene(5, 96, 160)
    assert sample is not None
    np.testing.assert_array_equal(sample.left, scene.left)
    np.testing.assert_allclose(sample.disparity_right, scene.disparity_right, atol=1 / 64)
    assert ring.read(0) is None
    # and it is still there for the next process
    assert Ring(tmp_path, SMALL, 3).filled().tolist() == [1]


@pytest.mark.parametrize("seed", range(6))
def test_a_varied_sample_is_still_true(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "OFFSET_SHARE", 0)  # tested separately
    monkeypatch.setattr(data, "UNEVEN_SHARE", 0)
    # given a scene without a difference between the views, cut and mirrored at random
    rng = np.random.default_rng(seed)
    scene = vary(render_scene(seed, 96, 160, augment=False), SMALL, rng)
    # when the right image is brought to the left by the truth
    rows, columns = np.mgrid[0:64, 0:128]
    source = columns - scene.disparity_left
    assert not (~scene.occluded_left & (source < -1)).any()  # cut off with the crop
    inside = ~scene.occluded_left & (source >= 1) & (source < 126)
    below = np.clip(np.floor(source), 0, 126).astype(int)
    share = (source - below)[..., None]
    warped = scene.right[rows, below] * (1 - share) + scene.right[rows, below + 1] * share
    # then it is the left image, up to the pixels at edges
    difference = np.abs(warped - scene.left).mean(axis=2)[inside]
    assert np.median(difference) < 2


@pytest.mark.parametrize("seed", range(4))
def test_a_smaller_sample_keeps_its_truth(seed: int) -> None:
    # given a scene without a difference between the views, reduced to 0.75 of its size
    scene = data.downscale(render_scene(seed, 96, 160, augment=False), 0.745)
    assert scene.left.shape == scene.right.shape == (72, 120, 3)
    assert scene.occluded_left.dtype == bool
    rows, columns = np.mgrid[0:72, 0:120].astype(np.float32)
    inside = ~scene.occluded_left & (columns - scene.disparity_left >= 2)

    def difference(more: float) -> float:
        source = columns - scene.disparity_left - more
        warped = cv2.remap(scene.right, source, rows, interpolation=cv2.INTER_LINEAR)
        return float(np.abs(warped.astype(float) - scene.left)[inside].mean())

    # then the right image, brought to the left by the truth, is as near as it gets
    assert difference(0) == min(difference(more) for more in np.float32([-1, -0.5, 0, 0.5, 1]))


@pytest.mark.parametrize("seed", range(4))
def test_views_apart_in_height_keep_their_truth(seed: int) -> None:
    # given a scene whose right image is moved up or down, and rolled for some seeds
    scene = render_scene(seed, 96, 160, augment=False)
    scene = data.add_vertical_offset(scene, np.random.default_rng(seed))
    rows, columns = np.mgrid[0:96, 0:160].astype(np.float32)
    middle = ~scene.occluded_left & (abs(columns - 80) < 20) & (abs(rows - 48) < 44)

    def difference(height: float, more: float) -> float:
        source = columns - scene.disparity_left - more, rows + height
        warped = cv2.remap(scene.right, *map(np.float32, source), interpolation=cv2.INTER_LINEAR)
        return float(np.median(np.abs(warped.astype(float) - scene.left).mean(axis=2)[middle]))

    # then some height of at most 2 px (and the roll's part) brings it to the left one
    heights = np.arange(-2.5, 2.6, 0.25)
    best = min(heights, key=lambda height: difference(height, 0))
    assert difference(best, 0) < 4
    assert difference(best, 0) < min(difference(best, -2), difference(best, 2))


def test_a_lamp_lights_one_image_unevenly() -> None:
    lit = data.light_unevenly(np.full((96, 160, 3), 100, np.uint8), np.random.default_rng(0))
    assert lit.min() < 90
    assert lit.max() > 110
    assert np.abs(np.diff(lit.astype(int), axis=1)).max() <= 8  # without edges


def test_a_third_of_the_batches_shows_the_full_width(tmp_path: Path) -> None:
    ring = data.rings(tmp_path, 64)
    for each in ring:
        each.write(0, seed=3)
    source = batches(tmp_path, 64, 61440, 0)
    widths = [next(source).left.shape[3] for _ in range(40)]
    assert {320, 448, 640, 704} & set(widths) >= {320, 448}
    assert 5 <= sum(width in {448, 704, 512} for width in widths) <= 30
    # when no more are wanted, then no thread is left that would run while Python ends
    source.close()
    assert not [t.name for t in threading.enumerate() if "fill" in t.name]


def test_priors_come_in_every_kind() -> None:
    scene = render_scene(3, 128, 192)
    rng = np.random.default_rng(0)
    known = [np.isfinite(make_prior(scene, rng)).mean() for _ in range(40)]
    assert sum(k == 0 for k in known) > 8  # nothing known
    assert sum(k > 0.5 for k in known) > 8  # most known


def train(run: Path, minutes: float) -> list[dict[str, str]]:
    """Train briefly from the command line and return the validation log."""
    command = [sys.executable, "-m", "training.train", "--run", str(run), "--processes", "2"]
    command += ["--minutes", str(minutes), "--slots", "64", "--batch-pixels", "61440"]
    command += ["--held-out", "1", "--device", "cpu", "--workers", "1", "--validate-every", "10"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    with (run / "validation.csv").open() as file:
        return list(csv.DictReader(file))


def test_iterations_are_drawn_from_two_to_the_most_and_few_more_often() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_iters(rng, 16) for _ in range(4000)]
    counts = np.bincount(drawn, minlength=17)
    assert set(drawn) == set(range(2, 17))
    assert counts[2:5].sum() > 2 * counts[14:17].sum()


def test_a_share_of_the_steps_ends_after_the_start() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_iters(rng, 8, 2 / 3) for _ in range(4000)])
    assert abs((drawn == 0).mean() - 2 / 3) < 0.05
    assert set(drawn[drawn > 0]) == set(range(2, 9))


def test_a_step_that_ends_after_the_start_sees_what_a_whole_one_sees() -> None:
    # given a scene, a whole pass over it, and one that ends after the start
    torch.manual_seed(0)
    blank = np.full((96, 160), np.nan, np.float32)
    batch = to_batch([(render_scene(4, 96, 160), blank)]).to(torch.device("cpu"))
    net = LiteStereo().eval()
    whole = loss(net(batch.left, batch.right, 2, batch.prior), batch.ground_truth)
    short = start_loss(*net.search(batch.left, batch.right, batch.prior), batch.ground_truth)
    # then both give the same errors of the start
    for term in ("start", "initial"):
        assert float(short[term]) == pytest.approx(float(whole[term]), rel=1e-5)
    # and the weights behind the start, and only they, are left alone
    short["total"].backward()
    idle = {n.split(".")[0] for n, p in net.named_parameters() if p.grad is None}
    busy = {n.split(".")[0] for n, p in net.named_parameters() if p.grad is not None}
    assert busy == {"encoder", "start"}
    assert {"step_8", "step_4", "refine"} <= idle


@pytest.mark.timeout(400)  # six processes start, each of which imports PyTorch
def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = train(run, 0.1)
    assert (run / "latest.pt").stat().st_size < 15e6
    second = train(run, 0.1)
    assert len(second) == 2
    assert int(second[1]["samples"]) > int(first[0]["samples"]) > 0


def test_a_checkpoint_gives_back_both_copies_of_the_weights(tmp_path: Path) -> None:
    # given a network whose slow copy lies a little behind, and an optimizer that has stepped
    torch.manual_seed(0)
    ema, net = LiteStereo(), LiteStereo()
    net.load_state_dict(ema.state_dict())
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    sum(p.square().sum() for p in net.parameters()).backward()
    optimizer.step()
    # when it is saved and restored into others
    save(tmp_path / "a.pt", net, ema, optimizer, Facts("run", samples=7))
    slow, fast = LiteStereo(), LiteStereo()
    again = torch.optim.AdamW(fast.parameters(), 1e-2)
    facts = restore(tmp_path / "a.pt", fast, slow, again)
    # then the slow copy is the same, the fast one to within 1 % of a step
    assert facts.samples == 7
    assert all(torch.equal(a, b) for a, b in zip(slow.parameters(), ema.parameters(), strict=True))
    assert all(
        torch.allclose(a, b, atol=1e-4, rtol=0)
        for a, b in zip(fast.parameters(), net.parameters(), strict=True)
    )
    # and the optimizer's moments to within the precision of bfloat16
    for old, new in zip(net.parameters(), fast.parameters(), strict=True):
        before, after = optimizer.state[old], again.state[new]
        assert before["step"] == after["step"]
        for name in ("exp_avg", "exp_avg_sq"):
            assert torch.allclose(before[name], after[name], rtol=0.01)


def test_a_checkpoint_that_does_not_fit_is_not_exported(tmp_path: Path) -> None:
    weights = LiteStereo().state_dict()
    del weights["refine.head.weight"]
    torch.save({"ema": weights, "run": "r", "samples": 1}, tmp_path / "a.pt")
    with pytest.raises(RuntimeError, match=r"refine\.head\.weight"):
        export(tmp_path / "a.pt", tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_rendering_goes_on_after_the_newest_scene(tmp_path: Path) -> None:
    ring = Ring(tmp_path, SMALL, 8)
    assert [place_after(ring, worker, 2) for worker in (0, 1)] == [0, 1]
    ring.seeds[:] = [9, 10, 11, 4, 5, 6, 7, 8]
    assert [place_after(ring, worker, 2) for worker in (0, 1)] == [4, 3]


def test_logs_forget_what_came_after_the_last_checkpoint(tmp_path: Path) -> None:
    log = tmp_path / "train.csv"
    for samples in (40, 80, 120, 160):
        append(log, {"samples": samples, "rate": 0.001})
    drop_rows_after(log, 80)
    assert log.read_text().split() == ["samples,rate", "40,0.001", "80,0.001"]
    drop_rows_after(log, 0)
    assert not log.exists()
    drop_rows_after(log, 0)


def test_an_error_of_a_loader_reaches_the_trainer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty"):  # there is no scene to draw
        next(batches(tmp_path, 64, 61440, 0))


def test_a_constant_disparity_stays_what_it_is_in_mixed_precision() -> None:
    upsample = Upsample(8)
    with torch.autocast("cpu", torch.bfloat16):
        doubled = upsample(torch.randn(1, 8, 6, 7), torch.full((1, 1, 6, 7), 57.3))
    assert doubled.dtype == torch.float32
    assert torch.allclose(doubled, torch.tensor(57.3), atol=1e-3)


@pytest.mark.parametrize(
    ("trainers", "renderer", "says"),
    [
        (("pass", "pass"), "time.sleep(60)", ""),
        (("time.sleep(60)",), "sys.exit(3)", "A rendering process failed"),
        (("time.sleep(60)", "sys.exit(3)"), "time.sleep(60)", "A training process failed"),
    ],
)
def test_no_process_waits_for_a_dead_one(
    trainers: tuple[str, ...], renderer: str, says: str
) -> None:
    context = mp.get_context("spawn")
    import_both = "import sys, time; "
    learning = [context.Process(target=exec, args=(import_both + code,)) for code in trainers]
    rendering = [context.Process(target=exec, args=(import_both + renderer,), daemon=True)]
    for process in (*learning, *rendering):
        process.start()
    begin = time.monotonic()
    try:
        with pytest.raises(SystemExit, match=says) if says else nullcontext():
            wait_for(learning, rendering)
    finally:
        for process in (*learning, *rendering):
            process.kill()
    assert time.monotonic() - begin < 30
