"""The augmented Lagrangian: multipliers and rates in closed form, rows of their own, scipy as an oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize as scipy_minimize
from torch import Tensor

from ebm import energy, minimize
from ebm.infer import CEM, FISTA, LBFGS, AugmentedLagrangian, GradientDescent, MultiStart, Newton, Refined
from ebm.infer.pose import pose
from ebm.regularizers import Box


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64)


@energy
def squared(y):
    return (y**2).flatten(1).sum(1)


@energy
def below_one(y):  # allowed from 1 on
    return 1 - y[:, 0]


def test_the_price_of_an_active_constraint_is_two():
    """min x² with x >= 1: x = 1, and 2x = λ."""
    found = minimize(squared, zeros(3, 1), AugmentedLagrangian(LBFGS()), subject_to=[below_one], tol=1e-8)
    assert found.reasons == ["gradient"] * 3
    torch.testing.assert_close(found.value, zeros(3, 1) + 1, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.report["multipliers"], zeros(3, 1) + 2, rtol=0, atol=1e-4)
    assert found.violation is not None and bool((found.violation <= 1e-6).all())


@pytest.mark.parametrize("penalty", [1.0, 10.0, 100.0])
def test_multipliers_converge_at_the_rate_of_the_formula(penalty):
    """With exact inner solutions, λ_{k+1} - 2 = (λ_k - 2) · 2 / (2 + ρ)."""
    method = AugmentedLagrangian(GradientDescent(1 / (2 + penalty)), penalty, growth=1.0, inner_steps=1)
    problem, u = pose(squared, zeros(1, 1), {}, [below_one])
    state, errors = method.init(problem, u), []
    for _ in range(8):
        state = method.step(problem, state)
        errors.append(float(state["multipliers"]) - 2)
    rates = [after / before for before, after in itertools.pairwise(errors[:4])]
    np.testing.assert_allclose(rates, 2 / (2 + penalty), rtol=1e-6)


def test_an_equality_is_two_constraints_whose_prices_differ_by_its_multiplier():
    """min x² with x = 1: λ = -2 (E8), here the price of 1 - x <= 0 less that of x - 1 <= 0."""

    @energy
    def above_one(y):
        return y[:, 0] - 1

    for start in (-3.0, 4.0):
        found = minimize(
            squared, zeros(1, 2) + start, AugmentedLagrangian(LBFGS()), subject_to=[below_one, above_one]
        )
        low, high = found.report["multipliers"][0].tolist()
        assert high - low == pytest.approx(-2, abs=1e-4) and min(low, high) >= 0
        assert found.value[0].tolist() == pytest.approx([1, 0], abs=1e-5)


def test_a_constraint_with_room_has_no_price():
    @energy
    def above_minus_one(y):
        return -1 - y[:, 0]

    found = minimize(squared, zeros(2, 3) + 2, AugmentedLagrangian(LBFGS()), subject_to=[above_minus_one])
    assert found.converged.all() and found.report["multipliers"].tolist() == [[0.0], [0.0]]
    assert float(found.energy.max()) < 1e-9


@pytest.mark.parametrize(
    ("inner", "growth"),
    [(LBFGS(), 4.0), (Newton(), 4.0), (GradientDescent(0.005), 1.0)],
    ids=["LBFGS", "Newton", "GD"],
)
def test_random_programs_are_solved_as_by_scipy(inner, growth):
    """min ½ Σ h (y - c)² with two linear constraints and a ball, rows of different data."""
    rows, dim = 12, 4
    g = seeded(3)
    given = {name: torch.randn(rows, dim, dtype=torch.float64, generator=g) for name in ("c", "a", "b")}
    given["h"] = 0.5 + torch.rand(rows, dim, dtype=torch.float64, generator=g)

    @energy
    def distance(y, c, h):
        return 0.5 * (h * (y - c) ** 2).sum(1)

    @energy
    def first(y, a):
        return (a * y).sum(1) - 0.2

    @energy
    def second(y, b):
        return 0.1 + (b * y).sum(1)

    @energy
    def ball(y):
        return (y**2).sum(1) - 1

    walls = [first.given(a=given.pop("a")), second.given(b=given.pop("b")), ball]
    method = AugmentedLagrangian(inner, growth=growth, inner_steps=200)
    found = minimize(
        distance, {"y": zeros(rows, dim)}, method, given=given, subject_to=walls, tol=1e-6, max_steps=20000
    )
    assert found.converged.all() and found.violation is not None and float(found.violation.max()) < 4e-6
    g = seeded(3)
    c, a, b = (torch.randn(rows, dim, dtype=torch.float64, generator=g).numpy() for _ in range(3))
    h = given["h"].numpy()
    active = 0
    for row in range(rows):
        oracle = scipy_minimize(
            lambda y, row=row: 0.5 * (h[row] * (y - c[row]) ** 2).sum(),
            np.zeros(dim),
            constraints=[
                {"type": "ineq", "fun": lambda y, row=row: 0.2 - a[row] @ y},
                {"type": "ineq", "fun": lambda y, row=row: -0.1 - b[row] @ y},
                {"type": "ineq", "fun": lambda y: 1 - y @ y},
            ],
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(found.value["y"][row], oracle.x, atol=2e-5)
        prices = found.report["multipliers"][row].numpy()
        slope = h[row] * (oracle.x - c[row]) + prices @ np.stack([a[row], b[row], 2 * oracle.x])
        np.testing.assert_allclose(slope, 0, atol=1e-4)  # stationary under these prices
        active += int((prices > 1e-3).sum())
    assert 8 < active < 3 * rows


def test_rows_have_prices_and_penalties_of_their_own():
    """x >= a: λ = 2 max(a, 0); and a row is the same whatever its neighbors ask."""
    a = torch.tensor([-1.0, 0.5, 2.0, 3.0], dtype=torch.float64)

    def solve(a: Tensor):
        @energy
        def short(y, a):
            return a - y[:, 0]

        penalty = torch.tensor([1.0, 5.0, 10.0, 20.0], dtype=torch.float64)
        method = AugmentedLagrangian(LBFGS(), penalty, growth=1.0)
        return minimize(squared, {"y": zeros(4, 1)}, method, subject_to=[short.given(a=a)], tol=1e-7)

    found = solve(a)
    torch.testing.assert_close(found.report["multipliers"][:, 0], 2 * a.clamp(min=0), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.value["y"][:, 0], a.clamp(min=0), rtol=0, atol=2e-6)
    assert found.report["penalty"].tolist() == [1.0, 5.0, 10.0, 20.0]
    assert len(set(found.steps.tolist())) > 1
    other = a.clone()
    other[[0, 3]] = torch.tensor([7.0, -7.0], dtype=torch.float64)
    changed = solve(other)
    assert torch.equal(changed.value["y"][1:3], found.value["y"][1:3])
    assert torch.equal(changed.report["multipliers"][1:3], found.report["multipliers"][1:3])


def test_a_feasible_start_is_left_for_something_lower_and_never_for_something_forbidden():
    """The record compares the violation first: what is within `feasibility` counts as allowed."""
    start = zeros(2, 1) + torch.tensor([[5.0], [-2.0]], dtype=torch.float64)
    for steps in (1, 3, 7, 100):
        found = minimize(
            squared, start, AugmentedLagrangian(LBFGS()), subject_to=[below_one], max_steps=steps
        )
        assert found.violation is not None
        assert float(found.violation[0]) <= 1e-6 and float(found.energy[0]) <= 25
    torch.testing.assert_close(found.energy, zeros(2) + 1, rtol=0, atol=1e-5)


def test_what_cannot_be_met_is_not_called_converged():
    @energy
    def impossible(y):
        return 0.5 + (y**2).sum(1)

    found = minimize(
        squared, zeros(2, 2) + 1, AugmentedLagrangian(LBFGS()), subject_to=[impossible], max_steps=300
    )
    assert not found.converged.any() and found.violation is not None
    torch.testing.assert_close(found.violation, zeros(2) + 0.5, rtol=0, atol=1e-4)  # as little as can be
    assert bool((found.report["penalty"] > 10).all())


def test_several_starts_and_a_search_before_it():
    """Two valleys, the lower one forbidden: a start in the allowed one has to be found."""

    @energy
    def valleys(y):
        return ((y**2 - 1) ** 2).sum(1) + 0.3 * y[:, 0]

    @energy
    def left(y):
        return -y[:, 0] - 0.5  # y_0 >= -½ is allowed

    start = zeros(3, 1) - 1
    for method in (
        MultiStart(AugmentedLagrangian(LBFGS()), 16, 2.0),
        Refined(CEM(100, 10), AugmentedLagrangian(LBFGS()), 5),
    ):
        found = minimize(valleys, start, method, subject_to=[left], generator=seeded(), max_steps=200)
        lowest = np.roots([4, 0, -4, 0.3]).real.max()  # where the slope 4y³ - 4y + 0.3 is 0, on the right
        np.testing.assert_allclose(found.value.flatten(), lowest, atol=1e-4)
        assert found.converged.all()


def test_a_box_goes_with_a_proximal_method():
    found = minimize(
        squared + Box("y", -3.0, 0.75),
        zeros(1, 2),
        AugmentedLagrangian(FISTA()),
        subject_to=[energy(lambda y: 1 - y.sum(1))],
        max_steps=5000,
    )
    torch.testing.assert_close(found.value, zeros(1, 2) + 0.5, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda: AugmentedLagrangian(CEM()), TypeError, "takes a gradient method"),
        (lambda: AugmentedLagrangian(MultiStart(LBFGS())), TypeError, r"MultiStart\(AugmentedLagrangian"),
        (lambda: AugmentedLagrangian(LBFGS(), penalty=0.0), ValueError, "penalty must be"),
        (lambda: AugmentedLagrangian(LBFGS(), growth=0.5), ValueError, "growth multiplies"),
        (lambda: AugmentedLagrangian(LBFGS(), inner_steps=0), ValueError, "inner_steps must be"),
        (lambda: AugmentedLagrangian(LBFGS(), feasibility=-1.0), ValueError, "feasibility must be"),
        (
            lambda: minimize(
                squared,
                zeros(1, 1),
                AugmentedLagrangian(LBFGS()),
                subject_to=[below_one],
                differentiate="implicit",
            ),
            TypeError,
            "does not hold where a constraint is active",
        ),
    ],
)
def test_what_does_not_fit_is_refused(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()
