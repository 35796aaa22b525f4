"""Images, disparity, depth and points as files: reading and writing.

Everything written appears under its name only when it is whole. Calibration files have a module
of their own, `calibration`.

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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crestereo.errors import SourceError, UsageError
from crestereo.types import BGRImage, DepthMap, DisparityMap


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Lend a temporary path beside `path` and rename it when the block ends well."""
    target = Path(path)
    # Short even where the target's name is as long as names can be; absolute, because FFmpeg takes
    # "a:b/c.mp4" for an address.
    temporary = target.absolute().with_name(f".{os.urandom(8).hex()}.tmp{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except BrokenPipeError:
        raise
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise UsageError(
            f"cannot write {target}: {reason}; choose another place for the output"
        ) from exc
    finally:
        with suppress(OSError):  # where there is no folder there is nothing to remove
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, *parts: bytes) -> None:
    """Write a whole file made of `parts`, or none of it; raise UsageError when that fails."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        for part in parts:
            file.write(part)


_KITTI_STEPS_PER_PX = 256
_MM_PER_M = 1000
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
_COMPLAINT = re.compile(rb"Corrupt JPEG|Premature end|premature end|libpng error|TIFF_Error")
"""Reports of damage in the decoders' output; their warnings are about harmless things."""
_PLY_PROPERTIES = (
    *((axis, "float") for axis in ("x", "y", "z")),
    *((channel, "uchar") for channel in ("red", "green", "blue")),
)
_PLY_VERTEX = np.dtype([(n, "<f4" if k == "float" else "u1") for n, k in _PLY_PROPERTIES])


def read_bytes(path: str | Path) -> bytes:
    """Return what a file holds, or raise SourceError saying why it cannot be read."""
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
    """A decoded image with the values of its file; `to_bgr8` brings them to 8 bits.

    Parameters
    ----------
    array : (H, W, 3) uint8, uint16 or float32
        BGR; alpha is left out, EXIF rotation applied.
    significant_bits : int, optional
        Bits in use, where a PNG file states them.
    damaged : str
        Damage of the file, as half a sentence; empty where it is whole.
    """

    array: NDArray[Any]
    significant_bits: int | None = None
    damaged: str = ""


