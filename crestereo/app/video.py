"""Open videos: files, addresses, streams and sites through PyAV, cameras through OpenCV.

Frames are upright, deinterlaced, (H, W, 3) uint8 BGR; times are those of the container.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import urlsplit

import cv2  # before av: with the libxcb of av loaded first, the first window hangs

# isort: split
import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from crestereo.app import sources
from crestereo.app.pipeline import ClosedError, Pipeline, TimeoutExceeded, call_within
from crestereo.app.script import notify, warn
from crestereo.app.sources import Kind, Source, find_streams, first_of_sequence
from crestereo.errors import SourceError
from crestereo.preprocess import resize_image
from crestereo.types import BGRImage

TIMEOUT_S = 15.0
RECONNECT_S = 30.0  # how long a stream whose connection broke is sought
_RETRY_S = 0.5
_SITE_TIMEOUT_S = 60.0
_USUAL_FPS = 25.0
_MAX_FPS = 480.0  # above it is a time base that some containers report as a rate
_LATE_FRAMES = 2.5  # some files start by a frame or two after zero
_SETTLE_S = 1.0  # decoded before a frame that is sought
_MAX_FAILURES = 3  # frames in a row that a camera may fail to give
_VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m3u8")
_NO_VIDEO = "is an image, not a video; give a numbered sequence of images as img_%06d.png"
# Types of FFmpeg's AVStereo3D that a file may declare:
_STEREO_3D = {1: "side by side", 2: "top and bottom", 3: "frame sequence", 4: "checkerboard"}
_STEREO_3D |= {6: "interlaced rows", 7: "interlaced columns"}
_ROTATIONS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


@dataclass(frozen=True)
class Frame:
    """One frame and its time [s]; live that of `time.monotonic`."""

    image: BGRImage
    time_s: float


class Video:
    """An open video; made by `open_video`."""

    source: Source  # its title is that of the site
    live: bool  # frames that are not read in time are lost
    endless = False  # live, and only a broken connection ends it
    reopen: Callable[[], Video] | None = None  # opens the same source once more
    first: BGRImage
    fps = _USUAL_FPS
    count: int | None = None  # frames that the header states, or that follow from its length
    counted = False  # the header states them
    late_s = 0.0  # length of a beginning that cannot be decoded
    skipped = 0  # frames that could not be decoded, so far
    missing = 0  # frames that did not come at the end
    tags = ""  # record of the container about its stereo layout, title included
    pixel_aspect = 1.0  # width over height of a pixel

    @property
    def name(self) -> str:
        """Return the name of the video in messages."""
        return str(self.source)

    @property
    def size(self) -> tuple[int, int]:
        """Return (width, height) [px]."""
        return self.first.shape[1], self.first.shape[0]

    def frames(self, begin_s: float = 0.0) -> Iterator[Frame]:
        """Yield the frames from a time on; live from now on."""
        raise NotImplementedError

    def frames_at(self, times_s: Sequence[float]) -> list[Frame]:
        """Return the frames shown at rising times; live the first one."""
        del times_s
        return [Frame(self.first, 0.0)]

    def close(self) -> None:
        """Release the file or camera."""
        raise NotImplementedError


class _CaptureVideo(Video):
    """A camera, or a stream that cap-from-youtube has opened, through OpenCV."""

    def __init__(self, source: Source, capture: cv2.VideoCapture) -> None:
        self.source = source
        self.live = source.kind is Kind.CAMERA
        self._capture = capture
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= _MAX_FPS else _USUAL_FPS
        first = self._read()
        if first is None:
            raise SourceError(f"{source} gives no frame; is it connected and free?")
        self.first = first

    def frames(self, begin_s: float = 0.0) -> Iterator[Frame]:
        image: BGRImage | None = self.first
        shown = 0
        while image is not None:
            time_s = shown / self.fps
            if self.live or time_s >= begin_s:
                yield Frame(image, time_s)
            shown += 1
            image = self._read()

    def close(self) -> None:
        self._capture.release()

    def _read(self) -> BGRImage | None:
        for _ in range(_MAX_FAILURES):
            done, image = False, None
            with contextlib.suppress(cv2.error):  # as some drivers raise for an unplugged camera
                done, image = self._capture.read()
            if done and image is not None:
                if image.ndim == 2:  # some cameras are grey
                    image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
                return np.asarray(image, np.uint8)
        return None


class _ContainerVideo(Video):
    """A file, an address or a stream, through PyAV."""

    def __init__(self, source: Source, container: av.container.InputContainer) -> None:
        if not container.streams.video:
            raise SourceError(f"{source} holds no video")
        self.source = source
        self._container = container
        self._stream = stream = container.streams.video[0]
        length_s = container.duration / av.time_base if container.duration else 0.0
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        self.fps = rate if 0 < rate <= _MAX_FPS else _USUAL_FPS
        self.live = source.kind is Kind.STREAM or (source.kind is Kind.WEB and length_s <= 0)
        self.endless = source.kind is Kind.STREAM or (self.live and container.size <= 0)
        self.counted = stream.frames > 0 and "matroska" not in container.format.name
        if not self.live:
            self.count = stream.frames or round(length_s * self.fps) or None
        stream.thread_type = "SLICE" if self.live else "AUTO"  # frame threads add latency
        self._two_views = False  # of MV-HEVC, one frame after the other
        if stream.codec_context.name == "hevc":
            stream.codec_context.options = {"view_ids": "-1"}  # all of them
        self._time_base = stream.time_base or Fraction(1, av.time_base)
        self._start_s = float((stream.start_time or 0) * self._time_base)
        self._deinterlacer: av.filter.Graph | None = None
        self._converter = VideoReformatter()  # one for all: each is slow to set up
        self._tags_read = False
        self._waiting: Iterator[Frame] | None = self._decoded()
        first = next(self._waiting, None)
        if first is None:
            raise SourceError(f"no frame of {source} can be decoded; convert it to H.264 in .mp4")
        self.first = first.image
        if not self.live and first.time_s > _LATE_FRAMES / self.fps:
            self.late_s = first.time_s
        self._first_s = first.time_s
        aspect = stream.sample_aspect_ratio
        self.pixel_aspect = float(aspect) if aspect else 1.0

    def frames(self, begin_s: float = 0.0) -> Iterator[Frame]:
        if begin_s > 0 and not self.live:
            yield from self._frames_from(begin_s)
            return
        following = self._waiting
        if following is None:  # `frames_at` has moved on
            self._container.seek(0)
            self.skipped = 0
            following = self._decoded()
            next(following, None)
        self._waiting = None
        last_s = self._first_s - 1 / self.fps
        delivered = 0
        for frame in chain([Frame(self.first, self._first_s)], following):
            time_s = frame.time_s if frame.time_s > last_s else last_s + 1 / self.fps
            yield Frame(frame.image, time_s)
            last_s = time_s
            delivered += 1
        if self.count is not None:
            missing = self.count - delivered - self.skipped - round(self.late_s * self.fps)
            self.missing = missing if missing > 1 else 0  # a header may count one too many

    def _frames_from(self, begin_s: float) -> Iterator[Frame]:
        self._waiting = None
        # frames right after a seek may lack those they refer to
        self._seek(max(begin_s - _SETTLE_S, 0.0))
        last_s = begin_s - 0.5 / self.fps
        for frame in self._decoded():
            if frame.time_s >= last_s:
                yield frame
                last_s = frame.time_s

    def _seek(self, time_s: float) -> None:
        with contextlib.suppress(av.error.FFmpegError):  # not seekable: what follows is taken
            offset = int((time_s + self._start_s) / self._time_base)
            self._container.seek(offset, stream=self._stream)

    def frames_at(self, times_s: Sequence[float]) -> list[Frame]:
        if self.live:
            return [Frame(self.first, self._first_s)]
        self._waiting = None
        found: list[Frame] = []
        for target_s in (max(wanted_s, 0.0) for wanted_s in times_s):
            self._seek(target_s)
            begin_s = target_s - 0.5 / self.fps
            found += islice((frame for frame in self._decoded() if frame.time_s >= begin_s), 1)
        return found

    def close(self) -> None:
        self._container.close()

    def _decoded(self) -> Iterator[Frame]:
        """Yield what can be decoded from where the container is."""
        counted = 0
        base: tuple[int | None, BGRImage] | None = None  # view that waits for the second one
        for frame in self._raw_frames():
            if frame.is_corrupt:
                self.skipped += 1
                continue
            if not self._tags_read:
                self._read_tags(frame)
            image = self._upright(frame)
            if self._two_views:
                if base is None or base[0] != frame.pts:
                    base = frame.pts, image
                    continue
                image, base = np.hstack((base[1], image)), None
            seconds = frame.time
            if seconds is None:  # a stream without times
                seconds = self._start_s + counted / self.fps
            counted += 1
            yield Frame(image, float(seconds) - self._start_s)

    def _upright(self, frame: av.VideoFrame) -> BGRImage:
        converted = self._converter.reformat(frame, format="bgr24")
        image = np.asarray(converted.to_ndarray(), np.uint8)
        turn = _ROTATIONS.get(round(frame.rotation) % 360)
        return image if turn is None else np.asarray(cv2.rotate(image, rotateCode=turn), np.uint8)

    def _raw_frames(self) -> Iterator[av.VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.error.FFmpegError):  # cut off, or the connection broke
                return
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                self.skipped += bool(packet.size)
                continue
            for frame in frames:
                yield from self._progressive(frame)

    def _progressive(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Yield a frame, deinterlaced where the stream is interlaced."""
        if self._deinterlacer is None:
            if not frame.interlaced_frame:
                yield frame
                return
            self._deinterlacer = graph = av.filter.Graph()
            source = graph.add_buffer(template=self._stream)
            bwdif, sink = graph.add("bwdif", "mode=send_frame"), graph.add("buffersink")
            graph.link_nodes(source, bwdif, sink).configure()
        self._deinterlacer.push(frame)
        while True:
            try:
                yield cast("av.VideoFrame", self._deinterlacer.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    def _read_tags(self, frame: av.VideoFrame) -> None:
        self._tags_read = True
        metadata = {**self._container.metadata, **self._stream.metadata}
        tags = [f"{key}={metadata[key]}" for key in ("stereo_mode", "title") if key in metadata]
        declared: Any = None
        try:
            declared = cast("Any", frame.side_data).get(SideData.STEREO3D)
        except ValueError:  # PyAV 18 has no name for the number of a view
            self._two_views = self._stream.codec_context.name == "hevc"
        if self._two_views:
            tags.insert(0, "stereo3d=side by side full")
        elif declared is not None:
            kind, inverted = struct.unpack_from("ii", bytes(declared))
            if kind in _STEREO_3D:
                order = ", right view first" if inverted & 1 else ""
                tags.insert(0, f"stereo3d={_STEREO_3D[kind]}{order}")
        self.tags = "; ".join([*tags, self.source.title]).strip("; ")


class _LiveVideo(Video):
    """The newest frames of a camera or stream, read by a thread."""

    live = True

    def __init__(self, video: Video) -> None:
        self.source, self.first, self.fps = video.source, video.first, video.fps
        self.tags, self.pixel_aspect = video.tags, video.pixel_aspect
        self._reopen = video.reopen if video.endless else None
        self._closed = threading.Event()
        self._newest: Pipeline[Frame] = Pipeline(self._read(video), [], latest_only=True)

    def frames(self, begin_s: float = 0.0) -> Iterator[Frame]:
        del begin_s
        limit_s = TIMEOUT_S + (0.0 if self._reopen is None else RECONNECT_S + 2 * TIMEOUT_S)
        with contextlib.suppress(ClosedError):
            while (frame := self._newest.poll(limit_s)) is not None:  # a driver may hang
                yield frame

    def close(self) -> None:
        self._closed.set()
        self._newest.close()

    def _read(self, video: Video | None) -> Iterator[Frame]:
        shape = (self.first.shape[0], self.first.shape[1])
        while video is not None:
            with contextlib.closing(video):
                for frame in video.frames():
                    # it may come back with another size
                    yield Frame(resize_image(frame.image, shape), time.monotonic())
            video = None if self._reopen is None else self._connect(self._reopen)

    def _connect(self, reopen: Callable[[], Video]) -> Video | None:
        """Return the stream opened once more, else None."""
        lost_s = time.monotonic()
        notify(f"{self.name} gives no more frames: connecting again for {RECONNECT_S:g} s")
        while not self._closed.wait(_RETRY_S) and time.monotonic() - lost_s < RECONNECT_S:
            with contextlib.suppress(SourceError):
                video = reopen()
                notify(f"{self.name} is back after {time.monotonic() - lost_s:.0f} s")
                return video
        return None


def open_video(
    source: Source,
    target_height: int,
    *,
    cookies_from_browser: str | None = None,
    camera_size: tuple[int, int] | None = None,
    camera_fps: float | None = None,
) -> Video:
    """Open a video and read its first frame."""
    if source.kind is Kind.CAMERA:
        video = _open_camera(source, camera_size, camera_fps)
    else:
        video = _open_recording(source, target_height, cookies_from_browser)
    return _LiveVideo(video) if video.live else video


def _open_recording(source: Source, target_height: int, cookies_from_browser: str | None) -> Video:
    remote = source.kind is Kind.WEB
    if remote and not _is_video(source.text):
        return _open_site(source, target_height, cookies_from_browser)
    return _open_container(source, sources.encoded(source.text) if remote else source.text)


def _open_camera(source: Source, size: tuple[int, int] | None, fps: float | None) -> Video:
    def attempt() -> Video:
        capture = cv2.VideoCapture(int(source.text))
        if size is not None:
            # uncompressed, USB 2 has no room for large frames at their full rate
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        if fps is not None:
            capture.set(cv2.CAP_PROP_FPS, fps)
        return _CaptureVideo(source, capture)

    try:
        video = call_within(2 * TIMEOUT_S, attempt)
    except (TimeoutExceeded, cv2.error) as exc:
        raise SourceError(f"{source} gives no frame; is it connected and free?") from exc
    if (size or video.size) != video.size or abs((fps or video.fps) - video.fps) > 1:
        (width, height), rate = video.size, video.fps
        warn(f"{source} gives {width}x{height} px at {rate:g} frames/s; choose what it supports")
    return video


def _open_container(
    source: Source, location: str, headers: Mapping[str, str] | None = None
) -> Video:
    local = source.kind is Kind.FILE
    # FFmpeg takes "12:30.mp4" for an address
    place = str(Path(location).absolute()) if local else location
    lines = "".join(f"{key}: {value}\r\n" for key, value in (headers or {}).items())
    options = {"headers": lines} if lines else {}
    number = first_of_sequence(location) if local else None
    if number is not None:
        options |= {"start_number": str(number), "framerate": f"{_USUAL_FPS:g}"}
    if source.kind is Kind.STREAM and place.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"

    def attempt() -> Video:
        container = av.open(
            place,
            format="image2" if number is not None else None,
            options=options,
            timeout=(TIMEOUT_S, TIMEOUT_S),
            metadata_errors="replace",
        )
        try:
            if number is None and container.format.name.endswith(("image2", "_pipe")):
                raise SourceError(f"{source} {_NO_VIDEO}")
            return _ContainerVideo(source, container)
        except BaseException:
            container.close()
            raise

    advice = "is it a video, and complete?" if local else "check the address and the network"
    try:
        video = call_within(2 * TIMEOUT_S, attempt)
    except TimeoutExceeded as exc:
        raise SourceError(f"{source} gave no frame within {2 * TIMEOUT_S:g} s; {advice}") from exc
    except (av.error.FFmpegError, OSError, ValueError) as exc:
        reason = sources.one_line(getattr(exc, "strerror", None) or exc)
        raise SourceError(f"cannot open {source}: {reason}; {advice}") from exc
    video.reopen = lambda: _open_container(source, location, headers)
    return video


def _is_video(url: str) -> bool:
    """Return whether an address is a video, or raise SourceError."""
    named = PurePosixPath(urlsplit(url).path).suffix.lower() in _VIDEO_SUFFIXES
    try:
        with sources.request(url, read_s=TIMEOUT_S) as response:
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    except sources.StatusError as exc:
        if exc.code == 401 and "@" in urlsplit(url).netloc:
            return True  # FFmpeg knows digest authentication too
        if named:
            raise
        return False  # sites may turn us away, the address of a file must not
    if kind.startswith("image/"):
        raise SourceError(f"{url} {_NO_VIDEO}")
    if named:
        return kind != "text/html"
    return kind.startswith(("video/", "multipart/")) or "mpegurl" in kind  # multipart: a camera


def _open_site(source: Source, target_height: int, cookies_from_browser: str | None) -> Video:
    """Open the best stream of a site that opens at all."""
    advice = "download the video with yt-dlp and give its path"
    try:
        streams = call_within(
            _SITE_TIMEOUT_S, lambda: find_streams(source.text, target_height, cookies_from_browser)
        )
    except TimeoutExceeded as exc:
        raise SourceError(f"{source} was not found within {_SITE_TIMEOUT_S:g} s; {advice}") from exc
    for stream in streams:
        titled = Source(source.kind, source.text, stream.title)
        try:
            return _open_container(titled, stream.url, stream.headers)
        except SourceError:  # the next one may be of another kind
            continue
    titled = Source(source.kind, source.text, streams[0].title)
    try:
        return call_within(
            _SITE_TIMEOUT_S, lambda: _CaptureVideo(titled, sources.capture_site(source.text))
        )
    except (TimeoutExceeded, cv2.error, SourceError) as exc:
        raise SourceError(f"no stream of {source} can be played; {advice}") from exc


def read_sound(video: Video, rate_hz: int, length_s: float) -> NDArray[np.float64]:
    """Return a file's mono sound from its first frame on."""
    if video.source.kind is not Kind.FILE:
        return np.zeros(0)
    with av.open(str(Path(video.source.text).absolute())) as container:
        if not container.streams.audio:
            return np.zeros(0)
        sound, pictures = container.streams.audio[0], container.streams.video[0]
        starts = [float((s.start_time or 0) * (s.time_base or 0)) for s in (sound, pictures)]
        late = round((starts[0] - starts[1]) * rate_hz)
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
        parts = [np.zeros(max(0, late))]
        for frame in container.decode(sound):
            parts += [part.to_ndarray()[0].astype(float) for part in resampler.resample(frame)]
            if sum(map(len, parts)) >= length_s * rate_hz:
                break
    return np.concatenate(parts)[max(0, -late) :]
