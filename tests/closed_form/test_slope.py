"""The slope in one variable, closed forms and autograd beside each other, held to autograd of the whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ebm import Energy, energy
from ebm.contrastive import BernoulliRBM
from ebm.infer.slope import slope_in


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@energy
def cross(y: Tensor, z: Tensor) -> Tensor:
    return (y[:, :4] * z.sin()).sum(1)


def double(z: Tensor) -> Tensor:
    return 2 * z


def machine() -> BernoulliRBM:
    return BernoulliRBM(6, 4, scale=1.0, generator=seeded()).double()


CASES = {
    "closed form": machine(),
    "weighted": 0.3 * machine(),
    "beside a term for autograd": machine() + 2.0 * cross,
    "of a function of the variable": machine().compose(z=(double, "z")),
    "with a term that is constant in it": machine() + energy(lambda y: (y**2).sum(1)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("variable", ["y", "z"])
def test_it_is_that_of_autograd(name: str, variable: str) -> None:
    model: Energy = CASES[name]
    y, z = (torch.rand(5, n, generator=seeded(n), dtype=torch.float64) for n in (6, 4))
    values = {"y": y, "z": z}
    bound = model.bind({}, like=values)
    value, slope = slope_in(bound, variable, values)
    v = values[variable].clone().requires_grad_()
    whole = model(**{**values, variable: v})
    (gradient,) = torch.autograd.grad(whole.sum(), v)
    torch.testing.assert_close(value, whole.detach())
    torch.testing.assert_close(slope, gradient)
    assert not value.requires_grad and not slope.requires_grad
    kept = slope_in(bound, variable, {**values, variable: v}, create_graph=True)
    torch.testing.assert_close(kept, (value, slope), msg="with a graph")
    whole = model(**{**values, variable: v})
    (again,) = torch.autograd.grad(whole.sum(), v, create_graph=True)
    products = [torch.autograd.grad(g.square().sum(), v, materialize_grads=True)[0] for g in (kept[1], again)]
    torch.testing.assert_close(*products)


def test_the_machine_is_not_differentiated(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"y": torch.rand(5, 6, dtype=torch.float64), "z": torch.rand(5, 4, dtype=torch.float64)}
    bound = machine().bind({}, like=values)
    monkeypatch.setattr("ebm.infer.slope.product_with", None)
    for variable in values:
        slope_in(bound, variable, values)


def test_a_term_of_weight_zero_counts_for_nothing() -> None:
    model = energy(lambda y: (y**2).sum(1)) + 0.0 * cross
    values = {"y": torch.ones(2, 4)}
    value, slope = slope_in(model.bind({"z": torch.ones(2, 4)}), "y", values)
    assert value.tolist() == [4.0, 4.0] and slope.tolist() == [[2.0] * 4] * 2
