"""Pictures of every kind, by path and by address."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
import pytest
from PIL import Image

from crestereo.app.http import encoded
from crestereo.app.images import open_picture, open_picture_pair
from crestereo.app.sources import Kind, Source, parse_picture
from crestereo.errors import SourceError
from tests.app_helpers import picture_pair, save, texture
from tests.file_server import FileServer, Reply, serve_files

PICTURE = texture(48, 64)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve_files() as files:
        yield files


def web(server: FileServer, path: str = "/picture") -> Source:
    return Source(Kind.WEB, server.url + path)


def png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def by_pillow(image: Image.Image, form: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


def turned_jpeg() -> bytes:
    """Return a picture 64 wide and 48 high that its EXIF data turn by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return by_pillow(Image.fromarray(PICTURE[..., ::-1]), "JPEG", exif=exif.tobytes(), quality=95)


KINDS = {
    "colour": png(PICTURE),
    "grey": png(PICTURE[..., 0]),
    "16-bit": png(PICTURE.astype(np.uint16) * 257),
    "alpha": png(np.dstack([PICTURE, np.full(PICTURE.shape[:2], 7, np.uint8)])),
    "palette": by_pillow(Image.fromarray(PICTURE[..., ::-1]).quantize(256), "PNG"),
    "grey jpeg": by_pillow(Image.fromarray(PICTURE[..., 0]), "JPEG", quality=95),
    "turned": turned_jpeg(),
}
LOSS = {"palette": 20, "grey jpeg": 2, "turned": 8}  # mean error, in grey levels


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_the_same_by_path_and_by_address(
    kind: str, tmp_path: Path, server: FileServer
) -> None:
    data = KINDS[kind]
    server.replies["/picture"] = Reply(data, content_type="image/any")
    file = tmp_path / "사진 한 장.bin"
    file.write_bytes(data)

    by_path = open_picture(parse_picture(str(file)))

    np.testing.assert_array_equal(open_picture(web(server)), by_path)
    expected = PICTURE if "grey" not in kind else cv2.cvtColor(PICTURE[..., 0], cv2.COLOR_GRAY2BGR)
    if kind == "turned":
        expected = cv2.rotate(expected, cv2.ROTATE_90_CLOCKWISE)
    assert by_path.dtype == np.uint8
    assert by_path.shape == expected.shape
    error = np.abs(by_path.astype(int) - expected).mean()
    assert error <= LOSS.get(kind, 0)


def test_a_form_that_opencv_cannot_read_is_read_by_imread_from_url(server: FileServer) -> None:
    data = by_pillow(Image.fromarray(PICTURE[..., ::-1]), "PCX")
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None
    server.replies["/picture"] = Reply(data, content_type="image/x-pcx")
    np.testing.assert_array_equal(open_picture(web(server)), PICTURE)


def test_a_redirect_is_followed(server: FileServer) -> None:
    server.replies["/old"] = Reply(status=302, location="/picture")
    server.replies["/picture"] = Reply(png(PICTURE), content_type="image/png")
    np.testing.assert_array_equal(open_picture(web(server, "/old")), PICTURE)


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
    server.replies[asked + query] = Reply(png(PICTURE), content_type="image/png")
    np.testing.assert_array_equal(open_picture(web(server, written)), PICTURE)


def test_a_server_may_be_named_in_any_letters() -> None:
    # both names are well known in Punycode
    assert encoded("http://kim:비번@bücher.example:81/") == (
        "http://kim:%EB%B9%84%EB%B2%88@xn--bcher-kva.example:81/"
    )
    assert encoded("https://도메인.한국") == "https://xn--hq1bm8jm9l.xn--3e0b707e/"
    assert encoded("http://[fe80::1]:81/가#나") == "http://[fe80::1]:81/%EA%B0%80#%EB%82%98"
    with pytest.raises(SourceError, match=r"cannot load http://사진\.\.한국/a: "):
        open_picture(Source(Kind.WEB, "http://사진..한국/a"))


def with_login(server: FileServer, login: str, path: str = "/picture") -> Source:
    return Source(Kind.WEB, server.url.replace("://", f"://{login}@") + path)


