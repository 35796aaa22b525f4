"""Videos: opened, read to the end, broken frames counted, paired by time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from crestereo.app import video as openers
from crestereo.app.sources import Kind, Source, parse_video
from crestereo.app.stereo_video import OneVideo, TwoVideos
from crestereo.app.video import SiteStream, Video, open_video
from crestereo.errors import SourceError
from crestereo.layouts import Layout, split_frame
from tests.app_helpers import damage_frames, frame_number, save, texture, write_video
from tests.file_server import FileServer, Reply, serve_files


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve_files() as files:
        yield files


@pytest.fixture
def folder_server(tmp_path: Path) -> Iterator[str]:
    """Serve a folder as web servers do, lengths and all."""

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            """Keep the test output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def opened(path: Path) -> Video:
    return open_video(parse_video(str(path)), 240)


def numbers(video: Video) -> list[int]:
    return [frame_number(frame.image) for frame in video.frames()]


def test_every_frame_comes_once_with_its_time(tmp_path: Path) -> None:
    video = opened(write_video(tmp_path / "영상 하나.avi", frames=6, fps=10))
    assert (video.size, video.fps, video.count, video.live) == ((96, 64), 10, 6, False)
    frames = list(video.frames())
    assert [frame_number(frame.image) for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert video.skipped == 0


def test_a_frame_that_cannot_be_decoded_is_left_out_and_counted(tmp_path: Path) -> None:
    path = damage_frames(write_video(tmp_path / "v.avi", frames=8, fps=10), (3, 4))
    video = opened(path)
    frames = list(video.frames())
    assert [frame_number(frame.image) for frame in frames] == [0, 1, 2, 5, 6, 7]
    assert frames[3].time_s == pytest.approx(0.5)
    assert video.skipped == 2


def test_what_is_missing_at_the_end_is_told_apart_from_broken_frames(tmp_path: Path) -> None:
    # given a video with a broken frame, and with nothing that can be decoded at its end
    path = write_video(tmp_path / "v.avi", frames=9, size=(128, 64), fps=10)
    video = opened(damage_frames(path, (2, 5, 6, 7, 8)))
    # when it is read
    stream = OneVideo(video, "toy")
    assert len(list(stream)) == 4
    # then both are counted by themselves
    assert (video.skipped, video.missing) == (1, 4)
    assert stream.remarks() == [
        f"1 frame of {path} could not be decoded and was left out",
        f"{path} ended after 5 of the 9 frames its header tells of: cut off, or trimmed",
    ]


def test_a_trimmed_video_is_not_called_damaged(tmp_path: Path) -> None:
    # given an mp4 that was cut without encoding it again: an edit list hides its last frames
    path = tmp_path / "trimmed.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (128, 64))
    for number in range(10):
        writer.write(np.full((64, 128, 3), 10 * number, np.uint8))
    writer.release()
    data = bytearray(path.read_bytes())
    duration = data.index(b"elst") + 12  # after name, version and flags, and number of entries
    assert int.from_bytes(data[duration : duration + 4], "big") == 1000  # [ms]
    data[duration : duration + 4] = (600).to_bytes(4, "big")
    path.write_bytes(data)
    # when it is read
    stream = OneVideo(opened(path), "toy")
    # then all that is to be seen comes, and the remark leaves open what it is
    assert len(list(stream)) == 6
    assert stream.remarks() == [
        f"{path} ended after 6 of the 10 frames its header tells of: cut off, or trimmed"
    ]


def test_a_broken_first_frame_is_left_out(tmp_path: Path) -> None:
    video = opened(damage_frames(write_video(tmp_path / "v.avi", frames=4), (0,)))
    assert frame_number(video.first) == 1
    assert numbers(video) == [1, 2, 3]
    assert video.skipped == 1


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100])
def test_a_file_that_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"notes\.mp4"):
        opened(path)


def test_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(SourceError, match="cannot open camera 77"):
        open_video(Source(Kind.CAMERA, "77"), 240)


def test_the_address_of_a_video_goes_to_opencv(tmp_path: Path, folder_server: str) -> None:
    write_video(tmp_path / "clip.avi", frames=5)
    video = open_video(parse_video(f"{folder_server}/clip.avi"), 240)
    assert numbers(video) == [0, 1, 2, 3, 4]


