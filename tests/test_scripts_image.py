"""The image script and the comparison as processes: answers at the prompts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.formats import read_depth_png, read_image, read_pfm
from tests.app_helpers import COMPARE, IMAGE, picture_pair, run_script, save, texture
from tests.file_server import Reply, serve_files
from tests.tiny_models import init_model, lite_model, matching_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return matching_model(tmp_path / "matcher.onnx")


def test_two_answers_give_an_image_and_its_path(tmp_path: Path, model: Path) -> None:
    left, right = picture_pair(tmp_path)
    done = run_script(
        IMAGE, "--model-path", model, cwd=tmp_path, answers=f' "{left}" \nfile://{right}\n'
    )
    assert done.returncode == 0, done.stderr
    assert "Left Image (URL or file path) : " in done.stdout
    assert "Right Image (URL or file path) : " in done.stdout
    assert "runs on CPUExecutionProvider" in done.stdout
    assert "neither DISPLAY nor WAYLAND_DISPLAY is set" in done.stdout
    assert re.search(r"relative depth: disparity .* px", done.stdout)
    path = Path("output") / "toy_depth.png"
    assert f"saved {path} (left image and coloured depth)" in done.stdout.splitlines()
    both = read_image(tmp_path / path)
    assert both.shape == (80, 224, 3)
    np.testing.assert_array_equal(both[:, :112], read_image(left))
    depth_only = read_image(tmp_path / "output" / "toy_depth_only.png")
    np.testing.assert_array_equal(both[:, 112:], depth_only)
    disparity = read_pfm(tmp_path / "output" / "toy_disparity.pfm")
    assert np.nanmedian(disparity) == pytest.approx(4, abs=0.01)  # how far the pair is shifted
    assert done.stderr == ""


def test_a_second_run_is_numbered_unless_it_may_overwrite(tmp_path: Path, model: Path) -> None:
    left, right = picture_pair(tmp_path)
    for extra in ([], [], ["--overwrite"]):
        done = run_script(IMAGE, left, right, "--model-path", model, *extra, cwd=tmp_path)
        assert done.returncode == 0
    names = sorted(path.name for path in (tmp_path / "output").iterdir())
    assert names == [
        "toy_depth.png",
        "toy_depth_2.png",
        "toy_depth_only.png",
        "toy_depth_only_2.png",
        "toy_disparity.pfm",
        "toy_disparity_2.pfm",
        "toy_run.json",
        "toy_run_2.json",
    ]


def test_the_partner_of_a_left_image_is_offered(tmp_path: Path, model: Path) -> None:
    left, right = picture_pair(tmp_path)
    done = run_script(IMAGE, "--model-path", model, cwd=tmp_path, answers=f"{left}\n")
    assert done.returncode == 0, done.stderr
    assert f"Press Enter for {right}\nRight Image" in done.stdout


def test_json_is_all_that_standard_output_gets(tmp_path: Path, model: Path) -> None:
    left, right = picture_pair(tmp_path)
    done = run_script(
        IMAGE, "--model-path", model, "--json", "--output-dir", "out", cwd=tmp_path,
        answers=f"{left}\n{right}\n",
    )  # fmt: skip
    record = json.loads(done.stdout)
    assert record["model"] == "matcher.onnx"
    assert record["provider"] == "CPUExecutionProvider"
    assert record["size_px"] == [112, 80]
    assert record["relative"] is True
    assert "depth_m" not in record
    assert all((tmp_path / path).is_file() for path in record["files"])
    assert json.loads((tmp_path / record["files"][-1]).read_text(encoding="utf-8")) == record
    assert "Left Image (URL or file path) : " in done.stderr


def test_with_a_camera_depth_is_in_metres(tmp_path: Path) -> None:
    left, right = picture_pair(tmp_path)
    model = init_model(tmp_path / "constant.onnx", (80, 112), weights=(0, 0, 0), bias=5)
    done = run_script(
        IMAGE, left, right, "--model-path", model, "--baseline", "0.1", "--focal-length", "100",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["relative"] is False
    depth = read_depth_png(tmp_path / "output" / "toy_depth_mm.png")
    np.testing.assert_allclose(depth, 2.0)  # 100 px * 0.1 m / 5 px
    assert (tmp_path / "output" / "toy_points.ply").is_file()
    assert record["depth_m"][0] <= 2 <= record["depth_m"][1]


def test_a_disparity_is_in_the_pixels_of_the_image(tmp_path: Path) -> None:
    wide = texture(160, 224)
    left, right = save(tmp_path / "a.png", wide), save(tmp_path / "b.png", wide)
    model = init_model(tmp_path / "constant.onnx", (80, 112), weights=(0, 0, 0), bias=5)
    done = run_script(IMAGE, left, right, "--model-path", model, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(read_pfm(tmp_path / "output" / "a_disparity.pfm"), 10, rtol=1e-5)


def test_settings_of_the_block_give_way_to_what_a_file_has_built_in(tmp_path: Path) -> None:
    left, right = picture_pair(tmp_path)
    model = init_model(tmp_path / "net_iter10_64x96.onnx", (64, 96))
    done = run_script(IMAGE, left, right, "--model-path", model, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["iters"], record["model_shape"]) == (10, [64, 96])


def test_iters_and_shape_reach_a_network_that_takes_them(tmp_path: Path) -> None:
    left, right = picture_pair(tmp_path)
    model = lite_model(tmp_path / "lite.onnx", weights=(0, 0, 0))  # answers with iters
    done = run_script(
        IMAGE, left, right, "--model-path", model, "--iters", "9", "--model-shape", "64x96",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["iters"], record["model_shape"]) == (9, [64, 96])
    disparity = read_pfm(tmp_path / "output" / "toy_disparity.pfm")
    assert np.nanmedian(disparity) == pytest.approx(9 * 112 / 90, rel=0.07)  # shrunk to 64 rows


def test_images_come_from_the_web(tmp_path: Path, model: Path) -> None:
    left, right = picture_pair(tmp_path)
    with serve_files() as server:
        server.replies["/left.png"] = Reply(left.read_bytes(), content_type="image/png")
        server.replies["/right.png"] = Reply(right.read_bytes(), content_type="image/png")
        done = run_script(
            IMAGE, "--model-path", model, cwd=tmp_path,
            answers=f"{server.url}/left.png\n{server.url}/right.png\n",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output" / "left_depth.png").is_file()


def test_spaced_and_korean_paths(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "내 사진 (1)"
    folder.mkdir()
    left, _ = picture_pair(folder)
    done = run_script(IMAGE, "--model-path", model, cwd=folder, answers=f"'{left}'\n\n")
    assert done.returncode == 0, done.stderr
    assert (folder / "output" / "toy_depth.png").is_file()


def stereo_file(folder: Path) -> Path:
    """Write a PNS file: right view in the left half."""
    wide = texture(80, 116)
    path = folder / "photo.pns"
    path.write_bytes(
        save(folder / "both.png", np.hstack([wide[:, 4:], wide[:, :112]])).read_bytes()
    )
    return path


@pytest.mark.parametrize("times", [1, 2])
def test_one_file_with_both_views_is_enough(times: int, tmp_path: Path, model: Path) -> None:
    photo = stereo_file(tmp_path)
    given = run_script(IMAGE, *[photo] * times, "--model-path", model, cwd=tmp_path)
    assert given.returncode == 0, given.stderr
    disparity = read_pfm(tmp_path / "output" / "photo_disparity.pfm")
    assert disparity.shape == (80, 112)
    assert np.nanmedian(disparity) == pytest.approx(4, abs=0.01)


def test_at_the_prompt_no_second_file_is_asked_for_where_one_holds_both(
    tmp_path: Path, model: Path
) -> None:
    answers = f"{stereo_file(tmp_path)}\n"
    done = run_script(IMAGE, "--model-path", model, cwd=tmp_path, answers=answers)
    assert done.returncode == 0, done.stderr
    assert "Right Image" not in done.stdout


def test_the_largest_distance_changes_the_image_without_a_camera(
    tmp_path: Path, model: Path
) -> None:
    left, right = picture_pair(tmp_path)
    images = []
    for far in ("1", "100"):
        done = run_script(
            IMAGE, left, right, "--model-path", model, "--max-distance", far, "--overwrite",
            cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("max_distance assumes cameras 65 mm apart") == 1
        assert "relative depth" in done.stdout
        images.append(read_image(tmp_path / "output" / "toy_depth_only.png"))
    assert not np.array_equal(*images)


def test_a_damaged_image_is_used_with_one_warning(tmp_path: Path, model: Path) -> None:
    left, right = picture_pair(tmp_path)
    data = right.read_bytes()
    right.write_bytes(data[: 9 * len(data) // 10])
    done = run_script(IMAGE, left, right, "--model-path", model, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"{right}: the file is damaged: ")
    assert done.stderr.count("\n") == 1


HEADLINE = "How Different (0 = Same Image, 1 = Totally Different Image) :  "


def test_the_same_image_is_not_different(tmp_path: Path) -> None:
    left, _ = picture_pair(tmp_path)
    done = run_script(COMPARE, cwd=tmp_path, answers=f"{left}\n{left}\n")
    assert done.returncode == 0, done.stderr
    assert "Image1 : " in done.stdout
    assert "Image2 : " in done.stdout
    values = [line for line in done.stdout.splitlines() if " :  " in line]
    assert values[0] == f"{HEADLINE}0.0"
    assert [float(line.rpartition(":  ")[2]) for line in values] == [0, 0, 0]


def test_different_images_of_different_sizes(tmp_path: Path) -> None:
    red, blue = np.zeros((40, 60, 3), np.uint8), np.zeros((20, 30, 3), np.uint8)
    red[..., 2], blue[..., 0] = 255, 255
    first, second = save(tmp_path / "red.png", red), save(tmp_path / "blue.png", blue)
    done = run_script(COMPARE, first, second)
    assert f"{HEADLINE}1.0\n" in done.stdout
    assert "the sizes differ, 60x40 and 30x20" in done.stdout
    values = json.loads(run_script(COMPARE, first, second, "--json").stdout)
    assert values["histogram"] == 1
    assert values["pixels"] == pytest.approx((2 / 3) ** 0.5)  # two of three channels turn over
    assert values["sizes_px"] == [[60, 40], [30, 20]]
    assert values["resized"] is True


def test_black_and_white_have_one_histogram_and_a_contradiction(tmp_path: Path) -> None:
    black = save(tmp_path / "black.png", np.zeros((40, 60, 3), np.uint8))
    white = save(tmp_path / "white.png", np.full((40, 60, 3), 255, np.uint8))
    done = run_script(COMPARE, black, white)
    assert f"{HEADLINE}0.0\n" in done.stdout
    assert done.stdout.count("the histogram ignores brightness") == 1
    assert "ignores" not in run_script(COMPARE, black, black).stdout


def test_what_the_histogram_cannot_see_the_other_two_do(tmp_path: Path) -> None:
    picture = texture(64, 96)
    first = save(tmp_path / "a.png", picture)
    second = save(tmp_path / "b.png", cv2.rotate(picture, cv2.ROTATE_180))
    values = json.loads(run_script(COMPARE, first, second, "--json").stdout)
    assert values["histogram"] == pytest.approx(0, abs=1e-6)
    assert values["structure"] > 0.3
    assert values["pixels"] > 0.1
