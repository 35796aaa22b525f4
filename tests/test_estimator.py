"""The estimator with tiny networks whose right answer is known, and with a real one."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from crestereo import Cancelled, CREStereo, ModelError, SourceError, UsageError
from tests import tiny_models

SHARED = Path(__file__).parents[1].parent / "shared"
RAFT_STEREO = SHARED / "peers" / "raftstereo_init_iter5_480x640.onnx"


def flat(height: int, width: int, bgr: tuple[int, int, int]) -> np.ndarray:
    return np.full((height, width, 3), bgr, np.uint8)


def texture(height: int, width: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def shifted_pair(height: int, width: int, shift: int, cell: int = 1) -> tuple:
    """Return a textured pair of true disparity `shift`, in cells of cell x cell px."""
    wide = texture(height // cell, (width + shift) // cell)
    wide = wide.repeat(cell, axis=0).repeat(cell, axis=1)
    return wide[:, :width].copy(), wide[:, shift : shift + width].copy()


# --- the four interfaces ------------------------------------------------------------------------


def test_init_answers_in_pixels_of_the_left_image(tmp_path):
    model = tiny_models.init_model(tmp_path / "m.onnx", (64, 96), weights=(0, 0, 0), bias=3)
    estimator = CREStereo(model)
    assert (estimator.kind, estimator.shape, estimator.iters) == ("init", (64, 96), None)
    assert not estimator.accepts_prior
    disparity = estimator(texture(100, 192), texture(100, 192))
    assert disparity.shape == (100, 192)
    assert disparity.dtype == np.float32
    assert np.allclose(disparity, 6)  # 3 px of 96 are 6 px of 192; plane 1 says -1000


def test_combined_feeds_the_images_at_both_sizes(tmp_path):
    estimator = CREStereo(tiny_models.combined_model(tmp_path / "m.onnx", (128, 192)))
    assert (estimator.kind, estimator.shape) == ("combined", (128, 192))
    disparity = estimator(flat(256, 384, (0, 0, 50)), flat(256, 384, (0, 0, 20)))
    assert np.allclose(disparity, (50 + 50 - 20) * 2)


def test_lite_uses_iters_and_keeps_the_image_size(tmp_path):
    model = tiny_models.lite_model(tmp_path / "m.onnx", weights=(0, 0, 0))
    assert np.allclose(CREStereo(model)(texture(70, 90), texture(70, 90)), 5)
    estimator = CREStereo(model, iters=12)
    assert (estimator.kind, estimator.iters, estimator.shape) == ("lite", 12, None)
    assert np.allclose(estimator(texture(70, 90), texture(70, 90)), 12)


@pytest.mark.parametrize("size", [(200, 400), (400, 200), (100, 800)])
def test_lite_shrinks_to_the_area_of_the_model_shape_with_the_form_kept(size, tmp_path):
    model = tiny_models.lite_model(tmp_path / "m.onnx", weights=(0, 0, 0))
    estimator = CREStereo(model, iters=8, model_shape=(100, 200))
    # Half as high and half as wide, all of these have 100x200 pixels: 8 px there are 16 px here.
    assert np.allclose(estimator(texture(*size), texture(*size)), 16)
    # A smaller image is enlarged, by two at most: 8 px there are 4 px here.
    assert np.allclose(estimator(texture(40, 50), texture(40, 50)), 4)


@pytest.mark.parametrize(("size", "factor"), [((1080, 1920), 1), ((2160, 3840), 2)])
def test_large_images_are_shrunk_by_default(size, factor, tmp_path):
    """Given twice the sides of Full HD, then 5 px of the network are 10 px of the image."""
    estimator = CREStereo(tiny_models.lite_model(tmp_path / "m.onnx", weights=(0, 0, 0)))
    image = np.zeros((*size, 3), np.uint8)
    assert np.allclose(estimator(image, image), 5 * factor)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (63, 200), (200, 30)])
def test_tiny_images_work(size, tmp_path):
    model = tiny_models.lite_model(tmp_path / "m.onnx", weights=(0, 0, 0))
    result = CREStereo(model).estimate(texture(*size), texture(*size))
    assert result.disparity.shape == size
    assert np.allclose(result.disparity, 5)
    assert result.confidence is not None
    assert result.confidence.shape == size


def test_inputs_are_matched_by_name_then_by_order(tmp_path):
    left, right = flat(64, 96, (0, 0, 9)), flat(64, 96, (0, 0, 5))
    named = tiny_models.init_model(tmp_path / "a.onnx", names=("left", "right"))
    assert np.allclose(CREStereo(named)(left, right), 4)
    # The same graph computes first - second, whatever the first is called.
    swapped = tiny_models.init_model(tmp_path / "b.onnx", names=("right", "left"))
    assert np.allclose(CREStereo(swapped)(left, right), -4)
    foreign = tiny_models.init_model(tmp_path / "c.onnx", names=("a", "b"))
    assert np.allclose(CREStereo(foreign)(left, right), 4)
    names = ("x.1", "x.2", "x.3", "x.4")
    combined = tiny_models.combined_model(tmp_path / "d.onnx", (128, 192), names)
    assert np.allclose(
        CREStereo(combined)(flat(128, 192, (0, 0, 9)), right.repeat(2, 0).repeat(2, 1)), 13
    )


def test_dynamic_sizes_take_the_model_shape_or_the_image_size(tmp_path):
    model = tiny_models.init_model(tmp_path / "m.onnx", None, weights=(0, 0, 0), bias=3)
    assert np.allclose(CREStereo(model)(texture(128, 192), texture(128, 192)), 3)
    estimator = CREStereo(model, model_shape=(64, 96))
    assert estimator.shape == (64, 96)
    assert np.allclose(estimator(texture(128, 192), texture(128, 192)), 6)


def test_half_precision_networks_are_fed_half_precision(tmp_path):
    model = tiny_models.init_model(tmp_path / "m.onnx", dtype=TensorProto.FLOAT16, bias=2)
    disparity = CREStereo(model)(flat(64, 96, (0, 0, 30)), flat(64, 96, (0, 0, 20)))
    assert disparity.dtype == np.float32
    assert np.allclose(disparity, 12)


# --- channel order and values -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "metadata", "override", "expected"),
    [
        ("foreign.onnx", None, None, "RGB"),
        ("crestereo_init_iter5_64x96.onnx", None, None, "BGR"),
        ("foreign.onnx", {"channel_order": "BGR"}, None, "BGR"),
        ("crestereo_init_iter5_64x96.onnx", {"channel_order": "rgb"}, None, "RGB"),
        ("foreign.onnx", {"channel_order": "RGB"}, "BGR", "BGR"),
    ],
)
def test_channel_order_is_a_property_of_the_model(name, metadata, override, expected, tmp_path):
    model = tiny_models.init_model(tmp_path / name, weights=(1, 0.01, 0), metadata=metadata)
    estimator = CREStereo(model, channel_order=override)
    assert estimator.channel_order == expected
    blue, green, red = 10, 20, 40
    disparity = estimator(flat(64, 96, (blue, green, red)), flat(64, 96, (0, 0, 0)))
    first = red if expected == "RGB" else blue
    assert np.allclose(disparity, first + 0.01 * green)  # values are 0 to 255


def test_an_unknown_channel_order_is_refused(tmp_path):
    with pytest.raises(UsageError, match="BGR, RGB"):
        CREStereo(tiny_models.init_model(tmp_path / "m.onnx"), channel_order="GRB")


def test_left_and_right_and_every_pixel_keep_their_place(tmp_path):
    model = tiny_models.lite_model(tmp_path / "m.onnx", weights=(1, 0, 0))
    left, right = texture(70, 100, 1), texture(70, 100, 2)
    expected = left[..., 2].astype(float) - right[..., 2] + 5
    assert np.allclose(CREStereo(model)(left, right), expected)


def test_padding_is_cropped_off_again(tmp_path):
    model = tiny_models.lite_model(tmp_path / "m.onnx", weights=(1, 0, 0))
    left, right = texture(20, 30, 1), texture(20, 30, 2)
    expected = left[..., 2].astype(float) - right[..., 2] + 5
    assert np.allclose(CREStereo(model)(left, right), expected)


def test_confidence_comes_on_the_grid_of_the_image(tmp_path):
    model = tiny_models.lite_model(tmp_path / "m.onnx")
    left = flat(128, 200, (0, 0, 51))
    result = CREStereo(model, model_shape=(64, 100)).estimate(left, left)
    assert result.confidence.shape == (128, 200)
    assert result.confidence.dtype == np.float32
    assert np.allclose(result.confidence, 0.2)  # red / 255


def test_networks_that_do_not_tell_have_no_confidence(tmp_path):
    model = tiny_models.init_model(tmp_path / "m.onnx")
    assert CREStereo(model).estimate(texture(64, 96), texture(64, 96)).confidence is None


# --- properties ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0, 3, 8, 15])
def test_a_image_shifted_by_k_has_disparity_k(shift, tmp_path):
    estimator = CREStereo(tiny_models.matching_model(tmp_path / "m.onnx"))
    disparity = estimator(*shifted_pair(80, 120, shift))
    inside = disparity[4:-4, shift + 4 : -4]
    assert (inside == shift).mean() > 0.99


@pytest.mark.parametrize("shift", [4, 8, 16])
def test_the_disparity_of_a_shrunk_image_is_in_its_own_pixels(shift, tmp_path):
    model = tiny_models.matching_model(tmp_path / "m.onnx", (80, 120))
    disparity = CREStereo(model)(*shifted_pair(160, 240, shift, cell=4))
    inside = disparity[8:-8, shift + 8 : -8]
    assert (np.abs(inside - shift) < 0.01).mean() > 0.95


@pytest.mark.parametrize("shift", [2, 4, 7])
def test_the_disparity_of_an_enlarged_image_is_in_its_own_pixels(shift, tmp_path):
    model = tiny_models.matching_model(tmp_path / "m.onnx", max_disparity=20)
    pair = shifted_pair(60, 96, shift)
    disparity = CREStereo(model, model_shape=(120, 192))(*pair)
    inside = disparity[8:-8, shift + 8 : -8]
    assert (np.abs(inside - shift) < 0.01).mean() > 0.95


# --- prior --------------------------------------------------------------------------------------


def test_a_prior_is_scaled_to_pixels_of_the_network(tmp_path):
    model = tiny_models.lite_model(tmp_path / "m.onnx", weights=(0, 0, 0))
    estimator = CREStereo(model, iters=1, model_shape=(64, 100))
    assert estimator.accepts_prior
    prior = np.full((128, 200), 20, np.float32)
    prior[:40] = np.nan
    result = estimator.estimate(texture(128, 200), texture(128, 200), prior=prior)
    assert np.allclose(result.disparity, (1 + 10) * 2)
    unknown = np.full((128, 200), np.nan, np.float32)
    result = estimator.estimate(texture(128, 200), texture(128, 200), prior=unknown)
    assert np.allclose(result.disparity, 1 * 2)


def test_the_padding_around_a_prior_is_unknown(tmp_path):
    """The tiny network answers with the mean of what is known: padding must not count."""
    estimator = CREStereo(tiny_models.lite_model(tmp_path / "m.onnx", weights=(0, 0, 0)), iters=1)
    prior = np.full((20, 30), 8, np.float32)
    result = estimator.estimate(texture(20, 30), texture(20, 30), prior=prior)
    assert np.allclose(result.disparity, 1 + 8)


def test_a_prior_of_another_size_or_for_another_network_is_refused(tmp_path):
    image, prior = texture(64, 96), np.zeros((64, 95), np.float32)
    lite = CREStereo(tiny_models.lite_model(tmp_path / "a.onnx"))
    with pytest.raises(UsageError, match="the prior is 95x64, but the left image 96x64"):
        lite.estimate(image, image, prior=prior)
    plain = CREStereo(tiny_models.lite_model(tmp_path / "b.onnx", with_prior=False))
    assert not plain.accepts_prior
    with pytest.raises(UsageError, match="takes no prior"):
        plain.estimate(image, image, prior=prior)


# --- settings that do not go with the file ------------------------------------------------------


def test_iters_of_the_file_name_are_checked(tmp_path):
    model = tiny_models.init_model(tmp_path / "some_iter5_64x96.onnx")
    assert CREStereo(model).iters == 5
    assert CREStereo(model, iters=5).iters == 5
    with pytest.raises(UsageError, match="of 5 built in"):
        CREStereo(model, iters=10)
    nameless = tiny_models.init_model(tmp_path / "some.onnx")
    with pytest.raises(UsageError, match="built in"):
        CREStereo(nameless, iters=10)
    with pytest.raises(UsageError, match="1 to 32"):
        CREStereo(tiny_models.lite_model(tmp_path / "lite.onnx"), iters=33)


def test_a_fixed_size_is_checked(tmp_path):
    model = tiny_models.init_model(tmp_path / "m.onnx", (64, 96))
    assert CREStereo(model, model_shape=(64, 96)).shape == (64, 96)
    with pytest.raises(UsageError, match="64x96"):
        CREStereo(model, model_shape=(64, 128))


# --- wrong input --------------------------------------------------------------------------------


def test_images_of_two_sizes_are_refused_with_both(tmp_path):
    estimator = CREStereo(tiny_models.init_model(tmp_path / "m.onnx"))
    with pytest.raises(SourceError, match=r"96x64 and the right one 90x70"):
        estimator(texture(64, 96), texture(70, 90))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((64, 96), np.uint8), "COLOR_GRAY2BGR"),
        (np.zeros((64, 96, 4), np.uint8), "height, width, 3"),
        (np.zeros((64, 96, 3), np.float32), "uint8"),
        ("left.png", "str"),
        (None, "None, which cv2.imread"),
    ],
)
def test_what_is_no_image_is_refused(image, words, tmp_path):
    estimator = CREStereo(tiny_models.init_model(tmp_path / "m.onnx"))
    with pytest.raises(UsageError, match=words):
        estimator(image, image)


def test_an_empty_image_is_refused(tmp_path):
    estimator = CREStereo(tiny_models.init_model(tmp_path / "m.onnx"))
    with pytest.raises(SourceError, match="empty"):
        estimator(np.zeros((0, 96, 3), np.uint8), np.zeros((0, 96, 3), np.uint8))


def test_a_view_of_a_larger_image_works(tmp_path):
    """Halves of a side-by-side frame are not contiguous in memory."""
    frame = np.hstack([flat(64, 96, (0, 0, 9)), flat(64, 96, (0, 0, 5))])
    estimator = CREStereo(tiny_models.init_model(tmp_path / "m.onnx"))
    assert np.allclose(estimator(frame[:, :96], frame[:, 96:]), 4)


def test_a_network_that_fails_on_its_input_raises_a_model_error(tmp_path):
    model = tiny_models.matching_model(tmp_path / "m.onnx", None, max_disparity=70)
    with pytest.raises(ModelError, match=r"m\.onnx cannot run on an input of 64x64"):
        CREStereo(model)(texture(64, 64), texture(64, 64))


# --- results, threads, cancelling ---------------------------------------------------------------


def test_a_result_says_how_it_came_to_be(tmp_path):
    model = tiny_models.init_model(tmp_path / "m.onnx")
    result = CREStereo(model, device="cpu", threads=1).estimate(texture(64, 96), texture(64, 96))
    assert result.model == "m.onnx"
    assert result.provider == "CPUExecutionProvider"
    assert result.seconds > 0


def test_the_caller_keeps_his_arrays(tmp_path):
    estimator = CREStereo(tiny_models.lite_model(tmp_path / "m.onnx"))
    left, right = texture(70, 90, 1), texture(70, 90, 2)
    prior = np.full((70, 90), 4, np.float32)
    copies = left.copy(), right.copy(), prior.copy()
    first = estimator.estimate(left, right, prior=prior).disparity
    kept = first.copy()
    estimator(right, left)
    assert np.array_equal(first, kept)  # the next run does not write into this result
    for array, copy in zip((left, right, prior), copies, strict=True):
        assert np.array_equal(array, copy)


def test_a_running_estimation_is_cancelled_and_the_next_one_runs(tmp_path):
    slow = tiny_models.slow_model(tmp_path / "slow.onnx", rounds=1_000_000)  # minutes
    estimator = CREStereo(slow)
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            estimator(texture(64, 96), texture(64, 96))
        except Cancelled as exc:
            outcome.append(exc)

    for _ in range(2):  # a cancelled estimation leaves the estimator as it was
        worker = threading.Thread(target=run, daemon=True)
        worker.start()
        time.sleep(0.3)
        estimator.cancel()
        worker.join(timeout=20)
        assert not worker.is_alive()
    assert len(outcome) == 2


def test_cancelling_with_nothing_running_is_harmless(tmp_path):
    estimator = CREStereo(tiny_models.slow_model(tmp_path / "m.onnx", rounds=1))
    estimator.cancel()
    assert np.allclose(estimator(texture(64, 96), texture(64, 96)), 7)


def test_a_cancel_during_preparation_is_not_lost(tmp_path, monkeypatch):
    estimator = CREStereo(tiny_models.slow_model(tmp_path / "m.onnx", rounds=1_000_000))
    monkeypatch.setattr("crestereo.estimator.check_images", lambda left, right: estimator.cancel())
    with pytest.raises(Cancelled):
        estimator(texture(64, 96), texture(64, 96))


def test_a_cancel_after_the_run_is_not_lost(tmp_path, monkeypatch):
    estimator = CREStereo(tiny_models.lite_model(tmp_path / "m.onnx"))
    monkeypatch.setattr(
        "crestereo.preprocess.Fit.confidence_from_network",
        lambda fit, output: estimator.cancel() or output,
    )
    with pytest.raises(Cancelled):
        estimator(texture(64, 96), texture(64, 96))


# --- a real network -----------------------------------------------------------------------------


@pytest.mark.skipif(not RAFT_STEREO.exists(), reason="the peer networks are not there")
def test_raft_stereo_scores_what_it_is_known_to_score():
    """EPE 0.903 px is known for the 741x500 version of this scene, which scikit-image ships."""
    from skimage import data

    left, right, truth = data.stereo_motorcycle()
    estimator = CREStereo(RAFT_STEREO)
    assert (estimator.kind, estimator.shape, estimator.iters) == ("init", (480, 640), 5)
    disparity = estimator(left[..., 2::-1].copy(), right[..., 2::-1].copy())
    error = np.abs(disparity - truth)[np.isfinite(truth)]
    assert error.mean() == pytest.approx(0.903, abs=0.05)
    assert (error > 2).mean() == pytest.approx(0.0687, abs=0.005)


def test_a_half_precision_network_takes_a_prior(tmp_path):
    half = TensorProto.FLOAT16
    image, plane = [1, 3, "h", "w"], [1, 1, "h", "w"]
    nodes = [
        helper.make_node("Sub", ["left", "right"], ["apart"]),
        helper.make_node("ReduceMax", ["apart"], ["most"], axes=[1]),
        helper.make_node("IsNaN", ["prior"], ["unknown"]),
        helper.make_node("Where", ["unknown", "most", "prior"], ["disparity"]),
    ]
    path = tiny_models.save_graph(
        tmp_path / "half.onnx",
        nodes,
        inputs=[("left", half, image), ("right", half, image), ("prior", half, plane)],
        outputs=[("disparity", half, plane)],
        metadata={"kind": "lite"},
    )
    estimator = CREStereo(path)
    left, right = np.full((64, 96, 3), 9, np.uint8), np.full((64, 96, 3), 2, np.uint8)
    assert (estimator(left, right) == 7).all()
    prior = np.full((64, 96), 12.5, np.float32)
    assert (estimator.estimate(left, right, prior=prior).disparity == 12.5).all()
