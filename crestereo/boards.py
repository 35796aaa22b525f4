"""Calibration boards: points, detection in an image, drawing to scale."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crestereo.errors import UsageError
from crestereo.preprocess import resize_image
from crestereo.types import BGRImage

Values = NDArray[Any]

KINDS = "chessboard", "charuco", "aprilgrid"
MARKER_SHARE = 0.75  # of the side of a ChArUco square
SPACING_SHARE = 0.3  # of the side of a tag, between the tags of an AprilGrid
TAG_BORDER_BITS = 2  # of Kalibr's AprilGrid
LEAST_POINTS = 12  # in one image
SEARCH_WIDTH_PX = 960  # of the copy in which a chessboard is searched
_A4_M = 0.210, 0.297
_MARGIN_M = 0.008
_INCH_M = 0.0254
_DPI = 300


@dataclass(frozen=True)
class View:
    """Points of the board in both images: indices (N,), pixels (N, 2)."""

    ids: Values
    left: Values
    right: Values
    name: str = ""
    sharpness: float = 1.0


@dataclass(frozen=True)
class Board:
    """Calibration board."""

    kind: str  # one of `KINDS`
    rows: int  # inner corners of a chessboard, squares of a ChArUco board, tags of an AprilGrid
    columns: int
    square_m: float  # side of a square or of a tag [m]

    def __post_init__(self) -> None:
        if min(self.rows, self.columns) < 2 or max(self.rows, self.columns) > 50:
            raise UsageError(
                f"a board has 2 to 50 rows and columns, not {self.rows}x{self.columns}"
            )
        if not 0.001 <= self.square_m <= 2:
            raise UsageError(
                f"a square of {1000 * self.square_m:g} mm is doubtful; give its side in millimetres"
            )

    @cached_property
    def points(self) -> Values:
        """Return the points on the board [m], (N, 3) float32."""
        if self.kind == "aprilgrid":
            corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
            flat = (self._tag_places[:, None] + corners * self.square_m).reshape(-1, 2)
        else:
            more = int(self.kind == "chessboard")
            inner = np.mgrid[1 : self.columns + more, 1 : self.rows + more]
            flat = inner.T.reshape(-1, 2) * self.square_m
        return np.column_stack([flat, np.zeros(len(flat))]).astype(np.float32)

    @property
    def size_m(self) -> tuple[float, float]:
        """Return width and height of the pattern [m]."""
        if self.kind == "aprilgrid":
            step, gap = self._step_m, self._gap_m
            return self.columns * step + gap, self.rows * step + gap
        more = int(self.kind == "chessboard")
        return (self.columns + more) * self.square_m, (self.rows + more) * self.square_m

    @property
    def _gap_m(self) -> float:
        return self.square_m * SPACING_SHARE

    @property
    def _step_m(self) -> float:
        return self.square_m * (1 + SPACING_SHARE)

    @property
    def _tag_places(self) -> Values:
        """Return the upper left corners of the tags, numbered as by Kalibr."""
        column, row = np.mgrid[: self.columns, : self.rows].T.reshape(-1, 2).T
        return np.stack([column, self.rows - 1 - row], axis=1) * self._step_m + self._gap_m

    @cached_property
    def _charuco(self) -> cv2.aruco.CharucoBoard:
        words = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_1000)
        side = self.square_m
        return cv2.aruco.CharucoBoard((self.columns, self.rows), side, MARKER_SHARE * side, words)

    @cached_property
    def _tags(self) -> cv2.aruco.Dictionary:
        return cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)

    def find(self, image: BGRImage, *, rough: bool = False) -> tuple[Values, Values] | None:
        """Return indices into `points` and pixels (N, 2) of the visible ones.

        None where they are too few. `rough` is faster.
        """
        grey = cv2.cvtColor(image, code=cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
        if self.kind == "chessboard":
            return self._find_chessboard(grey, rough)
        found = self._find_charuco(grey) if self.kind == "charuco" else self._find_tags(grey)
        return found if found is not None and len(found[0]) >= LEAST_POINTS else None

    def _find_chessboard(self, grey: Values, rough: bool) -> tuple[Values, Values] | None:
        scale = max(1.0, grey.shape[1] / SEARCH_WIDTH_PX)
        small = resize_image(grey, (round(grey.shape[0] / scale), round(grey.shape[1] / scale)))
        flags = cv2.CALIB_CB_NORMALIZE_IMAGE | (0 if rough else cv2.CALIB_CB_ACCURACY)
        shape = self.columns, self.rows
        found, corners = cv2.findChessboardCornersSB(small, shape, flags=flags)
        if not found:
            return None
        corners = corners.reshape(-1, 2)
        if scale > 1:
            corners = _refined(grey, (corners + 0.5) * scale - 0.5, shape)
        return np.arange(len(corners)), np.asarray(corners, np.float32)

    def _find_charuco(self, grey: Values) -> tuple[Values, Values] | None:
        corners, ids, _, _ = cv2.aruco.CharucoDetector(self._charuco).detectBoard(grey)
        if ids is None or len(ids) == 0:
            return None
        return np.ravel(ids), np.asarray(corners, np.float32).reshape(-1, 2)

    def _find_tags(self, grey: Values) -> tuple[Values, Values] | None:
        options = cv2.aruco.DetectorParameters()
        options.markerBorderBits = TAG_BORDER_BITS
        tags, numbers, _ = cv2.aruco.ArucoDetector(self._tags, options).detectMarkers(grey)
        known = [
            (int(number), np.reshape(tag, (4, 2)))
            for number, tag in zip([] if numbers is None else np.ravel(numbers), tags, strict=True)
            if number < self.rows * self.columns
        ]
        if 4 * len(known) < LEAST_POINTS:
            return None
        ids = np.concatenate([4 * number + np.arange(4) for number, _ in known])
        # Printed tags may be turned: the turn that fits the grid is the one of this board.
        turned = [np.concatenate([np.roll(tag, k, axis=0) for _, tag in known]) for k in range(4)]
        corners = min(turned, key=lambda each: _homography_error(self.points[ids, :2], each))
        if _homography_error(self.points[ids, :2], corners) > 0.1 * _side_px(corners):
            return None
        window = max(2, round(0.12 * _side_px(corners)))
        return ids, _subpixel(grey, corners.astype(np.float32), window)

    def black_rectangles(self) -> Values:
        """Return black rectangles: x, y, width, height [m], (N, 4)."""
        side = self.square_m
        if self.kind == "aprilgrid":
            gap = self._gap_m
            grid = np.mgrid[: self.columns + 1, : self.rows + 1].T.reshape(-1, 2) * self._step_m
            found = [[x, y, gap, gap] for x, y in grid]
            for tag, place in enumerate(self._tag_places):
                found += _cells(self._tags, tag, place, side, TAG_BORDER_BITS)
            return np.array(found)
        width, height = (round(length / side) for length in self.size_m)
        squares = [(x, y) for y in range(height) for x in range(width)]
        found = [[x * side, y * side, side, side] for x, y in squares if (x + y) % 2 == 0]
        if self.kind == "charuco":
            board = self._charuco
            for number, corners in zip(np.ravel(board.getIds()), board.getObjPoints(), strict=True):
                place, own = np.asarray(corners)[0, :2], MARKER_SHARE * side
                found += _cells(board.getDictionary(), int(number), place, own, 1)
        return np.array(found)


def _cells(words: Any, number: int, place: Values, side_m: float, border: int) -> list[list[float]]:
    """Return the black cells of a marker, row by row."""
    count = words.markerSize + 2 * border
    bits = cv2.aruco.generateImageMarker(words, number, count, borderBits=border) == 0
    cell = side_m / count
    found = []
    for row, line in enumerate(bits):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
        for begin, end in edges.reshape(-1, 2):
            x, y = float(place[0]) + begin * cell, float(place[1]) + row * cell
            found.append([x, y, (end - begin) * cell, cell])
    return found


def _side_px(corners: Values) -> float:
    """Return the median side of tags whose corners follow one another."""
    tags = corners.reshape(-1, 4, 2)
    return float(np.median(np.linalg.norm(tags - np.roll(tags, 1, axis=1), axis=2)))


def _homography_error(flat: Values, corners: Values) -> float:
    # A lens bends lines: the middle error of a robust fit judges the order, not the lens.
    homography, _ = cv2.findHomography(flat, corners, method=cv2.LMEDS)
    if homography is None:
        return np.inf
    seen = cv2.perspectiveTransform(flat[None].astype(np.float64), homography)[0]
    return float(np.median(np.linalg.norm(seen - corners, axis=1)))


def _refined(grey: Values, corners: Values, shape: tuple[int, int]) -> Values:
    """Refine the corners of a chessboard found in a smaller copy."""
    grid = corners.reshape(shape[1], shape[0], 2)
    least = min(float(np.linalg.norm(np.diff(grid, axis=axis), axis=2).min()) for axis in (0, 1))
    return _subpixel(grey, corners.astype(np.float32), int(np.clip(0.3 * least, 2, 15)))


def _subpixel(grey: Values, corners: Values, window: int) -> Values:
    criteria = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 0.001
    cv2.cornerSubPix(grey, corners, winSize=(window, window), zeroZone=(-1, -1), criteria=criteria)
    return corners


def find_view(board: Board, left: BGRImage, right: BGRImage, name: str = "") -> View | None:
    """Find the points of a board in both images; None for few."""
    seen = board.find(left)
    other = None if seen is None else board.find(right)
    if seen is None or other is None:
        return None
    ids, a, b = np.intersect1d(seen[0], other[0], return_indices=True)
    if len(ids) < min(LEAST_POINTS, len(board.points)):
        return None
    points = seen[1][a], other[1][b]
    if board.kind == "chessboard":
        points = points[0], _same_order(*points)
    sharpness = min(_sharpness(*side) for side in zip((left, right), points, strict=True))
    return View(ids, *points, name, sharpness)


def _same_order(left: Values, right: Values) -> Values:
    """Return the right corners in the order of the left ones.

    A board that looks the same upside down may be numbered from either end.
    """
    centred = left - left.mean(axis=0)
    orders = right, right[::-1]
    return min(orders, key=lambda each: float(np.abs(each - each.mean(axis=0) - centred).sum()))


def _sharpness(image: BGRImage, points: Values) -> float:
    """Return the mean gradient of the board's part over its contrast."""
    (x0, y0), (x1, y1) = points.min(axis=0).astype(int), points.max(axis=0).astype(int) + 1
    grey = cv2.cvtColor(image[max(y0, 0) : y1, max(x0, 0) : x1], code=cv2.COLOR_BGR2GRAY)
    low, high = np.percentile(grey, [5, 95])
    steps = np.abs(np.diff(grey.astype(np.float32), axis=1))
    return float(np.percentile(steps, 99.5) / max(high - low, 1.0))


