"""Losses for bits and one-hot sites against enumeration, closed forms, and the couplings they should find."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ebm import Energy, energy
from ebm.contrastive import MaximumLikelihood, MinimumProbabilityFlow, PseudoLikelihood, RatioMatching
from ebm.loss import OFF_DATA, ON_DATA, Loss
from ebm.nodes import Finite
from ebm.targets import Ising, Potts

DOUBLE = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def couplings(sites: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    j = scale * draw(sites, sites, seed=seed)
    return (0.5 * (j + j.T)).fill_diagonal_(0)


def conditional(p: dict[tuple[int, ...], float], state: tuple[int, ...], site: int, values: int) -> float:
    """p(y_d | y_{-d}) from the whole table of a distribution."""
    return p[state] / sum(p[(*state[:site], v, *state[site + 1 :])] for v in range(values))


@energy
def nothing(y: Tensor) -> Tensor:
    return 0.0 * y.flatten(1).sum(1)


def test_an_energy_that_knows_nothing_has_the_losses_of_the_sheet() -> None:
    """D/4, D log 2, εD, and S log K for sites of K values; whatever the shape."""
    y = (draw(5, 2, 3) > 0).double()
    far = torch.tensor([[0.0] * 6, [1.0] * 6], dtype=DOUBLE)
    assert float(RatioMatching()(nothing, y=y).loss) == pytest.approx(6 / 4)
    assert float(PseudoLikelihood()(nothing, y=y).loss) == pytest.approx(6 * math.log(2))
    assert float(MinimumProbabilityFlow(0.3)(nothing, y=far).loss) == pytest.approx(0.3 * 6)
    sites = one_hot(torch.arange(10).view(2, 5) % 4, 4).double()
    assert float(PseudoLikelihood(one_hot=True)(nothing, y=sites).loss) == pytest.approx(5 * math.log(4))


def test_each_loss_is_its_sum_over_a_table_of_probabilities() -> None:
    target = Ising(couplings(4), draw(4, seed=1))
    p = {tuple(s): float(q) for s, q in zip(target.states.long().tolist(), target.probabilities, strict=True)}
    rows = [(0, 0, 1, 1), (1, 0, 1, 0), (1, 1, 1, 1)]
    y = torch.tensor(rows, dtype=DOUBLE)
    chances = [[conditional(p, row, d, 2) for d in range(4)] for row in rows]
    exact = {
        PseudoLikelihood(): sum(-math.log(c) for row in chances for c in row) / 3,
        RatioMatching(): sum((1 - c) ** 2 for row in chances for c in row) / 3,
    }
    for loss, expected in exact.items():
        output = loss(target, y=y)
        assert float(output.loss) == pytest.approx(expected, abs=1e-12)
        assert float(output.terms[ON_DATA]) == pytest.approx(float(target(y=y).mean()), abs=1e-12)
        flips = torch.stack([(y - torch.eye(4)[d]).abs() for d in range(4)])
        off = torch.stack([target(y=flip) for flip in flips]).mean()
        assert float(output.terms[OFF_DATA]) == pytest.approx(float(off), abs=1e-12)


def test_pseudo_likelihood_of_one_hot_sites_is_its_sum_over_a_table() -> None:
    target = Potts(couplings(3), 3, draw(3, 3, seed=1))
    index = target.states.argmax(2)
    p = {tuple(s): float(q) for s, q in zip(index.tolist(), target.probabilities, strict=True)}
    rows = [(0, 2, 1), (1, 1, 1), (2, 0, 2)]
    y = one_hot(torch.tensor(rows), 3).double()
    expected = sum(-math.log(conditional(p, row, d, 3)) for row in rows for d in range(3)) / 3
    loss = PseudoLikelihood(one_hot=True)
    assert float(loss(target, y=y).loss) == pytest.approx(expected, abs=1e-12)
    # two values in one-hot form are bits
    ising = Ising(couplings(4), draw(4, seed=1))
    bits = (draw(6, 4, seed=2) > 0).double()
    second = energy(lambda y: ising(y=y[..., 1]))
    both = one_hot(bits.long(), 2).double()
    torch.testing.assert_close(loss(second, y=both).loss, PseudoLikelihood()(ising, y=bits).loss)


def test_pseudo_likelihood_of_one_site_is_the_likelihood() -> None:
    """D = 1: log(1 + exp(E(y) - E(1 - y))) = E(y) + log Z, for bits and for K values; also its gradient."""
    for values in (2, 5):
        table = nn.Parameter(draw(values))
        states = torch.eye(values, dtype=DOUBLE).unsqueeze(1)

        class Site(Energy):
            def __init__(self, scores: nn.Parameter):
                super().__init__()
                self.scores = scores

            def forward(self, y: Tensor) -> Tensor:
                return y[:, 0] @ self.scores

        e, y = Site(table), states[torch.tensor([0, 1, 1, values - 1])]
        found = PseudoLikelihood(one_hot=True)(e, y=y).loss
        exact = MaximumLikelihood(Finite(states, normalized=False))(e, y=y).loss
        (one,), (two,) = (torch.autograd.grad(loss, table) for loss in (found, exact))
        torch.testing.assert_close(one, two)
        nll = (e(y=y) + torch.logsumexp(-table, 0)).mean()
        torch.testing.assert_close(found, nll)


def test_some_sites_stand_for_all_of_them() -> None:
    """The mean over draws is the whole; all sites at once are the whole; each row draws its own."""
    target, y = Ising(couplings(6), draw(6, seed=1)), (draw(3, 6, seed=2) > 0).double()
    whole = float(PseudoLikelihood()(target, y=y).loss)
    assert float(PseudoLikelihood(sites=6)(target, y=y).loss) == pytest.approx(whole, abs=1e-12)
    for sites in (1, 4):
        loss = PseudoLikelihood(sites=sites)
        many = loss(target, torch.Generator().manual_seed(0), y=y.repeat(4000, 1))
        found = [loss(target, torch.Generator().manual_seed(k), y=y).loss for k in range(300)]
        error = float(torch.stack(found).std()) / math.sqrt(4000)  # of as many batches as there are copies
        assert abs(float(many.loss) - whole) < 4 * error < 0.1 * whole


def flow_by_hand(e: Energy, rows: list[tuple[int, ...]], data: list[tuple[int, ...]]) -> float:
    total = 0.0
    for row in rows:
        for d in range(len(row)):
            flip = (*row[:d], 1 - row[d], *row[d + 1 :])
            if flip not in data:
                low, high = (e(y=torch.tensor([v], dtype=DOUBLE)) for v in (row, flip))
                total += math.exp(0.5 * float(low - high))
    return total / len(rows)


def test_probability_flows_to_neighbors_that_are_not_data() -> None:
    target = Ising(couplings(4), draw(4, seed=1))
    rows = [(0, 0, 0, 0), (0, 0, 0, 1), (1, 0, 1, 0), (0, 0, 0, 1), (1, 0, 0, 0)]
    y = torch.tensor(rows, dtype=DOUBLE)
    expected = flow_by_hand(target, rows, rows)
    assert expected < 0.9 * flow_by_hand(target, rows, [])  # so it matters who stays out
    output = MinimumProbabilityFlow()(target, y=y)
    assert float(output.loss) == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(
        MinimumProbabilityFlow(2.0, log=True)(target, y=y).loss, (2 * output.loss).log()
    )
    whole = MinimumProbabilityFlow(states=y)(target, y=y[2:3]).loss
    assert float(whole) == pytest.approx(flow_by_hand(target, rows[2:3], rows), rel=1e-12)
    assert float(whole) < float(MinimumProbabilityFlow()(target, y=y[2:3]).loss)

    # beside another x the same y is no data
    pair = energy(lambda x, y: target(y=y) + 0 * x.sum(1))
    x = torch.arange(5.0, dtype=DOUBLE)[:, None]
    alone = MinimumProbabilityFlow()(pair, x=x, y=y).loss
    assert float(alone) == pytest.approx(flow_by_hand(target, rows, []), rel=1e-12)
    torch.testing.assert_close(MinimumProbabilityFlow()(pair, x=0 * x, y=y).loss, output.loss)


def test_logarithms_do_not_overflow() -> None:
    e = energy(lambda y: -3000.0 * (y.sum(1) - 1).square())
    y = torch.tensor([[1.0, 0.0, 0.0]], dtype=DOUBLE)
    assert float(MinimumProbabilityFlow(log=True)(e, y=y).loss) == pytest.approx(1500 + math.log(3))
    assert float(PseudoLikelihood()(e, y=y).loss) == pytest.approx(9000)
    assert float(RatioMatching()(e, y=y).loss) == pytest.approx(3)


LOSSES: dict[str, Callable[..., Loss]] = {
    "PseudoLikelihood": PseudoLikelihood,
    "RatioMatching": RatioMatching,
    "MinimumProbabilityFlow": MinimumProbabilityFlow,
}


@pytest.mark.parametrize("name", LOSSES)
def test_chunks_change_nothing(name: str) -> None:
    y = (draw(7, 5, seed=2) > 0).double()
    found = []
    for rows in (None, 1, 20):
        target = Ising(nn.Parameter(couplings(5)), nn.Parameter(draw(5, seed=1)))
        loss = LOSSES[name](max_rows=rows)(target, y=y).loss
        loss.backward()
        found.append((loss.detach(), target.coupling.grad, target.field.grad))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-12, atol=1e-12)


class Pairs(Energy):
    """An Ising energy as a function of its parameters laid out flat: couplings of pairs, then fields."""

    def __init__(self, theta: Tensor, sites: int):
        super().__init__()
        self.theta = nn.Parameter(theta.clone())
        self.pairs = torch.combinations(torch.arange(sites))

    def features(self, y: Tensor) -> Tensor:
        s = 2 * y - 1
        return torch.cat([s[:, self.pairs[:, 0]] * s[:, self.pairs[:, 1]], s], 1)

    def forward(self, y: Tensor) -> Tensor:
        return -self.features(y) @ self.theta


def true_model(sites: int, scale: float) -> tuple[Ising, Tensor]:
    j, h = couplings(sites, scale), scale * draw(sites, seed=1)
    pairs = torch.combinations(torch.arange(sites))
    return Ising(j, h), torch.cat([j[pairs[:, 0], pairs[:, 1]], h])


def minimized(e: Pairs, loss: Callable[[], Tensor]) -> Tensor:
    """Where a smooth loss is least, by quasi-Newton steps to its rounding."""
    search = torch.optim.LBFGS(
        e.parameters(), max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-9
    )

    def closure() -> Tensor:
        search.zero_grad()
        value = loss()
        value.backward()
        return value

    search.step(closure)
    closure()
    assert float(e.theta.grad.abs().max()) < 1e-4
    return e.theta.detach()


def costs(name: str, e: Pairs, y: Tensor) -> Callable[[Tensor], Tensor]:
    """Each row's share of a loss as a function of θ, written out: E is linear, so flips change features."""
    flips = [torch.cat([y[:, :d], 1 - y[:, d : d + 1], y[:, d + 1 :]], 1) for d in range(y.shape[1])]
    change = torch.stack([e.features(f) for f in flips], 1) - e.features(y)[:, None]  # (N, D, P)
    power = 2.0 ** torch.arange(y.shape[1], dtype=DOUBLE)  # each state as a whole number
    known = torch.isin(torch.stack(flips, 1) @ power, y @ power)
    return {
        "PseudoLikelihood": lambda t: nn.functional.softplus(change @ t).sum(1),
        "RatioMatching": lambda t: torch.sigmoid(change @ t).square().sum(1),
        "MinimumProbabilityFlow": lambda t: ((0.5 * change @ t).exp() * ~known).sum(1),
    }[name]


