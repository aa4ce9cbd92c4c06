"""Proximal gradient methods: the lasso against scikit-learn and its optimality, rates, restarts, steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from ebm import Energy, energy, minimize
from ebm.infer import FISTA, CoordinateDescent, ProximalGradient, SpaRSA
from ebm.infer.pose import pose
from ebm.infer.starts import Zeros
from ebm.regularized import Reconstruction
from ebm.regularizers import L1, L2, Box, GroupL1, NonNegativeL1, Simplex, Sphere
from ebm.testing.minimizer import check_minimizer

METHODS = [ProximalGradient(), FISTA(), FISTA(restart=False), SpaRSA(), SpaRSA(memory=1)]
IDS = ["ISTA", "FISTA", "FISTA without restart", "SpaRSA", "monotone SpaRSA"]
ROWS, ATOMS, SIZE, SPARSITY = 6, 12, 16, 0.5


@pytest.fixture(scope="module")
def problem():
    g = torch.Generator().manual_seed(1)
    dictionary = torch.randn(ATOMS, SIZE, generator=g, dtype=torch.float64)
    dictionary /= dictionary.norm(dim=1, keepdim=True)
    return dictionary, torch.randn(ROWS, SIZE, generator=g, dtype=torch.float64)


def by_sklearn(dictionary, y, sparsity, positive=False):
    lasso = Lasso(sparsity / SIZE, fit_intercept=False, tol=1e-14, max_iter=100_000, positive=positive)
    return torch.tensor(np.stack([lasso.fit(dictionary.T.numpy(), row).coef_ for row in y.numpy()]))


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_contract(method):
    check_minimizer(method)


@pytest.mark.parametrize("method", [*METHODS, CoordinateDescent()], ids=[*IDS, "coordinate descent"])
def test_lasso_equals_sklearn_and_meets_the_optimality_conditions(method, problem):
    dictionary, y = problem
    model = Reconstruction(dictionary) + SPARSITY * L1("z")
    solution = minimize(model, Zeros(ATOMS), method, given={"y": y}, max_steps=20_000, tol=1e-10)
    assert solution.converged.all()
    z = solution.value
    torch.testing.assert_close(z, by_sklearn(dictionary, y, SPARSITY), atol=1e-8, rtol=0)
    slope = (z @ dictionary - y) @ dictionary.T  # -slope is in λ ∂|z|₁
    active = z != 0
    assert 0 < active.double().mean() < 0.8
    assert (slope[active] + SPARSITY * z[active].sign()).abs().max() < 1e-8
    assert slope[~active].abs().max() <= SPARSITY + 1e-8
    torch.testing.assert_close(solution.energy, model(y=y, z=z))


@pytest.mark.parametrize("method", METHODS[:4], ids=IDS[:4])
def test_nonnegative_lasso_equals_sklearn(method, problem):
    dictionary, y = problem
    model = Reconstruction(dictionary) + SPARSITY * NonNegativeL1("z")
    z = minimize(model, Zeros(ATOMS), method, given={"y": y}, max_steps=20_000, tol=1e-10).value
    torch.testing.assert_close(z, by_sklearn(dictionary, y, SPARSITY, positive=True), atol=1e-8, rtol=0)


@pytest.mark.parametrize("method", METHODS[:4], ids=IDS[:4])
def test_group_lasso_meets_the_optimality_conditions(method, problem):
    dictionary, y = problem
    model = Reconstruction(dictionary) + 0.5 * GroupL1("z", 3)
    z = minimize(model, Zeros(ATOMS), method, given={"y": y}, max_steps=20_000, tol=1e-10).value.view(
        ROWS, -1, 3
    )
    slope = ((z.flatten(1) @ dictionary - y) @ dictionary.T).view_as(z)
    length = z.norm(dim=2, keepdim=True)
    active = length[..., 0] > 0
    assert 0 < active.double().mean() < 1
    assert (slope + 0.5 * z / length.clamp(min=1e-300))[active].abs().max() < 1e-8
    assert slope.norm(dim=2)[~active].max() <= 0.5 + 1e-8


@pytest.mark.parametrize("method", METHODS, ids=IDS)
@pytest.mark.parametrize("wall", [Box("y", -0.5, 0.25), Simplex("y")], ids=["box", "simplex"])
def test_the_nearest_point_of_a_set(method, wall):
    @energy
    def distance(y, center):
        return 1.5 * ((y - center) ** 2).sum(1)

    center = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    solution = minimize(distance + wall, torch.zeros_like(center), method, given={"center": center}, tol=1e-9)
    expected = wall.prox(center, torch.ones(4, dtype=center.dtype))
    torch.testing.assert_close(solution.value, expected, atol=1e-8, rtol=0)
    torch.testing.assert_close(solution.energy, 1.5 * ((expected - center) ** 2).sum(1))


def test_the_leading_eigenvector_on_the_sphere():
    g = torch.Generator().manual_seed(0)
    a = torch.randn(3, 5, 5, dtype=torch.float64, generator=g)
    a = a @ a.mT

    @energy
    def rayleigh(y, a):
        return -0.5 * torch.einsum("bi,bij,bj->b", y, a, y)

    start = torch.randn(3, 5, dtype=torch.float64, generator=g)
    solution = minimize(rayleigh + Sphere("y"), start, SpaRSA(), given={"a": a}, tol=1e-9)
    torch.testing.assert_close(solution.energy, -0.5 * torch.linalg.eigvalsh(a)[:, -1])


def hard(size=60):
    """Nesterov's worst function, a chain of springs, with L <= 4; its minimum by solving the system."""
    matrix = 2 * torch.eye(size, dtype=torch.float64) - torch.diag(
        torch.ones(size - 1, dtype=torch.float64), 1
    )
    matrix = matrix - torch.diag(torch.ones(size - 1, dtype=torch.float64), -1)

    class Chain(Energy):
        def __init__(self):
            super().__init__()
            self.register_buffer("a", matrix)

        def forward(self, y):
            return 0.5 * ((y @ self.a) * y).sum(1) - y[:, 0]

    best = torch.linalg.solve(matrix, torch.eye(size, dtype=torch.float64)[0])
    return Chain(), best, float(-0.5 * best[0])


