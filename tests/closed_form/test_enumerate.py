"""Enumeration against itertools: the same minimum and the first of equals, for every shape and chunk."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torch import Tensor

import ebm.infer.enumerate as enumerate_module
from ebm import Choices, Energy, Solution, energy, minimize
from ebm.infer import Enumerate, GradientDescent


class Table(Energy):
    """E = table[row, a_1, a_2, ...]: every combination has an energy of its own."""

    def forward(self, a: Tensor, table: Tensor) -> Tensor:
        digits = a.reshape(len(a), -1)
        return table[(torch.arange(len(a)), *digits.unbind(1))]


def choices(n: int, *shape: int) -> Choices:
    return Choices(torch.full(shape, n - 1), n)


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, int, tuple[int, ...]]:
    """Energies of few values, so that there are ties, some of them infinite or NaN."""
    n, shape = draw(st.integers(1, 3)), draw(st.sampled_from([(), (1,), (3,), (2, 2), (4,)]))
    batch = draw(st.integers(1, 3))
    values = st.sampled_from([-1.0, 0.0, 0.5, 2.0, np.inf, np.nan])
    count = n ** math.prod(shape)
    flat = draw(st.lists(values, min_size=batch * count, max_size=batch * count))
    return np.array(flat).reshape(batch, *[n] * math.prod(shape)), n, shape


def by_hand(table: np.ndarray, n: int) -> tuple[tuple[int, ...], float]:
    """The first combination with the least energy of one row, NaN being above everything."""
    best, least = (0,) * table.ndim, np.inf
    for combination in itertools.product(range(n), repeat=table.ndim):
        if table[combination] < least:
            best, least = combination, table[combination]
    return best, least


@given(tables(), st.sampled_from([None, 1, 2, 7]))
def test_finds_the_first_minimum_of_a_table(drawn, max_rows):
    table, n, shape = drawn
    start = Choices(torch.zeros(len(table), *shape, dtype=torch.long), n)
    solution = minimize(
        Table(), {"a": start}, Enumerate(), given={"table": torch.tensor(table)}, max_rows=max_rows
    )
    for row, energies in enumerate(table):
        combination, least = by_hand(energies, n)
        if np.isinf(least):
            assert solution.reasons[row] == "non finite" and not solution.converged[row]
        else:
            assert solution.reasons[row] == "exhausted" and solution.converged[row]
            assert solution.energy[row] == least
            assert tuple(solution.value["a"][row].flatten().tolist()) == combination
    assert solution.value["a"].shape == (len(table), *shape)


def test_several_variables_of_different_size_and_shape():
    @energy
    def mixed(a, b, c, w):
        a, b, c = a.double(), b.double(), c.double()
        return (w * torch.cat([a, b.flatten(1), c[:, None]], 1)).sum(1) ** 2 + (a[:, 0] - b[:, 1, 0]) * c

    sizes = {"a": (3, (2,)), "b": (2, (2, 2)), "c": (4, ())}
    w = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    over = {name: choices(n, 5, *shape) for name, (n, shape) in sizes.items()}
    solution = minimize(mixed, over, Enumerate(), given={"w": w})
    candidates = []
    digits = [range(n) for n, shape in sizes.values() for _ in range(math.prod(shape))]
    for d in itertools.product(*digits):
        x = np.array(d, dtype=float)
        candidates.append((w.numpy() @ x) ** 2 + (x[0] - x[4]) * x[6])  # a = d[:2], b = d[2:6], c = d[6]
    np.testing.assert_allclose(solution.energy, np.min(candidates, 0), rtol=1e-12)
    best = np.array(list(itertools.product(*digits)))[np.argmin(candidates, 0)]
    assert solution.value["a"].tolist() == best[:, :2].tolist()
    assert solution.value["b"].flatten(1).tolist() == best[:, 2:6].tolist()
    assert solution.value["c"].tolist() == best[:, 6].tolist()
    assert solution.value["b"].shape == (5, 2, 2) and solution.value["c"].dtype == torch.int64


def test_candidates_of_an_angle():
    grid = torch.arange(48, dtype=torch.float64)[:, None] * (2 * math.pi / 48)

    @energy
    def ellipse(y, z):
        point = torch.stack([2 * torch.cos(z[:, 0]), torch.sin(z[:, 0])], 1)
        return ((y - point) ** 2).sum(1)

    y = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    z = torch.zeros(20, 1, dtype=torch.float64)
    solution = minimize(ellipse, {"z": z}, Enumerate(grid), given={"y": y}, trace=True)
    points = np.stack([2 * np.cos(grid.numpy()[:, 0]), np.sin(grid.numpy()[:, 0])], 1)
    nearest = cdist(y.numpy(), points).argmin(1)
    assert torch.equal(solution.value["z"], grid[nearest])
    assert solution.steps.tolist() == [1] * 20
    assert solution.trace is not None and solution.trace.energy.shape == (2, 20)
    torch.testing.assert_close(solution.trace.energy[1], solution.energy)


def test_k_means_assigns_to_the_nearest_mean():
    g = torch.Generator().manual_seed(2)
    means = torch.randn(6, 2, 3, dtype=torch.float64, generator=g)  # six prototypes of shape (2, 3)
    y = torch.randn(40, 2, 3, dtype=torch.float64, generator=g)

    @energy
    def reconstruction(y, z):
        return 0.5 * ((y - torch.einsum("bk,kij->bij", z, means)) ** 2).flatten(1).sum(1)

    start = torch.full((40, 6), 1 / 6, dtype=torch.float64)
    z = minimize(reconstruction, {"z": start}, Enumerate(torch.eye(6)), given={"y": y}).value["z"]
    assert z.dtype == torch.float64 and torch.equal(z.sum(1), torch.ones(40, dtype=torch.float64))
    nearest = cdist(y.flatten(1).numpy(), means.flatten(1).numpy()).argmin(1)
    assert z.argmax(1).tolist() == nearest.tolist()

    @energy  # candidates may have any shape
    def distance(y, z):
        return ((y - z) ** 2).flatten(1).sum(1)

    found = minimize(distance, {"z": torch.zeros_like(y)}, Enumerate(means), given={"y": y}).value["z"]
    assert torch.equal(found, means[nearest])


def test_a_start_outside_the_set_is_no_candidate():
    @energy
    def bowl(y):
        return (y**2).sum(1)

    grid = torch.tensor([[3.0], [-2.0]], dtype=torch.float64)
    solution = minimize(bowl, torch.zeros(2, 1, dtype=torch.float64), Enumerate(grid))
    assert solution.value.tolist() == [[-2.0], [-2.0]] and solution.energy.tolist() == [4.0, 4.0]
    unsearched = minimize(bowl, torch.zeros(2, 1, dtype=torch.float64), Enumerate(grid), max_steps=0)
    assert unsearched.value.tolist() == [[3.0], [3.0]] and unsearched.reasons == ["max steps"] * 2


def test_constraints_rank_before_the_energy():
    table = torch.tensor([[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0], [0.0, torch.nan, 2.0, 1.0]])

    @energy
    def limit(a, bound):
        return bound[torch.arange(len(a)), a[:, 0]]

    bounds = torch.tensor([[0.5, 0.2, -1.0, 0.0], [0.5, 0.2, 0.2, 0.3], [1.0, 0.0, 0.25, 0.25]])
    for max_rows in (None, 3):
        solution = minimize(
            Table(),
            {"a": choices(4, 3, 1)},
            Enumerate(),
            given={"table": table},
            subject_to=[limit.given(bound=bounds)],
            max_rows=max_rows,
        )
        # Allowed: 2 and 3. Nothing allowed: the least violation is at 1 and 2. NaN is worse than a violation.
        assert solution.value["a"].flatten().tolist() == [2, 1, 3]
        assert solution.energy.tolist() == [2.0, 1.0, 1.0]
        torch.testing.assert_close(solution.violation, torch.tensor([0.0, 0.2, 0.25]))


def test_a_start_of_nan_is_searched_and_poisons_no_neighbor():
    def solve(table: list[list[float]]) -> Solution:
        return minimize(Table(), {"a": choices(2, 3, 1)}, Enumerate(), given={"table": torch.tensor(table)})

    nan = float("nan")
    clean = solve([[1.0, 2.0], [3.0, 0.3], [7.0, 5.0]])
    poisoned = solve([[1.0, 2.0], [nan, nan], [7.0, nan]])  # row 2 starts at NaN
    assert poisoned.reasons == ["exhausted", "non finite", "exhausted"]
    assert poisoned.converged.tolist() == [True, False, True]
    assert poisoned.energy[0] == clean.energy[0] and poisoned.value["a"][0] == clean.value["a"][0]
    assert poisoned.energy[1].isnan() and poisoned.energy[2] == 7.0


def test_max_rows_bounds_what_is_evaluated_at_once():
    seen = []

    @energy
    def watched(a):
        seen.append(len(a))
        return a.double().sum(1)

    minimize(watched, choices(3, 2, 4), Enumerate(), max_rows=10)
    assert max(seen) == 10 and sum(seen) == 2 * 3**4 + 4  # and the start and the answer, 2 rows each
    seen.clear()
    minimize(watched, choices(3, 4, 4), Enumerate(), max_rows=1)
    assert max(seen) == 4  # never less than one candidate a row
    seen.clear()
    minimize(watched, choices(2, 1, 17), Enumerate())
    assert max(seen) == enumerate_module.CHUNK_ROWS


@energy
def total(a):
    return a.double().flatten(1).sum(1)


@energy
def bowl(y):
    return (y**2).sum(1)


@energy
def joint(a, y):
    return a.double().sum(1) + (y**2).sum(1)


@energy
def whole(a):
    return a.sum(1)


floats = torch.zeros(2, 3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("problem", "error", "message"),
    [
        (lambda: minimize(total, choices(2, 1, 40), Enumerate()), ValueError, "1099511627776 combinations"),
        (lambda: minimize(bowl, floats, Enumerate()), TypeError, "y is continuous; name its candidates"),
        (lambda: minimize(total, choices(2, 2, 3), Enumerate(torch.eye(3))), TypeError, "none continuous"),
        (lambda: minimize(bowl, floats, Enumerate(torch.eye(4))), ValueError, r"'y' has \(3,\)"),
        (lambda: Enumerate(torch.empty(0, 3)), ValueError, "K >= 1 candidates"),
        (
            lambda: minimize(joint, {"a": choices(2, 2, 3), "y": floats}, Enumerate()),
            TypeError,
            "no method searches both",
        ),
        (
            lambda: minimize(total, choices(2, 2, 3), Enumerate(), differentiate="implicit"),
            TypeError,
            "has no derivative",
        ),
        (
            lambda: minimize(total, choices(2, 2, 3), Enumerate(), differentiate="unroll"),
            TypeError,
            "have no derivative",
        ),
        (lambda: minimize(total, choices(2, 2, 3), GradientDescent(0.1)), TypeError, "holds Choices"),
        (lambda: minimize(whole, choices(2, 2, 3), Enumerate()), TypeError, "must return real numbers"),
    ],
)
def test_what_does_not_fit_is_refused(problem, error, message):
    with pytest.raises(error, match=message):
        problem()


@settings(max_examples=10)
@given(st.integers(0, 2**31))
def test_rows_do_not_see_each_other(seed):
    g = torch.Generator().manual_seed(seed)
    table = torch.randn(4, 3, 3, dtype=torch.float64, generator=g)
    full = minimize(Table(), {"a": choices(3, 4, 2)}, Enumerate(), given={"table": table})
    table[1] = torch.randn(3, 3, dtype=torch.float64, generator=g)
    changed = minimize(Table(), {"a": choices(3, 4, 2)}, Enumerate(), given={"table": table})
    alone = minimize(Table(), {"a": choices(3, 1, 2)}, Enumerate(), given={"table": table[2:3]})
    others = [0, 2, 3]
    assert torch.equal(full.value["a"][others], changed.value["a"][others])
    assert torch.equal(full.energy[others], changed.energy[others])
    assert torch.equal(full.value["a"][2:3], alone.value["a"])
