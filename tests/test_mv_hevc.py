"""MV-HEVC, the spatial video of phones and headsets: both views of every frame.

No encoder that is at hand writes it, so two HEVC streams are combined: the second one becomes
layer 1 of a video parameter set with a multiview extension (ITU-T H.265, 7.3.2.1 and F.7.3.2.1).
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from crestereo.app.settings import UnifiedVideoSettings
from crestereo.app.sources import parse_video
from crestereo.app.stereo_video import split_video
from crestereo.app.video import open_video
from crestereo.types import BGRImage
from tests.app_helpers import BLOCK, texture

WIDTH, HEIGHT, FRAMES = 256, 128, 12
START = b"\0\0\0\1"
VPS = 32  # type of its unit; those below hold slices
X265 = "bframes=0:scenecut=0:keyint=4:open-gop=0:repeat-headers=1:log-level=none:info=0"


def units(frames: list[BGRImage]) -> list[list[bytes]]:
    """Encode frames and return the units of each."""
    encoder = av.CodecContext.create("libx265", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"preset": "ultrafast", "x265-params": X265}
    images = [av.VideoFrame.from_ndarray(frame, format="bgr24") for frame in frames]
    packets = [bytes(packet) for image in [*images, None] for packet in encoder.encode(image)]
    return [re.split(b"\0?\0\0\1", packet)[1:] for packet in packets]


def ue(value: int) -> str:
    """Return an unsigned Exp-Golomb code."""
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def two_layers(vps: bytes) -> bytes:
    """Return a video parameter set with a second, independent layer: another view."""
    bits = "".join(f"{byte:08b}" for byte in vps[2:].replace(b"\0\0\3", b"\0\0"))
    level, ordering = bits[120:128], bits[128:]  # after 96 bits of profile and level
    sizes = ordering[1:]
    codes = []
    for _ in range(3):  # buffered, reordered, latency
        zeros = sizes.index("1")
        codes.append(sizes[: 2 * zeros + 1])
        sizes = sizes[2 * zeros + 1 :]
    base = bits[:6] + f"{1:06b}" + bits[12:129] + "".join(codes)
    base += f"{1:06b}" + ue(1) + "11" + "0" + "1"  # both layers in one set, extension
    base += "1" * (-len(base) % 8)
    extension = level + "0" + f"{1 << 14:016b}" + "000" + "0" + "1"  # multiview
    extension += f"{1:04b}" + "01" + "0" + ue(0) + "000"  # numbers of views, no dependency
    extension += ue(1) + ue(0) + "00" + "11" + ue(0)
    extension += f"{WIDTH:016b}{HEIGHT:016b}" + "1" + "01" + "00000000" + "0" + "001" + "0"
    extension += codes[0] + "".join(codes) + ue(0) + "0" + ue(0) + "0" + "1"
    data = base + extension + "0" * (-len(base + extension) % 8)
    raw = vps[:2] + int(data, 2).to_bytes(len(data) // 8, "big")
    return re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", raw)


@pytest.fixture(name="spatial", params=["mov", "mkv"])
def fixture_spatial(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write a file whose left view drifts over a texture, as does the right one 12 px further."""
    if "libx265" not in av.codecs_available:
        pytest.skip("no encoder of HEVC")
    image = texture(HEIGHT, WIDTH + 40)
    left, right = (
        [np.ascontiguousarray(image[:, at + n : at + n + WIDTH]) for n in range(FRAMES)]
        for at in (0, 12)
    )
    stream = b""
    for base, second in zip(units(left), units(right), strict=True):
        for unit in base:
            stream += START + (two_layers(unit) if unit[0] >> 1 == VPS else unit)
        for unit in second:
            if unit[0] >> 1 < VPS:
                stream += START + bytes([unit[0], unit[1] | 8]) + unit[2:]
    raw, path = tmp_path / "raw.hevc", tmp_path / f"spatial.{request.param}"
    raw.write_bytes(stream)
    with av.open(str(raw)) as source, av.open(str(path), "w") as file:
        track = file.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            packet.stream, packet.time_base = track, Fraction(1, 25)
            packet.pts, packet.dts, packet.duration = number, number, 1
            file.mux(packet)
    return path


def test_both_views_of_every_frame_are_side_by_side(
    spatial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given a file with two views
    video = open_video(parse_video(str(spatial)), 240)
    settings = UnifiedVideoSettings(**{**BLOCK, "swap": False})  # type: ignore[arg-type]
    # when it is read, and its views are taken
    pairs = list(split_video(video, settings).pairs())
    # then they come at their times, the base view left, the other 12 px further
    assert "layout sbs_full" in capsys.readouterr().out
    assert [pair.time_s for pair in pairs] == pytest.approx([n / 25 for n in range(FRAMES)])
    for pair in pairs:
        assert pair.left.shape == pair.right.shape == (HEIGHT, WIDTH, 3)
        ahead = np.abs(pair.left[:, 12:].astype(int) - pair.right[:, :-12]).mean()
        there = np.abs(pair.left.astype(int) - pair.right).mean()
        assert ahead < there / 3
    # then a time is found with both views too
    found = open_video(parse_video(str(spatial)), 240).frames_at([0.2])
    np.testing.assert_allclose(found[0].image, np.hstack((pairs[5].left, pairs[5].right)), atol=1)
