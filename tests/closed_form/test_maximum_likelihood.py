"""Maximum likelihood against enumeration, cross-entropy and closed forms."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ebm import Energy, energy
from ebm.contrastive import MaximumLikelihood
from ebm.nodes import AllChoices, Finite, Grid
from ebm.targets import Gaussian
from ebm.testing.loss_problem import Ellipsoid

DOUBLE = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


class Spins(Energy):
    """E(y) = -yᵀWy - bᵀy over y in {0, 1}^D."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.coupling, self.bias = nn.Parameter(draw(dim, dim)), nn.Parameter(draw(dim, seed=1))

    def forward(self, y: Tensor) -> Tensor:
        s = y.to(DOUBLE)
        return -(s @ self.coupling * s).sum(1) - s @ self.bias


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_all_states_of_discrete_data(beta: float) -> None:
    model, y = Spins(4), torch.tensor([[0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]])
    states = torch.tensor(list(itertools.product([0, 1], repeat=4)))
    output = MaximumLikelihood(AllChoices(2, 4, normalized=False), beta=beta)(model, y=y)
    with torch.no_grad():
        log_z = (-beta * model(y=states)).logsumexp(0)
        p = (-beta * model(y=states) - log_z).exp()
    torch.testing.assert_close(output.loss.detach(), beta * model(y=y).mean().detach() + log_z)
    torch.testing.assert_close(output.terms["log Z"], log_z)
    torch.testing.assert_close(output.terms["energy off data"], (p * model(y=states)).sum().detach())
    # ⟨∇E⟩_data - ⟨∇E⟩_model
    gap = beta * (model(y=y).mean() - (p * model(y=states)).sum())
    parameters = list(model.parameters())
    expected, found = (torch.autograd.grad(each, parameters) for each in (gap, output.loss))
    for came, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(came, wanted)


def test_given_x_it_is_the_cross_entropy_of_a_classifier() -> None:
    network = nn.Linear(3, 5, dtype=DOUBLE)

    class Classifier(Energy):
        """E(x, y) = -logit_y(x)."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return -self.network(x).gather(1, y.unsqueeze(1)).squeeze(1)

    x, y = draw(7, 3), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    loss = MaximumLikelihood(Finite(torch.arange(5), normalized=False))(Classifier(), x=x, y=y).loss
    torch.testing.assert_close(loss, cross_entropy(network(x), y))
    # normalized nodes measure p against the uniform distribution
    loss = MaximumLikelihood(Finite(torch.arange(5)))(Classifier(), x=x, y=y).loss
    torch.testing.assert_close(loss, cross_entropy(network(x), y) - math.log(5))


@pytest.mark.parametrize("dim", [1, 2])
def test_a_grid_is_the_closed_form(dim: int) -> None:
    model, y = Ellipsoid(dim), draw(6, dim)
    with torch.no_grad():
        model.theta.copy_(torch.linspace(0.8, 2.0, dim))
    by = Grid([-9.0] * dim, [9.0] * dim, 80, normalized=False)
    summed, closed = MaximumLikelihood(by)(model, y=y), MaximumLikelihood()(model, y=y)
    torch.testing.assert_close(summed.loss, closed.loss, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(each.loss, model.theta)[0] for each in (summed, closed)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)
    # ½ ⟨(qᵀy)²⟩ - ½/θ
    exact = 0.5 * (y @ model.axes).square().mean(0) - 0.5 / model.theta.detach()
    torch.testing.assert_close(gradients[1], exact)
    torch.testing.assert_close(summed.terms["energy off data"], torch.tensor(0.5 * dim, dtype=DOUBLE))


def test_states_of_infinite_energy_have_no_mass() -> None:
    wall = energy(lambda y: torch.where(y[:, 0] == 2, torch.inf, y[:, 0].double()))
    output = MaximumLikelihood(AllChoices(3, 1, normalized=False))(wall, y=torch.tensor([[0], [1]]))
    torch.testing.assert_close(output.terms["log Z"], torch.tensor(math.log(1 + math.exp(-1)), dtype=DOUBLE))
    torch.testing.assert_close(output.terms["energy off data"], torch.tensor(1 / (1 + math.e), dtype=DOUBLE))


def test_says_what_is_missing() -> None:
    y = draw(3, 1)
    with pytest.raises(TypeError, match=r"no closed-form `log_z`.*MaximumLikelihood\(Grid"):
        MaximumLikelihood()(energy(lambda y: y.sum(1)), y=y)

    class Frozen(Ellipsoid):
        log_z = 1.0  # type: ignore[assignment]

    with pytest.raises(TypeError, match="has no gradient, so half of the likelihood's would be missing"):
        MaximumLikelihood()(Frozen(1), y=y)
    target = Gaussian(torch.zeros(1, dtype=DOUBLE))  # nothing to learn: a number will do
    expected = -torch.distributions.Normal(0.0, 1.0).log_prob(y).mean()
    torch.testing.assert_close(MaximumLikelihood()(target, y=y).loss, expected)
    with pytest.raises(ValueError, match=r"nodes of `by` have shape \(2,\).*\(1,\)"):
        MaximumLikelihood(Grid([-1.0, -1.0], [1.0, 1.0], 4))(energy(lambda y: y.sum(1)), y=y)
    with pytest.raises(TypeError, match="AllChoices, Finite or Grid"):
        MaximumLikelihood(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="that of β = 1"):
        MaximumLikelihood(beta=2.0)
