"""A narrow transformer that predicts the codes of some patches from the codes of others.

    u_0 = [W s_p + b + position_p for p in context,  m + position_q for q in target]
    u_{l+1} = Block_l(u_l),    ŝ_q = W' LN(u_L)_q + b'    for q in target

The mask token m is learned and the same for all places: what it is to become is told by its position. Each
target block is predicted without the mask tokens of the others.

Reference: Assran et al. (2023), "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture", sect. 3 and app. A.1; as the decoder of a masked auto-encoder: He et al. (2022), sect. 3. The
official code of V-JEPA has a mask token of its own for each set of masks; here they share one, as in its
paper.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from ebm.nets.layers import check_sizes
from ebm.nets.positions import fixed_positions
from ebm.nets.transformer import EPS, Block, small_linear, small_normal


class PatchPredictor(nn.Module):
    """Predicts a code for each patch of target blocks, from the codes of context patches.

    Args:
        grid: of patches, the encoder's: (rows, columns) or (times, rows, columns).
        inputs: width of the context's codes, D.
        width: of a token inside, narrower than D; a multiple of 4 for images, of 2 for clips.
        depth: number of blocks.
        heads: of attention; divides `width`.
        outputs: width of what is predicted; D if None.
        hidden: width of the blocks' hidden layer; 4 · width if None.
        generator: source of the weights; the global one if None.

    Returns (of a call, of s_x (B, K, D), context (B, K), targets (B, M, L)):
        Predictions, (B, M, L, outputs): the indices say where in the grid the codes lie and what to predict.

    Raises:
        ValueError: if sizes don't fit; on a call, if there isn't one index for each code.

    Example:
        >>> net = PatchPredictor((7, 7), 32, width=16, depth=1, heads=2)
        >>> context = torch.arange(10).expand(5, 10)
        >>> targets = torch.arange(40, 46).view(1, 2, 3).expand(5, 2, 3)
        >>> net(torch.zeros(5, 10, 32), context, targets).shape
        torch.Size([5, 2, 3, 32])
    """

    positions: Tensor

    def __init__(
        self,
        grid: tuple[int, ...],
        inputs: int,
        *,
        width: int = 384,
        depth: int = 12,
        heads: int = 12,
        outputs: int | None = None,
        hidden: int | None = None,
        generator: Generator | None = None,
    ):
        super().__init__()
        outputs, hidden = outputs or inputs, 4 * width if hidden is None else hidden
        check_sizes("PatchPredictor", *grid, inputs, width, depth, heads, outputs, hidden)
        if width % heads:
            raise ValueError(f"the number of heads divides the width; got {heads} and {width}.")
        self.embed = small_linear(inputs, width, generator)
        self.mask_token = nn.Parameter(small_normal(torch.empty(width), generator))
        self.register_buffer("positions", fixed_positions(tuple(grid), width))
        self.blocks = nn.Sequential(*(Block(width, heads, hidden, generator) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.head = small_linear(width, outputs, generator)

    def forward(self, s_x: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        if s_x.shape[:2] != context.shape or targets.ndim != 3:
            raise ValueError(
                f"expected codes (B, K, D) with context (B, K) and targets (B, M, L); got "
                f"{tuple(s_x.shape)} with {tuple(context.shape)} and {tuple(targets.shape)}."
            )
        blocks, known = targets.shape[1], context.shape[1]
        seen = self.embed(s_x) + self.positions[context]  # (B, K, w)
        asked = self.mask_token + self.positions[targets]  # (B, M, L, w)
        u = torch.cat([seen[:, None].expand(-1, blocks, -1, -1), asked], 2).flatten(0, 1)  # (B·M, K + L, w)
        u = self.norm(self.blocks(u)[:, known:])
        predicted: Tensor = self.head(u).unflatten(0, (len(s_x), blocks))
        return predicted
