"""The bundled network: a compact recurrent cascade in the family of CREStereo.

An encoder extracts features at five scales. All candidate disparities are compared once, at 1/8 of
the resolution, and a small hourglass filters this cost volume: its best bin is the initial
disparity. The hourglass merges the bins in pairs, in two pairings (each bin with the next one, and
each bin with the previous one), because a disparity between two pairs is estimated poorly.
Recurrent steps then look up the matching cost around the current disparity and update it, first at
1/8, then at 1/4. A last step at 1/2 compares the left features with the right ones, warped by the
disparity and by the nearest and the farthest disparity of the neighbourhood, so that a pixel next
to an edge can change from one surface to the other. Guided 2x upsampling connects the scales.
`iters` counts all steps.

Ideas and their sources: recurrent lookup of an all-pairs volume and convex upsampling (RAFT-Stereo,
Lipson et al. 2021), group-wise correlation and a cascade whose steps share weights (CREStereo, Li
et al. 2022), lookup in a filtered volume as well as in the raw one (IGEV-Stereo, Xu et al. 2023),
a last step on warped features at high resolution (HITNet, Tankovich et al. 2021), an initial
disparity as an additional channel of the volume (ours).

Longer than the rule for modules, so that the whole network is in one file, parts first.

Shapes in the comments: N images, H and W the padded size, D disparity bins, G groups, T taps.
A disparity inside the network is float32, in pixels of the scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MULTIPLE = 32  # images are padded to multiples of it, because the hourglass reaches 1/32
RADIUS = 3  # of a lookup: taps on each side of the current disparity
SEARCHED = (2, 5)  # search range of the start: two fifths of the width
GROUPS_8, GROUPS_4 = 4, 2  # groups of channels in group-wise correlation
WIDTH_2, WIDTH_4, WIDTH_8, WIDTH_16, WIDTH_32 = 16, 32, 64, 96, 64  # feature channels by scale
HIDDEN_8, HIDDEN_4 = 48, 32  # channels of the recurrent states
AGREEMENT = 1.0  # difference, px of 1/4, up to which an initial disparity is used at 1/4
STAY = 4.0  # initial bias of the last step towards its input disparity
OUTSIDE = -8.0  # score of a bin outside of the volume
VOLUME, VOLUME_2, VOLUME_4 = 16, 24, 32  # channels of the hourglass by depth
SPREADS = (1, 1, 4, 2)  # dilation of the blocks at 1/32: blank walls need a wide context

Layer = TypeVar("Layer", nn.Conv2d, nn.BatchNorm2d)


def conv(
    inputs: int, outputs: int, *, stride: int = 1, size: int = 3, spread: int = 1
) -> nn.Sequential:
    """Return a convolution, batch normalisation (folded by the export) and ReLU.

    `spread` is the dilation.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, spread * (size // 2), spread, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def silent(layer: Layer) -> Layer:
    """Initialize a layer with zeros, so that a shortcut starts as identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def twice(x: Tensor) -> Tensor:
    """Repeat every value 2x2 times."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Residual(nn.Module):
    """Residual block of two 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), silent(nn.BatchNorm2d(channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class Encoder(nn.Module):
    """Feature encoder with scales from 1/2 to 1/32.

    Features at 1/2, 1/4 and 1/8 include those of all coarser scales.
    """

    def __init__(self) -> None:
        super().__init__()
        self.to_2 = conv(3, WIDTH_2, stride=2)
        self.to_4 = nn.Sequential(conv(WIDTH_2, WIDTH_4, stride=2), Residual(WIDTH_4))
        self.to_8 = nn.Sequential(
            conv(WIDTH_4, WIDTH_8, stride=2), Residual(WIDTH_8), Residual(WIDTH_8)
        )
        self.to_16 = nn.Sequential(
            conv(WIDTH_8, WIDTH_16, stride=2), Residual(WIDTH_16), Residual(WIDTH_16)
        )
        self.to_32 = nn.Sequential(conv(WIDTH_16, WIDTH_32, stride=2), Residual(WIDTH_32))
        self.from_32 = silent(nn.Conv2d(WIDTH_32, WIDTH_16, 1))
        self.from_16 = nn.Conv2d(WIDTH_16, WIDTH_8, 1)
        self.from_8 = nn.Conv2d(WIDTH_8, WIDTH_4, 1)
        self.from_4 = nn.Conv2d(WIDTH_4, WIDTH_2, 1)
        self.merge_8 = nn.Sequential(conv(WIDTH_8, WIDTH_8), nn.Conv2d(WIDTH_8, WIDTH_8, 1))
        self.merge_4 = nn.Sequential(conv(WIDTH_4, WIDTH_4), nn.Conv2d(WIDTH_4, WIDTH_4, 1))
        self.merge_2 = nn.Conv2d(WIDTH_2, WIDTH_2, 3, 1, 1)

    def coarse(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the features of all scales.

        Those at 1/2 and 1/4 do not include coarser scales; the start reads the other three.
        """
        x2 = self.to_2(image)  # (N, 16, H/2, W/2)
        x4 = self.to_4(x2)  # (N, 32, H/4, W/4)
        x8 = self.to_8(x4)  # (N, 64, H/8, W/8)
        x16 = self.to_16(x8)  # (N, 96, H/16, W/16)
        x32 = self.to_32(x16)  # (N, 64, H/32, W/32)
        x16 = x16 + twice(self.from_32(x32))
        return x2, x4, self.merge_8(x8 + twice(self.from_16(x16))), x16, x32

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        x2, x4, f8, x16, x32 = self.coarse(image)
        f4 = self.merge_4(x4 + twice(self.from_8(f8)))
        f2 = self.merge_2(x2 + twice(self.from_4(f4)))
        return f2, f4, f8, x16, x32


def correlate(left: Tensor, right: Tensor, groups: int) -> Tensor:
    """Compute the correlation of all pairs of pixels in each row.

    Returns
    -------
    (N, G, H, W' + 2, W) float32

    Notes
    -----
    A column of zeros on either side represents the outside of the right image. The left columns
    are the last axis, because lookups are fastest along whole rows.
    """
    n, c, h, w = left.shape
    right = F.pad(right, (1, 1))
    a = left.reshape(n, groups, c // groups, h, w).permute(0, 1, 3, 2, 4)  # (N, G, H, C/G, W)
    b = right.reshape(n, groups, c // groups, h, -1).permute(0, 1, 3, 4, 2)  # (N, G, H, W'+2, C/G)
    return torch.matmul(b * (c // groups) ** -0.5, a).float()


def taps(volume: Tensor, position: Tensor) -> Tensor:
    """Sample the volume around a position of every pixel, linearly interpolated.

    Parameters
    ----------
    volume : (N, G, H, K + 2, W)
        With a border of one on either side of K, which represents the outside.
    position : (N, 1, H, W) float32
        Index along K, not counting the border.

    Returns
    -------
    (N, G T, H, W)
        T = 2 RADIUS + 1 values per group.
    """
    n, g, h, k, w = volume.shape
    position = position.unsqueeze(3)  # (N, 1, H, 1, W)
    below = torch.floor(position)
    steps = torch.arange(1 - RADIUS, RADIUS + 3, device=volume.device, dtype=torch.float32)
    index = below + steps[:, None]  # (N, 1, H, T + 1, W)
    last = index.new_zeros(1) + (k - 1)  # a tensor, so that the size stays dynamic in the export
    index = index.clamp(min=0).minimum(last).long()
    values = torch.gather(volume, 3, index.expand(n, g, h, 2 * RADIUS + 2, w))
    near, far = values[:, :, :, :-1], values[:, :, :, 1:]
    values = near + (far - near) * (position - below)  # (N, G, H, T, W)
    return values.permute(0, 1, 3, 2, 4).reshape(n, g * (2 * RADIUS + 1), h, w)


def columns(disparity: Tensor) -> Tensor:
    """Return the column indices of a map, (W,) float32."""
    return torch.arange(disparity.shape[3], device=disparity.device, dtype=torch.float32)


class Neighbours(nn.Module):
    """3x3 neighbourhood of every value as nine channels, borders replicated."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.eye(9).reshape(9, 1, 3, 3), persistent=False)

    kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            padded = F.pad(x.float(), (1, 1, 1, 1), mode="replicate")
            return F.conv2d(padded, self.kernel)  # (N, 9, H, W)


class Slopes(nn.Module):
    """Differences between the eight neighbours of every value and the value.

    They show slopes and edges but not the absolute disparity.
    """

    def __init__(self) -> None:
        super().__init__()
        kernel = torch.eye(9)
        kernel[:, 4] -= 1
        kernel = torch.cat([kernel[:4], kernel[5:]])
        self.register_buffer("kernel", kernel.reshape(8, 1, 3, 3), persistent=False)

    kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            padded = F.pad(x.float(), (1, 1, 1, 1), mode="replicate")
            return F.conv2d(padded, self.kernel).clamp(-4, 4)  # (N, 8, H, W)


def _sum_of_nine(x: Tensor) -> Tensor:
    """Return the sum over axis 1 of (N, 9, 4, H, W).

    A matrix product, because ONNX Runtime is faster at those.
    """
    n, _, _, h, w = x.shape
    with torch.autocast(x.device.type, enabled=False):
        return torch.matmul(x.new_ones(1, 9), x.reshape(n, 9, 4 * h * w)).reshape(n, 4, h, w)


class Upsample(nn.Module):
    """Convex 2x upsampling: learned weights over 3x3 neighbours (RAFT)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.neighbours = Neighbours()
        self.mask = nn.Sequential(nn.Conv2d(channels, 32, 1), nn.ReLU(), nn.Conv2d(32, 36, 1))

    def forward(self, guide: Tensor, disparity: Tensor) -> Tensor:
        n, _, h, w = guide.shape
        # A softmax over the nine, written out: ONNX Runtime is slow on any axis but the last.
        weight = self.mask(guide).float().clamp(-20, 20).exp().reshape(n, 9, 4, h, w)
        mixed = _sum_of_nine(self.neighbours(disparity).unsqueeze(2) * weight)
        return F.pixel_shuffle(mixed / _sum_of_nine(weight), 2)  # (N, 1, 2 H, 2 W)


class VolumeBlock(nn.Module):
    """Residual block of a spatial convolution and one over disparity.

    Both are two-dimensional convolutions of a reshaped volume, because three-dimensional ones are
    several times slower on a CPU.
    """

    def __init__(self, channels: int, spread: int = 1) -> None:
        super().__init__()
        self.space = conv(channels, channels, spread=spread)
        self.depth = nn.Sequential(
            nn.Conv2d(channels, channels, (3, 1), 1, (1, 0), bias=False),
            silent(nn.BatchNorm2d(channels)),
        )

    def forward(self, x: Tensor) -> Tensor:
        n, d, c, h, w = x.shape
        y = self.space(x.reshape(n * d, c, h, w)).reshape(n, d, c, h * w)
        y = self.depth(y.permute(0, 2, 1, 3)).permute(0, 2, 1, 3).reshape(n, d, c, h, w)
        return F.relu(x + y)


class VolumeDown(nn.Module):
    """Downsampling of a volume by 2 in disparity, height and width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = conv(2 * inputs, outputs, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        n, d, c, h, w = x.shape
        y = self.conv(x.reshape(n * (d // 2), 2 * c, h, w))  # two bins stacked as channels
        return y.reshape(n, d // 2, y.shape[1], h // 2, w // 2)


class VolumeUp(nn.Module):
    """Upsampling of the disparity bins of a volume by 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 2 * outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, d, c, h, w = x.shape
        return self.conv(x.reshape(n * d, c, h, w)).reshape(n, 2 * d, -1, h, w)


def add_coarser(finer: Tensor, coarser: Tensor) -> Tensor:
    """Add a volume of half the spatial resolution and as many bins."""
    n, d, c, h, w = finer.shape
    coarser = twice(coarser.reshape(n * d // 2, 2 * c, h // 2, w // 2))
    return F.relu(finer + coarser.reshape(n, d, c, h, w))


def mean_of_pairings(both: Tensor) -> Tensor:
    """Return the mean of both pairings.

    (2 N, D, ...) to (N, D, ...).

    The second pairing starts at bin 1, so bin 0 has the value of the first pairing.
    """
    first, second = both.chunk(2)
    return (first + torch.cat([first[:, :1], second[:, :-1]], dim=1)) / 2


class Start(nn.Module):
    """Initial disparity at 1/8 from a cost volume filtered by an hourglass."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(GROUPS_8 + 2, VOLUME, 1)  # correlation, inside the image, prior
        self.context = nn.Conv2d(WIDTH_8, VOLUME, 1)
        self.context_2 = silent(nn.Conv2d(WIDTH_16, VOLUME_2, 1))
        self.context_4 = silent(nn.Conv2d(WIDTH_32, VOLUME_4, 1))
        self.fine = VolumeBlock(VOLUME)
        self.down_2 = VolumeDown(VOLUME, VOLUME_2)
        self.middle = VolumeBlock(VOLUME_2)
        self.down_4 = VolumeDown(VOLUME_2, VOLUME_4)
        self.coarse = nn.Sequential(*(VolumeBlock(VOLUME_4, spread) for spread in SPREADS))
        self.up_2 = VolumeUp(VOLUME_4, VOLUME_2)
        self.middle_up = VolumeBlock(VOLUME_2)
        self.up_1 = VolumeUp(VOLUME_2, VOLUME)
        self.fine_up = VolumeBlock(VOLUME)
        self.score = nn.Conv2d(VOLUME, 2, 1)  # score of a bin, and offset of the disparity from it

    def forward(self, volume: Tensor, left: list[Tensor], prior: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the bins and the initial disparity.

        Parameters
        ----------
        volume : (N, G, H, W + 2, W)
            Correlation of all pairs.
        left : list of Tensor
            Features of the left image at 1/8, 1/16 and 1/32.
        prior : (N, 1, H, W)
            Given initial disparity, negative where there is none.

        Returns
        -------
        logits : (N, 1, H, D, W)
        disparity : (N, 1, H, W)
        """
        f8, f16, f32 = left
        n, g, h, _, w = volume.shape
        bins = (w * SEARCHED[0] // SEARCHED[1] + 3) // 4 * 4  # a multiple of 4, for 1/32
        d = torch.arange(bins, device=volume.device)[:, None]  # (D, 1)
        target = torch.arange(w, device=volume.device) - d  # (D, W): column in the right image
        inside = (target >= 0).float()
        index = (target + 1).clamp(min=0).expand(n, g, h, bins, w)
        pairs = torch.gather(volume, 3, index)  # (N, G, H, D, W)
        prior = prior.unsqueeze(3)  # (N, 1, H, 1, W)
        near = (1 - (prior - d.float()).abs() / 2).clamp(min=0) * (prior >= 0)
        evidence = torch.cat([pairs, inside.expand(n, 1, h, bins, w), near], dim=1)
        y = evidence.permute(0, 3, 1, 2, 4).reshape(n * bins, g + 2, h, w)
        y = self.embed(y).reshape(n, bins, VOLUME, h, w) + self.context(f8).unsqueeze(1)
        y1 = self.fine(F.relu(y))  # (N, D, 16, H, W)
        later = F.pad(y1, (0, 0, 0, 0, 0, 0, -1, 1))  # bins 1 to D
        y2 = torch.cat([self.down_2(y1), self.down_2(later)])
        y2 = y2 + self.context_2(f16).unsqueeze(1).repeat(2, 1, 1, 1, 1)
        y2 = self.middle(y2)  # (2 N, D/2, 24, H/2, W/2)
        y4 = self.down_4(y2) + self.context_4(f32).unsqueeze(1).repeat(2, 1, 1, 1, 1)
        y4 = self.coarse(y4)  # (2 N, D/4, 32, H/4, W/4)
        y2 = self.middle_up(add_coarser(y2, self.up_2(y4)))
        y1 = self.fine_up(add_coarser(y1, mean_of_pairings(self.up_1(y2))))
        scores = self.score(y1.reshape(n * bins, VOLUME, h, w)).float().reshape(n, bins, 2, h, w)
        logits, beside = scores.permute(0, 2, 3, 1, 4).chunk(2, dim=1)  # (N, 1, H, D, W) each
        best = logits.argmax(3, keepdim=True)
        window = ((d - best).abs() <= 1).float()  # the mean over one peak only
        weight = (logits - logits.amax(3, keepdim=True)).exp() * window
        return logits, (weight * (d + beside)).sum(3) / weight.sum(3)


class Step(nn.Module):
    """Recurrent update of a disparity from the matching costs around it."""

    def __init__(self, costs: int, hidden: int, encoded: int) -> None:
        super().__init__()
        self.slopes = Slopes()
        self.encode = nn.Conv2d(costs, encoded, 1)
        self.gate = nn.Conv2d(hidden + encoded + 8, 2 * hidden, 3, 1, 1)
        self.head = nn.Sequential(
            nn.Conv2d(hidden, 32, 3, 1, 1), nn.ReLU(inplace=True), nn.Conv2d(32, 1, 3, 1, 1)
        )

    def forward(
        self, state: Tensor, context: Tensor, disparity: Tensor, costs: Tensor
    ) -> tuple[Tensor, Tensor]:
        slopes = self.slopes(disparity).to(state.dtype)
        x = torch.cat([state, F.relu(self.encode(costs)), slopes], dim=1)
        update, candidate = (self.gate(x) + context).split(state.shape[1], dim=1)
        state = state + torch.sigmoid(update) * (torch.tanh(candidate) - state)
        return state, disparity + self.head(state).float()


class Refine(nn.Module):
    """Correction and confidence of the disparity at 1/2 from warped features."""

    def __init__(self) -> None:
        super().__init__()
        self.slopes = Slopes()
        self.compare = nn.Conv2d(3 * WIDTH_2, 14, 1)
        self.body = nn.Sequential(
            nn.Conv2d(WIDTH_2 + 8 + 8 + 14 + 2, 32, 3, 1, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, 1, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, 1, 1),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Conv2d(32, 2, 1)
        self.sides = silent(nn.Conv2d(32, 2, 1))

    def forward(
        self, left: Tensor, right: Tensor, guide: Tensor, disparity: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the corrected disparity, the logit of its confidence, and features.

        The inputs derived from the disparity are detached; the corrected disparity is not.

        Returns
        -------
        disparity, confidence : (N, 1, H, W)
        features : (N, 32, H, W)
        """
        steady = disparity.detach()
        near = F.max_pool2d(steady, 5, 1, 2)  # candidates from the other side of an edge
        far = -F.max_pool2d(-steady, 5, 1, 2)
        rise = F.pad(right[..., 1:] - right[..., :-1], (0, 1))  # difference to the next column
        differences = [(left - warp(right, rise, d)).abs() for d in (steady, near, far)]
        compared = F.relu(self.compare(torch.cat(differences, dim=1)))
        jumps = torch.cat([near - steady, steady - far], dim=1).clamp(max=8).to(left.dtype)
        slopes = self.slopes(steady).to(left.dtype)
        seen = [left, guide, slopes, compared, jumps]
        x = self.body(torch.cat(seen, dim=1))
        correction, confidence = self.head(x).float().chunk(2, dim=1)
        nearer, farther = (self.sides(x).float() - STAY).clamp(max=20).exp().chunk(2, dim=1)
        moved = nearer * (near - disparity) + farther * (far - disparity)
        return disparity + moved / (1 + nearer + farther) + correction, confidence, x


def warp(right: Tensor, rise: Tensor, disparity: Tensor) -> Tensor:
    """Warp right features (N, C, H, W) to the left grid.

    `rise` is the difference from each column of the features to the next one.
    """
    n, c, h, w = right.shape
    last = disparity.new_zeros(1) + (w - 1)
    position = (columns(disparity) - disparity).clamp(min=0).minimum(last)
    below = torch.floor(position)
    index = below.long().expand(n, c, h, w)
    fraction = (position - below).to(right.dtype)
    return torch.gather(right, 3, index) + torch.gather(rise, 3, index) * fraction


@dataclass
class Prediction:
    """Result of one forward pass; the lists are for the training losses.

    Parameters
    ----------
    disparity : (N, 1, H, W) float32
        Pixels of the full resolution.
    confidence : (N, 1, H, W) float32
        Logit of the probability that the error is below 1 px and the pixel not occluded.
    logits : (N, 1, H/8, D + 2, W/8) float32
        Of the bins of the start, 8 px wide, with a border of one on either side.
    steps_8, steps_4 : list of (N, 1, h, w) float32
        Disparities after each step, in pixels of their scale, the initial one first.
    half : (N, 1, H/2, W/2) float32
        Disparity after the last step, in pixels of its scale.
    """

    disparity: Tensor
    confidence: Tensor
    logits: Tensor
    steps_8: list[Tensor]
    steps_4: list[Tensor]
    half: Tensor


class LiteStereo(nn.Module):
    """Complete network.

    The stages are methods, because the export traces each of them into a graph.
    """

    def __init__(self) -> None:
        super().__init__()
        count = 2 * RADIUS + 1
        self.encoder = Encoder()
        self.start = Start()
        self.state_8 = nn.Conv2d(WIDTH_8, HIDDEN_8, 3, 1, 1)
        self.context_8 = nn.Conv2d(WIDTH_8, 2 * HIDDEN_8, 3, 1, 1)
        self.step_8 = Step((2 * GROUPS_8 + 1) * count, HIDDEN_8, 40)
        self.up_8 = Upsample(HIDDEN_8)
        self.state_4 = nn.Conv2d(WIDTH_4, HIDDEN_4, 3, 1, 1)
        self.state_84 = nn.Conv2d(HIDDEN_8, HIDDEN_4, 1)
        self.context_4 = nn.Conv2d(WIDTH_4, 2 * HIDDEN_4, 3, 1, 1)
        self.step_4 = Step(2 * GROUPS_4 * count, HIDDEN_4, 24)
        self.up_4 = Upsample(HIDDEN_4)
        self.guide_2 = nn.Conv2d(HIDDEN_4, 8, 1)
        self.refine = Refine()
        self.up_2 = Upsample(32)

    def forward(
        self, left: Tensor, right: Tensor, iters: int = 5, prior: Tensor | None = None
    ) -> Prediction:
        """Estimate the disparity of the left image.

        Parameters
        ----------
        left, right : (N, 3, H, W) float32
            RGB, 0..255; H and W multiples of 32.
        iters : int
            Number of all steps, see `steps_of`.
        prior : (N, 1, H, W) float32, optional
            Initial disparity in pixels, NaN where unknown.
        """
        if prior is None:
            prior = torch.full_like(left[:, :1], torch.nan)
        p8, p4 = prior_at_8(prior), prior_at_4(prior)
        (f2, g2), (v4, w4, f4), (v8, w8, f8), logits, d8 = self.begin(left, right, p8)
        state, context = self.open_8(f8)
        steps_8 = [d8]
        eighths, quarters = steps_of(iters)
        for _ in range(eighths):
            state, d8 = self.iterate_8(state, context, d8.detach(), v8, w8, logits)
            steps_8.append(d8)
        state, context, d4 = self.open_4(f4, state, d8, p4)
        steps_4 = [d4]
        for _ in range(quarters):
            state, d4 = self.iterate_4(state, context, d4.detach(), v4, w4)
            steps_4.append(d4)
        half, disparity, confidence = self.finish(f2, g2, state, d4)
        return Prediction(disparity, confidence, logits, steps_8, steps_4, half)

    def search(self, left: Tensor, right: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        """Return `logits` and the initial disparity, at a third of the cost."""
        _, _, f8, f16, f32 = self.encoder.coarse(torch.cat([left, right], dim=0) / 127.5 - 1)
        l8, r8 = f8.chunk(2)
        coarse = [l8, f16.chunk(2)[0], f32.chunk(2)[0]]
        logits, d8 = self.start(correlate(l8, r8, GROUPS_8), coarse, prior_at_8(prior))
        return F.pad(logits, (0, 0, 1, 1), value=OUTSIDE), d8

    def begin(
        self, left: Tensor, right: Tensor, p8: Tensor
    ) -> tuple[
        tuple[Tensor, Tensor],
        tuple[Tensor, Tensor, Tensor],
        tuple[Tensor, Tensor, Tensor],
        Tensor,
        Tensor,
    ]:
        """Encode both images, correlate them, and compute the initial disparity."""
        images = (image / 127.5 - 1 for image in (left, right))
        if self.training:  # one batch, so that the batch statistics are those of both
            both = [features.chunk(2) for features in self.encoder(torch.cat(list(images)))]
        else:  # one after the other, which is faster in ONNX Runtime
            both = list(zip(*map(self.encoder, images), strict=True))
        (l2, r2), (l4, r4), (l8, r8), (l16, _), (l32, _) = both
        v4, v8 = correlate(l4, r4, GROUPS_4), correlate(l8, r8, GROUPS_8)
        w4 = correlate(l4, F.avg_pool2d(r4, (1, 2)), GROUPS_4)
        w8 = correlate(l8, F.avg_pool2d(r8, (1, 2)), GROUPS_8)
        logits, d8 = self.start(v8, [l8, l16, l32], p8)
        logits = F.pad(logits, (0, 0, 1, 1), value=OUTSIDE)
        return (l2, r2), (v4, w4, l4), (v8, w8, l8), logits, d8

    def open_8(self, f8: Tensor) -> tuple[Tensor, Tensor]:
        """Return the initial state and the context of the steps at 1/8."""
        return torch.tanh(self.state_8(f8)), self.context_8(f8)

    def iterate_8(  # noqa: PLR0917  (the inputs of the traced graph)
        self, state: Tensor, context: Tensor, d8: Tensor, v8: Tensor, w8: Tensor, logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run one recurrent step at 1/8."""
        position = columns(d8) - d8
        # After pooling by two, the centre of coarse cell i is at 2 i + 0.5.
        costs = [taps(v8, position), taps(w8, (position - 0.5) / 2), taps(logits, d8)]
        return self.step_8(state, context, d8, torch.cat(costs, dim=1).to(state.dtype))

    def open_4(
        self, f4: Tensor, state_8: Tensor, d8: Tensor, p4: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Upsample the disparity to 1/4; return state, context and disparity there.

        A given initial disparity replaces the estimate where both agree, because it is finer.
        """
        state = torch.tanh(self.state_4(f4) + twice(self.state_84(state_8)))
        d4 = self.up_8(state_8, d8 * 2)
        return state, self.context_4(f4), torch.where((p4 - d4).abs() < AGREEMENT, p4, d4)

    def iterate_4(
        self, state: Tensor, context: Tensor, d4: Tensor, v4: Tensor, w4: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run one recurrent step at 1/4."""
        position = columns(d4) - d4
        costs = [taps(v4, position), taps(w4, (position - 0.5) / 2)]
        return self.step_4(state, context, d4, torch.cat(costs, dim=1).to(state.dtype))

    def finish(
        self, f2: Tensor, g2: Tensor, state_4: Tensor, d4: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Upsample the disparity to 1/2, correct it, upsample to full resolution."""
        f2, g2, state_4 = f2.contiguous(), g2.contiguous(), state_4.contiguous()
        d2 = self.up_4(state_4, d4 * 2)
        half, confidence, guide = self.refine(f2, g2, twice(self.guide_2(state_4)), d2)
        confidence = F.interpolate(confidence, scale_factor=2.0, mode="bilinear")
        return half, self.up_2(guide, half * 2), confidence


def steps_of(iters: int) -> tuple[int, int]:
    """Return the numbers of steps at 1/8 and at 1/4.

    The last step is at 1/2. A quarter of the steps is at 1/8, because these contribute more by
    their state than by the change of the disparity. There is always a step at 1/4, and from two
    iterations on one at 1/8.
    """
    eighths = min(iters // 2, max(1, iters // 4))
    return eighths, max(1, iters - eighths - 1)


def prior_at_8(prior: Tensor) -> Tensor:
    """Return an initial disparity at 1/8, negative where unknown.

    Each cell has the largest known value (the nearest surface); averaging would mix surfaces at
    edges.
    """
    known = torch.isfinite(prior) & (prior >= 0)
    value = torch.where(known, prior, torch.full_like(prior, -1.0))
    return F.max_pool2d(value, 8) / 8  # (N, 1, H/8, W/8)


def prior_at_4(prior: Tensor) -> Tensor:
    """Return an initial disparity at 1/4, NaN where unknown.

    Sampled near the centre of each cell.
    """
    return prior[:, :, 2::4, 2::4] / 4
