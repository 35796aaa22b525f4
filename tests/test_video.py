"""Videos: opened, read to the end, broken frames counted, paired by time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from crestereo.app import video as openers
from crestereo.app.sources import Kind, SiteStream, Source, parse_video
from crestereo.app.stereo_video import OneVideo, TwoVideos
from crestereo.app.video import Video, open_video
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


def opened(path: Path | str) -> Video:
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


def test_broken_frames_are_counted_at_the_end_too(tmp_path: Path) -> None:
    # given a video with a broken frame, and with nothing that can be decoded at its end
    path = write_video(tmp_path / "v.avi", frames=9, size=(128, 64), fps=10)
    video = opened(damage_frames(path, (2, 5, 6, 7, 8)))
    # when it is read
    stream = OneVideo(video, "toy")
    assert len(list(stream)) == 4
    # then they are counted
    assert (video.skipped, video.missing) == (5, 0)
    assert stream.remarks() == [f"5 frames of {path} could not be decoded and were left out"]


def test_a_file_that_is_cut_off_is_reported(tmp_path: Path) -> None:
    # given the first half of a file
    path = write_video(tmp_path / "v.avi", frames=20, size=(128, 64), fps=10)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    # when it is read to its end
    stream = OneVideo(opened(path), "toy")
    frames = len(list(stream))
    # then the remark says how much came of how much
    assert 5 < frames < 15
    assert len(stream.remarks()) == 1
    assert "cut off or trimmed" in stream.remarks()[0]


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
        f"{path} ended after 0.6 of 1.0 s: cut off or trimmed, or its sound is longer"
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
    with pytest.raises(SourceError, match="camera 77 gives no frame"):
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
def test_an_http_camera_is_live(
    server: FileServer, login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a camera as phones and doors have them, which may ask who is there
    kind = "multipart/x-mixed-replace; boundary=cut"
    reply = Reply(mjpeg(6), content_type=kind, chunked=True, login=login)
    server.replies["/%EB%AC%B8%20video"] = reply
    host = server.url.replace("://", "://kim:p%40ss%201@") if login else server.url
    # when it is opened and goes away for good
    monkeypatch.setattr(openers, "RECONNECT_S", 0)
    video = open_video(parse_video(f"{host}/문 video"), 240)
    stream = OneVideo(video, "door")
    pairs = list(stream)
    # then it was live, came to its newest frame, and its end is told
    assert (stream.live, video.count, frame_number(pairs[-1].left)) == (True, None, 5)
    assert stream.remarks() == [f"{host}/문 video gives no more frames: stopped there"]


def test_a_camera_whose_login_only_ffmpeg_knows_is_left_to_it(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.replies["/video.mp4"] = Reply(login="not:this")
    opened = []

    def open_container(source: Source, location: str) -> Video:
        opened.append(location)
        raise SourceError(f"cannot open {source}")

    monkeypatch.setattr(openers, "_open_container", open_container)
    address = server.url.replace("://", "://kim:secret@") + "/video.mp4"
    with pytest.raises(SourceError, match="cannot open http"):
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

    def find(url: str, height: int, browser: str | None) -> list[SiteStream]:
        asked.append((url, height, browser))
        gone = SiteStream(f"{folder_server}/gone.avi", {})
        headers = {"User-Agent": "Browser (X; Y)"}
        return [gone, SiteStream(f"{folder_server}/small.avi", headers, "Alps 3D SBS")]

    monkeypatch.setattr(openers, "find_streams", find)
    page = parse_video(f"{server.url}/watch")
    video = open_video(page, 240, cookies_from_browser="firefox")
    assert asked == [(f"{server.url}/watch", 240, "firefox")]
    assert numbers(video) == [0, 1]
    assert video.source.title == "Alps 3D SBS"
    assert "Alps 3D SBS" in video.tags  # may state its layout
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
        "the left video is shorter: stopped at its end, the rest of the right one was not used"
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
    with pytest.raises(
        SourceError, match=f"do not overlap in time at an offset of {-offset} frames"
    ):
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
    with pytest.raises(SourceError, match="too small for two views"):
        OneVideo(opened(write_video(tmp_path / "v.avi", size=(96, 64))), "toy")


class Capture:
    """A camera of OpenCV that plays a list of images, None where it fails to give one."""

    def __init__(self, images: list[np.ndarray | None]) -> None:
        self._images = list(images)
        self.released = False
        self.asked: dict[int, float] = {}

    def get(self, what: int) -> float:
        return 25.0 if what == cv2.CAP_PROP_FPS else 0.0

    def set(self, what: int, value: float) -> bool:
        self.asked[what] = value
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(0.02)
        image = self._images.pop(0) if self._images else None
        return image is not None, image

    def release(self) -> None:
        self.released = True


GREYS = [np.full((64, 64, 3), 10 * n, np.uint8) for n in range(6)]


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch) -> dict[int, Capture]:
    """Let cameras 0 and 1 play images."""
    found = {0: Capture(50 * GREYS), 1: Capture([GREYS[0], None, None, *GREYS[1:4]])}
    monkeypatch.setattr(cv2, "VideoCapture", found.__getitem__)
    return found


def test_two_cameras_are_read_together_and_released(cameras: dict[int, Capture]) -> None:
    # given two cameras, of which one fails to give two frames and ends early
    left, right = (open_video(parse_video(number), 240) for number in "01")
    stream = TwoVideos(left, right, "toy")
    # when they are read, then the failure ends nothing, and the end is reported
    assert stream.live
    assert pairs_of(stream)[-1][1] == 3
    assert stream.remarks() == ["camera 1 gives no more frames: stopped there"]
    assert cameras[0].released
    assert cameras[1].released


def test_a_camera_is_asked_for_a_size_and_a_rate(
    cameras: dict[int, Capture], capsys: pytest.CaptureFixture[str]
) -> None:
    open_video(parse_video("0"), 240, camera_size=(64, 64), camera_fps=25.0).close()
    asked = cameras[0].asked
    names = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS
    assert [asked[name] for name in names] == [64, 64, 25]
    assert not capsys.readouterr().err
    # one that it does not have is reported
    open_video(parse_video("1"), 240, camera_size=(2560, 720)).close()
    assert capsys.readouterr().err == (
        "camera 1 gives 64x64 px at 25 frames/s; choose what it supports\n"
    )


def test_a_grey_camera_gives_three_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = Capture([np.full((64, 64), 7, np.uint8)])
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: capture)
    assert open_video(parse_video("0"), 240).first.shape == (64, 64, 3)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tiff", "bmp"])
def test_a_still_image_is_no_video(ending: str, tmp_path: Path, folder_server: str) -> None:
    name = f"still_000001.{ending}"
    save(tmp_path / name, texture(64, 96))
    for place in (str(tmp_path / name), f"{folder_server}/{name}"):
        with pytest.raises(SourceError, match=r"is an image.*img_%06d\.png"):
            opened(place)


def encode(
    path: Path,
    codec: str,
    *,
    frames: int = 20,
    drop: int = 0,
    times_s: list[float] | None = None,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    size: tuple[int, int] = (64, 128),
) -> Path:
    """Write frames of mean grey 60 + 8 n with an encoder of FFmpeg; `drop` leaves out packets."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = 64, 128
        stream.pix_fmt = pix_fmt
        stream.options = options or {}
        stream.codec_context.gop_size = 10
        stream.codec_context.time_base = Fraction(1, 1000)
        packets = []
        for number in range(frames):
            image = np.full((64, 128, 3), 60 + 8 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts = round(1000 * (times_s[number] if times_s else number / 25))
            frame.time_base = Fraction(1, 1000)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet in packets[drop:]:
            container.mux(packet)
    return path


def greys(video: Video) -> list[int]:
    # the conversion of FFmpeg that encodes these takes off up to five levels
    return [round((float(frame.image.mean()) - 57.5) / 8) for frame in video.frames()]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mkv", "libx265", "yuv420p10le"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.mp4", "libsvtav1", "yuv420p10le"),
        ("a.mkv", "ffv1", "yuv444p"),
        ("a.avi", "mpeg4", "yuv420p"),
    ],
)
def test_the_codecs_of_the_field_are_decoded(
    tmp_path: Path, name: str, codec: str, pix_fmt: str
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {codec}")
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    video = opened(encode(tmp_path / name, codec, pix_fmt=pix_fmt, options=options))
    assert greys(video) == list(range(20))
    assert video.skipped == 0


def test_uneven_times_of_frames_are_kept(tmp_path: Path) -> None:
    times_s = [0.0, 0.03, 0.1, 0.11, 0.3, 0.9]
    video = opened(encode(tmp_path / "v.mkv", "libx264", frames=6, times_s=times_s))
    assert [frame.time_s for frame in video.frames()] == pytest.approx(times_s, abs=0.002)


def test_a_beginning_that_cannot_be_decoded_keeps_its_time(tmp_path: Path) -> None:
    # given a recording whose first key frame is lost
    path = encode(tmp_path / "v.mkv", "libx264", drop=1, options={"bf": "0"})
    # when it is read, then it begins at the second key frame, and a remark says so
    stream = OneVideo(opened(path), "v")
    times_s = [pair.time_s for pair in stream]
    assert times_s[0] == pytest.approx(0.4 - 0.04, abs=0.05)
    assert any("the first 0." in remark for remark in stream.remarks())


def test_frames_are_found_by_time_and_reading_begins_at_the_start(tmp_path: Path) -> None:
    video = opened(encode(tmp_path / "v.mp4", "libx264"))
    found = video.frames_at([0.0, 0.52, 0.76])
    assert [frame.time_s for frame in found] == pytest.approx([0.0, 0.52, 0.76])
    assert greys(video) == list(range(20))
    assert greys(video) == list(range(20))


def test_a_rotated_recording_comes_upright(tmp_path: Path) -> None:
    # given a recording of a phone held upright: the file lies on its side, a record says so
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, :32] = 255
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 128, "yuv420p"
        stream.set_display_rotation(-90)
        for packet in [
            *stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")),
            *stream.encode(),
        ]:
            container.mux(packet)
    # when it is opened, then it is turned as OpenCV turns it
    video = opened(path)
    assert video.size == (64, 128)
    done, wanted = cv2.VideoCapture(str(path)).read()
    assert done
    np.testing.assert_allclose(video.first, wanted, atol=3)


