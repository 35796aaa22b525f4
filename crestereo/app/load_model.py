"""Which network a run takes: chosen before anything is asked, opened once the sources are good."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from crestereo.app.script import say
from crestereo.app.settings import ImageSettings
from crestereo.app.sources import expand_home
from crestereo.errors import ModelFileError
from crestereo.models import ModelChoice, choose_model, iters_in_name, models_dir
from crestereo.session import check_installed, check_is_file

if TYPE_CHECKING:
    from crestereo.estimator import CREStereo


LoadModel = Callable[[], "CREStereo"]
"""Opens the chosen network and prints a line about it."""


def check_model(settings: ImageSettings, folder: Path | None = None) -> LoadModel:
    """Choose the network for the settings and return what opens it."""
    check_installed(settings.device)
    if settings.model_path is None:
        choice = choose_model(settings.version, settings.iters, settings.model_shape, folder)
        return partial(_open_chosen, choice, settings, folder)
    path = Path(expand_home(settings.model_path))
    if not path.is_file():
        raise ModelFileError(f"there is no model file {path}; check --model-path")
    check_is_file(path)
    return partial(_open_own, path, settings)


def _open_chosen(choice: ModelChoice, settings: ImageSettings, folder: Path | None) -> CREStereo:
    path = choice.path
    if path is None:
        from crestereo.app.download import fetch_models  # noqa: PLC0415  heavy

        path = fetch_models([choice.spec], folder or models_dir())[0]
    estimator = _open(path, settings, settings.iters, settings.model_shape)
    say(f"{choice.note}; runs on {estimator.provider}")
    return estimator


def _open_own(path: Path, settings: ImageSettings) -> CREStereo:
    """Open a file of the user's: what it has built in goes before the script's block."""
    iters = settings.iters if "iters" in settings.given else None
    shape = settings.model_shape if "model_shape" in settings.given else None
    estimator = _open(path, settings, iters, shape)
    free_iters = estimator.iters is not None and iters_in_name(path.name) is None
    free_shape = estimator.shape is None
    if free_iters or free_shape:
        iters = settings.iters if free_iters else iters
        shape = settings.model_shape if free_shape else shape
        estimator = _open(path, settings, iters, shape)
    say(f"model: {path.name}; runs on {estimator.provider}")
    return estimator


def _open(
    path: Path, settings: ImageSettings, iters: int | None, shape: tuple[int, int] | None
) -> CREStereo:
    from crestereo.estimator import CREStereo  # noqa: PLC0415  heavy

    return CREStereo(
        path,
        iters=iters,
        model_shape=shape,
        device=settings.device,
        threads=settings.threads,
    )
