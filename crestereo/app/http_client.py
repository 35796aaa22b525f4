"""HTTP with two deadlines: one for the connection, one for a server that falls silent.

Redirects are followed and the proxies of the environment are used, as urllib does by itself.
"""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any


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
        super().__init__()
        self._connection = partial(_SecureConnection, stall_s=stall_s)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)


def open_url(url: str, headers: Mapping[str, str], patience: Patience) -> http.client.HTTPResponse:
    """Ask for an address and return the answer, its body unread.

    Parameters
    ----------
    url : str
        http or https address.
    headers : mapping
        Added to the request.
    patience : Patience
        Deadlines.

    Raises
    ------
    urllib.error.HTTPError
        The server answers with an error.
    OSError, http.client.HTTPException
        There is no connection, or no answer that could be understood.
    """
    opener = urllib.request.build_opener(
        _PlainHandler(patience.stall_s), _SecureHandler(patience.stall_s)
    )
    request = urllib.request.Request(url, headers={"User-Agent": "crestereo", **headers})
    response: http.client.HTTPResponse = opener.open(request, timeout=patience.connect_s)
    return response
