"""The transfer matrix: log Z of an Ising strip, row by row, in place of a sum over 2^HW states.

    T(s, s') = exp(½ a(s) + J Σ_c s_c s'_c + ½ a(s')),        a(s) = J Σ_c s_c s_{c+1} + h Σ_c s_c
    Z = tr T^H (periodic),        Z = vᵀ T^{H-1} v,  v(s) = exp(½ a(s)) (open)

T is 2^W by 2^W, so W <= 12 is quick, whatever H. Its derivatives are the moments: ∂ log Z/∂J = Σ ⟨s_i s_j⟩
over the pairs of neighbors, ∂ log Z/∂h = Σ ⟨s_i⟩.

Reference: Kramers & Wannier (1941), "Statistics of the Two-Dimensional Ferromagnet. Part I".
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.nodes import AllChoices
from ebm.targets.lattice import check_sides

WIDEST = 12


def ising_strip_log_z(
    height: int, width: int, coupling: Tensor, field: Tensor | None = None, periodic: bool = True
) -> Tensor:
    """log Z of `Ising.lattice(height, width, coupling, field, periodic)`, 0-dimensional, differentiable.

    Args:
        height: H, the number of rows; as many as you like.
        width: W <= 12, sites in a row.
        coupling: J of each pair of neighbors, 0-dimensional; in float64 for a long strip.
        field: h of each site, 0-dimensional; 0 if None.
        periodic: whether opposite borders meet.

    Raises:
        ValueError: if a side is too small or the strip too wide.

    Example:
        >>> j = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
        >>> log_z = ising_strip_log_z(1000, 4, j)
        >>> (correlation,) = torch.autograd.grad(log_z / 8000, j)  # ⟨s_i s_j⟩ of neighbors, of 2 bonds a site
        >>> round(float(correlation), 4)
        0.6112
    """
    check_sides(height, width, periodic)
    if width > WIDEST:
        raise ValueError(f"a strip of width {width} has rows of 2^{width} states; at most {WIDEST} sites.")
    field = torch.zeros_like(coupling) if field is None else field
    s = 2 * AllChoices(2, width).values.to(coupling) - 1  # (2^W, W), all rows
    along = (s * s.roll(-1, 1))[:, : width if periodic else width - 1].sum(1)
    half = 0.5 * (coupling * along + field * s.sum(1))
    log_t = half[:, None] + coupling * (s @ s.T) + half
    top = log_t.detach().max()
    t = (log_t - top).exp()
    largest = torch.linalg.eigvalsh(t.detach()).abs().max()  # its powers then neither overflow nor vanish
    steps = height if periodic else height - 1
    power = torch.linalg.matrix_power(t / largest, steps)
    if periodic:
        return steps * (top + largest.log()) + power.trace().log()
    most = half.detach().max()
    v = (half - most).exp()
    return steps * (top + largest.log()) + 2 * most + (v @ power @ v).log()
