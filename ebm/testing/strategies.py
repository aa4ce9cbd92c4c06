"""Hypothesis strategies: random energies with examples, batches, dtypes, shapes, starts and generators.

    E ::= quadratic | mixture | network | E + E | w E | E.given(x=...) | E.compose(y=(f, "u"))

Hypothesis chooses sizes, structure and a seed; numbers come from a torch generator with that seed, so a
failing example is small and repeats exactly.

    from hypothesis import given
    @given(energies())
    def test_rows(case):
        check_rows(case.energy, case.example)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.rows import flat
from ebm.targets.mixture import Mixture
from ebm.testing.posed import Posed, bowl, springs

try:
    from hypothesis import strategies as st
except ImportError as missing:
    raise ImportError(
        "ebm.testing.strategies generates examples with hypothesis, which is not installed: pip install "
        "hypothesis. The checks of ebm.testing (check_energy, check_minimizer, check_sampler) work "
        "without it."
    ) from missing


class Case(NamedTuple):
    """An energy and a value for each of its variables."""

    energy: Energy
    example: dict[str, Any]


class Quadratic(Energy):
    """E(y) = ½ Σ_ij y_i A_ij y_j - Σ_i b_i y_i, with A positive definite, for y of any shape."""

    closed_form = ("y",)
    matrix: Tensor
    linear: Tensor

    def __init__(self, matrix: Tensor, linear: Tensor):
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.register_buffer("linear", linear)

    def forward(self, y: Tensor) -> Tensor:
        v = flat(y)
        return 0.5 * ((v @ self.matrix) * v).sum(1) - (self.linear * v).sum(1)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """E(y), (B,), and Ay - b, like y."""
        v = flat(y)
        pull = v @ self.matrix
        return 0.5 * (pull * v).sum(1) - (self.linear * v).sum(1), (pull - self.linear).view_as(y)

    def quadratic(self, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """A (D, D), b (D,) and the constant 0."""
        return self.matrix, self.linear, self.linear.new_zeros(())


class NetworkEnergy(Energy):
    """E(x, y) = softplus-smooth network of x and y, plus ½ c|y|² so that it has a minimum."""

    def __init__(self, dim: int, width: int, generator: torch.Generator, stiffness: float = 1.0):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(2 * dim, width), nn.SiLU(), nn.Linear(width, 1)).double()
        self.stiffness = stiffness
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.copy_(
                    torch.randn(parameter.shape, dtype=torch.float64, generator=generator) / width**0.5
                )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        v = flat(y)
        return self.network(torch.cat([flat(x), v], 1)).squeeze(1) + 0.5 * self.stiffness * (v**2).sum(1)


def seeds() -> st.SearchStrategy[int]:
    """Seeds of generators."""
    return st.integers(0, 2**31 - 1)


def generators() -> st.SearchStrategy[torch.Generator]:
    """Seeded generators on the CPU."""
    return st.builds(lambda seed: torch.Generator().manual_seed(seed), seeds())


def batches(least: int = 2, most: int = 5) -> st.SearchStrategy[int]:
    """Batch sizes; 2 at least, so that rows can be told apart."""
    return st.integers(least, most)


def shapes(most: int = 3) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of a variable without its batch: (), (D,), (C, D), ..., with entries from 1 to `most`."""
    return st.lists(st.integers(1, most), max_size=3).map(tuple)


def dtypes() -> st.SearchStrategy[torch.dtype]:
    """Floating dtypes that energies are computed in."""
    return st.sampled_from([torch.float64, torch.float32])


@st.composite
def tensors(
    draw: Callable[..., Any],
    batch: int,
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.float64,
    scale: float = 1.0,
) -> Tensor:
    """Normal tensors (B, *shape)."""
    generator = draw(generators())
    return scale * torch.randn(batch, *shape, dtype=torch.float64, generator=generator).to(dtype)


starts = tensors
"""Where a minimizer or a sampler begins: `starts(batch, shape)`, as `tensors`."""


