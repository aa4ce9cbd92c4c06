"""Contrastive divergence (CD): push up where a short chain that begins at the data leads.

    L = ⟨E(y⁺)⟩ - ⟨E(y⁻)⟩,        y⁻: k steps of a sampler from y⁺, not differentiated

The gradient of the likelihood needs samples of the model, ∇(-log p) = ⟨∇E⟩_data - ⟨∇E⟩_model. Chains that
begin at the data and run for k steps stand in for them: cheap, with little variance, and wrong by what the
chains have not forgotten. As k grows the gradient becomes that of the likelihood; for a small k it is that of
no function, and low energy far from the data, where no chain comes, goes unnoticed.

With latent variables, E(y, z), the likelihood is that of y alone: z⁺ is inferred for the data, the chains
move in y and z together, and

    L = ⟨E(y⁺, z⁺)⟩ - ⟨E(y⁻, z⁻)⟩,        z⁺ ~ p(z | y⁺),  (y⁻, z⁻) ~ p(y, z)

has the gradient of -⟨log p(y⁺)⟩ (Fisher's identity). Where z⁺ minimizes the energy instead, it is that of the
same with ⟨E⟩ over the posterior replaced by min_z E.

L itself is no measure of success: it goes to 0 when the chains can no longer tell the model from the data.

Reference: Hinton (2002), "Training Products of Experts by Minimizing Contrastive Divergence"; the weight on
squared energies: Du & Mordatch (2019), "Implicit Generation and Modeling with Energy-Based Models".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.inferred_latent import InferredLatent
from ebm.contrastive.negatives import Negatives, draw_negatives
from ebm.contrastive.points import Points, data_of
from ebm.energy import Energy
from ebm.infer.method import count, positive
from ebm.infer.sampler import Sampler
from ebm.loss import OFF_DATA, ON_DATA, Loss, LossOutput, energy_of

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
        latent: how the latent variables of the data are inferred, `SampledLatent(...)` or
            `MinimizedLatent(...)`; None for an energy without any.
        compile: run the chains through torch.compile: seconds to a minute at the first step, and none when
            parameters have changed; if it fails, says so and goes on without.

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
        latent: InferredLatent | None = None,
        compile: bool = False,
    ):
        super().__init__()
        if not isinstance(sampler, Sampler):
            raise TypeError(f"sampler is one of ebm.infer, Langevin(0.01) for instance; got {sampler!r}.")
        if latent is not None and not isinstance(latent, InferredLatent):
            raise TypeError(f"latent is a SampledLatent or a MinimizedLatent; got {latent!r}.")
        positive("beta", beta)
        positive("squares", squares, zero=True)
        self.sampler, self.steps, self.variable = sampler, count("steps", steps), variable
        self.beta, self.squares, self.latent = float(beta), float(squares), latent
        self.compiled = bool(compile)

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        data = self.infer(energy, data, generator)
        y, others = self.take_data(energy, data)
        return self.contrast(energy, data, self.chains(energy, y, others, generator), generator)

    def infer(
        self, energy: Energy, data: dict[str, Any], generator: torch.Generator | None
    ) -> dict[str, Any]:
        """The data with its latent variables, where there are any."""
        if self.latent is None:
            return data
        return {**data, **self.latent.infer(energy, data, self.beta, generator)}

    def take_data(self, energy: Energy, data: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """The data, and all that stands beside it: what is given, and latent variables."""
        smooth = not (self.sampler.binary or self.sampler.discrete)
        y = data_of(self, energy, self.variable, data, real=smooth)
        return y, {name: value for name, value in data.items() if name != self.variable}

    def chains(
        self,
        energy: Energy,
        start: Tensor,
        others: dict[str, Any],
        generator: torch.Generator | None,
        steps: int | None = None,
    ) -> Negatives:
        """Where k steps lead from a start, (B, *shape), and latent variables among the others."""
        latents = {name: others[name] for name in (self.latent.names if self.latent else ())}
        given = {name: value for name, value in others.items() if name not in latents}
        return draw_negatives(
            energy,
            self.variable,
            start,
            given,
            self.sampler,
            steps or self.steps,
            self.beta,
            generator,
            latents,
            self.compiled,
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
        if negatives.others is None:  # one look at both
            both = points.energies(torch.stack([points.y, negatives.value], 1))
        else:
            low = points.energy(points.y)
            high = energy_of(energy, {**negatives.others, self.variable: negatives.value}, generator)
            both = torch.stack([low, high], 1)
        low, high = both.mean(0).unbind()
        loss = low - high
        if self.squares:
            loss = torch.add(loss, both.square().mean(), alpha=2 * self.squares)
        terms = {ON_DATA: low.detach(), OFF_DATA: high.detach()}
        if negatives.acceptance is not None:
            terms[ACCEPTANCE] = negatives.acceptance
        return LossOutput(loss, terms)