def test_a_name_and_a_password_are_sent(server: FileServer) -> None:
    reply = Reply(png(PICTURE), content_type="image/png", login="김:p@ss 1")
    server.replies["/picture"] = reply
    np.testing.assert_array_equal(open_picture(with_login(server, "김:p%40ss%201")), PICTURE)
    np.testing.assert_array_equal(open_picture(with_login(server, "김:p@ss 1")), PICTURE)
    with pytest.raises(SourceError, match="answers 401"):
        open_picture(with_login(server, "김"))


def test_a_password_is_not_sent_on_to_another_server(server: FileServer) -> None:
    with serve_files() as other:
        server.replies["/picture"] = Reply(status=302, location=f"{other.url}/stranger")
        other.replies["/stranger"] = Reply(png(PICTURE), content_type="image/png")
        open_picture(with_login(server, "kim:secret"))
        assert "Authorization" in server.requests[0][1]
        assert "Authorization" not in other.requests[0][1]


def test_a_server_that_does_not_tell_a_length_is_read_to_its_end(server: FileServer) -> None:
    server.replies["/picture"] = Reply(png(PICTURE), content_type="image/png", chunked=True)
    np.testing.assert_array_equal(open_picture(web(server)), PICTURE)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(b"gone", status=404), "answers 404"),
        (Reply(b"oh", status=500), "answers 500"),
        (Reply(b"<html>log in</html>", content_type="text/html"), "is a web page, not an image"),
        (Reply(b"noise" * 9, content_type="image/png"), "45 bytes that are not a picture"),
        (Reply(b"", content_type="image/png"), "not a picture"),
        (Reply(png(PICTURE), content_type="image/png", cuts=[500]), "IncompleteRead"),
    ],
)
def test_an_answer_that_is_no_picture_says_so(
    server: FileServer, reply: Reply, message: str
) -> None:
    server.replies["/picture"] = reply
    with pytest.raises(SourceError) as caught:
        open_picture(web(server))
    assert message in str(caught.value)
    assert server.url + "/picture" in str(caught.value)


def test_what_a_server_says_stays_in_one_line(server: FileServer) -> None:
    server.replies["/picture"] = Reply(status=302, location=f"{server.url}/picture")
    with pytest.raises(SourceError, match="redirects in a loop") as caught:
        open_picture(web(server))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("chunked", [False, True])
def test_more_than_the_limit_is_not_taken(server: FileServer, chunked: bool) -> None:
    body = png(PICTURE)
    server.replies["/picture"] = Reply(body, content_type="image/png", chunked=chunked)
    with pytest.raises(SourceError, match=r"larger than 0\.001 MB"):
        open_picture(web(server), size_limit=1000)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(png(PICTURE), content_type="image/png", stall_after=4096),
        Reply(png(PICTURE) * 50, content_type="image/png", pause_s=0.05),
    ],
    ids=["stalls", "trickles"],
)
def test_the_deadline_holds(server: FileServer, reply: Reply) -> None:
    server.replies["/picture"] = reply
    start = perf_counter()
    with pytest.raises(SourceError, match=r"not loaded within 0\.5 s|timed out"):
        open_picture(web(server), deadline_s=0.5)
    assert perf_counter() - start < 5


def test_no_server_at_all_is_a_sentence() -> None:
    with pytest.raises(SourceError, match=r"cannot load http://127\.0\.0\.1:9/a\.png: "):
        open_picture(Source(Kind.WEB, "http://127.0.0.1:9/a.png"))


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    file = tmp_path / "notes.png"
    file.write_text("not a picture")
    with pytest.raises(SourceError, match=r"notes\.png"):
        open_picture(parse_picture(str(file)))


def test_a_pair_of_two_sizes_is_an_error_that_gives_both(tmp_path: Path) -> None:
    left, right = picture_pair(tmp_path)
    assert open_picture_pair(parse_picture(str(left)), parse_picture(str(right))).name == "toy"
    save(right, texture(48, 64))
    with pytest.raises(SourceError, match="left is 112x80 px but right is 64x48 px"):
        open_picture_pair(parse_picture(str(left)), parse_picture(str(right)))
