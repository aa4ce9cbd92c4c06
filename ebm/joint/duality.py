"""Contrastive and dimension-contrastive criteria are two ways to make one Gram matrix diagonal.

    L_c  = Σ_{i≠j} ⟨z_i, z_j⟩² = |Z Zᵀ - diag|²        codes of different examples at right angles
    L_nc = Σ_{a≠b} (Σ_i z_ia z_ib)² = |ZᵀZ - diag|²     different dimensions uncorrelated

Z Zᵀ and ZᵀZ have the same norm, so the two differ only by what the diagonals hold:

    L_nc + Σ_a |Z_·a|⁴ = L_c + Σ_i |z_i|⁴

With rows of length 1 (as contrastive criteria have them) and columns of one length √(N/D) (as VICReg's
variance makes them), L_nc - L_c = N - N²/D, a constant: then both have the same gradient along the
constraints. A batch that is contrasted by samples is decorrelated by dimensions.

Reference: Garrido, Chen, Bardes, Najman, LeCun (2022), "On the duality between contrastive and
non-contrastive self-supervised learning", theorem 3.3 (its K is Zᵀ: samples are columns there).
"""

from __future__ import annotations

import torch
from torch import Tensor


def sample_contrast(z: Tensor) -> Tensor:
    """L_c = Σ_{i≠j} ⟨z_i, z_j⟩²: how far the codes of different examples are from right angles.

    Args:
        z: codes (N, D).

    Returns:
        L_c >= 0, 0-dimensional.

    Example:
        >>> sample_contrast(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        tensor(2.)
    """
    return _off_diagonal(z @ z.T)


def dimension_contrast(z: Tensor) -> Tensor:
    """L_nc = Σ_{a≠b} (Σ_i z_ia z_ib)²: how far different dimensions are from being uncorrelated (uncentered).

    Args:
        z: codes (N, D).

    Returns:
        L_nc >= 0, 0-dimensional.

    Example:
        >>> dimension_contrast(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        tensor(0.)
    """
    return _off_diagonal(z.T @ z)


def _off_diagonal(gram: Tensor) -> Tensor:
    own = torch.eye(len(gram), dtype=torch.bool, device=gram.device)
    return gram.masked_fill(own, 0.0).square().sum()
