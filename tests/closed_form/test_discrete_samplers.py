"""Discrete samplers: their transition matrices, read off their own steps, leave p as it is to 1e-12."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm import Choices, Energy, energy, sample
from ebm.infer import MALA, BlockGibbs, Gibbs, GibbsWithGradients, Langevin
from ebm.infer.pose import pose
from ebm.infer.sampler import Sampler
from ebm.targets import Ising, chessboard

DOUBLE = torch.float64
BETA = 1.7


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


class Cubic(Energy):
    """Bits with every product of up to three of them: the gradient is a bad estimate of a flip."""

    def forward(self, y: Tensor) -> Tensor:
        subsets = [s for n in (1, 2, 3) for s in itertools.combinations(range(3), n)]
        weights = 1.5 * draw(len(subsets))
        return sum(w * y[:, list(s)].prod(1) ** 2 for w, s in zip(weights, subsets, strict=True))


class Table(Energy):
    """Two sites of three values with any energies, one-hot or as indices; quartic off the corners."""

    def forward(self, y: Tensor) -> Tensor:
        table = 1.5 * draw(3, 3)
        y = y if y.is_floating_point() else torch.eye(3, dtype=DOUBLE)[y]
        return ((y[:, 0] ** 2) @ table * y[:, 1] ** 2).sum(1)


BITS = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)), dtype=DOUBLE)
PAIRS = torch.tensor(list(itertools.product(range(3), repeat=2)))


def switch(is_low: Callable[[Tensor], Tensor], rows: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Where a step's outcome changes as one of its random numbers grows, for each row, by bisection."""
    a, b = torch.full((rows,), low, dtype=DOUBLE), torch.full((rows,), high, dtype=DOUBLE)
    for _ in range(70):
        middle = 0.5 * (a + b)
        below = is_low(middle)
        a, b = torch.where(below, middle, a), torch.where(below, b, middle)
    return 0.5 * (a + b)


def stepper(sampler: Sampler, e: Energy, start: Tensor | Choices) -> Callable[..., Tensor]:
    """What a step makes of the starts, as a function of the noise."""
    problem, u = pose(e, start, None)
    with torch.no_grad():
        state = sampler.init(problem, u, BETA)
    return lambda **noise: sampler.step(problem, state, noise)[0]["u"]


def gradient_kernel(sampler: GibbsWithGradients, e: Energy, states: Tensor) -> Tensor:
    """K[x, x'] of a sampler whose proposals are a race and whose test is one uniform number."""
    entries, total = states[0].numel(), len(states)
    kernel = torch.zeros(total, total, dtype=DOUBLE)
    moves = [(x, i) for x in range(total) for i in range(entries)]
    rows, index = torch.tensor(moves).T
    step = stepper(sampler, e, states[rows])
    zero = torch.zeros(len(moves), dtype=DOUBLE)

    def outcome(ring: Tensor, first: Tensor, uniform: Tensor) -> Tensor:
        """The state a step leads to, if entry `index` rings at `ring`, entry `first` at 1, and no other."""
        late = torch.full((len(moves), entries), 1e200, dtype=DOUBLE)
        late.scatter_(1, first[:, None], 1.0).scatter_(1, index[:, None], ring[:, None])
        after = step(exponential=late, uniform=uniform).flatten(1)
        return (after[:, None] == states.flatten(1)).all(2).long().argmax(1)

    tiny = torch.full_like(zero, 1e-200)
    to = outcome(tiny, index, zero)  # of each move, always accepted
    possible = (to != rows) & (states.flatten(1)[rows, index] == 0 if sampler.one_hot else True)
    assert int(possible.sum()) == total * (4 if sampler.one_hot else 3)  # moves to the other values
    # the ratio of two proposals: when does `index` ring before the first possible entry of the row?
    first = torch.tensor([int(index[(rows == x) & possible][0]) for x in range(total)])[rows]
    at_first = to.view(total, entries).gather(1, first.view(total, entries)[:, :1]).squeeze(1)[rows]
    log_ratio = switch(lambda t: outcome(t.exp(), first, zero) != at_first, len(moves), -100, 100)
    ratio = torch.where(index == first, 0.0, log_ratio).exp() * possible
    propose = ratio / ratio.view(total, entries).sum(1)[rows]
    accept = switch(lambda t: outcome(tiny, index, t) == to, len(moves))
    for x, x2, chance in zip(rows.tolist(), to.tolist(), (propose * accept * possible).tolist(), strict=True):
        kernel[x, x2] += chance
    return kernel + torch.diag(1 - kernel.sum(1))