def test_an_address_without_a_known_suffix_is_a_video_by_its_type(
    tmp_path: Path, server: FileServer
) -> None:
    body = write_video(tmp_path / "clip.avi", frames=3).read_bytes()
    server.replies["/watch?v=1"] = Reply(body, content_type="video/x-msvideo")
    video = open_video(parse_video(f"{server.url}/watch?v=1"), 240)
    assert numbers(video) == [0, 1, 2]


def mjpeg(frames: int) -> bytes:
    """Return what an HTTP camera sends: one JPEG after the other."""
    parts = []
    for number in range(frames):
        picture = np.full((64, 160, 3), 10 * number, np.uint8)
        data = cv2.imencode(".jpg", picture)[1].tobytes()
        head = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        parts.append(head.encode() + data + b"\r\n")
    return b"".join(parts)


@pytest.mark.parametrize("login", ["", "kim:p@ss 1"])
def test_an_http_camera_is_live(server: FileServer, login: str) -> None:
    # given a camera as phones and doors have them, which may ask who is there
    kind = "multipart/x-mixed-replace; boundary=cut"
    reply = Reply(mjpeg(6), content_type=kind, chunked=True, login=login)
    server.replies["/%EB%AC%B8%20video"] = reply
    host = server.url.replace("://", "://kim:p%40ss%201@") if login else server.url
    # when it is opened and goes away
    video = open_video(parse_video(f"{host}/문 video"), 240)
    stream = OneVideo(video, "door")
    pairs = list(stream)
    # then it was live, nothing went missing and its end is told
    assert (stream.live, video.count, len(pairs)) == (True, None, 6)
    assert stream.remarks() == [f"{host}/문 video gives no more frames: stopped there"]


def test_a_camera_whose_login_only_ffmpeg_knows_is_left_to_it(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.replies["/video.mp4"] = Reply(login="not:this")
    opened = []

    def open_address(url: str) -> cv2.VideoCapture:
        opened.append(url)
        return cv2.VideoCapture()

    monkeypatch.setattr(openers, "open_address", open_address)
    address = server.url.replace("://", "://kim:secret@") + "/video.mp4"
    with pytest.raises(SourceError, match="OpenCV cannot open http"):
        open_video(parse_video(address), 240)
    assert opened == [address]
    with pytest.raises(SourceError, match="answers 401"):
        open_video(parse_video(f"{server.url}/video.mp4"), 240)


@pytest.mark.skipif(sys.platform == "win32", reason="no colons in names there")
def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "2024-05-01T12:30:00.mkv", frames=3)
    monkeypatch.chdir(tmp_path)
    video = open_video(parse_video("2024-05-01T12:30:00.mkv"), 240)
    assert (video.live, numbers(video)) == (False, [0, 1, 2])


def test_an_address_that_is_not_there_says_so(server: FileServer) -> None:
    with pytest.raises(SourceError, match="answers 404"):
        open_video(parse_video(f"{server.url}/clip.mp4"), 240)


def test_a_page_of_a_site_is_asked_for_its_streams(
    tmp_path: Path, folder_server: str, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "small.avi", frames=2)
    server.replies["/watch"] = Reply(b"<html></html>", content_type="text/html")
    asked = []

    def find(url: str, height: int) -> list[SiteStream]:
        asked.append((url, height))
        gone = SiteStream(f"{folder_server}/gone.avi")
        headers = {"User-Agent": "Browser (X; Y)"}
        return [gone, SiteStream(f"{folder_server}/small.avi", headers, "Alps 3D SBS")]

    monkeypatch.setattr(openers, "find_streams", find)
    video = open_video(parse_video(f"{server.url}/watch"), 240)
    assert asked == [(f"{server.url}/watch", 240)]
    assert numbers(video) == [0, 1]
    assert video.title == "Alps 3D SBS"  # may tell its layout
    assert (video.live, video.count) == (False, 2)


def test_a_page_without_a_video_is_named(server: FileServer) -> None:
    server.replies["/page"] = Reply(b"<html>words</html>", content_type="text/html")
    with pytest.raises(SourceError, match=f"no video at {server.url}/page"):
        open_video(parse_video(f"{server.url}/page"), 240)


def pairs_of(stream: TwoVideos) -> list[tuple[int, int]]:
    return [(frame_number(pair.left), frame_number(pair.right)) for pair in stream]


