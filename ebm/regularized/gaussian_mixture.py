"""A mixture of Gaussians: a discrete latent variable says which of K Gaussians the data come from.

    E(y, z) = -log π_z - log N(y; μ_z, Σ_z),        F(y) = -log Σ_z exp(-E(y, z)) = -log p(y)

The free energy at β = 1 is an exact negative log-likelihood: its Boltzmann distribution has the integral 1,
however the parameters are, so energy cannot be low everywhere. Expectation maximization lowers its mean over
the data at every step: the E-step finds the posterior of z, the M-step the parameters with the least mean
energy under it.

Reference: Dempster, Laird & Rubin (1977), "Maximum Likelihood from Incomplete Data via the EM Algorithm";
Neal & Hinton (1998), "A view of the EM algorithm that justifies incremental, sparse, and other variants",
for EM as the descent of a free energy.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.history import History
from ebm.infer.method import count, positive
from ebm.regularized.checks import check_choice, check_parameters
from ebm.regularized.covariances import (
    Covariance,
    check_kind,
    check_symmetric,
    coloring,
    from_moments,
    of_clusters,
    shape_of,
    whitening,
)
from ebm.regularized.exact import check_data, exactly, home
from ebm.regularized.expectation import Components, expect
from ebm.regularized.k_means import KMeans
from ebm.solution import Solution, Stop, one_tensor
from ebm.steps import Steps


class GaussianMixture(Energy):
    """E(y, z) = -log π_z - log N(y; μ_z, Σ_z), for data y (B, D) and numbers of components z (B,) int64.

    Args:
        weights: π, (K,), positive, adding up to 1.
        means: μ, (K, D).
        covariances: Σ, (K, D, D) if "full", (D, D) if "tied", (K, D) variances if "diagonal", (K,) variances
            if "spherical".
        covariance: which of these.

    Raises:
        ValueError: if the shapes disagree, the weights are no distribution, the kind is unknown or a
            covariance is not symmetric and positive definite.

    Example:
        >>> means = torch.tensor([[-3.0], [3.0]])
        >>> model = GaussianMixture(torch.tensor([0.5, 0.5]), means, torch.ones(2, 1, 1))
        >>> y = torch.tensor([[2.0], [0.0]])
        >>> model.infer(y).value
        tensor([1, 0])
        >>> model.responsibilities(y)[1], model.free_energy(y=y)
        (tensor([0.5000, 0.5000]), tensor([2.1121, 5.4189]))
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor, covariance: Covariance = "full"):
        super().__init__()
        if means.ndim != 2 or not means.numel() or weights.shape != means.shape[:1]:
            raise ValueError(
                f"expected means (K, D) and weights (K,), K and D at least 1; got means of shape "
                f"{tuple(means.shape)} and weights of shape {tuple(weights.shape)}."
            )
        expected = shape_of(covariance, *means.shape)
        if covariances.shape != expected:
            raise ValueError(
                f'"{covariance}" covariances to these means have the shape {expected}; got '
                f"{tuple(covariances.shape)}."
            )
        if not bool((weights > 0).all()) or abs(float(weights.double().sum()) - 1) > 1e-5:
            raise ValueError(
                f"weights are positive and add up to 1; got {weights.tolist()}. Pass weights / weights.sum()."
            )
        check_parameters(weights=weights, means=means, covariances=covariances)
        check_symmetric(covariance, covariances)
        whitening(covariance, covariances, *means.shape)  # raises where there is none
        self.covariance = covariance
        self.register_buffer("weights", weights.detach().clone())
        self.register_buffer("means", means.detach().clone())
        self.register_buffer("covariances", covariances.detach().clone())

    @classmethod
    def from_data(
        cls,
        y: Tensor,
        k: int,
        covariance: Covariance = "full",
        *,
        reg_covar: float = 1e-6,
        generator: torch.Generator | None = None,
    ) -> GaussianMixture:
        """A model whose components are the clusters that k-means finds, ready to `fit`.

        Args:
            y: (N, D).
            k: K, at most N.
            covariance: "full", "tied", "diagonal" or "spherical".
            reg_covar: added to every variance.
            generator: randomness of the start of k-means.

        Raises:
            ValueError: if there are fewer rows than components, or a row holds NaN or infinity.
        """
        check_kind(covariance)
        positive("reg_covar", reg_covar, zero=True)
        y = check_data(y, least=count("k", k))
        clusters = KMeans.from_data(y, k, generator=generator)
        if clusters.fit(y, progress=False).interrupted:
            raise KeyboardInterrupt
        z, means = one_tensor(clusters.infer(y).value), clusters.centers
        counts, covariances = of_clusters(covariance, y, z, means, reg_covar)
        return cls(counts / counts.sum(), means, covariances, covariance)

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        check_choice(z, len(self.means), "components")
        return -self.logarithms(y).gather(1, z.unsqueeze(1)).squeeze(1)

    def logarithms(self, y: Tensor) -> Tensor:
        """log π_k + log N(y; μ_k, Σ_k) of every component, (B, D) -> (B, K)."""
        if y.ndim != 2 or y.shape[1] != self.means.shape[1]:
            raise ValueError(
                f"y must be (B, {self.means.shape[1]}), as wide as the means; got {tuple(y.shape)}."
            )
        return self._components().logarithms(y)

    def responsibilities(self, y: Tensor) -> Tensor:
        """The posterior p(z | y), (B, D) -> (B, K)."""
        return self.logarithms(y).softmax(1)

    def infer(self, y: Tensor) -> Solution:
        """The likeliest component of each row: argmin_z E(y, z), the smallest number of equals.

        Args:
            y: (B, D).

        Returns:
            A `Solution` whose `value` is z, (B,) int64, and `energy` E(y, z), (B,).

        Raises:
            ValueError: if a row holds NaN or infinity.
        """
        with torch.no_grad():
            logarithms = self.logarithms(check_data(y, self.means.shape[1], least=0))
        z = logarithms.argmax(1)
        return exactly(z, -logarithms.gather(1, z.unsqueeze(1)).squeeze(1), Stop.EXHAUSTED)

    def decode(self, z: Tensor) -> Tensor:
        """The means of these components, μ_z, (B,) -> (B, D)."""
        return self.means[check_choice(z, len(self.means), "components")]

    @property
    def free_energy(self) -> GaussianMixtureFreeEnergy:
        """F(y) = -log p(y), an energy of y, normalized."""
        return GaussianMixtureFreeEnergy(self)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws from p(y): a component by its weight, then a draw from that Gaussian, (n, D)."""
        shape, weights = (count("n", n), self.means.shape[1]), self.weights.to(home(generator))
        z = torch.multinomial(weights, n, replacement=True, generator=generator)
        noise = torch.randn(shape, generator=generator, dtype=self.means.dtype, device=home(generator))
        z = z.to(self.means.device)
        return self.means[z] + coloring(self._components().factors, z, noise.to(self.means))

    def fit(
        self,
        y: Tensor,
        *,
        max_steps: int = 100,
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        progress: bool = True,
    ) -> History:
        """Learn weights, means and covariances by expectation maximization from where they are, in place.

        It is computed in float64, whatever the model has. Ctrl-C ends it after a whole step.

        Args:
            y: (N, D), N at least K.
            max_steps: at most so many M-steps.
            tol: it ends when the mean free energy of a row changes by less.
            reg_covar: added to every variance; at 0 the mean free energy cannot rise.
            progress: show a bar if it takes long.

        Returns:
            The mean free energy -log p(y) ("energy") before each M-step, and in the end.

        Raises:
            ValueError: if the data don't fit the means, are fewer than the components or hold NaN or
                infinity, or if a covariance becomes singular; the model then is as before that step.
        """
        count("max_steps", max_steps)
        positive("tol", tol, zero=True)
        positive("reg_covar", reg_covar, zero=True)
        begun, history = time.perf_counter(), History()
        y = check_data(y, self.means.shape[1], least=len(self.means))
        middle = y.mean(0)
        y, middle = y - middle, middle.double()
        reach = float(torch.linalg.vector_norm(y, dim=1).max()) ** 2
        weights, means, covariances = (b.double() for b in (self.weights, self.means, self.covariances))
        with Steps("gaussian mixture", max_steps + 1, progress) as steps:
            for step in range(max_steps + 1):
                # raises before anything is changed
                factors = whitening(self.covariance, covariances, *means.shape)
                if step:
                    self.weights.copy_(weights)
                    self.means.copy_(means)
                    self.covariances.copy_(covariances)
                components = Components.of(weights, means - middle, factors)
                moments = expect(y, components, max(reach, float(components.means.square().sum(1).max())))
                energy = moments.energy / len(y)
                history.append({"energy": energy})
                over = step == max_steps or (step > 0 and abs(energy - history.rows[-2]["energy"]) < tol)
                if steps.ended(over, energy=energy):
                    break
                weights, means = moments.counts / moments.counts.sum(), moments.means + middle
                covariances = from_moments(
                    self.covariance, moments.counts, moments.means, moments.scatter, reg_covar
                )
        history.interrupted = steps.interrupted
        history.seconds = time.perf_counter() - begun
        return history

    def _components(self) -> Components:
        factors = whitening(self.covariance, self.covariances, *self.means.shape)
        return Components.of(self.weights, self.means, factors)


class GaussianMixtureFreeEnergy(Energy):
    """F(y) = -log Σ_k π_k N(y; μ_k, Σ_k)."""

    def __init__(self, model: GaussianMixture):
        super().__init__()
        self.model = model

    def forward(self, y: Tensor) -> Tensor:
        return -self.model.logarithms(y).logsumexp(1)
