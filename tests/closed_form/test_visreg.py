"""VISReg against its equations, with the directions that it draws."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ebm.joint import VISReg, slices
from ebm.joint.slices import directions
from ebm.measure.codes import CollapseWarning

DOUBLE = torch.float64
SHAPE_OF_ZEROS = 0.56994718  # the mean square of Φ⁻¹(b/9), b = 1 ... 8


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reference(
    views: list[Tensor], along: Tensor, weights: tuple[float, float, float, float], number: int
) -> Tensor:
    """(1-λ) inv + λ (w_s scale + w_h shape + w_c center), view by view."""
    of_all, scale, shape, center = weights
    rows, regularizer = len(views[0]), torch.zeros((), dtype=DOUBLE)
    quantiles = torch.tensor([scipy.stats.norm.ppf(b / (rows + 1)) for b in range(1, rows + 1)])
    for z in views:
        mean = z.sum(0) / rows
        std = (((z - mean) ** 2).sum(0) / rows).sqrt()
        projected = ((z - mean) / std.detach()) @ along
        order = projected.detach().argsort(0)
        apart = projected.gather(0, order) - quantiles[:, None]
        parts = scale * ((std - 1) ** 2).mean() + shape * (apart**2).mean() + center * (mean**2).mean()
        regularizer = regularizer + parts / len(views)
    middle = torch.stack(views[:number]).mean(0)
    invariance = torch.stack([(z - middle) ** 2 for z in views]).mean()
    return (1 - of_all) * invariance + of_all * regularizer


@pytest.mark.parametrize("block", [1, 30, 2**17])
@pytest.mark.parametrize(("number", "global_views"), [(1, None), (3, None), (4, 2)])
def test_value_and_gradient_are_those_of_the_equations(
    number: int, global_views: int | None, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "BLOCK", block)
    along, found = directions(17, draw(8, 5), seeded()), []
    criterion = VISReg(17, weight=0.7, scale=0.5, shape=2.0, center=3.0, global_views=global_views)
    for function in (
        lambda *z: criterion(*z, generator=seeded()).loss,
        lambda *z: reference(list(z), along, (0.7, 0.5, 2.0, 3.0), global_views or number),
    ):
        views = [(1.5 * draw(8, 5, seed=s) + 0.2).requires_grad_() for s in range(number)]
        loss = function(*views)
        found.append([loss.detach(), *torch.autograd.grad(loss, views)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_the_defaults_are_the_papers() -> None:
    views = [draw(8, 5, seed=s) for s in range(2)]
    expected = reference(views, directions(4096, views[0], seeded()), (0.9, 1.0, 1.0, 1.0), 2)
    torch.testing.assert_close(VISReg()(*views, generator=seeded()).loss, expected, rtol=1e-10, atol=0)


def test_collapsed_codes() -> None:
    with pytest.warns(CollapseWarning):
        output = VISReg(slices=16, weight=1.0)(torch.zeros(8, 5, dtype=DOUBLE))
    assert float(output.loss) == pytest.approx((1 - 1e-6) ** 2 + SHAPE_OF_ZEROS, abs=1e-8)
    assert float(output.terms["center"]) == 0.0
    with pytest.warns(CollapseWarning):
        moved = VISReg(slices=16, weight=1.0)(torch.full((8, 5), 3.0, dtype=DOUBLE))
    assert float(moved.loss - output.loss) == pytest.approx(9.0, abs=1e-8)


def test_codes_that_nearly_collapsed_are_pulled_apart_with_full_force() -> None:
    """∂ scale/∂z = 2 (σ - 1) (z - μ)/(B D σ): as long as the codes differ at all, of the same length."""
    lengths = []
    for size in (1e-1, 1e-3, 1e-5):
        z = (size * draw(8, 5)).requires_grad_()
        loss = VISReg(weight=1.0, shape=0.0, center=0.0, slices=4)(z).loss
        lengths.append(float(torch.autograd.grad(loss, z)[0].norm()))
    assert lengths == pytest.approx([2 / (8 * 5) ** 0.5] * 3, rel=0.15)  # (1 - σ) is 0.9 and more
    assert lengths[2] > lengths[1] > lengths[0]


@given(seed=st.integers(0, 10**6))
def test_what_changes_nothing(seed: int) -> None:
    """The order of the examples; and for the shape, the place and the width of every dimension."""
    views = [draw(8, 5, seed=seed), draw(8, 5, seed=seed + 1)]
    order = torch.randperm(8, generator=seeded(seed))
    expected = VISReg(slices=16)(*views, generator=seeded())
    came = VISReg(slices=16)(*(z[order] for z in views), generator=seeded())
    torch.testing.assert_close(came.loss, expected.loss, rtol=1e-10, atol=1e-12)
    stretched = VISReg(slices=16)(*(z * torch.arange(1, 6) + 7 for z in views), generator=seeded())
    torch.testing.assert_close(stretched.terms["shape"], expected.terms["shape"], rtol=1e-9, atol=1e-12)
