"""Regularizers: their energies by hand, their proxes against brute force, their projections against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize as scipy_minimize
from scipy.optimize import minimize_scalar
from scipy.stats import entropy
from sklearn.cluster import KMeans
from sklearn.decomposition import sparse_encode
from sklearn.metrics import pairwise_distances_argmin

from ebm import energy, minimize
from ebm.infer import Enumerate, GradientDescent, SpaRSA
from ebm.regularized import Reconstruction
from ebm.regularizers import (
    KL,
    L0,
    L1,
    L2,
    Box,
    Entropy,
    GroupL1,
    NonNegative,
    NonNegativeL1,
    OneHot,
    Simplex,
    Sphere,
    TopK,
)
from ebm.testing import check_derivatives, check_energy, check_prox

LOW, HIGH = torch.tensor([-1.0, 0.0, -torch.inf, 0.5]), torch.tensor([1.0, 0.0, 0.3, torch.inf])
NORMS = [L1("z"), L2("z"), GroupL1("z", 2), NonNegativeL1("z"), KL("z"), Entropy("z")]
SETS = [
    Box("z", -0.5, 0.7),
    Box("z", LOW, HIGH),
    NonNegative("z"),
    Simplex("z"),
    Simplex("z", 2.5),
    Sphere("z", 1.5),
    TopK("z", 2),
    OneHot("z"),
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
@pytest.mark.parametrize("regularizer", [L0("z"), L1("z"), NonNegativeL1("z"), Box("z", -0.5, 0.7)], ids=repr)
def test_separable_proxes_by_brute_force_in_one_dimension(regularizer, shape):
    v, step = draw(4, *shape), torch.tensor([0.05, 0.4, 1.0, 3.0], dtype=torch.float64)
    came = regularizer.prox(v, step)
    assert came.shape == v.shape
    for row, t in enumerate(step.tolist()):
        for x, u in zip(v[row].flatten(), came[row].flatten(), strict=True):
            grid = torch.cat(
                [torch.linspace(-5, 5, 2001, dtype=torch.float64), u.new_tensor([0, -0.5, 0.7]), u[None]]
            )
            value = regularizer(z=grid)
            costs = torch.where(value.isfinite(), t * value, torch.inf) + 0.5 * (grid - x) ** 2
            assert costs[-1] <= costs.min() + 1e-12
            assert abs(u - grid[costs.argmin()]) < 1e-12


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


# Counts and probabilities -----------------------------------------------------------------------------------


def test_the_proxes_of_counts_are_the_best_of_all_supports():
    v, step = draw(6, 5), torch.full((6,), 0.3, dtype=torch.float64)
    supports = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 5).double()  # (32, 5)
    candidates = v.unsqueeze(1) * supports
    off = 0.5 * (candidates - v.unsqueeze(1)).square().sum(2)
    for regularizer, allowed in ((L0("z"), torch.ones(32, dtype=bool)), (TopK("z", 2), supports.sum(1) <= 2)):
        price = 0.3 * supports.sum(1) if isinstance(regularizer, L0) else torch.zeros(32).double()
        best = torch.where(allowed, off + price, torch.inf).argmin(1)
        torch.testing.assert_close(regularizer.prox(v, step), candidates[torch.arange(6), best])
    corners = torch.eye(5, dtype=torch.float64)
    nearest = torch.cdist(v, corners).argmin(1)
    torch.testing.assert_close(OneHot("z").prox(v, step), corners[nearest])


def test_ties_go_to_the_first():
    v = torch.tensor([[1.0, -1.0, 1.0, 0.0]])
    assert TopK("z", 2).prox(v, torch.ones(1)).tolist() == [[1.0, -1.0, 0.0, 0.0]]
    assert OneHot("z").prox(v, torch.ones(1)).tolist() == [[1.0, 0.0, 0.0, 0.0]]
    assert TopK("z", 9).prox(v, torch.ones(1)).tolist() == v.tolist()


def test_entropy_and_divergence_are_those_of_scipy():
    p = draw(7, 4).softmax(1)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    np.testing.assert_allclose(Entropy("p")(p=p), entropy(p.numpy(), axis=1), rtol=1e-12)
    np.testing.assert_allclose(KL("p", 5 * prior)(p=p), entropy(p.numpy(), prior.numpy(), axis=1), rtol=1e-12)
    np.testing.assert_allclose(KL("p")(p=p), np.log(4) - Entropy("p")(p=p).numpy(), rtol=1e-12)
    certain = torch.eye(4, dtype=torch.float64)
    assert Entropy("p")(p=certain).tolist() == [0.0] * 4
    np.testing.assert_allclose(KL("p", prior)(p=certain), -np.log(prior), rtol=1e-12)


def test_the_least_average_energy_less_entropy_is_boltzmann():
    """argmin_p Σ p E + (1/β) Σ p log p = softmax(-βE), by projected gradients on the simplex."""
    costs, beta = draw(3, 4), 2.0

    @energy
    def average(p, cost):
        return (p * cost).sum(1) + torch.special.xlogy(p, p.clamp(min=1e-300)).sum(1) / beta

    start = torch.full((3, 4), 0.25, dtype=torch.float64)
    free_energy, given = average + Simplex("p"), {"cost": costs}
    found = minimize(free_energy, {"p": start}, SpaRSA(), given=given, max_steps=2000, tol=1e-9)
    torch.testing.assert_close(found.value["p"], (-beta * costs).softmax(1), rtol=0, atol=1e-6)


def test_what_counts_and_probabilities_refuse():
    for k in (0, 1.5, True):
        with pytest.raises(ValueError, match="at least 1"):
            TopK("z", k)
    with pytest.raises(ValueError, match="rows \\[1\\]"):
        Entropy("p")(p=torch.tensor([[0.5, 0.5], [-0.1, 1.1]]))
    with pytest.raises(ValueError, match="positive"):
        KL("p", torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match="3 entries, 'p' 2"):
        KL("p", torch.ones(3))(p=torch.ones(1, 2) / 2)


# The simplest members of the family -------------------------------------------------------------------------


def test_a_reconstruction_from_one_hot_codes_is_k_means():
    centers, y = draw(6, 3, seed=1), draw(200, 3, seed=2)
    found = minimize(
        Reconstruction(centers), {"z": torch.zeros(200, 6).double()}, Enumerate(torch.eye(6)), given={"y": y}
    )
    classical = KMeans(6, init=centers.numpy(), n_init=1, max_iter=1).fit(y.numpy())
    assert classical.n_iter_ == 1
    np.testing.assert_array_equal(
        found.value["z"].argmax(1), pairwise_distances_argmin(y.numpy(), centers.numpy())
    )
    means = torch.linalg.lstsq(found.value["z"], y).solution  # the best atoms for these codes: Lloyd's step
    np.testing.assert_allclose(means, classical.cluster_centers_, atol=1e-12)
    assert bool(torch.isinf((Reconstruction(centers) + OneHot("z"))(y=y, z=0.5 * found.value["z"])).all())


def test_a_reconstruction_with_l1_is_sparse_coding():
    dictionary, y = draw(8, 5, seed=3), draw(40, 5, seed=4)
    start = {"z": torch.zeros(40, 8).double()}
    found = minimize(
        Reconstruction(dictionary) + 0.1 * L1("z"), start, SpaRSA(), given={"y": y}, max_steps=5000, tol=1e-10
    )
    codes = sparse_encode(y.numpy(), dictionary.numpy(), algorithm="lasso_cd", alpha=0.1, max_iter=100_000)
    energies = Reconstruction(dictionary)(y=y, z=torch.from_numpy(codes)) + 0.1 * torch.from_numpy(
        np.abs(codes).sum(1)
    )
    assert bool((found.energy <= energies + 1e-9).all())
