"""Toy sets in the plane: curves and blobs with known shapes, on which an energy can be looked at.

Each is a curve c(t) with t drawn at random, plus isotropic noise:  y = c(t) + noise · ε,  ε ~ N(0, I).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def two_moons(
    n: int, *, noise: float = 0.05, generator: torch.Generator | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Two interleaved half circles, each drawn with probability 1/2.

        c(t) = (cos t, sin t)  or  (1 - cos t, 1/2 - sin t),   t ~ U[0, π]

    Args:
        n: number of points, at least 0.
        noise: standard deviation of the noise, at least 0.
        generator: randomness; the global generator if None. The points lie on its device.
        dtype: of the points; the default dtype if None.

    Returns:
        Points (N, 2).

    Raises:
        ValueError: if `n` or `noise` is negative.

    Reference: the set `make_moons` of scikit-learn, with the angles drawn instead of evenly spaced.

    Example:
        >>> import torch
        >>> two_moons(3, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2])
    """
    draw = _Draw(n, noise, generator, dtype)
    t = math.pi * draw.uniform()
    x, y = t.cos(), t.sin()
    upper = draw.integers(2) == 0
    return draw.noisy(torch.where(upper, x, 1 - x), torch.where(upper, y, 0.5 - y))


def ring(
    n: int,
    *,
    radius: float = 1.0,
    noise: float = 0.05,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """A circle around the origin: c(t) = radius · (cos t, sin t), t ~ U[0, 2π].

    Args:
        n: number of points, at least 0.
        radius: of the circle, at least 0.
        noise: standard deviation of the noise, at least 0.
        generator: randomness; the global generator if None. The points lie on its device.
        dtype: of the points; the default dtype if None.

    Returns:
        Points (N, 2).

    Raises:
        ValueError: if `n`, `radius` or `noise` is negative.

    Example:
        >>> import torch
        >>> ring(4, radius=2.0, noise=0.0, generator=torch.Generator().manual_seed(0)).norm(dim=1)
        tensor([2., 2., 2., 2.])
    """
    if radius < 0:
        raise ValueError(f"radius must be at least 0, got {radius}")
    draw = _Draw(n, noise, generator, dtype)
    t = 2 * math.pi * draw.uniform()
    return draw.noisy(radius * t.cos(), radius * t.sin())


def spiral(
    n: int,
    *,
    turns: float = 1.5,
    arms: int = 2,
    noise: float = 0.02,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Archimedean spirals from the origin, the arms evenly turned; each arm is as dense outside as inside.

        c(t) = t (cos φ, sin φ),  φ = 2π (turns · t + a / arms),  t = √u,
        u ~ U[0, 1],  a ~ U{0, ..., arms - 1}

    Args:
        n: number of points, at least 0.
        turns: how often an arm goes around, positive.
        arms: how many arms, at least 1.
        noise: standard deviation of the noise, at least 0.
        generator: randomness; the global generator if None. The points lie on its device.
        dtype: of the points; the default dtype if None.

    Returns:
        Points (N, 2).

    Raises:
        ValueError: if `n` or `noise` is negative, `turns` is not positive, or `arms` is below 1.

    Example:
        >>> import torch
        >>> spiral(1000, noise=0.0, generator=torch.Generator().manual_seed(0)).norm(dim=1).max() <= 1
        tensor(True)
    """
    if not turns > 0:
        raise ValueError(f"turns must be positive, got {turns}")
    if arms < 1:
        raise ValueError(f"arms must be at least 1, got {arms}")
    draw = _Draw(n, noise, generator, dtype)
    t = draw.uniform().sqrt()
    angle = 2 * math.pi * (turns * t + draw.integers(arms) / arms)
    return draw.noisy(t * angle.cos(), t * angle.sin())


def pinwheel(
    n: int,
    *,
    arms: int = 5,
    radial: float = 0.3,
    tangential: float = 0.05,
    rate: float = 0.25,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Gaussian blobs around the origin, each bent into a blade.

        (1 + radial · ε₁, tangential · ε₂)  =: (r, s),  turned by the angle  2π a / arms + rate · exp(r),
        a ~ U{0, ..., arms - 1},  ε ~ N(0, I)

    Args:
        n: number of points, at least 0.
        arms: how many blades, at least 1.
        radial: standard deviation along a blade, at least 0.
        tangential: standard deviation across a blade, at least 0.
        rate: how strongly the blades are bent, radians; 0 leaves them straight.
        generator: randomness; the global generator if None. The points lie on its device.
        dtype: of the points; the default dtype if None.

    Returns:
        Points (N, 2).

    Raises:
        ValueError: if `n`, `radial` or `tangential` is negative, or `arms` is below 1.

    Reference: Johnson, Duvenaud, Wiltschko, Datta, Adams, "Composing graphical models with neural networks
    for structured representations and fast inference", 2016, whose code draws this set.

    Example:
        >>> import torch
        >>> pinwheel(5, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([5, 2])
    """
    if radial < 0 or tangential < 0:
        raise ValueError(f"radial and tangential must be at least 0, got {radial} and {tangential}")
    if arms < 1:
        raise ValueError(f"arms must be at least 1, got {arms}")
    draw = _Draw(n, 0.0, generator, dtype)
    r, s = 1 + radial * draw.normal(), tangential * draw.normal()
    angle = 2 * math.pi * draw.integers(arms) / arms + rate * r.exp()
    return draw.noisy(r * angle.cos() - s * angle.sin(), r * angle.sin() + s * angle.cos())


def eight_gaussians(
    n: int,
    *,
    radius: float = 2.0,
    noise: float = 0.2,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Eight blobs of equal weight on a circle: c = radius · (cos πa/4, sin πa/4), a ~ U{0, ..., 7}.

    Args:
        n: number of points, at least 0.
        radius: of the circle, at least 0.
        noise: standard deviation of each blob in each direction, at least 0.
        generator: randomness; the global generator if None. The points lie on its device.
        dtype: of the points; the default dtype if None.

    Returns:
        Points (N, 2).

    Raises:
        ValueError: if `n`, `radius` or `noise` is negative.

    Example:
        >>> import torch
        >>> eight_gaussians(6, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([6, 2])
    """
    if radius < 0:
        raise ValueError(f"radius must be at least 0, got {radius}")
    draw = _Draw(n, noise, generator, dtype)
    angle = math.pi / 4 * draw.integers(8)
    return draw.noisy(radius * angle.cos(), radius * angle.sin())


class _Draw:
    """What all sets draw with: n numbers at a time, from one generator."""

    def __init__(self, n: int, noise: float, generator: torch.Generator | None, dtype: torch.dtype | None):
        if n < 0:
            raise ValueError(f"n must be at least 0, got {n}")
        if noise < 0:
            raise ValueError(f"noise is a standard deviation and must be at least 0, got {noise}")
        self.n, self.noise, self.generator = n, noise, generator
        self.dtype = dtype or torch.get_default_dtype()
        self.device = generator.device if generator is not None else None

    def uniform(self) -> Tensor:
        return torch.rand(self.n, generator=self.generator, dtype=self.dtype, device=self.device)

    def normal(self) -> Tensor:
        return torch.randn(self.n, generator=self.generator, dtype=self.dtype, device=self.device)

    def integers(self, below: int) -> Tensor:
        whole = torch.randint(below, (self.n,), generator=self.generator, device=self.device)
        return whole.to(self.dtype)

    def noisy(self, x: Tensor, y: Tensor) -> Tensor:
        points = torch.stack([x, y], 1)  # (N, 2)
        return points + self.noise * torch.stack([self.normal(), self.normal()], 1)
