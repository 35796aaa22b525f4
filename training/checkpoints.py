"""Checkpoints of a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import nn


@dataclass
class Facts:
    """Progress of a training run, over all its resumptions."""

    run: str
    samples: int = 0
    steps: int = 0
    minutes: float = 0.0


def save(
    path: Path, net: nn.Module, ema: nn.Module, optimizer: torch.optim.Optimizer, facts: Facts
) -> None:
    """Write a checkpoint of 13 MB atomically.

    Of the weights only the difference from their EMA is stored. It is small, so that bfloat16 is
    precise enough for it, as for the moments of the optimizer.
    """
    fast, slow = net.state_dict(), ema.state_dict()
    lead = {k: (fast[k] - v).bfloat16() for k, v in slow.items() if v.dtype.is_floating_point}
    state = optimizer.state_dict()
    moments = {
        number: {k: v.bfloat16() if v.dim() else v for k, v in entry.items()}
        for number, entry in state["state"].items()
    }
    parts = {"ema": slow, "lead": lead, "moments": moments}
    part = path.with_suffix(".tmp")
    torch.save(parts | asdict(facts), part)
    part.replace(path)


def samples_of(path: Path) -> int:
    """Return the number of samples of a checkpoint, 0 without a file."""
    if not path.exists():
        return 0
    return int(torch.load(path, map_location="cpu", weights_only=True)["samples"])


def restore(path: Path, net: nn.Module, ema: nn.Module, optimizer: torch.optim.Optimizer) -> Facts:
    """Load a checkpoint into networks and optimizer; return its progress."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    slow, lead = checkpoint["ema"], checkpoint["lead"]
    net.load_state_dict({k: v + lead[k].float() if k in lead else v for k, v in slow.items()})
    ema.load_state_dict(slow)
    state = optimizer.state_dict()
    state["state"] = {
        number: {k: v.float() for k, v in entry.items()}
        for number, entry in checkpoint["moments"].items()
    }
    optimizer.load_state_dict(state)
    return Facts(**{field.name: checkpoint[field.name] for field in fields(Facts)})
