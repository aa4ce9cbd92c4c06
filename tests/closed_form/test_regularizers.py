"""Regularizers: their energies by hand, their proxes against brute force, their projections against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize as scipy_minimize
from scipy.optimize import minimize_scalar

from ebm import energy, minimize
from ebm.infer import GradientDescent, SpaRSA
from ebm.regularizers import L1, L2, Box, GroupL1, NonNegative, NonNegativeL1, Simplex, Sphere
from ebm.testing import check_derivatives, check_energy, check_prox

LOW, HIGH = torch.tensor([-1.0, 0.0, -torch.inf, 0.5]), torch.tensor([1.0, 0.0, 0.3, torch.inf])
NORMS = [L1("z"), L2("z"), GroupL1("z", 2), NonNegativeL1("z")]
SETS = [
    Box("z", -0.5, 0.7),
    Box("z", LOW, HIGH),
    NonNegative("z"),
    Simplex("z"),
    Simplex("z", 2.5),
    Sphere("z", 1.5),
]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("regularizer", [*NORMS, *SETS], ids=repr)
def test_contract(regularizer):
    z = draw(5, 4)
    inside = z if regularizer in NORMS[:3] else z.abs() + 0.1
    if hasattr(regularizer, "prox"):
        check_prox(regularizer, {"z": z})
        inside = (
            regularizer.prox(z, torch.full((5,), 0.1, dtype=z.dtype)) if regularizer.indicator else inside
        )
    check_energy(regularizer.double(), {"z": inside})


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("regularizer", [L1("z"), NonNegativeL1("z"), Box("z", -0.5, 0.7)], ids=repr)
def test_separable_proxes_by_brute_force_in_one_dimension(regularizer, shape):
    v, step = draw(4, *shape), torch.tensor([0.05, 0.4, 1.0, 3.0], dtype=torch.float64)
    came = regularizer.prox(v, step)
    assert came.shape == v.shape
    for row, t in enumerate(step.tolist()):
        for x, u in zip(v[row].flatten().tolist(), came[row].flatten().tolist(), strict=True):

            def cost(w, x=x, t=t):
                value = float(regularizer(z=torch.tensor([w], dtype=torch.float64)))
                return t * value + 0.5 * (w - x) ** 2 if np.isfinite(value) else np.inf

            grid = np.append(np.linspace(-5, 5, 2001), [0.0, -0.5, 0.7, u])
            assert cost(u) <= min(map(cost, grid)) + 1e-12
            assert abs(u - grid[np.argmin(list(map(cost, grid)))]) < 1e-12


def test_group_prox_against_a_search():
    groups, v, t = GroupL1("z", 3), draw(1, 6), 0.6

    def cost(u):
        z = torch.tensor(u)[None]
        return float(t * groups(z=z) + 0.5 * ((z - v) ** 2).sum())

    found = scipy_minimize(
        cost, v[0].numpy(), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14, "maxiter": 9000}
    )
    came = groups.prox(v, torch.tensor([t], dtype=v.dtype))
    assert cost(came[0].numpy()) <= found.fun + 1e-12
    np.testing.assert_allclose(came[0], found.x, atol=1e-4)


def test_groups_of_the_last_dimension_are_groups_of_size():
    z = draw(3, 4, 2)
    torch.testing.assert_close(GroupL1("z")(z=z), GroupL1("z", 2)(z=z.flatten(1)))
    step = torch.rand(3, dtype=z.dtype)
    torch.testing.assert_close(
        GroupL1("z").prox(z, step).flatten(1), GroupL1("z", 2).prox(z.flatten(1), step)
    )
    assert (GroupL1("z", 2).prox(z.flatten(1), torch.full((3,), 9.0, dtype=z.dtype)) == 0).all()


@given(st.integers(1, 7), st.floats(0.1, 5.0), st.integers(0, 1000))
@settings(max_examples=25)
def test_simplex_projection_against_root_finding_by_scipy(size, total, seed):
    v = 2 * draw(1, size, seed=seed)
    came = Simplex("z", total).prox(v, torch.ones(1))
    x = v[0].numpy()
    theta = minimize_scalar(
        lambda t: (np.maximum(x - t, 0).sum() - total) ** 2,
        bounds=(x.min() - total, x.max()),
        method="bounded",
        options={"xatol": 1e-12},
    ).x
    np.testing.assert_allclose(came[0], np.maximum(x - theta, 0), atol=1e-5)
    assert float(Simplex("z", total)(z=came)) == 0.0


def test_simplex_projection_against_scipy_with_constraints():
    v = draw(1, 5)
    found = scipy_minimize(
        lambda u: 0.5 * ((u - v[0].numpy()) ** 2).sum(),
        np.full(5, 0.2),
        bounds=[(0, None)] * 5,
        constraints={"type": "eq", "fun": lambda u: u.sum() - 1},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    np.testing.assert_allclose(Simplex("z").prox(v, torch.ones(1))[0], found.x, atol=1e-6)


def test_sphere_projection():
    v = draw(2, 3, 4)
    one, all_dims = Sphere("z", 2.0).prox(v, torch.ones(2)), Sphere("z", 2.0, dims=2).prox(v, torch.ones(2))
    torch.testing.assert_close(one, 2 * v / v.norm(dim=2, keepdim=True))
    torch.testing.assert_close(all_dims, 2 * v / v.flatten(1).norm(dim=1).view(2, 1, 1))
    assert torch.isinf(Sphere("z", 2.0)(z=v)).all() and (Sphere("z", 2.0)(z=one) == 0).all()
    torch.testing.assert_close(
        Sphere("z", 2.0).prox(torch.zeros(1, 3), torch.ones(1)), torch.tensor([[2.0, 0, 0]])
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("regularizer", SETS, ids=repr)
def test_projected_points_are_inside_and_others_are_not(regularizer, dtype):
    v = 3 * draw(200, 4).to(dtype)
    projected = regularizer.prox(v, torch.ones(200, dtype=dtype))
    assert (regularizer(z=projected) == 0).all()
    assert (regularizer(z=projected - 0.01 * torch.ones(4, dtype=dtype)) == torch.inf).any()
    torch.testing.assert_close(regularizer.prox(projected, torch.ones(200, dtype=dtype)), projected)


def test_energies_by_hand():
    z = torch.tensor([[3.0, -4.0], [0.5, 0.0]])
    assert L1("z")(z=z).tolist() == [7.0, 0.5]
    assert L2("z")(z=z).tolist() == [12.5, 0.125]
    assert GroupL1("z")(z=z[:, None]).tolist() == [5.0, 0.5]
    assert NonNegativeL1("z")(z=z).tolist() == [torch.inf, 0.5]
    assert (0.5 * L1("z") + L2("z"))(z=z).tolist() == [16.0, 0.375]
    check_derivatives(L2("z"), {"z": draw(3, 4)})


def test_the_name_is_the_variable():
    assert L1("s_x").variables == ("s_x",)
    with pytest.raises(TypeError, match="it has no 'z'"):
        L1("s")(z=torch.zeros(1, 1), s=torch.zeros(1, 1))
    with pytest.raises(TypeError, match=r'needs the name of its variable, as in L1\("z"\)'):
        L1(0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box("z", 1.0, 0.0), "low <= high"),
        (lambda: Box("z", torch.tensor([0.0, torch.nan]), 1.0), "low <= high"),
        (lambda: Simplex("z", 0.0), "total must be positive"),
        (lambda: Sphere("z", -1.0), "radius must be positive"),
        (lambda: Sphere("z", 1.0, dims=0), "dims is how many"),
        (lambda: GroupL1("z", 0), "size is the number"),
        (lambda: GroupL1("z", 3)(z=torch.zeros(2, 4)), "groups of 3 don't divide"),
        (lambda: Sphere("z", 1.0, dims=2)(z=torch.zeros(2, 4)), "2 dimensions more"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@energy
def bowl(z):
    return 0.5 * ((z - 1) ** 2).flatten(1).sum(1)


def test_two_proxes_a_negative_weight_and_a_wall():
    start = torch.zeros(1, 2)
    with pytest.raises(ValueError, match=r"write one joint term with a prox of its own"):
        minimize(bowl + L1("z") + NonNegative("z"), start, SpaRSA())
    with pytest.raises(ValueError, match=r"negative weight -0\.5"):
        minimize(bowl - 0.5 * L1("z"), start, SpaRSA())
    with pytest.raises(TypeError, match=r"Box is \+inf outside a set.*ProximalGradient, FISTA, SpaRSA"):
        minimize(bowl + Box("z", 0.0, 0.5), start, GradientDescent(0.1))
    elastic = minimize(bowl + 0.5 * L1("z") + L2("z"), start, SpaRSA(), tol=1e-7)  # L2 is smooth: no clash
    torch.testing.assert_close(elastic.value, torch.full((1, 2), 0.25))
