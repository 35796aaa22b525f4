"""Images, maps and points written and read back, and what goes wrong with them."""

import io
import struct
import zlib
from contextlib import suppress

import cv2
import numpy as np
import pytest
from PIL import Image

from crestereo import SourceError, UsageError
from crestereo import formats as f
from crestereo.formats import write_bytes


@pytest.fixture
def disparity():
    values = np.random.default_rng(1).uniform(0.5, 200, (6, 9)).astype(np.float32)
    values[1, 2] = np.nan
    return values


def encoded(image, suffix, options=()):
    return cv2.imencode(suffix, image, list(options))[1].tobytes()


def bgr(data):
    return f.to_bgr8(f.decode_image(data, "it"))[0]


def photo():
    """Return smooth noise, (120, 160, 3)."""
    noise = np.random.default_rng(0).uniform(0, 255, (30, 40, 3))
    return cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype("u1")


# --- images -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["left.png", "왼쪽 사진.png", "a b/ünï.jpg"])
def test_images_with_any_path_are_written_and_read(name, tmp_path):
    image = np.full((20, 30, 3), (10, 120, 200), np.uint8)
    f.write_image(tmp_path / name, image)
    assert np.abs(f.read_image(tmp_path / name).astype(int) - image).max() <= 2


@pytest.mark.parametrize(
    "image",
    [
        np.full((8, 9), 100, np.uint8),
        np.full((8, 9), 100 * 256, np.uint16),
        np.full((8, 9, 3), 100 * 256, np.uint16),
        np.full((8, 9, 4), 100, np.uint8),
    ],
    ids=["grey", "grey 16-bit", "colour 16-bit", "alpha"],
)
def test_every_kind_of_image_becomes_bgr(image):
    read = bgr(cv2.imencode(".png", image)[1].tobytes())
    assert read.shape == (8, 9, 3)
    assert read.dtype == np.uint8
    assert (read == 100).all()


