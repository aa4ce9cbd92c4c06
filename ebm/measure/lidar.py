"""LiDAR: how many directions tell examples apart, measured against what views of one example differ by.

    Σ_b = Σ_i (μ_i - μ)(μ_i - μ)ᵀ / (n - 1)                    μ_i the mean code of the q views of example i
    Σ_w = Σ_iv (z_iv - μ_i)(z_iv - μ_i)ᵀ / (n (q - 1)) + δ I
    LiDAR = exp(-Σ_k p_k ln p_k),    p_k = λ_k / Σ λ + ε,    λ the eigenvalues of Σ_w^{-1/2} Σ_b Σ_w^{-1/2}

Linear discriminant analysis with every example a class of its own. With δ = 0 an invertible linear map of the
codes changes nothing, which is not true of RankMe. The defaults are the paper's, δ = 1e-4 and ε = 1e-8; δ has
the unit of a variance, so codes much smaller than 1 need a smaller one. Directions without any signal still
have λ of about 1/q, since the mean of q views wobbles by that much: compare at equal q, and n well above D.

Reference: Thilak, Huang, Saremi, Dinh, Goh, Nakkiran, Susskind & Littwin (2024), "LiDAR: Sensing linear
probing performance in joint embedding SSL architectures", eq. 1 and 2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.measure.spectrum import ROWS, check_codes, check_epsilon, double, effective_number, triangle


def lidar(z: Tensor, *, delta: float = 1e-4, epsilon: float = 1e-8) -> float:
    """The effective rank of what distinguishes examples, from 1 to min(n - 1, D).

    Args:
        z: codes of q views of each of n examples, (n, q, D), n and q at least 2; the paper takes n = 1000 and
            q = 50.
        delta: δ >= 0, added to the variance within examples in every direction.
        epsilon: ε, in [0, 1).

    Returns:
        LiDAR; 0 if all examples have the same mean code.

    Raises:
        TypeError: if the codes are no floating-point tensor.
        ValueError: for another shape, codes that are NaN or infinite, or a direction in which views never
            differ while `delta` is 0.

    Reference: Thilak et al. (2024), eq. 1 and 2.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> examples = torch.randn(200, 1, 8, generator=g) * torch.tensor([1.0, 1, 1, 0, 0, 0, 0, 0])
        >>> views = examples + 0.1 * torch.randn(200, 10, 8, generator=g)
        >>> 3 < lidar(views) < 3.5  # a bit of the noise counts
        True
    """
    check_epsilon(epsilon)
    if not isinstance(z, Tensor) or z.ndim != 3 or min(z.shape[:2]) < 2:
        came = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise ValueError(
            f"lidar takes codes (n, q, D): q >= 2 views of each of n >= 2 examples; got {came}. If the views "
            f"of an example are rows side by side, z.unflatten(0, (-1, q)) makes that shape."
        )
    if not 0 <= delta < math.inf:
        raise ValueError(f"delta is a variance, finite and not negative; got {delta}.")
    n, q, dim = z.shape
    z = check_codes(z.reshape(n * q, dim)).view(n, q, dim)
    means, within = [], double(z.new_zeros(dim, dim))
    for part in z.split(max(1, ROWS // q)):
        views = double(part)
        off = views - views[:, :1]  # equal views are exactly 0, whatever their mean rounds to
        shift = off.mean(1, keepdim=True)
        means.append((views[:, :1] + shift).squeeze(1))
        off = (off - shift).flatten(0, 1)
        within += off.T @ off
    within = within / (n * (q - 1)) + delta * torch.eye(dim, dtype=within.dtype, device=within.device)
    lower, failed = torch.linalg.cholesky_ex(within)
    if bool(failed) or (delta == 0 and _singular(within)):
        raise ValueError(
            f"with delta = {delta:g} the covariance within examples is singular: in some direction the {q} "
            f"views of an example never differ. Take delta > 0 (the paper's is 1e-4), or at least {dim} / "
            f"{q - 1} examples."
        )
    _, between = triangle(torch.cat(means))  # RᵀR = (n - 1) Σ_b
    # Σ_w = L Lᵀ: the eigenvalues of L⁻¹ Σ_b L⁻ᵀ are those of Σ_w^{-1/2} Σ_b Σ_w^{-1/2}
    values = torch.linalg.svdvals(torch.linalg.solve_triangular(lower, between.T, upper=False)).square()
    return effective_number(torch.cat([values, values.new_zeros(dim - len(values))]), epsilon)


def _singular(covariance: Tensor) -> bool:
    """Whether some direction's variance is nothing but rounding, in units of the dimensions' own."""
    std = covariance.diagonal().sqrt()
    least = torch.linalg.eigvalsh(covariance / (std * std.unsqueeze(1)))[0]
    return bool(least <= 10 * len(std) * torch.finfo(std.dtype).eps)