@pytest.mark.parametrize(
    "name, sites, rows, scale",
    [
        ("PseudoLikelihood", 4, 3000, 1.0),
        ("RatioMatching", 4, 3000, 1.0),
        ("MinimumProbabilityFlow", 15, 700, 0.15),
    ],
)
def test_the_true_couplings_are_found(name: str, sites: int, rows: int, scale: float) -> None:
    """Within 4 standard errors by the sandwich H⁻¹ G H⁻¹/N, with H and G of the rows' costs written out. A
    flow needs states that are hardly ever data: its data have many bits, and nearly independent ones."""
    target, theta = true_model(sites, scale)
    y = target.exact_samples(rows, torch.Generator().manual_seed(3))
    e = Pairs(torch.zeros_like(theta), sites)
    found = minimized(e, lambda: LOSSES[name]()(e, y=y).loss)
    cost = costs(name, e, y)
    scores = torch.autograd.functional.jacobian(cost, found)  # (N, P)
    assert float(scores.mean(0).abs().max()) < 1e-4  # the loss is what was written out
    bend = torch.autograd.functional.hessian(lambda t: cost(t).mean(), found)
    inverse = torch.linalg.inv(bend)
    error = (inverse @ (scores.T @ scores / rows) @ inverse / rows).diagonal().sqrt()
    assert bool(((found - theta).abs() < 4 * error).all()), ((found - theta) / error).tolist()
    assert float(theta.abs().max()) > 4 * float(error.mean())  # so the bound says something


