"""Read and write files of images, disparity, depth and points.

A file appears under its name only when it is complete.

References
----------
PFM: https://vision.middlebury.edu/stereo/code/ ;
KITTI: https://www.cvlibs.net/datasets/kitti/eval_stereo.php ;
depth in millimetres: ROS REP 118.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from crestereo.errors import SourceError, UsageError
from crestereo.types import BGRImage, DepthMap, DisparityMap


def write_bytes(path: str | Path, *parts: bytes) -> None:
    """Write a complete file, or none; raise UsageError when that fails."""
    target = Path(path)
    temporary = target.with_name(f".{os.urandom(8).hex()}.tmp")  # short: the name may be long
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.writelines(parts)
        temporary.replace(target)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise UsageError(
            f"cannot write {target}: {reason}; choose another place for the output"
        ) from exc
    finally:
        with suppress(OSError):  # where there is no folder there is nothing to remove
            temporary.unlink(missing_ok=True)


_KITTI_STEPS_PER_PX = 256
_MM_PER_M = 1000
_PNG_START = b"\x89PNG\r\n\x1a\n"
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_MAX_SAMPLE_VALUE = 281
"""TIFF tag."""
_COMPLAINT = re.compile(rb"(?i)corrupt JPEG|premature end")
"""Reports of libjpeg on damage; its other messages concern harmless things."""
_MAX_MISSING = 0.5
"""Share of an image that may be missing."""
_BITS = (8, 10, 12, 14, 16, 32)
"""Depths of camera images."""
_PLY_VERTEX = np.dtype([("position", "<f4", 3), ("color", "u1", 3)])
_PLY_HEADER = """ply
format binary_little_endian 1.0
comment OpenCV camera axes, metres
element vertex {count}
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
end_header
"""


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a file, or raise SourceError with the reason."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as exc:
        raise SourceError(f"there is no file {path}; check the path") from exc
    except IsADirectoryError as exc:
        raise SourceError(f"{path} is a folder; name a file in it") from exc
    except (OSError, ValueError) as exc:  # ValueError: a null character in the path
        reason = getattr(exc, "strerror", None) or str(exc)
        raise SourceError(f"cannot read {path}: {reason}") from exc


@dataclass(frozen=True)
class RawImage:
    """Decoded image with the values of its file."""

    array: NDArray[Any]  # (H, W, 3) uint8, uint16 or float32, BGR, without alpha, upright
    significant_bits: int = 0  # bits in use, where a PNG or TIFF file records them
    damaged: str = ""  # half a sentence, empty for an intact file


def decode_image(data: bytes, name: str | Path) -> RawImage:
    """Decode an image: colour, grey, 16-bit, float, palette, alpha, rotated by EXIF.

    A damaged file is decoded as far as possible; SourceError is raised below the half.
    """
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
    array, damaged = _decode(data, flags)
    if array is None and data.startswith((b"RIFF", *_TIFF_STARTS)):
        # OpenCV decodes a cut WebP or TIFF where something replaces the missing half at most
        array, damaged = _decode(data + bytes(len(data)), flags)[0], True
    if array is not None and array.ndim == 2:  # IMREAD_COLOR would make bytes of grey floats
        array = np.dstack([array] * 3)
    if array is not None and not damaged:
        return RawImage(array, _significant_bits(data))
    partial, missing = _decode_with_pillow(data)
    if partial is None and array is not None:
        return RawImage(array, damaged="the file is damaged")
    if partial is None:
        raise SourceError(
            f"{name} is not an image that can be read: damaged, or of an unsupported format; use "
            "PNG or JPEG"
        )
    if missing is not None and missing > _MAX_MISSING:
        raise SourceError(
            f"{name} is damaged: {100 * missing:.0f} % of it is missing; fetch it again"
        )
    if missing is None:  # a format that only Pillow reads, or damage that it does not detect
        return RawImage(partial, damaged="the file is damaged" if damaged else "")
    share = f": {100 * missing:.0f} % of it is missing" if missing >= 0.01 else ""
    return RawImage(partial, damaged=f"the file is damaged{share}")


def to_bgr8(*raws: RawImage) -> tuple[BGRImage, ...]:
    """Convert images to 8 bits by one factor, from their used range."""
    deep = [raw for raw in raws if raw.array.dtype != np.uint8]
    high = max((float(np.nanmax(raw.array, initial=0)) for raw in deep), default=0.0)
    recorded = max((raw.significant_bits for raw in deep), default=0)
    # PNG moves the significant bits to the top of 16 bits, cameras leave them at the bottom
    depths = (recorded, 16, 32) if recorded else _BITS
    if any(raw.array.dtype.kind == "f" for raw in deep):
        full = max(high, 1.0) if np.isfinite(high) else 1.0
    else:
        full = 2.0 ** next(bits for bits in depths if high < 2**bits) - 1
    return tuple(_scaled(raw.array, 255 / full) for raw in raws)


def _scaled(array: NDArray[Any], factor: float) -> BGRImage:
    if array.dtype == np.uint8:
        return array
    values = np.nan_to_num(np.clip(array, 0, None).astype(np.float32), posinf=255 / factor)
    return np.asarray(cv2.convertScaleAbs(values, alpha=factor), np.uint8)


def read_image(path: str | Path) -> BGRImage:
    """Read an intact image file as (H, W, 3) uint8 BGR."""
    raw = decode_image(read_bytes(path), path)
    if raw.damaged:
        raise SourceError(f"{path}: {raw.damaged}; fetch it again")
    return to_bgr8(raw)[0]


def _decode(data: bytes, flags: int) -> tuple[NDArray[Any] | None, bool]:
    """Return the image as far as decoded, and whether it is damaged."""
    image = None
    if not data:
        return None, False
    with _captured_stderr() as output, suppress(cv2.error):
        # imdecode instead of imread: the path may hold any character, on Windows too.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    damaged = _COMPLAINT.search(output[0]) is not None or _is_damaged(data)
    return (None if image is None else np.asarray(image)), damaged


def _is_damaged(data: bytes) -> bool:
    """Return whether a TIFF or JPEG is damaged that OpenCV may decode."""
    if data.startswith(_TIFF_STARTS):
        return _decode_with_pillow(data)[1] is not None
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:  # start of the scan
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(b"\xff\xd9", at) < 0  # an earlier one would end a preview


_STDERR_LOCK = threading.Lock()


@contextmanager
def _captured_stderr() -> Iterator[list[bytes]]:
    """Capture the output of the decoders: libjpeg reports damage nowhere else."""
    output = [b""]
    with _STDERR_LOCK, ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile())
            saved = os.dup(2)
        except OSError:  # no folder for temporary files, or no standard error
            yield output
            return
        os.dup2(file.fileno(), 2)
        try:
            yield output
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            output[0] = file.read()


def _decode_with_pillow(data: bytes) -> tuple[NDArray[Any] | None, float | None]:
    """Return what Pillow decodes, and the missing share where damaged."""
    missing: float | None = None
    with _captured_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tolerant in (False, True):
            ImageFile.LOAD_TRUNCATED_IMAGES = tolerant
            try:
                with Image.open(io.BytesIO(data)) as file:
                    missing = 1.0  # of an image that is recognised, unless it is decoded
                    file.load()
                    missing = _share_missing(np.asarray(file)) if tolerant else None
                    upright = ImageOps.exif_transpose(file)
                    if file.mode.startswith("I"):
                        return np.dstack([np.asarray(upright).astype(np.uint16)] * 3), missing
                    rgb = np.asarray(upright.convert("RGB"))
                    return np.ascontiguousarray(rgb[..., ::-1]), missing
            except Exception:  # noqa: BLE001  its decoders raise anything
                continue
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES = False
    return None, missing


def _share_missing(image: NDArray[Any]) -> float:
    # The decoder leaves rows at the end blank, in a BMP at the beginning.
    rows = image.reshape(len(image), -1)
    filled = (np.append((each != each[0, 0]).any(axis=1), True) for each in (rows, rows[::-1]))
    return float(max(np.argmax(each) for each in filled)) / len(rows)


def _significant_bits(data: bytes) -> int:
    """Return the bits in PNG's sBIT or TIFF's MaxSampleValue, else 0."""
    if data.startswith(_TIFF_STARTS):
        file = io.BytesIO(data)
        tags = ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        with warnings.catch_warnings():  # about tags of cameras
            warnings.simplefilter("ignore")
            tags.load(file)
        most: Any = tags.get(_MAX_SAMPLE_VALUE, 0)
        return int(np.max(most)).bit_length()
    at = data.find(b"sBIT", 0, 1024) if data.startswith(_PNG_START) else -1
    return data[at + 4] if at > 0 else 0


def write_image(path: str | Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write a BGR uint8 or a grey uint8 or uint16 image."""
    suffix = Path(path).suffix.lower()
    try:
        done, data = cv2.imencode(suffix, image)
    except cv2.error:
        done, data = False, np.empty(0, np.uint8)
    if not done:
        raise UsageError(f"OpenCV cannot write {path} as {suffix or 'a file without suffix'}")
    write_bytes(path, data.tobytes())


