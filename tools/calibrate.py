"""Calibrate two cameras, as ``crestereo calibrate`` does.

Examples
--------
::

    python tools/calibrate.py --print-board board.pdf
    python tools/calibrate.py board_left.mp4 board_right.mp4 --square-mm 24.8 --output rig.yml
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crestereo.app.commands import main

if __name__ == "__main__":
    sys.argv.insert(1, "calibrate")
    main()
