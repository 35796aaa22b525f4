"""The downloader against a server that does what real ones do on bad days."""

from __future__ import annotations

import hashlib
import io
import re
import socket
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from crestereo.app import download, sources
from crestereo.app.download import KNOWN_SHA256, PUBLISHED_MIRRORS, Mirrors, fetch_models
from crestereo.errors import DownloadError, UnknownModelError
from crestereo.models import PUBLISHED, ModelSpec, file_name
from tests.file_server import FileServer, Reply, serve_files
from tests.tiny_models import combined_model, init_model

SPEC = ModelSpec("init", 5, 240, 320)
NAME = "crestereo_init_iter5_240x320.onnx"
SINGLE = f"/single/{NAME}"
ARCHIVES = ("/tensorrt/resources_iter5.tar.gz", "/non_tensorrt/resources_iter5.tar.gz")
ONLY_ARCHIVED = ModelSpec("init", 5, 120, 160)
FILLER = {"filler": "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(250)) * 12}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CONNECT_S", 2)
    monkeypatch.setattr(sources, "READ_S", 0.4)


@pytest.fixture
def server():
    with serve_files() as files:
        yield files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


def make_model(tmp_path: Path, spec: ModelSpec = SPEC) -> bytes:
    """Return the bytes of a right model; 192 kB long where it is an init model."""
    path = tmp_path / "made.onnx"
    if spec.version == "init":
        return init_model(path, spec.shape, metadata=FILLER).read_bytes()
    return combined_model(path, spec.shape).read_bytes()


def make_archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def mirrors_of(server: FileServer) -> Mirrors:
    folders = (f"{server.url}/tensorrt", f"{server.url}/non_tensorrt")
    return Mirrors(f"{server.url}/single", folders)


def fetch(server: FileServer, folder: Path, spec: ModelSpec = SPEC) -> Path:
    return fetch_models([spec], folder, mirrors=mirrors_of(server))[0]


def left_in(folder: Path) -> set[str]:
    """Return what is in a folder, but for the lock files that belong there."""
    return {p.name for p in folder.iterdir()} - {".download.lock"}


def refusal(server: FileServer, folder: Path, spec: ModelSpec = SPEC) -> str:
    """Return the message of a failing download, after checking that it left no model."""
    with pytest.raises(DownloadError) as caught:
        fetch(server, folder, spec)
    assert not list(folder.glob("*.onnx"))
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    return message


def test_a_single_file_arrives_whole(server, folder, tmp_path):
    body = make_model(tmp_path)
    server.replies[SINGLE] = Reply(body, etag='"a"')

    path = fetch(server, folder)

    assert path == folder / NAME
    assert path.read_bytes() == body
    assert left_in(folder) == {NAME}


def test_a_model_that_is_there_below_a_sub_folder_needs_no_server(server, folder):
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / NAME).write_bytes(b"put here by hand")
    assert fetch(server, folder) == folder / "mine" / NAME
    assert server.requests == []


def test_a_cut_line_is_taken_up_where_it_broke(server, folder, tmp_path):
    body = make_model(tmp_path)
    server.replies[SINGLE] = Reply(body, etag='"a"', cuts=[50_000, 30_000])

    assert fetch(server, folder).read_bytes() == body

    starts = [int(asked.strip("bytes=-")) for asked in server.ranges(SINGLE)[1:] if asked]
    assert [
        0 <= cut - start < 4096
        for cut, start in zip((50_000, starts[0] + 30_000), starts, strict=True)
    ]


def test_a_later_run_resumes_what_an_earlier_one_left(server, folder, tmp_path):
    body = make_model(tmp_path)
    server.replies[SINGLE] = Reply(body, etag='"a"', stall_after=40_000)
    assert "no answer in time" in refusal(server, folder)
    have = (folder / f"{NAME}.part").stat().st_size
    assert have > 40_000 - 4096

    server.replies[SINGLE] = Reply(body, etag='"a"')
    assert fetch(server, folder).read_bytes() == body
    assert server.ranges(SINGLE)[-1] == f"bytes={have}-"


def test_a_server_that_ignores_ranges_sends_the_file_again(server, folder, tmp_path):
    body = make_model(tmp_path)
    put_part(folder, body[::-1][:40_000])
    server.replies[SINGLE] = Reply(body, honour_range=False)
    assert fetch(server, folder).read_bytes() == body
    assert server.ranges(SINGLE) == ["bytes=40000-"]


def put_part(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / f"{NAME}.part").write_bytes(content)


def test_a_part_longer_than_the_file_is_replaced(server, folder, tmp_path):
    body = make_model(tmp_path)
    put_part(folder, body + b"too much")
    server.replies[SINGLE] = Reply(body)
    assert fetch(server, folder).read_bytes() == body
    assert server.ranges(SINGLE) == [f"bytes={len(body) + 8}-", None]


