"""Energies of probabilities: how undecided they are, and how far from what was expected.

    Entropy    -Σ_i p_i log p_i            0 for one certain answer, log K for none
    KL         Σ_i p_i log (p_i / π_i)     = Σ_i p_i (-log π_i) - entropy: an average energy less an entropy

of p >= 0 along the last dimension, in nats; with 0 log 0 = 0. They don't ask whether p adds up to 1: `+
Simplex("p")` does.

Reference: Grandvalet & Bengio (2004), "Semi-supervised Learning by Entropy Minimization"; Kullback & Leibler
(1951).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.regularizers.regularizer import Regularizer
from ebm.rows import flat


class Entropy(Regularizer):
    """-Σ p log p.

    Args:
        variable: the name of the variable, (B, ..., K); the entropies of several vectors are added.

    Raises:
        ValueError: on a call, if an entry is negative.

    Example:
        >>> Entropy("p")(p=torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
        tensor([0.0000, 0.6931])
    """

    def cost(self, v: Tensor) -> Tensor:
        return flat(torch.special.entr(_probabilities(v, self.variables[0]))).sum(1)


class KL(Regularizer):
    """Σ p log (p / π), the divergence from a prior π.

    Args:
        variable: the name of the variable, (B, ..., K); the divergences of several vectors are added.
        prior: π > 0, (K,), which is brought to the sum 1; uniform if None.

    Raises:
        ValueError: if an entry of the prior isn't positive; on a call, if one of p is negative, or there are
            not as many.

    Example:
        >>> KL("p")(p=torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
        tensor([0.0000, 0.6931])
        >>> KL("p", torch.tensor([3.0, 1.0]))(p=torch.tensor([[1.0, 0.0]]))
        tensor([0.2877])
    """

    prior: Tensor | None

    def __init__(self, variable: str, prior: Tensor | None = None):
        super().__init__(variable)
        if prior is not None and (prior.ndim != 1 or not bool((prior > 0).all())):
            raise ValueError(f"the prior is (K,), all entries positive; got {prior}.")
        self.register_buffer("prior", None if prior is None else prior / prior.sum())

    def cost(self, v: Tensor) -> Tensor:
        p = _probabilities(v, self.variables[0])
        size = v.shape[-1]
        prior = torch.full((size,), 1 / size).to(v) if self.prior is None else self.prior.to(v)
        if len(prior) != size:
            raise ValueError(f"the prior has {len(prior)} entries, {self.variables[0]!r} {size}.")
        return flat(torch.xlogy(p, p) - p * prior.log()).sum(1)


def _probabilities(v: Tensor, name: str) -> Tensor:
    if bool((v.detach() < 0).any()):
        rows = (flat(v.detach()) < 0).any(1).nonzero().flatten().tolist()
        raise ValueError(
            f"{name!r} holds probabilities, none of them negative; rows {rows[:5]} have one. Take a softmax, "
            f"or add NonNegative or Simplex and a proximal method."
        )
    return v
