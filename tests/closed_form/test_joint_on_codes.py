"""Pairs of codes as energies, criteria as losses, views inside a loss; and what a criterion refuses."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy, energy, minimize
from ebm.binder import Binder
from ebm.infer import LBFGS
from ebm.joint import (
    CosineDistance,
    Criterion,
    CrossEntropy,
    NTXent,
    OnCodes,
    OnViews,
    SIGReg,
    SquaredDistance,
    VICReg,
)
from ebm.loss import AverageEnergy, LossOutput
from ebm.measure.codes import CollapseWarning
from ebm.testing import check_energy
from ebm.views import GaussianNoise, Views


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Spread(Criterion):
    """The mean squared distance of two views, less their standard deviation."""

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        x, y = codes
        near, far = (x - y).square().sum(1).mean(), x.std()
        return LossOutput(near - far, {"near": near.detach(), "far": far.detach()})


@pytest.mark.parametrize("pair", [SquaredDistance(), CosineDistance(), CrossEntropy(0.5, 0.2)])
def test_pairs_keep_the_contract_of_energies(pair: Energy):
    check_energy(pair.double(), {"s_x": draw(5, 4), "s_y": draw(5, 4, seed=1)})


def test_pairs_against_their_formulas():
    x, y, center = draw(6, 3), draw(6, 3, seed=1), draw(3, seed=2)
    near = torch.stack([((a - b) ** 2).sum() for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(SquaredDistance()(s_x=x, s_y=y), near)
    unit_x, unit_y = x / x.norm(dim=1, keepdim=True), y / y.norm(dim=1, keepdim=True)
    torch.testing.assert_close(CosineDistance()(s_x=x, s_y=y), 0.5 * (unit_x - unit_y).square().sum(1))
    q = ((y - center) / 0.3).exp() / ((y - center) / 0.3).exp().sum(1, keepdim=True)
    p = (x / 0.7).exp() / (x / 0.7).exp().sum(1, keepdim=True)
    torch.testing.assert_close(CrossEntropy(0.7, 0.3, center)(s_x=x, s_y=y), -(q * p.log()).sum(1))
    uniform = CrossEntropy()(s_x=torch.zeros(1, 5), s_y=torch.zeros(1, 5))
    assert uniform.item() == pytest.approx(math.log(5))
    with pytest.raises(ValueError, match=r"temperatures are positive; got 0\.0 and 1\.0"):
        CrossEntropy(0.0)


def test_the_energy_of_a_joint_embedding_is_minimized_where_the_codes_meet():
    encoder = nn.Linear(3, 2, bias=False).double().requires_grad_(False)
    x = draw(4, 3)
    E = VICReg().energy.compose(s_x=(encoder, "x"), s_y=(encoder, "y"))
    solution = minimize(E, draw(4, 3, seed=1), LBFGS(), given={"x": x}, tol=1e-9)
    assert solution.converged.all()
    torch.testing.assert_close(encoder(solution.value), encoder(x), atol=1e-8, rtol=0)


def test_on_codes_is_the_criterion_of_the_energys_own_codes():
    encoder = nn.Linear(3, 2).double()
    calls = []
    encoder.register_forward_hook(lambda *_: calls.append(1))
    E = SquaredDistance().compose(s_x=(encoder, "x"), s_y=(encoder, "y"))
    x, y = draw(8, 3), draw(8, 3, seed=1)
    output = (2.0 * OnCodes(Spread()))(E, x=x, y=y)
    assert len(calls) == 2  # each view once, though both the energy and the criterion see it
    direct = Spread()(encoder(x), encoder(y))
    torch.testing.assert_close(output.loss, 2.0 * direct.loss)
    torch.testing.assert_close(output.terms["energy on data"], E(x=x, y=y).mean().detach())
    assert output.terms["Spread near"] == direct.terms["near"]
    ours = torch.autograd.grad(output.loss, encoder.weight)[0]
    torch.testing.assert_close(ours, 2.0 * torch.autograd.grad(direct.loss, encoder.weight)[0])


def test_what_a_criterion_draws_comes_from_the_generator():
    E = SquaredDistance().compose(s_x=(nn.Tanh(), "x"), s_y=(nn.Tanh(), "y"))
    x, y = draw(8, 3), draw(8, 3, seed=1)
    ours, source = (torch.Generator().manual_seed(4) for _ in range(2))
    output, direct = OnCodes(SIGReg())(E, ours, x=x, y=y), SIGReg()(x.tanh(), y.tanh(), generator=source)
    assert torch.equal(output.loss, direct.loss) and torch.equal(ours.get_state(), source.get_state())
    assert not torch.equal(ours.get_state(), torch.Generator().manual_seed(4).get_state())  # it does draw


def test_what_an_energy_draws_comes_from_the_generator():
    drawn = []

    class Random(SquaredDistance):
        def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
            drawn.append(binder.generator)
            return {}

    E, source = Random().compose(s_x=(nn.Tanh(), "x"), s_y=(nn.Tanh(), "y")), torch.Generator()
    OnCodes(Spread())(E, source, x=draw(8, 3), y=draw(8, 3, seed=1))
    assert drawn == [source]


class Twice(nn.Module):
    """Codes that are no tensor."""

    def forward(self, v: Tensor) -> tuple[Tensor, Tensor]:
        return v, v


def test_on_codes_says_what_is_missing():
    E = SquaredDistance().compose(s_x=(nn.Identity(), "x"), s_y=(nn.Identity(), "y"))
    with pytest.raises(TypeError, match=r"no term .* has a variable 'z_x'; its terms have s_x, s_y"):
        OnCodes(Spread(), "z_x", "s_y")(E, x=draw(4, 2), y=draw(4, 2))
    with pytest.raises(TypeError, match=r"OnCodes lifts a criterion such as VICReg\(\); got AverageEnergy"):
        OnCodes(AverageEnergy())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"'y' is missing"):
        OnCodes(Spread())(E, x=draw(4, 2))
    twice = SquaredDistance().compose(s_x=(Twice(), "x"), s_y=(nn.Identity(), "y"))
    with pytest.raises(TypeError, match="codes are tensors; 's_x' is a tuple"):
        OnCodes(Spread())(twice, x=draw(4, 2), y=draw(4, 2))
    both = E + SquaredDistance().compose(s_x=(nn.Tanh(), "x"), s_y=(nn.Identity(), "y"))
    with pytest.raises(ValueError, match="'s_x' means different things in different terms"):
        OnCodes(Spread())(both, x=draw(4, 2), y=draw(4, 2))


def test_views_are_drawn_anew_for_each_variable_from_the_generator():
    E = SquaredDistance().compose(s_x=(nn.Identity(), "x"), s_y=(nn.Identity(), "y"))
    noise = GaussianNoise(0.5)
    loss = OnViews(AverageEnergy(), Views(noise, noise))
    image = draw(4000, 3)
    first, again = (loss(E, torch.Generator().manual_seed(0), image=image).loss for _ in range(2))
    assert torch.equal(first, again)
    # x - y is N(0, 2 · 0.25) in each of 3 coordinates: the mean square is 1.5, its variance 2 · 3 · 0.25
    assert abs(first - 1.5) < 4 * math.sqrt(2 * 3 * 0.25 / 4000)
    seed = torch.Generator().manual_seed(1)
    x, y = noise(image, seed).value, noise(image, seed).value
    expected = E(x=x, y=y).mean()
    torch.testing.assert_close(loss(E, torch.Generator().manual_seed(1), image=image).loss, expected)
    assert list((loss + loss)(E, image=image).terms)[::2] == ["AverageEnergy", "AverageEnergy_2"]
    with pytest.raises(TypeError, match=r"makes views of 'image', a tensor .*; the data holds x"):
        loss(E, x=image)
    with pytest.raises(ValueError, match="'x' is made of 'image' and cannot come with the data"):
        loss(E, image=image, x=image)
    with pytest.raises(TypeError, match=r"views are `Views` of ebm.views.*; got <ebm.*GaussianNoise"):
        OnViews(AverageEnergy(), noise)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"there are 2 views, so as many names are needed; got \('x',\)"):
        OnViews(AverageEnergy(), Views(noise, noise), names=("x",))
    with pytest.raises(ValueError, match=r"each name stands for one thing; got \['x', 'y', 'x'\]"):
        OnViews(AverageEnergy(), Views(noise, noise), also={"x": len})


def test_a_loss_can_be_told_what_happened_between_two_views() -> None:
    """An energy that knows the noise of both views predicts one from the other without error."""

    @energy
    def told(x: Tensor, y: Tensor, between: Tensor) -> Tensor:
        return (x + between - y).square().sum(1)

    noise = GaussianNoise(0.5)
    loss = OnViews(
        AverageEnergy(),
        Views(noise, noise),
        also={"between": lambda views: views[1].value - views[0].value},
    )
    assert loss(told, torch.Generator().manual_seed(0), image=draw(40, 3)).loss < 1e-28


GOOD = draw(4, 2)
REFUSED = {
    "one view": (lambda: Spread()(GOOD), ValueError, "Spread takes the codes of 2 views; got 1"),
    "no view": (lambda: SIGReg()(), ValueError, "SIGReg takes the codes of 1 or more views; got 0"),
    "integers": (
        lambda: Spread()(GOOD.long(), GOOD),
        TypeError,
        "floating-point .*; got torch.int64",
    ),
    "maps": (
        lambda: Spread()(draw(4, 2, 2), draw(4, 2, 2)),
        ValueError,
        r"codes \(N, D\), .*; got shape \(4, 2, 2\)",
    ),
    "rows that differ": (
        lambda: Spread()(GOOD, draw(3, 2)),
        ValueError,
        r"row i of all .* same example; got .*\(3, 2\)",
    ),
    "dtypes that differ": (lambda: Spread()(GOOD, GOOD.float()), ValueError, "one shape, dtype and device"),
    "a batch of one": (
        lambda: Spread()(GOOD[:1], GOOD[:1]),
        ValueError,
        "needs 2 rows or more; got 1",
    ),
    "NaN": (
        lambda: Spread()(GOOD, GOOD.index_fill(0, torch.tensor([2]), torch.nan)),
        ValueError,
        r"codes of view 1 hold NaN or infinity in 1 rows, \[2\]",
    ),
    "overflow": (
        lambda: Spread()(1e200 * GOOD, -1e200 * GOOD),
        ValueError,
        "codes that are finite: they are too large",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_criterion_refuses(mistake: str):
    make, kind, words = REFUSED[mistake]
    with pytest.raises(kind, match=words):
        make()


def test_constant_codes_are_named_a_collapse():
    with pytest.warns(CollapseWarning, match=r"VICReg: all 4 codes of view 0 are .* \(complete collapse\)"):
        VICReg()(torch.ones(4, 3), torch.ones(4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NTXent()(GOOD, GOOD.flip(0))
        first_is_last = torch.cat([GOOD, GOOD[:1]])
        VICReg()(first_is_last, first_is_last)
