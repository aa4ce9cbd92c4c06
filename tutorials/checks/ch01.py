"""Checks of chapter 01: the energy table, the free energy, and the slope of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Table = Callable[[Tensor, Tensor, Tensor], Tensor]


def _random(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = 2 * torch.randn(7, 2, generator=generator, dtype=torch.float64)
    z = 2 * math.pi * torch.rand(5, generator=generator, dtype=torch.float64)
    return y, z, 0.5 + torch.rand(2, generator=generator, dtype=torch.float64)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _shape(found: Tensor, expected: tuple[int, ...], who: str) -> None:
    _require(isinstance(found, Tensor), f"{who} must return a tensor; it returned {type(found).__name__}.")
    _require(
        tuple(found.shape) == expected,
        f"{who} must return shape {expected}; it returned {tuple(found.shape)}.",
    )


def _table(y: Tensor, z: Tensor, w: Tensor) -> Tensor:
    return torch.stack([((y - torch.stack([w[0] * a.cos(), w[1] * a.sin()])) ** 2).sum(1) for a in z], 1)


def check_energy_table(energy_table: Table) -> None:
    """E(y_b, z_k) = |y_b - g(z_k)|²."""
    for seed in range(3):
        y, z, w = _random(seed)
        found, right = energy_table(y, z, w), _table(y, z, w)
        _shape(found, (7, 5), "energy_table")
        _require(
            not torch.allclose(found, -right),
            "The sign is turned: an energy is low where things fit, so +|y - g|².",
        )
        _require(
            not torch.allclose(found, right.sqrt()),
            "This is the distance |y - g|, and the energy is its square.",
        )
        _require(not torch.allclose(found, right / 2), "This is the mean over the two coordinates; sum them.")
        _require(torch.allclose(found, right), "The energies differ from |y - (w1 cos z, w2 sin z)|².")


def check_free_energy(
    free_energy: Callable[[Tensor, Tensor, Tensor, float], Tensor], energy_table: Table
) -> None:
    """F_β = -(1/β) [logsumexp_z(-βE) - log N_z], the minimum at β = ∞."""
    for seed in range(3):
        y, z, w = _random(seed)
        table = _table(y, z, w)
        coldest = free_energy(y, z, w, math.inf)
        _shape(coldest, (7,), "free_energy at beta = inf")
        _require(
            not torch.allclose(coldest.to(y), table.argmin(1).to(y))
            and not torch.allclose(coldest, z[table.argmin(1)]),
            "At beta = inf this is the argmin (which z is best); the free energy is the min (how good it is).",
        )
        _require(torch.allclose(coldest, table.min(1).values), "At beta = inf the free energy is min_z E.")
        for beta in (0.3, 2.0):
            found = free_energy(y, z, w, beta)
            _shape(found, (7,), "free_energy")
            soft = torch.logsumexp(-beta * table, 1)
            right = -(soft - math.log(5)) / beta
            _require(
                not torch.allclose(found, -right),
                "The sign is turned: F = -(1/β) log(...), F lies above min_z E.",
            )
            _require(
                not torch.allclose(found, -soft / beta),
                "1/N_z is missing: without log N_z the free energy sinks below the minimum as beta falls.",
            )
            _require(
                not torch.allclose(found, -(soft - math.log(5))),
                "1/β is missing: F must be an energy, not β times one.",
            )
            _require(
                not torch.allclose(found, (torch.softmax(-beta * table, 1) * table).sum(1)),
                "This is the mean energy under p(z|y); the free energy is that minus the entropy term, F = <E> - H/β.",
            )
            _require(torch.allclose(found, right), "F differs from -(1/β) [logsumexp(-βE) - log N_z].")


def check_weight_slope(weight_slope: Table) -> None:
    """d<F_∞>/dw = < -2 (y - g(z*)) (cos z*, sin z*) >."""
    for seed in range(3):
        y, z, w = _random(seed)
        v = w.clone().requires_grad_()
        (right,) = torch.autograd.grad(_table(y, z, v).min(1).values.mean(), v)
        (over_all,) = torch.autograd.grad(_table(y, z, v).mean(), v)
        found = weight_slope(y, z, w)
        _shape(found, (2,), "weight_slope")
        _require(
            not torch.allclose(found, -right), "The sign is turned: d/dw of (y - w c)² is -2 (y - w c) c."
        )
        _require(
            not torch.allclose(found, 7 * right),
            "1/N is missing: the loss is the mean over the rows, not the sum.",
        )
        _require(
            not torch.allclose(found, right / 2),
            "A factor 2 is missing: d/dw of (y - w c)² is -2 (y - w c) c.",
        )
        _require(
            not torch.allclose(found, over_all),
            "This averages over all z; at beta = inf only the best z* of a row counts.",
        )
        _require(torch.allclose(found, right), "The slope differs from < -2 (y - g(z*)) (cos z*, sin z*) >.")
