"""Loss functions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.network import Prediction

CELL = 8  # width of a bin of the start volume, px
DECAY = 0.85  # weight of a step relative to the next one
INITIAL_WEIGHT = 0.1  # of the initial disparity, in a training step that ends after the start
SCALE = 4.0  # px; far larger errors are rarely corrected and must not dominate the loss
OCCLUDED_WEIGHT = 0.6  # below 1, because occluded pixels have no match


@dataclass
class GroundTruth:
    """Ground truth of a batch.

    Parameters
    ----------
    disparity : (N, 1, H, W) float32
        Pixels; NaN where undefined or beyond the disparity range of the start.
    visible : (N, 1, H, W) bool
        Pixels visible in both views.
    """

    disparity: Tensor
    visible: Tensor


def disparity_loss(disparity: Tensor, scale: int, goal: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of the robust disparity error.

    The error is quadratic below half a pixel, absolute above, logarithmic beyond `SCALE` pixels.

    Parameters
    ----------
    disparity : (N, 1, h, w)
        In pixels of its scale.
    scale : int
        Factor to pixels of the full resolution.
    goal, weights : (N, 1, h, w)
        True disparity in pixels of the full resolution, and weight of each pixel.
    """
    error = F.smooth_l1_loss(disparity * scale, goal, reduction="none", beta=0.5)
    error = SCALE * torch.log1p(error / SCALE)
    return (error * weights).sum() / weights.sum().clamp(min=1)


def target_and_weight(ground_truth: GroundTruth) -> tuple[Tensor, Tensor]:
    """Return the true disparity, 0 where unknown, and the pixel weights."""
    weight = torch.isfinite(ground_truth.disparity) * torch.where(
        ground_truth.visible, 1.0, OCCLUDED_WEIGHT
    )
    return torch.nan_to_num(ground_truth.disparity), weight


def start_loss(logits: Tensor, start: Tensor, ground_truth: GroundTruth) -> dict[str, Tensor]:
    """Return the loss terms of a step that ends after the start.

    The terms are named as those of `loss`.

    Parameters
    ----------
    logits : (N, 1, H/8, D + 2, W/8)
    start : (N, 1, H/8, W/8)
        The initial disparity, in pixels of its scale.
    ground_truth : GroundTruth
    """
    target, weight = target_and_weight(ground_truth)
    quarter, quarter_weight = target[:, :, 2::4, 2::4], weight[:, :, 2::4, 2::4]
    bins = bins_loss(logits, quarter, quarter_weight)
    initial = disparity_loss(
        F.interpolate(start, scale_factor=2.0, mode="nearest"), 8, quarter, quarter_weight
    )
    total = 0.5 * bins + INITIAL_WEIGHT * initial
    return {"total": total, "start": bins.detach(), "initial": initial.detach()}


def loss(prediction: Prediction, ground_truth: GroundTruth) -> dict[str, Tensor]:
    """Return the loss terms of a full pass.

    ``total`` is minimised, the others are logged. Disparity errors are those of `disparity_loss`,
    in pixels of the full resolution.
    """
    target, weight = target_and_weight(ground_truth)
    quarter, quarter_weight = target[:, :, 2::4, 2::4], weight[:, :, 2::4, 2::4]
    half, half_weight = target[:, :, 1::2, 1::2], weight[:, :, 1::2, 1::2]

    eighths = [F.interpolate(d, scale_factor=2.0, mode="nearest") for d in prediction.steps_8]
    sequence = [disparity_loss(d, 8, quarter, quarter_weight) for d in eighths]
    sequence += [disparity_loss(d, 4, quarter, quarter_weight) for d in prediction.steps_4]
    steps = torch.stack(
        [term * DECAY ** (len(sequence) - 1 - i) for i, term in enumerate(sequence)]
    ).mean()
    final = disparity_loss(prediction.disparity, 1, target, weight)
    last = disparity_loss(prediction.half, 2, half, half_weight)
    start = bins_loss(prediction.logits, quarter, quarter_weight)
    error = (prediction.disparity.detach() - target).abs()
    correct = ((error < 1) & ground_truth.visible).float()
    cross_entropy = F.binary_cross_entropy_with_logits(
        prediction.confidence, correct, reduction="none"
    )
    known = weight > 0
    confidence = (cross_entropy * known).sum() / known.sum().clamp(min=1)
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
    """Return the cross-entropy of the bin scores against the true bins.

    The target distribution of a cell comes from its four pixels, each of which divides its weight
    linearly between the two nearest bins.

    Parameters
    ----------
    logits : (N, 1, h, D + 2, w)
        As `Prediction.logits`.
    quarter, weight : (N, 1, 2 h, 2 w)
        True disparity at 1/4 of the resolution, in full pixels, and weight of each pixel.
    """
    scores = logits[:, 0, :, 1:-1].permute(0, 1, 3, 2)  # (N, h, w, D)
    bins = scores.shape[3]
    position = F.pixel_unshuffle(quarter, 2).permute(0, 2, 3, 1) / CELL  # (N, h, w, 4)
    pixel_weight = F.pixel_unshuffle(weight, 2).permute(0, 2, 3, 1)
    pixel_weight = pixel_weight * (position <= bins - 1)
    position = position.clamp(0, bins - 1)
    below = position.floor()
    share = position - below
    goal = torch.zeros_like(scores)
    goal.scatter_add_(3, below.long(), pixel_weight * (1 - share))
    goal.scatter_add_(3, (below.long() + 1).clamp(max=bins - 1), pixel_weight * share)
    return -(goal * scores.log_softmax(3)).sum() / pixel_weight.sum().clamp(min=1)