@pytest.mark.parametrize("one_hot", [False, True])
def test_gibbs_with_gradients_leaves_p_as_it_is(one_hot: bool) -> None:
    e = Table() if one_hot else Cubic()
    states = torch.eye(3, dtype=DOUBLE)[PAIRS] if one_hot else BITS
    kernel = gradient_kernel(GibbsWithGradients(one_hot), e, states)
    p = torch.softmax(-BETA * e(y=states), 0)
    torch.testing.assert_close(p @ kernel, p, rtol=0, atol=1e-12)
    torch.testing.assert_close(p[:, None] * kernel, (p[:, None] * kernel).T, rtol=0, atol=1e-12)  # balance
    away = kernel - torch.diag(kernel.diagonal())
    assert bool((torch.linalg.matrix_power(kernel, 8) > 0).all()) and float(away.sum(1).min()) > 0.01
    plain = torch.full_like(p, 1 / len(p))
    assert float((plain @ kernel - plain).abs().max()) > 1e-2  # so the bound says something


def test_its_proposals_are_the_papers() -> None:
    """softmax of half the estimated fall in energy, which is exact where the energy is linear."""
    slope = draw(3)
    linear = energy(lambda y: y @ slope)
    sampler = GibbsWithGradients()
    problem, u = pose(linear, BITS, None)
    state = sampler.init(problem, u, BETA)
    found = sampler.log_proposal(u, state["gradient"], state["beta"]).exp()
    flips = torch.stack([(BITS - torch.eye(3)[d]).abs() for d in range(3)], 1)
    fall = linear(y=BITS)[:, None] - torch.stack([linear(y=f) for f in flips])
    torch.testing.assert_close(found, torch.softmax(0.5 * BETA * fall, 1))


def sweep_kernel(step: Callable[..., Tensor], before: Tensor, after: Tensor, values: int) -> Tensor:
    """The chance of each path before -> after of a sweep, site by site, from where its outcomes switch."""
    rows, sites = before.shape
    chance = torch.ones(rows, dtype=DOUBLE)
    settled = torch.full((rows, sites), 0.5, dtype=DOUBLE)  # a random number with which a site takes `after`
    for k in range(sites):

        def at(t: Tensor, k: int = k, settled: Tensor = settled) -> Tensor:
            noise = settled.clone()
            noise[:, k] = t
            return step(uniform=noise)[:, k]

        edges = [torch.zeros(rows, dtype=DOUBLE)]
        for v in range(values - 1):
            edges.append(switch(lambda t, at=at, v=v: at(t) <= v, rows))
        edges.append(torch.ones(rows, dtype=DOUBLE))
        bounds = torch.stack(edges, 1)
        value = after[:, k].long()[:, None]
        low, high = bounds.gather(1, value).squeeze(1), bounds.gather(1, value + 1).squeeze(1)
        settled[:, k] = 0.5 * (low + high)
        assert bool((at(settled[:, k]) == after[:, k]).all())
        chance = chance * (high - low)
    return chance


@pytest.mark.parametrize("kind", ["bits", "choices"])
def test_a_gibbs_sweep_leaves_p_as_it_is(kind: str) -> None:
    e, states = (Cubic(), BITS) if kind == "bits" else (Table(), PAIRS)
    total = len(states)
    first, second = torch.cartesian_prod(torch.arange(total), torch.arange(total)).T
    start = states[first] if kind == "bits" else Choices(states[first], 3)
    step = stepper(Gibbs(), e, start)
    values = 2 if kind == "bits" else 3
    kernel = sweep_kernel(step, states[first], states[second], values).view(total, total)
    p = torch.softmax(-BETA * e(y=states), 0)
    torch.testing.assert_close(kernel.sum(1), torch.ones_like(p), rtol=0, atol=1e-12)
    torch.testing.assert_close(p @ kernel, p, rtol=0, atol=1e-12)
    flow = p[:, None] * kernel
    assert float((flow - flow.T).abs().max()) > 1e-3  # a sweep in order is not in detailed balance
    # one draw of a site is, which is what a random scan is made of
    of_site = torch.tensor([0.3, 0.3]) if kind == "choices" else torch.tensor([0.3, 0.3, 0.3])
    scan = stepper(Gibbs("random"), e, start)
    after = scan(uniform=torch.rand(total**2, len(of_site)), site=of_site.expand(total**2, -1))
    assert bool((after[:, 1:] == states[first][:, 1:]).all())  # a number in [0, 1/D) chooses site 0 alone


