"""The spline coupling: every moved coordinate goes through a monotone curve of K pieces.

    τ(y) = v_k + h_k (s_k ξ² + d_k ξ(1-ξ)) / (s_k + (d_{k+1} + d_k - 2 s_k) ξ(1-ξ))    for |y| <= c, else y

in the piece k that holds y, ξ = (y - x_k) / w_k; knots (x_k, v_k), widths w_k, heights h_k, s_k = h_k / w_k,
slopes d_k > 0 at the knots and 1 at the outer ones, where the curve meets the identity. A quotient of two
parabolas: its inverse is the root of a quadratic.

Reference: Durkan, Bekasov, Murray & Papamakarios (2019), "Neural Spline Flows", eq. 4-8; Gregory & Delbourgo
(1982), "Piecewise Rational Quadratic Interpolation to Monotonic Data".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad, softmax, softplus

from ebm.nets.coupling import Coupling

LEAST = 1e-3  # of a piece's share of width and height, and of a slope


class Piece(NamedTuple):
    """The piece of the curve that holds a point, each (B, M).

    Attributes:
        x, v: its lower left knot.
        width, height: of the piece.
        low, high: slopes d_k and d_{k+1} at its two knots.
    """

    x: Tensor
    v: Tensor
    width: Tensor
    height: Tensor
    low: Tensor
    high: Tensor


class SplineCoupling(Coupling):
    """A coupling with τ a monotone rational-quadratic spline on [-c, c], the identity outside.

    Args:
        kept: mask of the coordinates that are kept, (D,) bool, as `checkerboard` makes it.
        hidden: widths of the network's hidden layers.
        bins: K >= 2, pieces of a curve.
        reach: c > 0, where the curve ends.
        generator: source of the network's weights; the global one if None.

    Raises:
        ValueError: if the mask keeps all coordinates or none, or a setting is out of its range.

    Example:
        >>> layer = SplineCoupling(torch.tensor([True, False]), hidden=(8,), bins=4, reach=3.0)
        >>> u, log_det = layer(torch.tensor([[1.0, 2.0], [1.0, 9.0]]))
        >>> u.detach()  # the identity, before it has learned
        tensor([[1., 2.],
                [1., 9.]])
    """

    def __init__(
        self,
        kept: Tensor,
        hidden: Sequence[int] = (64, 64),
        bins: int = 8,
        reach: float = 5.0,
        *,
        generator: Generator | None = None,
    ):
        if not isinstance(bins, int) or not 2 <= bins < 1 / LEAST or not reach > 0:
            raise ValueError(
                f"expected 2 <= bins < {1 / LEAST:.0f}, an integer, and reach > 0; got bins={bins!r}, "
                f"reach={reach}."
            )
        super().__init__(kept, hidden, 3 * bins - 1, generator)
        self.bins, self.reach = bins, float(reach)

    def move(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        inside = y.abs() <= self.reach
        p = self._piece(y, theta, back=False)
        xi = ((y - p.x) / p.width).clamp(0, 1)  # outside, any point of the curve: it is not used
        s, bump = p.height / p.width, xi * (1 - xi)
        below = s + (p.low + p.high - 2 * s) * bump
        u = p.v + p.height * (s * xi.square() + p.low * bump) / below
        above = p.high * xi.square() + 2 * s * bump + p.low * (1 - xi).square()
        log_slope = 2 * s.log() + above.log() - 2 * below.log()
        return torch.where(inside, u, y), torch.where(inside, log_slope, torch.zeros_like(y))

    def move_back(self, u: Tensor, theta: Tensor) -> Tensor:
        p = self._piece(u, theta, back=True)
        s, up = p.height / p.width, (u - p.v).clamp(min=0).minimum(p.height)
        bend = up * (p.low + p.high - 2 * s)
        a, b, c = p.height * (s - p.low) + bend, p.height * p.low - bend, -s * up
        root = (b.square() - 4 * a * c).clamp(min=0).sqrt()
        y = p.x + p.width * 2 * c / (-b - root)  # the form of the root in which nothing cancels
        return torch.where(u.abs() <= self.reach, y, u)

    def _piece(self, t: Tensor, theta: Tensor, back: bool) -> Piece:
        """The piece whose x (or, on the way back, v) is at most t."""
        k = self.bins
        x, widths = self._knots(theta[..., :k])
        v, heights = self._knots(theta[..., k : 2 * k])
        slopes = LEAST + softplus(theta[..., 2 * k :] + math.log(math.expm1(1 - LEAST)))
        slopes = pad(slopes, (1, 1), value=1.0)  # (B, M, K + 1)
        inner = (v if back else x)[..., 1:].detach().contiguous()
        index = torch.searchsorted(inner, t.detach().unsqueeze(-1), right=True)
        parts = (x, v, widths, heights, slopes[..., :-1], slopes[..., 1:])
        return Piece(*(part.gather(-1, index).squeeze(-1) for part in parts))

    def _knots(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The K lower knots and the K lengths of pieces that together cover [-c, c]."""
        shares = LEAST + (1 - LEAST * self.bins) * softmax(raw, -1)
        lengths = 2 * self.reach * shares
        return pad(lengths[..., :-1].cumsum(-1), (1, 0)) - self.reach, lengths
