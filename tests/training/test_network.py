"""The network: shapes, what a prior does, and the ONNX file against PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="training/ needs PyTorch: requirements-train.txt")

from training.export import MAX_ITERS, build, export  # noqa: E402
from training.network import LiteStereo, mean_of_pairings, taps  # noqa: E402
from training.scenes import render_scene  # noqa: E402

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "training" / "checkpoint.pt"
BUNDLED = ROOT / "models" / "crestereo_lite.onnx"
EVAL = ROOT.parent / "shared" / "eval"


def trained() -> LiteStereo:
    """Return the network with the bundled weights."""
    net = LiteStereo()
    net.load_state_dict(torch.load(CHECKPOINT, weights_only=True)["ema"])
    return net.eval()


def pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Render a pair as input of the file: (1, 3, H, W) float32 RGB."""
    scene = render_scene(77, height, width)
    images = [np.ascontiguousarray(p[:, :, ::-1]) for p in (scene.left, scene.right)]
    left, right = (p.transpose(2, 0, 1)[None].astype(np.float32) for p in images)
    return left, right


def in_torch(net: LiteStereo, left: np.ndarray, right: np.ndarray, iters: int) -> np.ndarray:
    """Run PyTorch on the pair, padded to multiples of 32 as the file does inside."""
    height, width = left.shape[2:]
    margin = ((0, 0), (0, 0), (0, -height % 32), (0, -width % 32))
    padded = [torch.from_numpy(np.pad(p, margin, mode="edge")) for p in (left, right)]
    with torch.no_grad():
        return net(*padded, iters).disparity[:, :, :height, :width].numpy()


UNKNOWN = np.full((1, 1, 1, 1), np.nan, np.float32)


def run(
    path: Path, left: np.ndarray, right: np.ndarray, iters: int = 5, prior: np.ndarray = UNKNOWN
) -> tuple[np.ndarray, np.ndarray]:
    """Run a file and return its disparity and confidence."""
    feed = {"left": left, "right": right, "iters": np.array(iters, np.int64), "prior": prior}
    disparity, confidence = session(path).run(None, feed)
    return disparity, confidence


def session(path: Path) -> onnxruntime.InferenceSession:
    """Open a file as any program does."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_taps_interpolate_and_read_the_border_outside() -> None:
    # given a volume whose entries are their own index, with borders of -1
    row = torch.tensor([-1.0, 0, 1, 2, 3, 4, 5, 6, 7, -1])
    volume = row[:, None].expand(1, 1, 1, 10, 2)
    # when it is read at 3.25 and far outside
    values = taps(volume, torch.tensor([[[[3.25, 40.0]]]]))
    # then there are seven values around the first, and the border at the second
    assert values[0, :, 0, 0].tolist() == [0.25, 1.25, 2.25, 3.25, 4.25, 5.25, 6.25]
    assert values[0, :, 0, 1].tolist() == [-1.0] * 7


def test_the_mean_of_both_pairings_is_of_the_same_bin() -> None:
    # given a volume whose bins carry their number, and one that begins at bin 1
    bins = torch.arange(8.0).reshape(1, 8, 1, 1, 1)
    both = torch.cat([bins, bins + 1])
    # when both are averaged, then every bin still carries its number
    assert torch.equal(mean_of_pairings(both), bins)


@pytest.mark.parametrize("size", [(64, 64), (96, 131), (131, 200)])
@pytest.mark.parametrize("iters", [1, 5, 12])
def test_the_bundled_file_gives_what_pytorch_gives(size: tuple[int, int], iters: int) -> None:
    left, right = pair(*size)
    disparity, confidence = run(BUNDLED, left, right, iters)
    assert disparity.shape == confidence.shape == (1, 1, *size)
    np.testing.assert_allclose(disparity, in_torch(trained(), left, right, iters), atol=0.05)
    assert confidence.min() >= 0
    assert confidence.max() <= 1


@pytest.mark.skipif(not EVAL.is_dir(), reason="the evaluation pairs are not beside the checkout")
@pytest.mark.parametrize(
    ("iters", "share"), [(5, 1.0), (10, 0.99999), (20, 0.999), (MAX_ITERS, 0.998)]
)
def test_the_bundled_file_gives_what_pytorch_gives_on_photographs(iters: int, share: float) -> None:
    # Many steps magnify the rounding of floats at a few edges. With 10 of them one pixel of 368,277
    # differs by 0.056 px, as it does in PyTorch with and without oneDNN. With 32 of them 99.86 to
    # 99.94 % agree, depending on the processor; PyTorch with and without oneDNN: 99.90 %.
    import cv2

    folder = EVAL / "MiddEval3Q" / "Motorcycle"
    images = [cv2.imread(str(folder / n))[:, :, ::-1] for n in ("im0.png", "im1.png")]
    left, right = (image.transpose(2, 0, 1)[None].astype(np.float32) for image in images)
    disparity, _ = run(BUNDLED, left, right, iters)
    expected = in_torch(trained(), left, right, iters)
    assert (np.abs(disparity - expected) <= 0.05).mean() >= share


def test_an_unknown_prior_of_any_size_changes_nothing() -> None:
    left, right = pair(64, 96)
    plain, _ = run(BUNDLED, left, right)
    whole, _ = run(BUNDLED, left, right, prior=np.full((1, 1, 64, 96), np.nan, np.float32))
    np.testing.assert_array_equal(plain, whole)


def test_the_file_opens_without_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    session(BUNDLED)
    assert capfd.readouterr() == ("", "")


def test_a_prior_decides_without_texture() -> None:
    # given two blank images and an initial disparity of 24 px
    blank = np.full((1, 3, 128, 192), 128, np.float32)
    prior = np.full((1, 1, 128, 192), 24, np.float32)
    # when the pair is estimated with it
    disparity, _ = run(BUNDLED, blank, blank, prior=prior)
    # then the middle of the map follows
    assert abs(float(np.median(disparity[..., 32:-32, 64:-32])) - 24) < 4


def test_the_file_tells_what_it_is(tmp_path: Path) -> None:
    facts = session(BUNDLED).get_modelmeta().custom_metadata_map
    assert facts["kind"] == "lite"
    assert facts["channel_order"] == "RGB"
    assert facts["licence"]
    assert facts["training_run"]
    assert int(facts["samples_seen"]) > 0
    assert BUNDLED.stat().st_size < 12e6


def test_the_bundled_file_is_the_export_of_the_committed_checkpoint(tmp_path: Path) -> None:
    export(CHECKPOINT, tmp_path / "again.onnx")
    left, right = pair(96, 128)
    results = [run(path, left, right)[0] for path in (BUNDLED, tmp_path / "again.onnx")]
    np.testing.assert_allclose(*results, atol=1e-3)


def test_a_fresh_network_can_be_exported() -> None:
    torch.manual_seed(0)
    model = build(LiteStereo(), {"kind": "lite"})
    assert [i.name for i in model.graph.input] == ["left", "right", "iters", "prior"]
