"""RankMe: how many directions codes use, weighted by how much.

    RankMe = exp(-Σ_k p_k ln p_k),        p_k = σ_k / Σ σ + ε

σ_k are the min(N, D) singular values of the codes (N, D) as they are, not centered, and ε = 1e-7: this is the
paper's. It doesn't change if codes are rotated or scaled as a whole; it does if one direction is stretched.

Two other numbers go by its name. Some take σ² (eigenvalues of the covariance, so also centered), which is
smaller: the strong directions weigh more. And ε is 1e-5 or 1e-6 in some public versions; each p_k near 0 adds
-ε ln ε to the entropy, so for K = 2048 and ε = 1e-5 a small rank comes out 27 % larger.

Reference: Garrido, Balestriero, Najman & LeCun (2023), "RankMe: Assessing the downstream performance of
pretrained self-supervised representations by their rank", eq. 1.
"""

from __future__ import annotations

from torch import Tensor

from ebm.measure.spectrum import check_codes, check_epsilon, effective_number, singular_values


def rankme(z: Tensor, *, centered: bool = False, squared: bool = False, epsilon: float = 1e-7) -> float:
    """The effective rank of codes, from 1 to min(N, D).

    Args:
        z: codes, (N, D), N >= 2, better several times D: N < D bounds it by N.
        centered: subtract the mean code first. Without, a mean far from 0 counts as one strong direction.
        squared: weigh by σ², the variance along a direction, in place of σ.
        epsilon: ε, in [0, 1).

    Returns:
        RankMe; 0 for codes of which nothing is left (all 0; all the same where `centered`).

    Raises:
        TypeError, ValueError: for codes of another form, or codes that are NaN or infinite.

    Reference: Garrido et al. (2023), eq. 1.

    Example:
        >>> import torch
        >>> codes = torch.tensor([[2.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
        >>> round(rankme(codes), 4), round(rankme(codes, squared=True), 4)  # σ = 2, 1, 1
        (2.8284, 2.3811)
    """
    check_epsilon(epsilon)
    values = singular_values(check_codes(z), centered)
    return effective_number(values.square() if squared else values, epsilon)
