"""Write a video that is playable at any time: H.264 in fragmented MP4, with the source's sound.

The file grows under its own name: a run that is killed leaves all but its last seconds.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, cast

import cv2  # before av: with the libxcb of av loaded first, the first window hangs

# isort: split
import av
import numpy as np

from crestereo.app.pipeline import ClosedError
from crestereo.errors import UsageError
from crestereo.types import BGRImage

MAX_GAP_S = 10.0
"""A longer gap between two frames is a pause of the user, or a clock that jumped: cut to this."""

TimedPacket: TypeAlias = "tuple[float, av.Packet[Any]]"

_FRAGMENT_S, _KEY_FRAME_S = 0.5, 2.0
_TICKS_PER_S = 90_000
_MP4_AUDIO = ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac")
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class VideoWriter:
    """Writer of one video, used as a context manager.

    Parameters
    ----------
    path : Path
        An ``.mp4`` file; it appears with the first frame.
    fps : float
        Usual frame rate; every frame is shown at its own time all the same.
    codec : str
        Encoder of FFmpeg.
    crf : int
        Quality, for encoders that support it, 0 best to 51.
    sound : str, optional
        File or address whose sound and metadata are taken along.

    Attributes
    ----------
    frames : int
        Frames written so far.
    """

    def __init__(
        self,
        path: Path,
        fps: float,
        *,
        codec: str = "libx264",
        crf: int = 18,
        sound: str | None = None,
    ) -> None:
        self.frames = 0
        self._path, self._fps, self._codec, self._crf = path, fps, codec, crf
        self._sound_of = sound
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._sound: Iterator[TimedPacket] | None = None
        self._packet: TimedPacket | None = None
        self._lock = threading.Lock()  # a thread may still be adding when the writer is closed
        self._closed = False
        self._last_s = 0.0
        self._cut_s = 0.0  # taken off all times: the first one, and gaps that are too long

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, frame: BGRImage, time_s: float) -> None:
        """Append a frame (H, W, 3) uint8 that is shown from `time_s` on."""
        with self._lock:
            if self._closed:
                raise ClosedError
            self._add(frame, time_s)

    def _add(self, frame: BGRImage, time_s: float) -> None:
        try:
            if self._container is None:
                self._cut_s = self._last_s = time_s
                self._open(frame)
            self._cut_s += max(time_s - self._last_s - MAX_GAP_S, 0.0)
            self._last_s = time_s
            self._write_sound(until_s=time_s - self._cut_s)
            self._encode(frame, time_s - self._cut_s)
            self.frames += 1
        except (av.error.FFmpegError, OSError) as exc:
            raise self._error(exc) from exc

    def close(self) -> None:
        """Finish the file."""
        with self._lock:
            self._closed = True
        container, self._container = self._container, None
        if container is None or self._stream is None:
            return
        try:
            container.mux(self._stream.encode(None))
            end_s = self._last_s - self._cut_s + 1 / self._fps
            self._write_sound(until_s=end_s, container=container)
        except (av.error.FFmpegError, OSError) as exc:
            raise self._error(exc) from exc
        finally:
            try:
                container.close()
            except (av.error.FFmpegError, OSError) as exc:
                raise self._error(exc) from exc

    def _open(self, frame: BGRImage) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fragment_us = str(int(_FRAGMENT_S * 1e6))
        movflags = "frag_keyframe+empty_moov+default_base_moof"
        self._container = container = av.open(
            str(self._path),
            "w",
            format="mp4",
            options={"movflags": movflags, "frag_duration": fragment_us, "flush_packets": "1"},
        )
        rate = Fraction(self._fps).limit_denominator(1001)
        try:
            stream = cast("av.VideoStream", container.add_stream(self._codec, rate=rate))
        except (av.error.FFmpegError, ValueError) as exc:
            raise UsageError(f"FFmpeg has no encoder {self._codec!r}; try libx264") from exc
        stream.height, stream.width = (side // 2 * 2 for side in frame.shape[:2])
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
        stream.codec_context.gop_size = max(round(_KEY_FRAME_S * self._fps), 1)
        stream.codec_context.max_b_frames = 0
        if self._codec == "libx264":
            stream.options = {"crf": str(self._crf), "preset": "veryfast", "tune": "zerolatency"}
        elif self._codec in ("libx265", "libsvtav1"):
            stream.options = {"crf": str(self._crf)}
        self._stream = stream
        if self._sound_of is not None:
            self._sound = self._open_sound(container, self._sound_of)
            self._packet = next(self._sound, None)

    def _encode(self, frame: BGRImage, time_s: float) -> None:
        if self._container is None or self._stream is None:
            return
        height, width = (side // 2 * 2 for side in frame.shape[:2])  # yuv420p halves both
        # Not left to swscale, whose fast path darkens by up to five levels.
        planes = cv2.cvtColor(frame[:height, :width], cv2.COLOR_BGR2YUV_I420)
        image = av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), format="yuv420p")
        image.pts = round(max(time_s, 0.0) * _TICKS_PER_S)
        image.time_base = Fraction(1, _TICKS_PER_S)
        self._container.mux(self._stream.encode(image))

    def _open_sound(
        self, container: av.container.OutputContainer, source: str
    ) -> Iterator[TimedPacket]:
        """Add the source's sound to the file; yield its packets with their times [s]."""
        try:
            origin = av.open(source, timeout=(15.0, 15.0), metadata_errors="replace")
        except (av.error.FFmpegError, OSError):
            return iter(())
        container.metadata.update(origin.metadata)
        if not origin.streams.audio:
            origin.close()
            return iter(())
        audio = origin.streams.audio[0]
        video = origin.streams.video[0]
        begin_s = float((video.start_time or 0) * _base(video)) + self._cut_s
        if audio.codec_context.name in _MP4_AUDIO:
            copy = container.add_stream_from_template(audio)
            return _copied(origin, audio, copy, begin_s)
        encoder = container.add_stream("aac", rate=audio.codec_context.sample_rate)
        return _encoded(origin, audio, encoder, begin_s)

    def _write_sound(
        self, *, until_s: float, container: av.container.OutputContainer | None = None
    ) -> None:
        container = container or self._container
        if self._sound is None or container is None:
            return
        try:
            while self._packet is not None and self._packet[0] <= until_s:
                if self._packet[0] >= 0:
                    container.mux(self._packet[1])
                self._packet = next(self._sound, None)
        except av.error.InvalidDataError:  # damaged sound: the video goes on without
            self._packet = None

    def _error(self, exc: Exception) -> UsageError:
        # FFmpeg reports a full disk as whatever failed because of it
        full = getattr(exc, "errno", None) in _DISK_FULL
        if full or isinstance(exc, av.error.InvalidDataError):
            return UsageError(
                f"the disk of {self._path.parent} is full, or a file may not grow so large; "
                f"{self._path.name} holds what was written until then"
            )
        reason = getattr(exc, "strerror", None) or exc
        return UsageError(f"cannot write {self._path}: {reason}; choose another place")


def _base(timed: av.VideoStream | av.AudioStream | av.Packet[Any]) -> Fraction:
    return timed.time_base or Fraction(1, av.time_base)


def _copied(
    origin: av.container.InputContainer,
    audio: av.AudioStream,
    copy: av.AudioStream,
    begin_s: float,
) -> Iterator[TimedPacket]:
    offset = round(begin_s / _base(audio))
    for packet in origin.demux(audio):
        if packet.dts is None or packet.pts is None:
            continue
        packet.dts, packet.pts = packet.dts - offset, packet.pts - offset
        packet.stream = copy
        yield float(packet.pts * _base(audio)), packet
    origin.close()


def _encoded(
    origin: av.container.InputContainer,
    audio: av.AudioStream,
    encoder: av.AudioStream,
    begin_s: float,
) -> Iterator[TimedPacket]:
    for frame in origin.decode(audio):
        if frame.pts is not None and frame.time_base is not None:
            frame.pts -= round(begin_s / frame.time_base)
        for packet in encoder.encode(frame):
            yield float((packet.pts or 0) * _base(packet)), packet
    for packet in encoder.encode(None):
        yield float((packet.pts or 0) * _base(packet)), packet
    origin.close()
