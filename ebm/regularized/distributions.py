"""Distributions q of a latent variable, of which energy-based inference needs entropy and divergence.

    H(q) = -⟨log q⟩_q,        KL(q ‖ p) = ⟨log q - log p⟩_q >= 0

    N(μ, σ²), numbers independent     H = Σ_i log σ_i + ½ D log 2πe
                                      KL = Σ_i log(σ'_i / σ_i) + (σ_i² + (μ_i - μ'_i)²) / 2σ'_i² - ½
    categories                        H = -Σ_k q_k log q_k,        KL = Σ_k q_k log(q_k / p_k)

Draws are functions of q's numbers and of noise that doesn't know them, so that gradients pass: μ + σ ε; and
for categories argmax_k (log q_k + g_k), or its relaxation softmax((log q + g) / τ), with Gumbel noise g.

Reference: Kingma & Welling (2014), "Auto-Encoding Variational Bayes", sect. 2.4 and appendix B; Jang, Gu &
Poole (2017), "Categorical Reparameterization with Gumbel-Softmax"; Maddison, Mnih & Teh (2017), "The
Concrete Distribution".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ebm.rows import flat

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, exp(log_std)²) with independent numbers, one distribution a row.

    Args:
        mean, log_std: μ and log σ, (B, *shape).

    Example:
        >>> q = DiagonalGaussian(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
        >>> q.kl(DiagonalGaussian.standard_like(q.mean)), q.entropy
        (tensor([0.5000]), tensor([2.8379]))
    """

    mean: Tensor
    log_std: Tensor

    def __post_init__(self) -> None:
        if self.mean.shape != self.log_std.shape or self.mean.ndim < 2:
            raise ValueError(
                f"a Gaussian has a mean and a log_std of one shape (B, *shape); got {tuple(self.mean.shape)} "
                f"and {tuple(self.log_std.shape)}."
            )

    @classmethod
    def standard_like(cls, mean: Tensor) -> DiagonalGaussian:
        """N(0, I) for as many rows and numbers as a mean has."""
        return cls(torch.zeros_like(mean), torch.zeros_like(mean))

    @property
    def entropy(self) -> Tensor:
        """H in nats, (B,)."""
        log_std = flat(self.log_std)
        return log_std.sum(1) + 0.5 * (1 + LOG_2PI) * log_std.shape[1]

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z) of draws, (B, S, *shape) -> (B, S)."""
        log_std = self.log_std.unsqueeze(1)
        u = (z - self.mean.unsqueeze(1)) / log_std.exp()
        return (-0.5 * u.square() - log_std - 0.5 * LOG_2PI).flatten(2).sum(2)

    def kl(self, other: DiagonalGaussian) -> Tensor:
        """KL(self ‖ other) in nats, (B,)."""
        shift = (self.mean - other.mean) / other.log_std.exp()
        log_ratio = self.log_std - other.log_std
        return flat(0.5 * ((2 * log_ratio).exp() + shift.square() - 1) - log_ratio).sum(1)

    def cross_entropy(self, other: DiagonalGaussian) -> Tensor:
        """-⟨log other⟩_self = KL + H, (B,)."""
        return self.kl(other) + self.entropy

    def noise(self, draws: int, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal noise for S draws a row, (B, S, *shape)."""
        empty = self.mean.new_empty(len(self.mean), draws, *self.mean.shape[1:])
        return empty.normal_(generator=generator)

    def at(self, noise: Tensor) -> Tensor:
        """The draws μ + σ ε of noise ε, (B, S, *shape), or (1, S, *shape) for all rows alike."""
        return self.mean.unsqueeze(1) + self.log_std.exp().unsqueeze(1) * noise

    def sample(self, draws: int, generator: torch.Generator | None = None) -> Tensor:
        """S draws a row, (B, S, *shape)."""
        return self.at(self.noise(draws, generator))


