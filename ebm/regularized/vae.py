"""Variational auto-encoders: codes that are noisy numbers, or one of K categories.

    E(y, z) = -log p(y|g(z)) + ½|z|² + ½ D log 2π        z (B, D),    q(z|y) = N(mean(y), exp(log_std(y))²)
    E(y, z) = -log p(y|g(e_z)) + log K                   z in {0, ..., K-1},    q_k(y) ∝ exp(logits_k(y))

Each is an `Amortized` energy (`ebm.regularized.amortized`: free energy, bounds, loss) over data and code. A
linear decoder with Gaussian noise is probabilistic PCA, and a linear encoder reaches its posterior wherever
the decoder's columns are orthogonal.

Reference: Kingma & Welling (2014), "Auto-Encoding Variational Bayes"; Rezende, Mohamed & Wierstra (2014),
"Stochastic Backpropagation"; Lucas, Tucker, Grosse & Norouzi (2019), "Don't Blame the ELBO!", sect. 4; Jang,
Gu & Poole (2017), "Categorical Reparameterization with Gumbel-Softmax", sect. 2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ebm.choices import Choices
from ebm.infer.enumerate import Enumerate
from ebm.infer.lbfgs import LBFGS
from ebm.infer.method import Method, count, positive
from ebm.infer.minimize import minimize
from ebm.regularized.amortized import Amortized, single
from ebm.regularized.checks import check_choice, check_width
from ebm.regularized.distributions import Categorical, DiagonalGaussian, cubature, gumbel_
from ebm.regularized.likelihood import Likelihood
from ebm.solution import Solution


class VAE(Amortized):
    """E(y, z) = -log p(y|z) + ½|z|² + ½ D log 2π, for data y (B, *shape) and codes z (B, D).

    Args:
        encoder: (B, *shape) -> (B, 2D), mean and log_std of q(z|y).
        decoder: (B, D) -> (B, *shape).
        size: D.
        likelihood: p(y|g); a Gaussian with σ = 1 if None.
        draws: S, over which F averages; None for the 2D points of `cubature`, which is exact for a decoder
            that is linear with Gaussian noise.

    Example:
        >>> from ebm.nets import mlp
        >>> model = VAE(mlp(4, 16, 6), mlp(3, 16, 4), size=3)
        >>> y = torch.zeros(2, 4)
        >>> model.infer(y, max_steps=5).value.shape, model.sample(5).shape
        (torch.Size([2, 3]), torch.Size([5, 4]))
        >>> model.free_energy.variables, model(y=y, z=torch.zeros(2, 3)).shape
        (('y',), torch.Size([2]))
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        size: int,
        likelihood: Likelihood | None = None,
        draws: int | None = 1,
    ):
        super().__init__(encoder, decoder, likelihood)
        self.size, self.draws = count("size", size), None if draws is None else count("draws", draws)

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        if z.ndim != 2 or z.shape[1] != self.size:
            raise ValueError(f"codes have {self.size} numbers, z is (B, {self.size}); got {tuple(z.shape)}.")
        prior = 0.5 * z.square().sum(1) + 0.5 * self.size * math.log(2 * math.pi)
        return self.likelihood.cost(y, self.decoder(z)) + prior

    def posterior(self, y: Tensor) -> DiagonalGaussian:
        """q(z|y) = N(mean, exp(log_std)²)."""
        numbers = self.encoder(y)
        if numbers.ndim != 2 or numbers.shape[1] != 2 * self.size:
            raise ValueError(
                f"the encoder gives mean and log_std of {self.size} numbers, (B, {2 * self.size}); it gave "
                f"{tuple(numbers.shape)}."
            )
        return DiagonalGaussian(*single(numbers).chunk(2, 1))

    def noise(self, rows: Tensor, draws: int, generator: torch.Generator | None) -> Tensor:
        return rows.new_empty(len(rows), draws, self.size).normal_(generator=generator)

    def codes(self, y: Tensor, noise: Tensor | None) -> tuple[DiagonalGaussian, Tensor, float]:
        q = self.posterior(y)
        z = q.at(cubature(q.mean) if noise is None else noise)
        return q, z, 1 / z.shape[1]

    def divergence(self, q: DiagonalGaussian) -> Tensor:
        return q.kl(DiagonalGaussian.standard_like(q.mean))

    def weigh(self, y: Tensor, noise: Tensor) -> Tensor:
        q = self.posterior(y)
        z = q.at(noise)
        energy = self.forward(y.repeat_interleave(z.shape[1], 0), z.flatten(0, 1))
        return energy.view(z.shape[:2]) + q.log_prob(z)

    def infer(
        self, y: Tensor, method: Method | None = None, *, max_steps: int = 200, tol: float = 1e-4
    ) -> Solution:
        """The most probable code, argmin_z E(y, z), sought from the mean that the encoder guesses.

        Args:
            y: (B, *shape).
            method: LBFGS if None.
            max_steps, tol: as in `minimize`.
        """
        with torch.no_grad():
            start = self.posterior(y).mean
        method = LBFGS() if method is None else method
        return minimize(self, start, method, given={"y": y}, max_steps=max_steps, tol=tol)

    def decode(self, z: Tensor) -> Tensor:
        """⟨y⟩ given z, (B, D) -> (B, *shape)."""
        return self.likelihood.mean(self.decoder(check_width("z", z, self.size)))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None, *, noisy: bool = True) -> Tensor:
        """n draws (n, *shape): z from the prior, then y given z; if not noisy, the mean of y given z."""
        like = next(self.parameters(), torch.empty(0))
        z = like.new_empty(count("n", n, 0), self.size).normal_(generator=generator)
        return self.likelihood.sample(self.decoder(z), generator) if noisy else self.decode(z)