def draw_board(board: Board, per_metre: float, margin_m: float = 0.0) -> NDArray[np.uint8]:
    """Return the board as a grey image with a white margin."""
    width, height = (round((side + 2 * margin_m) * per_metre) for side in board.size_m)
    image = np.full((height, width), 255, np.uint8)
    for x, y, w, h in board.black_rectangles():
        x0, x1, y0, y1 = (round((value + margin_m) * per_metre) for value in (x, x + w, y, y + h))
        image[y0:y1, x0:x1] = 0
    return image


def _page_m(board: Board) -> tuple[float, float]:
    """Return width and height of the page, A4 if possible."""
    width, height = (side + 2 * _MARGIN_M for side in board.size_m)
    if min(width, height) <= _A4_M[0] and max(width, height) <= _A4_M[1]:
        return _A4_M if width <= height else _A4_M[::-1]
    return width, height


def board_png(board: Board) -> bytes:
    """Return a page with the board as PNG of 300 dpi."""
    per_metre = _DPI / _INCH_M
    pattern = draw_board(board, per_metre)
    width, height = (round(side * per_metre) for side in _page_m(board))
    page = np.full((height, width), 255, np.uint8)
    y, x = (height - pattern.shape[0]) // 2, (width - pattern.shape[1]) // 2
    page[y : y + pattern.shape[0], x : x + pattern.shape[1]] = pattern
    file = io.BytesIO()
    Image.fromarray(page).save(file, format="png", dpi=(_DPI, _DPI))
    return file.getvalue()


def board_pdf(board: Board) -> bytes:
    """Return a page with the board as PDF: vectors, to scale."""
    point = 72 / _INCH_M
    width, height = (side * point for side in _page_m(board))
    left, top = (
        (page - side * point) / 2 for page, side in zip((width, height), board.size_m, strict=True)
    )
    lines = [
        f"{left + x * point:.4f} {height - top - (y + h) * point:.4f} "
        f"{w * point:.4f} {h * point:.4f} re"
        for x, y, w, h in board.black_rectangles()
    ]
    content = "\n".join(["0 g", *lines, "f"]).encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.4f} {height:.4f}] "
        "/Contents 4 0 R /Resources << >> >>".encode(),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
    ]
    file, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    return b"%sxref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\n" % (
        file, count, table, count,
    ) + b"startxref\n%d\n%%%%EOF\n" % len(file)  # fmt: skip
