"""Stein variational gradient descent (SVGD): particles that fall together, and keep their distance.

    u_i ← u_i + ε φ(u_i),        φ(u) = 1/N Σ_j [-β∇E(u_j) k(u_j, u) + ∇_{u_j} k(u_j, u)]
    k(a, b) = exp(-|a - b|²/h)

Of all directions of a kernel's size φ is the one that brings the particles to p ∝ exp(-βE) fastest, in
Kullback-Leibler divergence. The first part pulls every particle downhill, by the gradients around it; the
second, 2/h Σ_j (u - u_j) k(u_j, u), pushes it off its neighbors. There is no chance in it, and no test: N
particles come to rest where they represent p as well as N can, with a spread a little too small, the more so
the higher the dimension. A single particle descends to a minimum of E.

Reference: Liu & Wang (2016), "Stein variational gradient descent: a general purpose Bayesian inference
algorithm", theorem 3.1, algorithm 1 and eq. 8, for h = (median distance)²/log N; Duchi, Hazan & Singer
(2011), "Adaptive subgradient methods for online learning and stochastic optimization", for the adaptive
steps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ebm.bound import Bound
from ebm.energy import Energy
from ebm.infer.method import count, number
from ebm.infer.pose import pose
from ebm.solution import Samples, Value


def svgd(
    energy: Energy | Bound,
    particles: Value,
    *,
    given: Mapping[str, Any] | None = None,
    step_size: float,
    steps: int,
    bandwidth: float | None = None,
    adagrad: bool = False,
    beta: float = 1.0,
    generator: torch.Generator | None = None,
) -> Samples:
    """Move N particles of each row to where they represent p(u | given) ∝ exp(-β E(u, given)).

    Particles of one row see one another; rows don't.

    Args:
        energy: an energy, or one that is already bound.
        particles: where to begin, (N, B, *shape) as `Samples.value` holds draws, N particles for each of B
            rows, no two in the same place; of several free variables {name: (N, B, *shape)}.
        given: the values of all other variables, B rows first.
        step_size: ε > 0; with `adagrad`, about what a coordinate moves in the first step.
        steps: to take, at least 1.
        bandwidth: h > 0; by default the squared median distance of a row's particles over log N, anew in
            every step.
        adagrad: divide each coordinate's step by the root of its summed squares so far.
        beta: the inverse temperature β > 0.
        generator: source of the energy's own randomness, if it has any.

    Returns:
        `Samples`, whose value has the shape of `particles`, detached, and whose energy is (N, B).

    Raises:
        TypeError, ValueError: for input that does not fit together, or particles that hold NaN or stand in
            one place.

    Warns:
        RuntimeWarning: if particles came to where they or their energies are NaN or infinite.

    Example:
        >>> from ebm.targets import Gaussian
        >>> target = Gaussian(torch.tensor([3.0, -1.0]), torch.diag(torch.tensor([1.0, 0.25])))
        >>> start = torch.randn(60, 1, 2, generator=torch.Generator().manual_seed(0))
        >>> found = svgd(target, start, step_size=0.3, steps=300).value
        >>> [round(v, 2) for v in found.mean(0)[0].tolist()], [round(v, 1) for v in found.var(0)[0].tolist()]
        ([3.0, -1.0], [0.9, 0.2])
    """
    settings = {"step_size": step_size, "beta": beta, "bandwidth": bandwidth}
    for name, setting in settings.items():
        if setting is not None:
            number(name, setting)
    count("steps", steps)
    named = isinstance(particles, Mapping)
    parts: dict[str, Tensor] = dict(particles) if isinstance(particles, Mapping) else {"": particles}
    among = _count(parts)
    first = {name: part[0] for name, part in parts.items()}
    with torch.no_grad():
        problem, _ = pose(energy, first if named else first[""], given, generator=generator)
        problem = problem.detach().repeat(among)  # rows (B · N), a row's particles side by side
        u = problem.pack({name: part.detach().transpose(0, 1).flatten(0, 1) for name, part in parts.items()})
        _refuse_heaps(_by_row(u, among), bandwidth)
        squares = torch.zeros_like(u)
        for _ in range(steps):
            gradient = problem.value_and_grad(u)[1]
            phi = direction(_by_row(u, among), beta * _by_row(gradient, among), bandwidth).view_as(u)
            if adagrad:
                squares = torch.addcmul(squares, phi, phi)
                phi = phi / squares.sqrt().add_(1e-12)
            u = torch.add(u, phi, alpha=step_size)
        value = problem.value(u)
    draws = {n: p.unflatten(0, (-1, among)).transpose(0, 1) for n, p in problem.unpack(u).items()}
    lost = ~torch.isfinite(_by_row(u, among)).all(2) | ~torch.isfinite(value).view(-1, among)
    if bool(lost.any()):
        warnings.warn(
            f"svgd: {int(lost.sum())} particles came to where they or their energies are NaN or infinite "
            f"(rows {lost.any(1).nonzero().flatten().tolist()[:5]}). Take a smaller step_size, or adagrad.",
            RuntimeWarning,
            stacklevel=2,
        )
    none = torch.zeros(len(lost), dtype=torch.int64, device=u.device)
    energies = value.view(-1, among).transpose(0, 1)
    whole = draws if named else next(iter(draws.values()))
    return Samples(whole, torch.ones_like(none, dtype=u.dtype), none, lost.sum(1), energies)


def direction(u: Tensor, gradient: Tensor, bandwidth: float | None = None) -> Tensor:
    """φ at each particle, (B, N, D).

    Args:
        u: the particles, (B, N, D).
        gradient: β∇E there, (B, N, D).
        bandwidth: h; None for the squared median distance over log N.
    """
    number = u.shape[1]
    distances = squares_between(u)  # (B, N, N)
    h = torch.full_like(distances[:, :1, :1], bandwidth or 1.0)
    if bandwidth is None and number > 1:
        h = (_median(distances) / math.log(number)).view(-1, 1, 1)
    kernel = torch.exp(-distances / h)
    push = kernel.sum(2, keepdim=True) * u - kernel @ u
    return (push * (2 / h) - kernel @ gradient) / number


def squares_between(u: Tensor) -> Tensor:
    """Squared distances of all pairs of particles, (B, N, D) -> (B, N, N)."""
    return torch.cdist(u, u, compute_mode="donot_use_mm_for_euclid_dist").square()


def _median(squares: Tensor) -> Tensor:
    """The median over pairs, (B, N, N) -> (B,)."""
    i, j = torch.triu_indices(squares.shape[1], squares.shape[1], 1, device=squares.device)
    return squares[:, i, j].median(1).values


def _by_row(u: Tensor, number: int) -> Tensor:
    """(B · N, *shape) -> (B, N, D)."""
    return u.reshape(len(u) // number, number, -1)


def _refuse_heaps(u: Tensor, bandwidth: float | None) -> None:
    """Refuse particles, (B, N, D), that hold NaN, or half of which stand in one place."""
    strange = ~u.isfinite().flatten(1).all(1)
    if bool(strange.any()):
        rows = strange.nonzero().flatten().tolist()
        raise ValueError(f"particles hold NaN or infinity in rows {rows[:5]}.")
    if bandwidth is None and u.shape[1] > 1:
        heaped = _median(squares_between(u)) == 0
        if bool(heaped.any()):
            rows = heaped.nonzero().flatten().tolist()
            raise ValueError(
                f"particles of rows {rows[:5]} stand in one place, half of their pairs or more, and nothing "
                f"would part them. Spread them, e.g. torch.randn(N, B, D)."
            )


def _count(parts: Mapping[str, Tensor]) -> int:
    """N, after a check of the particles."""
    other = [part for part in parts.values() if not isinstance(part, Tensor)]
    if other:
        raise TypeError(f"particles are tensors, (N, B, *shape); got {type(other[0]).__name__}.")
    shapes = {name or "particles": tuple(part.shape) for name, part in parts.items()}
    heads = {shape[:2] for shape in shapes.values()}
    if len(heads) != 1 or min((len(shape) for shape in shapes.values()), default=0) < 2:
        raise ValueError(
            f"particles are (N, B, *shape), N for each of B rows, alike in N and B for all variables; got "
            f"{shapes}. Of one row, (N, D), write particles.unsqueeze(1)."
        )
    found = next(iter(heads))[0]
    if not found:
        raise ValueError("there are 0 particles; one descends to a minimum, many represent p.")
    return found
