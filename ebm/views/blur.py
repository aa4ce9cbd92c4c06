"""Random Gaussian blur.

    view = k_σ * x along rows, then along columns,    k_σ(j) ∝ exp(-j² / 2σ²), |j| <= radius,    σ ~ U(sigma)

Images are mirrored at their borders (the border pixel itself not repeated). The kernel's width is a tenth of
the image's side, as in SimCLR and BYOL: at most 2 · (side // 20) + 1 pixels, 23 of 224, and 3 of 28 or 32.

Reference: Chen, Kornblith, Norouzi, Hinton (2020), "A Simple Framework for Contrastive Learning", app. A.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from ebm.views.checks import between, images, interval
from ebm.views.transform import Transform, without_autocast


class Blur(NamedTuple):
    """The standard deviations σ of the blur, in pixels, (B,)."""

    sigma: Tensor


class GaussianBlur(Transform[Blur]):
    """Each image is blurred, by its own σ.

    Args:
        sigma: the least and greatest σ, in pixels, positive.
        radius: of the kernel in pixels; (smaller side) // 20, and at least 1, if None.

    Raises:
        ValueError: if a setting is out of its range; on a call, if x isn't (B, C, H, W) or the radius isn't
            smaller than both sides of the images.
        TypeError: on a call, if x isn't floating point.

    Example:
        >>> blur = GaussianBlur((1.0, 1.0), radius=1)
        >>> blur(torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0]).repeat(2, 1).view(1, 1, 2, 5)).value[0, 0, 0]
        tensor([0.0000, 0.2741, 0.4519, 0.2741, 0.0000])
    """

    def __init__(self, sigma: tuple[float, float] = (0.1, 2.0), *, radius: int | None = None):
        self.sigma = interval("GaussianBlur", "sigma", sigma)
        if not self.sigma[0] > 0 or (radius is not None and radius < 1):
            raise ValueError(f"GaussianBlur needs a positive sigma and radius; got {sigma} and {radius}.")
        self.radius = radius

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Blur:
        return Blur(between(images("GaussianBlur", x), *self.sigma, generator))

    @without_autocast
    def apply(self, x: Tensor, parameters: Blur) -> Tensor:
        side = min(images("GaussianBlur", x).shape[2:])
        r = max(1, side // 20) if self.radius is None else self.radius
        if r >= side:
            raise ValueError(f"a kernel of radius {r} needs images of larger sides; got {tuple(x.shape)}.")
        if not len(x):
            return x.clone()
        sigma = parameters.sigma[:, None]
        offset = torch.arange(-r, r + 1, dtype=sigma.dtype, device=sigma.device)
        kernel = torch.softmax(-0.5 * (offset / sigma).square(), 1).to(x.dtype)  # (B, 2r + 1)
        channels = x.shape[0] * x.shape[1]  # all channels of all rows side by side, each with its own kernel
        kernel = kernel.repeat_interleave(x.shape[1], 0)[:, None]
        wide = pad(x, (r, r, r, r), mode="reflect").flatten(0, 1)[None]
        half = conv2d(wide, kernel[:, :, :, None], groups=channels)
        return conv2d(half, kernel[:, :, None], groups=channels).view(x.shape)
