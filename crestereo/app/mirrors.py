"""Where the published CREStereo models are, and what is known of their bytes.

References
----------
Conversion 284_CREStereo of PINTO's model zoo (Apache-2.0), https://github.com/PINTO0309/PINTO_model_zoo;
single files: release v0.1-crestereo of https://github.com/nburrus/stereodemo.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from crestereo.models import ModelSpec

_SINGLE_SHAPES = {
    "init": {(180, 320), (240, 320), (480, 640), (720, 1280)},
    "combined": {(240, 320), (480, 640), (720, 1280)},
}
"""What the release with single files holds, each for 2, 5, 10 and 20 iterations."""

KNOWN_SHA256 = {
    "crestereo_init_iter10_480x640.onnx": (
        "ea67a517e61ff381b0b26beec72222f5ba4ef416a251d6e3e1d7224c6f7ba730"
    ),
}
"""Digests known beforehand; of every other file the first one seen is remembered."""


@dataclass(frozen=True)
class Mirrors:
    """Hold the addresses below which the published files lie.

    Parameters
    ----------
    single : str
        Folder of single files, ``<single>/<name>.onnx``.
    archives : tuple of str
        Folders of archives with every shape of one iteration count,
        ``<archive>/resources_iter<n>.tar.gz``; tried in this order.
    """

    single: str
    archives: tuple[str, ...]

    def single_url(self, spec: ModelSpec, name: str) -> str | None:
        """Return the address of one model's own file, None where there is none."""
        published = spec.shape in _SINGLE_SHAPES.get(spec.version, set())
        return f"{self.single}/{name}" if published else None

    def archive_urls(self, iters: int) -> list[str]:
        """Return the addresses of the archives that hold the models of an iteration count."""
        return [f"{folder}/resources_iter{iters}.tar.gz" for folder in self.archives]


PUBLISHED_MIRRORS = Mirrors(
    single="https://github.com/nburrus/stereodemo/releases/download/v0.1-crestereo",
    archives=(
        "https://s3.ap-northeast-2.wasabisys.com/pinto-model-zoo/284_CREStereo/tensorrt",
        "https://s3.ap-northeast-2.wasabisys.com/pinto-model-zoo/284_CREStereo/non_tensorrt",
    ),
)


def archive_part_name(url: str) -> str:
    """Return the name of an archive's part file; archives of different folders differ in it."""
    *_, folder, name = PurePosixPath(urlsplit(url).path).parts
    return f"{folder}_{name}.part"
