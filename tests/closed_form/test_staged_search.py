"""A*, beam search and tree search against dynamic programming and enumeration on random instances."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ebm import Choices, energy, minimize
from ebm.infer import MCTS, AStar, BeamSearch, DynamicProgramming, Enumerate
from ebm.staged import Staged


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Machine(Staged):
    """A finite automaton with costs (B, T, K, n), and the exact or a loosened cost to go as its bound."""

    def __init__(self, table: Tensor, share: float = 1.0, keyed: bool = True):
        self.keyed = keyed
        super().__init__("a", num_keys=len(table) if keyed else None)
        self.register_buffer("table", table)
        self.share, self.staged = share, 0

    def __getattr__(self, name):
        if name == "key" and self.__dict__["keyed"]:
            return lambda state: state[0]
        return super().__getattr__(name)

    def start(self, first, cost, end):
        to_go = [end]  # V_t(s) by Bellman's equation
        for t in reversed(range(cost.shape[1])):
            after = to_go[0].gather(1, self.table.flatten().expand(len(end), -1)).view_as(cost[:, 0])
            to_go.insert(0, (cost[:, t] + after).amin(2))
        return first, cost, end, torch.stack(to_go, 1)

    def stage(self, state, choice, t):
        self.staged += len(choice)
        now, cost, end, to_go = state
        return cost[torch.arange(len(choice)), t, now, choice], (self.table[now, choice], cost, end, to_go)

    def final(self, state):
        return state[2].gather(1, state[0][:, None]).squeeze(1)

    def lower_bound(self, state, t):
        return self.share * state[3][:, t].gather(1, state[0][:, None]).squeeze(1)


def instance(seed: int, batch: int = 3, horizon: int = 6, keys: int = 4, n: int = 3, holes: float = 0.0):
    """An automaton, its given values and a start; `holes` is the share of forbidden choices."""
    g = torch.Generator().manual_seed(seed)
    cost = torch.rand(batch, horizon, keys, n, dtype=torch.float64, generator=g)
    cost = cost.masked_fill(torch.rand(cost.shape, generator=g) < holes, torch.inf)
    given_ = {
        "first": torch.randint(keys, (batch,), generator=g),
        "cost": cost,
        "end": torch.rand(batch, keys, dtype=torch.float64, generator=g),
    }
    table = torch.randint(keys, (keys, n), generator=g)
    return table, given_, {"a": Choices(torch.zeros(batch, horizon, dtype=torch.long), n)}


@settings(max_examples=25)
@given(
    st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 5), st.integers(1, 3),
    st.sampled_from([0.0, 0.5]), st.sampled_from([0.0, 0.6, 1.0]), st.booleans(),
)  # fmt: skip
def test_a_star_is_dynamic_programming(seed, horizon, keys, n, holes, share, keyed):
    table, given_, over = instance(seed, horizon=horizon, keys=keys, n=n, holes=holes)
    oracle = minimize(Machine(table), over, DynamicProgramming(), given=given_)
    share = share if holes == 0 else min(share, 0.6)
    found = minimize(Machine(table, share, keyed), over, AStar(), given=given_)
    assert found.reasons == oracle.reasons
    torch.testing.assert_close(found.energy, oracle.energy, rtol=1e-12, atol=1e-12)


def test_a_tighter_bound_looks_at_fewer_beginnings():
    table, given_, over = instance(1, batch=1, horizon=10)
    staged = []
    for share in (0.0, 0.5, 0.9, 1.0):
        machine = Machine(table, share, keyed=False)
        minimize(machine, over, AStar(), given=given_)
        staged.append(machine.staged)
    assert staged == sorted(staged, reverse=True) and staged[0] > 10 * staged[-1]
    # exact: only the best beginning of each length goes on, by 3 choices; twice 10 more to evaluate E
    assert staged[-1] == 10 * 3 + 2 * 10
    merged = Machine(table, 0.0)
    minimize(merged, over, AStar(), given=given_)
    assert merged.staged <= 10 * 4 * 3 + 2 * 10 < staged[0]  # a beginning for each key, at most


def test_a_bound_that_is_too_high_is_refused():
    table, given_, over = instance(2)
    with pytest.raises(ValueError, match=r"lower_bound is no lower bound.*promised at least"):
        minimize(Machine(table, 1.2), over, AStar(), given=given_)


def test_a_star_keeps_the_start_where_its_limit_ends_it():
    table, given_, over = instance(3, batch=2, horizon=8)
    found = minimize(Machine(table, 0.0, keyed=False), over, AStar(limit=5), given=given_)
    assert found.reasons == ["stalled"] * 2 and torch.equal(found.value["a"], over["a"].start)


@settings(max_examples=30)
@given(
    st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 4), st.booleans(), st.sampled_from([0.0, 0.4])
)
def test_a_beam_as_wide_as_all_is_exact(seed, horizon, keys, keyed, holes):
    table, given_, over = instance(seed, horizon=horizon, keys=keys, holes=holes)
    oracle = minimize(Machine(table), over, Enumerate(), given=given_)
    width = min(keys if keyed else 3**5, 3 ** (horizon - 1))
    for machine in (Machine(table, 0.0, keyed), Machine(table, 0.5, keyed)):
        found = minimize(machine, over, BeamSearch(width), given=given_)
        assert found.reasons == oracle.reasons
        solved = oracle.converged
        assert torch.equal(found.value["a"][solved], oracle.value["a"][solved])


def test_beams_by_hand():
    """Each stage keeps the W beginnings with the least cost so far, plus the bound where there is one."""
    table, given_, over = instance(5, batch=2, horizon=5)
    for width, share in ((1, 0.0), (2, 0.0), (3, 0.0), (2, 0.7)):
        found = minimize(Machine(table, share, keyed=False), over, BeamSearch(width), given=given_)
        machine = Machine(table, share)
        for row in range(2):
            one = {name: value[row : row + 1] for name, value in given_.items()}
            beam = [(0.0, [], machine.start(**one))]
            for t in range(5):
                grown = []
                for cost, path, state in beam:
                    for a in range(3):
                        paid, after = machine.stage(state, torch.tensor([a]), t)
                        grown.append((cost + float(paid), [*path, a], after))
                keep = len(grown) if t == 4 else width
                beam = sorted(grown, key=lambda b: b[0] + float(machine.lower_bound(b[2], t + 1)))[:keep]
            best = min(beam, key=lambda b: b[0] + float(machine.final(b[2])))
            assert found.value["a"][row].tolist() == best[1]
        assert found.reasons == ["stalled"] * 2


def test_a_wider_beam_and_an_exact_bound_find_more():
    table, given_, over = instance(6, batch=40, horizon=8)
    oracle = minimize(Machine(table), over, DynamicProgramming(), given=given_)

    def excess(width: int, share: float) -> float:
        found = minimize(Machine(table, share, keyed=False), over, BeamSearch(width), given=given_)
        return float((found.energy - oracle.energy).mean())

    assert excess(1, 0.0) > excess(4, 0.0) > excess(30, 0.0) >= 0
    assert excess(1, 1.0) == pytest.approx(0, abs=1e-12)  # a perfect bound needs no width


def test_tree_search_is_exact_after_at_most_one_try_for_each_beginning():
    table, given_, over = instance(7, batch=4, horizon=4, holes=0.2)
    oracle = minimize(Machine(table), over, Enumerate(), given=given_)
    machine = Machine(table)
    found = minimize(machine, over, MCTS(), given=given_, generator=seeded())
    assert found.reasons == oracle.reasons and int(found.steps.max()) <= 3 + 9 + 27 + 81
    solved = oracle.converged
    assert bool(solved.any()) and torch.equal(found.energy[solved], oracle.energy[solved])


def test_tree_search_comes_nearer_with_its_budget_and_beats_random_tries():
    table, given_, over = instance(8, batch=40, horizon=7)
    oracle = minimize(Machine(table), over, DynamicProgramming(), given=given_)
    excess = []
    for budget in (10, 60, 300):
        found = minimize(
            Machine(table),
            over,
            MCTS(0.5),
            given=given_,
            max_steps=budget,
            generator=seeded(),
        )
        excess.append(float((found.energy - oracle.energy).mean()))
    assert excess[0] > 2 * excess[1] > 4 * excess[2] >= 0
    g, best = torch.Generator().manual_seed(1), torch.full((40,), torch.inf, dtype=torch.float64)
    for _ in range(300):
        best = torch.minimum(best, Machine(table)(a=torch.randint(3, (40, 7), generator=g), **given_))
    assert excess[2] < 0.5 * float((best - oracle.energy).mean())


def test_tree_search_follows_its_rule():
    """Two choices of one stage: after both were tried the counts are those of UCT by hand."""

    class Arms(Staged):
        def start(self, x):
            return x

        def stage(self, state, choice, t):
            return (state * choice if t == 0 else 0.1 * state * choice), state

        def final(self, state):
            return torch.zeros_like(state)

    method = MCTS(0.7)
    from ebm.infer.pose import pose

    over = {"a": Choices(torch.zeros(1, 6, dtype=torch.long), 2)}
    problem, u = pose(Arms("a"), over, {"x": torch.ones(1, dtype=torch.float64)}, generator=seeded())
    state = method.init(problem, u)
    for _ in range(30):
        visits, total = state["visits"][0], state["total"][0]
        child = state["child"][0, 0]
        expected = None
        if bool((child >= 0).all()):
            mean = total[child] / visits[child]
            width = 0.7 * (state["highest"] - state["lowest"]) * (visits[0].log() / visits[child]).sqrt()
            expected = int((mean - width).argmin())
        state = method.step(problem, state)
        if expected is not None:
            gained = state["visits"][0, child] - visits[child]
            assert int(gained.argmax()) == expected and float(gained.sum()) == 1
    assert float(state["visits"][0, 0]) == 30


@energy
def smooth(a):
    return a.double().sum(1)


class Boundless(Machine):
    lower_bound = property()  # hasattr says no


@pytest.mark.parametrize("method", [AStar(), BeamSearch(), MCTS()], ids=lambda m: type(m).__name__)
def test_nan_forbids_and_stays_in_its_row(method):
    table, given_, over = instance(9, batch=3, horizon=4)
    oracle = minimize(Machine(table), over, DynamicProgramming(), given=given_)
    given_["cost"][1, 2] = torch.nan
    found = minimize(Machine(table, 0.0), over, method, given=given_, generator=seeded())
    assert found.reasons[1] == "non finite"
    torch.testing.assert_close(found.energy[[0, 2]], oracle.energy[[0, 2]], rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda over, x, t: minimize(smooth, over["a"], AStar()), TypeError, "AStar minimizes one Staged"),
        (lambda over, x, t: minimize(smooth, over["a"], BeamSearch()), TypeError, "BeamSearch minimizes one"),
        (lambda over, x, t: minimize(smooth, over["a"], MCTS()), TypeError, "MCTS minimizes one Staged"),
        (lambda over, x, t: minimize(Boundless(t), over, AStar(), given=x), TypeError, "has no lower_bound"),
        (lambda over, x, t: minimize(-1.0 * Machine(t), over, AStar(), given=x), TypeError, "negative w"),
        (lambda over, x, t: BeamSearch(0), ValueError, "width must be"),
        (lambda over, x, t: AStar(0), ValueError, "limit must be"),
        (lambda over, x, t: MCTS(0.0), ValueError, "exploration must be"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(attempt, error, message):
    table, given_, over = instance(0)
    with pytest.raises(error, match=message):
        attempt(over, given_, table)
