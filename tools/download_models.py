"""Download or list the published CREStereo models, as ``crestereo download`` does.

Examples
--------
::

    python tools/download_models.py --iters 5 --model-shape 240x320,480x640 --model-version init
    python tools/download_models.py --list
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crestereo.app.download import run_download
from crestereo.app.script import run_script

if __name__ == "__main__":
    run_script(run_download)
