"""α-ReQ: how fast the variance of codes falls from direction to direction.

    λ_j ∝ j^{-α},        α = -slope of ln λ_j against ln j over the ranks j, weighted by 1 / j

λ_j are the eigenvalues of the covariance of the codes, falling. α near 1 was found to go with codes that
serve well; large α means that few directions hold nearly all variance, α near 0 that all hold the same. The
range of ranks decides much of the number: name it wherever you compare.

The authors fit with weights 1 / j, as Stringer et al. did, since there are more ranks in an interval of ln j
where j is large. Where a published version says arange(11, 100), it counts from 0: the ranks are 12 to 100.

Reference: Agrawal, Mondal, Ghosh & Richards (2022), "α-ReQ: Assessing representation quality in
self-supervised learning by measuring eigenspectrum decay"; Stringer, Pachitariu, Steinmetz, Carandini &
Harris (2019), "High-dimensional geometry of population responses in visual cortex", for the fit.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ebm.measure.spectrum import check_codes, singular_values


class PowerLaw(NamedTuple):
    """The power law that fits a spectrum best.

    Attributes:
        alpha: the exponent α.
        r2: the share of the (weighted) variance of ln λ that the fit explains; below about 0.95 the
            spectrum is no power law, and α says little.
    """

    alpha: float
    r2: float


def alpha_req(z: Tensor, *, ranks: tuple[int, int] = (11, 100), weighted: bool = True) -> PowerLaw:
    """The decay of the spectrum of codes.

    Args:
        z: codes, (N, D), N >= 2.
        ranks: the first and the last rank j to fit, from 1; the last is at most min(N - 1, D), and is cut to
            it.
        weighted: by 1 / j; if False all ranks count the same.

    Raises:
        TypeError, ValueError: for codes of another form; for fewer than 3 ranks; and if codes have no
            variance along the last of them, whose logarithm would be of rounding errors.

    Reference: Agrawal et al. (2022), sect. 3.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> codes = torch.randn(5000, 64, generator=g) * torch.arange(1, 65) ** -0.5  # variances 1 / j
        >>> round(alpha_req(codes, ranks=(1, 64)).alpha, 1)
        1.0
    """
    z = check_codes(z)
    most = min(len(z) - 1, z.shape[1])
    first, last = ranks[0], min(ranks[1], most)
    if first < 1 or last - first < 2:
        raise ValueError(
            f"a fit needs 3 ranks or more; ranks={ranks} of the {most} that codes {tuple(z.shape)} have at "
            f"most are {max(0, last - first + 1)}. Name others, such as ranks=(1, {most})."
        )
    values = singular_values(z, centered=True)
    alive = int((values > z.shape[1] * torch.finfo(values.dtype).eps * values[0]).sum())
    if alive < last:
        raise ValueError(
            f"the codes have no variance from rank {alive + 1} of {most} on, so no power law holds to rank "
            f"{last}; they are collapsed, or ranks=({first}, {alive}) is what you want."
        )
    j = torch.arange(first, last + 1, dtype=values.dtype, device=values.device)
    x, y = j.log(), 2 * values[first - 1 : last].log()
    w = 1 / j if weighted else torch.ones_like(j)
    w = w / w.sum()
    x, y = x - (w * x).sum(), y - (w * y).sum()
    covariance, total = (w * x * y).sum(), (w * y * y).sum()
    slope = covariance / (w * x * x).sum()
    return PowerLaw(float(-slope), float(slope * covariance / total) if bool(total > 0) else 1.0)
