"""The downloader against a server that does what real ones do on bad days."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import shutil
import socket
import sys
import tarfile
from pathlib import Path

import pytest

from crestereo.app import transfer as transfer_module
from crestereo.app.digests import LOCK_FILE
from crestereo.app.download import fetch_model, fetch_models
from crestereo.app.folder_lock import folder_lock
from crestereo.app.http_client import Patience, open_url
from crestereo.app.mirrors import KNOWN_SHA256, PUBLISHED_MIRRORS, Mirrors
from crestereo.app.progress import ByteBar
from crestereo.app.transfer import MirrorError, transfer
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
    patience = Patience(connect_s=2, stall_s=0.4)
    return fetch_model(
        spec, folder, report=lambda line: None, mirrors=mirrors_of(server), patience=patience
    )


def left_in(folder: Path) -> set[str]:
    """Return what is in a folder, but for the lock files that belong there."""
    return {p.name for p in folder.iterdir()} - {".download.lock", LOCK_FILE}


def refusal(server: FileServer, folder: Path, spec: ModelSpec = SPEC) -> str:
    """Return the message of a failing download, after checking that it left no model."""
    with pytest.raises(DownloadError) as caught:
        fetch(server, folder, spec)
    assert not list(folder.glob("*.onnx"))
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    return message


def test_a_single_file_arrives_whole_and_its_digest_is_remembered(server, folder, tmp_path):
    body = make_model(tmp_path)
    server.replies[SINGLE] = Reply(body, etag='"a"')

    path = fetch(server, folder)

    assert path == folder / NAME
    assert path.read_bytes() == body
    assert left_in(folder) == {NAME}
    entry = json.loads((folder / LOCK_FILE).read_text())[NAME]
    assert entry["sha256"] == hashlib.sha256(body).hexdigest()
    assert entry["url"] == server.url + SINGLE


def test_a_model_that_is_there_below_a_sub_folder_needs_no_server(server, folder):
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / NAME).write_bytes(b"put here by hand")
    assert fetch(server, folder) == folder / "mine" / NAME
    assert server.requests == []


def test_a_cut_line_is_taken_up_where_it_broke(server, folder, tmp_path):
    body = make_model(tmp_path)
    server.replies[SINGLE] = Reply(body, etag='"a"', cuts=[50_000, 30_000])

    assert fetch(server, folder).read_bytes() == body

    assert server.ranges(SINGLE) == [None, "bytes=50000-", "bytes=80000-"]
    assert server.requests[1][1]["If-Range"] == '"a"'


def test_a_later_run_resumes_what_an_earlier_one_left(server, folder, tmp_path):
    body = make_model(tmp_path)
    server.replies[SINGLE] = Reply(body, etag='"a"', stall_after=40_000)
    assert "no answer in time" in refusal(server, folder)
    have = (folder / f"{NAME}.part").stat().st_size
    assert have >= 40_000

    server.replies[SINGLE] = Reply(body, etag='"a"')
    assert fetch(server, folder).read_bytes() == body
    assert server.ranges(SINGLE)[-1] == f"bytes={have}-"


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"etag": '"b"'}, id="the file has changed"),
        pytest.param({"etag": '"a"', "honour_range": False}, id="Range is ignored"),
    ],
)
def test_what_cannot_be_resumed_starts_anew(server, folder, tmp_path, second):
    body = make_model(tmp_path)
    server.replies[SINGLE] = Reply(body[::-1], etag='"a"', stall_after=40_000)
    refusal(server, folder)

    server.replies[SINGLE] = Reply(body, **second)
    assert fetch(server, folder).read_bytes() == body
    assert (server.ranges(SINGLE)[-1] or "").startswith("bytes=")


def test_a_file_of_another_length_without_a_tag_is_not_joined_to_the_old_piece(
    server, folder, tmp_path
):
    body = make_model(tmp_path)
    server.replies[SINGLE] = Reply(body + b"longer", stall_after=40_000)
    refusal(server, folder)
    server.replies[SINGLE] = Reply(body)
    assert fetch(server, folder).read_bytes() == body
    assert server.ranges(SINGLE)[-1] is None


def put_part(server: FileServer, folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / f"{NAME}.part").write_bytes(content)
    origin = {"url": server.url + SINGLE, "validator": '"a"', "total": None}
    (folder / f"{NAME}.part.json").write_text(json.dumps(origin))


def test_a_part_that_is_already_whole_is_used(server, folder, tmp_path):
    body = make_model(tmp_path)
    put_part(server, folder, body)
    server.replies[SINGLE] = Reply(body, etag='"a"')
    assert fetch(server, folder).read_bytes() == body
    assert server.ranges(SINGLE) == [f"bytes={len(body)}-"]  # answered with 416


def test_a_part_longer_than_the_file_starts_anew(server, folder, tmp_path):
    body = make_model(tmp_path)
    put_part(server, folder, body + b"too much")
    server.replies[SINGLE] = Reply(body, etag='"a"')
    assert fetch(server, folder).read_bytes() == body
    assert server.ranges(SINGLE) == [f"bytes={len(body) + 8}-", None]


def test_a_part_of_which_the_server_names_no_version_starts_anew(server, folder, tmp_path):
    body = make_model(tmp_path)
    server.replies[SINGLE] = Reply(body[::-1], stall_after=40_000)
    with pytest.raises(DownloadError):
        fetch(server, folder)
    server.replies[SINGLE] = Reply(body)  # another file of the same length
    asked_before = len(server.ranges(SINGLE))
    assert fetch(server, folder).read_bytes() == body
    assert server.ranges(SINGLE)[asked_before:] == [None]


def test_an_old_part_makes_room_for_the_file_that_replaces_it(
    server, folder, tmp_path, monkeypatch
):
    body = make_model(tmp_path)
    put_part(server, folder, b"x" * 50_000)
    server.replies[SINGLE] = Reply(body, etag='"b"')
    part = folder / f"{NAME}.part"

    def room(_: object, needed: int) -> None:
        assert needed == len(body)
        assert not part.exists()

    monkeypatch.setattr("crestereo.app.transfer.require_room", room)
    assert fetch(server, folder).read_bytes() == body


def test_a_damaged_record_of_digests_is_not_forgotten(server, folder, tmp_path):
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "models.lock.json"
    record.write_text('{"a": {"sha256": "1"},}')
    server.replies[SINGLE] = Reply(make_model(tmp_path))
    with pytest.raises(DownloadError, match=r"models\.lock\.json is damaged"):
        fetch(server, folder)
    assert record.read_text() == '{"a": {"sha256": "1"},}'


def test_a_folder_without_locks_is_used_without(folder, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder, on_wait=pytest.fail):
        pass


def test_a_part_of_unknown_origin_is_not_trusted(server, folder, tmp_path):
    body = make_model(tmp_path)
    put_part(server, folder, b"from elsewhere")
    (folder / f"{NAME}.part.json").write_text('{"url": "http')
    server.replies[SINGLE] = Reply(body)
    assert fetch(server, folder).read_bytes() == body
    assert server.ranges(SINGLE) == [None]


def test_an_answer_of_unknown_length_is_taken(server, folder, tmp_path):
    body = make_model(tmp_path)
    server.replies[SINGLE] = Reply(body, chunked=True)  # ends where the connection ends
    assert fetch(server, folder).read_bytes() == body


def test_redirects_are_followed(server, folder, tmp_path):
    body = make_model(tmp_path)
    server.replies[SINGLE] = Reply(status=302, location=f"{server.url}/elsewhere?signed=1")
    server.replies["/elsewhere?signed=1"] = Reply(body, etag='"a"', cuts=[10_000])
    assert fetch(server, folder).read_bytes() == body
    assert server.ranges("/elsewhere?signed=1") == [None, "bytes=10000-"]


def test_a_redirect_from_https_to_http_is_refused(server, tmp_path, monkeypatch):
    # given an https address (which a local server without a certificate cannot be)
    server.replies["/file"] = Reply(b"anything")
    monkeypatch.setattr(
        transfer_module, "open_url", lambda url, *rest: open_url(f"{server.url}/file", *rest)
    )
    with pytest.raises(MirrorError, match="unprotected"):
        transfer(
            "https://safe.example/file",
            tmp_path / "part",
            patience=Patience(),
            progress=lambda have, total: None,
        )


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


def test_a_file_without_its_known_digest_is_refused(server, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(KNOWN_SHA256, NAME, "0" * 64)
    server.replies[SINGLE] = Reply(make_model(tmp_path))
    assert "SHA-256" in refusal(server, folder)
    assert left_in(folder) == set()


def test_a_file_unlike_the_one_seen_first_is_refused(server, folder, tmp_path):
    server.replies[SINGLE] = Reply(make_model(tmp_path))
    fetch(server, folder).unlink()
    changed = init_model(tmp_path / "changed.onnx", SPEC.shape, bias=1.0).read_bytes()
    server.replies[SINGLE] = Reply(changed)
    assert LOCK_FILE in refusal(server, folder)


def test_nobody_listening_is_said_once_for_each_server(folder):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(DownloadError, match="no connection") as caught:
            fetch(FileServer(unused.getsockname()[1]), folder)
    assert f"{url}{SINGLE}" in str(caught.value)
    assert str(caught.value).count("no connection") == 1
    assert str(folder) in str(caught.value)


def test_a_server_that_never_answers_is_given_up(folder):
    silence = pytest.raises(DownloadError, match="no answer in time")
    with socket.create_server(("127.0.0.1", 0)) as deaf, silence:
        fetch(FileServer(deaf.getsockname()[1]), folder)


def test_the_connection_has_a_deadline_of_its_own(server, folder, tmp_path, monkeypatch):
    deadlines = []
    real = socket.create_connection

    def watched(address, timeout, *rest, **options):
        deadlines.append(timeout)
        return real(address, timeout, *rest, **options)

    monkeypatch.setattr(socket, "create_connection", watched)
    server.replies[SINGLE] = Reply(make_model(tmp_path), pause_s=0.01)
    fetch(server, folder)
    assert deadlines == [2]  # the silence allowed later, 0.4 s, is another one
    assert Patience().connect_s == 5


def test_a_terminal_shows_size_and_rate(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    with ByteBar("a model") as bar:
        bar(500_000, 2_000_000)
        bar(0, 2_000_000)  # from the beginning again
        bar(2_000_000, 2_000_000)
    assert screen.getvalue().count("a model") >= 2
    assert "2.00M/2.00M" in screen.getvalue()
    assert "B/s" in screen.getvalue()


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
    assert server.ranges(ARCHIVES[1]) == [None, "bytes=5000-"]
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

    paths = fetch_models(specs, folder, report=lambda line: None, mirrors=mirrors_of(server))

    assert [path.read_bytes() for path in paths] == bodies
    assert [path for path, _ in server.requests] == [SINGLE, ARCHIVES[0]]


def test_one_bad_model_does_not_cost_the_others(server, folder, tmp_path):
    server.replies[SINGLE] = Reply(make_model(tmp_path))
    with pytest.raises(DownloadError) as caught:
        fetch_models(
            [ModelSpec("init", 2, 240, 320), SPEC],
            folder,
            report=lambda line: None,
            mirrors=mirrors_of(server),
        )
    assert "crestereo_init_iter2_240x320.onnx could not" in str(caught.value)
    assert (folder / NAME).exists()


def test_a_disk_without_room_is_said_before_anything_is_fetched(
    server, folder, tmp_path, monkeypatch
):
    server.replies[SINGLE] = Reply(make_model(tmp_path))
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    message = refusal(server, folder)
    assert "too full" in message
    assert server.url + SINGLE in message
    assert len(server.requests) == 1  # another mirror would not help


def test_a_folder_that_cannot_be_made_is_said(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="cannot be stored"):
        fetch(server, tmp_path / "file" / "models")


def test_a_model_that_was_never_published_is_not_looked_for(server, folder):
    with pytest.raises(UnknownModelError, match="nearest"):
        fetch(server, folder, ModelSpec("init", 7, 240, 320))
    assert server.requests == []


def test_the_published_addresses():
    # from the list of what the release and the archives hold
    singles = [s for s in PUBLISHED if PUBLISHED_MIRRORS.single_url(s, file_name(s))]
    assert len(singles) >= 4 * 6
    assert PUBLISHED_MIRRORS.single_url(SPEC, NAME) == (
        f"https://github.com/nburrus/stereodemo/releases/download/v0.1-crestereo/{NAME}"
    )
    assert PUBLISHED_MIRRORS.single_url(ONLY_ARCHIVED, file_name(ONLY_ARCHIVED)) is None
    base = "https://s3.ap-northeast-2.wasabisys.com/pinto-model-zoo/284_CREStereo"
    assert PUBLISHED_MIRRORS.archive_urls(20) == [
        f"{base}/tensorrt/resources_iter20.tar.gz",
        f"{base}/non_tensorrt/resources_iter20.tar.gz",
    ]
