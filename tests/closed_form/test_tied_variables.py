"""A variable that enters an energy in two places: what its leaf knows of one of them is not the whole slope.

E(x, y) = ½|x - y|² knows its gradient x - y and its quadratic form in x. With y = 3x it is 2|x|², of gradient
4x and Laplacian 4D.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm import Energy, minimize
from ebm.contrastive import ScoreMatching
from ebm.infer import LBFGS, Newton
from ebm.infer.quadratic import quadratic_form
from ebm.infer.slope import slope_in
from ebm.problem import Problem

X = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)


class Spring(Energy):
    closed_form = ("x",)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * ((x - y) ** 2).sum(1)

    def value_and_grad(self, name: str, *, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self(x=x, y=y), x - y

    def quadratic(self, name: str, **others: Any) -> tuple[Tensor, Tensor, Tensor]:
        y = others["y"]
        return y.new_ones(()), y, 0.5 * (y**2).sum(1)


def triple(x: Tensor) -> Tensor:
    return 3 * x


TIED = Spring().compose(y=(triple, "x"))


def problem() -> Problem:
    return Problem(TIED.bind({}, like={"x": X}), {"x": X.shape[1:]}, batch=len(X))


def test_the_gradient_is_that_of_both_places() -> None:
    for value, gradient in (
        problem().value_and_grad(X),
        slope_in(TIED.bind({}, like={"x": X}), "x", {"x": X}),
    ):
        torch.testing.assert_close(value, 2 * (X**2).sum(1))
        torch.testing.assert_close(gradient, 4 * X)


def test_the_quadratic_form_is_that_of_both_places() -> None:
    form = quadratic_form(problem(), X)
    torch.testing.assert_close(
        form.matrix.expand(len(X), 2, 2), 4 * torch.eye(2).double().expand(len(X), 2, 2)
    )
    torch.testing.assert_close(form.linear, torch.zeros_like(X))


def test_score_matching_sees_both_places() -> None:
    loss = ScoreMatching(variable="x")(TIED, x=X).loss
    torch.testing.assert_close(loss, (8 * (X**2).sum(1) - 8).mean())


def test_minimizers_find_the_minimum() -> None:
    for method in (LBFGS(), Newton()):
        found = minimize(TIED, X, method)
        torch.testing.assert_close(found.value, torch.zeros_like(X), atol=1e-6, rtol=0)
