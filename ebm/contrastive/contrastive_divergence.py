"""Contrastive divergence (CD): push up where a short chain that begins at the data leads.

    L = ⟨E(y⁺)⟩ - ⟨E(y⁻)⟩,        y⁻: k steps of a sampler from y⁺, not differentiated

The gradient of the likelihood needs samples of the model, ∇(-log p) = ⟨∇E⟩_data - ⟨∇E⟩_model. Chains that
begin at the data and run for k steps stand in for them: cheap, with little variance, and wrong by what the
chains have not forgotten. As k grows the gradient becomes that of the likelihood; for a small k it is that of
no function, and low energy far from the data, where no chain comes, goes unnoticed.

L itself is no measure of success: it goes to 0 when the chains can no longer tell the model from the data.

Reference: Hinton (2002), "Training Products of Experts by Minimizing Contrastive Divergence"; the weight on
squared energies: Du & Mordatch (2019), "Implicit Generation and Modeling with Energy-Based Models".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.negatives import Negatives, draw_negatives
from ebm.contrastive.points import Points, data_of, on_and_off
from ebm.energy import Energy
from ebm.infer.method import count, positive
from ebm.infer.sampler import Sampler
from ebm.loss import Loss, LossOutput

ACCEPTANCE = "acceptance"


class ContrastiveDivergence(Loss):
    """CD-k, L = ⟨E(y⁺)⟩ - ⟨E(y⁻)⟩ + α (⟨E(y⁺)²⟩ + ⟨E(y⁻)²⟩).

    Reports the energy on and off the data, and for a sampler with a test the share of accepted steps.

    Args:
        sampler: how the chains move: `Langevin(0.01)`, `MALA(0.1)`, `HMC(0.1, 5)`, a Gibbs sampler for
            discrete y.
        steps: k >= 1.
        variable: the variable of the energy that is data; all others are given, to the chains as well.
        beta: the inverse temperature of the chains. The model is exp(-βE); a β far above 1 makes the noise of
            `Langevin` small beside the gradient, as is usual for images.
        squares: α >= 0, which keeps energies from drifting: L does not know their origin.

    Raises:
        ValueError: if a setting is out of range; on a call, if the chains left where the energy is finite.

    Example:
        >>> from ebm import energy
        >>> from ebm.infer import MALA
        >>> @energy
        ... def bowl(y):
        ...     return 0.5 * (y**2).sum(1)
        >>> g = torch.Generator().manual_seed(0)
        >>> y = 2 * torch.randn(5000, 1, generator=g)  # wider than the model
        >>> output = ContrastiveDivergence(MALA(0.5), steps=20)(bowl, g, y=y)
        >>> bool((output.terms["energy off data"] - 0.5).abs() < 0.1), bool(output.gap < -1)
        (True, True)
    """

    def __init__(
        self,
        sampler: Sampler,
        steps: int = 1,
        *,
        variable: str = "y",
        beta: float = 1.0,
        squares: float = 0.0,
    ):
        super().__init__()
        if not isinstance(sampler, Sampler):
            raise TypeError(f"sampler is one of ebm.infer, Langevin(0.01) for instance; got {sampler!r}.")
        positive("beta", beta)
        positive("squares", squares, zero=True)
        self.sampler, self.steps, self.variable = sampler, count("steps", steps), variable
        self.beta, self.squares = float(beta), float(squares)

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        y, given = self.take_data(energy, data)
        return self.contrast(energy, data, self.chains(energy, y, given, generator), generator)

    def take_data(self, energy: Energy, data: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """The data, and what is given beside it."""
        smooth = not (self.sampler.binary or self.sampler.discrete)
        y = data_of(self, energy, self.variable, data, real=smooth)
        return y, {name: value for name, value in data.items() if name != self.variable}

    def chains(
        self, energy: Energy, start: Tensor, given: dict[str, Any], generator: torch.Generator | None
    ) -> Negatives:
        """Where this loss's chains lead from a start, (B, *shape)."""
        return draw_negatives(
            energy, self.variable, start, given, self.sampler, self.steps, self.beta, generator
        )

    def contrast(
        self,
        energy: Energy,
        data: dict[str, Any],
        negatives: Negatives,
        generator: torch.Generator | None = None,
    ) -> LossOutput:
        """The loss of data beside negatives."""
        points = Points(self, energy, self.variable, data, generator, real=False)
        low, high = points.energy(points.y), points.energy(negatives.value)
        loss = low.mean() - high.mean()
        if self.squares:
            loss = loss + self.squares * (low.square().mean() + high.square().mean())
        terms = on_and_off(low, high)
        if negatives.acceptance is not None:
            terms[ACCEPTANCE] = negatives.acceptance
        return LossOutput(loss, terms)