def test_fista_keeps_its_rate_and_ista_does_not_reach_it():
    chain, best, least = hard()
    start = torch.zeros(1, len(best), dtype=torch.float64)
    steps = 40
    excess = {}
    for method in (
        FISTA(0.25, backtracking=False, restart=False),
        ProximalGradient(0.25, backtracking=False),
    ):
        trace = minimize(chain, start, method, max_steps=steps, tol=0.0, trace=True).trace
        excess[type(method).__name__] = trace.energy[:, 0] - least
    k = torch.arange(1, steps + 1, dtype=torch.float64)
    bound = 2 * 4 * float(best @ best) / (k + 1) ** 2  # Beck & Teboulle, theorem 4.4
    assert (excess["FISTA"][1:] <= bound).all()
    assert excess["FISTA"][-1] < 0.4 * excess["ProximalGradient"][-1]
    slower = float(best @ best) * 4 / (2 * k)  # their theorem 3.1
    assert (excess["ProximalGradient"][1:] <= slower).all()


def test_fista_takes_exactly_the_steps_of_the_paper():
    chain, _, _ = hard(6)
    start = torch.zeros(1, 6, dtype=torch.float64)
    trace = minimize(chain, start, FISTA(0.2, False, restart=False), max_steps=5, tol=0.0, trace=True).trace
    x = y = np.zeros(6)
    a, b, t = chain.a.numpy(), np.eye(6)[0], 1.0
    for k in range(5):
        new = y - 0.2 * (a @ y - b)
        grown = (1 + np.sqrt(1 + 4 * t * t)) / 2
        y, x, t = new + (t - 1) / grown * (new - x), new, grown
        np.testing.assert_allclose(trace.value[k + 1, 0], x, atol=1e-14)


