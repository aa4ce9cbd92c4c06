"""How likely data are, given what a decoder makes of a code: the first term of a variational auto-encoder.

Gaussian     -log p(y|g) = |y - g|² / 2σ² + D log σ + ½ D log 2π         g the mean
Bernoulli    -log p(y|g) = Σ_i log(1 + exp g_i) - y_i g_i                g log-odds, y in [0, 1]
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from ebm.infer.method import number
from ebm.regularized.checks import check_decoded
from ebm.rows import flat


class Likelihood(nn.Module, ABC):
    """p(y|g) of data y and a decoder's output g, both (B, *shape)."""

    @abstractmethod
    def cost(self, y: Tensor, output: Tensor) -> Tensor:
        """-log p(y|g) in nats, (B,)."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """⟨y⟩, (B, *shape)."""

    @abstractmethod
    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A draw of y for each row, (B, *shape)."""


class GaussianLikelihood(Likelihood):
    """Independent noise of one standard deviation on every number.

    Args:
        noise: σ > 0, in the data's unit.
        learned: whether σ is a parameter (its logarithm is kept).
        dtype: of log σ; the default dtype if None. What was rounded to float32 stays so after `.double()`.

    Example:
        >>> GaussianLikelihood(2.0).cost(torch.tensor([[2.0]]), torch.tensor([[0.0]]))  # ½ + log 2 + ½ log 2π
        tensor([2.1121])
    """

    log_noise: Tensor

    def __init__(self, noise: float = 1.0, learned: bool = False, dtype: torch.dtype | None = None):
        super().__init__()
        log_noise = torch.tensor(math.log(number("noise", noise)), dtype=dtype)
        if learned:
            self.log_noise = nn.Parameter(log_noise)
        else:
            self.register_buffer("log_noise", log_noise)

    def cost(self, y: Tensor, output: Tensor) -> Tensor:
        residual = flat((y - check_decoded(y, output)) * (-self.log_noise).exp())
        return 0.5 * residual.square().sum(1) + residual.shape[1] * (
            self.log_noise + 0.5 * math.log(2 * math.pi)
        )

    def mean(self, output: Tensor) -> Tensor:
        """g itself, (B, *shape)."""
        return output

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return output + self.log_noise.exp() * torch.empty_like(output).normal_(generator=generator)


class BernoulliLikelihood(Likelihood):
    """Independent bits with log-odds g; a y between 0 and 1 is a share of ones.

    Example:
        >>> BernoulliLikelihood().cost(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))  # 2 log 2
        tensor([1.3863])
    """

    def cost(self, y: Tensor, output: Tensor) -> Tensor:
        if bool(((y < 0) | (y > 1)).any()):
            raise ValueError(
                f"a Bernoulli likelihood is of y in [0, 1]; got {float(y.min()):g} to {float(y.max()):g}. "
                f"Scale the data, or take GaussianLikelihood."
            )
        return flat(functional.softplus(check_decoded(y, output)) - y * output).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        """The probabilities of ones, (B, *shape)."""
        return output.sigmoid()

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.empty_like(output).uniform_(generator=generator).lt(output.sigmoid()).to(output)
