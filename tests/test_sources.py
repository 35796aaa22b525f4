"""What an answer names, and what is found wrong at the prompt."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from crestereo.app.sources import Kind, Source, pair_name, parse_image, parse_video, partner_of
from crestereo.errors import SourceError


def test_a_file_an_address_a_stream_and_a_camera(tmp_path: Path) -> None:
    file = tmp_path / "왼쪽 사진.png"
    file.touch()
    assert parse_image(str(file)) == Source(Kind.FILE, str(file))
    assert parse_image("HTTPS://example.org/a.png").kind is Kind.WEB
    assert parse_video("rtsp://camera.local/1").kind is Kind.STREAM
    assert parse_video("01") == Source(Kind.CAMERA, "1")


def test_a_number_that_is_a_file_is_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0").touch()
    monkeypatch.chdir(tmp_path)
    assert parse_video("0").kind is Kind.FILE


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("no/such/file.png", "there is no file no/such/file.png"),
        (".", "is a folder"),
        ("", "the path is empty"),
        ("ftp://example.org/a.png", "ftp://, which is not supported"),
        ("http://", "names no server"),
        ("https://[::1", "is not an address"),
        ("0", "there is no file 0"),
        ("rtsp://camera.local/1", "an image is needed"),
    ],
)
def test_a_wrong_answer_for_a_picture_says_why(answer: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_image(answer)
    assert message in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="names are limited otherwise there")
def test_a_name_that_is_too_long_says_why() -> None:
    with pytest.raises(SourceError, match="is no valid path"):
        parse_image("x" * 5000)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("table_left.png", "table_right.png"),
        ("Left.jpg", "Right.jpg"),
        ("im0.png", "im1.png"),
        ("left_of_left.png", "left_of_right.png"),
    ],
)
def test_the_partner_of_a_left_file_is_found_by_its_name(
    tmp_path: Path, left: str, right: str
) -> None:
    assert partner_of(str(tmp_path / left)) is None
    (tmp_path / right).touch()
    assert partner_of(str(tmp_path / left)) == str(tmp_path / right)
    assert partner_of(str(tmp_path / "other.png")) is None


@pytest.mark.parametrize(
    ("left", "right", "name"),
    [
        ("a/table_left.png", "b/table_right.png", "table"),
        ("Left.png", "Right.png", "Left"),
        ("im0.png", "im1.png", "im0"),
        ("cleft.png", "cright.png", "cleft"),
        ("one left.png", "two right.png", "one left"),
    ],
)
def test_a_pair_is_named_by_what_its_names_share(left: str, right: str, name: str) -> None:
    assert pair_name(Source(Kind.FILE, left), Source(Kind.FILE, right)) == name


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        (Source(Kind.CAMERA, "0"), "camera0"),
        (Source(Kind.WEB, "https://example.org/a%20b.png?size=1"), "a b"),
        (Source(Kind.WEB, "https://example.org"), "example.org"),
        (Source(Kind.WEB, "https://example.org/%2e%2e%2fx%3f.png"), "x_"),
        (Source(Kind.WEB, "http://kim:secret@camera.local:81/"), "camera.local_81"),
        (Source(Kind.WEB, "https://site/watch?v=dQw4_9-c&t=3"), "watch_dQw4_9-c"),
        (Source(Kind.WEB, "https://site/picture.png?v=1234"), "picture"),
        (
            Source(Kind.WEB, "https://site/watch?v=x", title="Alps 3D: SBS/1. part"),
            "Alps 3D_ SBS_1. part",
        ),
    ],
)
def test_results_of_a_source_get_a_harmless_name(source: Source, stem: str) -> None:
    assert source.stem == stem


@pytest.mark.parametrize(("letter", "most"), [("a", 80), ("가", 66), ("😀", 50), ("\udcff", 66)])
def test_a_long_name_leaves_room_for_endings_in_any_letters(letter: str, most: int) -> None:
    assert Source(Kind.FILE, f"{letter * 120}.png").stem == letter * most
