"""What the network is told about its errors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.network import Prediction

CELL = 8  # pixels that one bin of the start volume stands for
DECAY = 0.85  # weight of a step against the one after it
INITIAL_WEIGHT = 0.1  # of the error of the initial disparity where a step ends there
SCALE = 4.0  # pixels; far larger errors are seldom corrected and must not outweigh the others
OCCLUDED_WEIGHT = 0.6  # what one camera does not see can only be guessed


@dataclass
class Truth:
    """Hold the answers to a batch.

    Parameters
    ----------
    disparity : (N, 1, H, W) float32
        Pixels; NaN where it is not defined or beyond the range that counts.
    visible : (N, 1, H, W) bool
        Seen by both cameras.
    """

    disparity: Tensor
    visible: Tensor


def fine(disparity: Tensor, scale: int, goal: Tensor, weights: Tensor) -> Tensor:
    """Weigh the errors of a disparity in pixels of its scale.

    Smoothed below half a pixel, absolute above, logarithmic beyond `SCALE` pixels.
    """
    error = F.smooth_l1_loss(disparity * scale, goal, reduction="none", beta=0.5)
    error = SCALE * torch.log1p(error / SCALE)
    return (error * weights).sum() / weights.sum().clamp(min=1)


def known_of(truth: Truth) -> tuple[Tensor, Tensor]:
    """Give the true disparity, 0 where unknown, and what each pixel counts."""
    weight = torch.isfinite(truth.disparity) * torch.where(truth.visible, 1.0, OCCLUDED_WEIGHT)
    return torch.nan_to_num(truth.disparity), weight


def start_loss(logits: Tensor, start: Tensor, truth: Truth) -> dict[str, Tensor]:
    """Add up what a step that ends after the start learns from, terms as `loss` gives them.

    Parameters
    ----------
    logits : (N, 1, H/8, D + 2, W/8)
    start : (N, 1, H/8, W/8)
        The initial disparity, in pixels of its scale.
    truth : Truth
    """
    target, weight = known_of(truth)
    quarter, quarter_weight = target[:, :, 2::4, 2::4], weight[:, :, 2::4, 2::4]
    bins = bins_loss(logits, quarter, quarter_weight)
    initial = fine(
        F.interpolate(start, scale_factor=2.0, mode="nearest"), 8, quarter, quarter_weight
    )
    total = 0.5 * bins + INITIAL_WEIGHT * initial
    return {"total": total, "start": bins.detach(), "initial": initial.detach()}


def loss(prediction: Prediction, truth: Truth) -> dict[str, Tensor]:
    """Add up the terms; ``total`` is to be minimised, the others are for the log.

    Disparity errors are in pixels of the full resolution, weighed by `fine`.
    """
    target, weight = known_of(truth)
    quarter, quarter_weight = target[:, :, 2::4, 2::4], weight[:, :, 2::4, 2::4]
    half, half_weight = target[:, :, 1::2, 1::2], weight[:, :, 1::2, 1::2]

    eighths = [F.interpolate(d, scale_factor=2.0, mode="nearest") for d in prediction.steps_8]
    sequence = [fine(d, 8, quarter, quarter_weight) for d in eighths]
    sequence += [fine(d, 4, quarter, quarter_weight) for d in prediction.steps_4]
    steps = torch.stack(
        [term * DECAY ** (len(sequence) - 1 - i) for i, term in enumerate(sequence)]
    ).mean()
    final = fine(prediction.disparity, 1, target, weight)
    last = fine(prediction.half, 2, half, half_weight)
    start = bins_loss(prediction.logits, quarter, quarter_weight)
    error = (prediction.disparity.detach() - target).abs()
    sure = ((error < 1) & truth.visible).float()
    doubt = F.binary_cross_entropy_with_logits(prediction.confidence, sure, reduction="none")
    known = weight > 0
    confidence = (doubt * known).sum() / known.sum().clamp(min=1)
    total = final + 0.5 * last + steps + 0.5 * start + 0.3 * confidence
    return {
        "total": total,
        "final": final.detach(),
        "steps": steps.detach(),
        "start": start.detach(),
        "confidence": confidence.detach(),
        "initial": sequence[0].detach(),
    }


def bins_loss(logits: Tensor, quarter: Tensor, weight: Tensor) -> Tensor:
    """Compare the scores of the start with the true bins, as a classification.

    Each of the four known pixels of a cell shares its vote between the two nearest bins.

    Parameters
    ----------
    logits : (N, 1, h, D + 2, w)
        As `Prediction.logits`.
    quarter, weight : (N, 1, 2 h, 2 w)
        True disparity at 1/4 of the resolution, in full pixels, and what each is worth.
    """
    scores = logits[:, 0, :, 1:-1].permute(0, 1, 3, 2)  # (N, h, w, D)
    bins = scores.shape[3]
    votes = F.pixel_unshuffle(quarter, 2).permute(0, 2, 3, 1) / CELL  # (N, h, w, 4)
    worth = F.pixel_unshuffle(weight, 2).permute(0, 2, 3, 1)
    worth = worth * (votes <= bins - 1)
    votes = votes.clamp(0, bins - 1)
    below = votes.floor()
    share = votes - below
    goal = torch.zeros_like(scores)
    goal.scatter_add_(3, below.long(), worth * (1 - share))
    goal.scatter_add_(3, (below.long() + 1).clamp(max=bins - 1), worth * share)
    return -(goal * scores.log_softmax(3)).sum() / worth.sum().clamp(min=1)