def test_two_videos_are_paired_and_stop_at_the_shorter_one(tmp_path: Path) -> None:
    left = opened(write_video(tmp_path / "l.avi", frames=5))
    right = opened(write_video(tmp_path / "r.avi", frames=7, seed=1))
    stream = TwoVideos(left, right, "toy")
    assert (stream.count, stream.fps, stream.first.name) == (5, 10, "toy")
    assert pairs_of(stream) == [(n, n) for n in range(5)]
    assert stream.remarks() == [
        "the left video is shorter: stopped where it ends, the rest of the right one was not used"
    ]


def test_a_broken_frame_costs_its_partner_and_nothing_else(tmp_path: Path) -> None:
    left = opened(damage_frames(write_video(tmp_path / "l.avi", frames=8), (2,)))
    right = opened(damage_frames(write_video(tmp_path / "r.avi", frames=8), (5,)))
    stream = TwoVideos(left, right, "toy")
    assert pairs_of(stream) == [(n, n) for n in (0, 1, 3, 4, 6, 7)]
    assert stream.remarks() == [
        f"1 frame of {tmp_path / 'l.avi'} could not be decoded and was left out",
        f"1 frame of {tmp_path / 'r.avi'} could not be decoded and was left out",
    ]


@pytest.mark.parametrize(("offset", "first"), [(3, (3, 0)), (-2, (0, 2))])
def test_an_offset_moves_one_video_against_the_other(
    tmp_path: Path, offset: int, first: tuple[int, int]
) -> None:
    left = opened(write_video(tmp_path / "l.avi", frames=8))
    right = opened(write_video(tmp_path / "r.avi", frames=8))
    stream = TwoVideos(left, right, "toy", offset_s=offset / 10)
    assert stream.count == 8 - abs(offset)
    pairs = pairs_of(stream)
    assert pairs[0] == first
    assert {a - b for a, b in pairs} == {offset}
    assert len(pairs) == 8 - abs(offset)


@pytest.mark.parametrize("offset", [9, -9])
def test_an_offset_beyond_the_end_says_so(tmp_path: Path, offset: int) -> None:
    left = opened(write_video(tmp_path / "l.avi", frames=8))
    right = opened(write_video(tmp_path / "r.avi", frames=8))
    with pytest.raises(SourceError, match=f"share no moment .* by {-offset} frames"):
        TwoVideos(left, right, "toy", offset_s=offset / 10)


def test_videos_of_different_rates_go_by_time(tmp_path: Path) -> None:
    left = opened(write_video(tmp_path / "l.avi", frames=10, fps=20))
    right = opened(write_video(tmp_path / "r.avi", frames=5, fps=10))
    assert pairs_of(TwoVideos(left, right, "toy")) == [(2 * n, n) for n in range(5)]


def test_videos_of_different_sizes_are_an_error_that_gives_both(tmp_path: Path) -> None:
    left = opened(write_video(tmp_path / "l.avi", size=(96, 64)))
    right = opened(write_video(tmp_path / "r.avi", size=(128, 64)))
    with pytest.raises(SourceError, match="left is 96x64 px but right is 128x64 px"):
        TwoVideos(left, right, "toy")


@pytest.mark.parametrize("swap", [False, True])
def test_the_halves_of_one_video_are_its_eyes(tmp_path: Path, swap: bool) -> None:
    left, right = np.full((64, 80, 3), 40, np.uint8), np.full((64, 80, 3), 200, np.uint8)
    path = tmp_path / "sbs.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 64))
    for _ in range(2):
        writer.write(np.hstack((left, right)))
    writer.release()
    pairs = list(OneVideo(opened(path), "toy", swap=swap))
    assert len(pairs) == 2
    means = [round(float(picture.mean()), -1) for picture in (pairs[1].left, pairs[1].right)]
    assert means == ([200, 40] if swap else [40, 200])


def test_an_odd_column_between_the_halves_is_left_out() -> None:
    frame = texture(8, 13)
    left, right = split_frame(frame, Layout())
    np.testing.assert_array_equal(left, frame[:, :6])
    np.testing.assert_array_equal(right, frame[:, 7:])


def test_a_video_too_narrow_for_two_eyes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="too small for two pictures"):
        OneVideo(opened(write_video(tmp_path / "v.avi", size=(96, 64))), "toy")


HICCUP = "no frame comes"


