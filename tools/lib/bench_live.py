"""Measure a live run with an MJPEG server as camera, 30 fps."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

from crestereo.app.pipeline import Pipeline
from crestereo.app.render import View
from crestereo.app.run_video import VideoRun
from crestereo.app.settings import UnifiedVideoSettings
from crestereo.app.sources import parse_video
from crestereo.app.stereo_video import OneVideo, Section
from crestereo.app.video import open_video
from crestereo.estimator import CREStereo
from crestereo.types import BGRImage

from .bench_process import growth_bytes, resident_bytes
from .bench_rows import texture_pair
from .bench_setup import Row, Setup, shape_text, threads_text

FPS = 30.0
SHAPE = (240, 320)
AWAY_S = 5.0
_POLL_S = 0.015  # as the window does
_SETTLE_S = 3.0
_BITS, _BLOCK_PX = 24, 8  # the number of a frame is a row of black and white squares


class MjpegServer:
    """Local MJPEG camera that sends numbered side-by-side frames."""

    def __init__(self, shape: tuple[int, int] = SHAPE, fps: float = FPS) -> None:
        pair = texture_pair(shape)
        self._views = np.hstack((pair.left, pair.right))
        self._fps, self._start_s = fps, time.monotonic()
        self._server: ThreadingHTTPServer | None = None
        self._gone = threading.Event()
        self._port = 0
        self.clients = 0
        self.start()
        self.url = f"http://127.0.0.1:{self._port}/camera"

    def start(self) -> None:
        """Accept clients."""
        camera = self
        self._gone = gone = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                """Keep the output clean."""

            def do_GET(self) -> None:
                camera.clients += 1
                with suppress(OSError):  # the client left
                    self.send_response(200)
                    kind = "multipart/x-mixed-replace; boundary=frame"
                    self.send_header("Content-Type", kind)
                    self.end_headers()
                    for part in camera.parts(gone):
                        self.wfile.write(part)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Break all connections and refuse new ones."""
        self._gone.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def parts(self, gone: threading.Event) -> Iterator[bytes]:
        """Yield the encoded frames from now on, each at its time."""
        number = self.now()
        while not gone.wait(max(self.taken_s(number) - time.monotonic(), 0.0)):
            data = cv2.imencode(".jpg", self.image(number))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            yield head.encode() + data + b"\r\n"
            number = max(number, self.now()) + 1

    def now(self) -> int:
        """Return the number of the newest frame."""
        return int((time.monotonic() - self._start_s) * self._fps)

    def taken_s(self, number: int) -> float:
        """Return the time of a frame, by `time.monotonic`."""
        return self._start_s + number / self._fps

    def image(self, number: int) -> BGRImage:
        """Return a frame (H, 2 W, 3), numbered in both views."""
        image = np.roll(self._views, number % 40, axis=0)
        bits = [255 * (number >> bit & 1) for bit in range(_BITS)]
        stamp = np.repeat(np.array(bits, np.uint8), _BLOCK_PX)[None, :, None]
        for left in (0, image.shape[1] // 2):
            image[:_BLOCK_PX, left : left + stamp.shape[1]] = stamp
        return image


def number_of(view: BGRImage) -> int:
    """Return the frame number of a left or right view."""
    squares = view[_BLOCK_PX // 2, _BLOCK_PX // 2 : _BITS * _BLOCK_PX : _BLOCK_PX]
    return sum(1 << bit for bit, square in enumerate(squares) if int(square[1]) > 127)


@contextmanager
def serve_camera(shape: tuple[int, int] = SHAPE, fps: float = FPS) -> Iterator[MjpegServer]:
    """Serve a camera until the block ends."""
    server = MjpegServer(shape, fps)
    try:
        yield server
    finally:
        server.stop()


def live_rows(setup: Setup) -> list[Row]:
    """Measure frame rate, frame age, memory growth and reconnection."""
    estimator = CREStereo(
        setup.model, iters=setup.iters, model_shape=SHAPE, device="cpu", threads=setup.threads[0]
    )
    settings = UnifiedVideoSettings(model_shape=SHAPE, iters=setup.iters, save=False, swap=False)
    with serve_camera() as camera:
        stream = OneVideo(open_video(parse_video(camera.url), SHAPE[0]), "camera")
        run = VideoRun(Section(stream), estimator, settings)
        pipeline = run.start(shown=True)
        try:
            _watch(pipeline, camera, _SETTLE_S)
            before = run.progress.estimation_s, run.progress.frames
            shown, memory = _watch(pipeline, camera, 60 * setup.minutes)
            spent_s, done = run.progress.estimation_s - before[0], run.progress.frames - before[1]
            camera.stop()
            _watch(pipeline, camera, AWAY_S)
            camera.start()
            begin_s = time.monotonic()
            while not _watch(pipeline, camera, 0.1)[0] and time.monotonic() < begin_s + 30:
                pass
            back_s = time.monotonic() - begin_s
        finally:
            pipeline.close()
    ages = 1000 * np.array([age_s for _, age_s in shown])
    gaps = np.diff([at_s for at_s, _ in shown])
    inference = 1000 * spent_s / max(done, 1)
    setting = f"{shape_text(SHAPE)}, {setup.iters} iterations, {threads_text(setup.threads[0])}"
    wanted = f"wanted: {inference + 100:.0f}, one inference ({inference:.0f}) + 100"
    grown = growth_bytes(memory) / 1e6 if memory else np.nan
    length = f"{setup.minutes:g} minutes, {len(shown)} frames"
    return [
        Row("live, rate shown", setting, 1 / np.median(gaps), 1 / np.percentile(gaps, 90),
            "frames/s", "wanted: 5"),
        Row("live, age of the frame shown", setting, float(np.median(ages)),
            float(np.percentile(ages, 90)), "ms", wanted),
        Row("live, memory growth", length, grown, np.nan, "MB", "wanted: none"),
        Row("live, next frame shown", f"server back after {AWAY_S:g} s", back_s, np.nan, "s",
            "wanted: the run continues"),
    ]  # fmt: skip


def _watch(
    pipeline: Pipeline[View], camera: MjpegServer, length_s: float
) -> tuple[list[tuple[float, float]], list[tuple[float, int]]]:
    """Return time and age [s] of shown frames, and memory samples [bytes]."""
    shown: list[tuple[float, float]] = []
    memory: list[tuple[float, int]] = []
    end_s = time.monotonic() + length_s
    while (now_s := time.monotonic()) < end_s:
        view = pipeline.poll()
        if view is not None and view.pair is not None:
            shown.append((now_s, time.monotonic() - camera.taken_s(number_of(view.pair.left))))
            resident = resident_bytes(os.getpid())
            memory += [] if resident is None else [(now_s, resident)]
        time.sleep(_POLL_S)
    return shown, memory
