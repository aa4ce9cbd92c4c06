"""Published recipes: the views with which joint embeddings of images were trained.

    crop → flip → jitter → gray → blur → solarize,    each with its probability, each view drawn on its own

All take colors in [0, 1], (B, 3, H, W), or gray images with `channels=1`, for which saturation, hue and
graying are left out, as they mean nothing there. Settings are the papers'; resizing is bilinear here (the
official codes of SimCLR, BYOL, VICReg and DINO have bicubic), and standardizing the views is left to you.
"""

from __future__ import annotations

from typing import Any

from ebm.views.blur import GaussianBlur
from ebm.views.color import ColorJitter, Grayscale, Solarize
from ebm.views.compose import Compose, Maybe, Views
from ebm.views.crop import RandomResizedCrop
from ebm.views.flip import HorizontalFlip
from ebm.views.transform import Transform

SIGMA = (0.1, 2.0)  # pixels, of every recipe's blur


def simclr_views(size: int, *, channels: int = 3, strength: float = 1.0, blur: bool = True) -> Views:
    """SimCLR's two views, drawn alike.

    ImageNet: `simclr_views(224)`. CIFAR-10: `simclr_views(32, strength=0.5, blur=False)`. Fashion-MNIST, in
    the same spirit: `simclr_views(28, channels=1, strength=0.5, blur=False)`.

    Args:
        size: side of the views in pixels.
        channels: 3 for colors, 1 for gray.
        strength: of the jitter, at least 0: brightness, contrast, saturation 0.8 and hue 0.2 times this.
        blur: whether half of the views are blurred.

    Returns:
        Two views of a batch.

    Raises:
        ValueError: if a setting is out of its range.

    Reference: Chen, Kornblith, Norouzi, Hinton (2020), "A Simple Framework for Contrastive Learning of Visual
    Representations", app. A and B.9.

    Example:
        >>> import torch
        >>> (x, _), (y, _) = simclr_views(28, channels=1, strength=0.5, blur=False)(torch.rand(8, 1, 28, 28))
        >>> x.shape, y.shape
        (torch.Size([8, 1, 28, 28]), torch.Size([8, 1, 28, 28]))
    """
    jitter = (0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
    view = Compose(
        RandomResizedCrop(size),
        HorizontalFlip(),
        *_colors(channels, jitter),
        *([Maybe(0.5, GaussianBlur(SIGMA))] if blur else []),
    )
    return Views(view, view)


def byol_views(size: int, *, channels: int = 3) -> Views:
    """BYOL's two views, the first always blurred, the second seldom, and solarized at times.

    The official codes of Barlow Twins and of VICReg draw their views so too.

    Args:
        size: side of the views in pixels.
        channels: 3 for colors, 1 for gray.

    Returns:
        Two views of a batch.

    Raises:
        ValueError: if a setting is out of its range.

    Reference: Grill et al. (2020), "Bootstrap Your Own Latent", app. B, table 6.

    Example:
        >>> import torch
        >>> (x, p), (y, q) = byol_views(32)(torch.rand(8, 3, 40, 40))
        >>> list(q)
        ['random resized crop', 'horizontal flip', 'color jitter', 'grayscale', 'gaussian blur', 'solarize']
    """
    crop, flip, colors = RandomResizedCrop(size), HorizontalFlip(), _colors(channels, (0.4, 0.4, 0.2, 0.1))
    return Views(
        Compose(crop, flip, *colors, GaussianBlur(SIGMA)),
        Compose(crop, flip, *colors, Maybe(0.1, GaussianBlur(SIGMA)), Maybe(0.2, Solarize())),
    )


def simsiam_views(size: int, *, channels: int = 3, blur: bool = True) -> Views:
    """SimSiam's two views, drawn alike: larger crops and weaker colors than SimCLR's; those of MoCo v2.

    ImageNet: `simsiam_views(224)`. CIFAR-10: `simsiam_views(32, blur=False)`.

    Args:
        size: side of the views in pixels.
        channels: 3 for colors, 1 for gray.
        blur: whether half of the views are blurred.

    Returns:
        Two views of a batch.

    Raises:
        ValueError: if a setting is out of its range.

    Reference: Chen, He (2021), "Exploring Simple Siamese Representation Learning", sect. 3 and app. A, D.

    Example:
        >>> import torch
        >>> (x, _), (y, _) = simsiam_views(32, blur=False)(torch.rand(8, 3, 32, 32))
        >>> x.shape
        torch.Size([8, 3, 32, 32])
    """
    view = Compose(
        RandomResizedCrop(size, scale=(0.2, 1.0)),
        *_colors(channels, (0.4, 0.4, 0.4, 0.1)),
        *([Maybe(0.5, GaussianBlur(SIGMA))] if blur else []),
        HorizontalFlip(),
    )
    return Views(view, view)


def multicrop_views(
    size: int = 224,
    small_size: int = 96,
    *,
    small_count: int = 8,
    boundary: float = 0.4,
    smallest: float = 0.05,
    channels: int = 3,
) -> Views:
    """DINO's views: two large crops, colored as in BYOL, and several small ones of which half are blurred.

    VICRegL's crops are those of `multicrop_views(small_count=6, smallest=0.08)`; its small views have the two
    colorings of the large ones in turn.

    Args:
        size: side of the two large views in pixels.
        small_size: side of the small ones.
        small_count: how many small views, at least 0.
        boundary: large crops have this share of the image's area or more, small ones this or less, in (0, 1].
        smallest: the least share of a small crop, positive.
        channels: 3 for colors, 1 for gray.

    Returns:
        2 + small_count views of a batch, the large ones first.

    Raises:
        ValueError: if a setting is out of its range.

    Reference: Caron et al. (2021), "Emerging Properties in Self-Supervised Vision Transformers", sect. 3.1
    and official code; Bardes, Ponce, LeCun (2022), "VICRegL", official code.

    Example:
        >>> import torch
        >>> views = multicrop_views(32, 16, small_count=2)(torch.rand(4, 3, 32, 32))
        >>> [tuple(value.shape[2:]) for value, _ in views]
        [(32, 32), (32, 32), (16, 16), (16, 16)]
    """
    if small_count < 0:
        raise ValueError(f"the number of small views is at least 0; got small_count={small_count}.")
    flip, colors = HorizontalFlip(), _colors(channels, (0.4, 0.4, 0.2, 0.1))
    large = RandomResizedCrop(size, scale=(boundary, 1.0))
    small = RandomResizedCrop(small_size, scale=(smallest, boundary))
    return Views(
        Compose(large, flip, *colors, GaussianBlur(SIGMA)),
        Compose(large, flip, *colors, Maybe(0.1, GaussianBlur(SIGMA)), Maybe(0.2, Solarize())),
        *[Compose(small, flip, *colors, Maybe(0.5, GaussianBlur(SIGMA)))] * small_count,
    )


def _colors(channels: int, jitter: tuple[float, float, float, float]) -> list[Transform[Any]]:
    """Jitter for four rows in five, gray for one in five: what all recipes share."""
    if channels not in (1, 3):
        raise ValueError(f"channels is 3 for colors or 1 for gray images; got {channels}.")
    if channels == 1:
        return [Maybe(0.8, ColorJitter(*jitter[:2]))]
    return [Maybe(0.8, ColorJitter(*jitter)), Maybe(0.2, Grayscale())]
