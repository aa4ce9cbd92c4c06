"""L-BFGS: its memory against scipy and the textbook, its search against the Wolfe conditions, its answers
against scipy and scikit-learn, and each row on its own."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import optimize
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ebm import Energy, energy, minimize
from ebm.infer import LBFGS, Wolfe
from ebm.infer.pose import pose
from ebm.infer.secant import EASE, Matrix, Pairs
from ebm.infer.wolfe import ULPS, lowest_of_cubic
from ebm.solution import Solution, Stop
from ebm.targets import Himmelblau, Rosenbrock

EPS = torch.finfo(torch.float64).eps
BOTH = pytest.mark.parametrize("history", [10, 1], ids=["matrix", "pairs"])  # of 4 dimensions: 2m >= 4 or not


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@energy
def valley(y):
    """Rosenbrock's function, differentiated by autograd."""
    return (100 * (y[:, 1:] - y[:, :-1] ** 2) ** 2 + (1 - y[:, :-1]) ** 2).sum(1)


@energy
def ellipsoid(y, a):
    return 0.5 * (y * (a @ y.unsqueeze(2)).squeeze(2)).sum(1)


@energy
def barrier(y):
    """Lowest at 1; NaN below 0."""
    return (y - y.log()).sum(1)


def moves(solution: Solution, row: int) -> list[tuple[Tensor, Tensor]]:
    """The accepted steps of a row, as pairs of points."""
    return [(u, v) for u, v in pairwise(solution.trace.value[:, row]) if not torch.equal(u, v)]


def spectrum(batch: int, dim: int, largest: float) -> Tensor:
    """Random matrices (batch, dim, dim) with eigenvalues from 1 to `largest`."""
    q = torch.linalg.qr(randn(batch, dim, dim)).Q
    values = torch.logspace(0, math.log10(largest), dim, dtype=torch.float64)
    return q @ torch.diag(values) @ q.mT


# The memory ---------------------------------------------------------------------------------------------


