"""The multilayer perceptron, as plain as it comes.

h_0 = y,    h_l = σ(W_l h_{l-1} + b_l),    output = W_L h_{L-1} + b_L
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn

from ebm.nets.layers import linear


def mlp(
    *sizes: int, activation: Callable[[], nn.Module] = nn.GELU, generator: torch.Generator | None = None
) -> nn.Sequential:
    """Linear layers with an activation between them, none after the last.

    Weights and biases are drawn as `torch.nn.Linear` draws them, uniformly in ±1/√(inputs).

    Args:
        sizes: the widths of input, hidden layers and output; at least two.
        activation: makes the activation, e.g. `nn.GELU`, `nn.ReLU`, `nn.SiLU`.
        generator: source of the weights; the global one if None.

    Returns:
        A module (B, sizes[0]) -> (B, sizes[-1]).

    Raises:
        ValueError: if there are fewer than two sizes, or one is not positive.

    Example:
        >>> net = mlp(2, 16, 1, generator=torch.Generator().manual_seed(0))
        >>> net
        Sequential(
          (0): Linear(in_features=2, out_features=16, bias=True)
          (1): GELU(approximate='none')
          (2): Linear(in_features=16, out_features=1, bias=True)
        )
    """
    if len(sizes) < 2 or any(not isinstance(n, int) or n < 1 for n in sizes):
        raise ValueError(f"mlp needs two widths or more, input to output, all positive; got {sizes}.")
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [linear(inputs, outputs, generator=generator), activation()]
    return nn.Sequential(*layers[:-1])
