"""What a quasi-Newton method remembers of the curvature: a matrix a row, or its last m pairs.

    H⁺ y = s,        s = u⁺ - u,   y = ∇E(u⁺) - ∇E(u)                                       (secant condition)
    H⁺ = H + s aᵀ + a sᵀ,        a = ρ (½ (1 + ρ yᵀHy) s - Hy),   ρ = 1 / sᵀy                           (BFGS)

H approximates the inverse Hessian. H⁺ is the symmetric matrix closest to H that satisfies the condition, and
stays positive definite as sᵀy > 0. `Matrix` holds H. `Pairs` holds the last m pairs, stacked as S and Y of
shape (m, D), for the result of their updates, oldest first, on γI with γ = sᵀy / yᵀy of the newest:

    H = γI + [Sᵀ γYᵀ] [ R⁻ᵀ (C + γYYᵀ) R⁻¹   -R⁻ᵀ ] [ S ]     R_ij = s_iᵀy_j where i is not newer than j, or 0
                      [ -R⁻¹                  0   ] [γY ]     C the diagonal of R

A new pair gives R a new row and column, from which R⁻¹ gets one new column; the oldest pair takes its row and
column along, out of R as out of R⁻¹. Nothing else depends on age: a new pair overwrites the oldest where it
lies, and every row of the batch keeps its own time.

Reference: Nocedal & Wright (2006), "Numerical Optimization", eqs. 6.17, 6.20 and 7.20; Byrd, Nocedal &
Schnabel (1994), "Representations of quasi-Newton matrices and their use in limited memory methods", thm. 2.2.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ebm.infer.method import State
from ebm.rows import expand

EASE = 0.01  # ε


class Memory(Protocol):
    """The part of a quasi-Newton method's state that knows H, for flat rows (B, D)."""

    def lay(self, x: Tensor) -> Tensor:
        """The same tensor in the memory layout that `update` works in."""

    def begin(self, like: Tensor, scale: Tensor) -> State:
        """H = scale · I, for rows like `like`, (B, D), and a scale per row, (B,)."""

    def update(
        self, state: State, s: Tensor, y: Tensor, gradient: Tensor, direction: Tensor
    ) -> tuple[Tensor, State, Tensor]:
        """-H⁺ ∇E(u⁺), (B, D), what to remember now, and which rows have learned from their pair, (B,).

        `direction` is -H ∇E(u), `gradient` is ∇E(u⁺). A pair whose sᵀy is not positive beyond rounding is
        skipped, and so is s = y = 0, a row that hasn't moved.
        """

    def forget(self, held: State, rows: Tensor, scale: Tensor) -> State:
        """H = scale · I where `rows`, (B,) bool."""


class Matrix:
    """H itself, (B, D, D), for small D, where it takes no more room than the pairs.

    A row's first pair sets H to γI, γ = sᵀy / yᵀy, and each adds ε γI before its update, as BFGS is slow to
    unlearn a curvature that was larger than it is here. (Ours. In trials 10 to 15 % fewer steps along
    Rosenbrock's valley, half as many on a quartic, as many within 10 % elsewhere.)

    Rows are kept last in memory: a CPU is fast on long vectors of rows, not on short ones of coordinates.
    """

    def lay(self, x: Tensor) -> Tensor:
        return x.t().contiguous().t()

    def begin(self, like: Tensor, scale: Tensor) -> State:
        eye = torch.eye(like.shape[1], dtype=like.dtype, device=like.device)
        return {"inverse": (eye.unsqueeze(2) * scale).permute(2, 0, 1)}

    def update(
        self, state: State, s: Tensor, y: Tensor, gradient: Tensor, direction: Tensor
    ) -> tuple[Tensor, State, Tensor]:
        h = state["inverse"].permute(1, 2, 0).contiguous()  # (D, D, B)
        s, y, g = s.t(), y.t(), gradient.t()  # (D, B)
        hg = (h * g).sum(1)
        hy = hg + direction.t()
        sy, yy, yhy = _dot(s, y), _dot(y, y), _dot(y, hy)  # (B,)
        learned = sy > torch.finfo(sy.dtype).eps * yhy
        gamma = torch.where(learned, sy / yy, 0.0)
        if bool(state["fresh"].any()):
            scale = torch.where(learned & state["fresh"], sy / yhy, 1.0)  # H was a multiple of I
            h, hg, hy, yhy = scale * h, scale * hg, scale * hy, scale * yhy
        hg.addcmul_(g, gamma, value=EASE)
        hy.addcmul_(y, gamma, value=EASE)
        yhy.addcmul_(yy, gamma, value=EASE)
        rho = torch.where(learned, sy, torch.inf).reciprocal_()
        a = ((yhy * rho).add_(1.0).mul_(0.5) * s).sub_(hy).mul_(rho)
        h = torch.addcmul(h, s.unsqueeze(1), a).addcmul_(a.unsqueeze(1), s)
        h.diagonal(dim1=0, dim2=1).add_(gamma.unsqueeze(1), alpha=EASE)
        hg = hg.addcmul_(s, _dot(a, g)).addcmul_(a, _dot(s, g))
        return hg.neg_().t(), {"inverse": h.permute(2, 0, 1)}, learned

    def forget(self, held: State, rows: Tensor, scale: Tensor) -> State:
        inverse = held["inverse"]
        fresh = self.begin(inverse[:, 0], scale)["inverse"]
        return {"inverse": torch.where(expand(rows, inverse), fresh, inverse)}


