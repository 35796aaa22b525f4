"""Train the bundled network.

    python -m training.train --minutes 120

Resumes from the last checkpoint of the run folder, if there is one. See README.md.
"""

from __future__ import annotations

import argparse
import copy
import math
import multiprocessing as mp
import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from training.checkpoints import Facts, restore, samples_of
from training.data import Batch, batches
from training.judge import Monitor
from training.losses import loss, start_loss
from training.network import LiteStereo
from training.pool import SHAPES, Counters, render_forever, rings
from training.processes import check_alive, exit_if_orphaned, wait_for

EMA_DECAY = 0.999
WARM_UP = 0.03  # share of the run in which the learning rate rises
COOL_DOWN = 0.25  # share in which it decays; constant in between, so that runs can be resumed
WEIGHT_DECAY = 1e-4
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Plan:
    """Settings of a run, from the command line."""

    run: Path
    minutes: float
    device: str
    processes: int
    threads: int
    workers: int
    loaders: int
    batch_pixels: int
    peak_rate: float
    max_iters: int
    start_share: float
    slots: int
    reuse: float
    validate_every: float
    held_out: int
    cool_down: float
    precision: str

    @property
    def mixed(self) -> bool:
        """Return whether convolutions run in bfloat16.

        Faster on CUDA and on CPUs with AMX or AVX-512 BF16; other CPUs take 1.4 times as long.
        """
        return self.precision == "mixed"


def rate_at(progress: float, plan: Plan) -> float:
    """Return the learning rate at a share 0..1 of the run.

    Linear warm-up, constant, cosine decay to a hundredth.
    """
    if progress < WARM_UP:
        return plan.peak_rate * max(progress / WARM_UP, 0.01)
    left = (1 - progress) / max(plan.cool_down, 1e-9)
    if left >= 1:
        return plan.peak_rate
    return plan.peak_rate * (0.01 + 0.99 * 0.5 * (1 - math.cos(math.pi * max(left, 0))))


def draw_iters(rng: np.random.Generator, most: int, start_share: float = 0.0) -> int:
    """Draw a number of iterations from 2 to `most`, log-uniformly.

    Small numbers are drawn more often because they are the common setting. With probability
    `start_share` the result is 0: the training step ends after the start.
    """
    if rng.random() < start_share:
        return 0
    return int(math.exp(rng.uniform(math.log(2), math.log(most + 1))))


def update_ema(ema: nn.Module, net: nn.Module, steps: int) -> None:
    """Update the EMA of the weights."""
    decay = min(EMA_DECAY, (1 + steps) / (10 + steps))
    with torch.no_grad():
        fast = net.state_dict()
        for name, slow in ema.state_dict().items():
            if slow.dtype.is_floating_point:
                slow.lerp_(fast[name].to(slow.dtype), 1 - decay)
            else:
                slow.copy_(fast[name])


def average_gradients(net: nn.Module, processes: int) -> None:
    """Average the gradients of all processes."""
    if processes == 1:
        return
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= processes
    for gradient, piece in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(piece.reshape(gradient.shape))