def test_palette_images_become_bgr():
    """A PNG of 2x1 px with a palette of red and blue, made by hand."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255]))
        + chunk(b"IDAT", zlib.compress(bytes([0, 0, 1])))
        + chunk(b"IEND", b"")
    )
    assert bgr(data).tolist() == [[[0, 0, 255], [255, 0, 0]]]


def test_images_turned_by_exif_are_upright():
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, 16:] = 255
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    # Orientation 6: the camera was turned, show the image turned by 90 degrees clockwise.
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    read = bgr(turned)
    assert read.shape == (32, 16, 3)
    assert read[:14].max() < 20
    assert read[18:].min() > 235


@pytest.mark.parametrize("data", [b"", b"<html></html>", b"\x00\x00\x00\x18ftypheic"])
def test_what_is_no_image_is_refused_by_name(data):
    with pytest.raises(SourceError, match=r"photo\.png is not an image"):
        f.decode_image(data, "photo.png")


@pytest.mark.parametrize(("bits", "suffix"), [(10, ".png"), (12, ".tiff"), (14, ".png")])
def test_values_of_few_bits_in_sixteen_use_the_whole_range(bits, suffix):
    """Given a dark left and a bright right image, then both are scaled by the same factor."""
    bright = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    bright[0, 0] = 255
    images = (bright // 4, bright)
    raws = [
        f.decode_image(encoded(image.astype(np.uint16) * 2 ** (bits - 8), suffix), "it")
        for image in images
    ]
    for read, image in zip(f.to_bgr8(*raws), images, strict=True):
        assert np.abs(read[..., 0].astype(int) - image).max() <= 1


def stating_bits(values: np.ndarray, bits: int, suffix: str) -> bytes:
    """Return a file of 16-bit values that records so many significant bits."""
    if suffix == ".tiff":
        file = io.BytesIO()
        most = 2**bits - 1
        Image.fromarray(values).save(file, "TIFF", tiffinfo={281: most})  # MaxSampleValue
        return file.getvalue()
    data = encoded(values, suffix)
    body = b"sBIT" + bytes([bits])
    chunk = struct.pack(">I", 1) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]  # behind the header


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_the_range_that_a_file_states_is_kept(suffix):
    """Given 11 or 12 significant bits and a dark image, then it is not brightened."""
    dark = np.full((8, 9), 100, np.uint16)
    assert (bgr(encoded(dark, suffix)) == 100).all()
    assert (bgr(stating_bits(dark, 12, suffix)) == 6).all()  # 100 * 255 / 4095
    assert (bgr(stating_bits(dark, 11, suffix)) == 12).all()  # 100 * 255 / 2047


def test_values_that_a_png_moves_to_the_top_of_its_bits_are_not_brightened():
    """Given 10 significant bits and greater values, then they are scaled up to 16 bits.

    https://www.w3.org/TR/png-3/#11sBIT
    """
    dark = np.full((8, 9), 100 << 6, np.uint16)
    assert (bgr(stating_bits(dark, 10, ".png")) == 25).all()  # 100 * 255 / 1023


def test_float_images_up_to_one_use_the_whole_range():
    image = np.linspace(0, 1, 200, dtype=np.float32).reshape(10, 20)
    image[0, 0] = np.nan
    read = bgr(encoded(image, ".tiff"))[..., 0]
    assert read[0, 0] == 0
    assert np.abs(read.astype(int) - np.nan_to_num(image) * 255).max() <= 1


def test_a_format_that_only_pillow_reads_is_read():
    image = photo()
    file = io.BytesIO()
    Image.fromarray(image[..., ::-1]).save(file, "PCX")
    np.testing.assert_array_equal(bgr(file.getvalue()), image)


CUTTABLE = {
    "jpeg": (".jpg", []),
    "progressive jpeg": (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "png": (".png", []),
    "bmp": (".bmp", []),
    "webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]),
    "lossless webp": (".webp", []),
}


@pytest.mark.parametrize("kind", CUTTABLE)
@pytest.mark.parametrize("share", [0.75, 0.99])
def test_what_is_left_of_a_cut_image_is_read_and_the_damage_reported(kind, share, capfd):
    data = encoded(photo(), *CUTTABLE[kind])
    raw = f.decode_image(data[: int(share * len(data))], "it")
    assert raw.damaged.startswith("the file is damaged")
    assert raw.array.shape == (120, 160, 3)
    kept = slice(40, 60)  # in the middle, so that the order of rows does not matter
    whole = bgr(data)
    assert np.abs(raw.array[kept].astype(int) - whole[kept]).mean() < 4
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp"])
def test_less_than_half_an_image_is_refused(kind, capfd):
    data = encoded(photo(), *CUTTABLE[kind])
    with pytest.raises(SourceError, match=r"it is damaged: \d\d % of it is missing"):
        f.decode_image(data[: len(data) // 4], "it")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("suffix", "share"), [(".tiff", 0.75), (".webp", 0.4)])
def test_a_cut_image_that_nothing_can_decode_is_refused(suffix, share, capfd):
    """Given a TIFF whose directory, at its end, is missing, or less than half a WebP."""
    data = encoded(photo(), suffix)
    with pytest.raises(SourceError, match="it is not an image that can be read: damaged"):
        f.decode_image(data[: int(share * len(data))], "it")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".jpg", ".tiff"])
def test_flipped_bits_are_reported(suffix, capfd):
    data = bytearray(encoded(photo(), suffix))
    for at in range(len(data) // 3, 2 * len(data) // 3, 97):
        data[at] ^= 0x55
    raw = f.decode_image(bytes(data), "it")
    assert raw.damaged
    assert raw.array.shape == (120, 160, 3)
    assert capfd.readouterr() == ("", "")


def test_a_harmless_remark_of_a_decoder_is_no_damage():
    data = encoded(photo(), ".jpg") + b"a trailer, as phones append"
    assert f.decode_image(data, "it").damaged == ""


def test_missing_files_folders_and_odd_paths_are_said(tmp_path):
    with pytest.raises(SourceError, match="there is no file"):
        f.read_image(tmp_path / "missing.png")
    with pytest.raises(SourceError, match=r"is a folder|Permission denied"):  # Windows says this
        f.read_image(tmp_path)
    with pytest.raises(SourceError, match="cannot read"):
        f.read_image("a\0b.png")


def test_a_suffix_that_opencv_cannot_write_is_said(tmp_path):
    for name in ("a.xyz", "a"):
        with pytest.raises(UsageError, match="OpenCV cannot write"):
            f.write_image(tmp_path / name, np.zeros((4, 4, 3), np.uint8))


# --- maps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "name", "error"),
    [
        (f.write_pfm, "a.pfm", 0),
        (f.write_kitti_png, "a.png", 0.5 / 256),
    ],
)
def test_disparities_come_back(write, name, error, disparity, tmp_path):
    write(tmp_path / name, disparity)
    read = f.read_disparity(tmp_path / name)
    assert read.dtype == np.float32
    assert np.array_equal(np.isnan(read), np.isnan(disparity))
    assert np.nanmax(np.abs(read - disparity)) <= error + 1e-6


def test_pfm_is_what_the_benchmarks_read(tmp_path):
    f.write_pfm(tmp_path / "a.pfm", np.array([[1, 2], [3, np.nan]], np.float32))
    expected = b"Pf\n2 2\n-1.0\n" + struct.pack("<4f", 3, float("inf"), 1, 2)
    assert (tmp_path / "a.pfm").read_bytes() == expected


def test_pfm_of_the_other_byte_order_is_read(tmp_path):
    (tmp_path / "a.pfm").write_bytes(b"Pf\n2 1\n1.0\n" + struct.pack(">2f", 7, 8))
    assert f.read_pfm(tmp_path / "a.pfm").tolist() == [[7, 8]]


def test_pfm_with_the_line_ends_of_windows_is_read(tmp_path):
    (tmp_path / "a.pfm").write_bytes(b"Pf\r\n2 1\r\n-1.0\r\n" + struct.pack("<2f", 7, 8))
    assert f.read_pfm(tmp_path / "a.pfm").tolist() == [[7, 8]]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"Pf\n1 1\n-\n" + bytes(4), "header"),
        (b"PF\n1 1\n-1\n" + bytes(12), "three channels"),
        (b"Pf\n2 2\n-1\n" + bytes(12), "cut off"),
        (b"P5\n2 2\n255\n", "header"),
        (b"", "header"),
    ],
)
def test_broken_pfm_files_are_refused(data, words, tmp_path):
    (tmp_path / "a.pfm").write_bytes(data)
    with pytest.raises(SourceError, match=words):
        f.read_pfm(tmp_path / "a.pfm")


def test_kitti_png_is_256_steps_a_pixel_and_0_is_unknown(tmp_path):
    values = np.array([[1, 1.5, np.nan, 0, -3, 300, 255.9]], np.float32)
    f.write_kitti_png(tmp_path / "a.png", values)
    raw = cv2.imread(str(tmp_path / "a.png"), flags=cv2.IMREAD_UNCHANGED)
    assert raw.dtype == np.uint16
    assert raw.tolist() == [[256, 384, 0, 0, 0, 0, 65510]]


def test_depth_png_is_in_millimetres(tmp_path):
    f.write_depth_png(tmp_path / "a.png", np.array([[1.2346, np.nan, 70]], np.float32))
    raw = cv2.imread(str(tmp_path / "a.png"), flags=cv2.IMREAD_UNCHANGED)
    assert raw.tolist() == [[1235, 0, 0]]
    assert np.allclose(
        f.read_depth_png(tmp_path / "a.png"), [[1.235, np.nan, np.nan]], equal_nan=True
    )


def test_an_ordinary_image_is_no_map(tmp_path):
    f.write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(SourceError, match="16-bit"):
        f.read_disparity(tmp_path / "a.png")
    with pytest.raises(SourceError, match="suffixes"):
        f.read_disparity(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["a.pfm", "a.png"])
def test_a_map_that_is_not_there_is_said(name, tmp_path):
    with pytest.raises(SourceError, match="there is no file"):
        f.read_disparity(tmp_path / name)


def test_maps_of_the_wrong_suffix_or_form_are_refused(disparity, tmp_path):
    with pytest.raises(UsageError, match=r"written as \.png"):
        f.write_kitti_png(tmp_path / "a.jpg", disparity)
    with pytest.raises(UsageError, match="two dimensions"):
        f.write_pfm(tmp_path / "a.pfm", np.zeros((2, 2, 3), np.float32))


def test_ply_is_binary_with_colours(tmp_path):
    points = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    f.write_ply(tmp_path / "a.ply", points, np.array([[9, 8, 7], [6, 5, 4]], np.uint8))
    header, body = (tmp_path / "a.ply").read_bytes().split(b"end_header\n")
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\n")
    assert b"element vertex 2\nproperty float x\n" in header
    assert body == struct.pack("<3f3B3f3B", 1, 2, 3, 9, 8, 7, 4, 5, 6, 6, 5, 4)


# --- whole or not at all ------------------------------------------------------------------------


def test_parent_folders_are_made(tmp_path, disparity):
    f.write_pfm(tmp_path / "a" / "b" / "c.pfm", disparity)
    assert (tmp_path / "a" / "b" / "c.pfm").is_file()


def test_a_place_that_cannot_be_written_is_said(tmp_path, disparity):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match=r"cannot write .*a\.pfm"):
        f.write_pfm(tmp_path / "file" / "a.pfm", disparity)
    (tmp_path / "b.pfm").mkdir()
    with pytest.raises(UsageError, match=r"cannot write .*b\.pfm"):
        f.write_pfm(tmp_path / "b.pfm", disparity)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.pfm", "file"]


def test_a_file_that_cannot_be_completed_leaves_the_old_one(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(TypeError):
        write_bytes(target, b"half", "text in place of bytes")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_name_as_long_as_names_can_be_is_written(tmp_path):
    target = tmp_path / f"{'가' * 83}.pfm"
    write_bytes(target, b"whole")
    assert list(tmp_path.iterdir()) == [target]


# --- what decoders leave undetected -------------------------------------------------------------


def test_a_png_with_a_wrong_checksum_is_damaged():
    data = bytearray(encoded(photo(), ".png"))
    data[-100] ^= 1
    assert f.decode_image(bytes(data), "it").damaged


def test_images_of_thirty_two_bits_are_scaled():
    raw = f.RawImage(np.full((4, 5, 3), 2**20, np.int32))
    assert (f.to_bgr8(raw)[0] == 0).all()


def test_a_damaged_file_is_refused_where_nobody_could_warn(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(photo(), ".jpg")[:-40])
    with pytest.raises(SourceError, match=r"a\.jpg: the file is damaged"):
        f.read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff", ".bmp", ".webp", ".ppm"])
def test_any_damage_ends_in_an_image_or_a_sentence(suffix, capfd):
    whole = encoded(photo()[:40, :50], suffix)
    random = np.random.default_rng(0)
    for _ in range(40):
        data = bytearray(whole[: random.integers(len(whole) // 2, len(whole))])
        for at in random.integers(0, len(data), 6):
            data[at] = random.integers(256)
        with suppress(SourceError):
            read = bgr(bytes(data))
            assert read.dtype == np.uint8
            assert read.ndim == 3
    assert capfd.readouterr() == ("", "")
