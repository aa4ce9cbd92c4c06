"""The graph that a search over places grows: nodes of all rows side by side, and how new ones are chosen.

A wave takes the best nodes of every row, stages all their choices in one call, and keeps children that are
far from every node and from one another. Rows that are done are written down and dropped.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from ebm.binder import map_rows
from ebm.infer.staged_term import staged_term
from ebm.problem import Problem
from ebm.solution import Stop

EXACT = "donot_use_mm_for_euclid_dist"  # the product of matrices loses half of the digits


class Search(Protocol):
    """The settings of a search; see `GraphSearch`."""

    spacing: float | Tensor
    expand: int
    good_enough: float
    greed: float


class Graph:
    """The nodes of every row so far, (B, M): cost, order, (parent, choice, depth), place and state."""

    def __init__(self, search: Search, problem: Problem, u: Tensor):
        self.search, self.horizon = search, u.shape[1]
        self.leaf, given, self.sign = staged_term(problem, "GraphSearch")
        self.n, self.rest = problem.choices[self.leaf.choice], int(self.leaf.rest)  # type: ignore[arg-type]
        self.states = self.leaf.start(**given)  # B·M rows
        final = self._final(self.states, len(u), 1)
        self.place = self._places(self.states).unsqueeze(1)  # (B, M, D)
        self.cost = torch.zeros_like(final)
        self.order = self._order(self.cost, final)
        self.back = torch.full((len(u), 1, 3), -1, device=u.device)  # parent, choice, depth
        self.back[:, :, 2] = 0
        self.best, self.best_final = final[:, 0].masked_fill(final[:, 0].isnan(), torch.inf), final[:, 0]
        self.best_back = self.back[:, 0].clone()
        self.radius = torch.as_tensor(
            problem.per_row(search.spacing), dtype=final.dtype, device=u.device
        ).expand(len(u))
        self.rows = torch.arange(len(u), device=u.device)  # of the batch that are still searched
        self.u = torch.full_like(u, self.rest)
        self.code = torch.full((len(u),), int(Stop.STALLED), dtype=torch.uint8, device=u.device)

    def wave(self) -> bool:
        """Expand the best beginnings of every row; whether any row is left."""
        self._retire()
        if not len(self.rows):
            return False
        rows, n = len(self.rows), self.n - 1  # to rest leads nowhere
        # sorted, since topk breaks ties differently beside neighbors with more nodes
        order, parent = (t[:, : self.search.expand] for t in self.order.sort(dim=1, stable=True))  # (B, F)
        self.order.scatter_(1, parent, torch.inf)
        flat = (torch.arange(rows, device=parent.device)[:, None] * self.cost.shape[1] + parent).flatten()
        states = map_rows(self.states, lambda t: t[flat].repeat_interleave(n, 0))
        choices = torch.arange(self.n, device=parent.device)
        choice = choices[choices != self.rest].repeat(len(flat))
        depth = self.back[:, :, 2].gather(1, parent).repeat_interleave(n, 1)  # (B, F n)
        paid, after = self.leaf.stage(states, choice, 0)
        cost = self.cost.gather(1, parent).repeat_interleave(n, 1) + self.sign * paid.view(rows, -1)
        final = self._final(after, rows, depth.shape[1])
        cost = cost.masked_fill(~order.isfinite().repeat_interleave(n, 1) | cost.isnan(), torch.inf)
        total = (cost + final).masked_fill(final.isnan(), torch.inf)
        back = torch.stack([parent.repeat_interleave(n, 1), choice.view(rows, -1), depth + 1], 2)
        self._keep_best(total, final, back)
        place = self._places(after).view(rows, depth.shape[1], -1)
        new = self._novel(place, self._order(cost, final), cost.isfinite())
        self._append(new, cost, final, back, place, after)
        return True

    def found(self) -> tuple[Tensor, Tensor]:
        """The sequences of choices found, (B, T), and why each row stopped."""
        self._retire(everyone=True)
        return self.u, self.code

    def _novel(self, place: Tensor, order: Tensor, usable: Tensor) -> Tensor:
        """Which children (B, C) are far from all nodes and from one another, (B, C) bool: best first."""
        radius = self.radius[:, None]
        usable = usable & (torch.cdist(place, self.place, compute_mode=EXACT).amin(2) > radius)
        near = torch.cdist(place, place, compute_mode=EXACT) <= radius.unsqueeze(2)
        # ahead[i, j]: j is near i and comes before it
        number = torch.arange(order.shape[1], device=order.device)
        first = (order[:, None, :] < order[:, :, None]) | (order[:, None, :] == order[:, :, None]) & (
            number < number[:, None]
        )
        ahead, kept = near & first, torch.zeros_like(usable)
        while bool(usable.any()):
            chosen = usable & ~(ahead & usable[:, None, :]).any(2)
            kept |= chosen
            usable = usable & ~chosen & ~(near & chosen[:, None, :]).any(2)
        return kept

    def _append(
        self, new: Tensor, cost: Tensor, final: Tensor, back: Tensor, place: Tensor, states: Any
    ) -> None:
        width = int(new.sum(1).max())
        if not width:
            return
        taken, slot = new.to(torch.uint8).sort(dim=1, descending=True, stable=True)  # in their order
        empty, slot = taken[:, :width] == 0, slot[:, :width]
        flat = (torch.arange(len(slot), device=slot.device)[:, None] * new.shape[1] + slot).flatten()
        rows, old = len(slot), self.cost.shape[1]

        def joined(before: Tensor, after: Tensor) -> Tensor:
            shape = after.shape[1:]
            return torch.cat(
                [before.view(rows, old, *shape), after[flat].view(rows, width, *shape)], 1
            ).flatten(0, 1)

        self.states = _zip_rows(joined, self.states, states)
        order = self._order(cost, final).gather(1, slot)
        order = order.masked_fill(empty | (back[:, :, 2].gather(1, slot) >= self.horizon), torch.inf)
        self.order = torch.cat([self.order, order], 1)
        self.cost = torch.cat([self.cost, cost.gather(1, slot)], 1)
        self.back = torch.cat([self.back, back.gather(1, slot[:, :, None].expand(-1, -1, 3))], 1)
        places = place.gather(1, slot[:, :, None].expand(-1, -1, place.shape[2]))
        root = self.place[:, :1].expand_as(places)  # filling, as far from anything as the root is
        self.place = torch.cat([self.place, torch.where(empty[:, :, None], root, places)], 1)

    def _keep_best(self, total: Tensor, final: Tensor, back: Tensor) -> None:
        value, index = total.min(1)
        better = value < self.best
        self.best = torch.where(better, value, self.best)
        self.best_final = torch.where(better, final.gather(1, index[:, None]).squeeze(1), self.best_final)
        chosen = back[torch.arange(len(back), device=back.device), index]
        self.best_back = torch.where(better[:, None], chosen, self.best_back)

    def _retire(self, everyone: bool = False) -> None:
        """Write down the rows that are done, and go on with the others."""
        reached = self.best_final <= self.search.good_enough
        done = reached | self.order.isinf().all(1) | everyone
        if not bool(done.any()):
            return
        out = done.nonzero().flatten()
        parent, choice, depth = self.best_back[out].unbind(1)
        path = torch.full((len(out), self.horizon + 1), self.rest, device=parent.device)
        while bool((depth > 0).any()):
            path.scatter_(1, torch.where(depth > 0, depth - 1, self.horizon)[:, None], choice[:, None])
            earlier = self.back[out].gather(1, parent.clamp(min=0)[:, None, None].expand(-1, 1, 3)).squeeze(1)
            parent, choice, depth = torch.where((depth > 0)[:, None], earlier, -1).unbind(1)
        self.u[self.rows[out]] = path[:, : self.horizon]
        self.code[self.rows[out[reached[out]]]] = int(Stop.GOAL)
        self._select((~done).nonzero().flatten())

    def _select(self, index: Tensor) -> None:
        nodes = self.cost.shape[1]
        for name in ("cost", "order", "back", "place", "best", "best_final", "best_back", "radius", "rows"):
            setattr(self, name, getattr(self, name)[index])
        flat = (index[:, None] * nodes + torch.arange(nodes, device=index.device)).flatten()
        self.states = map_rows(self.states, lambda t: t[flat])

    def _order(self, cost: Tensor, final: Tensor) -> Tensor:
        """g + w c_T; where ending is forbidden or NaN it does not guide."""
        return cost + self.search.greed * torch.where(final.isfinite(), final, 0.0)

    def _final(self, states: Any, rows: int, width: int) -> Tensor:
        return (self.sign * self.leaf.final(states)).view(rows, width)

    def _places(self, states: Any) -> Tensor:
        return self.leaf.place(states)  # type: ignore[operator]  # optional, so no method of Staged


def _zip_rows(function: Any, a: Any, b: Any) -> Any:
    """`function` of the tensors of two states that are made alike."""
    if isinstance(a, Tensor):
        return function(a, b)
    if isinstance(a, tuple | list):
        made = [_zip_rows(function, x, y) for x, y in zip(a, b, strict=True)]
        return type(a)(*made) if hasattr(a, "_fields") else type(a)(made)
    if isinstance(a, dict):
        return {key: _zip_rows(function, a[key], b[key]) for key in a}
    return a