def test_a_part_of_another_file_costs_one_run(server, folder, tmp_path):
    body = make_model(tmp_path)
    put_part(folder, body[::-1][:50_000])
    server.replies[SINGLE] = Reply(body)
    assert "not an ONNX model" in refusal(server, folder)
    assert fetch(server, folder).read_bytes() == body


def test_an_answer_of_unknown_length_is_taken(server, folder, tmp_path):
    body = make_model(tmp_path)
    server.replies[SINGLE] = Reply(body, chunked=True)  # ends where the connection ends
    assert fetch(server, folder).read_bytes() == body


def test_redirects_are_followed(server, folder, tmp_path):
    body = make_model(tmp_path)
    server.replies[SINGLE] = Reply(status=302, location=f"{server.url}/elsewhere?signed=1")
    server.replies["/elsewhere?signed=1"] = Reply(body, etag='"a"', cuts=[10_000])
    assert fetch(server, folder).read_bytes() == body
    assert server.ranges("/elsewhere?signed=1") == [None, "bytes=8192-"]


def test_a_redirect_from_https_to_http_is_refused(server, folder, monkeypatch):
    # given an https address (which a local server without a certificate cannot have)
    server.replies["/file"] = Reply(b"anything")
    real = sources.request
    monkeypatch.setattr(
        sources, "request", lambda url, headers: real(f"{server.url}/file", headers)
    )
    mirrors = Mirrors("https://safe.example", ())
    with pytest.raises(DownloadError, match="unprotected"):
        fetch_models([SPEC], folder, mirrors=mirrors)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(b"gone", status=404), "404"),
        (Reply(b"<p>sign in</p>", content_type="text/html; charset=utf-8"), "web page"),
        (Reply(b"\n <!DOCTYPE html><p>sign in</p>"), "web page"),
        (Reply(b"\x00\x01 no network at all"), "not an ONNX model that can"),
        (Reply(b""), "empty"),
    ],
)
def test_what_is_no_model_is_refused_with_its_address(server, folder, reply, reason):
    server.replies[SINGLE] = reply
    message = refusal(server, folder)
    assert f"{server.url}{SINGLE}: " in message
    assert reason in message
    assert left_in(folder) == set()


@pytest.mark.parametrize(
    "other",
    [ModelSpec("init", 5, 480, 640), ModelSpec("combined", 5, 240, 320)],
    ids=["another shape", "another interface"],
)
def test_another_network_under_the_name_is_refused(server, folder, tmp_path, other):
    server.replies[SINGLE] = Reply(make_model(tmp_path, other))
    assert "kind of" in refusal(server, folder)
    assert left_in(folder) == set()


def test_a_truncated_model_is_refused(server, folder, tmp_path):
    server.replies[SINGLE] = Reply(make_model(tmp_path)[:-1000])
    assert "not an ONNX model" in refusal(server, folder)


