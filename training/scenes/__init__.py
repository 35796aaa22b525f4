"""Rendered stereo pairs with exact ground truth, deterministic by seed.

Requires NumPy and OpenCV only.
"""

from __future__ import annotations

from training.scenes.scene import Sample, render_scene

__all__ = ["Sample", "render_scene"]
