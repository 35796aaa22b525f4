"""A local web server that misbehaves on demand."""

from __future__ import annotations

import re
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """How the server answers for one path.

    Each cut ends one transfer after so many bytes, first come first served; ``stall_after``
    stops sending at that byte of the file without closing; ``pause_s`` passes between pieces of
    4096 bytes. ``login``, ``name:password``, has to be sent along; a client that does not name
    itself ``agent`` is forbidden. ``encoding`` is that of the body.
    """

    body: bytes = b""
    etag: str = ""
    content_type: str = "application/octet-stream"
    status: int = 200
    location: str = ""
    cuts: list[int] = field(default_factory=list)
    stall_after: int | None = None
    pause_s: float = 0.0
    honour_range: bool = True
    chunked: bool = False
    login: str = ""
    agent: str = ""
    encoding: str = ""


class FileServer:
    """Hold the replies by path and every request that came: (path, headers)."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.replies: dict[str, Reply] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.closing = threading.Event()

    def ranges(self, path: str) -> list[str | None]:
        """Return the Range header of every request for a path, in order."""
        return [headers.get("Range") for asked, headers in self.requests if asked == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: FileServer

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""

    def do_GET(self) -> None:
        self.close_connection = True
        self.files.requests.append((self.path, dict(self.headers)))
        reply = self.files.replies.get(self.path, Reply(b"nothing here", status=404))
        with suppress(ConnectionError):  # a client may leave or be killed
            self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        expected = f"Basic {b64encode(reply.login.encode()).decode()}"
        if reply.login and self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="files"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if reply.agent not in self.headers.get("User-Agent", ""):
            self.send_error(403)
            return
        start = self._start(reply)
        status, body = reply.status, reply.body
        if start >= len(body) > 0:
            status, body = 416, b""
        elif start:
            status, body = 206, body[start:]
        self.send_response(status)
        self.send_header("Connection", "close")
        if reply.location:
            self.send_header("Location", reply.location)
        if reply.encoding:
            self.send_header("Content-Encoding", reply.encoding)
        if reply.etag:
            self.send_header("ETag", reply.etag)
        self.send_header("Content-Type", reply.content_type)
        if status == 206:
            last = len(reply.body) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(reply.body)}")
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(reply.body)}")
        if not reply.chunked:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._send(reply, body, start)

    def _start(self, reply: Reply) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(asked[1]) if asked and reply.honour_range and reply.status == 200 else 0

    def _send(self, reply: Reply, body: bytes, start: int) -> None:
        end = reply.cuts.pop(0) if reply.cuts else len(body)
        for at in range(0, min(end, len(body)), 4096):
            if reply.stall_after is not None and start + at >= reply.stall_after:
                self.files.closing.wait(10)
                return
            self.wfile.write(body[at : min(at + 4096, end)])
            self.wfile.flush()
            time.sleep(reply.pause_s)


@contextmanager
def serve_files() -> Iterator[FileServer]:
    """Serve on a free port of this machine until the block ends."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    files = handler.files = FileServer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield files
    finally:
        files.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
