"""The categorical cross-entropy method: one step as in numpy, and the optima that enumeration finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm import Choices, Solution, energy, minimize
from ebm.infer import CategoricalCEM, Enumerate
from ebm.infer.pose import pose


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@energy
def cost(a, table):
    """Σ_d table[row, d, a_d]."""
    return table.gather(2, a.flatten(1).unsqueeze(2)).squeeze(2).sum(1)


@energy
def ising(spins, field, coupling):
    sign = 2.0 * spins.double() - 1.0
    return -(field * sign).sum(1) - torch.einsum("bi,bij,bj->b", sign, coupling, sign)


def zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.long)


@pytest.mark.parametrize(("samples", "elites", "smoothing"), [(40, 8, 0.25), (3, 1, 0.8)])
def test_steps_are_those_of_numpy(samples, elites, smoothing):
    batch, steps, n = 3, 6, 3
    table = torch.randn(batch, 4, n, dtype=torch.float64, generator=seeded(1))
    table[0, :2, :2] = torch.nan  # of row 0 one sample in nine counts at first, fewer than there are elites
    method = CategoricalCEM(samples, elites, smoothing)
    over = {"a": Choices(zeros(batch, 2, 2), n)}
    solution = minimize(
        cost, over, method, given={"table": table}, generator=seeded(2), max_steps=steps, trace=True
    )
    g, p = seeded(2), np.full((batch, 4, n), 1 / n)
    rows, entries = np.ogrid[:batch, :4]
    fewest = elites
    for step in range(1, steps + 1):
        noise = torch.empty(batch, samples, 4, dtype=torch.float64).normal_(generator=g)
        uniform = torch.special.ndtr(noise).numpy()
        drawn = (uniform[..., None] > p.cumsum(2)[:, None]).sum(3)
        energies = table.numpy()[np.arange(batch)[:, None, None], entries[None], drawn].sum(2)
        at_mode = table.numpy()[rows, entries, p.argmax(2)].sum(1)
        assert solution.trace is not None
        lowest = np.fmin(np.fmin.reduce(energies, 1), at_mode)
        np.testing.assert_allclose(solution.trace.energy[step], lowest, rtol=1e-10)
        for b in range(batch):
            order = np.argsort(energies[b])[:elites]
            best = drawn[b][order[np.isfinite(energies[b][order])]]
            share = (np.eye(n)[best].sum(0) + (elites - len(best)) * p[b]) / elites
            p[b] = (1 - smoothing) * share + smoothing * p[b]
            fewest = min(fewest, len(best))
    assert fewest < elites


def test_finds_the_ground_states_that_enumeration_finds():
    g = seeded()
    field = torch.randn(16, 12, dtype=torch.float64, generator=g)
    given = {"field": field, "coupling": 0.2 * torch.randn(16, 12, 12, dtype=torch.float64, generator=g)}
    over = {"spins": Choices(zeros(16, 12), 2)}
    best = minimize(ising, over, Enumerate(), given=given)
    found = minimize(ising, over, CategoricalCEM(300, 30, smoothing=0.5), given=given, generator=g)
    assert found.reasons == ["spread"] * 16
    torch.testing.assert_close(found.energy, best.energy)
    assert torch.equal(found.value["spins"], best.value["spins"])


def test_packs_a_knapsack():
    rng = np.random.default_rng(0)
    worth, weight = rng.uniform(1, 10, 12), rng.uniform(1, 10, 12)

    @energy
    def minus_worth(taken):
        return -(taken.double() * torch.tensor(worth)).sum(1)

    @energy
    def overweight(taken):
        return (taken.double() * torch.tensor(weight)).sum(1) - 25

    all_taken = Choices(zeros(8, 12) + 1, 2)  # which is not allowed
    solution = minimize(
        minus_worth, all_taken, CategoricalCEM(300, 30), subject_to=[overweight], generator=seeded()
    )
    packs = np.array(list(itertools.product([0, 1], repeat=12)))
    best = (packs @ worth)[packs @ weight <= 25].max()
    assert solution.violation is not None and solution.violation.tolist() == [0.0] * 8
    np.testing.assert_allclose(solution.energy, -best)


def test_variables_of_different_sizes_keep_to_their_values():
    @energy
    def upward(a, b):
        return -a.double().sum(1) - b.double()

    over = {"a": Choices(zeros(4, 3), 2), "b": Choices(zeros(4), 5)}
    solution = minimize(upward, over, CategoricalCEM(50, 5), generator=seeded())
    problem, u = pose(upward, over, None)
    p = CategoricalCEM().init(problem, u)["probability"]
    assert p[0].tolist() == [[0.5, 0.5, 0, 0, 0]] * 3 + [[0.2] * 5]
    assert solution.value["a"].tolist() == [[1, 1, 1]] * 4 and solution.value["b"].tolist() == [4] * 4


def test_the_generator_decides_and_neighbors_do_not():
    table = torch.randn(5, 6, 3, dtype=torch.float64, generator=seeded())
    over = {"a": Choices(zeros(5, 6), 3)}

    def solve(table: Tensor, seed: int = 3, **settings) -> Solution:
        method = CategoricalCEM(15, 3)
        return minimize(
            cost, over, method, given={"table": table}, generator=seeded(seed), trace=True, **settings
        )

    def path(solution: Solution, rows: list[int]) -> Tensor:
        assert solution.trace is not None
        return solution.trace.energy[:10, rows]

    first, everyone = solve(table), [0, 1, 2, 3, 4]
    assert torch.equal(path(first, everyone), path(solve(table), everyone))
    assert not torch.equal(path(first, everyone), path(solve(table, seed=4), everyone))
    assert torch.equal(path(first, everyone), path(solve(table, max_rows=7), everyone))
    table[[0, 3]] = torch.nan
    poisoned = solve(table)
    others = [1, 2, 4]
    assert torch.equal(path(first, others), path(poisoned, others))
    assert [poisoned.reasons[r] for r in (0, 3)] == ["non finite"] * 2
    assert torch.equal(first.value["a"][others], poisoned.value["a"][others])


def test_what_does_not_fit_is_refused():
    @energy
    def bowl(y):
        return (y**2).sum(1)

    with pytest.raises(TypeError, match="y is continuous; use CEM"):
        minimize(bowl, torch.zeros(2, 3), CategoricalCEM())
    with pytest.raises(ValueError, match="num_samples=5, num_elites=6"):
        CategoricalCEM(5, 6)
    with pytest.raises(ValueError, match="smoothing"):
        CategoricalCEM(smoothing=1.5)
