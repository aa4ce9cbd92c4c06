"""JEPA in its forms: the energy, where gradients flow, which latents explain everything, collapse."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy, marginal_over, min_over, minimize
from ebm.infer import FISTA, LBFGS, Enumerate
from ebm.infer.starts import Zeros
from ebm.jepa import JEPA, Prediction
from ebm.joint import EMA, CosineDistance, OnCodes, Shared, StopGradient, VICReg
from ebm.loss import AverageEnergy, Loss
from ebm.measure import code_report
from ebm.nets.mlp import mlp
from ebm.nodes import Finite, Importance
from ebm.regularizers import L1

B, D, S = 5, 4, 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


X, Y, Z, ACT = randn(B, D), randn(B, D, seed=1), randn(B, S, seed=2), randn(B, S, seed=3)


class Told(nn.Module):
    """s + z - 2a: says which condition came where."""

    def forward(self, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        return s + z - 2 * a


class Add(nn.Module):
    def forward(self, s: Tensor, z: Tensor) -> Tensor:
        return s + z


def encoder(seed: int = 0) -> nn.Sequential:
    return mlp(D, 6, S, activation=nn.Tanh, generator=seeded(seed)).double()


# The forms --------------------------------------------------------------------------------------------------


def test_joint_embedding_and_deterministic_prediction():
    f, p, t = encoder(), nn.Linear(S, S).double(), encoder(1)
    assert torch.allclose(JEPA(f, nn.Identity())(x=X, y=Y), (f(X) - f(Y)).square().sum(1))
    assert torch.allclose(JEPA(f, p, t)(x=X, y=Y), (p(f(X)) - t(Y)).square().sum(1))
    cosine = 1 - torch.cosine_similarity(p(f(X)), f(Y), dim=1)
    assert torch.allclose(JEPA(f, p, pair=CosineDistance())(x=X, y=Y), cosine)


def test_conditions_come_in_their_order():
    f = encoder()
    for names, z, a in ((("z", "a"), Z, ACT), (("a", "z"), ACT, Z)):
        E = JEPA(f, Told(), conditions=names)
        assert set(E.variables) == {"x", "y", "z", "a"}
        assert torch.allclose(E(x=X, y=Y, z=Z, a=ACT), (f(X) + z - 2 * a - f(Y)).square().sum(1))
        inner = Prediction(Told(), names)
        assert inner.variables == ("s_x", *names, "s_y")
        assert torch.allclose(inner(s_x=f(X), s_y=f(Y), z=Z, a=ACT), E(x=X, y=Y, z=Z, a=ACT))


def test_a_prediction_refuses_what_does_not_fit():
    for pair in (nn.MSELoss(), L1("z")):
        with pytest.raises(TypeError, match="an energy of s_x and s_y"):
            Prediction(nn.Identity(), pair=pair)
    for names in (("z", "z"), ("s_x",), ("s_y", "a")):
        with pytest.raises(ValueError, match="names of their own"):
            Prediction(nn.Identity(), names)
    with pytest.raises(TypeError, match="z"):
        JEPA(encoder(), Add(), conditions=("z",))(x=X, y=Y)


def test_a_discrete_latent_is_minimized_swept_or_averaged():
    f, values = encoder(), randn(7, S, seed=4)
    E = JEPA(f, Add(), conditions=("z",))
    table = torch.stack([(f(X) + v - f(Y)).square().sum(1) for v in values], 1)
    F = min_over(E, "z", Enumerate(values), Zeros(S))
    assert torch.allclose(F(x=X, y=Y), table.min(1).values)
    assert torch.equal(F.solve(x=X, y=Y).value, values[table.argmin(1)])
    for beta in (0.3, 5.0):
        soft = marginal_over(E, "z", beta, by=Finite(values))
        expected = -(torch.logsumexp(-beta * table, 1) - math.log(7)) / beta
        assert torch.allclose(soft(x=X, y=Y), expected)
        assert torch.allclose(soft.posterior(x=X, y=Y).probability, (-beta * table).softmax(1))


def test_a_sparse_latent_is_a_soft_threshold():
    f, weight = encoder(), 0.7
    E = JEPA(f, Add(), conditions=("z",)) + weight * L1("z")
    found = minimize(E, {"z": torch.zeros(B, S).double()}, FISTA(), given={"x": X, "y": Y}, tol=1e-10)
    gap = (f(Y) - f(X)).detach()
    expected = gap.sign() * (gap.abs() - weight / 2).clamp(min=0)
    assert torch.allclose(found.value["z"], expected, atol=1e-8) and (expected == 0).any()
    huber = torch.where(gap.abs() > weight / 2, weight * gap.abs() - weight**2 / 4, gap.square()).sum(1)
    assert torch.allclose(found.energy, huber)


def test_a_noisy_latent_is_marginalized_in_closed_form():
    # z ~ N(0, 1): E exp(-β (d - z)²) = (1 + 2β)^-½ exp(-β d² / (1 + 2β))
    beta, n = 0.8, 20000
    E = JEPA(nn.Identity(), Add(), conditions=("z",))
    d = torch.tensor([[0.0], [1.0], [-2.0]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    F = marginal_over(E, "z", beta, by=Importance(n, 0 * one, one, normalized=True))
    torch.manual_seed(0)
    found = F(x=torch.zeros_like(d), y=d)
    square = d[:, 0] ** 2
    expected = square / (1 + 2 * beta) + math.log(1 + 2 * beta) / (2 * beta)
    first = (1 + 2 * beta) ** -0.5 * torch.exp(-beta * square / (1 + 2 * beta))
    second = (1 + 4 * beta) ** -0.5 * torch.exp(-2 * beta * square / (1 + 4 * beta))
    error = (second / first**2 - 1).sqrt() / n**0.5 / beta
    assert ((found - expected).abs() < 4 * error).all() and (error < 0.02).all()


# How much a latent may know ---------------------------------------------------------------------------------


def test_a_latent_that_is_too_rich_explains_everything_and_a_discrete_one_does_not():
    f = nn.Identity()
    x, steps = randn(40, 2, seed=5), torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    data = x + steps[torch.arange(40) % 2]
    anything = 3 * randn(40, 2, seed=6)
    E = JEPA(f, Add(), conditions=("z",))
    rich = min_over(E, "z", LBFGS(), Zeros(2), tol=1e-10)
    limited = min_over(E, "z", Enumerate(steps), Zeros(2))
    for y in (data, anything):
        assert rich(x=x, y=y).max() < 1e-12  # flat: no y is worse than another
    assert limited(x=x, y=data).abs().max() < 1e-12
    off = torch.minimum(*((x + step - anything).square().sum(1) for step in steps))
    assert torch.allclose(limited(x=x, y=anything), off) and off.median() > 1


# Targets ----------------------------------------------------------------------------------------------------


def gradients(E: Energy, f: nn.Module) -> list[Tensor]:
    f.zero_grad()
    E(x=X, y=Y).mean().backward()
    return [p.grad.clone() for p in f.parameters()]


def by_hand(f: nn.Module, p: nn.Module, target: Tensor) -> list[Tensor]:
    loss = (p(f(X)) - target).square().sum(1).mean()
    return list(torch.autograd.grad(loss, list(f.parameters())))


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.allclose(x, y, atol=1e-12) for x, y in zip(a, b, strict=True))


def test_gradients_flow_as_the_target_promises():
    f, p = encoder(), nn.Linear(S, S).double()
    both, one = by_hand(f, p, f(Y)), by_hand(f, p, f(Y).detach())
    assert not equal(both, one)
    assert equal(gradients(JEPA(f, p), f), both) and equal(gradients(JEPA(f, p, Shared(f)), f), both)
    assert equal(gradients(JEPA(f, p, StopGradient(f)), f), one)
    slow = EMA(f, 0.9)
    E = JEPA(f, p, slow)
    for parameter in f.parameters():
        parameter.data.add_(0.1)
    behind = slow(Y)
    assert not torch.allclose(behind, f(Y))
    assert equal(gradients(E, f), by_hand(f, p, behind))
    assert all(q.grad is None and not q.requires_grad for q in slow.target.parameters())
    before = [q.clone() for q in slow.target.parameters()]
    slow.update(1, 10)
    for old, now, ahead in zip(before, slow.target.parameters(), f.parameters(), strict=True):
        assert torch.allclose(now, 0.9 * old + 0.1 * ahead)


def test_a_target_without_gradients_is_still_a_function_of_y():
    f, p = encoder(), nn.Linear(S, S).double()
    for target in (StopGradient(f), EMA(f, 0.9), Shared(f)):
        y = Y.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(JEPA(f, p, target)(x=X, y=y).sum(), y)
        z = Y.clone().requires_grad_()
        (expected,) = torch.autograd.grad((p(f(X)) - f(z)).square().sum(), z)
        assert torch.allclose(gradient, expected)


def test_codes_for_a_criterion_come_from_the_same_pass():
    f, calls = encoder(), []
    f.register_forward_hook(lambda *_: calls.append(1))
    E = JEPA(f, nn.Linear(S, S).double())
    loss = OnCodes(VICReg(), "s_x", "s_y")(E, x=X, y=Y).loss
    assert len(calls) == 2  # one for x, one for y
    assert torch.allclose(loss, VICReg()(f(X), f(Y)).loss)


# Collapse ---------------------------------------------------------------------------------------------------


def bouncing(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """A ball in a box [0, 1], seen as 8 pixels, now and a step later, and the step that it was given."""
    g = seeded(9)
    p = torch.rand(n, 1, generator=g)
    a = 0.3 * (2 * torch.rand(n, 1, generator=g) - 1)
    q = p + a
    q = torch.where(q > 1, 2 - q, q.abs())
    pixels = torch.linspace(0, 1, 8)
    x, y = (torch.exp(-((each - pixels) ** 2) / 0.02) for each in (p, q))
    return x, y, a


def trained(regularized: bool) -> tuple[str, float, float]:
    """The verdict on the codes, the energy of what followed, and that of what followed elsewhere."""
    x, y, a = bouncing(128)
    f = mlp(8, 32, 4, activation=nn.SiLU, generator=seeded(1))
    h = mlp(5, 32, 4, activation=nn.SiLU, generator=seeded(2))

    class Predictor(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = h

        def forward(self, s: Tensor, a: Tensor) -> Tensor:
            return self.network(torch.cat([s, a], 1))

    E = JEPA(f, Predictor(), conditions=("a",))
    loss: Loss = AverageEnergy()
    if regularized:
        loss = 5.0 * loss + OnCodes(VICReg(0.0, 25.0, 25.0), "s_x", "s_y")
    optimizer = torch.optim.Adam(E.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        loss(E, x=x, y=y, a=a).loss.backward()
        optimizer.step()
    with torch.no_grad():
        on, off = E(x=x, y=y, a=a).mean(), E(x=x, y=y.roll(1, 0), a=a).mean()
        return code_report(f(x), scale=2.0).verdict, float(on), float(off)


def test_prediction_alone_collapses_and_a_criterion_prevents_it():
    verdict, on, off = trained(regularized=False)
    assert verdict == "complete collapse" and off < 0.01  # low everywhere: what follows can't be told
    verdict, on, off = trained(regularized=True)
    assert verdict == "alive" and off > 1 and on < 0.2 * off
