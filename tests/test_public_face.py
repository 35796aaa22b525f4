"""What ``from crestereo import ...`` gives, and what importing it costs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import crestereo
from crestereo import errors

ROOT = Path(__file__).parents[1]
BUNDLED = ROOT / "models" / "crestereo_lite.onnx"


def test_the_export_list_is_the_public_face():
    assert sorted(crestereo.__all__) == crestereo.__all__
    assert set(crestereo.__all__) == {
        "CREStereo",
        "Calibration",
        "CameraConfig",
        "DisparityResult",
        "ModelSpec",
        "StereoPair",
        "__version__",
        "read_calibration",
        *(
            name
            for name, value in vars(errors).items()
            if isinstance(value, type) and issubclass(value, errors.CREStereoError)
        ),
    }
    assert all(hasattr(crestereo, name) for name in crestereo.__all__)


def test_the_version_is_the_one_of_the_project():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{crestereo.__version__}"' in text


def test_every_error_has_a_root_and_an_exit_code():
    codes = {
        errors.CREStereoError: 70,
        errors.UsageError: 2,
        errors.SourceError: 3,
        errors.ModelError: 4,
        errors.DisplayError: 5,
        errors.Cancelled: 130,
    }
    for name in crestereo.__all__:
        kind = getattr(crestereo, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert issubclass(kind, errors.CREStereoError)
            nearest = next(each for each in kind.__mro__ if each in codes)
            assert kind.exit_code == codes[nearest]


def test_importing_waits_for_no_heavy_package_and_warns_of_nothing():
    code = (
        "import sys, crestereo\n"
        "heavy = {'onnxruntime', 'skimage', 'yt_dlp', 'torch', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not BUNDLED.exists(), reason="the bundled network is not there yet")
def test_the_example_of_the_readme_works():
    """The real pair is the one that ships with scikit-image (Middlebury, 741x500)."""
    from skimage import data

    left, right, truth = data.stereo_motorcycle()
    estimator = crestereo.CREStereo(BUNDLED, iters=5, model_shape=(480, 640))
    result = estimator.estimate(left[..., 2::-1].copy(), right[..., 2::-1].copy())
    assert result.disparity.shape == truth.shape
    assert result.disparity.dtype == np.float32
    assert result.confidence is not None
    assert 0 <= result.confidence.min() <= result.confidence.max() <= 1
    assert result.model == "crestereo_lite.onnx"
    error = np.abs(result.disparity - truth)[np.isfinite(truth)]
    assert np.median(error) < 1.0  # the scene reaches from 7 to 60 px
