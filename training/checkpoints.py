"""What a run leaves behind, so that the next one goes on from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import nn


@dataclass
class Facts:
    """Count what a run has done, over all the times it was continued."""

    run: str
    samples: int = 0
    steps: int = 0
    minutes: float = 0.0


def save(
    path: Path, net: nn.Module, ema: nn.Module, optimizer: torch.optim.Optimizer, facts: Facts
) -> None:
    """Write a checkpoint under its name only when it is whole: 12 MB, the moments as bfloat16."""
    state = optimizer.state_dict()
    moments = {
        number: {k: v.bfloat16() if v.dim() else v for k, v in entry.items()}
        for number, entry in state["state"].items()
    }
    parts = {"net": net.state_dict(), "ema": ema.state_dict(), "moments": moments}
    part = path.with_suffix(".tmp")
    torch.save(parts | asdict(facts), part)
    part.replace(path)


def restore(path: Path, net: nn.Module, ema: nn.Module, optimizer: torch.optim.Optimizer) -> Facts:
    """Load a checkpoint into the three and give its facts."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    net.load_state_dict(checkpoint["net"])
    ema.load_state_dict(checkpoint["ema"])
    state = optimizer.state_dict()
    state["state"] = {
        number: {k: v.float() for k, v in entry.items()}
        for number, entry in checkpoint["moments"].items()
    }
    optimizer.load_state_dict(state)
    return Facts(**{field.name: checkpoint[field.name] for field in fields(Facts)})
