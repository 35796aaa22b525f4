"""Calibrate two cameras: find views of a board, fit, judge, write."""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from crestereo.alignment import Matches, detect_swap, find_matches
from crestereo.app.align import advise
from crestereo.app.calibration_pairs import board_pairs, images_in, spread_pairs
from crestereo.app.output import read_state, save_image
from crestereo.app.pipeline import ClosedError
from crestereo.app.render import View as Picture
from crestereo.app.script import say, summary
from crestereo.app.settings import CalibrateSettings
from crestereo.app.window import Window, open_window
from crestereo.boards import Board, View, board_pdf, board_png, find_view
from crestereo.calibration import (
    FISHEYE,
    Rig,
    StereoCalibration,
    calibrate_stereo,
    covered_cells,
    good_views,
    model_name,
    tilt_deg,
    write_calibration,
)
from crestereo.camera import RawCamera, Rectification
from crestereo.errors import SourceError, UsageError
from crestereo.formats import decode_image, to_bgr8, write_bytes
from crestereo.preprocess import resize_image
from crestereo.self_calibration import SelfCalibration, self_calibrate
from crestereo.types import BGRImage, StereoPair

MOST_VIEWS = 80  # more do not improve a fit
LIVE_VIEWS = 60  # found by cameras before the fit
MATCHED_PAIRS = 32  # of a calibration without a board
ORDER_EVERY = 4  # pairs: the left/right order is detected
STILL = 0.001  # of the image width: motion from frame to frame of a board that is held still
MOST_TILT_DEG = 70
SHOWN_PX = 1280  # width of what the window shows
TITLE = "CREStereo: views of the board"
SAVE_S = 5.0  # between two copies of the points found so far

Values = NDArray[Any]


@dataclass
class Findings:
    """Views found so far, kept in a file next to the calibration."""

    key: str  # sources and board
    path: Path
    done: int = 0  # pairs that were searched
    shape: tuple[int, int] = (0, 0)
    views: list[View] = field(default_factory=list)
    example: tuple[float, bytes] = (0.0, b"")  # area of the board, JPEG of the pair
    moving: int = 0  # pairs left out because the board moved
    saved_s: float = 0.0

    def save(self) -> None:
        """Write what was found, for a run that continues."""
        state = self.done, self.shape, self.views, self.example
        write_bytes(self.path, pickle.dumps((self.key, state)))
        self.saved_s = time.monotonic()

    def load(self) -> None:
        """Take over what an earlier run has found."""
        try:
            key, state = read_state(self.path)
        except SourceError:
            return  # none, or damaged: searched again
        if key == self.key:
            self.done, self.shape, self.views, self.example = state
        if self.done:
            say(f"{self.done} pairs were searched before, {len(self.views)} show the board")

    def add(self, pair: StereoPair, before: BGRImage | None, board: Board) -> None:
        """Search the board in a pair; leave out a moving one."""
        self.done += 1
        shape = pair.left.shape[:2]
        if self.shape not in ((0, 0), shape):
            raise SourceError(
                f"{pair.name} is {shape[1]}x{shape[0]} px, those before are "
                f"{self.shape[1]}x{self.shape[0]} px; calibrate images of one size"
            )
        self.shape = shape
        view = find_view(board, pair.left, pair.right, pair.name)
        if view is None:
            return
        if before is not None and _moves(view, pair.left, before):
            self.moving += 1
            return
        self.views.append(view)
        area = float(np.ptp(view.left, axis=0).prod())
        if area > self.example[0]:
            both = cv2.imencode(".jpg", np.hstack([pair.left, pair.right]))[1]
            self.example = area, both.tobytes()


def _moves(view: View, image: BGRImage, before: BGRImage) -> bool:
    """Return whether the board is elsewhere in the image before."""
    grey = [cv2.cvtColor(each, code=cv2.COLOR_BGR2GRAY) for each in (image, before)]
    track: Any = cv2.calcOpticalFlowPyrLK
    moved, found, _ = track(*grey, view.left, None)
    apart_px = np.abs(moved - view.left)[found.ravel() == 1]
    return not len(apart_px) or float(apart_px.mean()) > STILL * image.shape[1]


