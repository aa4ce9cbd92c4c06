"""Whether a loss finds known parameters, held to the standard errors of its own estimate.

    θ̂ = argmin_θ L(E_θ, data),        Cov(θ̂) = H⁻¹ Cov(g) H⁻¹,        H = ∇²_θ L,  g = ∇_θ L at θ̂

Cov(g) comes from the spread of the gradients of groups of rows, each with noise of its own. So a loss that is
noisier by design is held to what its noise allows, and to no more.

Reference: Huber (1967), "The Behavior of Maximum Likelihood Estimates under Nonstandard Conditions".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.loss import Loss, LossOutput
from ebm.testing.loss_problem import LossProblem, Precisions, box
from ebm.testing.verdict import LossContractError as Wrong
from ebm.testing.verdict import require

SEED, GROUPS, NEWTON, ERRORS = 23, 40, 60, 4.0


@dataclass(frozen=True)
class LossMember:
    """A loss, with what it is to find.

    Attributes:
        make: makes it for data of D entries whose variable has this name.
        problem: the energy and data that it is tried on.
        expected: θ where the loss of unlimited data is smallest, from θ*: θ* itself, if it is consistent.
        rows: how many to estimate θ from.
        dims: the D to do so in; none if the loss is no estimator.
        gradient: whether its gradient is that of its value; not where a chain is held constant.
        discrete: whether it takes data of integers.
        gap: whether it can train any network on points of the plane.
        around: points off the data, (N, 2), in a square by default; for a loss that learns the way from a
            prior to the data, draws of the prior.
        free: whether it takes any energy of real numbers; not where it asks for a closed form, or for bits.
    """

    make: Callable[[int, str], Loss]
    problem: LossProblem = field(default_factory=Precisions)
    expected: Callable[[Tensor], Tensor] = lambda theta: theta
    rows: int = 4000
    dims: tuple[int, ...] = (1, 2, 8)
    gradient: bool = True
    discrete: bool = False
    gap: bool = True
    around: Callable[[torch.Generator], Tensor] = box
    free: bool = True


def check_recovery(member: LossMember, dim: int) -> None:
    """The parameters of the data are found within four standard errors of the estimator itself."""
    estimate, errors = estimated(member, dim)
    expected = member.expected(member.problem.truth(dim))
    off = ((estimate[: len(expected)] - expected) / errors[: len(expected)]).abs()
    require(
        Wrong,
        bool((off < ERRORS).all()),
        f"{member.make(dim, 'y').label} in {dim} dimensions finds {expected.tolist()} within {ERRORS:g} "
        f"standard errors; came {estimate.tolist()} with standard errors {errors.tolist()}.",
    )


def estimated(member: LossMember, dim: int) -> tuple[Tensor, Tensor]:
    """θ̂ (and the loss's own parameters) by Newton's method, and their standard errors."""
    loss, energy, data = example(member, dim, member.rows)
    parameters = [*energy.parameters(), *loss.parameters()]
    for _ in range(NEWTON):
        gradient, hessian = _second(called(loss, energy, data).loss, parameters)
        step = torch.linalg.solve(hessian, gradient)
        with torch.no_grad():
            for parameter, part in zip(parameters, step.split([p.numel() for p in parameters]), strict=True):
                parameter.sub_(part.view_as(parameter).clamp(-0.3, 0.3))
        if float(step.abs().max()) < 1e-9:
            break
    else:
        raise Wrong(f"{loss.label} in {dim} dimensions has a minimum that Newton's method finds; it did not.")
    groups = []
    for k, rows in enumerate(torch.arange(member.rows).chunk(GROUPS)):
        part = {name: value[rows] for name, value in data.items()}
        value = called(loss, energy, part, SEED + 1 + k).loss
        groups.append(_joined(torch.autograd.grad(value, parameters)))
    covariance = torch.stack(groups).T.cov().view_as(hessian) / GROUPS  # of the mean of all groups
    inverse = torch.linalg.inv(hessian)
    errors = (inverse @ covariance @ inverse.T).diagonal().sqrt()
    return _joined(parameters).detach(), errors


def example(member: LossMember, dim: int, rows: int) -> tuple[Loss, Energy, dict[str, Tensor]]:
    """The loss and a fresh energy, in float64, with data."""
    data = member.problem.data(dim, rows, torch.Generator().manual_seed(SEED - 1))
    return member.make(dim, member.problem.variable).double(), member.problem.energy(dim), data


def called(loss: Loss, energy: Energy, data: Mapping[str, Tensor], seed: int = SEED) -> LossOutput:
    """The loss with a generator from this seed."""
    return loss(energy, torch.Generator().manual_seed(seed), **data)


def _second(value: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Gradient, (P,), and Hessian, (P, P), of a number by all parameters."""
    gradient = _joined(torch.autograd.grad(value, parameters, create_graph=True))
    rows = [
        _joined(torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True))
        for entry in gradient
    ]
    return gradient.detach(), torch.stack(rows)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])