class Pairs:
    """The last m pairs, (B, 2m, D). A step reads them twice and copies them once."""

    def __init__(self, history: int):
        self.history = history

    def lay(self, x: Tensor) -> Tensor:
        return x

    def begin(self, like: Tensor, scale: Tensor) -> State:
        batch, dimensions = like.shape
        m = self.history
        return {
            "pairs": like.new_zeros(batch, 2 * m, dimensions),  # S above Y
            "r_inverse": like.new_zeros(batch, m, m),
            "gram": like.new_zeros(batch, m, m),  # YYᵀ
            "diagonal": like.new_zeros(batch, m),  # C
            "scale": scale,
            "slot": torch.zeros(batch, dtype=torch.int64, device=like.device),
        }

    def update(
        self, state: State, s: Tensor, y: Tensor, gradient: Tensor, direction: Tensor
    ) -> tuple[Tensor, State, Tensor]:
        m, slot, rows = self.history, state["slot"], torch.arange(len(s), device=s.device)
        pairs = state["pairs"].index_put((rows, slot), s)
        pairs[rows, slot + m] = y
        dots = torch.bmm(torch.stack((gradient, y), 1), pairs.mT)  # (B, 2, 2m)
        (s_g, y_g), (s_y, y_y) = (d.split(m, 1) for d in dots.unbind(1))  # S∇E, Y∇E, Sy, Yy, (B, m) each
        sy, yy = s_y[rows, slot], y_y[rows, slot]
        learned = sy > torch.finfo(sy.dtype).eps * state["scale"] * yy
        rho = torch.where(learned, sy, torch.inf).reciprocal_()
        gamma = torch.where(learned, sy / yy, state["scale"])

        r_inverse = state["r_inverse"].clone()
        r_inverse[rows, slot] = 0.0  # the oldest goes with its row
        column = -rho.unsqueeze(1) * _times(r_inverse, s_y)
        column[rows, slot] = rho
        r_inverse[rows, :, slot] = column  # and the newest comes with its column
        gram = state["gram"].index_put((rows, slot), y_y)
        gram[rows, :, slot] = y_y
        diagonal = state["diagonal"].index_put((rows, slot), sy)

        q = _times(r_inverse, s_g)
        weight = diagonal * q + gamma.unsqueeze(1) * (_times(gram, q) - y_g)
        coefficients = torch.cat(((r_inverse * weight.unsqueeze(2)).sum(1), -gamma.unsqueeze(1) * q), 1)
        hg = torch.bmm(coefficients.unsqueeze(1), pairs).squeeze(1).addcmul_(gradient, gamma.unsqueeze(1))
        held = {"pairs": pairs, "r_inverse": r_inverse, "gram": gram, "diagonal": diagonal, "scale": gamma}
        return hg.neg_(), {**held, "slot": (slot + learned) % m}, learned

    def forget(self, held: State, rows: Tensor, scale: Tensor) -> State:
        empty = held["r_inverse"].masked_fill(expand(rows, held["r_inverse"]), 0.0)
        return {**held, "r_inverse": empty, "scale": torch.where(rows, scale, held["scale"])}


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """(B, m, m) times (B, m)."""
    return torch.bmm(matrix, vector.unsqueeze(2)).squeeze(2)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vecdot(a, b, dim=0)
