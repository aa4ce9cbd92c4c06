"""Probabilistic principal components: a Gaussian code, a linear map, and noise alike in all directions.

    E(y, z) = |y - m - zW|² / 2s² + |z|² / 2 + (D/2) log 2πs² + (K/2) log 2π
    F(y) = -log ∫ exp(-E(y, z)) dz = -log N(y; m, C),        C = WᵀW + s² I

The energy of pca.py, with a cost of the code: long codes are expensive, so the plane itself has low energy
near the mean only, and F is normalized. Both terms are quadratic in z: the posterior is Gaussian with the
precision M / s², M = W Wᵀ + s² I (K, K), and F needs no larger matrix than M.

Reference: Tipping & Bishop (1999), "Probabilistic Principal Component Analysis", sect. 3.2 for the parameters
of maximum likelihood: s² the mean of the D - K smallest eigenvalues λ of the covariance (over N), W_k the
eigenvector of the k-th largest times √(λ_k - s²).
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.history import History
from ebm.infer.method import count, positive
from ebm.regularized.checks import check_parameters, check_width
from ebm.regularized.exact import check_data, exactly, home
from ebm.regularized.pca import principal
from ebm.solution import Solution, Stop


class ProbabilisticPCA(Energy):
    """E(y, z) = |y - m - zW|² / 2s² + |z|² / 2 + constants, for data y (B, D) and codes z (B, K).

    Args:
        weights: W, (K, D), K below D.
        mean: m, (D,).
        noise: s², the variance of the noise, positive.

    Raises:
        TypeError: if they are no floating point numbers.
        ValueError: if the shapes disagree, the noise is not positive or something is not finite.

    Example:
        >>> model = ProbabilisticPCA(torch.tensor([[3.0, 0.0]]), torch.zeros(2), noise=1.0)
        >>> y = torch.tensor([[10.0, 0.0]])
        >>> model.infer(y).value  # 30 / (9 + 1)
        tensor([[3.0000]])
        >>> round(float(model.free_energy(y=y)), 4)  # C = diag(10, 1): 5 + ½ log 10 + log 2π
        7.9892
    """

    weights: Tensor
    mean: Tensor
    noise: Tensor

    def __init__(self, weights: Tensor, mean: Tensor, noise: float | Tensor):
        super().__init__()
        if weights.ndim != 2 or not 1 <= len(weights) < weights.shape[1] or mean.shape != weights.shape[1:]:
            raise ValueError(
                f"expected weights (K, D), 1 <= K < D, and a mean (D,); got {tuple(weights.shape)} and "
                f"{tuple(mean.shape)}."
            )
        check_parameters(weights=weights, mean=mean)
        noise = torch.as_tensor(positive("noise", noise), dtype=weights.dtype, device=weights.device)
        for name, value in (("weights", weights), ("mean", mean), ("noise", noise)):
            self.register_buffer(name, value.detach().clone())

    @classmethod
    def from_data(cls, y: Tensor, k: int) -> ProbabilisticPCA:
        """The likeliest parameters for the data.

        Args:
            y: (N, D), N at least K + 2.
            k: K, below D.

        Raises:
            ValueError: if K is too large, the data have no variance off the plane of their K largest ones, or
                a row holds NaN or infinity.
        """
        y = check_data(y, least=count("k", k) + 2)
        if k >= y.shape[1]:
            raise ValueError(f"k must be below D = {y.shape[1]}, to leave directions to the noise; got {k}.")
        model = cls(y.new_zeros(k, y.shape[1]), y.new_zeros(y.shape[1]), 1.0)
        model.fit(y)
        return model

    def decode(self, z: Tensor) -> Tensor:
        """What a code stands for, m + zW, (B, K) -> (B, D)."""
        return torch.addmm(self.mean, check_width("z", z, len(self.weights)), self.weights)

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        k, dim = self.weights.shape
        fit = (self._checked(y) - self.decode(z)).square().sum(1) / (2 * self.noise)
        constant = 0.5 * dim * (2 * math.pi * self.noise).log() + 0.5 * k * math.log(2 * math.pi)
        return fit + 0.5 * z.square().sum(1) + constant

    def quadratic(
        self, name: str, *, y: Tensor | None = None, z: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """½ zᵀ (M / s²) z - zᵀ W(y - m) / s² + E(y, 0); None for other variables than z."""
        if name != "z" or y is None:
            return None
        projected = (y - self.mean) @ self.weights.T
        return self._matrix() / self.noise, projected / self.noise, self(y=y, z=torch.zeros_like(projected))

    def posterior(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """p(z | y) = N(M⁻¹W(y - m), s² M⁻¹): means (B, K) and the covariance (K, K) of all rows."""
        factor = torch.linalg.cholesky(self._matrix())
        projected = (self._checked(y) - self.mean) @ self.weights.T
        return torch.cholesky_solve(projected.T, factor).T, self.noise * torch.cholesky_inverse(factor)

    def infer(self, y: Tensor) -> Solution:
        """The best code: argmin_z E(y, z) = M⁻¹W(y - m), the mean of the posterior too.

        Args:
            y: (B, D).

        Returns:
            A `Solution` whose `value` is z, (B, K), and `energy` E(y, z), (B,).

        Raises:
            ValueError: if a row holds NaN or infinity.
        """
        with torch.no_grad():
            z = self.posterior(check_data(y, self.mean.shape[0], least=0))[0]
            return exactly(z, self(y=y, z=z), Stop.GRADIENT)

    @property
    def free_energy(self) -> ProbabilisticPCAFreeEnergy:
        """F(y) = -log p(y), an energy of y, normalized."""
        return ProbabilisticPCAFreeEnergy(self)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws from p(y): a code, what it stands for, and noise, (n, D)."""
        k, dim = self.weights.shape
        shape, device = (count("n", n, 0), k + dim), home(generator)
        white = torch.randn(shape, generator=generator, dtype=self.mean.dtype, device=device).to(self.mean)
        return self.decode(white[:, :k]) + self.noise.sqrt() * white[:, k:]

    def fit(self, y: Tensor) -> History:
        """Find the parameters with the least mean free energy of the data, in place, computed in float64.

        Args:
            y: (N, D), N at least K + 2.

        Returns:
            One row: the mean free energy -log p(y) of the data ("energy") and s² ("noise").

        Raises:
            ValueError: as in `from_data`.
        """
        begun, history = time.perf_counter(), History()
        k, dim = self.weights.shape
        mean, variances, directions = principal(check_data(y, dim, least=k + 2))
        variances = variances * ((len(y) - 1) / len(y))
        noise = variances[k:].mean()
        if not float(noise) > torch.finfo(y.dtype).eps ** 2 * float(variances[0]):
            raise ValueError(f"the data have no variance off a plane of {k} dimensions: take a smaller k.")
        self.mean.copy_(mean)
        self.noise.copy_(noise)
        self.weights.copy_((variances[:k] - noise).sqrt().unsqueeze(1) * directions[:k])
        logarithm = variances[:k].log().sum() + (dim - k) * noise.log()  # of det C; and tr C⁻¹S = D
        energy = 0.5 * (float(logarithm) + dim * (1 + math.log(2 * math.pi)))
        history.append({"energy": energy, "noise": float(noise)})
        history.seconds = time.perf_counter() - begun
        return history

    def _matrix(self) -> Tensor:
        """M = W Wᵀ + s² I, (K, K)."""
        matrix = self.weights @ self.weights.T
        return matrix + self.noise * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)

    def _checked(self, y: Tensor) -> Tensor:
        return check_width("y", y, len(self.mean))


class ProbabilisticPCAFreeEnergy(Energy):
    """F(y) = ½ (y - m)ᵀ C⁻¹ (y - m) + ½ log det 2πC.

    With z* the best code, (y - m)ᵀ C⁻¹ (y - m) = |y - m - z*W|² / s² + |z*|², and
    log det C = log det M + (D - K) log s².
    """

    def __init__(self, model: ProbabilisticPCA):
        super().__init__()
        self.model = model

    def forward(self, y: Tensor) -> Tensor:
        z, covariance = self.model.posterior(y)
        volume = 0.5 * torch.logdet(2 * math.pi * covariance)  # of the posterior: what the sum over z adds
        return self.model(y=y, z=z) - volume
