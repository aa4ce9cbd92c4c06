"""DINO's head: from features to the logits of categories, each the cosine to a prototype.

    u = W_3 gelu(W_2 gelu(W_1 h)),        logit_k = g_k ⟨u / |u|, v_k / |v_k|⟩

v_k is the prototype of category k and g_k its scale, 1 and not learned in the paper: logits then lie between
-1 and 1, and the temperature alone says how sharp the categories are.

Reference: Caron et al. (2021), "Emerging Properties in Self-Supervised Vision Transformers", app. C; official
code, facebookresearch/dino.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from ebm.nets import mlp


class DINOHead(nn.Module):
    """logit_k = g_k cos(u, v_k), u the output of an mlp of 3 layers.

    Args:
        features: numbers in h.
        categories: K.
        hidden: width of the mlp's hidden layers.
        bottleneck: numbers in u.
        learn_scale: whether g is learned; the paper found that it makes large models unstable.
        generator: source of the weights, normal of deviation 0.02 in the mlp, whose biases are 0; the global
            one if None.

    Example:
        >>> head = DINOHead(features=8, categories=5, hidden=16, bottleneck=4)
        >>> logits = head(torch.randn(3, 8))
        >>> logits.shape, bool((logits.abs() <= 1).all())
        (torch.Size([3, 5]), True)
    """

    def __init__(
        self,
        features: int,
        categories: int,
        hidden: int = 2048,
        bottleneck: int = 256,
        learn_scale: bool = False,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.mlp = mlp(features, hidden, hidden, bottleneck, generator=generator)
        for parameter in self.mlp.parameters():
            if parameter.ndim == 2:
                nn.init.trunc_normal_(parameter, std=0.02, generator=generator)
            else:
                nn.init.zeros_(parameter)
        bound = 1 / math.sqrt(bottleneck)
        self.prototypes = nn.Parameter(torch.empty(categories, bottleneck))  # v, (K, bottleneck)
        nn.init.uniform_(self.prototypes, -bound, bound, generator=generator)
        self.scale = nn.Parameter(torch.ones(categories), requires_grad=learn_scale)  # g, (K,)

    def forward(self, h: Tensor) -> Tensor:
        u = normalize(self.mlp(h), dim=-1)
        return linear(u, self.scale[:, None] * normalize(self.prototypes, dim=-1))