def test_the_gradient_of_the_likelihood_is_data_minus_model() -> None:
    """∇NLL = ⟨∇E⟩_data - ⟨∇E⟩_model, the second by enumeration."""
    y = (draw(9, 4, seed=5) > 0).double()
    target = Ising(nn.Parameter(couplings(4)), nn.Parameter(draw(4, seed=1)))
    MaximumLikelihood(Finite(target.states, normalized=False))(target, y=y).loss.backward()
    s, all_s, p = 2 * y - 1, 2 * target.states - 1, target.probabilities
    of_data, of_model = -s.mean(0), -(p @ all_s)
    torch.testing.assert_close(target.field.grad, of_data - of_model)
    pairs = -0.5 * (s.T @ s / len(s) - all_s.T @ (p[:, None] * all_s))
    torch.testing.assert_close(target.coupling.grad, pairs)


def test_the_gradient_of_a_potts_model_is_data_minus_model() -> None:
    """The same for one-hot sites, by enumeration: J_ij against ⟨[y_i = y_j]⟩, h_ik against ⟨[y_i = k]⟩."""
    target = Potts(nn.Parameter(couplings(3)), 3, nn.Parameter(draw(3, 3, seed=1)))
    y = target.states[torch.randint(27, (9,), generator=torch.Generator().manual_seed(5))]
    MaximumLikelihood(Finite(target.states, normalized=False))(target, y=y).loss.backward()
    states, p = target.states, target.probabilities
    assert p.sum() == pytest.approx(1) and states.shape == (27, 3, 3)
    torch.testing.assert_close(target.field.grad, torch.tensordot(p, states, 1) - y.mean(0))
    agree = torch.einsum("nik,njk->nij", states, states)  # [y_i = y_j]
    of_data = torch.einsum("nik,njk->ij", y, y) / len(y)
    torch.testing.assert_close(target.coupling.grad, 0.5 * (torch.tensordot(p, agree, 1) - of_data))