def write_pfm(path: str | Path, values: DisparityMap) -> None:
    """Write a map as little-endian PFM, unknown as infinity."""
    if values.ndim != 2:
        raise UsageError(f"a PFM file holds a map of two dimensions, not {values.ndim}")
    filled = np.where(np.isfinite(values), values, np.float32(np.inf))
    header = f"Pf\n{values.shape[1]} {values.shape[0]}\n-1.0\n".encode()
    write_bytes(path, header, np.flipud(filled).astype("<f4").tobytes())


def read_pfm(path: str | Path) -> DisparityMap:
    """Read a PFM file of one channel and either byte order."""
    data = read_bytes(path)
    header = re.match(
        rb"(P[fF])\s+(\d+)\s+(\d+)\s+([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?|[-+]?\d+\.)(?:\r\n|\s)", data
    )
    if header is None:
        raise SourceError(f"{path} is not a PFM file: its header is wrong")
    if header[1] == b"PF":
        raise SourceError(f"{path} is a PFM file of three channels; a disparity has one")
    width, height = int(header[2]), int(header[3])
    order = "<" if float(header[4]) < 0 else ">"
    body = data[header.end() :]
    if len(body) < width * height * 4 or width * height == 0:
        raise SourceError(f"{path} is cut off: {width}x{height} values were announced")
    values = np.frombuffer(body, order + "f4", count=width * height).reshape(height, width)
    disparity = np.flipud(values).astype(np.float32)
    disparity[~np.isfinite(disparity)] = np.nan
    return disparity


