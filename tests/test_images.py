"""Still images of every kind, by path and by address, of one view or of both."""

from __future__ import annotations

import gzip
import io
import os
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from crestereo.app import images
from crestereo.app.images import ImageFile, open_image, pair_of
from crestereo.app.sources import Kind, Source, encoded, parse_image
from crestereo.errors import SourceError
from crestereo.formats import read_image, to_bgr8
from crestereo.preprocess import resize_image
from crestereo.types import BGRImage
from tests.app_helpers import picture_pair, save, texture
from tests.file_server import FileServer, Reply, serve_files

IMAGE = texture(48, 64)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve_files() as files:
        yield files


def opened(source: Source) -> BGRImage:
    return to_bgr8(open_image(source).left)[0]


def opened_files(*paths: Path) -> list[ImageFile]:
    return [open_image(parse_image(str(path)), both_views=False) for path in paths]


def web(server: FileServer, path: str = "/image") -> Source:
    return Source(Kind.WEB, server.url + path)


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def by_pillow(image: Image.Image, form: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


def turned_jpeg() -> bytes:
    """Return an image 64 wide and 48 high that its EXIF data turn by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return by_pillow(Image.fromarray(IMAGE[..., ::-1]), "JPEG", exif=exif.tobytes(), quality=95)


KINDS = {
    "colour": png(IMAGE),
    "grey": png(IMAGE[..., 0]),
    "16-bit": png(IMAGE.astype(np.uint16) * 257),
    "alpha": png(np.dstack([IMAGE, np.full(IMAGE.shape[:2], 7, np.uint8)])),
    "palette": by_pillow(Image.fromarray(IMAGE[..., ::-1]).quantize(256), "PNG"),
    "grey jpeg": by_pillow(Image.fromarray(IMAGE[..., 0]), "JPEG", quality=95),
    "turned": turned_jpeg(),
}
LOSS = {"palette": 20, "grey jpeg": 2, "turned": 8}  # mean error, in grey levels


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_the_same_by_path_and_by_address(
    kind: str, tmp_path: Path, server: FileServer
) -> None:
    data = KINDS[kind]
    server.replies["/image"] = Reply(data, content_type="image/any")
    file = tmp_path / "사진 한 장.bin"
    file.write_bytes(data)

    by_path = opened(parse_image(str(file)))

    np.testing.assert_array_equal(opened(web(server)), by_path)
    expected = IMAGE if "grey" not in kind else cv2.cvtColor(IMAGE[..., 0], cv2.COLOR_GRAY2BGR)
    if kind == "turned":
        expected = cv2.rotate(expected, cv2.ROTATE_90_CLOCKWISE)
    assert by_path.dtype == np.uint8
    assert by_path.shape == expected.shape
    error = np.abs(by_path.astype(int) - expected).mean()
    assert error <= LOSS.get(kind, 0)


def test_a_server_that_serves_browsers_only_is_asked_by_imread_from_url(
    server: FileServer,
) -> None:
    server.replies["/image"] = Reply(png(IMAGE), content_type="image/png", agent="AppleWebKit")
    np.testing.assert_array_equal(opened(web(server)), IMAGE)
    server.replies["/image"] = Reply(b"no", status=403)
    with pytest.raises(SourceError, match="answers 403"):
        opened(web(server))


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_packed_answer_is_unpacked(
    encoding: str, pack: Callable[[bytes], bytes], server: FileServer
) -> None:
    packed = pack(png(IMAGE))
    server.replies["/image"] = Reply(packed, content_type="image/png", encoding=encoding)
    np.testing.assert_array_equal(opened(web(server)), IMAGE)


def test_a_redirect_is_followed(server: FileServer) -> None:
    server.replies["/old"] = Reply(status=302, location="/image")
    server.replies["/image"] = Reply(png(IMAGE), content_type="image/png")
    np.testing.assert_array_equal(opened(web(server, "/old")), IMAGE)


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("/사진 한 장.png?크기=큰 것", "/%EC%82%AC%EC%A7%84%20%ED%95%9C%20%EC%9E%A5.png"),
        ("/100%.png", "/100%25.png"),
        ("/a%20b.png", "/a%20b.png"),
    ],
)
def test_an_address_may_be_written_in_any_letters(
    server: FileServer, written: str, asked: str
) -> None:
    query = "?%ED%81%AC%EA%B8%B0=%ED%81%B0%20%EA%B2%83" if "?" in written else ""
    server.replies[asked + query] = Reply(png(IMAGE), content_type="image/png")
    np.testing.assert_array_equal(opened(web(server, written)), IMAGE)


def test_a_server_may_be_named_in_any_letters() -> None:
    # both names are well known in Punycode
    assert encoded("http://kim:비번@bücher.example:81/") == (
        "http://kim:%EB%B9%84%EB%B2%88@xn--bcher-kva.example:81/"
    )
    assert encoded("https://도메인.한국") == "https://xn--hq1bm8jm9l.xn--3e0b707e/"
    assert encoded("http://[fe80::1]:81/가#나") == "http://[fe80::1]:81/%EA%B0%80#%EB%82%98"
    with pytest.raises(SourceError, match=r"cannot load http://사진\.\.한국/a: "):
        opened(Source(Kind.WEB, "http://사진..한국/a"))


def with_login(server: FileServer, login: str, path: str = "/image") -> Source:
    return Source(Kind.WEB, server.url.replace("://", f"://{login}@") + path)


def test_a_name_and_a_password_are_sent(server: FileServer) -> None:
    reply = Reply(png(IMAGE), content_type="image/png", login="김:p@ss 1")
    server.replies["/image"] = reply
    np.testing.assert_array_equal(opened(with_login(server, "김:p%40ss%201")), IMAGE)
    np.testing.assert_array_equal(opened(with_login(server, "김:p@ss 1")), IMAGE)
    with pytest.raises(SourceError, match="answers 401"):
        opened(with_login(server, "김"))


def test_a_password_is_not_sent_on_to_another_server(server: FileServer) -> None:
    with serve_files() as other:
        server.replies["/image"] = Reply(status=302, location=f"{other.url}/stranger")
        other.replies["/stranger"] = Reply(png(IMAGE), content_type="image/png")
        opened(with_login(server, "kim:secret"))
        assert "Authorization" in server.requests[0][1]
        assert "Authorization" not in other.requests[0][1]


def test_a_server_that_does_not_tell_a_length_is_read_to_its_end(server: FileServer) -> None:
    server.replies["/image"] = Reply(png(IMAGE), content_type="image/png", chunked=True)
    np.testing.assert_array_equal(opened(web(server)), IMAGE)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(b"gone", status=404), "answers 404"),
        (Reply(b"oh", status=500), "answers 500"),
        (Reply(b"<html>log in</html>", content_type="text/html"), "is a web page, not an image"),
        (Reply(b"noise" * 9, content_type="image/png"), "is not an image"),
        (Reply(b"", content_type="image/png"), "is not an image"),
        (Reply(png(IMAGE), content_type="image/png", cuts=[500]), "IncompleteRead"),
    ],
)
def test_an_answer_that_is_no_image_is_an_error(
    server: FileServer, reply: Reply, message: str
) -> None:
    server.replies["/image"] = reply
    with pytest.raises(SourceError) as caught:
        opened(web(server))
    assert message in str(caught.value)
    assert server.url + "/image" in str(caught.value)


def test_what_a_server_says_stays_in_one_line(server: FileServer) -> None:
    server.replies["/image"] = Reply(status=302, location=f"{server.url}/image")
    with pytest.raises(SourceError, match="redirects in a loop") as caught:
        opened(web(server))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("chunked", [False, True])
def test_more_than_the_limit_is_not_loaded(
    server: FileServer, chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    server.replies["/image"] = Reply(png(IMAGE), content_type="image/png", chunked=chunked)
    with pytest.raises(SourceError, match=r"larger than 0\.001 MB"):
        opened(web(server))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(png(IMAGE), content_type="image/png", stall_after=4096),
        Reply(png(IMAGE) * 50, content_type="image/png", pause_s=0.05),
    ],
    ids=["stalls", "trickles"],
)
def test_a_slow_server_is_given_up(
    server: FileServer, reply: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "TIMEOUT_S", 0.5)
    server.replies["/image"] = reply
    with pytest.raises(SourceError, match=r"not loaded within 0\.5 s|no answer in time"):
        opened(web(server))


def test_no_server_at_all_is_a_sentence() -> None:
    with pytest.raises(SourceError, match=r"cannot load http://127\.0\.0\.1:9/a\.png: "):
        opened(Source(Kind.WEB, "http://127.0.0.1:9/a.png"))


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    file = tmp_path / "notes.png"
    file.write_text("not an image")
    with pytest.raises(SourceError, match=r"notes\.png"):
        opened(parse_image(str(file)))


def test_a_damaged_file_is_used_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cut.png"
    data = png(IMAGE)
    file.write_bytes(data[: 8 * len(data) // 10])
    assert opened(parse_image(str(file))).shape == IMAGE.shape
    assert capsys.readouterr().err.startswith(f"{file}: the file is damaged: ")


posix_only = pytest.mark.skipif(sys.platform == "win32", reason="about files of POSIX")


@posix_only
def test_a_device_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 100_000)
    with pytest.raises(SourceError, match=r"/dev/zero is larger than 0\.1 MB"):
        opened(parse_image("/dev/zero"))


@posix_only
def test_a_pipe_is_read_and_one_without_a_writer_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(png(IMAGE),))
    writer.start()
    np.testing.assert_array_equal(opened(parse_image(str(pipe))), IMAGE)
    writer.join()
    monkeypatch.setattr(images, "TIMEOUT_S", 0.2)
    with pytest.raises(SourceError, match=r"not loaded within 0\.2 s"):
        opened(parse_image(str(pipe)))


# --- pairs --------------------------------------------------------------------------------------


def test_a_pair_has_the_name_that_its_files_share(tmp_path: Path) -> None:
    pair = pair_of(*opened_files(*picture_pair(tmp_path)))
    assert pair.name == "toy"
    assert pair.left.shape == pair.right.shape == (80, 112, 3)


@pytest.mark.parametrize("size", [(40, 56), (160, 224), (79, 112)])
def test_a_right_image_of_another_size_is_resized_to_the_left(
    size: tuple[int, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left, right = picture_pair(tmp_path)
    whole = pair_of(*opened_files(left, right))
    save(right, resize_image(whole.right, size))
    pair = pair_of(*opened_files(left, right))
    assert pair.right.shape == (80, 112, 3)
    assert np.abs(pair.right.astype(int) - whole.right).mean() < 8
    expected = f"left is 112x80 px, right {size[1]}x{size[0]} px: the right one is resized\n"
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("quarters", [1, 3])
def test_a_right_image_turned_by_90_degrees_is_turned_back(
    quarters: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left, right = picture_pair(tmp_path)
    whole = pair_of(*opened_files(left, right))
    save(right, np.rot90(whole.right, quarters))
    pair = pair_of(*opened_files(left, right))
    # a wrong half turn is left to the pair check
    turned = whole.right[::-1, ::-1] if quarters == 1 else whole.right
    np.testing.assert_array_equal(pair.right, turned)
    assert "the right image is turned by 90 degrees" in capsys.readouterr().err


def test_a_crop_is_refused_with_both_sizes(tmp_path: Path) -> None:
    left, right = picture_pair(tmp_path)
    save(right, texture(76, 112))
    with pytest.raises(SourceError, match="left is 112x80 px but right is 112x76 px"):
        pair_of(*opened_files(left, right))


def test_both_views_get_their_eight_bits_by_one_factor(tmp_path: Path) -> None:
    """Given ten bits in 16-bit files, and a left image that is darker than the right one."""
    wide = texture(80, 116)
    wide[0, 0] = 255
    left, right = wide[:, :112] // 4, wide[:, :112]
    paths = [
        save(tmp_path / f"{name}.png", image.astype(np.uint16) * 4)
        for name, image in (("a", left), ("b", right))
    ]
    pair = pair_of(*opened_files(*paths))
    assert np.abs(pair.left.astype(int) - left).max() <= 1
    assert np.abs(pair.right.astype(int) - right).max() <= 1


# --- both views in one file ---------------------------------------------------------------------


SAMPLES = Path(__file__).resolve().parents[1] / "input_files"


@pytest.fixture(scope="module")
def views() -> tuple[BGRImage, BGRImage]:
    left, right = (
        resize_image(read_image(SAMPLES / f"table_{side}.png"), (360, 640))
        for side in ("left", "right")
    )
    return left, right


def halved(image: BGRImage, *, rows: bool) -> BGRImage:
    return resize_image(image, (180, 640) if rows else (360, 320))


def with_jps_header(jpeg: bytes, flags: int, layout: int) -> bytes:
    """Return a JPEG with the stereoscopic descriptor of VRex in its segment APP3."""
    body = b"_JPSJPS_" + bytes([0, 4, 0, flags, layout, 1])
    return jpeg[:2] + b"\xff\xe3" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def jpeg(image: BGRImage) -> bytes:
    return by_pillow(Image.fromarray(image[..., ::-1]), "JPEG", quality=97, subsampling=0)


def test_an_mpo_file_holds_both_views(
    tmp_path: Path, views: tuple[BGRImage, BGRImage], capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [Image.fromarray(view[..., ::-1]) for view in views]
    path = tmp_path / "photo.mpo"
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:], quality=97)
    file = open_image(parse_image(str(path)))
    for pair in (pair_of(file), pair_of(file, file)):
        assert pair.name == "photo"
        for got, view in zip((pair.left, pair.right), views, strict=True):
            assert np.abs(got.astype(int) - view).mean() < 3
    assert capsys.readouterr().err == ""


L_FIRST, HALF_WIDTH, HALF_HEIGHT, SIDE_BY_SIDE, OVER_UNDER = 4, 2, 1, 2, 3
STEREO_FILES: dict[str, Callable[[BGRImage, BGRImage], bytes]] = {
    "p.jps": lambda a, b: jpeg(np.hstack([b, a])),
    "p.pns": lambda a, b: png(np.hstack([b, a])),
    "left first.jps": lambda a, b: with_jps_header(jpeg(np.hstack([a, b])), L_FIRST, SIDE_BY_SIDE),
    "over.jpg": lambda a, b: with_jps_header(jpeg(np.vstack([b, a])), 0, OVER_UNDER),
    "half.jpg": lambda a, b: with_jps_header(
        jpeg(np.hstack([halved(b, rows=False), halved(a, rows=False)])), HALF_WIDTH, SIDE_BY_SIDE
    ),
    "half height.jpg": lambda a, b: with_jps_header(
        jpeg(np.vstack([halved(a, rows=True), halved(b, rows=True)])),
        HALF_HEIGHT | L_FIRST,
        OVER_UNDER,
    ),
    "side by side.png": lambda a, b: png(np.hstack([a, b])),
    "no hint.png": lambda a, b: png(np.hstack([a, b])),
    "no hint.jpg": lambda a, b: jpeg(np.vstack([a, b])),
    "x_half_SBS.png": lambda a, b: png(np.hstack([halved(a, rows=False), halved(b, rows=False)])),
}


@pytest.mark.parametrize("name", STEREO_FILES)
def test_views_beside_or_above_each_other_are_split(
    name: str, tmp_path: Path, views: tuple[BGRImage, BGRImage]
) -> None:
    path = tmp_path / name
    path.write_bytes(STEREO_FILES[name](*views))
    pair = pair_of(open_image(parse_image(str(path))))
    for got, view in zip((pair.left, pair.right), views, strict=True):
        assert got.shape == view.shape
        assert np.abs(got.astype(int) - view).mean() < 6


def test_an_image_of_one_view_stays_whole(tmp_path: Path, views: tuple[BGRImage, BGRImage]) -> None:
    """Given names that could stand for a layout, then the content decides."""
    for name in ("photo.png", "tb.png", "a_SBS.png"):
        file = open_image(parse_image(str(save(tmp_path / name, views[0]))))
        assert file.right is None
        with pytest.raises(SourceError, match="holds one view only"):
            pair_of(file)


def test_a_left_view_with_a_partner_is_not_split(
    tmp_path: Path, views: tuple[BGRImage, BGRImage]
) -> None:
    for side in ("left", "right"):
        save(tmp_path / f"x_{side}.png", np.hstack(views))
    assert open_image(parse_image(str(tmp_path / "x_left.png"))).right is None
