"""The vision transformer: an image as a sequence of patches that look at one another.

    t_0 = [c, W patch_1 + b, ..., W patch_P + b] + positions
    u_l = t_l + Attention(LN(t_l)),    t_{l+1} = u_l + MLP(LN(u_l)),    tokens = LN(t_L)
    Attention(t) = W_o softmax(QKᵀ/√d) V, in each head of width d;    MLP(t) = W_2 GELU(W_1 t + b_1) + b_2

No row of a batch sees another one, in training mode as in evaluation mode.

Weights start as in DINO's official code: linear layers, class token and learned positions from N(0, 0.02²),
biases at 0, normalizations as the identity, the patches' projection as torch starts a convolution. Parameters
bear the names that are usual for these networks (blocks.0.attn.qkv, ...), so published weights load.

Reference: Dosovitskiy et al. (2021), "An Image is Worth 16x16 Words", eq. 1-4; mean instead of class token
and sine-cosine positions: Beyer, Zhai, Kolesnikov (2022), "Better Plain ViT Baselines for ImageNet-1k".
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate

from ebm.nets.layers import check_sizes, undrawn, uniform
from ebm.nets.positions import sincos
from ebm.nets.transformer import EPS, Block, small_linear, small_normal


class Patches(nn.Module):
    """W patch + b, (B, C, H, W) -> (B, P, D), row by row of the grid of patches."""

    def __init__(self, channels: int, patch: int, width: int, generator: Generator | None):
        super().__init__()
        layer = undrawn(nn.Conv2d, channels, width, patch, stride=patch)
        self.proj = uniform(layer, channels * patch**2, generator)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).mT


class ViT(nn.Module):
    """A vision transformer; the defaults are ViT-S, `ViT(224, 16)`.

    ViT-Ti: width=192, heads=3;    ViT-S: width=384, heads=6;    ViT-B: width=768, heads=12;    depth=12

    Second derivatives (score matching, gradients of an unrolled solve) need the plain kernel of attention,
    `with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)`; torch raises an error without.

    Args:
        image: side of the images in pixels, or (H, W). Images of another size are taken too; positions are
            interpolated between then, as for small crops in DINO.
        patch: side of a patch in pixels; divides the image's sides.
        channels: of the images: 1 for gray, 3 for color.
        width: of a token, D.
        depth: number of blocks.
        heads: of attention; divides `width`.
        hidden: width of the blocks' hidden layer; 4 · width if None.
        positions: "learned", or "sincos": fixed, sines and cosines of column and row (as in MAE; needs a
            width that is a multiple of 4).
        pool: "class" (the code is the class token's) or "mean" (that of all patches; there is no class
            token).
        outputs: width of a linear layer on the code, "head"; none if None.
        generator: source of the weights; the global one if None.

    Returns (of a call):
        The codes, (B, width) or (B, outputs).

    Raises:
        ValueError: if sizes don't fit, or an option is unknown; on a call, if the patch doesn't divide the
            image.

    Example:
        >>> net = ViT(28, 7, channels=1, width=32, depth=2, heads=4, pool="mean", positions="sincos")
        >>> images = torch.zeros(5, 1, 28, 28)
        >>> net(images).shape, net.tokens(images).shape, net.maps(images).shape
        (torch.Size([5, 32]), torch.Size([5, 16, 32]), torch.Size([5, 32, 4, 4]))
    """

    def __init__(
        self,
        image: int | tuple[int, int],
        patch: int,
        *,
        channels: int = 3,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        hidden: int | None = None,
        positions: Literal["learned", "sincos"] = "learned",
        pool: Literal["class", "mean"] = "class",
        outputs: int | None = None,
        generator: Generator | None = None,
    ):
        super().__init__()
        size = (image, image) if isinstance(image, int) else image
        hidden = 4 * width if hidden is None else hidden
        sizes = [*size, patch, channels, width, depth, heads, hidden, *([] if outputs is None else [outputs])]
        check_sizes("ViT", *sizes)
        if positions not in ("learned", "sincos"):
            raise ValueError(f'positions are "learned" or "sincos"; got {positions!r}.')
        if pool not in ("class", "mean"):
            raise ValueError(f'pool is "class" or "mean"; got {pool!r}.')
        if width % heads or (positions == "sincos" and width % 4):
            raise ValueError(
                f"the width of a token is a multiple of the number of heads, and of 4 for sincos positions; "
                f"got width={width}, heads={heads}, positions={positions!r}."
            )
        self.patch, self.extra = patch, int(pool == "class")
        self.grid = self._grid_of(size)
        self.patch_embed = Patches(channels, patch, width, generator)
        if self.extra:
            self.cls_token = nn.Parameter(small_normal(torch.empty(1, 1, width), generator))
        if positions == "sincos":
            fixed = torch.cat([torch.zeros(self.extra, width), sincos(*self.grid, width)])
            self.register_buffer("pos_embed", fixed[None])
        else:
            count = self.extra + self.grid[0] * self.grid[1]
            self.pos_embed = nn.Parameter(small_normal(torch.empty(1, count, width), generator))
        self.blocks = nn.Sequential(*(Block(width, heads, hidden, generator) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.head = nn.Identity() if outputs is None else small_linear(width, outputs, generator)

    def embed(self, images: Tensor) -> Tensor:
        """The tokens t_0 with their positions, (B, T, D): the class token first where there is one."""
        grid = self._grid_of((images.shape[-2], images.shape[-1]))
        t = self.patch_embed(images)
        if self.extra:
            t = torch.cat([self.cls_token.expand(len(t), -1, -1), t], 1)
        return t + self._positions(grid)

    def tokens(self, images: Tensor) -> Tensor:
        """The tokens after the last normalization, (B, T, D): the class token first where there is one."""
        return self.norm(self.blocks(self.embed(images)))

    def maps(self, images: Tensor) -> Tensor:
        """The patches' tokens as maps, (B, D, h, w)."""
        grid = self._grid_of((images.shape[-2], images.shape[-1]))
        return self.tokens(images)[:, self.extra :].mT.unflatten(2, grid)

    def forward(self, images: Tensor) -> Tensor:
        t = self.tokens(images)
        return self.head(t[:, 0] if self.extra else t.mean(1))

    def _grid_of(self, size: tuple[int, int]) -> tuple[int, int]:
        if size[0] % self.patch or size[1] % self.patch:
            raise ValueError(
                f"patches of {self.patch} x {self.patch} pixels don't divide images {size[0]} x {size[1]}; "
                f"resize the images or choose another patch."
            )
        return size[0] // self.patch, size[1] // self.patch

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        if grid == self.grid:
            return self.pos_embed
        first, patches = self.pos_embed[:, : self.extra], self.pos_embed[:, self.extra :]
        between = interpolate(patches.mT.unflatten(2, self.grid), size=grid, mode="bicubic")
        return torch.cat([first, between.flatten(2).mT], 1)
