"""Checks of chapter 01: the energy table, the free energy, and the slope of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ebm.course import refuse, require_close, require_shape

Table = Callable[[Tensor, Tensor, Tensor], Tensor]


def _random(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = 2 * torch.randn(7, 2, generator=generator)
    z = 2 * math.pi * torch.rand(5, generator=generator)
    return y, z, 0.5 + torch.rand(2, generator=generator)


def _table(y: Tensor, z: Tensor, w: Tensor) -> Tensor:
    return torch.stack([((y - torch.stack([w[0] * a.cos(), w[1] * a.sin()])) ** 2).sum(1) for a in z], 1)


def check_energy_table(energy_table: Table) -> None:
    """E(y_b, z_k) = |y_b - g(z_k)|²."""
    for seed in range(3):
        y, z, w = _random(seed)
        found, right = energy_table(y, z, w), _table(y, z, w)
        require_shape(found, (7, 5), "energy_table")
        refuse(found, -right, "The sign is turned: an energy is low where things fit, so +|y - g|².")
        refuse(found, right.sqrt(), "This is the distance |y - g|, and the energy is its square.")
        refuse(found, right / 2, "This is the mean over the two coordinates; sum them.")
        refuse(found, _table(y, z, w.flip(0)), "The weights are exchanged: w1 goes with cos, w2 with sin.")
        require_close(found, right, "The energies differ from |y - (w1 cos z, w2 sin z)|².")


def check_free_energy(free_energy: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> None:
    """F_β = -(1/β) [logsumexp_z(-βE) - log N_z], the minimum at β = ∞."""
    for seed in range(3):
        y, z, w = _random(seed)
        table = _table(y, z, w)
        coldest, best = free_energy(y, z, w, math.inf), table.argmin(1)
        require_shape(coldest, (7,), "free_energy at beta = inf")
        which = (
            "At beta = inf this is the argmin (which z is best); the free energy is the min (how good it is)."
        )
        refuse(coldest.to(y), best.to(y), which)
        refuse(coldest.to(y), z[best], which)
        refuse(
            coldest, table.max(1).values, "At beta = inf this is the worst z; the best explanation counts."
        )
        require_close(coldest, table.min(1).values, "At beta = inf the free energy is min_z E.")
        for beta in (0.3, 2.0):
            found = free_energy(y, z, w, beta)
            require_shape(found, (7,), "free_energy")
            soft = torch.logsumexp(-beta * table, 1)
            right = -(soft - math.log(5)) / beta
            mean = (torch.softmax(-beta * table, 1) * table).sum(1)
            refuse(found, -right, "The sign is turned: F = -(1/β) log(...), and F lies above min_z E.")
            refuse(
                found,
                -soft / beta,
                "1/N_z is missing: without log N_z the free energy sinks below the minimum as β falls.",
            )
            refuse(found, beta * right, "1/β is missing: F must be an energy, not β times one.")
            refuse(
                found,
                mean,
                "This is the mean energy under p(z|y); F also has the entropy H: <E> - H/β + log(N_z)/β.",
            )
            require_close(found, right, "F differs from -(1/β) [logsumexp(-βE) - log N_z].")


def check_weight_slope(weight_slope: Table) -> None:
    """d<F_∞>/dw = < -2 (y - g(z*)) (cos z*, sin z*) >."""
    for seed in range(3):
        y, z, w = _random(seed)
        v = w.clone().requires_grad_()
        (right,) = torch.autograd.grad(_table(y, z, v).min(1).values.mean(), v)
        (over_all,) = torch.autograd.grad(_table(y, z, v).mean(), v)
        found = weight_slope(y, z, w)
        require_shape(found, (2,), "weight_slope")
        refuse(found, -right, "The sign is turned: d/dw of (y - w c)² is -2 (y - w c) c.")
        refuse(found, 7 * right, "1/N is missing: the loss is the mean over the rows, not the sum.")
        refuse(found, right / 2, "A factor 2 is missing: d/dw of (y - w c)² is -2 (y - w c) c.")
        refuse(found, over_all, "This averages over all z; at beta = inf only the best z* of a row counts.")
        require_close(found, right, "The slope differs from < -2 (y - g(z*)) (cos z*, sin z*) >.")


CHECKS = {
    "energy_table": check_energy_table,
    "free_energy": check_free_energy,
    "weight_slope": check_weight_slope,
}
