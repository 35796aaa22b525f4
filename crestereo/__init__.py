"""Depth from stereo images with CREStereo networks in ONNX Runtime.

>>> from crestereo import CREStereo
>>> estimator = CREStereo("models/crestereo_lite.onnx", iters=5)  # doctest: +SKIP
>>> disparity = estimator(left_bgr, right_bgr)  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crestereo.errors import (
    Cancelled,
    CREStereoError,
    DisplayError,
    DownloadError,
    ModelError,
    ModelFileError,
    ProviderError,
    SourceError,
    UnknownModelError,
    UsageError,
)
from crestereo.models import ModelSpec

if TYPE_CHECKING:
    from crestereo.camera import Calibration, CameraConfig
    from crestereo.camera_files import read_calibration
    from crestereo.estimator import CREStereo
    from crestereo.types import DisparityResult, StereoPair

__version__ = "2.0.0"

__all__ = [
    "CREStereo",
    "CREStereoError",
    "Calibration",
    "CameraConfig",
    "Cancelled",
    "DisparityResult",
    "DisplayError",
    "DownloadError",
    "ModelError",
    "ModelFileError",
    "ModelSpec",
    "ProviderError",
    "SourceError",
    "StereoPair",
    "UnknownModelError",
    "UsageError",
    "__version__",
    "read_calibration",
]

# These import OpenCV and numpy, which would delay the first prompt of a script.
_LATE = {
    "CREStereo": ".estimator",
    "Calibration": ".camera",
    "CameraConfig": ".camera",
    "DisparityResult": ".types",
    "StereoPair": ".types",
    "read_calibration": ".camera_files",
}


def __getattr__(name: str) -> Any:
    """Import a slow name at its first use."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATE[name], __name__), name)


def __dir__() -> list[str]:
    """Return the public names, the late ones included."""
    return __all__
