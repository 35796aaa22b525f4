"""Everything that can go wrong for a reason a user can act on.

::

    CREStereoError               exit code 70, a bug of ours when nothing more precise is raised
    ├── UsageError               2   a setting, flag or answer that cannot be
    ├── SourceError              3   a picture, video, camera or address that cannot be read or used
    ├── ModelError               4   a model that cannot be opened or run
    │   ├── UnknownModelError    4   a combination of settings that was never published
    │   ├── ModelFileError       4   a file that is not the ONNX model its name says
    │   ├── DownloadError        4   a model that could not be fetched
    │   └── ProviderError        4   a device that was asked for and cannot run
    ├── DisplayError             5   a window that cannot be opened or was lost
    └── Cancelled              130   the user, or the program on his behalf, ended an estimation

Messages are one sentence: what failed, on which input, and what to do about it.
"""

from __future__ import annotations


class CREStereoError(Exception):
    """Be the root of every error this package raises on purpose."""

    exit_code = 70


class UsageError(CREStereoError):
    """Say that a setting, a flag or an answer cannot be."""

    exit_code = 2


class SourceError(CREStereoError):
    """Say that a picture, video, camera or address cannot be read or used."""

    exit_code = 3


class ModelError(CREStereoError):
    """Say that a model cannot be opened or run."""

    exit_code = 4


class UnknownModelError(ModelError):
    """Say that the combination of settings was never published."""


class ModelFileError(ModelError):
    """Say that a file is not the ONNX model that its name or its user says it is."""


class DownloadError(ModelError):
    """Say that a model could not be fetched."""


class ProviderError(ModelError):
    """Say that a device that was asked for cannot run."""


class DisplayError(CREStereoError):
    """Say that a window cannot be opened or was lost."""

    exit_code = 5


class Cancelled(CREStereoError):  # noqa: N818  (no error: what was asked for)
    """Say that an estimation was ended on request."""

    exit_code = 130