def test_a_restart_makes_fista_linear_on_a_strongly_convex_energy():
    @energy
    def bowl(y, depth):
        return 0.5 * (depth * y**2).sum(1)

    depth = torch.logspace(-2, 0, 20, dtype=torch.float64).expand(2, -1)
    start, given = torch.ones(2, 20, dtype=torch.float64), {"depth": depth}
    steps = {
        restart: minimize(
            bowl, start, FISTA(1.0, False, restart), given=given, tol=1e-8, max_steps=3000
        ).steps
        for restart in (True, False)
    }
    assert (steps[True] < 0.5 * steps[False]).all(), steps


def test_backtracking_finds_a_step_below_two_over_the_curvature():
    @energy
    def bowl(y, depth):
        return 0.5 * depth * (y**2).sum(1)

    depth = torch.tensor([0.3, 1.0, 5.0, 900.0], dtype=torch.float64)
    posed, u = pose(bowl, torch.ones(4, 2, dtype=torch.float64), {"depth": depth})
    for method in (ProximalGradient(), FISTA()):
        state = method.init(posed, u)
        for trial in range(11):  # one a step
            assert ((state["u"] == u).all(1) | (state["step"] * depth <= 1)).all()
            assert state["step"].tolist() == [1.0, 1.0, 2.0 ** -min(trial, 3), 2.0 ** -min(trial, 10)]
            state = method.step(posed, state)
        assert (state["u"] != u).all()


def test_barzilai_borwein_steps_are_inverse_rayleigh_quotients():
    @energy
    def bowl(y, depth):
        return 0.5 * (depth * y**2).sum(1)

    depth = torch.tensor([[0.5, 2.0, 1.0]], dtype=torch.float64)
    posed, u = pose(bowl, torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64), {"depth": depth})
    method = SpaRSA(0.5)
    old = method.init(posed, u)
    new = method.step(posed, old)
    move = new["u"] - old["u"]
    torch.testing.assert_close(move, -0.5 * depth * u)
    torch.testing.assert_close(new["step"], (move**2).sum(1) / (depth * move**2).sum(1))


@pytest.mark.parametrize("memory", [1, 3])
def test_sparsa_accepts_what_its_memory_allows(memory):
    @energy
    def rosenbrock(y):
        return ((1 - y[:, :-1]) ** 2).sum(1) + 100 * ((y[:, 1:] - y[:, :-1] ** 2) ** 2).sum(1)

    start = torch.tensor([[-1.2, 1.0], [0.0, -1.0]], dtype=torch.float64)
    solution = minimize(rosenbrock, start, SpaRSA(memory=memory), max_steps=2000, tol=1e-8, trace=True)
    assert solution.converged.all() and (solution.value - 1).abs().max() < 1e-6
    rose = False
    for row in range(2):
        moved = (solution.trace.value[1:, row] != solution.trace.value[:-1, row]).any(
            1
        )  # the trial was accepted
        path = solution.trace.energy[torch.cat([torch.ones(1, dtype=torch.bool), moved]), row]
        rounding = 32 * torch.finfo(path.dtype).eps * path.abs()
        highest = torch.stack([path[max(0, k - memory) : k].max() for k in range(1, len(path))])
        assert (path[1:] <= highest + rounding[1:]).all()
        rose = rose or bool((path[1:] > path[:-1] + rounding[:-1]).any())
    assert rose == (memory > 1)


def test_without_a_prox_they_are_gradient_methods():
    @energy
    def bowl(y):
        return 0.5 * ((y - 1) ** 2).sum(1)

    for method in (ProximalGradient(0.5), FISTA(0.5), SpaRSA(0.5)):
        posed, u = pose(bowl, torch.zeros(1, 2, dtype=torch.float64), None)
        state = method.init(posed, u)
        torch.testing.assert_close(state["gradient_norm"], torch.full((1,), 2**0.5, dtype=torch.float64))
        torch.testing.assert_close(
            method.step(posed, state)["u"], torch.full((1, 2), 0.5, dtype=torch.float64)
        )


