"""One thread each: on a busy machine, threads that wait for one another waste most of the time."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("torch"):
    import torch

    torch.set_num_threads(1)
