"""Find the named values in calibration files of any syntax.

A file becomes a tree, whatever its syntax; the names that tools use are looked up in one table.
"""

from __future__ import annotations

import io
import json
import math
import re
import tokenize
import zipfile
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from configparser import Error as IniError
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import yaml

from crestereo.camera import Matrix
from crestereo.errors import UsageError
from crestereo.formats import read_bytes

Tree = Any  # dict, list, array or text
Fields = dict[tuple[str, int | None], Any]  # (name, side or None for both) -> numbers or text

COEFFICIENTS = "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"
DAMAGE = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, SystemError, EOFError,
    RecursionError, NotImplementedError, zipfile.BadZipFile, zipfile.LargeZipFile, IniError,
    SyntaxError, tokenize.TokenError, yaml.YAMLError, cv2.error,
)  # fmt: skip
# Name -> aliases, in lower case without punctuation; a side may precede or follow each.
_MATRICES = {
    "K": "k m mtx matrix cameramatrix intrinsic intrinsics intrinsicmatrix intrinsicsmatrix cam",
    "D": "d dist disto distcoeffs distcoeff distcoefs distcoef distparams distortion "
    "distortioncoefficients distortioncoeffs distortioncoeff distortioncoef distortionparams "
    "distortionparameters coeffs coefficients kc",
    "R": "r rot rotation rotationmatrix rstereo",
    "T": "t trans trns translation translationvector tstereo",
    "RT": "tcncnm1 rt",
    "inverse RT": "tc1c2 tlr",
    "pose": "tbs",
    "RECT": "rect rectification rectificationmatrix",
    "P": "p proj projmat projection projectionmatrix",
    "Q": "q disparitytodepthmatrix disptodepthmatrix reprojectionmatrix",
    "size": "size imagesize imgsize imsize resolution imageresolution",
}
_COUNTS = {
    "K": (4, 5, 6, 9), "D": range(15), "R": (3, 9), "T": (3,), "RT": (12, 16),
    "inverse RT": (12, 16), "pose": (12, 16), "RECT": (9,), "P": (12,), "Q": (16,), "size": (2,),
}  # fmt: skip
_SCALARS = {
    "width": "width imagewidth imgwidth framewidth",
    "height": "height imageheight imgheight frameheight",
    "focal": "f focal focallength focalpx focallengthpx",
    "fx": "fx", "fy": "fy", "cx": "cx ppx", "cy": "cy ppy",
    **{name: name for name in COEFFICIENTS},
    "baseline": "baseline baselinem baselinemeters stereob",
    "baseline_mm": "baselinemm", "baseline_cm": "baselinecm", "bf": "bf", "doffs": "doffs",
    "fisheye": "fisheye isfisheye bfisheye", "scale": "scale",
    "model": "model modeltype cameramodel cameratype", "lens": "distortionmodel lensmodel",
}  # fmt: skip
_TEXTS = "fisheye", "model", "lens", "scale"
_SIDE = r"(?:cam(?:era)?)?(left|right|[lr012])(?:cam(?:era)?)?"
_ANCESTOR = re.compile(r"(?:cam(?:era)?|sensor)?([lr012])|.*(left|right).*")
_ZED_SIZES = {
    "4K": (3840, 2160), "QHDPLUS": (3200, 1800), "2K": (2208, 1242), "FHD1200": (1920, 1200),
    "FHD": (1920, 1080), "HD": (1280, 720), "SVGA": (960, 600), "VGA": (672, 376),
}  # fmt: skip
_MOST_BYTES = 10_000_000


def read_fields(paths: Sequence[str | Path], image_shape: tuple[int, int] | None) -> Fields:
    """Return the known values of one file or two."""
    trees = [_special(_tree(path), image_shape) for path in paths]
    named = [list(_named(tree)) for tree in trees]
    if len(trees) == 2 and not any(side for each in named for _, side, *_ in each):
        named = [list(_named({"left": trees[0], "right": trees[1]}))]
    found = [each for names in named for each in names]
    first = 0 if any(side == "0" for _, side, *_ in found) else 1
    sides = {"": None, "l": 0, "r": 1, str(first): 0, str(first + 1): 1}
    chosen: dict[tuple[str, int | None], tuple[tuple[str, ...], Any]] = {}
    for name, side, value, path in found:
        if side not in sides:
            continue
        other, known = chosen.setdefault((name, sides[side]), (path, value))
        if len(path) < len(other):  # what is nested deeper describes something else
            chosen[name, sides[side]] = path, value
        elif len(path) == len(other) and not np.array_equal(known, value):
            raise UsageError(f"it has two values of {name}: {'.'.join(other)} and {'.'.join(path)}")
    return {key: value for key, (_, value) in chosen.items()}