class TwoCameras(Video):
    """Play a list of pictures as a camera that fails to give some of them."""

    def __init__(self, pictures: list[np.ndarray | str | None]) -> None:
        self.name, self.live, self.fps, self.count, self.skipped = "camera", True, 25.0, None, 0
        self.late_s = 0.0
        self._left = list(pictures)
        self.first = self.retrieve() if self.grab() else texture(8, 8)  # type: ignore[assignment]
        self.closed = False

    def grab(self) -> bool:
        if self._left and self._left[0] is HICCUP:
            self._left.pop(0)
            return False
        return bool(self._left)

    def retrieve(self) -> np.ndarray | None:
        return self._left.pop(0)

    def close(self) -> None:
        self.closed = True


def test_two_cameras_are_read_side_by_side_and_let_go() -> None:
    grey = [np.full((64, 64, 3), 10 * n, np.uint8) for n in range(4)]
    left, right = TwoCameras([*grey]), TwoCameras([grey[0], None, grey[2], grey[3]])
    stream = TwoVideos(left, right, "toy")
    assert stream.live
    assert pairs_of(stream) == [(0, 0), (2, 2), (3, 3)]
    assert left.closed
    assert right.closed


def test_a_hiccup_of_one_camera_does_not_end_two() -> None:
    grey = [np.full((64, 64, 3), 10 * n, np.uint8) for n in range(6)]
    left = TwoCameras([*grey[:2], HICCUP, None, *grey[4:]])
    stream = TwoVideos(left, TwoCameras([*grey]), "toy")
    assert pairs_of(stream) == [(0, 0), (1, 1), (4, 4), (5, 5)]


def test_a_camera_that_is_lost_is_named() -> None:
    grey = [np.full((64, 64, 3), 10 * n, np.uint8) for n in range(6)]
    left, right = TwoCameras([*grey]), TwoCameras([grey[0], None, HICCUP, HICCUP, *grey[4:]])
    right.name = "camera 1"
    stream = TwoVideos(left, right, "toy")
    assert pairs_of(stream) == [(0, 0)]
    assert stream.remarks() == ["camera 1 gives no more frames: stopped there"]


def test_a_still_picture_counts_as_a_video_of_one_frame(tmp_path: Path) -> None:
    video = opened(save(tmp_path / "still.png", texture(64, 96)))
    assert len(list(video.frames())) == 1


class Played:
    """Be a capture that gives pictures at times of its own, and a header."""

    def __init__(self, times_s: list[float], count: float, fps: float = 25.0) -> None:
        self._times_s, self._count, self._fps = times_s, count, fps
        self._read = 0

    def get(self, what: int) -> float:
        known = {cv2.CAP_PROP_FRAME_COUNT: self._count, cv2.CAP_PROP_FPS: self._fps}
        return known.get(what, 1000 * self._times_s[max(self._read - 1, 0)])

    def read(self) -> tuple[bool, np.ndarray | None]:
        if self._read == len(self._times_s):
            return False, None
        self._read += 1
        return True, texture(48, 128, self._read)

    def release(self) -> None:
        pass


def remarks_of(name: str, times_s: list[float], count: float) -> tuple[list[float], list[str]]:
    video = Video(name, Played(times_s, count), Kind.FILE)  # type: ignore[arg-type]
    stream = OneVideo(video, "v")
    return [pair.time_s for pair in stream], stream.remarks()


def test_a_beginning_that_cannot_be_decoded_keeps_its_time() -> None:
    times_s, remarks = remarks_of("a.mkv", [0.8 + n / 25 for n in range(5)], 25)
    assert times_s == pytest.approx([0.8, 0.84, 0.88, 0.92, 0.96])
    assert remarks == ["the first 0.8 s of a.mkv could not be decoded and were left out"]


def test_a_file_that_begins_at_a_time_of_its_own_begins_at_zero() -> None:
    times_s, remarks = remarks_of("a.mp4", [0.04 + n / 25 for n in range(5)], 5)
    assert times_s == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert remarks == []


@pytest.mark.parametrize(
    ("name", "count", "says"),
    [
        ("a.mp4", 60, "after 25 of the 60 frames its header tells of"),
        ("a.mkv", 60, "after 1.0 of 2.4 s: cut off, or its sound is longer"),
        ("a.webm", 40, ""),
        ("cut#1?.mp4", 40, "after 25 of the 40 frames"),
    ],
)
def test_an_early_end_is_told_as_surely_as_the_container_knows_it(
    name: str, count: int, says: str
) -> None:
    _, remarks = remarks_of(name, [n / 25 for n in range(25)], count)
    assert len(remarks) == (says != "")
    assert says in "".join(remarks)