class Halves(Energy):
    """Affine in the first three bits and in the last two."""

    def forward(self, y: Tensor) -> Tensor:
        return -y @ draw(5) - (y[:, :3] @ draw(3, 2, seed=1) * y[:, 3:]).sum(1)


def test_a_block_gibbs_sweep_leaves_p_as_it_is() -> None:
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=5)), dtype=DOUBLE)
    first, second = torch.cartesian_prod(torch.arange(32), torch.arange(32)).T
    # its bits are 1 below a number, Gibbs' 0: so the outcome is turned around, and the number with it
    step = stepper(BlockGibbs(torch.tensor([0, 0, 0, 1, 1])), Halves(), states[first])
    kernel = sweep_kernel(lambda uniform: step(uniform=1 - uniform), states[first], states[second], 2)
    kernel = kernel.view(32, 32)
    p = torch.softmax(-BETA * Halves()(y=states), 0)
    torch.testing.assert_close(p @ kernel, p, rtol=0, atol=1e-12)


SAMPLERS = {
    "Gibbs": (Gibbs(), 15),
    "Gibbs, colors": (Gibbs(colors=chessboard(4, 4)), 15),
    "BlockGibbs": (BlockGibbs(chessboard(4, 4)), 15),
    "GibbsWithGradients": (GibbsWithGradients(), 150),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_moments_of_an_ising_lattice_are_those_of_its_states(name: str) -> None:
    sampler, steps = SAMPLERS[name]
    target = Ising.lattice(4, 4, coupling=0.25, field=0.1, dtype=DOUBLE)
    p, states = target.probabilities, target.states
    g, start = torch.Generator().manual_seed(0), (draw(1500, 16) > 0).double()
    samples = sample(target, start, sampler, num_samples=1, burn_in=steps, generator=g)
    draws = samples.value[0]
    bonds = target.coupling > 0
    for statistic in (
        lambda y: target(y=y),
        lambda y: y.mean(1),
        lambda y: (2 * y - 1).mean(1).square(),
        lambda y: ((2 * y - 1) @ bonds.double() * (2 * y - 1)).sum(1),
        lambda y: (2 * y[:, 0] - 1) * (2 * y[:, 10] - 1),
    ):
        expected, found = (p * statistic(states)).sum(), statistic(draws)
        error = found.std() / math.sqrt(len(draws))
        assert abs(float(found.mean() - expected)) < 4 * float(error)
    torch.testing.assert_close(samples.energy[0], target(y=draws))
    share = float(samples.accepted.mean())  # of the last step alone
    assert 0.5 < share < 1 if name == "GibbsWithGradients" else share == 1


def test_walls_are_never_crossed_and_beta_is_per_chain() -> None:
    """Particles on a ring of 6 that exclude each other: the states without neighbors, each as likely at
    β → 0; at β = 2 weighed by e^{2n}."""

    @energy
    def exclusive(y: Tensor) -> Tensor:
        touching = (y * y.roll(1, 1)).sum(1) > 0
        return torch.where(touching, torch.inf, -y.sum(1))

    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)), dtype=DOUBLE)
    allowed = states[exclusive(y=states).isfinite()]
    assert len(allowed) == 18  # a Lucas number
    beta = torch.tensor([1e-9, 2.0], dtype=DOUBLE).repeat_interleave(2000)
    g, start = torch.Generator().manual_seed(0), torch.zeros(4000, 6, dtype=DOUBLE)
    samples = sample(exclusive, start, Gibbs(), num_samples=1, burn_in=25, beta=beta, generator=g)
    assert bool(samples.energy.isfinite().all()) and int(samples.nonfinite.sum()) == 0
    for half, b in ((samples.value[0, :2000], 0.0), (samples.value[0, 2000:], 2.0)):
        count = half.sum(1)
        p = torch.softmax(b * allowed.sum(1), 0)
        expected = (p * allowed.sum(1)).sum()
        assert abs(float(count.mean() - expected)) < 4 * float(count.std()) / math.sqrt(2000)


