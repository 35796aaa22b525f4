"""Which stream of a site is taken, on lists such as yt-dlp gives, and the names of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crestereo.app import commands
from crestereo.app import video as openers
from crestereo.app.settings import TwoVideosSettings, UnifiedVideoSettings
from crestereo.app.sources import SiteStream, capture_site, find_streams, rank_streams
from crestereo.errors import SourceError
from tests.app_helpers import BLOCK, write_video
from tests.tiny_models import lite_model


def stream(name: str, vcodec: str, height: int, **more: Any) -> dict[str, Any]:
    base = {"format_id": name, "url": f"https://cdn/{name}", "protocol": "https", "ext": "mp4"}
    return {**base, "vcodec": vcodec, "height": height, "width": height * 16 // 9, **more}


YOUTUBE = [
    stream("sb0", "none", 90, ext="mhtml", protocol="mhtml"),
    stream("139", "none", 0, acodec="mp4a.40.5", ext="m4a"),
    stream("160", "avc1.4d400c", 144),
    stream("230", "avc1.4D401E", 360, protocol="m3u8_native"),
    stream("134", "avc1.4d401e", 360, tbr=300),
    stream("18", "avc1.42001E", 360, tbr=500, acodec="mp4a.40.2"),
    stream("243", "vp9", 360, ext="webm"),
    stream("396", "av01.0.01M.08", 360),
    stream("135", "avc1.4d401f", 480),
    stream("397", "av01.0.04M.08", 480),
    stream("136", "avc1.64001f", 720),
    stream("247", "vp9", 720, ext="webm"),
    stream("401", "av01.0.12M.08", 2160),
]


def ranked(formats: list[dict[str, Any]], height: int) -> list[str]:
    return [str(chosen["format_id"]) for chosen in rank_streams(formats, height)]


@pytest.mark.parametrize(
    ("height", "chosen"), [(120, "160"), (240, "18"), (480, "135"), (500, "136"), (2160, "136")]
)
def test_the_smallest_h264_that_reaches_the_height_is_taken(height: int, chosen: str) -> None:
    assert ranked(YOUTUBE, height)[0] == chosen


def test_hls_comes_last_and_sound_and_previews_never() -> None:
    order = ranked(YOUTUBE, 480)
    assert order[-1] == "230"
    assert not {"sb0", "139"} & set(order)


def test_av1_or_hls_is_taken_where_there_is_nothing_else() -> None:
    assert ranked([stream("live", "avc1.4d401e", 720, protocol="m3u8_native")], 480) == ["live"]
    assert ranked([stream("av1", "av01.0.05M.08", 480)], 480) == ["av1"]


def test_a_site_that_tells_little_still_gives_its_stream() -> None:
    assert ranked([{"format_id": "0", "url": "https://cdn/0", "height": None}], 480) == ["0"]


class FakeDownloader:
    """Answer as yt-dlp does, without a network."""

    info: dict[str, Any] | Exception

    def __init__(self, options: dict[str, Any]) -> None:
        assert options["quiet"]

    def __enter__(self) -> FakeDownloader:
        return self

    def __exit__(self, *error: object) -> None:
        """Have nothing to close."""

    def extract_info(self, url: str, download: bool) -> dict[str, Any]:
        assert not download
        if isinstance(self.info, Exception):
            raise self.info
        return self.info


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> type[FakeDownloader]:
    import yt_dlp

    monkeypatch.setattr(yt_dlp, "YoutubeDL", FakeDownloader)
    return FakeDownloader


def test_the_best_few_streams_come_with_their_headers(answer: type[FakeDownloader]) -> None:
    headers = {"User-Agent": "Browser", "Referer": "https://site"}
    formats = [{**entry, "http_headers": headers} for entry in YOUTUBE]
    answer.info = {"formats": formats, "title": "Alps 3D SBS"}
    found = find_streams("https://site/watch", 480)
    assert {s.title for s in found} == {"Alps 3D SBS"}
    assert [s.url for s in found] == ["https://cdn/135", "https://cdn/136", "https://cdn/18"]
    assert found[0].headers == headers


def test_a_site_with_one_stream_only(answer: type[FakeDownloader]) -> None:
    answer.info = stream("only", "avc1", 360)
    assert [s.url for s in find_streams("https://site/watch", 480)] == ["https://cdn/only"]


def test_what_yt_dlp_says_becomes_one_sentence(answer: type[FakeDownloader]) -> None:
    import yt_dlp

    answer.info = yt_dlp.utils.DownloadError("ERROR: [youtube] abc: Video\nunavailable")
    with pytest.raises(SourceError) as caught:
        find_streams("https://site/watch", 480)
    assert str(caught.value) == (
        "yt-dlp finds no video at https://site/watch: abc: Video unavailable; "
        "download it with yt-dlp and give the path"
    )


def test_flags_of_yt_dlp_are_not_passed_on(answer: type[FakeDownloader]) -> None:
    import yt_dlp

    answer.info = yt_dlp.utils.DownloadError(
        "ERROR: [youtube] abc: Sign in to confirm you're not a bot. Use --cookies-from-browser or "
        "--cookies for the authentication. See  https://github.com/x for how"
    )
    with pytest.raises(SourceError) as caught:
        find_streams("https://site/watch", 480)
    said = str(caught.value)
    assert "Sign in to confirm" in said
    assert "--cookies " not in said
    assert "See " not in said
    assert said.endswith(
        "--cookies-from-browser firefox lets yt-dlp use the cookies there, or download it with "
        "yt-dlp and give the path"
    )


def test_cookies_of_a_browser_reach_yt_dlp(monkeypatch: pytest.MonkeyPatch) -> None:
    import yt_dlp

    given = []

    class Noting(FakeDownloader):
        info = stream("only", "avc1", 360)

        def __init__(self, options: dict[str, Any]) -> None:
            given.append(options.get("cookiesfrombrowser"))

    monkeypatch.setattr(yt_dlp, "YoutubeDL", Noting)
    find_streams("https://site/watch", 480, "firefox")
    assert given == [("firefox",)]


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"entries": [{}, {}]}, "is a list of videos"),
        ({"formats": [stream("139", "none", 0)]}, "no stream with images"),
    ],
)
def test_an_answer_without_a_video_is_an_error(
    answer: type[FakeDownloader], info: dict[str, Any], message: str
) -> None:
    answer.info = info
    with pytest.raises(SourceError, match=message):
        find_streams("https://site/watch", 480)


def test_the_last_resort_translates_its_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import cap_from_youtube

    def fail(url: str) -> None:
        print("[youtube] talking")
        raise IndexError

    monkeypatch.setattr(cap_from_youtube, "cap_from_youtube", fail)
    with pytest.raises(SourceError, match="finds no stream of https://site/watch"):
        capture_site("https://site/watch")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "[youtube] talking\n")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a site have a small video, and note the heights [px] that were asked for."""
    heights = []

    def find(url: str, target_height: int, browser: str | None) -> list[SiteStream]:
        heights.append(target_height)
        path = write_video(tmp_path / "v.avi", frames=2, size=(256, 96))
        return [SiteStream(str(path), {}, "Alps: 3D/SBS")]

    monkeypatch.setattr(openers, "_is_video", lambda url: False)
    monkeypatch.setattr(openers, "find_streams", find)
    return heights


def block(folder: Path) -> dict[str, Any]:
    return {**BLOCK, "align": "off", "output_dir": str(folder)}


PAGE = "https://site/watch?v=1"


def test_one_video_of_two_eyes_is_larger_and_called_by_its_title(
    tmp_path: Path, asked: list[int]
) -> None:
    path = str(lite_model(tmp_path / "lite.onnx"))
    block_of = {**block(tmp_path), "model_path": path}
    settings = UnifiedVideoSettings(**block_of, swap=False, layout="sbs_full")
    commands.estimate_video(settings, [PAGE])
    assert asked == [960]
    assert (tmp_path / "Alps_ 3D_SBS_depth.mp4").is_file()


def test_two_videos_are_called_by_their_titles(tmp_path: Path, asked: list[int]) -> None:
    path = str(lite_model(tmp_path / "lite.onnx"))
    settings = TwoVideosSettings(**block(tmp_path), model_path=path)
    commands.estimate_videos(settings, [PAGE, PAGE])
    assert asked == [480, 480]
    assert (tmp_path / "Alps_ 3D_SBS_depth.mp4").is_file()
