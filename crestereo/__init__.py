"""Depth from stereo pictures with CREStereo networks in ONNX Runtime.

>>> from crestereo import CREStereo
>>> estimator = CREStereo("models/crestereo_lite.onnx", iters=5)  # doctest: +SKIP
>>> disparity = estimator(left_bgr, right_bgr)  # doctest: +SKIP
"""

from .errors import (
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
from .estimator import CREStereo
from .settings import CameraConfig, ModelSpec
from .types import DisparityResult, StereoPair

__version__ = "1.0.0"

__all__ = [
    "CREStereo",
    "CREStereoError",
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
]