@dataclass(frozen=True)
class Categorical:
    """Probabilities q_k ∝ exp(logits_k) of K categories, one distribution a row.

    Args:
        logits: (B, K); -inf forbids a category.

    Example:
        >>> q = Categorical(torch.tensor([[0.0, 0.0, -torch.inf]]))
        >>> q.probability, q.entropy
        (tensor([[0.5000, 0.5000, 0.0000]]), tensor([0.6931]))
    """

    logits: Tensor

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or not self.logits.shape[1]:
            raise ValueError(f"logits are (B, K), K at least 1; got shape {tuple(self.logits.shape)}.")

    @classmethod
    def uniform_like(cls, logits: Tensor) -> Categorical:
        """All categories alike, for as many rows and categories as there are logits."""
        return cls(torch.zeros_like(logits))

    @property
    def log_probability(self) -> Tensor:
        """log q_k, (B, K)."""
        return self.logits.log_softmax(1)

    @property
    def probability(self) -> Tensor:
        """q_k, (B, K)."""
        return self.logits.softmax(1)

    @property
    def entropy(self) -> Tensor:
        """H in nats, (B,)."""
        return -_weighted(self.probability, self.log_probability)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z) of draws, (B, S) int64 -> (B, S)."""
        return self.log_probability.gather(1, z)

    def kl(self, other: Categorical) -> Tensor:
        """KL(self ‖ other) in nats, (B,)."""
        return self.cross_entropy(other) - self.entropy

    def cross_entropy(self, other: Categorical) -> Tensor:
        """-⟨log other⟩_self = KL + H, (B,)."""
        return -_weighted(self.probability, other.log_probability)

    def noise(self, draws: int, generator: torch.Generator | None = None) -> Tensor:
        """Gumbel noise for S draws a row, (B, S, K)."""
        empty = self.logits.new_empty(len(self.logits), draws, self.logits.shape[1])
        return gumbel_(empty, generator)

    def at(self, noise: Tensor) -> Tensor:
        """The draws argmax_k (log q_k + g_k) of noise g, (B, S, K) -> (B, S) int64."""
        return (self.logits.unsqueeze(1) + noise).argmax(2)

    def relaxed(self, noise: Tensor, temperature: float) -> Tensor:
        """softmax((log q + g) / τ), (B, S, K): points of the simplex, which are one-hot for τ → 0."""
        return ((self.log_probability.unsqueeze(1) + noise) / temperature).softmax(2)

    def sample(self, draws: int, generator: torch.Generator | None = None) -> Tensor:
        """S draws a row, (B, S) int64."""
        return self.at(self.noise(draws, generator))


def sampled_kl(q: DiagonalGaussian, p: DiagonalGaussian, noise: Tensor) -> Tensor:
    """log q(z) - log p(z) at draws z of q, (B, S): its mean over draws estimates KL(q ‖ p).

    Args:
        q, p: of one shape.
        noise: (B, S, *shape), as `q.noise` makes it.
    """
    z = q.at(noise)
    return q.log_prob(z) - p.log_prob(z)


def gumbel_(empty: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Fill with Gumbel noise, -log of exponential noise, in place."""
    tiny = torch.finfo(empty.dtype).tiny
    return empty.exponential_(generator=generator).clamp_(min=tiny).log_().neg_()


def cubature(like: Tensor) -> Tensor:
    """The 2D points ±√D e_i, (1, 2D, *shape), whose mean is ⟨f(ε)⟩, ε ~ N(0, I), for f up to degree 3.

    Args:
        like: (B, *shape), for shape, dtype and device.

    Reference: Arasaratnam & Haykin (2009), "Cubature Kalman Filters", sect. III.
    """
    size = like.shape[1:].numel()
    points = math.sqrt(size) * torch.eye(size, dtype=like.dtype, device=like.device)
    return torch.cat([points, -points]).view(1, 2 * size, *like.shape[1:])


def _weighted(p: Tensor, log_p: Tensor) -> Tensor:
    """Σ_k p_k ℓ_k with 0 · (-inf) = 0, (B,)."""
    return (p * torch.where(p > 0, log_p, torch.zeros_like(log_p))).sum(1)