@st.composite
def quadratics(
    draw: Callable[..., Any], batch: int | None = None, shape: tuple[int, ...] | None = None
) -> Case:
    """Positive definite quadratics over y, with closed forms; condition numbers up to about 50."""
    batch = draw(batches()) if batch is None else batch
    shape = draw(shapes()) if shape is None else shape
    dim, generator = torch.Size(shape).numel(), draw(generators())
    factor = torch.randn(dim, dim, dtype=torch.float64, generator=generator) / dim**0.5
    matrix = factor @ factor.T + 0.2 * torch.eye(dim, dtype=torch.float64)
    linear = torch.randn(dim, dtype=torch.float64, generator=generator)
    return Case(Quadratic(0.5 * (matrix + matrix.T), linear), {"y": draw(tensors(batch, shape))})


@st.composite
def mixtures(draw: Callable[..., Any], batch: int | None = None, dim: int | None = None) -> Case:
    """Mixtures of one to four Gaussians over y (B, D)."""
    batch = draw(batches()) if batch is None else batch
    dim = draw(st.integers(1, 3)) if dim is None else dim
    components, generator = draw(st.integers(1, 4)), draw(generators())
    weights = torch.rand(components, dtype=torch.float64, generator=generator) + 0.1
    means = 2 * torch.randn(components, dim, dtype=torch.float64, generator=generator)
    factor = torch.randn(components, dim, dim, dtype=torch.float64, generator=generator) / 2
    covariances = factor @ factor.mT + 0.3 * torch.eye(dim, dtype=torch.float64)
    energy = Mixture(weights / weights.sum(), means, 0.5 * (covariances + covariances.mT))
    return Case(energy, {"y": draw(tensors(batch, (dim,)))})


@st.composite
def networks(
    draw: Callable[..., Any], batch: int | None = None, shape: tuple[int, ...] | None = None
) -> Case:
    """Networks of x and y, bounded below in y."""
    batch = draw(batches()) if batch is None else batch
    shape = draw(shapes()) if shape is None else shape
    generator = draw(generators())
    energy = NetworkEnergy(torch.Size(shape).numel(), draw(st.sampled_from([3, 8])), generator)
    return Case(energy, {"x": draw(tensors(batch, shape)), "y": draw(tensors(batch, shape))})


@st.composite
def energies(draw: Callable[..., Any], batch: int | None = None, depth: int = 2) -> Case:
    """Energies of every make: leaves, and their sums, scalings and compositions, up to `depth` deep."""
    batch = draw(batches()) if batch is None else batch
    dim = draw(st.integers(1, 3))
    return draw(_made(batch, dim, depth))


@st.composite
def _made(draw: Callable[..., Any], batch: int, dim: int, depth: int) -> Case:
    leaf = st.one_of(quadratics(batch, (dim,)), mixtures(batch, dim), networks(batch, (dim,)))
    make = draw(st.sampled_from(["leaf", "sum", "scaled", "composed"] if depth else ["leaf"]))
    if make == "leaf":
        return draw(leaf)
    energy, example = draw(_made(batch, dim, depth - 1))
    if make == "sum":
        other, more = draw(_made(batch, dim, depth - 1))
        return Case(energy + other, {**example, **more})
    if make == "scaled":
        return Case(draw(st.sampled_from([0.5, 2.0, 3.0])) * energy, example)
    name = draw(st.sampled_from(sorted(example)))  # the variable becomes a linear function of a new one
    layer = nn.Linear(dim, dim).double()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(dim, dim, dtype=torch.float64, generator=draw(generators())))
    new = f"{name}_code"
    return Case(
        energy.compose(**{name: (layer, new)}),
        {**{n: v for n, v in example.items() if n != name}, new: example[name]},
    )


@st.composite
def posed(draw: Callable[..., Any], dtype: torch.dtype = torch.float64) -> Posed:
    """Minimizations with known answers: bowls of any shape, or two variables tied by springs."""
    batch, seed = draw(batches(3, 6)), draw(seeds())
    if draw(st.booleans()):
        return springs(batch=batch, dtype=dtype, seed=seed)
    return bowl(*draw(shapes()), batch=batch, dtype=dtype, seed=seed)
