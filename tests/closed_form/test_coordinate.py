"""Coordinate descent: the same solutions as the proximal methods, plain and compiled; what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import ebm.infer.coordinate as coordinate
from ebm import Energy, energy, minimize
from ebm.infer import CoordinateDescent, SpaRSA
from ebm.infer.coordinate_kernel import available
from ebm.infer.pose import pose
from ebm.infer.quadratic import quadratic_form
from ebm.infer.starts import Zeros
from ebm.regularized import Reconstruction
from ebm.regularizers import L1, L2, Box, GroupL1, NonNegative, NonNegativeL1
from ebm.testing.minimizer import check_minimizer

numba = pytest.mark.skipif(not available(), reason="needs numba, the extra `compiled`")
BOTH = [pytest.param(False, id="plain"), pytest.param(True, id="compiled", marks=numba)]
TERMS = {
    "L1": 0.3 * L1("z"),
    "nonnegative L1": 0.3 * NonNegativeL1("z"),
    "box": Box("z", -0.2, 0.3),
    "box of its own for each": Box("z", torch.linspace(-1, 0, 40), torch.linspace(0, 1, 40)),
    "nonnegative": NonNegative("z"),
    "elastic": 0.2 * L1("z") + 0.5 * L2("z"),
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def data():
    dictionary = draw(40, 50)
    return dictionary / dictionary.norm(dim=1, keepdim=True), draw(7, 50, seed=1)


@pytest.mark.parametrize("compiled", BOTH)
def test_contract(compiled):
    check_minimizer(CoordinateDescent(compiled))


@pytest.mark.parametrize("compiled", BOTH)
@pytest.mark.parametrize("name", TERMS)
def test_the_same_solution_as_proximal_gradient(name, compiled, data):
    dictionary, y = data
    model = (Reconstruction(dictionary) + TERMS[name]).double()
    kwargs = {"given": {"y": y}, "tol": 1e-11, "max_steps": 5000}
    expected = minimize(model, Zeros(40), SpaRSA(), **kwargs)
    solution = minimize(model, Zeros(40), CoordinateDescent(compiled), **kwargs)
    assert solution.converged.all() and expected.converged.all()
    torch.testing.assert_close(solution.value, expected.value, atol=1e-8, rtol=0)
    torch.testing.assert_close(solution.energy, model(y=y, z=solution.value))
    warm = minimize(
        model, solution.value + 0.01 * draw(7, 40, seed=2).abs(), CoordinateDescent(compiled), **kwargs
    )
    torch.testing.assert_close(warm.value, expected.value, atol=1e-8, rtol=0)


def test_one_sweep_equals_the_textbook_loop(data):
    dictionary, y = data
    model = Reconstruction(dictionary) + 0.3 * L1("z")
    solution = minimize(model, Zeros(40), CoordinateDescent(), given={"y": y}, max_steps=1, tol=0.0)
    for row in range(len(y)):
        z = torch.zeros(40, dtype=torch.float64)
        for j in range(40):
            rest = y[row] - z @ dictionary + z[j] * dictionary[j]
            correlation = dictionary[j] @ rest
            z[j] = (
                correlation.sign() * (correlation.abs() - 0.3).clamp(min=0) / (dictionary[j] @ dictionary[j])
            )
        torch.testing.assert_close(solution.value[row], z, atol=1e-12, rtol=0)


@pytest.mark.parametrize("compiled", BOTH)
def test_quadratics_found_by_autograd(compiled):
    class Quadratic(Energy):  # rows with matrices of their own, any shape of y, and no closed form
        def forward(self, y, a, b):
            v = y.flatten(1)
            return 0.5 * torch.einsum("bi,bij,bj->b", v, a, v) - (b * v).sum(1) + 3.0

    a, b = draw(4, 6, 6), draw(4, 6, seed=1)
    a = a @ a.mT + 0.5 * torch.eye(6, dtype=a.dtype)
    given = {"a": a, "b": b}
    start = draw(4, 2, 3, seed=2)
    solution = minimize(
        Quadratic(), start, CoordinateDescent(compiled), given=given, tol=1e-10, max_steps=9000
    )
    expected = torch.linalg.solve(a, b)
    assert solution.converged.all()
    torch.testing.assert_close(solution.value.flatten(1), expected, atol=1e-7, rtol=0)
    posed, u = pose(Quadratic() + 2 * L2("y"), start, given)
    form = quadratic_form(posed, u)
    torch.testing.assert_close(form.matrix, a + 2 * torch.eye(6, dtype=a.dtype))
    torch.testing.assert_close(form.linear, b)
    torch.testing.assert_close(form.constant, torch.full((4,), 3.0, dtype=a.dtype))


def test_two_variables_at_once():
    @energy
    def ties(y, z):
        return ((y - 2) ** 2).sum(1) + 0.5 * (z[:, 0] - y.sum(1)) ** 2

    over = {"y": torch.zeros(1, 2, dtype=torch.float64), "z": torch.zeros(1, 1, dtype=torch.float64)}
    model = ties + 0.5 * L1("z") + Box("y", 0.0, 1.0)
    solution = minimize(model, over, CoordinateDescent(), tol=1e-10)
    torch.testing.assert_close(solution.value["y"], torch.ones(1, 2, dtype=torch.float64))
    torch.testing.assert_close(solution.value["z"], torch.full((1, 1), 1.5, dtype=torch.float64))


@pytest.mark.parametrize("compiled", BOTH)
def test_a_coordinate_without_curvature_stays(compiled):
    dictionary = torch.eye(3, dtype=torch.float64)
    dictionary[1] = 0
    model = Reconstruction(dictionary) + 0.1 * L1("z")
    y = torch.ones(2, 3, dtype=torch.float64)
    z = minimize(model, Zeros(3), CoordinateDescent(compiled), given={"y": y}).value
    torch.testing.assert_close(z, torch.tensor([[0.9, 0.0, 0.9]], dtype=torch.float64).expand(2, -1))


@numba
def test_threads_and_precisions_agree(data):
    dictionary, _ = data
    y = draw(1100, 50, seed=5)
    model = Reconstruction(dictionary) + 0.3 * L1("z")
    expected = minimize(model, Zeros(40), CoordinateDescent(True), given={"y": y}, tol=1e-10)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        several = minimize(model, Zeros(40), CoordinateDescent(True), given={"y": y}, tol=1e-10)
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(several.value, expected.value, atol=1e-12, rtol=0)
    single = minimize(
        Reconstruction(dictionary.float()) + 0.3 * L1("z"),
        Zeros(40),
        CoordinateDescent(True),
        given={"y": y.float()},
    )
    assert single.value.dtype == torch.float32 and single.converged.all()
    torch.testing.assert_close(single.value.double(), expected.value, atol=1e-4, rtol=0)


def test_what_it_refuses(monkeypatch):
    start = torch.zeros(2, 4, dtype=torch.float64)

    @energy
    def quartic(y):
        return (y**4).sum(1)

    @energy
    def hill(y):
        return -(y**2).sum(1)

    @energy
    def bowl(y):
        return (y**2).sum(1)

    with pytest.raises(TypeError, match=r"quadratic in y.*quartic isn't. Use SpaRSA"):
        minimize(quartic, start, CoordinateDescent())
    with pytest.raises(ValueError, match="bends down"):
        minimize(hill, start, CoordinateDescent())
    with pytest.raises(TypeError, match="GroupL1 on 'y' offers no `shrinkage`"):
        minimize(bowl + GroupL1("y", 2), start, CoordinateDescent())
    with pytest.raises(TypeError, match="the steps of CoordinateDescent have no derivative"):
        minimize(bowl, start, CoordinateDescent(), differentiate="unroll")
    monkeypatch.setattr(coordinate, "available", lambda: False)
    with pytest.raises(ImportError, match=r"needs numba.*ebm-lab\[compiled\]"):
        CoordinateDescent(compiled=True)
