"""Rendered stereo pairs with exact ground truth, deterministic by seed."""

from __future__ import annotations

from training.scenes.scene import Sample, render_scene

__all__ = ["Sample", "render_scene"]
