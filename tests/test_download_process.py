"""The downloader as processes: killed, interrupted, two at once, on a full disk; and its tool."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from crestereo.app import download
from crestereo.app.download import Mirrors, fetch_models
from crestereo.errors import CREStereoError
from crestereo.models import ModelSpec
from tests.file_server import FileServer, Reply, serve_files
from tests.tiny_models import init_model

ROOT = Path(__file__).parents[1]
SPEC = ModelSpec("init", 5, 240, 320)
NAME = "crestereo_init_iter5_240x320.onnx"
SINGLE = f"/single/{NAME}"
SIZE = 200_000

PROGRAM = """
import sys
from pathlib import Path
from crestereo.app.download import Mirrors, fetch_models
from crestereo.errors import DownloadError
from crestereo.models import ModelSpec

url, folder, limit = sys.argv[1:]
if int(limit):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    mirrors = Mirrors(f"{url}/single", ())
    print(fetch_models([ModelSpec("init", 5, 240, 320)], Path(folder), mirrors=mirrors)[0])
except DownloadError as exc:
    sys.exit(str(exc))
"""


@pytest.fixture
def server():
    with serve_files() as files:
        yield files


@pytest.fixture
def body(tmp_path: Path) -> bytes:
    filler = {"filler": "0123456789abcdef" * (SIZE // 16)}
    return init_model(tmp_path / "made.onnx", SPEC.shape, metadata=filler).read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


def start(server: FileServer, folder: Path, *, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, server.url, str(folder), str(limit)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_underway(folder: Path) -> None:
    """Wait until a good piece of the file is there."""
    part = folder / f"{NAME}.part"
    deadline = time.monotonic() + 20
    while not part.exists() or part.stat().st_size < SIZE // 4:
        assert time.monotonic() < deadline, "the download does not get under way"
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_a_killed_download_leaves_no_model_and_the_next_run_goes_on(server, body, folder, how):
    if how == "interrupt" and sys.platform == "win32":
        pytest.skip("Windows cannot send Ctrl-C to one child process")
    # given a slow server and a process that ends in the middle
    server.replies[SINGLE] = Reply(body, etag='"a"', pause_s=0.03)
    with start(server, folder) as process:
        wait_until_underway(folder)
        process.send_signal(signal.SIGINT) if how == "interrupt" else process.kill()
        process.communicate(timeout=10)
    assert process.returncode != 0
    assert not (folder / NAME).exists()
    have = (folder / f"{NAME}.part").stat().st_size
    assert SIZE // 4 <= have < len(body)

    # when it is run again
    server.replies[SINGLE] = Reply(body, etag='"a"')
    with start(server, folder) as process:
        _, errors = process.communicate(timeout=20)

    # then only the rest is fetched
    assert process.returncode == 0, errors
    assert server.ranges(SINGLE) == [None, f"bytes={have}-"]
    assert (folder / NAME).read_bytes() == body


def test_two_programs_at_once_fetch_once(server, body, folder):
    server.replies[SINGLE] = Reply(body, pause_s=0.1)  # long enough for the second to start
    with start(server, folder) as first:
        wait_until_underway(folder)
        with start(server, folder) as second:
            results = [process.communicate(timeout=20) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], results
    assert "another program" in results[1][1]
    assert server.ranges(SINGLE) == [None]
    assert (folder / NAME).read_bytes() == body


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_is_one_sentence_and_what_came_is_kept(server, body, folder):
    # the limit on file sizes makes writing fail in the middle, as a disk does that runs full
    server.replies[SINGLE] = Reply(body)
    with start(server, folder, limit=100_000) as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    sentence = errors.strip().splitlines()[-1]
    assert "is full" in sentence
    assert server.url + SINGLE in sentence
    assert str(folder) in sentence
    assert "Traceback" not in errors
    assert not (folder / NAME).exists()
    assert (folder / f"{NAME}.part").stat().st_size == 100_000


def run_tool(*arguments: str | Path) -> int:
    """Return the exit code, as `cli.run_script` makes it of an error."""
    try:
        download.run_download([str(argument) for argument in arguments])
    except CREStereoError as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    return 0


def test_the_tool_lists_what_is_published_and_present(folder, capsys):
    path = init_model(folder / "sub" / NAME, SPEC.shape)
    assert run_tool("--list", "--folder", folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 * 7 + 4 * 5 + 1
    assert [line for line in lines if str(path) in line] == [f"{NAME:40} {path}"]


def test_the_tool_fetches_what_the_flags_name(server, body, folder, capsys, monkeypatch):
    server.replies[SINGLE] = Reply(body)
    local = Mirrors(f"{server.url}/single", ())
    monkeypatch.setattr(download, "fetch_models", partial(fetch_models, mirrors=local))
    flags = ["--iters", "5", "--model-shape", "240x320", "--model-version", "init"]
    assert run_tool(*flags, "--folder", folder) == 0
    assert capsys.readouterr().out.strip() == str(folder / NAME)

    # a flag left out means every value: init and combined, of which only init can be had
    assert run_tool(*flags[:4], "--folder", folder) == 4
    assert "crestereo_combined_iter5_240x320.onnx could not" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ([], 2, "--all"),
        (["--iters", "five"], 2, "whole numbers"),
        (["--model-shape", "240"], 2, "HEIGHTxWIDTH"),
        (["--iters", "7"], 2, "--list"),
    ],
)
def test_the_tool_refuses_what_cannot_be(folder, capsys, flags, code, message):
    assert run_tool(*flags, "--folder", folder) == code
    assert message in capsys.readouterr().err
    assert not folder.exists()
