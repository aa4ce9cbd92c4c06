"""Constraints as energies: 0 inside a set, +inf outside, with the projection onto the set as prox.

    E(v) = 0 if v ∈ C else +∞,        prox(v, t) = argmin_{u ∈ C} ½|u - v|²        for every step t

Points count as inside within 100 eps (of the dtype) times the set's scale, so that rounding never makes a
projected point infinite.

Reference: Parikh & Boyd (2014), "Proximal Algorithms", sect. 6.2; the simplex: Held, Wolfe & Crowder (1974),
Duchi, Shalev-Shwartz, Singer & Chandra (2008), fig. 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.regularizers.regularizer import Regularizer, Shrinkage, allowed, slack


class Box(Regularizer):
    """0 where low <= v <= high in every coordinate, else +inf. Inside within 100 eps · max(1, |bound|).

    Args:
        variable: the name of the variable, of any shape (B, *shape).
        low, high: numbers, or tensors that broadcast against a row, shape (*shape); -inf and inf for no
            bound.

    Raises:
        ValueError: if low > high anywhere, or a bound is NaN.

    Example:
        >>> box = Box("y", -1.0, 1.0)
        >>> box(y=torch.tensor([[0.5, 1.0], [0.5, 1.1]]))
        tensor([0., inf])
        >>> box.prox(torch.tensor([[0.5, 3.0]]), step=torch.ones(1))
        tensor([[0.5000, 1.0000]])
    """

    indicator = True
    separable = True

    def __init__(self, variable: str, low: float | Tensor, high: float | Tensor):
        super().__init__(variable)
        least, most = (torch.as_tensor(bound, dtype=torch.float64) for bound in (low, high))
        if not bool((least <= most).all()):
            raise ValueError(
                f"{type(self).__name__} needs low <= high in every coordinate; got low {low}, high {high}."
            )
        for name, bound in (("low", low), ("high", high)):
            if isinstance(bound, Tensor):
                self.register_buffer(name, bound)
            else:
                setattr(self, name, float(bound))
        self.low: float | Tensor
        self.high: float | Tensor

    def cost(self, v: Tensor) -> Tensor:
        return allowed((v >= self.low - _width(self.low, v)) & (v <= self.high + _width(self.high, v)), v)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        """The nearest point of the box, like v; the step changes nothing."""
        if isinstance(self.low, Tensor) or isinstance(self.high, Tensor):
            low, high = (torch.as_tensor(b, dtype=v.dtype, device=v.device) for b in (self.low, self.high))
            return torch.minimum(torch.maximum(v, low), high)
        return v.clamp(self.low, self.high)

    def shrinkage(self) -> Shrinkage:
        """Clipping alone."""
        return Shrinkage(0.0, self.low, self.high)


class NonNegative(Box):
    """0 where v >= 0 in every coordinate, else +inf; a box without a top.

    Args:
        variable: the name of the variable, of any shape (B, *shape).

    Example:
        >>> NonNegative("z").prox(torch.tensor([[0.5, -3.0]]), step=torch.ones(1))
        tensor([[0.5000, 0.0000]])
    """

    def __init__(self, variable: str):
        super().__init__(variable, 0.0, torch.inf)


class Simplex(Regularizer):
    """0 where the last dimension holds non-negative numbers that add up to `total`, else +inf.

    Args:
        variable: the name of the variable, (B, ..., D); every vector along the last dimension is held to it.
        total: positive; 1 for probabilities. Inside within 100 eps · total in each coordinate and in the sum.

    Raises:
        ValueError: if `total` is not positive and finite.

    Example:
        >>> simplex = Simplex("z")
        >>> simplex.prox(torch.tensor([[0.5, 1.5, -3.0]]), step=torch.ones(1))
        tensor([[0., 1., 0.]])
        >>> simplex(z=torch.tensor([[0.25, 0.75], [0.25, 0.5]]))
        tensor([0., inf])
    """

    indicator = True

    def __init__(self, variable: str, total: float = 1.0):
        super().__init__(variable)
        if not 0 < total < torch.inf:
            raise ValueError(f"total must be positive and finite; got {total}.")
        self.total = float(total)

    def cost(self, v: Tensor) -> Tensor:
        tolerance = slack(v) * self.total
        balanced = (v.sum(-1, keepdim=True) - self.total).abs() <= tolerance
        return allowed((v >= -tolerance) & balanced, v)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        """max(v - θ, 0) with θ such that it adds up to `total`, like v.

        With v sorted, v_(1) >= v_(2) >= ..., θ = max_k (v_(1) + ... + v_(k) - total) / k.
        """
        ordered = v.sort(-1, descending=True).values
        counts = torch.arange(1, v.shape[-1] + 1, dtype=v.dtype, device=v.device)
        theta = ((ordered.cumsum(-1) - self.total) / counts).amax(-1, keepdim=True)
        return (v - theta).clamp(min=0)


class Sphere(Regularizer):
    """0 where the vectors along the last dimensions have length `radius`, else +inf. The set is not convex.

    Args:
        variable: the name of the variable, (B, ..., *last).
        radius: positive. Inside within 100 eps · radius.
        dims: how many last dimensions make one vector; with as many as the variable has, a row is one vector.

    Raises:
        ValueError: if `radius` is not positive and finite, or `dims` is not positive.

    Example:
        >>> Sphere("s").prox(torch.tensor([[3.0, 4.0]]), step=torch.ones(1))
        tensor([[0.6000, 0.8000]])
        >>> Sphere("s", radius=5.0)(s=torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([0., inf])
    """

    indicator = True

    def __init__(self, variable: str, radius: float = 1.0, dims: int = 1):
        super().__init__(variable)
        if not 0 < radius < torch.inf:
            raise ValueError(f"radius must be positive and finite; got {radius}.")
        if not isinstance(dims, int) or dims < 1:
            raise ValueError(f"dims is how many last dimensions make one vector, at least 1; got {dims!r}.")
        self.radius, self.dims = float(radius), dims

    def _vectors(self, v: Tensor) -> Tensor:
        if v.ndim <= self.dims:
            raise ValueError(
                f"Sphere needs B rows and {self.dims} dimensions more, (B, ..., *last); "
                f"{self.variables[0]!r} has shape {tuple(v.shape)}."
            )
        return v.flatten(-self.dims)

    def cost(self, v: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(self._vectors(v), dim=-1)
        return allowed((length - self.radius).abs() <= slack(v) * self.radius, v)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        """radius · v / |v|, like v; where v = 0 all points are equally near, the first axis is taken."""
        vectors = self._vectors(v)
        first = torch.zeros_like(vectors)
        first[..., 0] = 1.0
        length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        safe = torch.where(length > 0, vectors, first)
        return (self.radius * safe / torch.linalg.vector_norm(safe, dim=-1, keepdim=True)).view_as(v)


class Ball(Regularizer):
    """0 where the vectors along the last dimension have length at most `radius`, else +inf.

    A speed limit: `Ball("actions", 2.45)` holds every action of a plan (B, T, A).

    Args:
        variable: the name of the variable, (B, ..., D).
        radius: positive. Inside within 100 eps · radius.

    Raises:
        ValueError: if `radius` is not positive and finite.

    Example:
        >>> Ball("a").prox(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), step=torch.ones(2))
        tensor([[0.6000, 0.8000],
                [0.3000, 0.4000]])
        >>> Ball("a", radius=5.0)(a=torch.tensor([[3.0, 4.0], [4.0, 4.0]]))
        tensor([0., inf])
    """

    indicator = True

    def __init__(self, variable: str, radius: float = 1.0):
        super().__init__(variable)
        if not 0 < radius < torch.inf:
            raise ValueError(f"radius must be positive and finite; got {radius}.")
        self.radius = float(radius)

    def cost(self, v: Tensor) -> Tensor:
        return allowed(torch.linalg.vector_norm(v, dim=-1) <= self.radius * (1 + slack(v)), v)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        """The nearest vectors, v · min(1, radius / |v|), like v; the step changes nothing."""
        length = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
        return v * (self.radius / length.clamp(min=self.radius))


def _width(bound: float | Tensor, v: Tensor) -> float | Tensor:
    """The tolerance at a bound; 0 at an infinite one, where it must not make NaN."""
    if isinstance(bound, Tensor):
        size = bound.abs()
        return slack(v) * torch.where(size < torch.inf, size.clamp(min=1.0), 0.0)
    return slack(v) * max(1.0, abs(bound)) if abs(bound) < torch.inf else 0.0