def run_calibrate(sources: Sequence[str], settings: CalibrateSettings) -> None:
    """Calibrate the cameras that recorded the sources, or draw the board."""
    board = Board(settings.board, *settings.board_shape, settings.square_mm / 1000)
    if settings.print_board is not None:
        _print_board(Path(settings.print_board), board, settings)
        return
    if not sources:
        raise UsageError(
            "name the left and the right folder or video of the board, or one that holds both; "
            "--print-board board.pdf draws a board"
        )
    path = Path(settings.output)
    if path.exists() and not settings.overwrite:
        raise UsageError(f"{path} exists already; name another --output or give --overwrite")
    if settings.self_calibrate:
        _calibrate_without_board(sources, settings, path)
    else:
        _calibrate_with_board(sources, settings, path, board)


def _calibrate_with_board(
    sources: Sequence[str], settings: CalibrateSettings, path: Path, board: Board
) -> None:
    findings = Findings(_key(sources, settings), _named(path, "_corners.bin"))
    findings.load()
    try:
        _search(sources, settings, board, findings)
    finally:
        if findings.done:
            findings.save()
    views = _chosen_views(findings)
    if views:
        coverage = _coverage(views, findings.shape, board.points)
        coverage_path = save_image(_named(path, "_coverage.png"), coverage)
        say(f"saved {coverage_path} (where the board was in both images, and how it was tilted)")
    found = calibrate_stereo(views, board.points, findings.shape, say)
    _report(found)
    if findings.example[0] > 0:
        both = to_bgr8(decode_image(findings.example[1], findings.path))[0]
        width = findings.shape[1]
        _save_rectified(found.rig, both[:, :width], both[:, width:], path)
    if found.problems:
        raise UsageError(f"no calibration was written: {'; '.join(found.problems)}")
    write_calibration(path, found.rig)
    findings.path.unlink(missing_ok=True)  # cameras that moved since must be searched anew
    say(f"saved {path} (calibration: --calibration {path} gives metres)")
    summary(_record(found, path))


def _chosen_views(findings: Findings) -> list[View]:
    """Return the views that are fitted, and report how many there are."""
    views = good_views(findings.views, findings.shape[1])
    say(
        f"{findings.done} pairs searched: {len(findings.views)} show the board in both images, "
        f"{len(views)} of them sharp and at different poses"
    )
    if findings.moving:
        say(
            f"{findings.moving} more were left out: the board moved, and the cameras differ in time"
        )
    most = min(MOST_VIEWS, len(views))
    return [views[i] for i in np.linspace(0, len(views) - 1, most).astype(int)]


def _calibrate_without_board(
    sources: Sequence[str], settings: CalibrateSettings, path: Path
) -> None:
    shape = (0, 0)
    matches: list[Matches] = []
    orders: list[int] = []
    pairs = spread_pairs(sources, settings, MATCHED_PAIRS)
    for pair in tqdm(pairs, unit=" pairs", disable=not sys.stderr.isatty()):
        if shape not in ((0, 0), pair.left.shape[:2]):
            raise SourceError(f"{pair.name} has another size than those before; use images of one")
        shape = pair.left.shape[0], pair.left.shape[1]
        if len(matches) % ORDER_EVERY == 0:
            orders.append(advise("left/right order", partial(_order, pair), 0))
        matches.append(find_matches(pair.left, pair.right))
    say(f"{len(matches)} pairs, {sum(map(len, matches))} matches")
    found = self_calibrate(matches, shape)
    _report_rotation(found)
    _save_rectified(found.rig, pair.left, pair.right, path)
    problems = [found.problem] if found.problem else []
    if sum(orders) < 0:
        problems.append("the first view is the right one: exchange the two")
    if problems:
        raise UsageError(f"no calibration was written: {'; '.join(problems)}")
    write_calibration(path, found.rig, relative=True)
    say(
        f"saved {path} (--calibration {path} rectifies; depth stays relative: only a calibration "
        "with a board gives metres)"
    )
    summary(
        {"calibration": str(path), "rotation_deg": found.angles_deg, "zoom": found.zoom,
         "vertical_disparity_px": found.after_px, "pairs": found.pairs}
    )  # fmt: skip


def _order(pair: StereoPair) -> int:
    """Return 1 for left first, -1 for exchanged, 0 for undetermined."""
    swapped = detect_swap(pair.left, pair.right).swapped
    return 0 if swapped is None else 1 - 2 * swapped


