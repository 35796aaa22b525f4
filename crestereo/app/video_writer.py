"""Write H.264 and sound in fragmented MP4, playable at any time.

The file grows under its own name: a run that is killed leaves all but its last seconds. Every two
seconds a new encoder begins, so that a run can be resumed there with the same result. Maps of 16
bits go into Matroska, without loss.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, cast

import cv2  # before av: with the libxcb of av loaded first, the first window hangs

# isort: split
import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.codec.context import Flags
from numpy.typing import NDArray

from crestereo.app.pipeline import ClosedError
from crestereo.app.script import say, warn
from crestereo.errors import UsageError

MAX_GAP_S = 10.0
"""A longer gap between two frames is a pause of the user, or a clock that jumped: cut to this."""

TimedPacket: TypeAlias = "tuple[float, av.Packet[Any]]"

_FRAGMENT_S, _KEY_FRAME_S = 0.5, 2.0
_SOUND_LONGER_S = 0.5  # the last packet of most files goes on for less
_TICKS_PER_S = 90_000
_MP4_AUDIO = ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac")
_START_CODES = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
"""Filters that bring packets of MP4 into the form in which encoders give them."""

_USUAL_RATE_HZ = 48_000
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class VideoWriter:
    """Writer of one video, used as a context manager.

    `path` ends in ``.mp4``, or ``.mkv`` for maps (H, W) uint16; it appears with the first frame.
    `fps` is the usual rate, but every frame is shown at its own time. `crf`: 0 best to 51. The
    sound and metadata of `sound`, a file or address, are taken along.
    """

    def __init__(
        self,
        path: Path,
        fps: float,
        *,
        codec: str = "libx264",
        crf: int = 18,
        sound: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.frames = 0  # written so far
        self.cut_s = 0.0  # off all times: the first one, and gaps that are too long
        self.last_s = 0.0  # time of the last frame
        self.sound_cut = False  # it went on after the last frame, where `close` cut it
        self._path, self._fps, self._codec, self._crf = path, fps, codec, crf
        self._sound_of, self._metadata = sound, metadata or {}
        self._begin_s: float | None = None
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._encoder: av.VideoCodecContext | None = None
        self._sound: Iterator[TimedPacket] | None = None
        self._packet: TimedPacket | None = None
        self._lock = threading.Lock()  # a thread may still be adding when the writer is closed
        self._closed = False

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, frame: NDArray[Any], time_s: float) -> None:
        """Append a BGR frame or uint16 map, shown from `time_s` on."""
        with self._lock:
            if self._closed:
                raise ClosedError
            self._add(frame, time_s)

    def resume(self, frames: int, state: Sequence[float], frame: NDArray[Any]) -> None:
        """Keep the first frames of an interrupted run with its `state`."""
        before = self._before
        if not before.exists():  # it does where an earlier attempt was interrupted here
            self._path.replace(before)
        try:
            self._open(frame, state[0])
            with av.open(str(before)) as container:
                source = container.streams.video[0]
                name = _START_CODES.get(source.codec_context.name, "null")
                filtered = BitStreamFilterContext(name, source)
                packets = (p for p in container.demux(source) if p.size)
                for packet in islice(packets, frames):
                    self._write_sound(until_s=float((packet.pts or 0) * _base(packet)))
                    self._mux(filtered.filter(packet))
        except (av.error.FFmpegError, OSError) as exc:
            raise self._error(exc) from exc
        self._begin_s, self.cut_s, self.last_s = state
        self.frames = frames
        before.unlink()

    @property
    def _before(self) -> Path:
        """Return the name of the file while it is copied."""
        return self._path.with_suffix(f".before{self._path.suffix}")

    def frames_kept(self) -> int:
        """Count the readable frames of an interrupted run."""
        path = self._before if self._before.exists() else self._path
        frames = 0
        with suppress(av.error.FFmpegError, OSError), av.open(str(path)) as container:
            for packet in container.demux(video=0):
                frames += bool(packet.size)
        return frames

    def forget(self) -> None:
        """Remove what an interrupted attempt to resume has left."""
        with suppress(OSError):
            self._before.unlink(missing_ok=True)

    @property
    def state(self) -> tuple[float, float, float]:
        """Return what `resume` needs."""
        return self._begin_s or 0.0, self.cut_s, self.last_s

    @property
    def key_every(self) -> int:
        """Return the frames from one key frame to the next."""
        return max(round(_KEY_FRAME_S * self._fps), 1)

    def _add(self, frame: NDArray[Any], time_s: float) -> None:
        try:
            if self._container is None:
                self.cut_s = self.last_s = time_s
                self._open(frame, time_s)
            # frames that are rare on purpose are no pause
            self.cut_s += max(time_s - self.last_s - max(MAX_GAP_S, 2 / self._fps), 0.0)
            self.last_s = time_s
            self._write_sound(until_s=time_s - self.cut_s)
            self._encode(frame, time_s - self.cut_s)
            self.frames += 1
        except (av.error.FFmpegError, OSError) as exc:
            raise self._error(exc) from exc

    def close(self) -> None:
        """Finish the file."""
        with self._lock:
            self._closed = True
        container = self._container
        if container is None:
            return
        try:
            if self._encoder is not None:
                self._mux(self._encoder.encode(None))
            end_s = self.last_s - self.cut_s + 1 / self._fps
            self._write_sound(until_s=end_s)
            self.sound_cut = any(at_s > end_s + _SOUND_LONGER_S for at_s, _ in self._sound or ())
        except (av.error.FFmpegError, OSError) as exc:
            raise self._error(exc) from exc
        finally:
            self._container = None
            try:
                container.close()
            except (av.error.FFmpegError, OSError) as exc:
                raise self._error(exc) from exc

    def _open(self, frame: NDArray[Any], begin_s: float) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._begin_s = begin_s
        fragment = f"{_FRAGMENT_S * 1e6:.0f}"
        options = {"flush_packets": "1", "max_interleave_delta": fragment}
        if self._path.suffix == ".mkv":
            options["cluster_time_limit"] = f"{_FRAGMENT_S * 1e3:.0f}"
        else:
            options["movflags"] = "frag_keyframe+empty_moov+default_base_moof"
            options["frag_duration"] = fragment
        self._container = container = av.open(str(self._path), "w", options=options)
        rate = Fraction(self._fps).limit_denominator(1001)
        try:
            stream = cast("av.VideoStream", container.add_stream(self._codec, rate=rate))
        except (av.error.FFmpegError, ValueError) as exc:
            raise UsageError(f"FFmpeg has no encoder {self._codec!r}; try libx264") from exc
        self._set_up(stream.codec_context, frame)
        stream.time_base = Fraction(1, _TICKS_PER_S)
        self._stream, self._encoder = stream, stream.codec_context
        container.metadata.update(self._metadata)
        if self._sound_of is not None:
            self._sound = self._open_sound(container, self._sound_of, begin_s)
        container.start_encoding()

    def _set_up(self, encoder: av.VideoCodecContext, frame: NDArray[Any]) -> None:
        height, width = frame.shape[:2]
        gray = frame.ndim == 2
        encoder.height, encoder.width = (height, width) if gray else _even_shape(frame)
        encoder.pix_fmt = "gray16le" if gray else "yuv420p"
        encoder.time_base = Fraction(1, _TICKS_PER_S)
        encoder.framerate = Fraction(self._fps).limit_denominator(1001)
        encoder.gop_size = self.key_every
        encoder.max_b_frames = 0
        if self._codec == "libx264":
            encoder.options = {"crf": str(self._crf), "preset": "superfast", "tune": "zerolatency"}
        elif self._codec in ("libx265", "libsvtav1"):
            encoder.options = {"crf": str(self._crf)}

    def _encode(self, frame: NDArray[Any], time_s: float) -> None:
        if self.frames and self.frames % self.key_every == 0:
            if self._encoder is not None:
                self._mux(self._encoder.encode(None))
            encoder = av.CodecContext.create(self._codec, "w")
            self._encoder = cast("av.VideoCodecContext", encoder)
            self._set_up(self._encoder, frame)
            self._encoder.flags |= Flags.global_header
        if self._encoder is None:
            return
        if frame.ndim == 2:
            image = av.VideoFrame.from_ndarray(frame, format="gray16le")
        else:
            height, width = _even_shape(frame)  # yuv420p halves both
            # Not left to swscale, whose fast path darkens by up to five levels.
            planes = cv2.cvtColor(frame[:height, :width], cv2.COLOR_BGR2YUV_I420)
            image = av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), format="yuv420p")
        image.pts = round(max(time_s, 0.0) * _TICKS_PER_S)
        image.time_base = Fraction(1, _TICKS_PER_S)
        self._mux(self._encoder.encode(image))

    def _mux(self, packets: Iterable[av.Packet[Any]]) -> None:
        if self._container is None or self._stream is None:
            return
        for packet in packets:
            packet.stream = self._stream
            self._container.mux(packet)

    def _open_sound(
        self, container: av.container.OutputContainer, source: str, begin_s: float
    ) -> Iterator[TimedPacket]:
        """Add the source's sound; yield its packets and times [s]."""
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
        begin_s += float((video.start_time or 0) * _base(video))
        if audio.codec_context.name in _MP4_AUDIO:
            copy = container.add_stream_from_template(audio)
            return _copied(origin, audio, copy, begin_s)
        rate = audio.codec_context.sample_rate
        rates = av.Codec("aac", "w").audio_rates or ()
        encoder = container.add_stream("aac", rate=rate if rate in rates else _USUAL_RATE_HZ)
        say(f"MP4 cannot hold sound in {audio.codec_context.name}: it is saved as AAC")
        return _encoded(origin, audio, encoder, begin_s)

    def _write_sound(self, *, until_s: float) -> None:
        container = self._container
        if self._sound is None or container is None:
            return
        try:
            while (packet := self._packet or next(self._sound, None)) is not None:
                self._packet = packet
                if packet[0] > until_s:
                    return
                if packet[0] >= 0:
                    container.mux(packet[1])
                self._packet = None
        except av.error.FFmpegError as exc:  # a full disk is found by the next frame
            warn(f"the sound of {self._sound_of} is damaged ({exc.strerror}): the rest is left out")
        self._sound = None

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


def _even_shape(frame: NDArray[Any]) -> tuple[int, int]:
    height, width = frame.shape[:2]
    return height // 2 * 2, width // 2 * 2


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
