"""Adam: its path is torch.optim.Adam's, row by row, and can be differentiated."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ebm import energy, minimize
from ebm.infer import Adam
from ebm.targets import Rosenbrock


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@energy
def bowl(y, center):
    return ((y - center) ** 2).flatten(1).sum(1)


@pytest.mark.parametrize(
    "settings", [{}, {"betas": (0.5, 0.9)}, {"eps": 1e-2}, {"betas": (0.0, 0.0)}], ids=str
)
def test_the_path_is_that_of_torch(settings: dict) -> None:
    target, start = Rosenbrock(4).double(), randn(3, 4)
    rates = torch.tensor([0.001, 0.01, 0.1], dtype=torch.float64)
    path = minimize(target, start, Adam(rates, **settings), max_steps=60, tol=0.0, trace=True).trace.value
    for row in range(3):
        y = start[row : row + 1].clone().requires_grad_()
        theirs = torch.optim.Adam([y], lr=float(rates[row]), **settings)
        for step in range(60):
            assert torch.allclose(path[step, row], y[0], rtol=1e-10)
            theirs.zero_grad()
            target(y=y).sum().backward()
            theirs.step()


def test_the_first_step_is_as_long_as_the_rate_in_each_coordinate_whatever_the_scale() -> None:
    scale = torch.tensor([1e-3, 1.0, 1e6], dtype=torch.float64)
    steep = energy(lambda y: (scale * y**2).sum(1))
    solution = minimize(steep, torch.tensor([[1.0, -2.0, 3.0]]).double(), Adam(0.1), max_steps=1, tol=0.0)
    assert torch.allclose(solution.value, torch.tensor([[0.9, -1.9, 2.9]]).double(), atol=1e-6)


def test_rows_that_are_done_leave_the_moments_of_the_others_alone() -> None:
    start = randn(8, 3)
    start[:4] *= 1e-9  # at the minimum: dropped at once
    center = torch.zeros(8, 3, dtype=torch.float64)
    together = minimize(bowl, start, Adam(0.01), given={"center": center}, max_steps=700, tol=1e-6)
    alone = minimize(bowl, start[4:], Adam(0.01), given={"center": center[4:]}, max_steps=700, tol=1e-6)
    assert (together.steps[:4] == 0).all() and torch.equal(together.value[4:], alone.value)


def test_an_unrolled_path_has_the_derivative_of_finite_differences() -> None:
    def end(center: Tensor) -> Tensor:
        given = {"center": center}
        return minimize(
            bowl, start, Adam(0.05), given=given, max_steps=12, tol=0.0, differentiate="unroll"
        ).value

    start = randn(2, 3)
    center = randn(2, 3, seed=1)
    assert torch.autograd.gradcheck(end, center.requires_grad_(), atol=1e-6)
    center = center.detach().clone()
    center[0, 0] = start[0, 0]  # a coordinate whose gradient is 0 throughout: √v has no derivative there
    (slope,) = torch.autograd.grad(end(center.requires_grad_()).sum(), center)
    assert slope.isfinite().all()


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="step_size must be finite and positive"):
        Adam(-0.1)
    with pytest.raises(ValueError, match=r"betas\[1\] must be at least 0 and below 1; got 1.0"):
        Adam(betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="eps must be finite and positive"):
        Adam(eps=0.0)
    with pytest.raises(ValueError, match=r"a setting per row has shape \(3,\).*got \(2,\)"):
        minimize(
            bowl, randn(3, 2), Adam(torch.tensor([0.1, 0.2])), given={"center": torch.zeros(3, 2).double()}
        )
