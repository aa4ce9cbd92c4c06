"""Patches of real photographs: the two that scikit-learn bundles (a temple in China, a flower).

A patch x loses its own mean (the brightness, of which edges say nothing) and is then whitened, much as in
Olshausen and Field (1996) and in Coates, Ng and Lee (2011):

    w = M (x - mean(x) - μ)          with M, μ from `Whitening`; undone by  x = M⁻¹ w + μ + mean(x)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

from ebm.data.whitening import Whitening

LUMA = (0.299, 0.587, 0.114)  # how bright red, green and blue look: ITU-R BT.601, section 2.5.1


def photos(*, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """The two photographs in gray.

    Args:
        dtype: of the result; the default dtype if None.

    Returns:
        The temple and the flower, each (427, 640) in [0, 1].

    Example:
        >>> from ebm.data import photos
        >>> temple, flower = photos()
        >>> temple.shape
        torch.Size([427, 640])
    """
    wanted = dtype or torch.get_default_dtype()
    weights = torch.tensor(LUMA, dtype=torch.float64)
    temple, flower = (
        (torch.tensor(image, dtype=torch.float64) / 255 @ weights).to(wanted)
        for image in load_sample_images().images
    )
    return temple, flower


class PhotoPatches(NamedTuple):
    """Patches ready for learning, and what it takes to see them as pictures again.

    Attributes:
        value: one patch a row, mean removed and whitened, (N, size * size).
        brightness: the mean that was removed from each patch, (N, 1).
        whitening: the map that was applied; `Whitening.identity` where none was asked for.
    """

    value: Tensor
    brightness: Tensor
    whitening: Whitening

    def pixels(self, value: Tensor | None = None) -> Tensor:
        """Gray values of these patches, or of other rows in their stead (a reconstruction), (N, size * size).

        Args:
            value: rows in the coordinates of `value`, (N, size * size); `value` itself if None.
        """
        return self.whitening.undo(self.value if value is None else value) + self.brightness


def photo_patches(
    n: int,
    size: int = 12,
    *,
    generator: torch.Generator | None = None,
    whiten: bool = True,
    eps: float = 0.1,
    dtype: torch.dtype | None = None,
) -> PhotoPatches:
    """Square patches from random places of both photographs, mean removed, whitened over the patches drawn.

    Args:
        n: N, how many patches, positive; at least 2 to whiten.
        size: side of a patch in pixels, 1 to 427; at least 2 to whiten.
        generator: randomness; the global generator if None. The patches lie on the CPU, whatever its device.
        whiten: whether to whiten (ZCA).
        eps: the ridge of the whitening relative to the mean variance, positive: see `Whitening`. The trees of
            the temple are close to white noise: 0.5 to 2 leaves more edges to be learned than 0.1.
        dtype: of the result; the default dtype if None.

    Returns:
        The patches (N, size * size) with what undoes them. New patches go through the same map by
        `patches.whitening.apply(x - x.mean(1, keepdim=True))`.

    Raises:
        ValueError: if `n` or `size` is out of range.

    Reference:
        Olshausen and Field, "Emergence of simple-cell receptive field properties by learning a sparse code
        for natural images", Nature 381, 1996.

    Example:
        >>> import torch
        >>> from ebm.data import photo_patches
        >>> patches = photo_patches(1000, 8, generator=torch.Generator().manual_seed(0))
        >>> patches.value.shape
        torch.Size([1000, 64])
        >>> pictures = patches.pixels().unflatten(1, (8, 8))  # gray values again
        >>> round(pictures.max().item(), 2)
        1.0
    """
    images = torch.stack(photos(dtype=torch.float64))  # (2, H, W)
    height, width = images.shape[1:]
    if n < 1 or (whiten and n < 2):
        raise ValueError(f"n must be at least {2 if whiten else 1}, got {n}")
    if not (2 if whiten else 1) <= size <= height:
        raise ValueError(f"size must be between {2 if whiten else 1} and {height}, got {size}")
    which = _integers(len(images), n, generator)
    top = _integers(height - size + 1, n, generator)
    left = _integers(width - size + 1, n, generator)
    step = torch.arange(size)
    rows = top[:, None, None] + step[:, None]  # (N, size, 1)
    columns = left[:, None, None] + step  # (N, 1, size)
    flat = images[which[:, None, None], rows, columns].flatten(1)  # (N, size * size)
    flat = flat.to(dtype or torch.get_default_dtype())
    brightness = flat.mean(1, keepdim=True)
    value = flat - brightness
    whitening = Whitening.fit(value, eps=eps) if whiten else Whitening.identity(value)
    return PhotoPatches(whitening.apply(value), brightness, whitening)


def _integers(below: int, n: int, generator: torch.Generator | None) -> Tensor:
    """n integers in [0, below) on the CPU, where the photographs are, wherever the generator draws."""
    device = generator.device if generator is not None else None
    return torch.randint(below, (n,), generator=generator, device=device).cpu()
