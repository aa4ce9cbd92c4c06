"""SIGReg against its equation, in blocks of any size, with directions that can be drawn again."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ebm.joint import SIGReg, slices
from ebm.joint.slices import directions, sliced
from ebm.measure.codes import CollapseWarning

DOUBLE = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def epps_pulley(x: Tensor) -> Tensor:
    """The official package's: 17 knots on [0, 3], weights 2 dt inside and dt at both ends, times N."""
    t = torch.linspace(0, 3, 17, dtype=DOUBLE)
    weights = torch.full((17,), 2 * 3 / 16, dtype=DOUBLE)
    weights[[0, -1]] = 3 / 16
    normal = torch.exp(-t.square() / 2)
    angles = x[..., None] * t  # (N, M, 17)
    errors = (angles.cos().mean(0) - normal) ** 2 + angles.sin().mean(0) ** 2
    return len(x) * (errors * weights * normal).sum(-1)


def reference(views: list[Tensor], along: Tensor, weight: float, number: int) -> Tensor:
    """(1 - λ) mean (z - center)² + λ mean_{v,m} T, with the official 17 knots on [0, 3]."""
    center = torch.stack(views[:number]).mean(0)
    invariance = torch.stack([(z - center) ** 2 for z in views]).mean()
    normality = torch.stack([epps_pulley(z @ along) for z in views]).mean()
    return (1 - weight) * invariance + weight * normality


@pytest.mark.parametrize("block", [1, 40, 2**17])
@pytest.mark.parametrize(("number", "global_views"), [(1, None), (2, None), (4, 2)])
def test_value_and_gradient_are_those_of_the_equation(
    number: int, global_views: int | None, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of projections that are worked on at a time."""
    monkeypatch.setattr(slices, "BLOCK", block)
    along = directions(21, draw(9, 5), torch.Generator().manual_seed(3))
    found = []
    for function in (
        lambda *z: (
            SIGReg(slices=21, weight=0.3, global_views=global_views)(
                *z, generator=torch.Generator().manual_seed(3)
            ).loss
        ),
        lambda *z: reference(list(z), along, 0.3, global_views or number),
    ):
        views = [(1.5 * draw(9, 5, seed=s)).requires_grad_() for s in range(number)]
        loss = function(*views)
        found.append([loss.detach(), *torch.autograd.grad(loss, views)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_only_views_that_want_a_gradient_get_one() -> None:
    x, y = draw(9, 5).requires_grad_(), draw(9, 5, seed=1)
    (gradient,) = torch.autograd.grad(SIGReg(slices=8)(y, x, generator=torch.Generator()).loss, x)
    z = y.clone().requires_grad_()
    loss = SIGReg(slices=8)(z, x, generator=torch.Generator()).loss
    assert torch.equal(gradient, torch.autograd.grad(loss, x)[0])


def test_directions_are_units_drawn_anew_and_again_from_a_seed() -> None:
    generator, like = torch.Generator().manual_seed(0), draw(2, 3)
    first, second = directions(2000, like, generator), directions(2000, like, generator)
    torch.testing.assert_close(first.norm(dim=0), torch.ones(2000, dtype=DOUBLE), rtol=1e-12, atol=0)
    assert float((first - second).abs().min()) > 0
    again = directions(2000, like.float(), generator.manual_seed(0))
    torch.testing.assert_close(first.float(), again, rtol=1e-6, atol=1e-7)  # float32 meets the same
    # uniform on the sphere: coordinates of mean 0, variance 1/3; their squares have variance 4/45
    spread = float((first.square().mean(1) - 1 / 3).abs().max())
    assert float(first.mean(1).abs().max()) < 4 * math.sqrt(1 / 3 / 2000)
    assert spread < 4 * math.sqrt(4 / 45 / 2000)


def test_collapse_and_one_view() -> None:
    z = torch.zeros(32, 4, dtype=DOUBLE)
    with pytest.warns(CollapseWarning):
        output = SIGReg(slices=8, weight=0.1)(z)
    assert float(output.terms["normality"]) == pytest.approx(32 * 0.40204758, abs=1e-6)
    assert float(output.loss) == pytest.approx(0.1 * 32 * 0.40204758, abs=1e-7)
    assert float(output.terms["invariance"]) == 0.0


def test_float32_keeps_six_digits() -> None:
    x = (1.3 * draw(256, 64)).requires_grad_()
    found = []
    for z in (x, x.detach().float().requires_grad_()):
        loss = SIGReg(slices=256, weight=1.0)(z, generator=torch.Generator().manual_seed(0)).loss
        found.append((float(loss.detach()), torch.autograd.grad(loss, z)[0].double()))
    (value, gradient), (single, of_single) = found
    assert abs(single / value - 1) < 1e-6
    assert float((of_single - gradient).norm() / gradient.norm()) < 1e-5


def test_slicing_by_hand() -> None:
    """The mean square of projections, whose gradient is known."""
    z, along = draw(9, 5).requires_grad_(), directions(7, draw(9, 5), torch.Generator())
    mean = sliced(lambda x: x.square().mean(0), [z, 2 * z], along)
    expected = 2.5 * (z.detach() @ along).square().mean()
    torch.testing.assert_close(mean.detach(), expected, rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(mean, z)
    torch.testing.assert_close(gradient, 5 * z.detach() @ along @ along.T / (9 * 7), rtol=1e-12, atol=1e-14)


def test_normal_codes_cost_as_much_as_normal_numbers() -> None:
    """1.0525 on average, whatever N and D."""
    generator, criterion = torch.Generator().manual_seed(0), SIGReg(slices=8, weight=1.0)
    found = torch.tensor(
        [float(criterion(draw(20, 6, seed=s), generator=generator).loss) for s in range(400)]
    )
    assert abs(float(found.mean()) - 1.05246415) < 4 * float(found.std()) / 20


def test_codes_that_are_not_normal_cost_more() -> None:
    """Codes that are wider, confined to a plane, or on the corners of a cube."""
    z = draw(512, 8)
    plane, cube = z * torch.tensor([1.0] * 2 + [0.0] * 6, dtype=DOUBLE), z.sign()
    found = [
        float(SIGReg(slices=512, weight=1.0)(codes, generator=torch.Generator()).loss)
        for codes in (z, 1.5 * z, plane, cube)
    ]
    assert found[0] == min(found)