def _write_png16(path: str | Path, values: NDArray[np.float32], steps: int) -> None:
    if Path(path).suffix.lower() != ".png":
        raise UsageError(f"a 16-bit map is written as .png, not as {path}")
    scaled = np.rint(values * np.float32(steps))
    fits = (scaled >= 1) & (scaled <= 65535)  # False for NaN; 0 is the mark of the unknown
    write_image(path, np.where(fits, scaled, 0).astype(np.uint16))


def _read_png16(path: str | Path, steps: int) -> NDArray[np.float32]:
    raw, _ = _decode(read_bytes(path), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.ndim != 2 or raw.dtype != np.uint16:
        raise SourceError(f"{path} is not an intact 16-bit grey PNG, as a map of numbers must be")
    values = np.asarray(raw.astype(np.float32) / steps, np.float32)
    values[raw == 0] = np.nan
    return values


def write_kitti_png(path: str | Path, disparity: DisparityMap) -> None:
    """Write a disparity [px] as KITTI does: value * 256, 0 unknown."""
    _write_png16(path, disparity, _KITTI_STEPS_PER_PX)


def read_kitti_png(path: str | Path) -> DisparityMap:
    """Read a KITTI disparity: (H, W) float32 [px], NaN where unknown."""
    return _read_png16(path, _KITTI_STEPS_PER_PX)


def write_depth_png(path: str | Path, depth: DepthMap) -> None:
    """Write depth [m] as 16-bit PNG in millimetres, 0 unknown."""
    _write_png16(path, depth, _MM_PER_M)


def read_depth_png(path: str | Path) -> DepthMap:
    """Read depth (H, W) [m] from 16-bit PNG, NaN where unknown."""
    return _read_png16(path, _MM_PER_M)


_READERS = {".pfm": read_pfm, ".png": read_kitti_png}


def read_disparity(path: str | Path) -> DisparityMap:
    """Read a disparity (H, W) [px] from .pfm or KITTI .png."""
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise SourceError(f"{path} has none of the known suffixes {', '.join(_READERS)}")
    return reader(path)


def write_ply(path: str | Path, points: NDArray[np.float32], colors: NDArray[np.uint8]) -> None:
    """Write points (N, 3) [m] and RGB colours as binary PLY."""
    vertices = np.empty(len(points), _PLY_VERTEX)
    vertices["position"], vertices["color"] = points, colors
    write_bytes(path, _PLY_HEADER.format(count=len(points)).encode(), vertices.tobytes())