def test_interlaced_video_is_deinterlaced(tmp_path: Path) -> None:
    # given a bar that moves between the two fields of each frame
    rows = np.arange(64)[:, None]
    path = tmp_path / "v.mpg"
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 128, "yuv420p"
        stream.codec_context.options = {"flags": "+ildct+ilme", "top": "1"}
        for number in range(6):
            at = 12 * number + 6 * (rows % 2)
            columns = np.arange(128)[None]
            bar = np.where((columns >= at) & (columns < at + 40), 255, 0).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.dstack([bar] * 3), format="bgr24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    with av.open(str(path)) as container:
        if not next(container.decode(video=0)).interlaced_frame:
            pytest.skip("this encoder does not mark its frames as interlaced")
    frames = [frame.image[..., 0].astype(int) for frame in opened(path).frames()]
    combing = [np.abs(f[2:-2:2] - f[3:-1:2]).mean() for f in frames]
    assert max(combing) < 25  # 63 as the fields come


def test_a_declared_layout_is_a_tag(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "A walk"
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 128, "yuv420p"
        stream.metadata["stereo_mode"] = "top_bottom"
        frame = av.VideoFrame.from_ndarray(texture(64, 128), format="bgr24")
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    tags = opened(path).tags
    assert "top and bottom" in tags
    assert "A walk" in tags


def test_a_numbered_sequence_of_images_is_a_video(tmp_path: Path) -> None:
    for number in range(3, 8):
        save(tmp_path / f"img_{number:06d}.png", np.full((64, 128, 3), 60 + 8 * number, np.uint8))
    source = parse_video(str(tmp_path / "img_%06d.png"))
    video = open_video(source, 240)
    assert (greys(video), source.stem) == ([3, 4, 5, 6, 7], "img")


def test_videos_of_one_aspect_ratio_are_brought_to_the_left_size(tmp_path: Path) -> None:
    left = opened(write_video(tmp_path / "l.avi", frames=3, size=(192, 128)))
    right = opened(write_video(tmp_path / "r.avi", frames=3, size=(96, 64)))
    pairs = list(TwoVideos(left, right, "toy"))
    assert [(pair.left.shape, pair.right.shape) for pair in pairs] == [((128, 192, 3),) * 2] * 3


@pytest.mark.parametrize("quarters", [1, 3])
def test_a_right_video_turned_by_90_degrees_is_turned_back(quarters: int, tmp_path: Path) -> None:
    left = save(tmp_path / "left_0.png", texture(64, 96))
    right = save(tmp_path / "right_0.png", np.rot90(texture(64, 96), quarters))
    videos = [opened(str(path).replace("_0", "_%d")) for path in (left, right)]
    pair = next(iter(TwoVideos(*videos, "toy")))
    # a wrong half turn is left to the pair check
    np.testing.assert_array_equal(pair.right, pair.left[::-1, ::-1] if quarters == 1 else pair.left)
