"""A vision transformer that can be shown some of the patches: each one is a token, and keeps its place.

    t_0 = [W patch_p + b + position_p for p in keep],    t_{l+1} = Block_l(t_l),    tokens = LN(t_L)

Patches that aren't kept are left out before the first block, so they cost nothing and nothing of them leaks.
An image's patches are squares; those of a video are tubelets, squares over a few frames.

Reference: He et al. (2022), "Masked Autoencoders Are Scalable Vision Learners", sect. 3 (an encoder of
visible patches alone); Arnab et al. (2021), "ViViT", sect. 3.2 (tubelets).
"""

from __future__ import annotations

import math

from torch import Generator, Tensor, nn

from ebm.nets.layers import check_sizes, undrawn, uniform
from ebm.nets.positions import fixed_positions
from ebm.nets.transformer import EPS, Block
from ebm.nets.vit import Patches

Keep = Tensor | tuple[Tensor, ...] | None


class Tubelets(nn.Module):
    """W tubelet + b, (B, C, T, H, W) -> (B, P, D), time by time, and row by row within one."""

    def __init__(
        self, channels: int, patch: tuple[int, int, int], width: int, generator: Generator | None = None
    ):
        super().__init__()
        layer = undrawn(nn.Conv3d, channels, width, patch, stride=patch)
        self.proj = uniform(layer, channels * math.prod(patch), generator)

    def forward(self, clips: Tensor) -> Tensor:
        return self.proj(clips).flatten(2).mT


class PatchViT(nn.Module):
    """A vision transformer without class token, whose positions are fixed, of all patches or of some.

    Args:
        size: side of square images in pixels; or (H, W); or (T, H, W), frames and pixels of clips.
        patch: side of a patch, which divides the size; for clips (t, p), frames and pixels of a tubelet.
        channels: 1 for gray, 3 for color.
        width: of a token, D; a multiple of 4 for images, of 2 for clips.
        depth: number of blocks.
        heads: of attention; divides `width`.
        hidden: width of the blocks' hidden layer; 4 · width if None.
        generator: source of the weights; the global one if None.

    Returns (of a call, of x (B, C, *size) and keep):
        tokens: of all patches, (B, P, D); or of those that are kept, (B, K, D), where `keep` holds their
            indices (B, K). A tuple of tokens for a tuple of such indices.

    Attributes:
        grid: patches along each axis.

    Raises:
        ValueError: if sizes don't fit; on a call, if x has another size.

    Example:
        >>> import torch
        >>> net = PatchViT(28, 4, channels=1, width=32, depth=2, heads=4)
        >>> x, keep = torch.zeros(5, 1, 28, 28), torch.arange(10).expand(5, 10)
        >>> net.grid, net(x).shape, net(x, keep).shape
        ((7, 7), torch.Size([5, 49, 32]), torch.Size([5, 10, 32]))
        >>> PatchViT((16, 32, 32), (2, 8), channels=1, width=32, depth=2, heads=4).grid
        (8, 4, 4)
    """

    def __init__(
        self,
        size: int | tuple[int, int] | tuple[int, int, int],
        patch: int | tuple[int, int],
        *,
        channels: int = 3,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        hidden: int | None = None,
        generator: Generator | None = None,
    ):
        super().__init__()
        hidden = 4 * width if hidden is None else hidden
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.patch = patch_of(patch, len(self.size))
        check_sizes("PatchViT", *self.size, *self.patch, channels, width, depth, heads, hidden)
        if any(n % p for n, p in zip(self.size, self.patch, strict=True)):
            raise ValueError(
                f"patches of {times(self.patch)} don't divide what is {times(self.size)}; choose others."
            )
        if width % heads:
            raise ValueError(f"the number of heads divides the width; got {heads} and {width}.")
        self.grid = tuple(n // p for n, p in zip(self.size, self.patch, strict=True))
        self.width = width
        if len(self.patch) == 2:
            self.patch_embed: nn.Module = Patches(channels, self.patch[0], width, generator)
        else:
            self.patch_embed = Tubelets(channels, self.patch, width, generator)  # type: ignore[arg-type]
        self.register_buffer("pos_embed", fixed_positions(self.grid, width)[None])
        self.blocks = nn.Sequential(*(Block(width, heads, hidden, generator) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=EPS)

    pos_embed: Tensor

    def embed(self, x: Tensor) -> Tensor:
        """The tokens t_0 of all patches with their positions, (B, P, D)."""
        if tuple(x.shape[2:]) != self.size:
            raise ValueError(
                f"this net sees (B, C, {', '.join(map(str, self.size))}); got {tuple(x.shape)}. Gray ones "
                f"need a channel: x.unsqueeze(1)."
            )
        t: Tensor = self.patch_embed(x)
        return t + self.pos_embed

    def forward(self, x: Tensor, keep: Keep = None) -> Tensor | tuple[Tensor, ...]:
        t = self.embed(x)
        if isinstance(keep, tuple):
            return tuple(self.norm(self.blocks(taken(t, some))) for some in keep)
        found: Tensor = self.norm(self.blocks(t if keep is None else taken(t, keep)))
        return found


def taken(tokens: Tensor, index: Tensor) -> Tensor:
    """The tokens with these indices, (B, P, D) and (B, *K) -> (B, *K, D).

    Example:
        >>> import torch
        >>> taken(torch.tensor([[[5.0], [6.0], [7.0]]]), torch.tensor([[2, 0]]))
        tensor([[[7.],
                 [5.]]])
    """
    where = index.flatten(1)[..., None].expand(-1, -1, tokens.shape[2])
    return tokens.gather(1, where).view(*index.shape, tokens.shape[2])


def patch_of(patch: int | tuple[int, int], axes: int) -> tuple[int, ...]:
    """A patch's size along each axis: p is (p, p) in an image, (t, p) is (t, p, p) in a clip.

    Raises:
        ValueError: if the patch is given for another kind of data.
    """
    if axes == 2 and isinstance(patch, int):
        return (patch, patch)
    if axes == 3 and isinstance(patch, tuple) and len(patch) == 2:
        return (patch[0], patch[1], patch[1])
    raise ValueError(
        f"images (H, W) have patches of p pixels a side, clips (T, H, W) tubelets (t, p) of t frames and p "
        f"pixels a side; got patch={patch!r} for {axes} axes."
    )


def times(sizes: tuple[int, ...]) -> str:
    """Sizes in words, "2 x 8 x 8"."""
    return " x ".join(map(str, sizes))
