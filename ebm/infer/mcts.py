"""Monte Carlo tree search: random sequences, drawn ever more often where they have been cheap.

    next choice = argmin_a  C̄(a) - κ (C_max - C_min) √(ln N / N_a),     C̄(a) = mean cost of the N_a tries of a

A tree of beginnings grows by one node a try. A try walks down the tree by this rule, adds the first beginning
that is new, ends by random choices, and its cost is averaged into every node on its way (UCT, with the costs
of a row scaled to [0, 1]). Costs are known exactly, so the cheapest try so far is the answer, and a beginning
of which every end was tried is closed: after at most n + n² + ... + n^T tries nothing is left.

Reference: Kocsis & Szepesvári (2006), "Bandit based Monte-Carlo planning"; Winands, Björnsson, Saito (2008),
"Monte-Carlo tree search solver" (closed nodes).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import Method, State, positive, stop_where
from ebm.infer.staged_term import staged_term
from ebm.problem import Problem
from ebm.solution import Stop

NONE = -1  # no child, no node


class MCTS(Method):
    """The cheapest sequence tried of a `Staged` energy, by least C̄ - κ (C_max - C_min) √(ln N / N_a).

    A step is one try of every row, all rows together, so `max_steps` is the budget. It needs nothing of the
    energy but its stages, and a cost of +inf or NaN closes a beginning. A row ends by "exhausted" once its
    tree is closed: the answer is then the optimum; by "non-finite" if no sequence has a finite energy.

    Args:
        exploration: κ > 0; 1.41 is that of the theory, less trusts the first tries more.

    Raises:
        TypeError: if the energy is not one `Staged` term over its choice variable, or has constraints.
        ValueError: if the exploration is not positive.

    Example:
        >>> from ebm.testing.posed import tagging
        >>> posed = tagging(choices=2, length=5)
        >>> few, all = (posed.solve(MCTS(), max_steps=tries) for tries in (4, 62))
        >>> bool((all.energy <= few.energy).all()), few.reasons[0], all.reasons[0]
        (True, 'max steps', 'exhausted')
    """

    population = True
    discrete = True
    differentiable = False

    def __init__(self, exploration: float = 1.0):
        self.exploration = float(positive("exploration", exploration))

    def init(self, problem: Problem, u: Tensor) -> State:
        leaf, *_ = staged_term(problem, "MCTS")
        leaf.check_choices(u)
        value = problem.value(u)
        batch, n = len(u), problem.choices[leaf.choice]
        return {
            "u": u,
            "value": value,
            "lowest": torch.full_like(value, torch.inf),  # and highest cost of a try, without constant terms
            "highest": torch.full_like(value, -torch.inf),
            "nodes": torch.ones(batch, dtype=torch.int64, device=u.device),  # in use; node 0 is the root
            "child": torch.full((batch, 1, n), NONE, device=u.device),
            "visits": value.new_zeros(batch, 1),
            "total": value.new_zeros(batch, 1),  # of the costs of all tries through a node
            "closed": torch.zeros(batch, 1, dtype=torch.bool, device=u.device),
        }

    def step(self, problem: Problem, state: State) -> State:
        u, value, new = state["u"], state["value"], _with_room(state)
        leaf, given, sign = staged_term(problem, "MCTS")
        (batch, horizon), n = u.shape, problem.choices[leaf.choice]
        drawn = problem.normal(value.new_empty(batch, horizon, n))  # whose greatest entry is a random choice
        place, cost = leaf.start(**given), torch.zeros_like(value)
        node = torch.zeros(batch, dtype=torch.int64, device=u.device)
        way, choices = [node], []
        for t in range(horizon):
            choice = self._choose(new, node, drawn[:, t])
            paid, place = leaf.stage(place, choice, t)
            cost = cost + sign * paid
            node, met = _descend(new, node, choice, ends=~cost.isfinite() | (t + 1 == horizon))
            way.append(met)
            choices.append(choice)
        cost = cost + sign * leaf.final(place)
        tried = torch.stack(choices, 1)
        better = cost < state["lowest"]  # NaN is not
        finite = cost.isfinite()
        new["lowest"] = torch.where(better, cost, state["lowest"])
        new["highest"] = torch.where(finite, torch.maximum(cost, state["highest"]), state["highest"])
        seen = torch.where(finite, cost, new["highest"].where(new["highest"].isfinite(), 0.0))
        _back_up(new, way, seen)
        if bool(better.any()):
            energy = problem.value(tried)
            better = better & ((energy <= value) | ~value.isfinite())  # the start may be lower
            new["u"] = torch.where(better.unsqueeze(1), tried, u)
            new["value"] = torch.where(better, energy, value)
        return new

    def verdict(self, state: State, tol: float) -> Tensor:
        done, finite = state["closed"][:, 0], state["value"].isfinite()
        return stop_where(done & finite, Stop.EXHAUSTED) + stop_where(done & ~finite, Stop.NON_FINITE)

    def _choose(self, tree: State, node: Tensor, drawn: Tensor) -> Tensor:
        """The next choice of every row, (B,): a new one first, then by UCT; off the tree a random one."""
        row, at = torch.arange(len(node), device=node.device), node.clamp(min=0)
        child = tree["child"][row, at]  # (B, n)
        known, child = child != NONE, child.clamp(min=0)
        visits = tree["visits"].gather(1, child).clamp(min=1)
        spread = (tree["highest"] - tree["lowest"]).clamp(min=0).unsqueeze(1)  # 0 before the first try
        tries = tree["visits"][row, at].clamp(min=1).unsqueeze(1)
        promise = tree["total"].gather(1, child) / visits
        promise = promise - self.exploration * spread * (tries.log() / visits).sqrt()
        promise = promise.masked_fill(tree["closed"].gather(1, child), torch.inf)
        by_rule = torch.where(known.all(1), promise.argmin(1), drawn.masked_fill(known, -torch.inf).argmax(1))
        return torch.where(node != NONE, by_rule, drawn.argmax(1))


def _with_room(state: State) -> State:
    """A copy of the state, whose tree has room for one more node; room is doubled when it runs out."""
    new = {**state, **{name: state[name].clone() for name in ("nodes", "child", "visits", "total", "closed")}}
    room = new["visits"].shape[1]
    if int(new["nodes"].max()) == room:
        batch, _, n = new["child"].shape
        new["child"] = torch.cat([new["child"], new["child"].new_full((batch, room, n), NONE)], 1)
        for name in ("visits", "total", "closed"):
            new[name] = torch.cat([new[name], torch.zeros_like(new[name])], 1)
    return new


def _descend(tree: State, node: Tensor, choice: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row's walk goes on, NONE off the tree; and the child that it met there, added where new."""
    inside = (node != NONE).nonzero().flatten()
    child = torch.full_like(node, NONE)
    child[inside] = tree["child"][inside, node[inside], choice[inside]]
    added = inside[child[inside] == NONE]
    child[added] = tree["nodes"][added]
    tree["child"][added, node[added], choice[added]] = child[added]
    tree["nodes"][added] += 1
    last = inside[ends[inside]]
    tree["closed"][last, child[last]] = True
    return child.index_fill(0, added, NONE), child


def _back_up(tree: State, way: list[Tensor], cost: Tensor) -> None:
    """Count a try in every node on its way, and close those of which every child is closed."""
    for node in reversed(way):
        row = (node != NONE).nonzero().flatten()
        at = node[row]
        tree["visits"][row, at] += 1
        tree["total"][row, at] += cost[row]
        child = tree["child"][row, at]
        shut = (child != NONE) & tree["closed"][row].gather(1, child.clamp(min=0))
        tree["closed"][row, at] |= shut.all(1)
