"""HTTP with two deadlines: one for the connection, one for a server that falls silent.

Redirects are followed and the proxies of the environment are used, as urllib does by itself.
Addresses may be written as people write them, with any letters, spaces and a user's name.
"""

from __future__ import annotations

import http.client
import re
import ssl
import string
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit, urlunsplit

from crestereo.errors import SourceError

_LONGEST_REASON = 160


@dataclass(frozen=True)
class Patience:
    """Hold how long a server may be silent.

    Parameters
    ----------
    connect_s : float
        Until the connection stands, in seconds, for each address of the server's name.
    stall_s : float
        Between two pieces of an answer, in seconds.
    """

    connect_s: float = 5.0
    stall_s: float = 30.0


PATIENCE = Patience()
"""The deadlines where nothing else is said."""


class RefusedError(SourceError):
    """Say that a server answers with an error; `code` is its HTTP status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class _PlainConnection(http.client.HTTPConnection):
    """Give the time after the connection its own timeout; urllib knows one for everything."""

    def __init__(self, *args: Any, stall_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stall_s = stall_s

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(self._stall_s)


class _SecureConnection(_PlainConnection, http.client.HTTPSConnection):
    """The same over TLS: what comes after `_PlainConnection` in the order of its bases."""


class _PlainHandler(urllib.request.HTTPHandler):
    def __init__(self, stall_s: float) -> None:
        super().__init__()
        self._connection = partial(_PlainConnection, stall_s=stall_s)

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def __init__(self, stall_s: float) -> None:
        super().__init__(context=_trust())
        self._connection = partial(_SecureConnection, stall_s=stall_s, context=_trust())

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)


@cache
def _trust() -> ssl.SSLContext:
    """Return whose certificates count: the system's, and certifi's.

    Python from python.org finds none of the system's on macOS.
    """
    import certifi  # noqa: PLC0415  the first prompt does not wait for it

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def ascii_url(url: str) -> str:
    """Return an address as servers take it, whatever letters it was written with.

    Parameters
    ----------
    url : str
        What is percent-encoded in it already stays as it is.

    Raises
    ------
    ValueError
        When the server's name cannot be encoded.
    """
    parts = urlsplit(url)
    user, at, server = parts.netloc.rpartition("@")
    if not server.isascii():
        host, colon, port = server.partition(":")
        server = host.encode("idna").decode("ascii") + colon + port
    encoded = [_percent_encoded(text) for text in (parts.path, parts.query, parts.fragment)]
    return urlunsplit((parts.scheme, _percent_encoded(user) + at + server, *encoded))


def _percent_encoded(text: str) -> str:
    return re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(text, safe=string.punctuation))


def one_line(reason: object) -> str:
    """Return a reason, which a server may have worded, as printable words of one short line."""
    words = "".join(c if c.isprintable() else " " for c in str(reason)).split()
    return " ".join(words)[:_LONGEST_REASON]


@contextmanager
def loading(url: str) -> Iterator[None]:
    """Turn what goes wrong in the block, which loads `url`, into a sentence.

    Raises
    ------
    RefusedError
        The server answers with an error.
    SourceError
        There is no connection, or no answer that could be understood.
    """
    try:
        yield
    except urllib.error.HTTPError as exc:
        with exc:
            message = f"{url} answers {exc.code} {one_line(exc.reason)}; check the address"
            raise RefusedError(message, exc.code) from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        reason = getattr(exc, "reason", None) or exc
        raise SourceError(
            f"cannot load {url}: {one_line(reason)}; check the address and the network"
        ) from exc


def open_url(url: str, headers: Mapping[str, str], patience: Patience) -> http.client.HTTPResponse:
    """Ask for an address and return the answer, its body unread.

    Parameters
    ----------
    url : str
        http or https address, in any letters; a user's name and password in it are sent to its
        server and to none that it redirects to.
    headers : mapping
        Added to the request.
    patience : Patience
        Deadlines.

    Raises
    ------
    urllib.error.HTTPError
        The server answers with an error.
    OSError, http.client.HTTPException, ValueError
        There is no connection, or no answer that could be understood.
    """
    opener = urllib.request.build_opener(
        _PlainHandler(patience.stall_s), _SecureHandler(patience.stall_s)
    )
    parts = urlsplit(ascii_url(url))
    user, at, server = parts.netloc.rpartition("@")
    bare = urlunsplit(parts._replace(netloc=server))
    request = urllib.request.Request(bare, headers={"User-Agent": "crestereo", **headers})
    if at:
        secret = unquote_to_bytes(user if ":" in user else f"{user}:")
        request.add_unredirected_header("Authorization", f"Basic {b64encode(secret).decode()}")
    response: http.client.HTTPResponse = opener.open(request, timeout=patience.connect_s)
    return response
