"""A layer of a transformer: tokens look at one another, then each one is changed on its own.

    u = t + Attention(LN(t)),    t' = u + MLP(LN(u))
    Attention(t) = W_o softmax(QKᵀ/√d) V, in each head of width d;    MLP(t) = W_2 GELU(W_1 t + b_1) + b_2

Weights start from N(0, 0.02²), biases at 0, normalizations as the identity.

Reference: Vaswani et al. (2017), "Attention Is All You Need", eq. 1; with the normalization first:
Dosovitskiy et al. (2021), "An Image is Worth 16x16 Words", eq. 2-3.
"""

from __future__ import annotations

from torch import Generator, Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ebm.nets.layers import linear

STD = 0.02
EPS = 1e-6  # of all layer normalizations, as published (torch's own default is 1e-5)


class Attention(nn.Module):
    """Softmax attention of all tokens to all, in several heads, (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, heads: int, generator: Generator | None):
        super().__init__()
        self.heads = heads
        self.qkv = small_linear(width, 3 * width, generator)
        self.proj = small_linear(width, width, generator)

    def forward(self, t: Tensor) -> Tensor:
        q, k, v = (
            self.qkv(t).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # (B, heads, T, d) each
        return self.proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """W_2 GELU(W_1 t + b_1) + b_2, (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, hidden: int, generator: Generator | None):
        super().__init__()
        self.fc1 = small_linear(width, hidden, generator)
        self.act = nn.GELU()
        self.fc2 = small_linear(hidden, width, generator)

    def forward(self, t: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(t)))


class Block(nn.Module):
    """One layer: t + Attention(LN(t)), then + MLP(LN(.)), (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, heads: int, hidden: int, generator: Generator | None):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = Attention(width, heads, generator)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = MLP(width, hidden, generator)

    def forward(self, t: Tensor) -> Tensor:
        t = t + self.attn(self.norm1(t))
        return t + self.mlp(self.norm2(t))


def small_linear(inputs: int, outputs: int, generator: Generator | None) -> nn.Linear:
    """A linear layer with weights from N(0, 0.02²) and biases at 0."""
    layer = linear(inputs, outputs, generator=generator)
    small_normal(layer.weight, generator)
    nn.init.zeros_(layer.bias)
    return layer


def small_normal(tensor: Tensor, generator: Generator | None) -> Tensor:
    """N(0, 0.02²): the official code cuts off at ±2, which is a hundred deviations and never happens."""
    return nn.init.normal_(tensor, std=STD, generator=generator)
