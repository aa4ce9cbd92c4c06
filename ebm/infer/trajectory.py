"""Trajectories that double until they turn back: what a step of `NUTS` grows, for all chains at once.

1, 2, 4, ... leapfrog points are added, each time at an end chosen by chance, until the trajectory, or one of
the halves that it is made of, makes a U-turn: with ρ the sum of the momenta of its points,

    p_firstᵀ M⁻¹ρ <= 0    or    p_lastᵀ M⁻¹ρ <= 0

or until H has risen by more than 1000 (a divergence). Points of a doubling that turned or diverged within are
thrown away. Of the others one is drawn with the weight exp(-H): within a doubling exactly so; and between the
point held so far (weight w of all until then) and that of the doubling (w'), the new one with probability
min(1, w'/w).

All chains double in step, so they share the loop and its indices; one that is done leaves it and costs no
gradient more. Of a doubling's points no more is kept than a stretch for each level, 1, 2, 4, ... points, that
waits for its other half. One uniform number a level is enough, whichever two stretches it joins: on the way
from a point up to the whole each level comes once.

Reference: Hoffman & Gelman (2014), algorithm 3, and Betancourt (2017), appendix A, for ρ and the weights
(`ebm.infer.nuts`); the checks across two halves are Stan's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ebm.binder import map_rows
from ebm.infer.method import State
from ebm.infer.sampler import DIVERGENT, Noise
from ebm.problem import Problem
from ebm.rows import expand, flat

DROP = 4  # rows that are done leave once they are a quarter of all, and at the end of a doubling


class End(NamedTuple):
    """An end of a trajectory: the point, the momentum M^{-1/2} p, the gradient."""

    u: Tensor
    p: Tensor
    gradient: Tensor


class Stretch(NamedTuple):
    """Neighboring points of a trajectory, and one that was drawn from them."""

    first: Tensor  # momentum of the first point
    last: Tensor  # of the last one
    momenta: Tensor  # the sum of all
    weight: Tensor  # log Σ exp(H of the start - H), (R,)
    u: Tensor  # the point drawn
    value: Tensor
    gradient: Tensor


class Chains(NamedTuple):
    """The chains that go on, R of them; everything that a chain needs."""

    rows: Tensor  # where they are among all
    start: End  # the trajectory's ends; it grows at `end`
    end: End
    whole: Stretch
    step: Tensor  # ε M^{-1/2}, its sign the direction of time at `end`
    kick: Tensor
    beta: Tensor
    level: Tensor  # H of the start
    floor: Tensor  # a log weight below it is a divergence
    uniform: Tensor  # (R, 3, max_depth)


class Trajectories:
    """The trajectories of one step, as they grow.

    Attributes:
        drawn: `u`, `value` and `gradient` of the points drawn, once all have ended.
        looked: how many points were looked at, (B,).
        chance: the sum of min(1, exp(H of the start - H)) over them, (B,).
        divergent, nonfinite: which chains came to a divergence, or to where H is NaN or infinite, (B,).
    """

    def __init__(self, problem: Problem, state: State, noise: Noise):
        u, gradient, p = state["u"], state["gradient"], noise["normal"]
        energy = torch.addcmul(0.5 * _dot(p, p), state["beta"], state["value"])
        finite = torch.isfinite(energy)  # from a start where it isn't, any point with finite H is taken
        end = End(u, p, gradient)
        weight = torch.where(finite, 0.0, -torch.inf).to(energy)
        self.whole_problem = self.problem = problem
        self.chains = Chains(
            torch.arange(len(u), device=u.device),
            end,
            end,
            Stretch(p, p, p, weight, u, state["value"], gradient),
            state["step"],
            state["kick"],
            state["beta"],
            torch.where(finite, energy, 0.0),
            torch.where(finite, -DIVERGENT, -torch.inf).to(energy),
            noise["uniform"],
        )
        self.drawn = {name: state[name].clone() for name in ("u", "value", "gradient")}
        self.chance, self.looked = torch.zeros_like(energy), torch.zeros_like(energy)
        self.divergent, self.nonfinite = torch.zeros_like(finite), torch.zeros_like(finite)

    @property
    def going(self) -> bool:
        """Whether any has not ended yet."""
        return len(self.chains.rows) > 0

    def end_all(self) -> None:
        """Stop all that are going, however short they are."""
        self._leave(torch.ones_like(self.chains.rows, dtype=torch.bool))

    def double(self, depth: int) -> None:
        """Add as many points as there are, at an end chosen by chance; chains that are done leave."""
        c = self.chains
        turn = c.uniform[:, 0, depth] < 0.5
        start, end = _turn_round(turn, c.start, c.end)
        whole = c.whole._replace(first=start.p, last=end.p)
        sign = expand(1.0 - 2.0 * turn.to(c.step), c.step)
        self.chains = c._replace(start=start, end=end, whole=whole, step=sign * c.step, kick=sign * c.kick)
        done = torch.zeros_like(turn)
        stack: list[Stretch] = []  # stretches of 2^k points, k falling, to be joined with what comes
        for point in range(2**depth):
            stretch, stop = self._leap(done)
            done = done | stop
            level = 0
            while point >> level & 1:
                stretch, turned = _join(stack.pop(), stretch, self.chains.uniform[:, 2, level], level == 0)
                done, level = done | turned, level + 1
            stack.append(stretch)
            lost = int(done.sum())
            if lost and (lost * DROP >= len(done) or point == 2**depth - 1):
                stack, done = map_rows(stack, self._leave(done)), done[~done]
                if not len(done):
                    return
        whole, turned = _join(self.chains.whole, stack[0], self.chains.uniform[:, 1, depth], depth == 0, True)
        self.chains = self.chains._replace(whole=whole)
        if bool(turned.any()):
            self._leave(turned)

    def _leap(self, done: Tensor) -> tuple[Stretch, Tensor]:
        """One leapfrog step at the end: the new point, and the chains that it stops."""
        c = self.chains
        p = torch.addcmul(c.end.p, c.kick, c.end.gradient, value=-0.5)
        u = torch.addcmul(c.end.u, c.step, p)
        value, gradient = self.problem.value_and_grad(u)
        p = torch.addcmul(p, c.kick, gradient, value=-0.5)
        weight = c.level - torch.addcmul(0.5 * _dot(p, p), c.beta, value)
        finite, steep = torch.isfinite(weight), weight < c.floor
        going = ~done
        self.chance.index_add_(0, c.rows, weight.exp().clamp(max=1).where(finite & going, 0.0))
        self.looked.index_add_(0, c.rows, going.to(weight))
        stop = steep | ~finite
        if bool(stop.any()):
            self.divergent[c.rows[steep & finite & going]] = True
            self.nonfinite[c.rows[~finite & going]] = True
        self.chains = c._replace(end=End(u, p, gradient))
        return Stretch(p, p, p, weight, u, value, gradient), stop

    def _leave(self, done: Tensor) -> Callable[[Tensor], Tensor]:
        """The chains `done` (R,) end at the point drawn so far; returns what chooses the others' rows."""
        rows, whole = self.chains.rows[done], self.chains.whole
        for name, point in (("u", whole.u), ("value", whole.value), ("gradient", whole.gradient)):
            self.drawn[name][rows] = point[done]
        others = (~done).nonzero().flatten()

        def choose(tensor: Tensor) -> Tensor:
            return tensor.index_select(0, others)

        self.chains = map_rows(self.chains, choose)
        self.problem = self.whole_problem.rows(self.chains.rows)
        return choose