def _report_rotation(found: SelfCalibration) -> None:
    pitch, yaw, roll = found.angles_deg
    say(
        f"{found.pairs} pairs used; the right camera is turned by {pitch:+.2f} degrees in pitch, "
        f"{yaw:+.2f} in yaw and {roll:+.2f} in roll, zoom {found.zoom:.3f}\n"
        "matches in pairs that were not fitted differ in rows by "
        f"{found.before_px[0]:.2f} px (median), {found.before_px[1]:.2f} px (95 %) as recorded, "
        f"by {found.after_px[0]:.2f} px, {found.after_px[1]:.2f} px after rectification"
    )


def _print_board(path: Path, board: Board, settings: CalibrateSettings) -> None:
    if path.suffix.lower() not in (".pdf", ".png"):
        raise UsageError(f"{path} must end in .pdf or .png")
    if path.exists() and not settings.overwrite:
        raise UsageError(f"{path} exists already; name another file or give --overwrite")
    write_bytes(path, board_pdf(board) if path.suffix.lower() == ".pdf" else board_png(board))
    rows, columns = settings.board_shape
    say(
        f"saved {path} ({board.kind} {rows}x{columns}, squares of {settings.square_mm:g} mm): "
        "print it at 100 %, glue it onto something flat, and give --square-mm as measured"
    )


def _named(path: Path, ending: str) -> Path:
    return path.with_name(path.stem + ending)


def _key(sources: Sequence[str], settings: CalibrateSettings) -> str:
    """Return what the points found depend on."""
    marks = [_mark(Path(source)) for source in sources]
    names = [str(Path(source).absolute()) for source in sources]
    how = settings.board, settings.board_shape, settings.layout, settings.sync
    return repr((names, marks, how))


