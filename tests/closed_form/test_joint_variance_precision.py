"""VICReg, its variants and Barlow Twins: precision, half precision and autocast, layouts, errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm.joint import BarlowTwins, Criterion, VICReg, VICRegCtr, VICRegExp

DOUBLE = torch.float64
CRITERIA: dict[str, Criterion] = {
    "VICReg": VICReg(),
    "VICRegExp": VICRegExp(temperature=0.5),
    "VICRegCtr": VICRegCtr(temperature=0.5),
    "BarlowTwins": BarlowTwins(),
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    z, mix = (torch.randn(n, shape[-1], generator=generator, dtype=DOUBLE) for n in shape[-2:])
    return z @ mix / shape[-1] ** 0.5 + torch.randn(shape[-1], generator=generator, dtype=DOUBLE)


def two_views(n: int, d: int) -> tuple[Tensor, Tensor]:
    return draw(n, d), draw(n, d) + 0.3 * draw(n, d, seed=1)


@pytest.mark.parametrize("shape", [(64, 512), (512, 64)])
@pytest.mark.parametrize("name", CRITERIA)
def test_single_precision(name: str, shape: tuple[int, int]) -> None:
    criterion = CRITERIA[name]
    bound = 1e-5 if name == "BarlowTwins" else 1e-6  # what is along the codes cancels in its gradient
    x, y = (z.float().requires_grad_() for z in two_views(*shape))
    wide = [z.detach().double().requires_grad_() for z in (x, y)]
    loss, exact = criterion(x, y).loss, criterion(*wide).loss
    assert loss.dtype == torch.float32
    assert abs(loss.item() - exact.item()) < 1e-6 * exact.item()
    gradients, truth = torch.autograd.grad(loss, (x, y)), torch.autograd.grad(exact, wide)
    for g, t in zip(gradients, truth, strict=True):
        assert float((g - t).norm() / t.norm()) < bound


@pytest.mark.parametrize("shape", [(6, 40), (40, 6)])
@pytest.mark.parametrize("name", CRITERIA)
def test_half_precision_is_widened_and_autocast_is_kept_out(name: str, shape: tuple[int, int]) -> None:
    criterion = CRITERIA[name]
    halves = [z.bfloat16().requires_grad_() for z in two_views(*shape)]
    singles = [z.detach().float().requires_grad_() for z in halves]
    exact = criterion(*singles).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, single = criterion(*halves).loss, criterion(*singles).loss
    assert half.dtype == torch.float32 and torch.equal(half, exact) and torch.equal(single, exact)
    truth = torch.autograd.grad(exact, singles)
    assert all(map(torch.equal, torch.autograd.grad(single, singles), truth))
    for g, t in zip(torch.autograd.grad(half, halves), truth, strict=True):
        assert torch.equal(g, t.bfloat16())


def test_codes_that_are_not_contiguous() -> None:
    x, y = two_views(9, 5)
    for criterion in CRITERIA.values():
        turned = x.T.contiguous().T.requires_grad_(), y.T.contiguous().T.requires_grad_()
        plain = x.clone().requires_grad_(), y.clone().requires_grad_()
        ours, theirs = (torch.autograd.grad(criterion(*z).loss, z) for z in (turned, plain))
        torch.testing.assert_close(ours, theirs)


BAD: list[tuple[Callable[..., Any], dict[str, float], str]] = [
    *((each, {name: -1.0}, f"{name} must be finite and at least 0; got -1.0")
      for each in (VICReg, VICRegExp, VICRegCtr) for name in ("invariance", "variance", "covariance")),
    *((each, {name: 0.0}, f"{name} must be finite and positive; got 0.0")
      for each in (VICReg, VICRegExp, VICRegCtr) for name in ("std", "eps")),
    *((each, {"temperature": 0.0}, "temperature must be finite and positive; got 0.0")
      for each in (VICRegExp, VICRegCtr)),
    (BarlowTwins, {"redundancy": math.inf}, "redundancy must be finite and at least 0; got inf"),
    (BarlowTwins, {"eps": 0.0}, "eps must be finite and positive; got 0.0"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "settings", "message"), BAD)
def test_bad_settings_are_named(make: Callable[..., Any], settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_codes_of_one_dimension_have_no_other_to_repel() -> None:
    z = draw(5, 1)
    with pytest.raises(ValueError, match="VICRegExp lets dimensions repel each other, so it needs 2 or more"):
        VICRegExp()(z, z)
    assert VICReg()(z, z).terms["covariance"] == 0 and BarlowTwins()(z, z).terms["redundancy"] == 0
    with pytest.raises(ValueError, match="VICReg takes the codes of 2 views; got 3"):
        VICReg()(z, z, z)
