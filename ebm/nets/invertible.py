"""Invertible layers: maps that can be undone, and that say by how much they stretch volumes.

    forward    y ↦ (u, log |det ∂u/∂y|),        inverse    u ↦ y

A chain of them is one again: the logarithms add up. Here are the linear ones; those that bend space are
couplings (`ebm.nets.coupling`).

    Permutation    u_i = y_{p(i)}                              log |det| = 0
    Standardize    u = (y - m) exp(-s)                         log |det| = -Σ s_i
    LULinear       u = W y + b,  W = P L (U + diag(±exp s))    log |det| = Σ s_i

Reference: Kingma & Dhariwal (2018), "Glow: Generative Flow with Invertible 1x1 Convolutions", sect. 3.1
(standardization that the data initializes: actnorm) and eq. 10 (LU).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor, nn

from ebm.nets.layers import check_sizes


class Invertible(nn.Module, ABC):
    """A map (B, D) -> (B, D) with an inverse; `size` is D.

    Args:
        size: D, positive.

    Raises:
        ValueError: if the size isn't positive.
    """

    def __init__(self, size: int):
        super().__init__()
        check_sizes(type(self).__name__, size)
        self.size = size

    @abstractmethod
    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """u, (B, D), and log |det ∂u/∂y|, (B,)."""

    @abstractmethod
    def inverse(self, u: Tensor) -> Tensor:
        """The y with forward(y) = u, (B, D) -> (B, D)."""


class Permutation(Invertible):
    """The coordinates in another order, u_i = y_{p(i)}.

    Args:
        order: p, (D,), each of 0, ..., D-1 once, int64.

    Raises:
        ValueError: if it is no permutation.

    Example:
        >>> layer = Permutation(torch.tensor([2, 0, 1]))
        >>> layer(torch.tensor([[1.0, 2.0, 3.0]]))
        (tensor([[3., 1., 2.]]), tensor([0.]))
    """

    order: Tensor
    back: Tensor

    def __init__(self, order: Tensor):
        if order.ndim != 1 or not torch.equal(order.sort().values.cpu(), torch.arange(len(order))):
            raise ValueError(f"a permutation holds each of 0, ..., D-1 once; got {order.tolist()}.")
        super().__init__(len(order))
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y[:, self.order], y.new_zeros(len(y))

    def inverse(self, u: Tensor) -> Tensor:
        return u[:, self.back]


class Standardize(Invertible):
    """u = (y - m) exp(-s): coordinates of mean 0 and variance 1, where m and s come from the data.

    Both are parameters, and go on learning (actnorm).

    Args:
        shift: m, (D,).
        log_scale: s, (D,).

    Raises:
        ValueError: if the two aren't vectors of one length.

    Example:
        >>> layer = Standardize.from_data(torch.tensor([[1.0, 0.0], [3.0, 8.0]]))
        >>> layer(torch.tensor([[3.0, 4.0]]))[0].detach()
        tensor([[1., 0.]])
    """

    def __init__(self, shift: Tensor, log_scale: Tensor):
        if shift.ndim != 1 or shift.shape != log_scale.shape:
            raise ValueError(
                f"Standardize needs two vectors of one length; got shapes {tuple(shift.shape)} and "
                f"{tuple(log_scale.shape)}."
            )
        super().__init__(len(shift))
        self.shift = nn.Parameter(shift.detach().clone())
        self.log_scale = nn.Parameter(log_scale.detach().clone())

    @classmethod
    def from_data(cls, y: Tensor) -> Standardize:
        """The layer under which data y (N, D), N at least 2, has mean 0 and variance 1 in each coordinate.

        Raises:
            ValueError: if there are fewer rows than 2, NaN or infinity (naming rows), or a constant
                coordinate (naming it).
        """
        if y.ndim != 2 or len(y) < 2:
            raise ValueError(f"standardization needs data (N, D) of 2 rows or more; got {tuple(y.shape)}.")
        bad = (~torch.isfinite(y).all(1)).nonzero().flatten().tolist()
        if bad:
            raise ValueError(f"data hold NaN or infinity in {len(bad)} rows, {bad[:5]}; drop or repair them.")
        spread = y.std(0, correction=0)
        tiny = torch.finfo(y.dtype).eps * y.abs().amax(0)
        flat = (spread <= 4 * tiny).nonzero().flatten().tolist()
        if flat:
            raise ValueError(
                f"coordinates {flat[:5]} are constant, so nothing brings them to variance 1 and no density "
                f"exists; drop them, or add a little noise."
            )
        return cls(y.mean(0), spread.log())

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return (y - self.shift) * torch.exp(-self.log_scale), -self.log_scale.sum().expand(len(y))

    def inverse(self, u: Tensor) -> Tensor:
        return u * torch.exp(self.log_scale) + self.shift


class LULinear(Invertible):
    """u = W y + b with W = P L (U + diag(±exp s)): any invertible matrix, its determinant at hand.

    P is a permutation and fixed, and so are the signs; L is lower triangular with ones on its diagonal, U
    strictly upper triangular.

    Args:
        weight: W to begin with, (D, D), invertible.
        bias: b, (D,); zeros if None.

    Raises:
        ValueError: if the weight isn't square and invertible, or the bias doesn't fit.

    Example:
        >>> layer = LULinear(torch.tensor([[0.0, 2.0], [3.0, 0.0]]))
        >>> u, log_det = layer(torch.tensor([[1.0, 1.0]]))
        >>> u.detach(), log_det.exp().detach()
        (tensor([[2., 3.]]), tensor([6.]))
    """

    order: Tensor
    signs: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        if weight.ndim != 2 or weight.shape[0] != weight.shape[1]:
            raise ValueError(f"an invertible matrix is (D, D); got shape {tuple(weight.shape)}.")
        super().__init__(len(weight))
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"the bias is ({len(weight)},), as the matrix; got {tuple(bias.shape)}.")
        if not bool(torch.linalg.matrix_rank(weight.detach()) == len(weight)):
            raise ValueError("the matrix is singular, so it has no inverse; got one of lower rank.")
        permutation, lower, upper = torch.linalg.lu(weight.detach())
        diagonal = upper.diagonal()
        self.register_buffer("order", permutation.argmax(1))  # (P x)_i = x_order[i]
        self.register_buffer("signs", diagonal.sign())
        self.lower, self.upper = nn.Parameter(lower.tril(-1)), nn.Parameter(upper.triu(1))
        self.log_scale = nn.Parameter(diagonal.abs().log())
        self.bias = nn.Parameter(bias.detach().clone())

    @classmethod
    def rotation(
        cls, size: int, *, generator: Generator | None = None, like: Tensor | None = None
    ) -> LULinear:
        """A layer that begins as a random rotation (or reflection), of the dtype and device of `like`."""
        check_sizes("LULinear", size)
        device = None if generator is None else generator.device
        noise = torch.randn(size, size, generator=generator, dtype=torch.float64, device=device)
        rotation = torch.linalg.qr(noise)[0]
        return cls(rotation.to(torch.empty(0) if like is None else like))

    @property
    def weight(self) -> Tensor:
        """W, (D, D)."""
        lower, upper = self._factors()
        return (lower @ upper)[self.order]

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y @ self.weight.T + self.bias, self.log_scale.sum().expand(len(y))

    def inverse(self, u: Tensor) -> Tensor:
        lower, upper = self._factors()
        inner = (u - self.bias)[:, self.order.argsort()].T
        inner = torch.linalg.solve_triangular(lower, inner, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, inner, upper=True).T

    def _factors(self) -> tuple[Tensor, Tensor]:
        eye = torch.eye(self.size, dtype=self.bias.dtype, device=self.bias.device)
        diagonal = torch.diag(self.signs * torch.exp(self.log_scale))
        return self.lower.tril(-1) + eye, self.upper.triu(1) + diagonal