def test_long_steps_do_not_hide_the_gradient():
    """|u - prox(u - t g, t)| / t shrinks as t grows: a step of 10⁶ must not pass for convergence."""
    model = Reconstruction(1e-3 * torch.eye(2, dtype=torch.float64)) + 1e-9 * L1("z")
    y = torch.ones(1, 2, dtype=torch.float64)
    posed, u = pose(model, Zeros(2), {"y": y})
    state = SpaRSA(1e6).init(posed, u)
    assert state["gradient_norm"] >= 1e-3


def test_implicit_derivative_of_the_lasso_against_the_closed_form_on_its_support(problem):
    dictionary, y = problem
    y = y.clone().requires_grad_()
    model = Reconstruction(dictionary) + SPARSITY * L1("z")
    solution = minimize(
        model, Zeros(ATOMS), SpaRSA(), given={"y": y}, tol=1e-12, max_steps=5000, differentiate="implicit"
    )
    weights = torch.randn(ROWS, ATOMS, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (came,) = torch.autograd.grad((weights * solution.value).sum(), y)
    for row in range(ROWS):
        support = solution.value[row].detach() != 0
        atoms = dictionary[support]  # z_S = (D_S D_Sᵀ)⁻¹ (D_S y - λ s)
        expected = weights[row, support] @ torch.linalg.solve(atoms @ atoms.T, atoms)
        torch.testing.assert_close(came[row], expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    "method", [ProximalGradient(0.2, False), FISTA(0.2, False), SpaRSA()], ids=["I", "F", "S"]
)
def test_unrolled_derivative_of_the_lasso_equals_the_implicit_one(method, problem):
    dictionary, data = problem
    slopes = {}
    for how in ("unroll", "implicit"):
        y = data.clone().requires_grad_()
        model = Reconstruction(dictionary) + SPARSITY * L1("z")
        value = minimize(
            model, Zeros(ATOMS), method, given={"y": y}, tol=1e-11, max_steps=5000, differentiate=how
        ).value
        (slopes[how],) = torch.autograd.grad((value**2).sum(), y)
    torch.testing.assert_close(slopes["unroll"], slopes["implicit"], atol=1e-6, rtol=0)


def test_a_row_without_a_finite_energy_is_reported_alone():
    @energy
    def root(y, bad):
        return ((y - 1) ** 2).sum(1) + torch.where(bad, torch.nan, 0.0)

    bad = torch.tensor([False, True, False])
    for method in METHODS:
        start = torch.zeros(3, 2, dtype=torch.float64)
        solution = minimize(root + 0.1 * L1("y"), start, method, given={"bad": bad}, max_steps=200)
        assert solution.converged.tolist() == [True, False, True], solution
        assert solution.reasons[1] in ("non-finite", "non finite")


def test_elastic_net_is_the_sum_of_its_terms(problem):
    dictionary, y = problem
    model = Reconstruction(dictionary) + 0.1 * L1("z") + 0.2 * L2("z")
    z = minimize(model, Zeros(ATOMS), SpaRSA(), given={"y": y}, tol=1e-10).value
    slope = (z @ dictionary - y) @ dictionary.T + 0.2 * z
    assert (slope + 0.1 * z.sign())[z != 0].abs().max() < 1e-8
    assert slope[z == 0].abs().max() <= 0.1 + 1e-8
    again = minimize(model, Zeros(ATOMS), CoordinateDescent(), given={"y": y}, tol=1e-10).value
    torch.testing.assert_close(again, z, atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ProximalGradient(0.0), "step_size must be finite and positive"),
        (lambda: FISTA(torch.tensor([1.0, -1.0])), "step_size must be finite and positive"),
        (lambda: SpaRSA(memory=0), "memory must be an integer of at least 1"),
        (lambda: SpaRSA(decrease=1.0), "decrease must be at least 0 and below 1"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
