"""Errors that a user can act on.

::

    CREStereoError               exit code 70, a bug unless a subclass is raised
    ├── UsageError               2   an invalid setting, flag or answer
    ├── SourceError              3   an image, video, camera or address that cannot be read or used
    ├── ModelError               4   a model that cannot be opened or run
    │   ├── UnknownModelError    4   a combination of settings that was never published
    │   ├── ModelFileError       4   a file that is not the expected ONNX model
    │   ├── DownloadError        4   a model that could not be fetched
    │   └── ProviderError        4   a device that was asked for and cannot run
    ├── DisplayError             5   a window that cannot be opened or was lost
    └── Cancelled              130   an estimation ended on request

Messages are one sentence: what failed, on which input, and what to do about it.
"""

from __future__ import annotations


class CREStereoError(Exception):
    """Base class of all errors raised by this package."""

    exit_code = 70


class UsageError(CREStereoError):
    """Invalid setting, flag or answer."""

    exit_code = 2


class SourceError(CREStereoError):
    """Image, video, camera or address that cannot be read or used."""

    exit_code = 3


class ModelError(CREStereoError):
    """Model that cannot be opened or run."""

    exit_code = 4


class UnknownModelError(ModelError):
    """Combination of settings that was never published."""


class ModelFileError(ModelError):
    """File that is not the promised ONNX model."""


class DownloadError(ModelError):
    """Model that could not be downloaded."""


class ProviderError(ModelError):
    """Requested device that cannot run."""


class DisplayError(CREStereoError):
    """Window that cannot be opened or was lost."""

    exit_code = 5


class Cancelled(CREStereoError):  # noqa: N818  (no error: what was asked for)
    """Estimation ended on request."""

    exit_code = 130
