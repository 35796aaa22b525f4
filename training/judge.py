"""Logging, checkpoints and validation of a training run."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from training.checkpoints import Facts, save
from training.data import Batch, held_out
from training.losses import start_loss
from training.plot import draw


class Planned(Protocol):
    """Settings of a run that the monitor reads."""

    @property
    def run(self) -> Path: ...
    @property
    def minutes(self) -> float: ...
    @property
    def validate_every(self) -> float: ...
    @property
    def held_out(self) -> int: ...


class Trained(Protocol):
    """Attributes of a trainer that the monitor reads."""

    plan: Planned
    facts: Facts
    net: nn.Module
    ema: nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device


def validate(
    net: nn.Module, scenes: list[Batch], device: torch.device, iters: int
) -> dict[str, float]:
    """Compute the mean metrics over held-out scenes.

    Returns
    -------
    dict of str to float
        EPE [px], bad-1, bad-2 of all and of non-occluded pixels (fractions), cross-entropy of the
        start, and the loss of the initial disparity [px].
    """
    net.eval()
    rows = []
    with torch.no_grad():
        for scene in scenes:
            batch = scene.to(device)
            prediction = net(batch.left, batch.right, iters)
            disparity = prediction.disparity
            start = start_loss(prediction.logits, prediction.steps_8[0], batch.ground_truth)
            known = torch.isfinite(batch.ground_truth.disparity)
            error = (disparity - batch.ground_truth.disparity)[known].abs()
            seen = batch.ground_truth.visible[known]
            rows.append(
                [
                    error.mean(),
                    (error > 1).float().mean(),
                    (error > 2).float().mean(),
                    (error > 2).float()[seen].mean(),
                    start["start"],
                    start["initial"],
                ]
            )
    means = torch.tensor(rows).mean(0).tolist()
    names = ("epe", "bad1", "bad2", "bad2_noc", "start", "initial")
    return dict(zip(names, means, strict=True))


def append(path: Path, row: dict[str, object]) -> None:
    """Append a row to a CSV file.

    A new file gets a header; every row must have the same keys.
    """
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)


def drop_rows_after(path: Path, samples: int) -> None:
    """Remove the rows of a log after a number of samples.

    A killed run may have written them after its last checkpoint.
    """
    if not path.exists():
        return
    with path.open(newline="") as file:
        head, *rows = csv.reader(file)
    kept = [row for row in rows if int(row[head.index("samples")]) <= samples]
    if not kept:
        path.unlink()
        return
    short = path.with_suffix(".tmp")
    with short.open("w", newline="") as file:
        csv.writer(file).writerows([head, *kept])
    short.replace(path)


class Monitor:
    """Logging, checkpoints and validation in the first training process."""

    LOG_EVERY = 50  # steps

    def __init__(self, trainer: Trained) -> None:
        self.trainer, self.plan = trainer, trainer.plan
        self.scenes = held_out(self.plan.held_out)
        self.next_validation = self.plan.validate_every
        self.recent: list[dict[str, float]] = []
        self.first_sample = trainer.facts.samples
        for name in ("train.csv", "validation.csv"):
            drop_rows_after(self.plan.run / name, self.first_sample)
        self.bar = tqdm(
            total=self.plan.minutes,
            bar_format="{percentage:3.0f}%|{bar}| {n:.1f} of {total:.0f} min{postfix}",
        )

    def log_step(self, minutes: float, rate: float, terms: dict[str, float]) -> None:
        """Record a step; log the mean of every `LOG_EVERY` steps."""
        self.recent.append(terms)
        if len(self.recent) < self.LOG_EVERY:
            return
        names = dict.fromkeys(k for row in sorted(self.recent, key=len)[::-1] for k in row)
        mean = {k: float(np.mean([row[k] for row in self.recent if k in row])) for k in names}
        samples = self.trainer.facts.samples
        append(self.plan.run / "train.csv", {"samples": samples, "rate": rate, **mean})
        speed = (samples - self.first_sample) / max(minutes * 60, 1e-9)
        self.bar.n = minutes
        self.bar.set_postfix_str(
            f"loss {mean['total']:.3f}, error {mean['final']:.3f} px, {speed:.1f} samples/s"
        )
        self.recent.clear()

    def save_and_validate(self, minutes: float, finished: bool) -> None:
        """Save a checkpoint and validate if due or finished."""
        if minutes < self.next_validation and not finished:
            return
        trainer, facts = self.trainer, self.trainer.facts
        save(self.plan.run / "latest.pt", trainer.net, trainer.ema, trainer.optimizer, facts)
        marks = validate(trainer.ema, self.scenes, trainer.device, iters=5)
        row = {"samples": facts.samples, "minutes": round(facts.minutes, 1), **marks}
        append(self.plan.run / "validation.csv", row)
        draw(self.plan.run)
        text = ", ".join(f"{k} {v:.4f}" for k, v in marks.items())
        self.bar.write(f"{facts.samples} samples: {text}")
        self.next_validation += self.plan.validate_every
