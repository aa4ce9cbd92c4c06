"""The Gaussian: a quadratic energy, the target on which everything is known.

    E(y) = ½ (y - μ)ᵀ Σ⁻¹ (y - μ),        log Z = ½ log det(2πΣ)

The condition number of Σ sets how hard it is: gradient descent needs a number of steps proportional to it,
Newton's method needs one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.targets.target import Target, finite


class Gaussian(Target):
    """A Gaussian with full covariance.

    E(y) = ½ (y - μ)ᵀ Σ⁻¹ (y - μ); minimum at μ; mean μ; covariance Σ; log Z = ½ (D log 2π + log det Σ).
    The precision Σ⁻¹ is what is stored, and L with Σ = L Lᵀ for draws; all answers derive from them.

    Args:
        mean: μ, (D,).
        covariance: Σ, (D, D), symmetric and positive definite; the identity if None.

    Raises:
        TypeError: if the mean is not of floating point numbers.
        ValueError: if the shapes disagree or the covariance is not symmetric and positive definite.

    Example:
        >>> target = Gaussian(torch.zeros(2), torch.tensor([[2.0, 0.0], [0.0, 0.5]]))
        >>> target(y=torch.tensor([[2.0, 1.0]]))
        tensor([2.])
        >>> round(target.log_z, 4)  # log 2π, for det Σ = 1
        1.8379
    """

    closed_form = ("y",)
    center: Tensor
    precision: Tensor
    factor: Tensor

    def __init__(self, mean: Tensor, covariance: Tensor | None = None):
        if mean.ndim != 1:
            raise ValueError(f"Gaussian needs a mean of shape (D,); got {tuple(mean.shape)}.")
        super().__init__(mean.shape[0], like=finite("Gaussian", "mean", mean))
        covariance = torch.eye(self.dim).to(mean) if covariance is None else covariance
        if covariance.shape != (self.dim, self.dim):
            raise ValueError(
                f"Gaussian needs a covariance of shape {(self.dim, self.dim)}, to go with its mean; got "
                f"{tuple(covariance.shape)}. For independent coordinates pass torch.diag(variances)."
            )
        self.register_buffer("center", mean.detach().clone())
        self.register_buffer("precision", inverse_covariance("Gaussian", covariance).to(mean))
        self.register_buffer("factor", factors(self.precision))

    def forward(self, y: Tensor) -> Tensor:
        d = y - self.center  # (B, D)
        return 0.5 * (d @ self.precision * d).sum(1)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """E(y) (B,) and its gradient Σ⁻¹ (y - μ), (B, D)."""
        d = y - self.center
        gradient = d @ self.precision
        return 0.5 * (gradient * d).sum(1), gradient

    @property
    def minima(self) -> Tensor:
        return self.center[None]

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def log_z(self) -> float:
        return 0.5 * self.dim * math.log(2 * math.pi) - 0.5 * float(torch.logdet(self.precision.double()))

    @property
    def mean(self) -> Tensor:
        return self.center

    @property
    def covariance(self) -> Tensor:
        return torch.linalg.inv(self.precision.double()).to(self.precision)

    def exact_samples(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """μ + L ξ with ξ standard normal, (n, D)."""
        return torch.addmm(self.center, self._normal(n, self.dim, generator=generator), self.factor.T)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Four standard deviations about the mean."""
        reach = 4 * self.covariance.diagonal().sqrt()
        (x, *ys), (dx, *dys) = self.center.tolist(), reach.tolist()
        y, dy = (ys[0], dys[0]) if ys else (0.0, 4.0)
        return (x - dx, x + dx, y - dy, y + dy)


def inverse_covariance(who: str, covariance: Tensor) -> Tensor:
    """Σ⁻¹ of covariances (..., D, D) in float64, after checking each to be symmetric and positive definite.

    Raises:
        ValueError: if one of them is not.
    """
    sigma = covariance.detach().double()
    if not torch.allclose(sigma, sigma.mT, rtol=1e-5, atol=1e-8):
        largest = float((sigma - sigma.mT).abs().max())
        raise ValueError(f"{who} needs symmetric, finite covariances; the largest |Σ - Σᵀ| is {largest:.3g}.")
    sigma = 0.5 * (sigma + sigma.mT)
    lowest = float(torch.linalg.eigvalsh(sigma).min())
    if not lowest > 0:
        raise ValueError(
            f"{who} needs positive definite covariances; the smallest eigenvalue is {lowest:.3g}. Without "
            f"spread in a direction there is no density: drop that coordinate, or add a variance, Σ + ε I."
        )
    inverse = torch.linalg.inv(sigma)
    return 0.5 * (inverse + inverse.mT)


def factors(precisions: Tensor) -> Tensor:
    """L, lower triangular, with L Lᵀ = Σ for precisions Σ⁻¹ (..., D, D), like them; found in float64."""
    return torch.linalg.cholesky(torch.linalg.inv(precisions.double())).to(precisions)
