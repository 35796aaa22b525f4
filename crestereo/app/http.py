"""HTTP requests with timeouts; failures as one-line errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crestereo.errors import SourceError

if TYPE_CHECKING:
    import requests

CONNECT_S, READ_S = 5.0, 30.0
"""Time limits for the connection and between two pieces of an answer."""

_MAX_REASON = 160
_AGENT = "Mozilla/5.0 (compatible; crestereo)"  # image hosts refuse clients that are no browser


class StatusError(SourceError):
    """A server's answer with an error status; `code` is the HTTP status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def get(
    url: str, headers: Mapping[str, str] | None = None, *, read_s: float | None = None
) -> Iterator[requests.Response]:
    """Request an address; yield the response with its body unread."""
    import requests  # noqa: PLC0415  slow to import

    timeout = (CONNECT_S, READ_S if read_s is None else read_s)
    headers = {"User-Agent": _AGENT, **(headers or {})}
    try:
        login = requests.utils.get_auth_from_url(url)
        auth = requests.auth.HTTPBasicAuth(*(part.encode() for part in login))
        with requests.get(
            url,
            headers=headers,
            timeout=timeout,
            stream=True,
            auth=auth if any(login) else None,  # in UTF-8, which requests would not choose
        ) as response:
            if not response.ok:
                reason = f"{response.status_code} {one_line(response.reason)}"
                raise StatusError(
                    f"{url} answers {reason}; check the address", response.status_code
                )
            yield response
    except (requests.RequestException, UnicodeError, ValueError) as exc:
        raise SourceError(
            f"cannot load {url}: {reason_of(exc)}; check the address and the network"
        ) from exc


def encoded(url: str) -> str:
    """Return an address with everything percent-encoded, as FFmpeg needs it."""
    import requests  # noqa: PLC0415

    try:
        request = requests.PreparedRequest()
        request.prepare_url(url, None)
        return str(request.url)
    except (requests.RequestException, UnicodeError) as exc:
        raise SourceError(f"{url} is not a valid address: {one_line(exc)}") from exc


def reason_of(exc: BaseException) -> str:
    """Return the root cause of a failed request in one short line."""
    import requests  # noqa: PLC0415

    if isinstance(exc, requests.TooManyRedirects):
        return "it redirects in a loop"
    root = exc
    while (deeper := root.__cause__ or root.__context__) is not None:
        root = deeper
    if isinstance(exc, requests.Timeout) or isinstance(root, TimeoutError):
        return "no answer in time"
    return one_line(getattr(root, "strerror", None) or root) or type(root).__name__


def one_line(text: object) -> str:
    """Return a server's text as printable words of one short line."""
    words = "".join(c if c.isprintable() else " " for c in str(text)).split()
    return " ".join(words)[:_MAX_REASON]