def pairs_in_turn(batch: int, dim: int, steps: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Pairs s, y = As and gradients; in each step a third of the rows stays, and so each has its own time."""
    a = spectrum(batch, dim, 30.0)
    out = []
    for k in range(steps):
        s = randn(batch, dim, seed=2 * k)
        s[torch.rand(batch, generator=torch.Generator().manual_seed(k)) < 1 / 3] = 0.0
        out.append((s, (a @ s.unsqueeze(2)).squeeze(2), randn(batch, dim, seed=2 * k + 1)))
    return out


@pytest.mark.parametrize("history", [1, 4, 7])
def test_the_compact_form_is_the_two_loop_recursion(history: int) -> None:
    batch, dim = 5, 9
    memory, kept = Pairs(history), [[] for _ in range(batch)]
    state = memory.begin(torch.zeros(batch, dim, dtype=torch.float64), torch.ones(batch, dtype=torch.float64))
    for s, y, gradient in pairs_in_turn(batch, dim, 15):
        direction, state, learned = memory.update(state, s, y, gradient, gradient)
        assert torch.equal(learned, (s != 0).any(1))
        for i in learned.nonzero().flatten().tolist():
            kept[i] = [*kept[i], (s[i].numpy(), y[i].numpy())][-history:]
            stacked_s, stacked_y = (np.array(each) for each in zip(*kept[i], strict=True))
            scale = stacked_s[-1] @ stacked_y[-1] / (stacked_y[-1] @ stacked_y[-1])
            # begins as I: it is H / scale
            oracle = optimize.LbfgsInvHessProduct(stacked_s, scale * stacked_y)
            expected = -scale * oracle(gradient[i].numpy())
            np.testing.assert_allclose(direction[i].numpy(), expected, rtol=1e-11, atol=1e-13)


def test_the_matrix_is_textbook_bfgs() -> None:
    batch, dim, scale = 5, 4, 0.3
    like = torch.zeros(batch, dim, dtype=torch.float64)
    state = Matrix().begin(like, like.new_full((batch,), scale))
    state["fresh"] = torch.ones(batch, dtype=torch.bool)
    oracle = [scale * np.eye(dim) for _ in range(batch)]
    last = torch.zeros(batch, dim, dtype=torch.float64)  # the gradient before
    for s, y, _ in pairs_in_turn(batch, dim, 12):
        before = -torch.from_numpy(np.stack([h @ g for h, g in zip(oracle, last.numpy(), strict=True)]))
        gradient = last + y
        direction, held, learned = Matrix().update(state, s, y, gradient, before)
        assert torch.equal(learned, (s != 0).any(1))
        for i in learned.nonzero().flatten().tolist():
            a, b = s[i].numpy(), y[i].numpy()
            gamma = a @ b / (b @ b) * np.eye(dim)
            h = gamma * (1 + EASE) if bool(state["fresh"][i]) else oracle[i] + EASE * gamma
            flip = np.eye(dim) - np.outer(a, b) / (a @ b)
            oracle[i] = flip @ h @ flip.T + np.outer(a, a) / (a @ b)  # Nocedal & Wright, eq. 6.17
            np.testing.assert_allclose(oracle[i] @ b, a, atol=1e-12)
        np.testing.assert_allclose(held["inverse"].numpy(), np.stack(oracle), rtol=1e-10, atol=1e-13)
        moved = learned.nonzero().flatten().tolist()
        expected = np.stack([-oracle[i] @ gradient[i].numpy() for i in moved])
        np.testing.assert_allclose(direction[moved].numpy(), expected, rtol=1e-9, atol=1e-12)
        state, last = {**held, "fresh": state["fresh"] & ~learned}, gradient


@BOTH
def test_a_pair_without_curvature_is_skipped(history: int) -> None:
    solution = minimize(energy(lambda y: y.sum(1)), randn(3, 4), LBFGS(history), max_steps=30, trace=True)
    assert solution.value.isfinite().all()
    step = solution.value - solution.trace.value[0]
    assert torch.allclose(step, step[:, :1].expand_as(step), rtol=1e-12)  # along -∇E to the end
    assert (solution.energy < -1e6).all()  # in longer and longer steps


@pytest.mark.parametrize("history, broken", [(10, "inverse"), (2, "gram")], ids=["matrix", "pairs"])
def test_where_the_direction_goes_uphill_steepest_descent_replaces_it(history: int, broken: str) -> None:
    method = LBFGS(history)
    problem, u = pose(valley, 0.1 * randn(3, 6), None)
    with torch.no_grad():
        right = method.init(problem, u)
        for _ in range(20):
            state = right
            wrong = state | {broken: state[broken].clone()}
            wrong[broken][1] *= -1e6  # curvature of the wrong sign
            new, right = method.step(problem, wrong), method.step(problem, state)
            if new["fresh"][1] != right["fresh"][1]:  # row 1 has accepted a trial
                break
    assert torch.linalg.vecdot(new["direction"], new["gradient"])[1] < 0
    assert torch.allclose(new["direction"][1], -new["gradient"][1] / max(1.0, float(new["gradient_norm"][1])))
    assert new["fresh"].tolist()[1] and torch.equal(new["direction"][[0, 2]], right["direction"][[0, 2]])


@BOTH
def test_memory_follows_the_rule_of_its_docstring(history: int) -> None:
    problem, u = pose(valley, randn(3, 4), None)
    state = LBFGS(history).init(problem, u)
    held = state["inverse"] if "inverse" in state else state["pairs"]
    assert held.shape == ((3, 4, 4) if history == 10 else (3, 2 * history, 4))


# The search ---------------------------------------------------------------------------------------------


def test_the_lowest_point_of_a_cubic() -> None:
    p, k, m = randn(3, 2000).numpy()  # c(x) = p x + k x² + m x³
    slope, rise = p + 2 * k + 3 * m, p + k + m
    found = lowest_of_cubic(*(torch.from_numpy(each.copy()) for each in (p, slope, rise))).numpy()
    bracket, ahead = (p < 0) & ((slope > 0) | (rise >= 0)), (p > 0) & (slope > 0)
    with np.errstate(invalid="ignore"):
        minimum = (-k + np.sqrt(k**2 - 3 * m * p)) / (3 * m)
    assert (bracket.sum() > 300) and (minimum[bracket] > 0).all() and (minimum[bracket] < 1).all()
    ahead &= minimum < 0  # and not NaN: there is one
    assert ahead.sum() > 200
    np.testing.assert_allclose(found[bracket | ahead], minimum[bracket | ahead], rtol=1e-6)
    assert torch.equal(lowest_of_cubic(*torch.tensor([[-1.0], [torch.nan], [torch.inf]])), torch.zeros(1))


TRIALS = (
    lambda t: -t / (t**2 + 2),  # Moré & Thuente (1994), eq. 5.1
    lambda t: (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4,  # eq. 5.2
    lambda t: t**4 - t,
    lambda t: (t - 3).cosh(),
    lambda t: (t - 5e3) ** 2 * 1e-3,
    lambda t: -(40 * t).sin() - 0.5 * t,
    lambda t: torch.where(t < 0.07, -t, torch.nan),
)


@energy
def trials(y, which):
    """Functions of one variable, each row its own."""
    return torch.stack([TRIALS[i](t) for i, t in zip(which.tolist(), y[:, 0], strict=True)])


@pytest.mark.parametrize("curvature", [0.9, 0.1, 0.01])
@pytest.mark.parametrize("length", [1e-3, 1e-1, 1.0, 10.0, 1e3])
def test_the_search_meets_the_wolfe_conditions_wherever_it_begins(length: float, curvature: float) -> None:
    which = torch.arange(6)
    if curvature < 0.1:
        # the slope of trial 1 at 0 is 5e-7: a hundredth of that is below rounding at the minimum
        which = which[which != 1]
    problem, u = pose(trials, torch.zeros(len(which), 1, dtype=torch.float64), {"which": which})
    value, gradient = problem.value_and_grad(u)
    direction = torch.full_like(u, length)
    search = Wolfe(curvature=curvature)
    new, new_value, new_gradient, failed = search.search(problem, u, value, gradient, direction)
    assert not failed.any()
    t, slope, new_slope = (new / length)[:, 0], (gradient * direction)[:, 0], (new_gradient * direction)[:, 0]
    slack = ULPS * EPS * value.abs()
    assert (t > 0).all()
    assert (new_value <= value + 1e-4 * t * slope + slack).all()
    assert (new_slope.abs() <= curvature * slope.abs()).all()
    assert torch.equal(trials(y=new, which=which), new_value)


def test_a_search_steps_back_from_nan_and_fails_where_nothing_is_lower() -> None:
    which = torch.tensor([6, 3])
    start = torch.tensor([[0.0], [4.0]], dtype=torch.float64)
    problem, u = pose(trials, start, {"which": which})
    value, gradient = problem.value_and_grad(u)
    gradient[1] = -1.0  # a lie: there it rises
    new, new_value, _, failed = Wolfe().search(problem, u, value, gradient, torch.ones_like(u))
    assert failed.tolist() == [False, True]  # row 0 has no Wolfe point, but a lower one
    assert 0.01 < float(new[0]) < 0.07
    assert torch.equal(new[1], start[1]) and torch.equal(new_value[1], value[1])


@pytest.mark.parametrize("curvature", [0.9, 0.1])
@pytest.mark.parametrize("history", [10, 3], ids=["matrix", "pairs"])
def test_every_accepted_step_meets_the_strong_wolfe_conditions(history: int, curvature: float) -> None:
    start = 2 * randn(20, 10)
    solution = minimize(
        valley, start, LBFGS(history, Wolfe(curvature=curvature)), tol=1e-6, max_steps=500, trace=True
    )
    assert solution.converged.all()
    steps = [move for row in range(20) for move in moves(solution, row)]
    assert len(steps) > 20 * 20
    before, after = (torch.stack(each).requires_grad_() for each in zip(*steps, strict=True))
    values, slopes = [], []
    for u in (before, after):
        value = valley(y=u)
        (gradient,) = torch.autograd.grad(value.sum(), u)
        values.append(value.detach())
        slopes.append((gradient * (after - before).detach()).sum(1))
    slack = 2 * ULPS * EPS * values[0].abs() + 1e-15
    assert (values[1] <= values[0] + 1e-4 * slopes[0] + slack).all()
    flat = slopes[1].abs() <= curvature * slopes[0].abs() * (1 + 1e-6)
    blind = slopes[0].abs() <= slack  # rounding may hide every Wolfe point: then the lowest point is taken
    assert (flat | blind).all() and blind.float().mean() < 0.2


@pytest.mark.parametrize("history", [10, 2, 1], ids=["matrix", "2 pairs", "1 pair"])
def test_with_an_exact_search_it_is_conjugate_gradients_on_a_quadratic(history: int) -> None:
    batch, dim = 4, 6
    a, start = spectrum(batch, dim, 20.0), randn(batch, dim)
    exact = Wolfe(decrease=1e-9, curvature=1e-8, tries=40)
    solution = minimize(ellipsoid, start, LBFGS(history, exact), given={"a": a}, tol=1e-6, trace=True)
    assert solution.converged.all()
    for row in range(batch):
        path = moves(solution, row)
        assert len(path) <= dim + 1
        u, r = start[row], -a[row] @ start[row]
        p = r
        for _, point in path[: dim - 1]:
            step = r @ r / (p @ a[row] @ p)
            u, old, r = u + step * p, r, r - step * a[row] @ p
            p = r + r @ r / (old @ old) * p
            assert torch.allclose(point, u, atol=1e-6)


def test_one_step_is_one_evaluation() -> None:
    calls = []

    @energy
    def counted(y):
        calls.append(len(y))
        return valley.function(y)

    solution = minimize(counted, torch.full((1, 3), -1.0), LBFGS(), tol=1e-3)
    assert solution.converged.all() and len(calls) == 1 + int(solution.steps)


# The answers --------------------------------------------------------------------------------------------


def test_himmelblau_and_rosenbrock_as_scipy_solves_them() -> None:
    for target, start in (
        (Himmelblau().double(), Himmelblau().double().minima + 0.4 * randn(4, 2)),
        (Rosenbrock(2).double(), 2 * randn(6, 2)),
    ):
        ours = minimize(target, start, LBFGS(), tol=1e-9)
        assert ours.converged.all()
        for row, y in enumerate(start.numpy()):

            def both(y: np.ndarray, target: Energy = target) -> tuple[float, np.ndarray]:
                value, gradient = target.value_and_grad("y", y=torch.from_numpy(y[None]))
                return float(value), gradient[0].numpy()

            theirs = optimize.minimize(both, y, jac=True, method="BFGS", options={"gtol": 1e-9})
            np.testing.assert_allclose(ours.value[row].numpy(), theirs.x, atol=1e-7)


class Logistic(Energy):
    """E(w, c) = c Σ_n log(1 + exp(-label_n ⟨w, x_n⟩)) + ½|w|²: rows that differ in c."""

    def __init__(self, x: Tensor, label: Tensor):
        super().__init__()
        self.register_buffer("x", x)
        self.register_buffer("sign", label)

    def forward(self, w: Tensor, c: Tensor) -> Tensor:
        margins = self.sign * (w @ self.x.T)
        return c * torch.nn.functional.softplus(-margins).sum(1) + 0.5 * (w**2).sum(1)


def test_logistic_regression_in_200_dimensions_as_scikit_learn_solves_it() -> None:
    x = randn(300, 200) @ torch.diag(torch.logspace(0, 1, 200, dtype=torch.float64))
    label = torch.sign(x @ randn(200, seed=1) + 30 * randn(300, seed=2))
    c = torch.tensor([1e-4, 1e-2, 1.0], dtype=torch.float64)
    start = torch.zeros(3, 200, dtype=torch.float64)
    ours = minimize(Logistic(x, label), {"w": start}, LBFGS(), given={"c": c}, tol=1e-7, max_steps=3000)
    assert ours.converged.all()
    for row in range(3):
        theirs = LogisticRegression(C=float(c[row]), fit_intercept=False, solver="newton-cholesky", tol=1e-10)
        theirs.fit(x.numpy(), label.numpy())
        np.testing.assert_allclose(ours.value["w"][row].numpy(), theirs.coef_[0], atol=2e-7)


def test_a_thousand_rows_of_rosenbrock_in_ten_dimensions_all_converge() -> None:
    start = torch.tensor([-1.2, 1.0] * 5, dtype=torch.float64) + 0.5 * randn(1000, 10)
    solution = minimize(Rosenbrock(10).double(), start, LBFGS(), tol=1e-5)
    assert solution.converged.all()
    y = solution.value.requires_grad_()
    (gradient,) = torch.autograd.grad(valley(y=y).sum(), y)
    assert gradient.abs().max() <= 1e-5


def test_many_dimensions() -> None:
    @energy
    def chain(y):
        return ((y[:, 1:] - y[:, :-1]) ** 2).sum(1) + (y - 1).cosh().sum(1)

    solution = minimize(chain, torch.zeros(2, 20_000, dtype=torch.float64), LBFGS(), tol=1e-8)
    assert solution.converged.all() and (solution.value - 1).abs().max() < 1e-8


@BOTH
def test_any_shape_is_solved_as_its_rows_laid_flat(history: int) -> None:
    @energy
    def folded(y):
        return valley.function(y.flatten(1))

    start = 0.5 * randn(3, 4)
    flat = minimize(valley, start, LBFGS(history))
    shaped = minimize(folded, start.view(3, 2, 2), LBFGS(history))
    assert torch.equal(shaped.value.flatten(1), flat.value) and torch.equal(shaped.steps, flat.steps)


# Rows, rounding and failure -----------------------------------------------------------------------------


@BOTH
def test_the_searches_of_other_rows_change_nothing(history: int) -> None:
    start = randn(6, 4)
    other = start.clone()
    other[1::2] = 30 * randn(3, 4, seed=5)  # far out: long searches
    settings = {"max_steps": 60, "tol": 0.0, "trace": True}
    one, two = (minimize(valley, y, LBFGS(history), **settings) for y in (start, other))
    assert not torch.equal(one.value[1::2], two.value[1::2])
    assert torch.equal(one.trace.value[:, ::2], two.trace.value[:, ::2])


@BOTH
def test_nan_at_a_trial_is_stepped_back_from_and_nan_at_the_start_stays_in_its_row(history: int) -> None:
    rows = [[0.01, 40.0, 3.0, 0.5], [torch.nan, 1.0, 1.0, 1.0], [5.0, 1e-3, 2.0, 7.0]]
    start = torch.tensor(rows, dtype=torch.float64)
    solution = minimize(barrier, start, LBFGS(history), tol=1e-8)
    assert solution.reasons == ["gradient", "non finite", "gradient"]
    assert (solution.value[[0, 2]] - 1).abs().max() < 1e-7
    alone = minimize(barrier, start[[0, 2]], LBFGS(history), tol=1e-8)
    assert torch.allclose(alone.value, solution.value[[0, 2]], rtol=1e-12)


def test_a_gradient_that_is_nan_is_reported() -> None:
    kink = energy(lambda y: (y**2).sum(1) + 0 * (y[:, 0] - 1).abs().sqrt())
    solution = minimize(kink, torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64), LBFGS())
    assert solution.reasons == ["non finite", "gradient"]
    assert torch.equal(solution.value[0], torch.tensor([1.0, 2.0]).double())


class Liar(Energy):
    """E(y) = |y|², and for rows with y_0 > 0 the gradient of -E."""

    closed_form = ("y",)

    def forward(self, y: Tensor) -> Tensor:
        return (y**2).sum(1)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        return self(y=y), torch.where(y[:, :1] > 0, -2 * y, 2 * y)


@BOTH
def test_a_row_that_no_step_lowers_has_stalled_where_it_was(history: int) -> None:
    start = torch.tensor([[1.0, 2.0, 0.0, 1.0], [-1.0, 2.0, 3.0, 1.0]], dtype=torch.float64)
    solution = minimize(Liar(), start, LBFGS(history))
    assert solution.reasons == ["stalled", "gradient"]
    assert torch.equal(solution.value[0], start[0]) and int(solution.steps[0]) <= 25


@BOTH
@pytest.mark.parametrize("height", [0.0, 1e3, 1e8])
def test_it_converges_where_differences_of_the_energy_are_rounding(history: int, height: float) -> None:
    lifted = energy(lambda y: valley.function(y) + height)
    solution = minimize(lifted, 0.5 * randn(20, 4), LBFGS(history), tol=1e-9)
    assert solution.converged.all()  # E itself resolves gradients down to √(ε height), 1e-4


@BOTH
def test_a_goal_below_rounding_ends_in_stalled_rows(history: int) -> None:
    lifted = energy(lambda y: valley.function(y) + 1.0)
    start = (0.5 * randn(50, 4)).float()
    solution = minimize(lifted, start, LBFGS(history), tol=1e-7, max_steps=2000)
    assert ((solution.stopped_by == Stop.STALLED) | solution.converged).all()
    assert (solution.stopped_by == Stop.STALLED).any() and (solution.gradient_norm < 1e-2).all()


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="history must be an integer of at least 1; got 0"):
        LBFGS(0)
    with pytest.raises(ValueError, match=r"expected decrease < curvature; got decrease=0\.9, curvature=0\.1"):
        Wolfe(0.9, 0.1)
    with pytest.raises(ValueError, match="tries must be an integer of at least 1"):
        Wolfe(tries=0)
    with pytest.raises(
        TypeError, match=r"the steps of LBFGS have no derivative; use differentiate='implicit'"
    ):
        minimize(valley, randn(2, 2), LBFGS(), differentiate="unroll")
