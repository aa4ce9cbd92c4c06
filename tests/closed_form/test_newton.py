"""Newton: its Hessians against torch.func, its directions against numpy and scipy, its order of convergence,
saddles, and each row on its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.autograd import Function

from ebm import Energy, energy, minimize
from ebm.infer import Newton, TruncatedNewton
from ebm.infer.newton import NUDGE, dense, saddle_free
from ebm.infer.pose import pose
from ebm.solution import Stop
from ebm.targets import Himmelblau, Rosenbrock

BOTH = pytest.mark.parametrize("method", [Newton(), TruncatedNewton()], ids=["Newton", "TruncatedNewton"])


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@energy
def valley(y):
    return (100 * (y[:, 1:] - y[:, :-1] ** 2) ** 2 + (1 - y[:, :-1]) ** 2).sum(1)


@energy
def chain(y):
    """Convex, with its minimum at 1."""
    return ((y[:, 1:] - y[:, :-1]) ** 2).sum(1) + (y - 1).cosh().sum(1)


@energy
def pass_between(y):
    """Minima -4 at (0, ±2), between them a saddle of height 0 at (0, 0)."""
    return y[:, 0] ** 2 + y[:, 1] ** 4 / 4 - 2 * y[:, 1] ** 2


@energy
def quadratic(y, a, b):
    return 0.5 * (y * (a @ y.unsqueeze(2)).squeeze(2)).sum(1) - (b * y).sum(1)


def symmetric(batch: int, dim: int, low: float, high: float) -> Tensor:
    """Random symmetric matrices with eigenvalues from `low` to `high`."""
    q = torch.linalg.qr(randn(batch, dim, dim)).Q
    return q @ torch.diag(torch.linspace(low, high, dim, dtype=torch.float64)) @ q.mT


def norms(solution, minimum: Tensor) -> Tensor:
    """The distance to the minimum of each row at each step, (K + 1, B)."""
    return torch.linalg.vector_norm(solution.trace.value - minimum, dim=2)


# Directions -----------------------------------------------------------------------------------------------


def test_the_dense_hessian_is_that_of_torch_func() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.Tanh(), torch.nn.Linear(9, 1)).double()
    bumps = energy(lambda y: layers(y.flatten(1)).squeeze(1) * (y**2).flatten(1).sum(1))
    start = randn(4, 2, 3)
    _, gradient, product = pose(bumps, start, None)[0].hessian_product(start)
    found = dense(product, gradient)
    for row in range(4):
        oracle = torch.func.hessian(lambda y: bumps(y=y.unsqueeze(0)).squeeze(0))(start[row])
        assert torch.allclose(found[row], oracle.reshape(6, 6), atol=1e-12)


def test_indefinite_hessians_are_inverted_by_the_size_of_their_eigenvalues() -> None:
    h, g = symmetric(5, 6, -2.0, 5.0), randn(5, 6)
    for row, d in enumerate(saddle_free(h, g)):
        values, vectors = np.linalg.eigh(h[row].numpy())
        expected = -vectors @ np.diag(1 / np.abs(values)) @ vectors.T @ g[row].numpy()
        np.testing.assert_allclose(d.numpy(), expected, rtol=1e-9)


def test_a_gradient_with_no_part_along_the_negative_curvature_is_nudged_there() -> None:
    h = torch.diag(torch.tensor([3.0, -2.0], dtype=torch.float64)).expand(2, 2, 2)
    d = saddle_free(h, torch.tensor([[3.0, 0.0], [3.0, 1e-9]], dtype=torch.float64))
    assert torch.allclose(d, torch.tensor([[-1.0, NUDGE], [-1.0, -NUDGE]], dtype=torch.float64))


def test_a_hessian_of_zero_or_of_nan_leaves_steepest_descent() -> None:
    g = randn(3, 2)
    assert torch.allclose(saddle_free(torch.zeros(3, 2, 2, dtype=torch.float64), g), -g)
    curvature = torch.tensor([[2.0], [torch.nan], [4.0]], dtype=torch.float64)
    d = Newton().direction(g, lambda v: curvature * v)
    assert torch.allclose(d, -g / torch.tensor([[2.0], [1.0], [4.0]], dtype=torch.float64))


def test_conjugate_gradients_solve_as_exactly_as_the_gradient_is_small() -> None:
    h = symmetric(6, 30, 0.1, 10.0)
    g = randn(6, 30) * torch.logspace(-8, 2, 6, dtype=torch.float64).unsqueeze(1)
    d = TruncatedNewton().direction(g, lambda v: (h @ v.unsqueeze(2)).squeeze(2))
    size = torch.linalg.vector_norm(g, dim=1)
    residual = torch.linalg.vector_norm((h @ d.unsqueeze(2)).squeeze(2) + g, dim=1) / size
    allowed = size.sqrt().clamp(max=0.5)
    assert (residual <= allowed).all() and (residual[:-2] > 1e-4 * allowed[:-2]).all()  # and no more
    assert residual[0] < 1e-3 and residual[-1] > 1e-2


@pytest.mark.parametrize("low", [-3.0, -0.01, 0.0])
def test_conjugate_gradients_descend_and_follow_negative_curvature(low: float) -> None:
    h = symmetric(40, 8, low, 5.0)
    g = 1e-6 * randn(40, 8, seed=1)  # small: the solves would be exact
    d = TruncatedNewton().direction(g, lambda v: (h @ v.unsqueeze(2)).squeeze(2))
    assert ((d * g).sum(1) < 0).all()
    bend = (d * (h @ d.unsqueeze(2)).squeeze(2)).sum(1) / (d**2).sum(1)
    assert d.isfinite().all() and (low > -1 or (bend < 0).sum() > 20)


def test_the_rows_of_conjugate_gradients_do_not_meet() -> None:
    h, g = symmetric(5, 8, 0.1, 9.0), randn(5, 8, seed=1)
    h[3] -= 2 * torch.eye(8, dtype=torch.float64)  # indefinite
    d = TruncatedNewton().direction(g, lambda v: (h @ v.unsqueeze(2)).squeeze(2))
    other, changed = h.clone(), g.clone()
    other[[0, 2]], changed[[0, 2]] = 5 * symmetric(2, 8, 1.0, 2.0), torch.nan
    again = TruncatedNewton().direction(changed, lambda v: (other @ v.unsqueeze(2)).squeeze(2))
    assert torch.equal(again[[1, 3, 4]], d[[1, 3, 4]])


# Convergence ----------------------------------------------------------------------------------------------


def test_a_quadratic_takes_one_step() -> None:
    a, b = symmetric(4, 5, 0.01, 100.0), randn(4, 5)
    solution = minimize(quadratic, 10 * randn(4, 5, seed=1), Newton(), given={"a": a, "b": b}, tol=1e-8)
    assert solution.converged.all() and (solution.steps == 1).all()
    assert torch.allclose(solution.value, torch.linalg.solve(a, b), rtol=1e-9)


def test_the_error_squares_at_each_step_down_to_rounding() -> None:
    tilted = energy(lambda y: (y.exp() - y).sum(1))  # minimum 0; there φ″ = φ‴ = 1: the error e becomes e²/2
    solution = minimize(tilted, randn(20, 3), Newton(), tol=1e-13, trace=True)
    error = solution.trace.value.abs()
    assert (error[-1] <= 1e-13).all()
    before, after = error[:-1], error[1:]
    near = (before.amax(2, keepdim=True) < 0.1) & (after > 1e-14)
    near &= after != before  # a row that has stopped repeats its last point
    assert near.sum() > 60
    assert torch.allclose(after[near], before[near] ** 2 / 2, rtol=0.1, atol=1e-15)


def test_a_curved_valley_is_solved_to_rounding() -> None:
    solution = minimize(Rosenbrock(4).double(), 1 + 0.3 * randn(20, 4), Newton(), tol=1e-13)
    assert solution.converged.all() and (solution.value - 1).abs().max() < 1e-14


def test_truncated_steps_shrink_the_error_by_any_factor_in_time() -> None:
    solution = minimize(chain, randn(5, 50), TruncatedNewton(), tol=1e-13, trace=True)
    error = norms(solution, torch.ones(50, dtype=torch.float64))
    assert (error[-1] < 1e-12).all()
    for row in range(5):
        path = error[:, row]
        ratio = (path[1:] / path[:-1])[(path[1:] > 1e-12)]
        assert ratio[-1] < 0.1 * ratio[0] and ratio[-1] < 1e-2


@BOTH
def test_himmelblau_and_rosenbrock_as_scipy_solves_them(method) -> None:
    for target, start in (
        (Himmelblau().double(), Himmelblau().double().minima + 0.2 * randn(4, 2)),
        (Rosenbrock(2).double(), 2 * randn(6, 2)),
    ):
        ours = minimize(target, start, method, tol=1e-9)
        assert ours.converged.all()
        for row, y in enumerate(start.numpy()):

            def both(y: np.ndarray, target: Energy = target) -> tuple[float, np.ndarray]:
                value, gradient = target.value_and_grad("y", y=torch.from_numpy(y[None]))
                return float(value), gradient[0].numpy()

            theirs = optimize.minimize(both, y, jac=True, method="BFGS", options={"gtol": 1e-9})
            np.testing.assert_allclose(ours.value[row].numpy(), theirs.x, atol=1e-7)


@BOTH
def test_logistic_regression_as_scikit_learn_solves_it(method) -> None:
    x = randn(120, 40)
    label = torch.sign(x @ randn(40, seed=1) + 5 * randn(120, seed=2))

    @energy
    def logistic(w, c):
        return c * torch.nn.functional.softplus(-label * (w @ x.T)).sum(1) + 0.5 * (w**2).sum(1)

    c = torch.tensor([1e-3, 0.1, 10.0], dtype=torch.float64)
    start = torch.zeros(3, 40, dtype=torch.float64)
    ours = minimize(logistic, {"w": start}, method, given={"c": c}, tol=1e-9)
    assert ours.converged.all() and int(ours.steps.max()) < 30
    for row in range(3):
        theirs = LogisticRegression(C=float(c[row]), fit_intercept=False, solver="newton-cholesky", tol=1e-10)
        theirs.fit(x.numpy(), label.numpy())
        np.testing.assert_allclose(ours.value["w"][row].numpy(), theirs.coef_[0], atol=1e-8)


# Saddles, rows and failure --------------------------------------------------------------------------------


@BOTH
def test_it_leaves_a_saddle_for_the_minimum_on_its_side(method) -> None:
    start = torch.tensor([[0.0, 1e-7], [1e-3, -1e-4], [2.0, 1e-6], [-5.0, -0.5]], dtype=torch.float64)
    solution = minimize(pass_between, start, method, tol=1e-9)
    assert solution.converged.all()
    sides = torch.stack([torch.zeros(4, dtype=torch.float64), 2 * start[:, 1].sign()], 1)
    assert torch.allclose(solution.value, sides, atol=1e-9)


def test_it_leaves_the_path_that_would_end_in_the_saddle() -> None:
    solution = minimize(pass_between, torch.tensor([[2.0, 0.0]], dtype=torch.float64), Newton(), tol=1e-9)
    assert solution.converged.all() and torch.allclose(solution.energy, torch.tensor([-4.0]).double())


@BOTH
def test_a_flat_direction_does_no_harm(method) -> None:
    crease = energy(lambda y: (y.sum(1) - 1) ** 2 + (y.sum(1) - 1) ** 4)
    solution = minimize(crease, 3 * randn(4, 3), method, tol=1e-9)
    assert solution.converged.all() and torch.allclose(solution.value.sum(1), torch.ones(4).double())


@BOTH
def test_a_slope_without_curvature_is_followed(method) -> None:
    solution = minimize(energy(lambda y: y.sum(1)), randn(2, 3), method, max_steps=20)
    assert not solution.converged.any() and (solution.energy < -1e6).all()


@BOTH
def test_rows_are_solved_as_if_alone_and_nan_stays_in_its_row(method) -> None:
    start = torch.cat(
        [randn(3, 4), torch.full((1, 4), torch.nan, dtype=torch.float64), 5 * randn(1, 4, seed=1)]
    )
    solution = minimize(valley, start, method, tol=1e-8)
    assert solution.reasons == ["gradient"] * 3 + ["non finite", "gradient"]
    start[4] = 30 * randn(4, seed=2)  # a longer search, in a row of its own
    again = minimize(valley, start, method, tol=1e-8)
    assert torch.equal(again.value[:3], solution.value[:3])
    for row in range(3):
        alone = minimize(valley, start[row : row + 1], method, tol=1e-8)
        assert torch.allclose(alone.value[0], solution.value[row], rtol=1e-10)


@BOTH
def test_a_goal_below_rounding_ends_in_stalled_rows(method) -> None:
    lifted = energy(lambda y: valley.function(y) + 1.0)
    solution = minimize(lifted, 0.5 * randn(20, 4).float(), method, tol=0.0, max_steps=300)
    assert ((solution.stopped_by == Stop.STALLED) | solution.converged).all()
    assert (solution.stopped_by == Stop.STALLED).any() and (solution.gradient_norm < 1e-2).all()


@BOTH
def test_a_gradient_that_points_the_wrong_way_stalls_where_it_was(method) -> None:
    class Wrong(Function):
        """|y|² with its gradient's sign turned."""

        @staticmethod
        def forward(ctx, y):
            ctx.save_for_backward(y)
            return (y**2).sum(1)

        @staticmethod
        def backward(ctx, grad):
            return -2 * ctx.saved_tensors[0] * grad.unsqueeze(1)

    start = randn(2, 3)
    solution = minimize(energy(lambda y: Wrong.apply(y)), start, method)
    assert solution.reasons == ["stalled", "stalled"] and (solution.steps == 1).all()
    assert torch.equal(solution.value, start)


@BOTH
def test_any_shape_is_solved_as_its_rows_laid_flat(method) -> None:
    folded = energy(lambda y: valley.function(y.flatten(1)))
    start = 0.5 * randn(3, 4)
    flat, shaped = minimize(valley, start, method), minimize(folded, start.view(3, 2, 2), method)
    assert torch.equal(shaped.value.flatten(1), flat.value) and torch.equal(shaped.steps, flat.steps)


def test_settings_and_sizes_out_of_range_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"a Hessian of 300 x 300 numbers a row.*256 dimensions; use Truncated"
    ):
        minimize(chain, torch.zeros(1, 300), Newton())
    with pytest.raises(ValueError, match="limit must be an integer of at least 1; got 0"):
        Newton(0)
    with pytest.raises(ValueError, match="inner must be an integer of at least 1"):
        TruncatedNewton(0)
    with pytest.raises(TypeError, match="the steps of Newton have no derivative"):
        minimize(chain, torch.zeros(1, 3), Newton(), differentiate="unroll")
