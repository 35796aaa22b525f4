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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def _decode(data: bytes, name: str | Path, flags: int) -> NDArray[Any]:
    if data.startswith(_PNG_START) and _PNG_END not in data:  # libpng would complain by itself
        raise SourceError(f"the image {name} is cut off; fetch it again")
    try:
        # imdecode instead of imread: the path may hold any character, on Windows too.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as exc:
        raise SourceError(f"OpenCV cannot decode the image {name}: {exc.err}") from exc
    if image is None:
        raise SourceError(f"{name} is not an image that OpenCV can read; use PNG or JPEG")
    return np.asarray(image)


def decode_image(data: bytes, name: str) -> BGRImage:
    """Decode an image of any kind: grey, 16-bit, palette, alpha, turned by EXIF."""
    return _decode(data, name, cv2.IMREAD_COLOR).astype(np.uint8, copy=False)


def read_image(path: str | Path) -> BGRImage:
    """Read an image file, whatever characters its path has; see `decode_image`."""
    return decode_image(read_bytes(path), str(path))


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
    raw = _decode(read_bytes(path), path, cv2.IMREAD_UNCHANGED)
    if raw.ndim != 2 or raw.dtype != np.uint16:
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
