"""A progress bar for bytes: size, rate and remaining time."""

from __future__ import annotations

from types import TracebackType

from tqdm import tqdm


class ByteBar:
    """Show a transfer at a terminal; show nothing where stderr is no terminal.

    Parameters
    ----------
    label : str
        What is transferred.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: tqdm | None = None

    def __enter__(self) -> ByteBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, have: int, total: int | None) -> None:
        """Show that ``have`` of ``total`` bytes are there."""
        if self._bar is None:
            self._bar = tqdm(
                desc=self._label, initial=have, total=total, unit="B", unit_scale=True, disable=None
            )
        self._bar.total = total
        self._bar.n = min(self._bar.n, have)  # a server may send the file from its beginning again
        self._bar.update(have - self._bar.n)
