"""A joint energy of y and z with an encoder that guesses the posterior: bounds on -log p(y), and their loss.

    E(y, z) = -log p(y|z) - log p(z),        q(z|y) by an encoder
    F(y) = ⟨E(y, z)⟩_q - H(q)  =  ⟨-log p(y|z)⟩_q + KL(q ‖ p(z))  >=  -log p(y) = -log ∫ exp(-E) dz

F is the variational free energy (`ebm.regularized.variational`) of the q that the encoder guesses. What a
code tells of y costs KL(q ‖ p), and this limits how much of the space can have low energy. With K draws of q
the importance-weighted bound comes closer,

    F_K(y) = -log (1/K) Σ_k exp(-E(y, z_k)) / q(z_k|y),        ⟨F_1⟩ >= ⟨F_2⟩ >= ... -> -log p(y)

Reference: Kingma & Welling (2014), "Auto-Encoding Variational Bayes", eq. 3 and 10; Higgins et al. (2017),
"beta-VAE", eq. 4; Burda, Grosse & Salakhutdinov (2016), "Importance Weighted Autoencoders", theorem 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ebm.binder import Binder
from ebm.energy import Energy
from ebm.infer.method import count, positive
from ebm.loss import ON_DATA, Loss, LossOutput
from ebm.regularized.distributions import Categorical, DiagonalGaussian
from ebm.regularized.likelihood import GaussianLikelihood, Likelihood

Posterior = DiagonalGaussian | Categorical


class Parts(NamedTuple):
    """What F(y) is made of, each (B,), in nats.

    Attributes:
        distortion: ⟨-log p(y|z)⟩_q.
        divergence: KL(q ‖ p(z)), what the code tells.
        entropy: H(q).
    """

    distortion: Tensor
    divergence: Tensor
    entropy: Tensor

    @property
    def energy(self) -> Tensor:
        """⟨E(y, z)⟩_q = F + H, (B,)."""
        return self.distortion + self.divergence + self.entropy


class Amortized(Energy, ABC):
    """E(y, z) = -log p(y|z) - log p(z) with an encoder that makes q(z|y).

    Args:
        encoder: (B, *shape) -> the numbers of q.
        decoder: codes (B, n) -> (B, *shape), what the likelihood takes.
        likelihood: p(y|g).
    """

    draws: int | None

    def __init__(self, encoder: nn.Module, decoder: nn.Module, likelihood: Likelihood | None):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        if not isinstance(likelihood, Likelihood | None):
            raise TypeError(
                f"a likelihood is a Likelihood, such as GaussianLikelihood(); got {likelihood!r}."
            )
        self.likelihood: Likelihood = GaussianLikelihood() if likelihood is None else likelihood

    @abstractmethod
    def posterior(self, y: Tensor) -> Posterior:
        """q(z|y), one distribution a row."""

    @abstractmethod
    def noise(self, rows: Tensor, draws: int, generator: torch.Generator | None) -> Tensor:
        """What S draws for each of the rows, (B, ...), are made of; of their dtype and device."""

    @abstractmethod
    def codes(self, y: Tensor, noise: Tensor | None) -> tuple[Posterior, Tensor, Tensor | float]:
        """q(z|y), codes (B, S, n) over which to average, and their weights, (B, S) or one number."""

    @abstractmethod
    def weigh(self, y: Tensor, noise: Tensor) -> Tensor:
        """E(y, z_s) + log q(z_s|y) of draws z_s, (B, S)."""

    def parts(self, y: Tensor, noise: Tensor | None = None) -> Parts:
        """What F(y) is made of, for the draws that the noise makes; without noise see `codes`."""
        q, codes, weights = self.codes(y, noise)
        cost = self.likelihood.cost(y.repeat_interleave(codes.shape[1], 0), self.decoder(codes.flatten(0, 1)))
        distortion = (weights * cost.view(codes.shape[:2])).sum(1)
        return Parts(distortion, self.divergence(q), q.entropy)

    @abstractmethod
    def divergence(self, q: Any) -> Tensor:
        """KL(q ‖ p(z)), (B,)."""

    @property
    def free_energy(self) -> VariationalBound:
        """F(y), an energy of y with the model's own number of draws."""
        return VariationalBound(self, self.draws)

    def evidence(self, draws: int) -> VariationalBound:
        """F_K(y), the importance-weighted bound on -log p(y) with K draws, an energy of y."""
        return VariationalBound(self, draws, weighted=True)


