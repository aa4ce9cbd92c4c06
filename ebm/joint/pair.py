"""Energies of a pair of codes: what a joint embedding makes low for views of one example.

    SquaredDistance    E(s_x, s_y) = |s_x - s_y|²
    CosineDistance     E(s_x, s_y) = 1 - ⟨s_x, s_y⟩ / (|s_x| |s_y|)
    CrossEntropy       E(s_x, s_y) = -Σ_k q_k log p_k,   q = softmax((s_y - c) / τ_y),  p = softmax(s_x / τ_x)

A joint embedding is one of these with encoders put in front: `SquaredDistance().compose(s_x=(f, "x"),
s_y=(f, "y"))`, an energy of (x, y) with which everything in this package works.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, log_softmax

from ebm.energy import Energy
from ebm.rows import flat


class SquaredDistance(Energy):
    """E(s_x, s_y) = |s_x - s_y|².

    Example:
        >>> SquaredDistance()(s_x=torch.zeros(1, 3), s_y=torch.ones(1, 3))
        tensor([3.])
    """

    def forward(self, s_x: Tensor, s_y: Tensor) -> Tensor:
        return flat(s_x - s_y).square().sum(1)


class CosineDistance(Energy):
    """E(s_x, s_y) = 1 - cos(s_x, s_y), from 0 to 2; half the squared distance of the codes at length 1.

    Example:
        >>> CosineDistance()(s_x=torch.tensor([[2.0, 0.0]]), s_y=torch.tensor([[0.0, 1.0]]))
        tensor([1.])
    """

    def forward(self, s_x: Tensor, s_y: Tensor) -> Tensor:
        return 1 - cosine_similarity(flat(s_x), flat(s_y), dim=1)


class CrossEntropy(Energy):
    """E(s_x, s_y) = -Σ_k q_k log p_k: codes as logits of categories, s_y the target's.

    Args:
        temperature: τ_x > 0, of the prediction p = softmax(s_x / τ_x).
        target_temperature: τ_y > 0, of the target q = softmax((s_y - c) / τ_y); lower is sharper.
        center: c, (D,); 0 if None.

    Raises:
        ValueError: if a temperature isn't positive.

    Example:
        >>> CrossEntropy()(s_x=torch.zeros(1, 2), s_y=torch.zeros(1, 2))
        tensor([0.6931])
    """

    center: Tensor | None

    def __init__(
        self, temperature: float = 1.0, target_temperature: float = 1.0, center: Tensor | None = None
    ):
        super().__init__()
        if not temperature > 0 or not target_temperature > 0:
            raise ValueError(f"temperatures are positive; got {temperature} and {target_temperature}.")
        self.temperature, self.target_temperature = temperature, target_temperature
        self.register_buffer("center", center)

    def forward(self, s_x: Tensor, s_y: Tensor) -> Tensor:
        target = s_y if self.center is None else s_y - self.center
        q = torch.softmax(target / self.target_temperature, 1)
        return -(q * log_softmax(s_x / self.temperature, 1)).sum(1)
