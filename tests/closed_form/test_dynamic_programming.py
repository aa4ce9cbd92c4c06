"""Dynamic programming against enumeration, a Viterbi decoder in numpy and scipy's shortest paths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import bellman_ford, dijkstra
from torch import Tensor

from ebm import Choices, energy, minimize
from ebm.infer import DynamicProgramming, Enumerate
from ebm.staged import Staged


class Machine(Staged):
    """A finite automaton: state s and choice a cost cost[row, t, s, a] and lead to state next[s, a]."""

    def __init__(self, table: Tensor, keyed: bool = True, **settings):
        self.keyed = keyed
        super().__init__("a", num_keys=len(table) if keyed else None, **settings)
        self.register_buffer("table", table)

    def __getattr__(self, name):
        if name == "key" and self.__dict__["keyed"]:
            return lambda state: state["now"]
        return super().__getattr__(name)

    def start(self, first, cost, end):
        return {"now": first, "costs": (cost, [end])}

    def stage(self, state, choice, t):
        cost, _ = state["costs"]
        paid = cost[torch.arange(len(choice)), t, state["now"], choice]
        return paid, {**state, "now": self.table[state["now"], choice]}

    def final(self, state):
        _, (end,) = state["costs"]
        return end.gather(1, state["now"][:, None]).squeeze(1)


@st.composite
def machines(draw: st.DrawFn, values: st.SearchStrategy[float]) -> dict:
    n, keys, horizon = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    batch = draw(st.integers(1, 3))

    def array(elements: st.SearchStrategy, *shape: int) -> np.ndarray:
        size = int(np.prod(shape))
        return np.array(draw(st.lists(elements, min_size=size, max_size=size))).reshape(shape)

    return {
        "table": array(st.integers(0, keys - 1), keys, n),
        "first": array(st.integers(0, keys - 1), batch),
        "cost": array(values, batch, horizon, keys, n),
        "end": array(values, batch, keys),
        "n": n,
    }


def tensors(m: dict) -> tuple[Tensor, Choices, dict[str, Tensor]]:
    batch, horizon = m["cost"].shape[:2]
    given_ = {name: torch.as_tensor(m[name]) for name in ("first", "cost", "end")}
    return torch.as_tensor(m["table"]), Choices(torch.zeros(batch, horizon, dtype=torch.long), m["n"]), given_


@settings(max_examples=60)
@given(
    machines(st.sampled_from([-1.0, 0.0, 1.0, 2.0, np.inf, np.nan])),
    st.booleans(),
    st.sampled_from([None, 1, 5]),
)
def test_equals_enumeration_even_where_sequences_tie(machine, keyed, max_rows):
    table, start, values = tensors(machine)
    over = {"a": start}
    solve = Machine(table, keyed)
    oracle = minimize(solve, over, Enumerate(), given=values)
    found = minimize(solve, over, DynamicProgramming(), given=values, max_rows=max_rows)
    assert found.reasons == oracle.reasons
    solved = oracle.converged
    assert torch.equal(found.energy[solved], oracle.energy[solved])
    assert torch.equal(found.value["a"][solved], oracle.value["a"][solved])


@given(machines(st.floats(-5, 5)), st.floats(0.1, 3.0), st.booleans())
def test_equals_the_search_by_hand_under_a_weight(machine, weight, negative):
    table, start, values = tensors(machine)
    weight = -weight if negative else weight
    solution = minimize(weight * Machine(table), {"a": start}, DynamicProgramming(), given=values)
    rows = zip(machine["first"], machine["cost"], machine["end"], strict=True)
    for row, (first, cost, end) in enumerate(rows):
        totals = []
        for path in itertools.product(range(machine["n"]), repeat=cost.shape[0]):
            state, total = first, 0.0
            for t, a in enumerate(path):
                total, state = total + cost[t, state, a], machine["table"][state, a]
            totals.append(weight * (total + end[state]))
        np.testing.assert_allclose(solution.energy[row], min(totals), rtol=1e-12, atol=1e-12)


class Tags(Staged):
    """-log p(tags, words) of a hidden Markov model, from log p(word | tag) (B, T, K)."""

    def __init__(self, initial: Tensor, transition: Tensor):
        super().__init__("tags", num_keys=len(initial))
        self.register_buffer("initial", initial)
        self.register_buffer("transition", transition)

    def start(self, emission):
        return torch.zeros(len(emission), dtype=torch.long), emission

    def stage(self, state, choice, t):
        tag, emission = state
        log_p = emission[:, t].gather(1, choice[:, None]).squeeze(1)
        log_p = log_p + (self.initial[choice] if t == 0 else self.transition[tag, choice])
        return -log_p, (choice, emission)

    def final(self, state):
        return state[1].new_zeros(len(state[0]))

    def key(self, state):
        return state[0]


def viterbi(initial: np.ndarray, transition: np.ndarray, emission: np.ndarray) -> tuple[list[int], float]:
    """The most probable tags and their log-probability, in plain numpy."""
    score, back = initial + emission[0], []
    for now in emission[1:]:
        through = score[:, None] + transition
        back.append(through.argmax(0))
        score = through.max(0) + now
    tags = [int(score.argmax())]
    for pointers in reversed(back):
        tags.append(int(pointers[tags[-1]]))
    return tags[::-1], score.max()


def test_decodes_a_hidden_markov_model_like_viterbi():
    g = torch.Generator().manual_seed(0)
    tags, length, batch = 8, 40, 6
    initial = torch.randn(tags, dtype=torch.float64, generator=g).log_softmax(0)
    transition = torch.randn(tags, tags, dtype=torch.float64, generator=g).log_softmax(1)
    emission = torch.randn(batch, length, tags, dtype=torch.float64, generator=g).log_softmax(2)
    start = Choices(torch.zeros(batch, length, dtype=torch.long), tags)
    model = Tags(initial, transition)
    for max_rows in (None, 20):
        solution = minimize(
            model, start, DynamicProgramming(), given={"emission": emission}, max_rows=max_rows
        )
        for row in range(batch):
            best, log_p = viterbi(initial.numpy(), transition.numpy(), emission[row].numpy())
            assert solution.value[row].tolist() == best
            np.testing.assert_allclose(solution.energy[row], -log_p, rtol=1e-12)
    assert solution.reasons == ["exhausted"] * batch and solution.steps.tolist() == [1] * batch
    short = Choices(start.start[:, :3], tags)  # any length will do
    solution = minimize(model, short, DynamicProgramming(), given={"emission": emission})
    assert solution.value.shape == (batch, 3)


class Route(Staged):
    """At most T roads from a source to a target; staying is free, other missing roads cost +inf."""

    def __init__(self, toll: Tensor, horizon: int):
        super().__init__("cities", horizon, num_keys=len(toll))
        self.register_buffer("toll", toll)

    def start(self, source, target):
        return source, target

    def stage(self, state, choice, t):
        return self.toll[state[0], choice], (choice, state[1])

    def final(self, state):
        return torch.where(state[0] == state[1], 0.0, torch.inf)

    def key(self, state):
        return state[0]


@pytest.mark.parametrize("negative", [False, True])
def test_finds_the_shortest_paths_of_a_graph(negative):
    rng = np.random.default_rng(0)
    cities = 12
    toll = rng.uniform(0.1, 2, (cities, cities))
    toll[rng.random((cities, cities)) > 0.2] = np.inf
    toll[:, 3] = np.inf  # no road leads to city 3
    if negative:  # potentials make some roads cheaper than nothing, but no round trip
        height = rng.uniform(0, 2, cities)
        toll = toll + height[:, None] - height[None, :]
        assert (toll < 0).any()
    np.fill_diagonal(toll, 0.0)
    expected = (bellman_ford if negative else dijkstra)(np.where(np.isinf(toll), 0, toll))  # 0: no road
    pairs = torch.cartesian_prod(torch.arange(cities), torch.arange(cities))
    source, target = pairs.unbind(1)
    start = Choices(torch.full((len(pairs), cities - 1), 3), cities)
    route = Route(torch.as_tensor(toll), cities - 1)
    solution = minimize(route, start, DynamicProgramming(), given={"source": source, "target": target})
    lengths = solution.energy.view(cities, cities).numpy()
    np.testing.assert_allclose(lengths, expected, rtol=1e-12, atol=1e-12)
    reached = np.isfinite(expected).ravel()
    assert solution.converged.tolist() == reached.tolist() and 0 < (~reached).sum() < len(reached)
    assert torch.equal(solution.value[torch.as_tensor(reached)][:, -1], target[torch.as_tensor(reached)])


class Coins(Staged):
    """Pay a sum exactly with T coins: the only key is what is left, and the stage may leave its range."""

    def start(self, owed):
        return owed

    def stage(self, state, choice, t):
        left = state - torch.tensor([0, 1, 5, 7])[choice]
        return torch.where(left < 0, torch.inf, (choice > 0).double()), left

    def final(self, state):
        return torch.where(state == 0, 0.0, torch.inf).double()

    def key(self, state):
        return state


def test_the_state_after_a_forbidden_choice_may_be_anything():
    owed = torch.arange(36)
    start = Choices(torch.zeros(36, 5, dtype=torch.long), 4)
    solution = minimize(Coins("coins", num_keys=36), start, DynamicProgramming(), given={"owed": owed})
    counts = {}
    for coins in itertools.product([0, 1, 5, 7], repeat=5):
        counts[sum(coins)] = min(counts.get(sum(coins), 9), sum(c > 0 for c in coins))
    assert solution.energy.tolist() == [counts.get(s, float("inf")) for s in range(36)]
    assert solution.reasons[34] == "non finite" and solution.reasons[35] == "exhausted"


class Scribbler(Coins):
    """Writes into the dict that it is handed, and hands a tensor on under another name."""

    def start(self, owed):
        return {"left": owed, "owed": owed, "then": owed}

    def stage(self, state, choice, t):
        cost, state["left"] = super().stage(state["left"], choice, t)
        state["owed"], state["then"] = state["then"], state["owed"]
        return cost, state

    def final(self, state):
        return super().final(state["left"]) + 0.01 * state["then"]

    def key(self, state):
        return state["left"]


def test_a_stage_may_reuse_the_dict_of_its_state():
    given_ = {"owed": torch.arange(20)}
    start = Choices(torch.zeros(20, 3, dtype=torch.long), 4)
    scribbler = Scribbler("coins", num_keys=20)
    found = minimize(scribbler, start, DynamicProgramming(), given=given_)
    oracle = minimize(scribbler, start, Enumerate(), given=given_)
    assert found.reasons == oracle.reasons and torch.equal(found.energy, oracle.energy)


def test_constant_terms_and_early_givens_do_not_matter():
    machine = {"table": np.array([[0, 1], [1, 0]]), "first": np.zeros(2, int), "n": 2}
    rng = np.random.default_rng(1)
    machine |= {"cost": rng.normal(size=(2, 5, 2, 2)), "end": rng.normal(size=(2, 2))}
    table, start, values = tensors(machine)

    @energy
    def prior(end):
        return (end**2).sum(1)

    plain = minimize(Machine(table), {"a": start}, DynamicProgramming(), given=values)
    known = Machine(table).given(cost=values.pop("cost"))
    summed = prior + 2.0 * known + 0.0 * known
    found = minimize(summed, {"a": start}, DynamicProgramming(), given=values)
    assert torch.equal(found.value["a"], plain.value["a"])
    torch.testing.assert_close(found.energy, 2 * plain.energy + (values["end"] ** 2).sum(1))


def test_nan_in_one_row_stays_there():
    table, start, values = tensors(
        {
            "table": np.array([[0, 1], [1, 0]]),
            "first": np.array([0, 1, 0]),
            "cost": np.random.default_rng(2).normal(size=(3, 6, 2, 2)),
            "end": np.zeros((3, 2)),
            "n": 2,
        }
    )
    clean = minimize(Machine(table), {"a": start}, DynamicProgramming(), given=values)
    values["cost"][1, 2] = torch.nan
    values["cost"][2, 0, 0, 0] = torch.nan  # the start of row 2, but not the only way
    poisoned = minimize(Machine(table), {"a": start}, DynamicProgramming(), given=values)
    assert poisoned.reasons == ["exhausted", "non finite", "exhausted"]
    assert torch.equal(poisoned.value["a"][0], clean.value["a"][0]) and poisoned.energy[0] == clean.energy[0]
    assert poisoned.energy[1].isnan() and poisoned.energy[2].isfinite() and poisoned.value["a"][2, 0] == 1


@energy
def smooth(a):
    return a.double().sum(1)


@energy
def bowl(y):
    return (y**2).sum(1)


class Keyless(Staged):
    def start(self, x):
        return x

    def stage(self, state, choice, t):
        return choice.double(), state

    def final(self, state):
        return state[:, 0]


class BadKey(Keyless):
    def key(self, state):
        return torch.full((len(state),), 5)


class FloatKey(Keyless):
    def key(self, state):
        return state


class BadStage(Keyless):
    def stage(self, state, choice, t):
        return choice.double()[:, None], state


class NoStart(Keyless):
    def start(self):
        return torch.zeros(1)


sequence = Choices(torch.zeros(2, 3, dtype=torch.long), 2)
x = {"x": torch.ones(2, 1, dtype=torch.float64)}


def solve(energy, over=sequence, **settings):
    given_ = {name: value for name, value in x.items() if name in energy.variables}
    return minimize(energy, over, DynamicProgramming(), given=given_, **settings)


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda: solve(Keyless("a") + smooth), TypeError, r"Keyless \(Keyless\), smooth .*Add the other"),
        (lambda: solve(Keyless("a") + Keyless("a")), TypeError, "one Staged energy"),
        (lambda: solve(smooth), TypeError, "one Staged energy"),
        (
            lambda: solve(Keyless("a").compose(a=(torch.abs, "b"))),
            TypeError,
            "searches over 'a'.*free variables here are b",
        ),
        (
            lambda: solve(Keyless("x2").compose(x=(Tensor.double, "a")).given(x2=sequence.start)),
            TypeError,
            "searches over 'x2'",
        ),
        (lambda: solve(bowl, torch.zeros(2, 3)), TypeError, "one Staged energy"),
        (lambda: solve(Keyless("a"), subject_to=[smooth]), TypeError, r"\+inf in `stage`"),
        (
            lambda: solve(Keyless("a"), Choices(torch.zeros(2, 40, dtype=torch.long), 2)),
            ValueError,
            r"2\^40 sequences.*num_keys",
        ),
        (lambda: solve(BadKey("a", num_keys=5)), ValueError, r"num_keys=5\); it returned 5 to 5"),
        (lambda: solve(FloatKey("a", num_keys=5)), ValueError, "one int64 a row.*float64"),
        (lambda: solve(BadStage("a")), ValueError, "BadStage.stage must return one energy a row"),
        (lambda: solve(Keyless("a", horizon=4)), ValueError, r"shape \(B, 4\); got \(2, 3\)"),
        (lambda: solve(Keyless("a"), Choices(sequence.start[:, 0], 2)), ValueError, "T >= 1"),
        (lambda: Keyless("a")(a=torch.zeros(2, 3), **x), TypeError, "is int64"),
        (lambda: BadKey("a"), TypeError, "has key but no num_keys"),
        (lambda: Keyless("a", num_keys=3), TypeError, "has num_keys but no key"),
        (lambda: NoStart("a"), TypeError, "at least one variable"),
        (lambda: Keyless("x"), TypeError, "names the choice variable and a parameter"),
        (lambda: Keyless("a", horizon=0), ValueError, "horizon must be at least 1"),
        (lambda: Staged("a"), TypeError, "abstract"),
    ],
)
def test_what_does_not_fit_is_refused(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()


def test_a_staged_energy_is_an_energy():
    machine = Keyless("a", horizon=3)
    assert machine.variables == ("x", "a")
    a = torch.tensor([[0, 1, 1], [0, 0, 1]])
    assert machine(a=a, **x).tolist() == [3.0, 2.0]
    assert (0.5 * machine + smooth).terms(a=a, **x)["smooth"].tolist() == [2.0, 1.0]
    ones = {"x": torch.ones(2, 1, dtype=torch.float64, requires_grad=True)}
    assert torch.autograd.grad(machine(a=a, **ones).sum(), ones["x"])[0].tolist() == [[1.0], [1.0]]