class CategoricalVAE(Amortized):
    """E(y, z) = -log p(y|g(e_z)) + log K, for data y (B, *shape) and z (B,) int64, one of K categories.

    -log p(y) itself is a sum of K terms, `marginal_over(model, "z", 1.0, AllChoices(K, normalized=False))`.

    Args:
        encoder: (B, *shape) -> (B, K), logits of q(z|y).
        decoder: one-hot codes (B, K) -> (B, *shape).
        categories: K.
        likelihood: p(y|g); a Gaussian with σ = 1 if None.
        temperature: None averages over all K categories, exactly; τ > 0 draws relaxed codes on the simplex.
        draws: S, of relaxed codes.

    Example:
        >>> model = CategoricalVAE(nn.Linear(4, 3), nn.Linear(3, 4), categories=3)
        >>> y = torch.zeros(2, 4)
        >>> model(y=y, z=torch.tensor([0, 2])).shape, model.infer(y).reasons
        (torch.Size([2]), ['exhausted', 'exhausted'])
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        categories: int,
        likelihood: Likelihood | None = None,
        temperature: float | None = None,
        draws: int = 1,
    ):
        super().__init__(encoder, decoder, likelihood)
        if temperature is not None:
            positive("temperature", temperature)
        self.categories, self.temperature = count("categories", categories), temperature
        self.draws = None if temperature is None else count("draws", draws)

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return self.likelihood.cost(y, self.decoder(self._one_hot(z, y))) + math.log(self.categories)

    def posterior(self, y: Tensor) -> Categorical:
        """q(z|y)."""
        logits = self.encoder(y)
        if logits.ndim != 2 or logits.shape[1] != self.categories:
            raise ValueError(
                f"the encoder gives logits of {self.categories} categories, (B, {self.categories}); it gave "
                f"{tuple(logits.shape)}."
            )
        return Categorical(single(logits))

    def noise(self, rows: Tensor, draws: int, generator: torch.Generator | None) -> Tensor:
        return gumbel_(rows.new_empty(len(rows), draws, self.categories), generator)

    def codes(self, y: Tensor, noise: Tensor | None) -> tuple[Categorical, Tensor, Tensor | float]:
        q = self.posterior(y)
        if noise is not None and self.temperature is not None:
            return q, q.relaxed(noise, self.temperature), 1 / noise.shape[1]
        every = torch.eye(self.categories, dtype=q.logits.dtype, device=q.logits.device)
        return q, every.expand(len(y), -1, -1), q.probability

    def divergence(self, q: Categorical) -> Tensor:
        return q.kl(Categorical.uniform_like(q.logits))

    def weigh(self, y: Tensor, noise: Tensor) -> Tensor:
        q = self.posterior(y)
        z = q.at(noise)
        energy = self.forward(y.repeat_interleave(z.shape[1], 0), z.flatten())
        return energy.view(z.shape) + q.log_prob(z)

    def infer(self, y: Tensor) -> Solution:
        """The most probable category, argmin_z E(y, z), (B,) int64: all are tried."""
        start = torch.zeros(len(y), dtype=torch.int64, device=y.device)
        return minimize(self, Choices(start, self.categories), Enumerate(), given={"y": y}, max_steps=1)

    def decode(self, z: Tensor) -> Tensor:
        """⟨y⟩ given z, (B,) int64 -> (B, *shape)."""
        return self.likelihood.mean(self.decoder(self._one_hot(z, next(self.parameters(), torch.empty(0)))))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None, *, noisy: bool = True) -> Tensor:
        """n draws (n, *shape): a category, all alike, then y given z; if not noisy, the mean of y given z."""
        like = next(self.parameters(), torch.empty(0))
        z = torch.randint(self.categories, (count("n", n, 0),), generator=generator, device=like.device)
        output = self.decoder(self._one_hot(z, like))
        return self.likelihood.sample(output, generator) if noisy else self.likelihood.mean(output)

    def _one_hot(self, z: Tensor, like: Tensor) -> Tensor:
        check_choice(z, self.categories, "categories")
        return nn.functional.one_hot(z, self.categories).to(like.dtype)
