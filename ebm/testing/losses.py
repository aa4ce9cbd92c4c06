"""The contract of a loss: it finds known parameters, its gradient is its own, and it opens the energy gap.

    |argmin_θ L(E_θ, data) - θ*| <= 4 standard errors;        ⟨E⟩_around - ⟨E⟩_data grows in training

Its value and terms are finite numbers, in the precision of the data, and the same for the same generator.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.loss import ON_DATA, Loss, LossOutput
from ebm.targets.ring import Ring
from ebm.testing.loss_problem import Renamed, Weighed
from ebm.testing.loss_recovery import SEED, LossMember, called, check_recovery, example
from ebm.testing.verdict import LossContractError as Wrong
from ebm.testing.verdict import require, require_equal


def check_loss(member: LossMember) -> None:
    """Hold a loss to its whole contract.

    Raises:
        LossContractError: saying what was expected and what came.

    Example:
        >>> from ebm.contrastive import ScoreMatching
        >>> check_loss(LossMember(lambda dim, name: ScoreMatching(variable=name), dims=(2,)))
    """
    check_value(member)
    check_precision(member)
    check_names(member)
    check_refusals(member)
    if member.gradient:
        check_gradient(member)
    for dim in member.dims:
        check_recovery(member, dim)
    if member.gap:
        check_gap(member)


def check_value(member: LossMember) -> None:
    """Loss and terms are finite numbers, the terms detached; the same generator gives the same numbers."""
    loss, energy, data = example(member, 2, 12)
    twin = copy.deepcopy(loss)  # for one with a state, such as chains that go on
    output, again = called(loss, energy, data), called(twin, energy, data)
    require(Wrong, isinstance(output, LossOutput), f"{loss.label} returns LossOutput(loss, terms).")
    require(Wrong, output.loss.requires_grad, f"{loss.label} has a gradient by the energy's parameters.")
    require(Wrong, ON_DATA in output.terms, f"{loss.label} reports the energy on the data.")
    for name, value in {"loss": output.loss, **output.terms}.items():
        finite = value.ndim == 0 and bool(value.isfinite())
        require(Wrong, finite, f"{name!r} of {loss.label} is a finite number, 0-dimensional; got {value}.")
        detached = name == "loss" or not value.requires_grad
        require(Wrong, detached, f"the term {name!r} of {loss.label} is detached.")
    require(Wrong, output.loss.item() == again.loss.item(), f"{loss.label}: same generator, same answer.")
    if set(data) == set(energy.variables):  # else the loss draws some of the variables itself
        mean, name = energy(**data).mean().detach()[None], f"{loss.label}: {ON_DATA!r}"
        require_equal(Wrong, output.terms[ON_DATA][None], mean, f"{name} is the data's mean energy", 1e-9)


def check_precision(member: LossMember) -> None:
    """The loss comes in the precision of the data, and float32 says what float64 does."""
    loss, energy, data = example(member, 2, 12)
    for dtype in (torch.float64, torch.float32):
        draws = {name: value.to(dtype) for name, value in data.items()}
        output = called(loss.to(dtype), energy.to(dtype), draws)
        kinds = {value.dtype for value in (output.loss, *output.terms.values())}
        require(Wrong, kinds == {dtype}, f"{loss.label} of {dtype} data is {dtype}; got {kinds}.")


def check_names(member: LossMember) -> None:
    """The data variable may have any name, and other variables are passed along."""
    if member.problem.energy(2).variables != ("y",) or not member.free:
        return
    loss, energy, data = example(member, 2, 12)
    expected = called(loss, energy, data).loss.detach()[None]
    came = called(member.make(2, "signal").double(), Renamed(2), {"signal": data["y"]}).loss.detach()[None]
    require_equal(Wrong, came, expected, f"{loss.label} is the same for a variable of another name", 1e-12)
    ones = torch.ones(len(data["y"]), dtype=torch.float64)
    came = called(loss, Weighed(2), {"y": data["y"], "weight": ones}).loss.detach()[None]
    require_equal(Wrong, came, expected, f"{loss.label} passes the other variables along", 1e-12)


def check_refusals(member: LossMember) -> None:
    """Missing names, no rows and discrete data are refused; NaN is not hidden."""
    loss, energy, data = example(member, 2, 12)
    name = member.problem.variable
    _expect(TypeError, name, loss, energy, {n: v for n, v in data.items() if n != name})
    _expect(TypeError, "nonsense", member.make(2, "nonsense").double(), energy, data)
    _expect(ValueError, "row", loss, energy, {n: v[:0] for n, v in data.items()})
    if not member.discrete:
        _expect(TypeError, "discrete", loss, energy, {**data, name: data[name].round().long()})
    spoilt = data[name].clone()
    spoilt[1] = torch.nan
    try:
        value = called(loss, energy, {**data, name: spoilt}).loss
    except ValueError as error:
        require(Wrong, "NaN" in str(error), f"{loss.label} says what is wrong with NaN: {error}")
        return
    require(Wrong, bool(value.isnan()), f"{loss.label} of data with NaN is NaN; got {value.item()}.")


def check_gradient(member: LossMember) -> None:
    """The gradient by the parameters, the loss's own too, is that of finite differences."""
    loss, energy, data = example(member, 2, 12)
    parameters = [*energy.parameters(), *loss.parameters()]
    gradients = torch.autograd.grad(called(loss, energy, data).loss, parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        flat, slopes = parameter.data.view(-1), []
        for k in range(len(flat)):
            ends = []
            for step in (1e-5, -2e-5):
                flat[k] += step
                ends.append(called(loss, energy, data).loss.item())
            flat[k] += 1e-5
            slopes.append((ends[0] - ends[1]) / 2e-5)
        came = torch.tensor(slopes, dtype=torch.float64)
        claim = f"the gradient of {loss.label} is that of finite differences"
        require_equal(Wrong, gradient.reshape(-1), came, claim, 1e-7)


def check_gap(member: LossMember, steps: int = 50) -> None:
    """Training from random weights opens the gap between data and the space around them."""
    generator = torch.Generator().manual_seed(SEED)
    y = Ring(2.0, 0.2).double().exact_samples(64, generator)
    around = member.around(generator)
    energy, loss = _Net(generator), member.make(2, "y").double()
    before = energy(y=around).mean() - energy(y=y).mean()
    adam = torch.optim.Adam([*energy.parameters(), *loss.parameters()], lr=1e-2)
    for _ in range(steps):
        adam.zero_grad()
        loss(energy, generator, y=y).loss.backward()
        adam.step()
    after = energy(y=around).mean() - energy(y=y).mean()
    require(
        Wrong,
        bool(after > before + 0.1),
        f"{loss.label} opens the energy gap; it was {before.item():.3f}, and came to {after.item():.3f}.",
    )


class _Net(Energy):
    """A small network of points of the plane, twice differentiable, with weights drawn from a generator."""

    def __init__(self, generator: torch.Generator):
        super().__init__()
        layers = (nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 1))
        self.network = nn.Sequential(*layers).double()
        with torch.no_grad():
            for parameter in self.network.parameters():
                fan = parameter.shape[-1] if parameter.ndim > 1 else 32
                parameter.normal_(generator=generator).div_(fan**0.5)

    def forward(self, y: Tensor) -> Tensor:
        value: Tensor = self.network(y).squeeze(1)
        return value


def _expect(kind: type[Exception], words: str, loss: Loss, energy: Energy, data: dict[str, Tensor]) -> None:
    try:
        called(loss, energy, data)
    except kind as error:
        require(Wrong, words in str(error), f"{loss.label}: the error speaks of {words!r}; it says {error}")
        return
    raise Wrong(f"{loss.label} refuses this with a {kind.__name__} that speaks of {words!r}; it took it.")
