"""A transformer over tokens: at every place of a sequence, scores for each symbol.

    t_0 = embedding(token) + position,    t_{l+1} = Block(t_l),    scores = W LN(t_L) + b

Every token sees all others, before and after it, as in BERT. What is to be predicted has to be hidden from
the input, under a symbol of its own. Embeddings start from N(0, 1), positions as the waves of their places,
so that a neighbor is easily found; both are learned.

Reference: Vaswani et al. (2017), "Attention Is All You Need", sect. 3.5; Devlin, Chang, Lee, Toutanova
(2019), "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", sect. 3.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from ebm.nets.layers import check_sizes
from ebm.nets.positions import waves
from ebm.nets.transformer import EPS, Block, small_linear


class TokenTransformer(nn.Module):
    """A transformer from tokens to scores, (B, T) int64 -> (B, T, K).

    Args:
        symbols: K, how many symbols there are, one that hides a token included.
        length: the longest sequence, T at most.
        width: of a token's code, even.
        depth: number of blocks.
        heads: of attention; divides `width`.
        hidden: width of the blocks' hidden layer; 4 · width if None.
        generator: source of the weights; the global one if None.

    Raises:
        ValueError: if sizes don't fit; on a call, for other than (B, T) whole numbers below K, T <= length.

    Example:
        >>> net = TokenTransformer(symbols=5, length=8, width=16, depth=1, heads=2)
        >>> net(torch.zeros(3, 8, dtype=torch.long)).shape
        torch.Size([3, 8, 5])
    """

    def __init__(
        self,
        symbols: int,
        length: int,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        hidden: int | None = None,
        generator: Generator | None = None,
    ):
        super().__init__()
        hidden = 4 * width if hidden is None else hidden
        check_sizes("TokenTransformer", symbols, length, width, depth, heads, hidden)
        if width % heads or width % 2:
            raise ValueError(
                f"a width is even, and heads share it evenly; got width={width} and heads={heads}."
            )
        self.symbols, self.length = symbols, length
        self.embedding = nn.Parameter(torch.empty(symbols, width).normal_(generator=generator))
        self.positions = nn.Parameter(waves(torch.arange(length), width).to(self.embedding.dtype))
        self.blocks = nn.ModuleList(Block(width, heads, hidden, generator) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.head = small_linear(width, symbols, generator)

    def forward(self, tokens: Tensor) -> Tensor:
        if tokens.ndim != 2 or tokens.is_floating_point() or tokens.shape[1] > self.length:
            raise ValueError(
                f"tokens are (B, T) whole numbers, T at most {self.length}; got {tokens.dtype} of shape "
                f"{tuple(tokens.shape)}."
            )
        t = self.embedding[tokens] + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            t = block(t)
        return self.head(self.norm(t))