def _join(
    a: Stretch, b: Stretch, uniform: Tensor, pair: bool, biased: bool = False
) -> tuple[Stretch, Tensor]:
    """The stretch of a and then b (a `pair` if one point each), and the chains in which it turns back."""
    weight = torch.logaddexp(a.weight, b.weight)
    take = uniform < torch.exp(b.weight - (a.weight if biased else weight))
    mask = expand(take, a.u).expand_as(a.u)
    u, gradient = torch.where(mask, b.u, a.u), torch.where(mask, b.gradient, a.gradient)
    momenta = a.momenta + b.momenta
    turned = _turns(a.first, b.last, momenta)
    if not pair:  # one of just a period ends as it began; up to where a and b meet it can be seen to turn
        turned |= _turns(a.first, b.first, a.momenta + b.first) | _turns(a.last, b.last, b.momenta + a.last)
    return Stretch(a.first, b.last, momenta, weight, u, torch.where(take, b.value, a.value), gradient), turned


def _turns(first: Tensor, last: Tensor, momenta: Tensor) -> Tensor:
    return (_dot(first, momenta) <= 0) | (_dot(last, momenta) <= 0)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """⟨a, b⟩ of each row, to the bit the same whichever rows stand beside it."""
    return flat(a * b).sum(1)


def _turn_round(turn: Tensor, start: End, end: End) -> tuple[End, End]:
    """The two ends, exchanged in the chains `turn`."""
    mask = expand(turn, start.u).expand_as(start.u)
    pairs = list(zip(start, end, strict=True))
    one, other = ([torch.where(m, b, a) for a, b in pairs] for m in (mask, ~mask))
    return End(*one), End(*other)
