"""Calibrate two cameras: find views of a board, fit, judge, write."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from crestereo.app.images import open_image
from crestereo.app.output import save_image
from crestereo.app.script import say, summary, warn
from crestereo.app.settings import OFF, CalibrateSettings
from crestereo.app.sources import parse_image, parse_video
from crestereo.app.stereo_video import OneVideo, PairStream, TwoVideos
from crestereo.app.video import Video, open_video
from crestereo.boards import Board, View, board_pdf, board_png, find_view
from crestereo.calibration import (
    FISHEYE,
    StereoCalibration,
    board_centre,
    calibrate_stereo,
    covered_cells,
    good_views,
    model_name,
    track_offset_s,
    write_calibration,
)
from crestereo.errors import SourceError, UsageError
from crestereo.formats import decode_image, to_bgr8, write_bytes
from crestereo.layouts import parse_layout, split_frame
from crestereo.preprocess import resize_image
from crestereo.types import BGRImage, StereoPair

MOST_VIEWS = 80  # more do not improve a fit
LIVE_VIEWS = 60  # found by cameras before the fit
WINDOW_S = 0.3  # of a video, of which the stillest pair is searched
STILL = 0.0005  # of the image width: motion from frame to frame of a board that is held still
TRACKED_S, TRACKED_PX = 20.0, 640  # time and width in which the offset is measured
SAVE_S = 5.0  # between two copies of the points found so far
_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm")

Values = NDArray[Any]
SearchedPair: TypeAlias = tuple[StereoPair, BGRImage | None]
"""A pair, and the left image before it where the cameras are not synchronized."""


@dataclass
class Findings:
    """Views found so far, kept in a file next to the calibration."""

    key: str  # sources and board
    path: Path
    done: int = 0  # pairs that were searched
    shape: tuple[int, int] = (0, 0)
    views: list[View] = field(default_factory=list)
    example: tuple[float, Values] = (0.0, np.zeros(0, np.uint8))  # area, JPEG of a pair
    moving: int = 0  # pairs left out because the board moved
    saved_s: float = 0.0

    def save(self) -> None:
        """Write what was found, for a run that continues."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        views = self.views
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(view, name) for view in views]) if views else []
            for name in ("ids", "left", "right")
        }
        arrays |= {"counts": [len(view.ids) for view in views], "key": self.key, "done": self.done}
        arrays |= {name: [getattr(v, name) for v in views] for name in ("name", "sharpness")}
        arrays |= {"shape": self.shape, "area": self.example[0], "example": self.example[1]}
        partial = self.path.with_suffix(".part.npz")
        np.savez_compressed(partial, **arrays)
        partial.replace(self.path)
        self.saved_s = time.monotonic()

    def load(self) -> None:
        """Take over what an earlier run of the same sources and board has found."""
        try:
            with np.load(self.path) as file:
                if str(file["key"]) != self.key:
                    return
                ends = np.cumsum(file["counts"])[:-1].astype(int)
                split = [np.split(file[name], ends) for name in ("ids", "left", "right")]
                rest = file["name"].tolist(), file["sharpness"].tolist()
                columns = zip(*split, *rest, strict=True) if rest[0] else ()
                self.views = [View(*column) for column in columns]
                self.done = int(file["done"])
                self.shape = tuple(map(int, file["shape"]))  # type: ignore[assignment]
                self.example = float(file["area"]), file["example"]
        except (OSError, ValueError, KeyError, EOFError):
            return  # none, or damaged: searched again
        if self.done:
            say(f"{self.done} pairs were searched before, {len(self.views)} show the board")

    def add(self, pair: StereoPair, before: BGRImage | None, board: Board) -> None:
        """Search the board in a pair; leave out one that moves between unsynchronized frames."""
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
        if before is not None and _moves(board, view, before):
            self.moving += 1
            return
        self.views.append(view)
        area = float(np.ptp(view.left, axis=0).prod())
        if area > self.example[0]:
            both = cv2.imencode(".jpg", np.hstack([pair.left, pair.right]))[1]
            self.example = area, np.asarray(both)