def test_the_gap_grows_from_an_untrained_start() -> None:
    target, theta = true_model(5, 1.0)
    y = target.exact_samples(500, torch.Generator().manual_seed(0))
    for make in (PseudoLikelihood, RatioMatching):
        e = Pairs(torch.zeros_like(theta), 5)
        assert float(make()(e, y=y).gap) == 0
        minimized(e, lambda make=make, e=e: make()(e, y=y).loss)
        assert float(make()(e, y=y).gap) > 1


def test_data_that_are_not_bits_are_told() -> None:
    y = torch.zeros(4, 3, dtype=DOUBLE)
    y[2, 1] = 0.3
    words = r"takes zeros and ones; 'y' holds 0.3 in row 2 \(1 of 4 rows.*real numbers take score matching"
    for make in LOSSES.values():
        with pytest.raises(ValueError, match=words):
            make()(nothing, y=y)
        with pytest.raises(TypeError, match=r"as zeros and ones in floating point; 'y' is torch.int64"):
            make()(nothing, y=y.long())
    hot = PseudoLikelihood(one_hot=True)
    with pytest.raises(ValueError, match=r"one-hot sites: along the last axis .* row 1 of 'y'"):
        hot(nothing, y=torch.tensor([[[0.0, 1.0]], [[1.0, 1.0]]]))
    with pytest.raises(ValueError, match=r"\(B, \*sites, K\) with K >= 2 values; 'y' is \(4,\)"):
        hot(nothing, y=y[:, 0])
    with pytest.raises(ValueError, match="a row has 3 sites, of which 5 were asked for"):
        PseudoLikelihood(sites=5)(nothing, y=0 * y)
    everything = torch.tensor(list(itertools.product((0.0, 1.0), repeat=2)))
    with pytest.raises(ValueError, match="every one-bit neighbor of the data is data"):
        MinimumProbabilityFlow()(nothing, y=everything)
    pair = energy(lambda x, y: y.sum(1) + x.sum(1))
    with pytest.raises(ValueError, match="`states` are data whatever else is given, and x is"):
        MinimumProbabilityFlow(states=everything)(pair, x=everything, y=everything)
