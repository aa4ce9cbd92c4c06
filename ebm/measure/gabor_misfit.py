"""Gabor functions, a wave under a bell, and how far a picture is from the nearest.

    g(x) = exp(-u² / 2σ_u² - v² / 2σ_v²) (a cos 2πfu + b sin 2πfu)
    u = (x - c)·(cos θ, sin θ),   v = (x - c)·(-sin θ, cos θ)              u along the wave, v across

    E(y, z) = 1 - max_{a, b} corr(y, g)²                                    z = (c, θ, f, σ_u, σ_v)

A picture y is data, the shape z of its Gabor is latent. Amplitude and phase, a and b, are found in closed
form: corr² is the share of y that lies in the plane that the two waves span (all three without their mean
over the pixels).

Reference: Daugman (1985), "Uncertainty relation for resolution in space, spatial frequency, and orientation
optimized by two-dimensional visual cortical filters".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.infer.method import count

NARROWEST, WIDEST = 0.5, 2.0  # σ: half a pixel, twice the longer side
SLOWEST, FASTEST = 0.1, 0.5**0.5  # f: a tenth of a cycle a side, and the fastest wave that pixels can show


class GaborMisfit(Energy):
    """E(y, z) = 1 - corr², for atoms y (B, P) and shapes z (B, 6) of Gabors, any real numbers.

    The numbers are squashed: the center lies in the picture, f and both σ within bounds.

    Args:
        height, width: of the picture in pixels, P = height · width.

    Example:
        >>> misfit = GaborMisfit(8, 8)
        >>> z = misfit.numbers(torch.tensor([[4.0, 3.0]]), torch.tensor([0.5]), torch.tensor([0.2]),
        ...     torch.tensor([[2.0, 1.5]]))
        >>> cos, sin = misfit.waves(z)
        >>> bool(misfit(y=0.3 * cos - 2 * sin + 5, z=z).abs() < 1e-6)
        True
    """

    places: Tensor

    def __init__(self, height: int, width: int):
        super().__init__()
        self.height, self.width = count("height", height), count("width", width)
        down, right = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        places = torch.stack([right.flatten(), down.flatten()], 1)
        self.register_buffer("places", places.to(torch.get_default_dtype()))
        side = max(height, width)
        self.bounds = {"f": (SLOWEST / side, FASTEST), "σ": (NARROWEST, WIDEST * side)}

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        first, second = orthonormal(*self.waves(z))
        a = y - y.mean(1, keepdim=True)
        share = (a * first).sum(1).square() + (a * second).sum(1).square()
        return 1 - share / a.square().sum(1).clamp_min(torch.finfo(y.dtype).tiny)

    def shape(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Center (B, 2), orientation (B,), frequency (B,) and widths (B, 2) for the numbers z (B, 6)."""
        size = torch.tensor([self.width, self.height], dtype=z.dtype, device=z.device)
        center = size * z[:, :2].sigmoid() - 0.5
        f, widths = _between(z[:, 3], *self.bounds["f"]), _between(z[:, 4:], *self.bounds["σ"])
        return center, z[:, 2], f, widths

    def numbers(self, center: Tensor, orientation: Tensor, frequency: Tensor, widths: Tensor) -> Tensor:
        """The numbers z (B, 6) of a shape, the inverse of `shape`."""
        size = torch.tensor([self.width, self.height], dtype=center.dtype, device=center.device)
        f, both = (
            (value / low).log() / math.log(high / low)
            for value, (low, high) in ((frequency, self.bounds["f"]), (widths, self.bounds["σ"]))
        )
        inside = torch.cat([(center + 0.5) / size, f.unsqueeze(1), both], 1).logit()
        return torch.cat([inside[:, :2], orientation.unsqueeze(1), inside[:, 2:]], 1)

    def envelope(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The bell, 1 at the center, and u, how far along the wave each pixel lies, both (B, P)."""
        center, angle, _, widths = self.shape(z)
        d = self.places - center.unsqueeze(1)  # (B, P, 2)
        c, s = angle.cos().unsqueeze(1), angle.sin().unsqueeze(1)
        u, v = c * d[..., 0] + s * d[..., 1], c * d[..., 1] - s * d[..., 0]
        return (-0.5 * ((u / widths[:, :1]).square() + (v / widths[:, 1:]).square())).exp(), u

    def waves(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The Gabors of phase 0 and of phase -90°, (B, P) each."""
        bell, u = self.envelope(z)
        phase = 2 * math.pi * self.shape(z)[2].unsqueeze(1) * u
        return bell * phase.cos(), bell * phase.sin()


def orthonormal(cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Two orthonormal waves (B, P) that span what both do, without their means."""
    tiny = torch.finfo(cos.dtype).tiny
    first = cos - cos.mean(1, keepdim=True)
    first = first / first.square().sum(1, keepdim=True).clamp_min(tiny).sqrt()
    second = sin - sin.mean(1, keepdim=True)
    second = second - (second * first).sum(1, keepdim=True) * first
    return first, second / second.square().sum(1, keepdim=True).clamp_min(tiny).sqrt()


def _between(z: Tensor, low: float, high: float) -> Tensor:
    """Real numbers to (low, high), evenly in the logarithm."""
    return low * (high / low) ** z.sigmoid()