class Trainer:
    """Training process; the first one also logs, validates and saves."""

    def __init__(self, rank: int, plan: Plan, counters: Counters) -> None:
        self.rank, self.plan, self.counters = rank, plan, counters
        self.device = torch.device(plan.device)
        torch.manual_seed(0)
        self.net = LiteStereo()
        self.ema = copy.deepcopy(self.net)
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), plan.peak_rate, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.facts = Facts(plan.run.name)
        latest = plan.run / "latest.pt"
        if latest.exists():
            self.facts = restore(latest, self.net, self.ema, self.optimizer)
        self.net = self.net.to(self.device, memory_format=torch.channels_last)
        if self.device.type == "cpu":  # oneDNN is faster with it at 1/2: 1.76 s a batch, not 2.1
            for part in (self.net.up_4, self.net.guide_2, self.net.refine, self.net.up_2):
                part.to(memory_format=torch.contiguous_format)
        self.ema = self.ema.to(self.device)
        for entry in self.optimizer.state.values():
            entry.update({k: v.to(self.device) if v.dim() else v for k, v in entry.items()})

    def run(self) -> None:
        """Train until the time is used up.

        All processes use the clock of the first one.
        """
        plan, facts = self.plan, self.facts
        pool = plan.run.parent / "pool"
        source = batches(
            pool, plan.slots, plan.batch_pixels, facts.samples, self.rank, plan.loaders
        )
        with closing(source):
            self._run(source, Monitor(self) if self.rank == 0 else None)

    def _run(self, source: Iterator[Batch], monitor: Monitor | None) -> None:
        plan, facts = self.plan, self.facts
        rng = np.random.default_rng(facts.steps)  # the same in all processes: equal work
        begun, minutes_before = time.monotonic(), facts.minutes
        while True:
            clock = torch.tensor((time.monotonic() - begun) / 60)
            if plan.processes > 1:
                dist.broadcast(clock, 0)
            minutes = float(clock)
            facts.minutes = minutes_before + minutes
            finished = minutes >= plan.minutes
            exit_if_orphaned()
            if monitor is not None:
                monitor.save_and_validate(minutes, finished)
            if finished:
                break
            rate = rate_at(minutes / plan.minutes, plan)
            iters = draw_iters(rng, plan.max_iters, plan.start_share)
            terms = self.step(next(source), iters, rate)
            if monitor is not None:
                monitor.log_step(minutes, rate, terms)

    def step(self, batch: Batch, iters: int, rate: float) -> dict[str, float]:
        """Take one optimizer step on a batch and return the loss terms."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.net.train()
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.mixed):
            if iters:
                prediction = self.net(batch.left, batch.right, iters, batch.prior)
            else:
                start = self.net.search(batch.left, batch.right, batch.prior)
        terms = (
            loss(prediction, batch.ground_truth)
            if iters
            else start_loss(*start, batch.ground_truth)
        )
        self.optimizer.zero_grad()
        terms["total"].backward()
        average_gradients(self.net, self.plan.processes)
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), CLIP_NORM)
        if torch.isfinite(norm):  # the same in all processes, because the gradients are
            self.optimizer.step()
        update_ema(self.ema, self.net, self.facts.steps)
        seen = batch.left.shape[0] * self.plan.processes
        self.facts.steps += 1
        self.facts.samples += seen
        if self.rank == 0:
            with self.counters.get_lock():
                self.counters[1] += seen / self.plan.reuse
        return {k: float(v.detach()) for k, v in terms.items() if iters or k != "total"}


def train(rank: int, plan: Plan, counters: Counters, port: int) -> None:
    """Initialize and run one training process."""
    torch.set_num_threads(plan.threads)
    cv2.setNumThreads(1)
    if plan.processes > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        dist.init_process_group("gloo", rank=rank, world_size=plan.processes)
    Trainer(rank, plan, counters).run()
    if plan.processes > 1:
        dist.destroy_process_group()


def arguments() -> Plan:
    """Read the command line."""
    cuda = torch.cuda.is_available()
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--run", type=Path, default=Path("training/runs/lite"), help="folder of the run")
    add("--minutes", type=float, default=60, help="training time of this run")
    add("--device", default="cuda" if cuda else "cpu")
    add("--processes", type=int, default=1 if cuda else max(1, cores // 2 * 2), help="trainers")
    add("--threads", type=int, default=1, help="threads of each trainer")
    add("--workers", type=int, default=max(1, cores - 2) if cuda else 1, help="renderers")
    add("--loaders", type=int, default=4 if cuda else 1, help="threads that prepare batches")
    add("--batch-pixels", type=int, default=(64 if cuda else 4) * 192 * 320, help="per trainer")
    add("--peak-rate", type=float, default=1e-3)
    add("--max-iters", type=int, default=8, help="iterations are drawn from 2 to this number")
    add(
        "--start-share",
        type=float,
        default=2 / 3,
        help="share of the training steps that end after the start",
    )
    add("--slots", type=int, default=2000, help="scenes kept on disk, 1.5 to 2.4 MB each")
    add("--reuse", type=float, default=5, help="uses of each scene")
    add("--validate-every", type=float, default=10, help="minutes between checkpoints")
    add("--held-out", type=int, default=8, help="validation scenes of each shape")
    add(
        "--cool-down",
        type=float,
        default=COOL_DOWN,
        help="share of the time in which the learning rate decays; 0: constant",
    )
    add("--precision", choices=("float32", "mixed"), default="mixed" if cuda else "float32")
    return Plan(**vars(parser.parse_args()))


def main() -> None:
    """Start the renderers and the trainers, and wait for the trainers."""
    plan = arguments()
    plan.run.mkdir(parents=True, exist_ok=True)
    context = mp.get_context("spawn")
    pool = plan.run.parent / "pool"
    full = sum(ring.slots for ring in rings(pool, plan.slots))
    held = sum(len(ring.filled()) for ring in rings(pool, plan.slots))
    counters = context.Array("d", [held, full])  # scenes rendered, scenes allowed
    used = samples_of(plan.run / "latest.pt")  # an upper bound of the seeds used
    renderers = []
    for number in range(plan.workers):
        task = (pool, plan.slots, number, plan.workers, counters, used)
        renderers.append(context.Process(target=render_forever, args=task, daemon=True))
        renderers[-1].start()
    while min(len(ring.filled()) for ring in rings(pool, plan.slots)) < 32 // len(SHAPES):
        time.sleep(0.2)
        check_alive(renderers)
    port = 20000 + os.getpid() % 20000
    trainers = [
        context.Process(target=train, args=(rank, plan, counters, port))
        for rank in range(plan.processes)
    ]
    for trainer in trainers:
        trainer.start()
    wait_for(trainers, renderers)


if __name__ == "__main__":
    main()