def _mark(path: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time of each file."""
    files = images_in(path) if path.is_dir() else [path] if path.exists() else []
    status = [(each.name, each.stat()) for each in files]
    return [(name, each.st_size, each.st_mtime_ns) for name, each in status]


def _search(
    sources: Sequence[str], settings: CalibrateSettings, board: Board, findings: Findings
) -> None:
    """Search the board in all pairs that were not searched before."""
    count, live, pairs = board_pairs(sources, settings, board)
    rest = islice(pairs, 0 if live else findings.done, None)
    if not live and findings.done == count:
        return
    begun = Picture(np.zeros((360, SHOWN_PX, 3), np.uint8), note="searching the board")
    with (
        open_window(TITLE, begun, settings.window) as window,
        tqdm(total=count, initial=findings.done, unit=" pairs",
             disable=not sys.stderr.isatty()) as bar,
    ):  # fmt: skip
        shown = None if window is None else _Shown(window, board)
        try:
            for pair, before in rest:
                findings.add(pair, before, board)
                bar.update()
                bar.set_postfix_str(f"{len(findings.views)} with the board", refresh=False)
                if shown is not None:
                    shown.update(pair, findings)
                if time.monotonic() - findings.saved_s > SAVE_S:
                    findings.save()
                if live and len(good_views(findings.views, findings.shape[1])) >= LIVE_VIEWS:
                    break
        except ClosedError:
            say("window closed: calibrating with the views found so far")
        except KeyboardInterrupt:  # how a live search is ended
            if not live:
                raise


class _Shown:
    """Window with the searched pair and what the board has covered."""

    def __init__(self, window: Window, board: Board) -> None:
        self._window, self._board = window, board
        self._drawn: tuple[int, BGRImage] = (-1, np.zeros((1, 1, 3), np.uint8))
        window.set_words("", "q: end the search and calibrate")

    def update(self, pair: StereoPair, findings: Findings) -> None:
        """Show a pair that was searched; raise ClosedError where the user leaves."""
        views, shape = findings.views, findings.shape
        if self._drawn[0] != len(views):
            self._drawn = len(views), _coverage(views, shape, self._board.points)
        image = self._drawn[1].copy()
        both = np.hstack((pair.left, pair.right))
        part = image[:, : both.shape[1]]
        cv2.addWeighted(both, 0.6, part, 0.8, 0.0, dst=part)
        scale = SHOWN_PX / image.shape[1]
        small = resize_image(image, (round(image.shape[0] * scale), SHOWN_PX))
        self._window.show(Picture(small, note=f"views of the board: {len(views)}"))
        self._window.poll()


def _report(found: StereoCalibration) -> None:
    """Print the errors of the views, and what they mean."""
    say("\nview                       left px  right px  rows px")
    for view in found.views:
        errors = f"{view.left_px:7.2f}  {view.right_px:8.2f}  {view.rows_px:7.2f}"
        say(f"{view.name[-26:]:26} {errors}{'' if view.used else '  dropped'}")
    rig = found.rig
    for model, error in found.held_out_px.items():
        chosen = "  <- chosen" if model == rig.model else ""
        say(f"error on views not fitted, {model_name(model)}: {error:.3f} px{chosen}")
    dropped = sum(not view.used for view in found.views)
    focal = rig.left[0][0, 0], rig.right[0][0, 0]
    turn = np.degrees(np.linalg.norm(cv2.Rodrigues(rig.rotation)[0]))
    say(
        f"{len(found.views) - dropped} views used, {dropped} dropped\n"
        f"focal length {focal[0]:.1f} px left, {focal[1]:.1f} px right; baseline "
        f"{1000 * rig.baseline_m:.1f} mm; the cameras are turned {turn:.1f} degrees apart\n"
        f"reprojection error {found.rms_px:.2f} px; after rectification a point and its match "
        f"differ by {found.rows_px[0]:.2f} px in rows (median), {found.rows_px[1]:.2f} px (95 %)\n"
        f"the board covered {100 * found.covered[0]:.0f} % of the left and "
        f"{100 * found.covered[1]:.0f} % of the right image"
    )


def _coverage(views: Sequence[View], shape: tuple[int, int], board_points: Values) -> BGRImage:
    """Draw the points of all views, and the tilts of the board."""
    colours = [_hue(number / len(views)) for number in range(len(views))]
    parts = []
    for points in ([view.left for view in views], [view.right for view in views]):
        cells = np.where(covered_cells(points, shape), 70, 25).astype(np.uint8)
        grey = cv2.resize(cells, shape[::-1], interpolation=cv2.INTER_NEAREST)
        image = np.repeat(grey[..., None], 3, axis=2)
        for colour, each in zip(colours, points, strict=True):
            for x, y in each.round().astype(int):
                cv2.circle(image, (int(x), int(y)), 2, colour, thickness=-1)
        parts.append(image)
    side = shape[0]
    dial = np.full((side, side, 3), 25, np.uint8)
    middle, degree = side // 2, side / 2 / MOST_TILT_DEG
    for angle in range(20, MOST_TILT_DEG, 20):
        cv2.circle(dial, (middle, middle), round(angle * degree), (90, 90, 90))
        place = middle + 4, middle - round(angle * degree) - 4
        cv2.putText(dial, str(angle), place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (160, 160, 160))
    for colour, view in zip(colours, views, strict=True):
        x, y = degree * tilt_deg(view, board_points, shape) + middle
        cv2.circle(dial, (round(x), round(y)), 5, colour, thickness=-1)
    return np.hstack([*parts, dial])


def _hue(share: float) -> tuple[int, ...]:
    pixel = np.array([[[share * 180, 200, 255]]]).astype(np.uint8)
    return tuple(cv2.cvtColor(pixel, code=cv2.COLOR_HSV2BGR)[0, 0].tolist())


def _save_rectified(rig: Rig, left: BGRImage, right: BGRImage, path: Path) -> None:
    """Save a rectified pair with lines along its rows."""
    r1, r2, p1, p2, _ = rig.rectification()
    cameras = RawCamera(*rig.left, r1, p1[:, :3]), RawCamera(*rig.right, r2, p2[:, :3])
    maps = Rectification(*cameras, rig.shape, rig.model == FISHEYE).maps
    sides = [
        cv2.remap(image, *each, interpolation=cv2.INTER_LINEAR)
        for image, each in zip((left, right), maps, strict=True)
    ]
    image = np.asarray(np.hstack(sides), np.uint8)
    for row in range(0, image.shape[0], image.shape[0] // 16):
        image[row] = 0, 255, 0
    saved = save_image(_named(path, "_rectified.png"), image)
    say(f"saved {saved} (a rectified pair: a point is on the same line in both images)")


def _record(found: StereoCalibration, path: Path) -> dict[str, Any]:
    rig = found.rig
    return {
        "calibration": str(path),
        "model": model_name(rig.model),
        "focal_px": [float(side[0][0, 0]) for side in (rig.left, rig.right)],
        "baseline_m": rig.baseline_m,
        "reprojection_px": found.rms_px,
        "vertical_disparity_px": list(found.rows_px),
        "views": sum(view.used for view in found.views),
        "dropped": [view.name for view in found.views if not view.used],
    }
