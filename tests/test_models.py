"""Names, the record of what was published, and the choice of a network."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from crestereo import CREStereo, ModelFileError, ModelSpec, UnknownModelError, UsageError, models
from crestereo.models import (
    PUBLISHED,
    VERSIONS,
    bundled_model,
    check_iters,
    check_model_shape,
    check_published,
    choose_model,
    file_name,
    find_model,
    iters_in_name,
    models_dir,
    parse_file_name,
    parse_model_shape,
    recorded_channel_order,
)

SHAPE = (480, 640)
BUNDLED = bundled_model()


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"model")


def test_every_published_name_is_read_back():
    assert len(PUBLISHED) == 4 * (7 + 5) + 1
    for spec in PUBLISHED:
        assert parse_file_name(file_name(spec)) == spec
    assert (
        file_name(ModelSpec("combined", 20, 720, 1280)) == "crestereo_combined_iter20_720x1280.onnx"
    )


@pytest.mark.parametrize(
    "name",
    ["crestereo_lite.onnx", "raftstereo_init_iter5_480x640.onnx", "crestereo_init_iter99_8x8.onnx"],
)
def test_other_names_are_not_taken_for_published_ones(name):
    assert parse_file_name(name) is None


def test_the_number_of_iterations_is_found_in_foreign_names():
    assert iters_in_name("raftstereo_init_iter5_480x640.onnx") == 5
    assert iters_in_name("model_12_iters.onnx") is None
    assert iters_in_name("raft_iter20000.onnx") is None  # of training


def test_channel_order_goes_by_the_record():
    assert recorded_channel_order(Path("a/crestereo_init_iter5_480x640.onnx")) == "BGR"
    assert recorded_channel_order(Path("a/raftstereo_init_iter5_480x640.onnx")) == "RGB"


def test_models_belong_to_the_checkout_whatever_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Path(__file__).parents[1] / "models" == models_dir()


def test_files_are_found_below_the_folder_the_least_deep_first(tmp_path):
    spec = ModelSpec("init", 5, *SHAPE)
    assert find_model(spec, tmp_path / "missing") is None
    put(tmp_path, f"a/b/{file_name(spec)}")
    assert find_model(spec, tmp_path) == tmp_path / "a/b" / file_name(spec)
    put(tmp_path, f"z/{file_name(spec)}")
    assert find_model(spec, tmp_path) == tmp_path / "z" / file_name(spec)


def test_an_unpublished_combination_names_the_nearest_and_the_way_out():
    with pytest.raises(UnknownModelError) as error:
        check_published(ModelSpec("combined", 5, 120, 160))
    assert "the nearest that were: combined, 5 iterations, 240x320" in str(error.value)
    assert "lite" in str(error.value)
    with pytest.raises(UnknownModelError, match="that were: init, 5 iterations, 480x640; init"):
        check_published(ModelSpec("init", 6, 470, 640))


def test_auto_prefers_combined_then_init_then_the_bundled_network(tmp_path):
    choice = choose_model("auto", 5, SHAPE, tmp_path)
    assert choice.path == bundled_model()
    assert choice.note == "model: crestereo_lite.onnx, 5 iterations"

    put(tmp_path, "init/crestereo_init_iter5_480x640.onnx")
    choice = choose_model("auto", 5, SHAPE, tmp_path)
    assert choice.spec == ModelSpec("init", 5, *SHAPE)
    assert choice.path == tmp_path / "init/crestereo_init_iter5_480x640.onnx"

    put(tmp_path, "crestereo_combined_iter5_480x640.onnx")
    choice = choose_model("auto", 5, SHAPE, tmp_path)
    assert choice.spec == ModelSpec("combined", 5, *SHAPE)
    assert "crestereo_combined_iter5_480x640.onnx" in choice.note


def test_auto_takes_the_bundled_network_for_what_was_never_published(tmp_path):
    choice = choose_model("auto", 7, (100, 200), tmp_path)
    assert choice.spec == ModelSpec("lite", 7, 100, 200)


def test_a_missing_published_model_is_a_choice_without_a_path(tmp_path):
    choice = choose_model("init", 10, SHAPE, tmp_path)
    assert choice.path is None
    assert file_name(choice.spec) == "crestereo_init_iter10_480x640.onnx"


def test_a_missing_bundled_network_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_PACKAGE", tmp_path / "crestereo")
    with pytest.raises(ModelFileError, match=r"crestereo_lite\.onnx is missing"):
        choose_model("lite", 5, SHAPE, tmp_path)
    assert models.models_dir().parts[-2:] == ("crestereo", "models")  # the user's cache


def test_the_published_file_of_an_odd_size_is_recognised(tmp_path):
    put(tmp_path, "crestereo_combined_iter5_380x480.onnx")
    choice = choose_model("auto", 5, (380, 480), tmp_path)
    assert choice.path == tmp_path / "crestereo_combined_iter5_380x480.onnx"


def test_linked_folders_are_searched_once(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    put(tmp_path / "elsewhere", "crestereo_init_iter5_480x640.onnx")
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    found = find_model(ModelSpec("init", 5, *SHAPE), folder)
    assert found == folder / "linked" / "crestereo_init_iter5_480x640.onnx"


@pytest.mark.parametrize("version", ["next", "large", ""])
def test_wrong_versions_are_refused(version, tmp_path):
    with pytest.raises(UsageError, match=", ".join(VERSIONS)):
        choose_model(version, 5, SHAPE, tmp_path)


def test_the_recorded_digest_is_that_of_the_bundled_file():
    digest = hashlib.sha256(bundled_model().read_bytes()).hexdigest()
    assert digest == models.BUNDLED_SHA256


def test_a_damaged_bundled_network_is_refused(tmp_path, monkeypatch):
    # given an installation whose network has forty flipped bytes
    monkeypatch.setattr(models, "_PACKAGE", tmp_path / "crestereo")
    content = bytearray(BUNDLED.read_bytes())
    for place in range(40):
        content[1_000_000 + 97_000 * place] ^= 0xFF
    put(tmp_path / "models", "crestereo_lite.onnx")
    damaged = bundled_model()
    damaged.write_bytes(content)
    # when it is opened, then the message names the file and the way out
    with pytest.raises(ModelFileError, match=r"crestereo_lite\.onnx is damaged.*install again"):
        CREStereo(damaged)
    # and a network of the user's own in another place is not compared
    models.check_bundled(tmp_path / "own" / "crestereo_lite.onnx")


@pytest.mark.parametrize("text", ["480x640", " 480 x 640 ", "480X640", "480×640"])
def test_sizes_are_read_as_height_and_width(text):
    assert parse_model_shape(text) == (480, 640)


@pytest.mark.parametrize("text", ["", "480", "480x", "640,480", "10x640", "axb", "-480x640"])
def test_wrong_sizes_are_refused(text):
    with pytest.raises(UsageError):
        parse_model_shape(text)


@pytest.mark.parametrize("iters", [0, 33, -1, 2.5, "5", True, None])
def test_wrong_iters_are_refused_by_name(iters):
    with pytest.raises(UsageError, match="iters must be a whole number from 1 to 32"):
        check_iters(iters)


@pytest.mark.parametrize("shape", [480, (480,), (480, 640, 3), (480.0, 640), (63, 640), "480x640"])
def test_wrong_shapes_are_refused_by_name(shape):
    with pytest.raises(UsageError, match="model_shape must be"):
        check_model_shape(shape)


def test_a_list_is_as_good_as_a_tuple():
    assert check_model_shape([480, 640]) == (480, 640)


def test_whole_numbers_of_numpy_are_whole_numbers():
    assert check_iters(np.int64(2)) == 2
    shape = check_model_shape(tuple(np.array([480, 640]) // 2))
    assert shape == (240, 320)
    assert all(type(side) is int for side in shape)


def test_unknown_versions_are_refused_with_the_choices():
    with pytest.raises(UsageError, match="'large'; choose one of lite, init, combined"):
        ModelSpec("large", 5, 480, 640)