def _moves(board: Board, view: View, before: BGRImage) -> bool:
    """Return whether the board is elsewhere in the image before."""
    earlier = board.find(before)
    if earlier is None:
        return True
    _, a, b = np.intersect1d(view.ids, earlier[0], return_indices=True)
    if not len(a):
        return True
    apart_px = np.abs(view.left[a] - earlier[1][b]).mean()
    return bool(apart_px > STILL * before.shape[1])


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
    findings = Findings(_key(sources, settings), _named(path, "_corners.npz"))
    findings.load()
    try:
        _search(sources, settings, board, findings)
    finally:
        if findings.done:
            findings.save()
    views = good_views(findings.views, findings.shape[1])
    say(
        f"{findings.done} pairs searched: {len(findings.views)} show the board in both images, "
        f"{len(views)} of them sharp and at different poses"
    )
    if findings.moving:
        say(
            f"{findings.moving} more were left out: the board moved, and the cameras differ in time"
        )
    if len(views) > MOST_VIEWS:
        views = [views[i] for i in np.linspace(0, len(views) - 1, MOST_VIEWS).astype(int)]
    if views:
        coverage = save_image(_named(path, "_coverage.png"), _coverage(views, findings.shape))
        say(f"saved {coverage} (where the board was in both images)")
    found = calibrate_stereo(views, board.points, findings.shape, say)
    _report(found)
    if findings.example[0] > 0:
        lines = save_image(_named(path, "_rectified.png"), _rectified(found, findings))
        say(f"saved {lines} (a rectified pair: a point is on the same line in both images)")
    if found.problems:
        raise UsageError(f"no calibration was written: {'; '.join(found.problems)}")
    write_calibration(path, found.rig)
    say(f"saved {path} (calibration: --calibration {path} gives metres)")
    summary(_record(found, path))


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
    status = [Path(s).stat() if Path(s).exists() else None for s in sources]
    marks = [(s.st_size, s.st_mtime_ns) if s and Path(n).is_file() else None
             for s, n in zip(status, sources, strict=True)]  # fmt: skip
    names = [str(Path(source).absolute()) for source in sources]
    how = settings.board, settings.board_shape, settings.layout, settings.sync
    return repr((names, marks, how))


def _search(
    sources: Sequence[str], settings: CalibrateSettings, board: Board, findings: Findings
) -> None:
    """Search the board in all pairs that were not searched before."""
    count, live, pairs = _pairs(sources, settings)
    rest = islice(pairs, 0 if live else findings.done, None)
    if not live and findings.done == count:
        return
    with tqdm(
        total=count, initial=findings.done, unit=" pairs", disable=not sys.stderr.isatty()
    ) as bar:
        for pair, before in rest:
            findings.add(pair, before, board)
            bar.update()
            bar.set_postfix_str(f"{len(findings.views)} with the board", refresh=False)
            if time.monotonic() - findings.saved_s > SAVE_S:
                findings.save()
            if live and len(good_views(findings.views, findings.shape[1])) >= LIVE_VIEWS:
                break