def test_another_digest_than_the_known_one_is_a_warning(
    server, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(KNOWN_SHA256, NAME, "0" * 64)
    server.replies[SINGLE] = Reply(make_model(tmp_path))
    assert fetch(server, folder).is_file()
    assert "SHA-256" in capsys.readouterr().err


def test_nobody_listening_is_said_once_for_each_server(folder):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(DownloadError, match="Connection refused") as caught:
            fetch(FileServer(unused.getsockname()[1]), folder)
    assert f"{url}{SINGLE}" in str(caught.value)
    assert str(caught.value).count("Connection refused") == 1
    assert str(folder) in str(caught.value)


def test_a_server_that_never_answers_is_given_up(folder):
    silence = pytest.raises(DownloadError, match="no answer in time")
    with socket.create_server(("127.0.0.1", 0)) as deaf, silence:
        fetch(FileServer(deaf.getsockname()[1]), folder)


def test_a_terminal_shows_size_and_rate(server, folder, tmp_path, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    server.replies[SINGLE] = Reply(make_model(tmp_path), pause_s=0.005)
    fetch(server, folder)
    assert NAME in screen.getvalue()
    assert re.search(r"\d+k/\d+k", screen.getvalue())
    assert "B/s" in screen.getvalue()


def test_a_second_program_waits_for_the_lock(server, folder, tmp_path, capsys):
    folder.mkdir()
    server.replies[SINGLE] = Reply(make_model(tmp_path))
    taken = threading.Event()

    def other_program() -> None:
        with FileLock(folder / download.LOCK_NAME):
            taken.set()
            time.sleep(0.3)

    threading.Thread(target=other_program).start()
    assert taken.wait(5)
    assert fetch(server, folder).is_file()
    assert "another program is downloading" in capsys.readouterr().err


def test_an_archive_gives_only_the_wanted_file(server, folder, tmp_path):
    body = make_model(tmp_path, ONLY_ARCHIVED)
    name = file_name(ONLY_ARCHIVED)
    members = {
        "resources/readme.txt": b"hello",
        f"resources/deep/er/{NAME}": b"another model, not wanted",
        f"../../outside/{name}": body,
        "../../evil.onnx": b"evil",
    }
    server.replies[ARCHIVES[0]] = Reply(make_archive(members), etag='"a"')

    assert fetch(server, folder, ONLY_ARCHIVED).read_bytes() == body

    assert [path for path, _ in server.requests] == [ARCHIVES[0]]  # it has no file of its own
    assert left_in(folder) == {name}
    assert {p.name for p in tmp_path.iterdir()} == {"models", "made.onnx"}


def test_a_link_in_an_archive_is_not_followed(server, folder, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(make_model(tmp_path))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        link = tarfile.TarInfo(f"x/{NAME}")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
    server.replies[ARCHIVES[0]] = Reply(buffer.getvalue())
    refusal(server, folder)
    assert left_in(folder) == set()


def test_mirror_after_mirror_is_tried_and_an_archive_is_resumed(server, folder, tmp_path):
    body = make_model(tmp_path)
    archive = make_archive({f"a/{NAME}": body})
    server.replies[SINGLE] = Reply(b"gone", status=404)
    server.replies[ARCHIVES[0]] = Reply(b"<html>", content_type="text/html")
    server.replies[ARCHIVES[1]] = Reply(archive, etag='"z"', cuts=[5000])

    assert fetch(server, folder).read_bytes() == body

    assert [path for path, _ in server.requests] == [SINGLE, *ARCHIVES, ARCHIVES[1]]
    assert server.ranges(ARCHIVES[1]) == [None, "bytes=4096-"]
    assert left_in(folder) == {NAME}


@pytest.mark.parametrize("damage", ["page", "cut", "flipped", "without"])
def test_a_bad_archive_is_removed_and_named(server, folder, tmp_path, damage):
    good = make_archive({f"a/{NAME}": make_model(tmp_path)})
    half = len(good) // 2
    bad = {
        "page": b"this is no archive",
        "cut": good[:half],
        "flipped": good[:half] + bytes(100) + good[half + 100 :],
        "without": make_archive({"a/readme.txt": b"no model"}),
    }[damage]
    server.replies[ARCHIVES[0]] = Reply(bad)
    message = refusal(server, folder)
    assert ("does not hold" if damage == "without" else "not a whole .tar.gz") in message
    assert left_in(folder) == set()


def test_several_models_share_one_archive(server, folder, tmp_path):
    specs = [ONLY_ARCHIVED, ModelSpec("combined", 5, 320, 480), SPEC]
    bodies = [make_model(tmp_path, spec) for spec in specs]
    server.replies[SINGLE] = Reply(bodies[2])
    members = {f"d/{file_name(s)}": b for s, b in zip(specs[:2], bodies[:2], strict=True)}
    server.replies[ARCHIVES[0]] = Reply(make_archive(members))

    paths = fetch_models(specs, folder, mirrors=mirrors_of(server))

    assert [path.read_bytes() for path in paths] == bodies
    assert [path for path, _ in server.requests] == [SINGLE, ARCHIVES[0]]


def test_one_bad_model_does_not_cost_the_others(server, folder, tmp_path):
    server.replies[SINGLE] = Reply(make_model(tmp_path))
    with pytest.raises(DownloadError) as caught:
        fetch_models(
            [ModelSpec("init", 2, 240, 320), SPEC],
            folder,
            mirrors=mirrors_of(server),
        )
    assert "crestereo_init_iter2_240x320.onnx could not" in str(caught.value)
    assert (folder / NAME).exists()


def test_a_folder_that_cannot_be_made_is_said(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch(server, tmp_path / "file" / "models")


def test_a_model_that_was_never_published_is_not_looked_for(server, folder):
    with pytest.raises(UnknownModelError, match="nearest"):
        fetch(server, folder, ModelSpec("init", 7, 240, 320))
    assert server.requests == []


def test_the_published_addresses():
    # from the list of what the release and the archives hold
    assert sum("stereodemo" in PUBLISHED_MIRRORS.urls(spec)[0] for spec in PUBLISHED) >= 4 * 6
    base = "https://s3.ap-northeast-2.wasabisys.com/pinto-model-zoo/284_CREStereo"
    archives = [f"{base}/{kind}/resources_iter5.tar.gz" for kind in ("tensorrt", "non_tensorrt")]
    single = f"https://github.com/nburrus/stereodemo/releases/download/v0.1-crestereo/{NAME}"
    assert PUBLISHED_MIRRORS.urls(SPEC) == [single, *archives]
    assert PUBLISHED_MIRRORS.urls(ONLY_ARCHIVED) == archives
