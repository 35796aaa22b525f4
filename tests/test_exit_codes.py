"""Every kind of error, as a user meets it: one sentence that says what to do, and its exit code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crestereo import errors
from tests.app_helpers import (
    COMPARE,
    IMAGE,
    ROOT,
    SEPARATE,
    UNIFIED,
    environment,
    picture_pair,
    run_script,
    save,
    texture,
    write_video,
)
from tests.file_server import FileServer, Reply, serve_files
from tests.tiny_models import lite_model


@dataclass
class Place:
    """Hold what a case may name: good sources, bad ones, and a server."""

    folder: Path
    left: Path
    right: Path
    small: Path
    text: Path
    video: Path
    model: Path
    server: FileServer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    left, right = picture_pair(folder)
    text = folder / "notes.txt"
    text.write_text("neither a picture nor a network", encoding="utf-8")
    with serve_files() as server:
        server.replies["/page.html"] = Reply(b"<html></html>", content_type="text/html")
        yield Place(
            folder,
            left,
            right,
            save(folder / "small.png", texture(40, 40)),
            text,
            write_video(folder / "video.avi", frames=2, size=(160, 64)),
            lite_model(folder / "lite.onnx"),
            server,
        )


Words = Callable[[Place], list[object]]


@dataclass(frozen=True)
class Case:
    """Say what is run, and how it ends."""

    code: int
    says: str
    script: str
    args: Words
    answers: str = ""


CASES = {
    "unknown flag": Case(2, "--itters", IMAGE, lambda p: ["--itters", 5]),
    "iters out of range": Case(2, "from 1 to 32", IMAGE, lambda p: ["--iters", 33]),
    "shape not a size": Case(2, "480x640", SEPARATE, lambda p: ["--model-shape", "big"]),
    "half a camera": Case(2, "focal length", UNIFIED, lambda p: ["--baseline", 0.1]),
    "no answer": Case(2, "'Image2'", COMPARE, lambda p: [p.small], ""),
    "neither yes nor no": Case(
        2, "answer y or n", UNIFIED, lambda p: [p.video, "--model-path", p.model], "perhaps\n"
    ),
    "output is a file": Case(2, "choose a folder", IMAGE, lambda p: ["--output-dir", p.text]),
    "output below a file": Case(
        2, "choose a folder", IMAGE, lambda p: ["--output-dir", p.text / "below"]
    ),
    "no such file": Case(
        3, "check the path", IMAGE, lambda p: ["--model-path", p.model], "no/such.png\n"
    ),
    "a folder": Case(3, "is a folder", COMPARE, lambda p: [p.folder, p.left]),
    "no image": Case(3, "not an image", COMPARE, lambda p: [p.text, p.left]),
    "two sizes": Case(
        3, "112x80 px but right is 40x40 px", IMAGE,
        lambda p: [p.left, p.small, "--model-path", p.model],
    ),
    "not found": Case(3, "answers 404", COMPARE, lambda p: [p.server.url + "/x.png", p.left]),
    "a web page": Case(3, "a web page", COMPARE, lambda p: [p.server.url + "/page.html", p.left]),
    "no server": Case(
        3, "check the address and the network", COMPARE,
        lambda p: ["http://127.0.0.1:9/x.png", p.left],
    ),
    "no video": Case(
        3, "cannot open", SEPARATE, lambda p: [p.text, p.video, "--model-path", p.model]
    ),
    "no camera": Case(3, "camera 77", UNIFIED, lambda p: ["77", "--model-path", p.model]),
    "no model file": Case(
        4, "check --model-path", IMAGE, lambda p: [p.left, p.right, "--model-path", "no.onnx"]
    ),
    "no network": Case(4, "notes.txt", IMAGE, lambda p: [p.left, p.right, "--model-path", p.text]),
    "never published": Case(
        4, "the nearest that were", IMAGE, lambda p: ["--model-version", "init", "--iters", 7]
    ),
    "a device that is not there": Case(
        4, "cuda", IMAGE,
        lambda p: [p.left, p.right, "--model-path", p.model, "--device", "cuda"],
    ),
    "no screen for a window": Case(
        5, "DISPLAY", IMAGE, lambda p: [p.left, p.right, "--model-path", p.model, "--window"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_error_is_one_sentence_and_its_code(name: str, place: Place) -> None:
    case = CASES[name]
    done = run_script(
        case.script, *case.args(place), answers=case.answers, cwd=place.folder, timeout_s=60
    )
    assert done.returncode == case.code, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("Error: ")
    assert case.says in done.stderr
    assert not (place.folder / "output").exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--iters", "7", "--model-version", "init"), "the nearest that were"),
        (("--model-path", "page.onnx"), "is a web page"),
        (("--device", "coreml" if sys.platform == "linux" else "tensorrt"), "install onnxruntime"),
        (("--output-dir", "page.onnx/below"), "choose a folder"),
        (("--calibration", "no.txt"), "no calibration file"),
    ],
)
def test_a_slip_in_the_settings_is_found_before_anything_is_asked(
    args: tuple[str, str], says: str, tmp_path: Path
) -> None:
    (tmp_path / "page.onnx").write_text("<!DOCTYPE html><html></html>", encoding="utf-8")
    done = run_script(IMAGE, *args, cwd=tmp_path)
    assert done.returncode in (2, 3, 4)
    assert done.stdout == ""
    assert says in done.stderr


def test_a_bug_is_70(place: Place) -> None:
    code = "from crestereo.app.script import run_script\nrun_script(lambda: 1 / 0)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment(),
        check=False,
    )  # fmt: skip
    assert done.returncode == 70
    assert done.stderr.count("\n") == 1
    assert "this is a bug" in done.stderr


def test_no_screen_is_no_error(place: Place, tmp_path: Path) -> None:
    for display in ("", ":98765"):
        done = run_script(
            IMAGE, place.left, place.right, "--model-path", place.model, cwd=tmp_path,
            display=display,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert sum(line.startswith("no window: ") for line in done.stdout.splitlines()) == 1
    assert (tmp_path / "output" / "toy_depth_2.png").is_file()


def test_debug_shows_where(place: Place) -> None:
    done = run_script(COMPARE, place.text, place.left, "--debug")
    assert done.returncode == 3
    assert "Traceback" in done.stderr


def test_every_code_has_its_case() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.CREStereoError)}
    tested_elsewhere = {130, 70}  # Ctrl-C with a window and without one; a bug, above
    assert {case.code for case in CASES.values()} | tested_elsewhere == codes