def decode_image(data: bytes, name: str | Path) -> RawImage:
    """Decode an image: colour, grey, 16-bit, float, palette, alpha, rotated by EXIF.

    Parameters
    ----------
    data : bytes
        Content of the file.
    name : str or Path
        Path or address, for messages.

    Returns
    -------
    RawImage
        Of a damaged file what can be decoded.

    Raises
    ------
    SourceError
        It is no image, or less than half of it can be decoded.
    """
    array, damaged = _decode(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    if array is not None and array.ndim == 2:  # IMREAD_COLOR makes bytes of grey floats
        array = np.dstack([array] * 3)
    if array is not None and not damaged:
        return RawImage(array, _significant_bits(data))
    salvaged = _decode_with_pillow(data)
    if salvaged is None:
        if array is not None:
            return RawImage(array, damaged="the file is damaged")
        if damaged:
            raise SourceError(f"{name} is damaged and cannot be decoded; load it again")
        raise SourceError(f"{name} is not an image that can be read; use PNG or JPEG")
    array, missing, whole = salvaged
    if missing > 0.5:
        raise SourceError(
            f"{name} is damaged: {100 * missing:.0f} % of it is missing; load it again"
        )
    if whole and not damaged:  # a format that only Pillow reads
        return RawImage(array)
    share = f": {100 * missing:.0f} % of it is missing" if missing >= 0.01 else ""
    return RawImage(array, damaged=f"the file is damaged{share}")


def to_bgr8(*raws: RawImage) -> tuple[BGRImage, ...]:
    """Bring images to 8 bits, all by the same factor: their used range becomes 0..255.

    Ten bits in a 16-bit file are found by the highest value of all images together.

    Returns
    -------
    tuple of (H, W, 3) uint8
    """
    deep = [raw for raw in raws if raw.array.dtype != np.uint8]
    high = max((float(np.nanmax(raw.array, initial=0)) for raw in deep), default=0.0)
    least = max((raw.significant_bits or 0 for raw in deep), default=0)
    if any(raw.array.dtype.kind == "f" for raw in deep):
        full = max(high, 1.0)
    else:
        full = 2.0 ** next(bits for bits in _BITS if bits >= least and high < 2**bits) - 1
    return tuple(_scaled(raw.array, 255 / full) for raw in raws)


def _scaled(array: NDArray[Any], factor: float) -> BGRImage:
    if array.dtype == np.uint8:
        return array
    values = np.nan_to_num(np.clip(array, 0, None), posinf=255 / factor)
    return np.asarray(cv2.convertScaleAbs(values, alpha=factor), np.uint8)


def read_image(path: str | Path) -> BGRImage:
    """Read an image file as (H, W, 3) uint8 BGR; see `decode_image`."""
    return to_bgr8(decode_image(read_bytes(path), path))[0]


def _decode(data: bytes, flags: int) -> tuple[NDArray[Any] | None, bool]:
    """Return the image, None where OpenCV cannot decode it, and whether the file is damaged."""
    image, printed = None, b""
    if data:
        with _captured_stderr() as output, suppress(cv2.error):
            # imdecode instead of imread: the path may hold any character, on Windows too.
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        printed = output[0]
    damaged = _COMPLAINT.search(printed) is not None or _is_cut_off(data)
    return (None if image is None else np.asarray(image)), damaged


def _is_cut_off(data: bytes) -> bool:
    """Return whether a JPEG, PNG or WebP file lacks its end."""
    if data.startswith(_PNG_START):
        return _PNG_END not in data
    if data.startswith(b"RIFF"):
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:  # start of the scan
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(b"\xff\xd9", at) < 0  # an earlier one would end a preview


_BITS = (8, 10, 12, 14, 16)  # that cameras write
_STDERR_LOCK = threading.Lock()


@contextmanager
def _captured_stderr() -> Iterator[list[bytes]]:
    """Capture what the decoders print: only there do they report damage."""
    output = [b""]
    with _STDERR_LOCK, tempfile.TemporaryFile() as file:
        try:
            saved = os.dup(2)
        except OSError:  # a program without standard error
            yield output
            return
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        os.dup2(file.fileno(), 2)
        try:
            yield output
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            cv2.utils.logging.setLogLevel(level)
            file.seek(0)
            output[0] = file.read()


def _decode_with_pillow(data: bytes) -> tuple[NDArray[Any], float, bool] | None:
    """Return an image, the share that is missing, and whether the file is whole; or None."""
    from PIL import Image, ImageFile, ImageOps  # noqa: PLC0415  slow, and seldom needed

    with _captured_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for whole in (True, False):
            ImageFile.LOAD_TRUNCATED_IMAGES = not whole
            try:
                with Image.open(io.BytesIO(data)) as file:
                    deep = file.mode.startswith("I")
                    image = file.copy() if deep else file.convert("RGB")
                    image = ImageOps.exif_transpose(image)
                    missing = 0.0 if whole else _missing_share(np.asarray(file))
            except Exception:  # noqa: BLE001  its decoders raise anything
                continue
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES = False
            array = np.asarray(image)
            if deep:
                return np.dstack([array.astype(np.uint16)] * 3), missing, whole
            return np.ascontiguousarray(array[..., ::-1]), missing, whole
    return None


def _missing_share(image: NDArray[Any]) -> float:
    """Return the share of rows at the end, or the beginning, that no decoder has filled."""
    rows = image.reshape(len(image), -1)
    blank = max(
        np.argmax(np.append((each != each[0, 0]).any(axis=1), True)) for each in (rows, rows[::-1])
    )
    return float(blank) / len(rows)


def _significant_bits(data: bytes) -> int | None:
    """Return the bits that a PNG file states for its first channel (chunk sBIT)."""
    at = data.find(b"sBIT", 0, 1024) if data.startswith(_PNG_START) else -1
    return data[at + 4] if at > 0 else None


def write_image(path: str | Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write an image, (H, W, 3) uint8 BGR or (H, W) uint8 or uint16, as its suffix says."""
    suffix = Path(path).suffix.lower()
    try:
        done, data = cv2.imencode(suffix, image)
    except cv2.error:
        done, data = False, np.empty(0, np.uint8)
    if not done:
        raise UsageError(f"OpenCV cannot write {path} as {suffix or 'a file without suffix'}")
    write_bytes(path, data.tobytes())


def write_pfm(path: str | Path, values: DisparityMap) -> None:
    """Write a map as PFM: float32, little endian, bottom row first, unknown as infinity."""
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
    return _unknown_to_nan(np.flipud(values))


def _unknown_to_nan(values: NDArray[Any]) -> NDArray[np.float32]:
    result = np.array(values, dtype=np.float32)
    result[~np.isfinite(result)] = np.nan
    return result


def _write_png16(path: str | Path, values: NDArray[np.float32], steps: int) -> None:
    if Path(path).suffix.lower() != ".png":
        raise UsageError(f"a 16-bit map is written as .png, not as {path}")
    scaled = np.rint(values * np.float32(steps))
    fits = (scaled >= 1) & (scaled <= 65535)  # False for NaN; 0 is the mark of the unknown
    write_image(path, np.where(fits, scaled, 0).astype(np.uint16))


def _read_png16(path: str | Path, steps: int) -> NDArray[np.float32]:
    raw, damaged = _decode(read_bytes(path), cv2.IMREAD_UNCHANGED)
    if damaged:
        raise SourceError(f"{path} is damaged; load it again")
    if raw is None or raw.ndim != 2 or raw.dtype != np.uint16:
        raise SourceError(f"{path} is not a 16-bit grey PNG, as a map of numbers must be")
    values = np.array(raw, dtype=np.float32)
    values /= steps
    values[raw == 0] = np.nan
    return values


def write_kitti_png(path: str | Path, disparity: DisparityMap) -> None:
    """Write a disparity [px] as KITTI does: 16-bit PNG, value * 256, 0 unknown."""
    _write_png16(path, disparity, _KITTI_STEPS_PER_PX)


def read_kitti_png(path: str | Path) -> DisparityMap:
    """Read a KITTI disparity: (H, W) float32 [px], NaN where unknown."""
    return _read_png16(path, _KITTI_STEPS_PER_PX)


def write_depth_png(path: str | Path, depth: DepthMap) -> None:
    """Write depth [m] as 16-bit PNG in millimetres, 0 unknown."""
    _write_png16(path, depth, _MM_PER_M)


def read_depth_png(path: str | Path) -> DepthMap:
    """Read depth from a 16-bit PNG in millimetres: (H, W) float32 [m], NaN where unknown."""
    return _read_png16(path, _MM_PER_M)


def write_npy(path: str | Path, values: NDArray[np.float32]) -> None:
    """Write a map as .npy, float32 with NaN where unknown."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, values.astype(np.float32, copy=False), allow_pickle=False)


def write_npz(path: str | Path, **arrays: NDArray[Any]) -> None:
    """Write several named arrays as one compressed .npz."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_npy(path: str | Path, key: str = "disparity") -> NDArray[np.float32]:
    """Read a map (H, W) from .npy, or the array `key` from .npz; infinity becomes NaN."""
    data = read_bytes(path)
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        values = loaded[key] if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
    except Exception as exc:  # numpy lets anything through where a file is damaged
        raise SourceError(f"{path} holds no map of numbers that numpy can read") from exc
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise SourceError(f"{path} holds {values.dtype}{values.shape}; a map is (H, W) numbers")
    return _unknown_to_nan(values)


_READERS = {".pfm": read_pfm, ".png": read_kitti_png, ".npy": read_npy, ".npz": read_npy}


def read_disparity(path: str | Path) -> DisparityMap:
    """Read a disparity (H, W) [px] from .pfm, KITTI .png, .npy or .npz, NaN where unknown."""
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise SourceError(f"{path} has none of the known suffixes {', '.join(_READERS)}")
    return reader(path)


def write_ply(path: str | Path, points: NDArray[np.float32], colors: NDArray[np.uint8]) -> None:
    """Write points (N, 3) [m] and their colours (N, 3), RGB, as binary little-endian PLY."""
    vertices = np.empty(len(points), _PLY_VERTEX)
    for axis, name in enumerate(("x", "y", "z")):
        vertices[name] = points[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = colors[:, channel]
    properties = "".join(f"property {kind} {name}\n" for name, kind in _PLY_PROPERTIES)
    header = (
        "ply\nformat binary_little_endian 1.0\ncomment OpenCV camera axes, metres\n"
        f"element vertex {len(points)}\n{properties}end_header\n"
    )
    write_bytes(path, header.encode(), vertices.tobytes())