def single(numbers: Tensor) -> Tensor:
    """Numbers of an encoder that ran in half precision in float32, others as they are."""
    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))


class VariationalBound(Energy):
    """A bound on -log p(y), an energy of y: F(y), or if weighted F_K(y); K draws of q are made at each bind.

    Args:
        model: with its encoder.
        draws: K; None for the model's own points, which takes no noise.
        weighted: whether draws are weighted by importance.

    Raises:
        ValueError: if a weighted bound has no draws.
    """

    def __init__(self, model: Amortized, draws: int | None, weighted: bool = False):
        super().__init__()
        if weighted and draws is None:
            raise ValueError("an importance-weighted bound needs draws, an integer of at least 1; got None.")
        self.model, self.draws, self.weighted = (
            model,
            None if draws is None else count("draws", draws),
            weighted,
        )

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        """Draw the noise."""
        if self.draws is None:
            return {}
        rows = torch.empty(binder.need_batch("VariationalBound"), 0, dtype=binder.dtype, device=binder.device)
        return {"noise": self.model.noise(rows, self.draws, binder.generator)}

    def forward(self, y: Tensor, noise: Tensor | None = None) -> Tensor:
        if self.weighted and noise is not None:
            return math.log(noise.shape[1]) - torch.logsumexp(-self.model.weigh(y, noise), 1)
        parts = self.model.parts(y, noise)
        return parts.distortion + parts.divergence


class ELBO(Loss):
    """L = (1/B) Σ_i ⟨-log p(y_i|z)⟩_q + β KL(q ‖ p(z)), with β = 1 the mean of F: minus the evidence bound.

    Terms: "energy on data" ⟨E⟩_q and "entropy" H(q), whose difference is "free energy", F; "distortion" and
    "KL", whose sum it is too; "bits", KL / log 2. All are means over rows, in nats but for bits.

    Args:
        beta: β >= 0: how dear a nat of code is. Less than 1 lets codes tell more, more makes them tell less.

    Example:
        >>> from ebm.regularized.vae import VAE
        >>> model = VAE(nn.Linear(4, 2), nn.Linear(1, 4), size=1)
        >>> output = ELBO()(model, torch.Generator().manual_seed(0), y=torch.zeros(8, 4))
        >>> terms = output.terms
        >>> bool((terms["energy on data"] - terms["entropy"] - output.loss).abs() < 1e-5)
        True
    """

    def __init__(self, beta: float = 1.0):
        super().__init__()
        positive("beta", beta, zero=True)
        self.beta = float(beta)

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        if not isinstance(energy, Amortized):
            raise TypeError(f"ELBO needs an encoder: an energy such as VAE(...); got {energy.label}.")
        if set(data) != {"y"} or not len(data["y"]):
            came = ", ".join(f"{name} of {len(value)} rows" for name, value in data.items())
            raise TypeError(f"ELBO takes y, at least one row, and nothing else; got {came or 'nothing'}.")
        y = data["y"]
        noise = None if energy.draws is None else energy.noise(y, energy.draws, generator)
        parts = energy.parts(y, noise)
        loss = (parts.distortion + self.beta * parts.divergence).mean()
        with torch.no_grad():
            distortion, divergence, entropy = (part.mean() for part in parts)
            terms = {
                ON_DATA: parts.energy.mean(),
                "entropy": entropy,
                "free energy": distortion + divergence,
                "distortion": distortion,
                "KL": divergence,
                "bits": divergence / math.log(2),
            }
        return LossOutput(loss, terms)

    @property
    def described(self) -> str:
        return f"{self.label}(beta={self.beta:g})"