def _pairs(
    sources: Sequence[str], settings: CalibrateSettings
) -> tuple[int | None, bool, Iterator[SearchedPair]]:
    """Return how many pairs there are, whether they are live, and the pairs."""
    folders = [Path(source).is_dir() for source in sources]
    if all(folders):
        names = _pair_files([_images_in(Path(source)) for source in sources])
        return len(names), False, _image_pairs(names, settings)
    if any(folders):
        raise UsageError("give two folders or two videos, not one of each")
    videos = [open_video(parse_video(source), 4320) for source in sources]
    stream: PairStream
    if len(videos) == 1:
        stream = OneVideo(videos[0], videos[0].name, layout=parse_layout(settings.layout))
    else:
        left, right = videos
        stream = TwoVideos(left, right, left.name, offset_s=_offset_s(left, right, settings))
    step = max(1, round(WINDOW_S * stream.fps))
    count = None if stream.live or stream.count is None else -(-stream.count // step)
    return count, stream.live, _stillest(stream, step)


def _offset_s(left: Video, right: Video, settings: CalibrateSettings) -> float:
    """Return how much later the right video was started, by the track of the moving board."""
    if settings.sync == OFF or left.live or right.live:
        return 0.0
    say("estimating the time offset of the two videos by the moving board")
    board = Board(settings.board, *settings.board_shape, settings.square_mm / 1000)
    offset_s = track_offset_s(_track(left, board), _track(right, board))
    if np.isnan(offset_s):
        say("sync: the board moves too little to measure an offset, using 0 s")
        return 0.0
    say(f"sync: the right video was started {offset_s:+.3f} s later than the left one")
    return offset_s


def _track(video: Video, board: Board) -> Values:
    """Return time and centre of the board in the beginning of a video, (N, 3)."""
    found = []
    for frame in video.frames():
        if frame.time_s > TRACKED_S:
            break
        height, width = frame.image.shape[:2]
        small = resize_image(frame.image, (round(height * TRACKED_PX / width), TRACKED_PX))
        seen = board.find(small if width > TRACKED_PX else frame.image)
        centre = None if seen is None else board_centre(*seen, board.points)
        if centre is not None:
            found.append([frame.time_s, *centre])
    return np.array(found).reshape(-1, 3)


def _stillest(stream: PairStream, step: int) -> Iterator[SearchedPair]:
    """Yield the pair of each window of a video in which the least moves."""
    pairs = iter(stream)
    window = list(islice(pairs, step + 1))
    while len(window) > 1:
        motions = [max(map(_change, a, b)) for a, b in pairwise(map(_views, window))]
        best = int(np.argmin(motions))
        pair = replace(window[best + 1], name=f"{window[best + 1].time_s:.2f} s")
        apart = isinstance(stream, TwoVideos)
        yield pair, window[best].left if apart else None
        window = [window[-1], *islice(pairs, step)]


def _views(pair: StereoPair) -> tuple[BGRImage, BGRImage]:
    return pair.left, pair.right


def _change(image: BGRImage, other: BGRImage) -> float:
    return float(cv2.absdiff(image[::2, ::2, 1], other[::2, ::2, 1]).mean())


def _images_in(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in _IMAGES)
    if not found:
        raise SourceError(f"{folder} holds no images; give a folder of {', '.join(_IMAGES[:3])}")
    return found


def _pair_files(folders: Sequence[Sequence[Path]]) -> list[tuple[Path, ...]]:
    """Return the images of a pair: those whose names differ in nothing but the side."""
    if len(folders) == 1:
        return [(path,) for path in folders[0]]
    keyed = [{_without_side(path.stem): path for path in paths} for paths in folders]
    shared = [key for key in keyed[0] if key in keyed[1]]
    if len(shared) >= min(map(len, folders)) / 2:
        lone = sum(map(len, folders)) - 2 * len(shared)
        if lone:
            warn(f"{lone} images without a partner of the same name are left out")
        return [(keyed[0][key], keyed[1][key]) for key in shared]
    if len(folders[0]) != len(folders[1]):
        raise SourceError(
            f"the folders hold {len(folders[0])} and {len(folders[1])} images whose names do not "
            "pair them; name the two images of a pair alike"
        )
    return list(zip(*folders, strict=True))


def _without_side(stem: str) -> str:
    return re.sub(r"(?i)left|right|(?<![a-z])[lr](?![a-z])|cam(era)?_?[0-9]", "", stem)


def _image_pairs(
    names: Sequence[tuple[Path, ...]], settings: CalibrateSettings
) -> Iterator[SearchedPair]:
    layout = parse_layout(settings.layout)
    for paths in names:
        opened = [open_image(parse_image(str(path)), both_views=False) for path in paths]
        images = to_bgr8(*(each.left for each in opened))
        views = images if len(images) == 2 else split_frame(images[0], layout)
        if views[0].shape != views[1].shape:
            raise SourceError(f"{paths[0]} and {paths[-1]} differ in size; give images of one size")
        yield StereoPair(*views, paths[0].name), None


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


def _coverage(views: Sequence[View], shape: tuple[int, int]) -> BGRImage:
    """Return both images with the points of all views and the cells that they cover."""
    sides = []
    for points in ([view.left for view in views], [view.right for view in views]):
        cells = np.where(covered_cells(points, shape), 70, 25).astype(np.uint8)
        grey = cv2.resize(cells, shape[::-1], interpolation=cv2.INTER_NEAREST)
        image = np.repeat(grey[..., None], 3, axis=2)
        for number, each in enumerate(points):
            hue = np.array([[[number * 180 // len(points), 200, 255]]], np.uint8)
            colour = cv2.cvtColor(hue, code=cv2.COLOR_HSV2BGR)[0, 0].tolist()
            for x, y in each.round().astype(int):
                cv2.circle(image, (int(x), int(y)), 2, colour, thickness=-1)
        sides.append(image)
    return np.hstack(sides)


def _rectified(found: StereoCalibration, findings: Findings) -> BGRImage:
    """Return a rectified pair of the board with lines along its rows."""
    both = to_bgr8(decode_image(findings.example[1].tobytes(), findings.path))[0]
    rig, width = found.rig, findings.shape[1]
    maps = cv2.fisheye if rig.model == FISHEYE else cv2
    r1, r2, p1, p2, _ = rig.rectification()
    sides = []
    for image, camera, turn, projection in (
        (both[:, :width], rig.left, r1, p1),
        (both[:, width:], rig.right, r2, p2),
    ):
        x, y = maps.initUndistortRectifyMap(
            *camera, turn, projection, findings.shape[::-1], cv2.CV_32FC1
        )
        turned = cv2.remap(image, x, y, interpolation=cv2.INTER_LINEAR)
        sides.append(np.asarray(turned, np.uint8))
    image = np.hstack(sides)
    for row in range(0, image.shape[0], image.shape[0] // 16):
        image[row] = 0, 255, 0
    return image


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
