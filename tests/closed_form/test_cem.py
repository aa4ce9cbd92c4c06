"""The cross-entropy method: one step as in numpy, known minima, constraints with known multipliers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from ebm import Choices, Energy, Solution, energy, minimize
from ebm.infer import CEM
from ebm.infer.method import Method, State
from ebm.targets import Ackley, Himmelblau, Rastrigin


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64)


@energy
def squares(y):
    return (y**2).flatten(1).sum(1)


@energy
def bowl(y, center):
    return ((y - center) ** 2).flatten(1).sum(1)


@energy
def at_least_one(y):
    return 1 - y[:, 0]


class Box(Energy):
    """0 in [low, high] in every coordinate, +inf outside."""

    indicator = True
    separable = True

    def __init__(self, low: float, high: float):
        super().__init__()
        self.low, self.high = low, high

    def forward(self, y):
        outside = ((y < self.low) | (y > self.high)).reshape(len(y), -1).any(1)
        return torch.where(outside, torch.inf, 0.0).to(y)

    def prox(self, v, step):
        return v.clamp(self.low, self.high)


def test_two_steps_are_those_of_numpy():
    batch, samples, elites, smoothing, floor, kept = 3, 30, 6, 0.25, 0.4, 2
    center = torch.randn(batch, 2, 2, dtype=torch.float64, generator=seeded(1))
    std = torch.tensor([[1.0, 2.0], [0.5, 1.0]], dtype=torch.float64)
    method = CEM(samples, elites, std=std, smoothing=smoothing, min_std=floor, keep_elites=kept)
    solution = minimize(
        bowl,
        {"y": zeros(batch, 2, 2)},
        method,
        given={"center": center},
        generator=seeded(2),
        max_steps=3,
        trace=True,
    )
    g, mean, sigma = seeded(2), np.zeros((batch, 2, 2)), np.broadcast_to(std.numpy(), (batch, 2, 2))
    old = np.zeros((batch, 0, 2, 2))
    for step in range(1, 4):
        noise = torch.empty(batch, samples, 2, 2, dtype=torch.float64).normal_(generator=g).numpy()
        pool = np.concatenate([mean[:, None] + sigma[:, None] * noise, old], 1)
        energies = ((pool - center.numpy()[:, None]) ** 2).sum((2, 3))
        best = np.stack([pool[b][np.argsort(energies[b])[:elites]] for b in range(batch)])
        at_mean = ((mean - center.numpy()) ** 2).sum((1, 2))
        lowest = np.minimum(energies.min(1), at_mean)
        assert solution.trace is not None
        np.testing.assert_allclose(solution.trace.energy[step], lowest, rtol=1e-10)
        mean = (1 - smoothing) * best.mean(1) + smoothing * mean
        sigma = np.maximum((1 - smoothing) * best.std(1) + smoothing * sigma, floor)
        old = best[:, :kept]


@pytest.mark.parametrize(
    ("target", "method"),
    [
        (Rastrigin(2), CEM(200, 20, std=3.0, keep_elites=5)),
        (Ackley(2), CEM(200, 20, std=3.0)),
        (Himmelblau(), CEM(200, 20, std=3.0, smoothing=0.2)),
    ],
    ids=["rastrigin", "ackley", "himmelblau"],
)
def test_reaches_the_global_minimum_from_every_start(target, method):
    target = target.double()
    starts = zeros(32, 2).uniform_(-4, 4, generator=seeded())
    solution = minimize(target, starts, method, generator=seeded(1), tol=1e-6, max_steps=200)
    assert solution.reasons == ["spread"] * 32
    assert float(target.distance_to_minima(solution.value).max()) < 1e-5
    assert bool((solution.energy <= target(y=starts)).all())
    assert solution.gradient_norm is None and solution.violation is None


def test_many_starts_find_many_minima_and_one_start_more_than_one():
    target = Himmelblau().double()
    spread = zeros(32, 2).uniform_(-4, 4, generator=seeded())
    for starts, method, least in ((spread, CEM(50, 5), 4), (zeros(32, 2), CEM(50, 5, std=3.0), 2)):
        solution = minimize(target, starts, method, generator=seeded())
        nearest = torch.cdist(solution.value, target.minima).argmin(1)
        assert len(nearest.unique()) >= least


@pytest.mark.parametrize("smoothing", [0.0, 0.6])
def test_how_far_the_mean_travels_on_an_even_slope(smoothing):
    """E = y: the elites are a normal distribution cut off above its quantile q = M/N.

    Its mean is -m σ and its variance s² σ², with q = Φ(-z), m = φ(z)/q and s² = 1 - m (m - z). So the mean
    travels σ m (1 + s + s² + ...) = σ m / (1 - s); with smoothing both m and 1 - s shrink by 1 - α.
    """
    rows, samples, elites, std = 25, 4000, 400, 2.0
    ends: list[Tensor] = []

    class Spy(CEM):
        def verdict(self, state, tol):
            ends.append(state["mean"])
            return torch.zeros(rows, dtype=torch.uint8)

    @energy
    def slope(y):
        return y[:, 0]

    method = Spy(samples, elites, std=std, smoothing=smoothing)
    minimize(slope, zeros(rows, 1), method, generator=seeded(), max_steps=40)
    q = elites / samples
    z = -float(norm.ppf(q))
    m = float(norm.pdf(z)) / q
    s = (1 - m * (m - z)) ** 0.5
    end = ends[-1].flatten()
    error = float(end.std()) / rows**0.5
    assert abs(float(end.mean()) + std * m / (1 - s)) < 4 * error + 20 / samples  # and a bias of order 1/N


@pytest.mark.parametrize("dim", [2, 4])
def test_an_active_constraint_is_met_at_its_multiplier(dim):
    """min |y|² with y_0 >= 1: y = e_0, E = 1, the multiplier is 2."""
    method = CEM(200, 20, std=1.0, smoothing=0.5)
    solution = minimize(
        squares, zeros(24, dim), method, subject_to=[at_least_one], generator=seeded(), tol=1e-5
    )
    assert solution.reasons == ["spread"] * 24
    assert solution.violation is not None and solution.violation.tolist() == [0.0] * 24
    # Nothing allowed is below 1; the multiplier says that E - 1 is 2 (y_0 - 1) to first order.
    assert bool((solution.energy >= 1).all()) and float(solution.energy.max()) < 1 + 1e-4
    torch.testing.assert_close(solution.value[:, 0], 1 + zeros(24), rtol=0, atol=1e-4)
    assert float(solution.value[:, 1:].abs().max()) < 1e-2  # E is flat there: 1e-4 in E is 1e-2 in y


def test_two_constraints_meet_in_a_corner():
    """min |y - (2, 2)|² with y_0 <= a, y_1 <= ½, a given: the vertex (a, ½), multipliers 2 (2 - a) and 3."""

    @energy
    def wall(y, a):
        return y[:, 0] - a

    @energy
    def roof(y):
        return y[:, 1] - 0.5

    a = torch.linspace(-0.5, 1.0, 16, dtype=torch.float64)
    center = torch.full((16, 2), 2.0, dtype=torch.float64)
    solution = minimize(
        bowl,
        {"y": zeros(16, 2)},
        CEM(300, 30, std=1.0, smoothing=0.5),
        given={"center": center},
        subject_to=[wall.given(a=a), roof],
        generator=seeded(),
    )
    expected = torch.stack([a, torch.full_like(a, 0.5)], 1)
    torch.testing.assert_close(solution.value["y"], expected, rtol=0, atol=1e-4)
    assert solution.violation is not None and float(solution.violation.max()) == 0


def test_what_cannot_be_met_is_reported_as_a_violation():
    @energy
    def impossible(y):
        return 0.5 + (y**2).sum(1)

    solution = minimize(
        squares, zeros(4, 2) + 1, CEM(100, 10, smoothing=0.5), subject_to=[impossible], generator=seeded()
    )
    assert solution.violation is not None
    torch.testing.assert_close(solution.violation, zeros(4) + 0.5, rtol=0, atol=1e-6)  # as little as can be


def test_never_violates_more_than_the_start_and_leaves_an_infeasible_one():
    """The energy pulls against the constraint, so the lowest energies are all forbidden."""

    @energy
    def downhill(y):
        return 10 * y[:, 0]

    start = zeros(3, 1) + torch.tensor([[1.0], [1.5], [-3.0]], dtype=torch.float64)
    kwargs = {"subject_to": [at_least_one], "generator": seeded()}
    short = minimize(downhill, start, CEM(20, 5, std=0.5), max_steps=1, **kwargs)
    assert short.violation is not None
    assert short.violation[:2].tolist() == [0.0, 0.0] and 0 < float(short.violation[2]) < 4
    assert float(short.energy[2]) > float(downhill(y=start)[2])  # allowed is better than low
    still = minimize(downhill, start, CEM(20, 5, std=1e-9), max_steps=0, **kwargs)
    assert torch.equal(still.value, start)


class Script(Method):
    """States that were written beforehand, to see what the driver keeps of them."""

    population = True

    def __init__(self, u: list[float], violation: list[float]):
        self.u, self.violation = u, violation

    def init(self, problem, u) -> State:
        return self.step(problem, {"k": torch.zeros(len(u), dtype=torch.long)})

    def step(self, problem, state) -> State:
        k = state["k"]
        u = torch.tensor(self.u, dtype=torch.float64)[k][:, None]
        violation = torch.tensor(self.violation, dtype=torch.float64)[k]
        return {"k": k + 1, "u": u, "value": problem.value(u), "violation": violation}

    def verdict(self, state, tol):
        return torch.zeros(len(state["u"]), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("points", "violations", "kept"),
    [
        ([3.0, 1.0, 2.0], [1.0, 1.0, 0.5], 2.0),  # less violation before less energy
        ([3.0, 1.0, 0.5], [0.0, 0.5, 2.0], 3.0),  # the start is the only one allowed
        ([3.0, 5.0, 4.0], [0.5, 0.0, 0.0], 4.0),  # among the allowed the lower one, though above the start
        ([3.0, torch.nan, 4.0], [0.5, 0.0, 0.2], 4.0),  # NaN is not allowed, whatever it violates
        ([torch.nan, 4.0, 5.0], [0.0, 0.5, 0.2], 5.0),
        ([3.0, 2.0, 1.0], [0.0, 0.0, 0.0], 1.0),
    ],
)
def test_the_record_compares_violation_then_energy(points, violations, kept):
    solution = minimize(squares, zeros(1, 1), Script(points, violations), max_steps=2)
    assert float(solution.value) == kept and float(solution.energy) == kept**2


def test_avoids_regions_of_nan_and_infinity():
    @energy
    def holes(y):
        energy = ((y - 1) ** 2).sum(1)
        energy = torch.where(y[:, 0] < 0, torch.nan, energy)
        return torch.where(y[:, 1] > 2, torch.inf, torch.where(y[:, 1] < -5, -torch.inf, energy))

    start = torch.tensor([[-0.5, 0.0], [0.5, 2.5]], dtype=torch.float64)  # itself in a hole
    method = CEM(100, 10, std=1.0, smoothing=0.2)
    solution = minimize(holes, start, method, generator=seeded(), tol=1e-6)
    assert solution.reasons == ["spread"] * 2
    torch.testing.assert_close(solution.value, torch.ones_like(start), rtol=0, atol=1e-4)


def test_few_usable_samples_do_not_collapse_the_spread():
    @energy
    def keyhole(y):  # 2 in 100 of the first samples fall into it
        return torch.where(y[:, 0] > 2.0, (y[:, 0] - 2.5) ** 2, torch.nan)

    solution = minimize(keyhole, zeros(64, 1), CEM(50, 10, smoothing=0.2), generator=seeded())
    torch.testing.assert_close(solution.value, zeros(64, 1) + 2.5, rtol=0, atol=1e-3)


def test_nan_in_one_row_is_reported_and_stays_there():
    center = zeros(3, 2) + 1
    clean = minimize(bowl, {"y": zeros(3, 2)}, CEM(), given={"center": center}, generator=seeded())
    center = center.index_fill(0, torch.tensor([1]), torch.nan)
    poisoned = minimize(bowl, {"y": zeros(3, 2)}, CEM(), given={"center": center}, generator=seeded())
    assert poisoned.reasons == ["spread", "non finite", "spread"]
    assert torch.equal(poisoned.value["y"][[0, 2]], clean.value["y"][[0, 2]])
    assert torch.equal(poisoned.value["y"][1], zeros(2)) and bool(poisoned.energy[1].isnan())


@pytest.mark.parametrize("box", [(1.0, 2.0), (-3.0, -0.25)])
def test_projects_into_a_box(box):
    nearest = min(box, key=abs)
    for start in (zeros(8, 3), zeros(8)):
        free = squares if start.ndim > 1 else square
        solution = minimize(free, start, CEM(100, 10), generator=seeded(), tol=1e-6)
        assert float(solution.value.abs().max()) < 1e-5  # without the box, 0
        solution = minimize(free + Box(*box), start, CEM(100, 10), generator=seeded(), tol=1e-6)
        torch.testing.assert_close(solution.value, torch.full_like(start, nearest), rtol=0, atol=0)
        assert solution.converged.all()


@energy
def square(y):
    return y**2


def test_the_generator_decides_and_neighbors_do_not():
    target = Rastrigin(3).double()
    start = zeros(5, 3).uniform_(-3, 3, generator=seeded())

    def solve(start: Tensor, seed: int = 7, std: float | Tensor = 2.0, **settings) -> Solution:
        return minimize(target, start, CEM(60, 8, std=std), generator=seeded(seed), **settings)

    first = solve(start)
    assert torch.equal(first.value, solve(start).value)
    assert not torch.equal(first.value, solve(start, seed=8).value)
    other = start.clone()
    other[[0, 3]] = torch.tensor([[9.0, 9.0, 9.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    std = torch.tensor([[1e-6], [2.0], [2.0], [1e-6], [2.0]])  # rows 0 and 3 stop, and are dropped, at once
    for changed in (solve(other), solve(other, std=std)):
        assert torch.equal(changed.value[[1, 2, 4]], first.value[[1, 2, 4]])
        assert torch.equal(changed.steps[[1, 2, 4]], first.steps[[1, 2, 4]])
    assert changed.steps[[0, 3]].tolist() == [0, 0] and int(changed.steps[1]) > 5
    for max_rows in (1, 37, 100):
        assert torch.equal(solve(start, max_rows=max_rows).value, first.value)


def test_max_rows_bounds_what_is_evaluated_at_once():
    seen = []

    @energy
    def watched(y, x):
        seen.append(len(y))
        return (y * x).pow(2).sum(1)

    x = {"x": zeros(4, 2) + 1}
    minimize(watched, {"y": zeros(4, 2)}, CEM(50, 5), given=x, max_steps=2, max_rows=30, generator=seeded())
    assert max(seen) <= 30


def test_spreads_by_number_entry_row_and_name():
    def first_std(std, over) -> Tensor:
        seen: list[Tensor] = []

        class Spy(CEM):
            def step(self, problem, state):
                seen.append(state["std"])
                return super().step(problem, state)

        @energy
        def both(y, z):
            return squares(y=y) + squares(y=z)

        energy_of_all = squares if len(over) == 1 else both
        minimize(energy_of_all, over, Spy(20, 5, std=std), max_steps=1, generator=seeded())
        return seen[0]

    y, z = zeros(3, 2), zeros(3, 2, 2)
    entries, rows = torch.tensor([1.0, 2.0]), torch.tensor([[1.0], [2.0], [3.0]])
    assert first_std(0.5, {"y": y}).tolist() == [[0.5, 0.5]] * 3
    assert first_std(entries, {"y": y}).tolist() == [[1.0, 2.0]] * 3
    assert first_std(rows, {"y": y}).tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    assert first_std({"y": rows, "z": 0.5}, {"y": y, "z": z})[1].tolist() == [2.0, 2.0, 0.5, 0.5, 0.5, 0.5]
    square_matrix = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert first_std(square_matrix, {"y": z})[2].tolist() == square_matrix.tolist()
    for std, over, message in (
        (torch.ones(3), {"y": y}, r"tensor of its shape \(2,\).*got \(3,\)"),
        (torch.ones(2, 2), {"y": y}, r"got \(2, 2\)"),
        ({"y": 1.0}, {"y": y, "z": z}, "one entry for each free variable, y, z; it has y"),
    ):
        with pytest.raises(ValueError, match=message):
            first_std(std, over)


def test_a_floor_under_the_spread_keeps_searching():
    solution = minimize(squares, zeros(2, 2) + 3, CEM(min_std=0.1), max_steps=40, generator=seeded())
    assert solution.reasons == ["max steps"] * 2 and not solution.converged.any()
    assert float(solution.energy.max()) < 1e-2


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: CEM(0), "num_samples must be an integer of at least 1"),
        (lambda: CEM(10, 20), "num_samples=10, num_elites=20"),
        (lambda: CEM(20, 5, keep_elites=6), "5 elites to keep; got keep_elites=6"),
        (lambda: CEM(std=0.0), "std must be finite and positive"),
        (lambda: CEM(std=torch.tensor([1.0, -1.0])), "std must be"),
        (lambda: CEM(smoothing=1.0), "smoothing must be"),
        (lambda: CEM(min_std=-1.0), "min_std must be"),
    ],
)
def test_settings_out_of_range_are_refused(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()


def test_choices_are_refused():
    @energy
    def total(a):
        return a.double().sum(1)

    with pytest.raises(TypeError, match="holds Choices"):
        minimize(total, Choices(torch.zeros(2, 3, dtype=torch.long), 2), CEM())