def test_choices_of_several_sizes_are_drawn_together() -> None:
    """Independent sites with 2 and 5 values: exact after one sweep."""
    fields = draw(5, seed=3)
    e = energy(lambda a, b: fields[a].sum(1) + 2 * fields[b].sum(1))
    long = {"a": Choices(torch.ones(6000, 2).long(), 2), "b": Choices(torch.zeros(6000, 1).long(), 5)}
    draws = sample(e, long, Gibbs(), num_samples=1, generator=torch.Generator().manual_seed(0)).value
    assert draws["a"].dtype == torch.int64 and draws["a"].shape == (1, 6000, 2)
    for values, n, weight in (
        (draws["a"][0, :, 0], 2, 1),
        (draws["a"][0, :, 1], 2, 1),
        (draws["b"][0], 5, 2),
    ):
        p = torch.softmax(-weight * fields[:n], 0)
        share = torch.bincount(values.flatten(), minlength=n) / 6000
        assert bool(((share - p).abs() < 4 * (p * (1 - p) / 6000).sqrt()).all())


def test_chunks_change_nothing() -> None:
    target, start = Ising.lattice(3, 4, 0.3, dtype=DOUBLE), (draw(5, 12) > 0).double()
    paths = [
        sample(target, start, Gibbs(max_rows=rows), num_samples=4, generator=torch.Generator().manual_seed(1))
        for rows in (1, 2**14)
    ]
    assert torch.equal(paths[0].value, paths[1].value)


def test_bad_starts_and_settings_are_told() -> None:
    target, start = Ising.lattice(2, 2, 0.5, periodic=False, dtype=DOUBLE), torch.zeros(3, 4, dtype=DOUBLE)

    def refuses(
        error: type[Exception], words: str, method: Sampler, over: object = start, e: Energy = target
    ):
        with pytest.raises(error, match=words):
            sample(e, over, method, num_samples=1)

    half = start.clone()
    half[1, 2] = 0.25
    for method in (Gibbs(), GibbsWithGradients(), BlockGibbs()):
        refuses(ValueError, r"zeros and ones; 'y' holds 0.25 in row 1 \(1 of 3 rows", method, half)
    choices = Choices(torch.zeros(3, 4).long(), 2)
    refuses(TypeError, "moves along a gradient, and y holds Choices. Take Gibbs", Langevin(0.1), choices)
    refuses(TypeError, "gradients at zeros and ones, and y holds Choices", GibbsWithGradients(), choices)
    both = {"y": choices, "z": start}
    pair = energy(lambda y, z: y.sum(1) + z.sum(1))
    refuses(TypeError, "y holds Choices and z floating point numbers", Gibbs(), both, pair)
    refuses(ValueError, r"one-hot sites: .* not so in row 0", GibbsWithGradients(one_hot=True))
    refuses(
        ValueError,
        r"colors name one color a site, shape \(4,\); got \(2, 2\)",
        Gibbs(colors=chessboard(2, 2).view(2, 2)),
    )
    refuses(ValueError, "sites of color 0 interact", Gibbs(colors=torch.tensor([0, 0, 1, 1])))
    refuses(ValueError, "not affine in block 0", BlockGibbs())
    refuses(ValueError, r"blocks name the block of each entry, shape \(4,\)", BlockGibbs(torch.zeros(3)))
    with pytest.raises(ValueError, match="scan is one of systematic, random; got 'sweep'"):
        Gibbs("sweep")
    with pytest.raises(ValueError, match="a random scan draws one site at a time, without"):
        Gibbs("random", colors=chessboard(2, 2))
    sample(target, half, MALA(0.1), num_samples=1)  # a sampler of real numbers takes bits for such
