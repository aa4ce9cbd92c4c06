"""A mixture of Gaussians: several modes, and still every answer.

    E(y) = -log Σ_k w_k N(y; μ_k, Σ_k),        log Z = 0

Samplers that move locally see one mode only; the share of samples by mode against w shows it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.targets.gaussian import factors, inverse_covariance
from ebm.targets.target import Target, finite, positive


class Mixture(Target):
    """A mixture of K Gaussians, normalized.

    E(y) = -log Σ_k w_k N(y; μ_k, Σ_k); ∇E = Σ_k r_k(y) Σ_k⁻¹ (y - μ_k), with r_k the share of component k at
    y. Mean Σ w_k μ_k; covariance Σ w_k (Σ_k + μ_k μ_kᵀ) minus mean meanᵀ; log Z = 0.

    Args:
        weights: w, (K,), positive, adding up to 1.
        means: μ, (K, D).
        covariances: Σ, (K, D, D), symmetric and positive definite; or (D, D), shared by all components.

    Raises:
        TypeError: if the means are not of floating point numbers.
        ValueError: if the shapes disagree, the weights are no distribution or a covariance is not positive
        definite.

    Example:
        >>> target = Mixture.on_circle(modes=8, radius=4.0, width=0.5)
        >>> target.minima.shape, round(float(target.covariance[0, 0]), 4)  # 4²/2 + 0.5²
        (torch.Size([8, 2]), 8.25)
    """

    closed_form = ("y",)
    weights: Tensor
    means: Tensor
    precisions: Tensor
    factors: Tensor
    log_scales: Tensor

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor):
        if means.ndim != 2 or not len(means):
            raise ValueError(f"Mixture needs means of shape (K, D), K >= 1; got {tuple(means.shape)}.")
        k, dim = means.shape
        super().__init__(dim, like=finite("Mixture", "means", means))
        if weights.shape != (k,):
            raise ValueError(f"Mixture needs one weight a component, {(k,)}; got {tuple(weights.shape)}.")
        if not bool((weights > 0).all()) or abs(float(weights.double().sum()) - 1) > 1e-5:
            raise ValueError(
                f"Mixture needs positive weights that add up to 1; got {weights.tolist()}. "
                f"Pass weights / weights.sum()."
            )
        if covariances.shape not in ((dim, dim), (k, dim, dim)):
            raise ValueError(
                f"Mixture needs covariances of shape {(k, dim, dim)}, or {(dim, dim)} shared by all; got "
                f"{tuple(covariances.shape)}."
            )
        precisions = inverse_covariance("Mixture", covariances).expand(k, dim, dim)
        log_scales = weights.detach().double().log()  # then: the log of component k's height at its mean
        log_scales = log_scales + 0.5 * torch.logdet(precisions) - 0.5 * dim * math.log(2 * math.pi)
        self.register_buffer("weights", weights.detach().clone())
        self.register_buffer("means", means.detach().clone())
        self.register_buffer("precisions", precisions.contiguous().to(means))
        self.register_buffer("factors", factors(self.precisions))
        self.register_buffer("log_scales", log_scales.to(means))

    @classmethod
    def on_circle(
        cls, modes: int = 8, radius: float = 4.0, width: float = 0.5, dtype: torch.dtype | None = None
    ) -> Mixture:
        """Equal round Gaussians of standard deviation `width` evenly on a circle: the classic eight modes."""
        if not isinstance(modes, int) or modes < 1:
            raise ValueError(f"Mixture.on_circle needs modes >= 1 (an integer); got modes={modes!r}.")
        positive("Mixture.on_circle", radius=radius, width=width)
        angle = torch.arange(modes, dtype=dtype or torch.get_default_dtype()) * (2 * math.pi / modes)
        means = radius * torch.stack([angle.cos(), angle.sin()], 1)
        return cls(torch.full_like(angle, 1 / modes), means, width**2 * torch.eye(2, dtype=angle.dtype))

    def forward(self, y: Tensor) -> Tensor:
        return -components(y, self.log_scales, self.means, self.precisions)[0].logsumexp(1)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """E(y) (B,) and its gradient Σ_k r_k Σ_k⁻¹ (y - μ_k), (B, D)."""
        heights, pulls = components(y, self.log_scales, self.means, self.precisions)
        return -heights.logsumexp(1), (heights.softmax(1).unsqueeze(1) @ pulls).squeeze(1)

    @property
    def minima(self) -> Tensor:
        """The highest modes (those equal to rounding), (M, D), found by climbing from every mean.

        That finds all of them, save in the rare mixtures with more modes than components. The mean shift y ←
        y - (Σ_k r_k Σ_k⁻¹)⁻¹ ∇E(y) never raises E (Carreira-Perpiñán 2000); a Newton step replaces it where
        ∇²E is positive definite and the step ends lower, so the last digits come fast.
        """
        return self._modes()[0].to(self.means)

    @property
    def minimum(self) -> float:
        return self._modes()[1]

    @property
    def log_z(self) -> float:
        return 0.0

    @property
    def mean(self) -> Tensor:
        return self.weights @ self.means

    @property
    def covariance(self) -> Tensor:
        d = self.means - self.mean
        within = torch.linalg.inv(self.precisions.double()).to(d)
        return torch.einsum("k,kde->de", self.weights, within + d.unsqueeze(2) * d.unsqueeze(1))

    def exact_samples(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """A component by its weight, then a draw from that Gaussian, (n, D)."""
        k = torch.searchsorted(self.weights.cumsum(0), self._uniform(n, generator=generator))
        k = k.clamp(max=len(self.weights) - 1)  # the weights may add up to a little less than 1
        noise = self._normal(n, self.dim, generator=generator)
        return self.means[k] + torch.einsum("nde,ne->nd", self.factors[k], noise)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Four standard deviations about the outermost means."""
        deviation = torch.linalg.inv(self.precisions.double()).diagonal(dim1=1, dim2=2).sqrt()  # (K, D)
        lower = (self.means - 4 * deviation).amin(0).tolist()
        upper = (self.means + 4 * deviation).amax(0).tolist()
        return (lower[0], upper[0], lower[1], upper[1]) if self.dim > 1 else (lower[0], upper[0], -4.0, 4.0)

    def _modes(self) -> tuple[Tensor, float]:
        """The highest modes in float64, (M, D), and their energy."""
        log_scales, precisions = self.log_scales.double(), self.precisions.double()
        y = means = self.means.double()

        def energy(y: Tensor) -> Tensor:
            return -components(y, log_scales, means, precisions)[0].logsumexp(1)

        for _ in range(1000):
            heights, pulls = components(y, log_scales, means, precisions)
            shares = heights.softmax(1)  # (M, K)
            gradient = torch.einsum("mk,mkd->md", shares, pulls).unsqueeze(2)  # (M, D, 1)
            matrix = torch.einsum("mk,kde->mde", shares, precisions)
            spread = torch.einsum("mk,mkd,mke->mde", shares, pulls, pulls) - gradient @ gradient.mT
            shift = y - torch.linalg.solve(matrix, gradient).squeeze(2)
            factor, failed = torch.linalg.cholesky_ex(matrix - spread)  # ∇²E
            newton = y - torch.cholesky_solve(gradient, factor).squeeze(2)
            better = (failed == 0) & (energy(newton) <= energy(shift))
            y, previous = torch.where(better.unsqueeze(1), newton, shift), y
            if float((y - previous).abs().max()) <= 1e-14 * (1 + float(y.abs().max())):
                break
        reached = energy(y)
        lowest = float(reached.min())
        y = y[reached <= lowest + 1e3 * torch.finfo(self.means.dtype).eps]
        narrowest = float(torch.linalg.eigvalsh(precisions).max()) ** -0.5
        same = torch.cdist(y, y) < 1e-4 * narrowest
        return y[~same.tril(-1).any(1)], lowest  # of those that climbed to one mode, the first


def components(y: Tensor, log_scales: Tensor, means: Tensor, precisions: Tensor) -> tuple[Tensor, Tensor]:
    """log w_k N(y; μ_k, Σ_k), (B, K), and each component's own gradient, Σ_k⁻¹ (y - μ_k), (B, K, D)."""
    d = y - means.unsqueeze(1)  # (K, B, D): a product for each component, which copies no matrix
    pulls = d @ precisions
    return (log_scales.unsqueeze(1) - 0.5 * (pulls * d).sum(2)).T, pulls.transpose(0, 1)
