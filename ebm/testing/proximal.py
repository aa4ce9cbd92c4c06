"""The contract of a prox: it is the minimizer that its definition names.

    prox(v, t) = argmin_u φ(u),        φ(u) = t·E(u) + ½ |u - v|²        one step t per row

Held to a search by brute force: nothing near the answer, on the way to it, or among proxes of other points
(which for an indicator are the points of its set) has a lower φ.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.rows import flat
from ebm.testing.examples import Example, converted, copied, seeded
from ebm.testing.verdict import EnergyContractError as Wrong
from ebm.testing.verdict import require_equal, require_rows

SCALES = (1e-4, 1e-2, 0.3, 2.0)
TRIES = 64  # random candidates of each kind


def check_prox(energy: Energy, example: Example) -> None:
    """Check that `prox` minimizes what it says, in float64, with a step of its own for every row.

    Args:
        energy: an energy of one variable with a `prox`.
        example: {variable: (B, *shape)}, B >= 2.

    Raises:
        EnergyContractError: with the point that is better than the prox, and its row.

    Example:
        >>> from ebm import Energy
        >>> class Absolute(Energy):
        ...     def forward(self, z):
        ...         return z.abs().sum(1)
        ...     def prox(self, v, step):
        ...         return v.sign() * (v.abs() - 1).clamp(min=0)  # wrong: it forgets the step
        >>> check_prox(Absolute(), {"z": torch.tensor([[3.0], [-2.0]])})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ebm.testing.verdict.EnergyContractError: Absolute.prox is the minimizer of step·E(u) + ½|u - v|²; ...
    """
    if len(energy.variables) != 1:
        raise Wrong(f"a prox is of an energy of one variable; {energy.label} has {energy.variables}.")
    (name,) = energy.variables
    energy, v = copied(energy, torch.float64), converted(example, torch.float64)[name]
    generator = seeded(v)
    step = 0.05 + 1.5 * torch.rand(len(v), dtype=v.dtype, device=v.device, generator=generator)
    with torch.no_grad():
        _check_minimizer(energy, name, v, step, generator)
        if energy.separable:
            _check_separable(energy, v, step)


def _check_minimizer(energy: Energy, name: str, v: Tensor, step: Tensor, generator: torch.Generator) -> None:
    prox = energy.prox(v, step)  # type: ignore[operator]
    require_equal(
        Wrong,
        torch.zeros_like(prox),
        torch.zeros_like(v),
        f"{energy.label}.prox keeps shape, dtype and device",
    )
    cost, best = _objective(energy, name, v, step, prox), torch.full_like(step, torch.inf)
    require_rows(Wrong, torch.isfinite(cost), f"the energy of {energy.label} at its own prox is finite", cost)
    where = torch.zeros_like(v)
    for u in _candidates(energy, v, step, prox, generator):
        other = _objective(energy, name, v, step, u)
        where[other < best] = u[other < best]
        best = torch.minimum(best, other)
    slack = 1e-12 * (1 + cost.abs())
    require_rows(
        Wrong,
        best >= cost - slack,
        f"{energy.label}.prox is the minimizer of step·E(u) + ½|u - v|²; a better u was found, lower by "
        f"{float((cost - best).max()):.2e}",
        where,
    )


def _objective(energy: Energy, name: str, v: Tensor, step: Tensor, u: Tensor) -> Tensor:
    return step * energy(**{name: u}) + 0.5 * flat((u - v).square()).sum(1)


def _candidates(
    energy: Energy, v: Tensor, step: Tensor, prox: Tensor, generator: torch.Generator
) -> list[Tensor]:
    def noise() -> Tensor:
        return torch.randn(v.shape, dtype=v.dtype, device=v.device, generator=generator)

    found = [torch.zeros_like(v), v, *((1 - a) * prox + a * v for a in (0.01, 0.1, 0.5))]
    for _ in range(TRIES):
        for scale in SCALES:
            move = scale * noise()
            single = torch.zeros_like(flat(v))  # the same move along one coordinate alone
            entry = torch.randint(single.shape[1], (1,), generator=generator, device=v.device)
            single[:, entry] = flat(move)[:, entry]
            near = energy.prox(prox + move, step)  # type: ignore[operator]
            found += [prox + move, prox + single.view_as(v), near, (1 - scale / 2) * prox + scale / 2 * near]
    return found


def _check_separable(energy: Energy, v: Tensor, step: Tensor) -> None:
    alone = torch.zeros_like(flat(v))
    alone[:, 0] = flat(v)[:, 0]
    claim = f"{energy.label} is separable: a coordinate of its prox depends on that coordinate alone"
    came = flat(energy.prox(alone.view_as(v), step))[:, 0]  # type: ignore[operator]
    expected = flat(energy.prox(v, step))[:, 0]  # type: ignore[operator]
    require_equal(Wrong, came, expected, claim, 1e-12)