# --- syntax -------------------------------------------------------------------------------------


def _tree(path: str | Path) -> Tree:
    """Parse a file to names and values; numbers may still be text."""
    data = read_bytes(path)
    if data.startswith(b"PK"):
        return _archive_tree(data)
    if len(data) > _MOST_BYTES:
        raise ValueError("larger than any calibration")
    if data.startswith(b"\x93NUMPY"):
        return _matrix_tree(np.load(io.BytesIO(data), allow_pickle=False))
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = data.decode("utf-16" if utf16 else "utf-8-sig", errors="replace").lstrip()
    return _text_tree(text)


def _archive_tree(data: bytes) -> Tree:
    """Return the arrays of known names; scripts add maps and others."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        names = _MATRIX_NAMES[0], _SCALAR_NAMES[0]
        known = [name for name in archive.files if any(p.fullmatch(_plain(name)) for p in names)]
        if sum(archive.zip.getinfo(f"{name}.npy").file_size for name in known) > _MOST_BYTES:
            raise ValueError("larger than any calibration")
        return {name: archive[name].tolist() for name in known}


def _text_tree(text: str) -> Tree:
    if text.startswith("{"):
        return json.loads(re.sub(r"(?<=\d)\.(?=[\s,\]}])", ".0", text))  # OpenCV writes "1."
    if text.startswith("<"):
        return _xml_tree(ElementTree.fromstring(text))
    if re.search(r"^\s*\[ *[A-Za-z]\w* *\]\s*$", text, re.MULTILINE):
        parser = ConfigParser(strict=False, interpolation=None, inline_comment_prefixes=("#", ";"))
        parser.read_string(text)
        return {name: dict(section) for name, section in parser.items()}
    numbers = _numbers(_flat(re.sub(r"#.*", "", text)))
    if numbers is not None:
        return _matrix_tree(numbers)
    if re.search(r"^\s*\w+\s*=", text, re.MULTILINE):
        return dict(re.findall(r"^\s*(\w+)\s*=\s*(.*?)\s*$", text, re.MULTILINE))
    # As OpenCV writes and reads it: "%YAML:1.0", and no space after a colon.
    text = re.sub(r"^%.*$", "", text.replace("\t", "  "), flags=re.MULTILINE)
    text = re.sub(r"^(\s*[\w.]+):(?=[^\s:])", r"\1: ", text, flags=re.MULTILINE)
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # scalars stay text
    return next(iter(yaml.load_all(text, Loader=loader)), None)


def _numbers(words: Sequence[Any]) -> Matrix | None:
    """Return words as numbers, None where one is something else."""
    try:
        return np.array([float(word) for word in words])
    except (TypeError, ValueError):
        return None


def _matrix_tree(values: Matrix) -> Tree:
    """Return the tree of nameless numbers: K, K and baseline, or Q."""
    flat = values.ravel()
    if len(flat) == 16:
        return {"Q": flat}
    if len(flat) not in (9, 10):
        raise ValueError("neither K nor Q")
    return {"K": flat[:9], **({"baseline": flat[9]} if len(flat) == 10 else {})}


def _xml_tree(element: ElementTree.Element) -> Tree:
    if not len(element):
        return element.text or ""
    tree: dict[str, Tree] = {}
    for child in element:
        value = _xml_tree(child)
        if child.tag in tree:
            first = tree[child.tag]
            value = [*(first if isinstance(first, list) else [first]), value]
        tree[child.tag] = value
    return tree


# --- what is special to a tool ------------------------------------------------------------------


def _special(tree: Tree, image_shape: tuple[int, int] | None) -> Tree:
    """Return the tree with the names and units of the table."""
    if not isinstance(tree, dict):
        raise ValueError("no names")
    if "cameraData" in tree:
        return _depthai(tree)
    if "CameraParameters1" in tree:
        raise UsageError(
            "stereoParameters of MATLAB are not supported; write K1, D1, K2, D2, R, T (metres) and "
            "the image size to a file of OpenCV"
        )
    _check_region(tree)
    if any(str(name).upper().startswith("LEFT_CAM_") for name in tree):
        return _zed(tree, image_shape)
    for left, right in (("P_rect_02", "P_rect_03"), ("P2", "P3"), ("P_rect_00", "P_rect_01")):
        if left in tree and right in tree:  # KITTI
            size = {"size": tree[f"S{left[1:]}"]} if f"S{left[1:]}" in tree else {}
            return {"left": {"P": tree[left]}, "right": {"P": tree[right]}, **size}
    if "cam0" in tree and "baseline" in tree and not isinstance(tree["cam0"], dict):  # Middlebury
        return {**tree, "baseline_mm": tree["baseline"], "baseline": ""}
    return tree


def _check_region(tree: Tree) -> None:
    """Check that a camera_info of ROS is for whole images."""
    if not isinstance(tree, dict):
        return
    for each in tree.values():
        _check_region(each)
    roi = tree.get("roi")
    if isinstance(roi, dict) and {"x_offset", "width"} <= set(roi):
        region, whole = ([int(each.get(n, 0)) for n in ("width", "height")] for each in (roi, tree))
        if any(region) and region != whole:
            part, full = (f"{width}x{height}" for width, height in (region, whole))
            raise UsageError(
                f"its region of interest (roi) is {part} px of {full}: only calibrations of whole "
                "images are supported"
            )


def _zed(tree: Tree, image_shape: tuple[int, int] | None) -> Tree:
    """Return the cameras of the resolution that fits the images best."""
    sections: dict[str, dict[str, str]] = {
        name.upper(): dict(section) for name, section in tree.items()
    }
    names = [name[9:] for name in sections if name.startswith("LEFT_CAM_")]
    known = [name for name in names if name in _ZED_SIZES]
    if not known:
        raise UsageError(f"a ZED camera with unknown resolutions: {', '.join(names)}")
    height, width = image_shape or _ZED_SIZES[known[0]][::-1]

    def misfit(name: str) -> tuple[bool, float]:
        full = _ZED_SIZES[name]
        return abs(full[0] / full[1] - width / height) > 0.005, abs(np.log(full[0] / width))

    chosen = min(known, key=misfit)
    stereo = sections["STEREO"]

    def value(name: str) -> float:
        shared = stereo.get(name.lower(), "0")
        return float(stereo.get(f"{name}_{chosen}".lower(), shared))

    sides = [
        {**sections[f"{side}_CAM_{chosen}"], **sections.get(f"{side}_DISTO", {})}
        for side in ("LEFT", "RIGHT")
    ]
    fisheye = "k4" in sides[0] and "p1" not in sides[0]
    return {
        "left": sides[0],
        "right": sides[1],
        "size": list(_ZED_SIZES[chosen]),
        "model": "fisheye" if fisheye else "pinhole",
        "R": [value("RX"), value("CV"), value("RZ")],
        "T": [-float(stereo["baseline"]) / 1000, value("TY") / 1000, value("TZ") / 1000],
    }


def _depthai(tree: Tree) -> Tree:
    """Return both cameras, and the way between their sockets."""
    data = tree["cameraData"]
    pairs = data.items() if isinstance(data, dict) else data
    cameras = {int(socket): camera for socket, camera in pairs}
    used = tree.get("stereoRectificationData") or {}
    sockets = [
        int(used.get(f"{side}CameraSocket", number))
        for number, side in enumerate(("left", "right"), start=1)
    ]
    if not set(sockets) <= set(cameras):
        sockets = [1, 2]
    if not set(sockets) <= set(cameras):
        raise UsageError("the left and right cameras (sockets 1 and 2) are missing")
    ways = []
    for socket in sockets:
        way, at = {socket: np.eye(4)}, socket
        while at in cameras and int(cameras[at]["extrinsics"]["toCameraSocket"]) not in (-1, *way):
            extrinsics = cameras[at]["extrinsics"]
            step = np.eye(4)
            step[:3, :3] = extrinsics["rotationMatrix"]
            step[:3, 3] = [float(extrinsics["translation"][axis]) / 100 for axis in "xyz"]
            onward = int(extrinsics["toCameraSocket"])
            way[onward], at = step @ way[at], onward
        ways.append(way)
    common = next((socket for socket in ways[0] if socket in ways[1]), None)
    if common is None:
        raise UsageError("the extrinsics do not connect the left and the right camera")
    sides = [
        {**cameras[socket], "extrinsics": "", "cameraType": _depthai_model(cameras[socket])}
        for socket in sockets
    ]
    return {"left": sides[0], "right": sides[1],
            "RT": np.linalg.inv(ways[1][common]) @ ways[0][common]}  # fmt: skip


def _depthai_model(camera: Tree) -> str:
    kinds = {0: "perspective", 1: "fisheye"}
    return kinds.get(int(camera.get("cameraType", 0)), "unknown")


# --- names --------------------------------------------------------------------------------------


def _pattern(names: dict[str, str]) -> tuple[re.Pattern[str], dict[str, str]]:
    known = {alias: name for name, aliases in names.items() for alias in aliases.split()}
    aliases = "|".join(sorted(known, key=len, reverse=True))
    prefix = rf"(?:cam(?:era)?|stereo|{_SIDE})??"
    return re.compile(rf"{prefix}({aliases})(?:{_SIDE})?"), known


_MATRIX_NAMES, _SCALAR_NAMES = _pattern(_MATRICES), _pattern(_SCALARS)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _named(tree: Tree) -> Iterator[tuple[str, str, Any, tuple[str, ...]]]:
    """Return name, side, value and path of leaves of known names."""
    for path, leaf in _leaves(tree, ()):
        words = _flat(leaf)
        single = not isinstance(leaf, list | np.ndarray) and _is_single(words)
        pattern, known = _SCALAR_NAMES if single else _MATRIX_NAMES
        keys = [_plain(key) for key in path]
        match = pattern.fullmatch("".join(keys[-2:])) or pattern.fullmatch(keys[-1])
        if match and words:
            above = [found for found in map(_ANCESTOR.fullmatch, keys[:-1]) if found]
            side = match[1] or match[3] or (above[-1][1] or above[-1][2] if above else "")
            value = _value(known[match[2]], ".".join(path), words)
            if value is not None:
                yield known[match[2]], side[:1], value, path


def _is_single(words: Sequence[Any]) -> bool:
    """Return whether words are one value, which may have a unit."""
    return len(words) == 1 or (
        len(words) == 2 and _numbers(words[:1]) is not None and _numbers(words[1:]) is None
    )


def _leaves(tree: Tree, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, dict) and "data" in tree and {"cols", "sizes"} & set(tree):
        sizes = _flat(tree["sizes"]) if "sizes" in tree else [tree["rows"], tree["cols"]]
        data, count = _flat(tree["data"]), math.prod(map(int, sizes))
        if len(data) != count:
            raise UsageError(f"{'.'.join(path)} has {len(data)} numbers in place of {count}")
        yield path, data
    elif isinstance(tree, dict):
        for name, value in tree.items():
            yield from _leaves(value, (*path, *str(name).split(".")))
    elif isinstance(tree, list) and any(isinstance(each, dict) for each in tree):
        yield from _leaves({str(i): each for i, each in enumerate(tree)}, path)
    else:
        yield path, tree


def _flat(value: Any) -> list[Any]:
    """Return the words and numbers of a text or of nested lists."""
    if isinstance(value, str):
        return [word for word in re.split(r"[\s\[\](),;]+", value) if word]
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
        return [word for each in value for word in _flat(each)]
    return [value]


def _value(name: str, path: str, words: list[Any]) -> Any:
    """Return the value of a field, None for text where numbers belong."""
    if name in _TEXTS:
        return _plain(str(words[0]))
    if name in _MATRICES and all(_numbers([word]) is None for word in words):
        return None
    for word in words:
        number = _numbers([word])
        if number is None or not np.isfinite(number[0]):
            raise UsageError(f"{path} has {str(word)[:20]!r} in place of a number")
    numbers = np.array([float(word) for word in words])
    if name in _SCALARS:
        return float(numbers[0])
    if len(numbers) not in _COUNTS[name]:
        raise UsageError(f"{path} has {len(numbers)} numbers, which do not make a matrix {name}")
    return numbers
