"""Parallel tempering: chains at several temperatures that exchange places, so that the cold ones cross
barriers.

    π(u_1, ..., u_R) ∝ Π_r exp(-β b_r E(u_r)),        1 = b_1 > b_2 > ... > b_R > 0

A step moves every replica, then offers neighbors an exchange, which is accepted with probability

    min(1, exp(β (b_r - b_{r+1}) (E(u_r) - E(u_{r+1}))))

In even steps the pairs (1, 2), (3, 4), ... are asked, in odd steps (2, 3), (4, 5), ... That is better than to
choose at random: what the hottest replica finds then travels down in R steps, not in R². The draws are
those of the coldest replica.

Reference: Swendsen & Wang (1986), "Replica Monte Carlo simulation of spin glasses"; Okabe, Kawata, Okamoto &
Mikami (2001), "Replica-exchange Monte Carlo method for the isobaric-isothermal ensemble", for the even-odd
order; Syed, Bouchard-Côté, Deligiannidis & Doucet (2022), "Non-reversible parallel tempering", who show why
it is better, and advise equal exchange rates for all pairs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from ebm.infer.method import State
from ebm.infer.sampler import Info, Noise, Sampler
from ebm.infer.tunable import Tunable
from ebm.problem import Problem

POINT = ("u", "value", "gradient")  # what is exchanged; settings and temperature stay


class ParallelTempering(Sampler):
    """Parallel tempering of a sampler with a test: R replicas of each chain, R times the gradients.

    It leaves p as it is but is in no detailed balance. `accepted` is the coldest replica's share of steps in
    which it was moved or exchanged; `divergent` and `nonfinite` count steps in which any replica saw one;
    `Samples.report["exchanged"]` is the mean chance of an exchange of each pair of neighbors, (B, R - 1).
    Where a pair's is below a fifth or so, put another temperature between them.

    Args:
        method: how to move each replica, such as `MALA(0.1)` or `HMC(0.1, 10)`. A hot replica can take longer
            steps: the step size may be one per replica, (R,); HMC's best is near ε/√b.
        betas: b_1 = 1 and falling, R >= 2 numbers, relative to the β of `sample`.

    Example:
        >>> from ebm.infer import HMC, sample
        >>> from ebm.targets import DoubleWell
        >>> wells = DoubleWell(dim=1, height=12.0)  # exp(-12): a chain of its own would stay where it began
        >>> method = ParallelTempering(HMC(0.1, 5), betas=[1.0, 0.5, 0.25, 0.1])
        >>> g = torch.Generator().manual_seed(0)
        >>> draws = sample(wells, torch.ones(20, 1), method, num_samples=1000, burn_in=50, generator=g)
        >>> round((draws.value > 0).float().mean().item(), 1), draws.report["exchanged"].shape
        (0.5, torch.Size([20, 3]))
    """

    one_test = False
    compiles = False
    reports = ("exchanged",)

    def __init__(self, method: Tunable, betas: Sequence[float] | Tensor):
        if not isinstance(method, Tunable):
            raise TypeError(
                f"ParallelTempering moves its replicas with a sampler with a test, such as MALA(0.1) or "
                f"HMC(0.1, 10), else none of them would be exact; got {method!r}."
            )
        ladder = torch.as_tensor(betas, dtype=torch.float64)
        if (
            ladder.ndim != 1
            or len(ladder) < 2
            or ladder[0] != 1
            or not bool((ladder[1:] < ladder[:-1]).all())
            or not ladder[-1] > 0
        ):
            raise ValueError(
                f"betas begin with 1 and fall, all positive, at least two, e.g. [1.0, 0.5, 0.25]; got "
                f"{ladder.tolist()}."
            )
        step = torch.as_tensor(method.step_size)
        if step.ndim and step.shape != ladder.shape:
            raise ValueError(
                f"the step size of a tempered method is one number, or one per replica, ({len(ladder)},); "
                f"got {tuple(step.shape)}."
            )
        self.method, self.betas, self.gradients = method, ladder, len(ladder) * method.gradients

    def init(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        count, ladder = len(self.betas), self.betas.to(u)
        method, step = self.method, torch.as_tensor(self.method.step_size).to(u)
        if step.ndim:
            method = method.tuned(step.repeat(len(u)), method.mass)
        every = torch.as_tensor(beta, dtype=u.dtype, device=u.device).expand(len(u))
        wide = method.init(
            _replicas(problem, count), u.repeat_interleave(count, 0), torch.outer(every, ladder).flatten()
        )
        odd = torch.zeros(len(u), dtype=torch.bool, device=u.device)
        gaps = torch.outer(every, ladder[:-1] - ladder[1:])
        return {**self._narrow(wide), "odd": odd, "gaps": gaps, "exchanged": torch.zeros_like(gaps)}

    def noise(self, u: Tensor) -> Noise:
        """The noise of all replicas' steps, and a uniform number for each pair, (B, R - 1)."""
        count = len(self.betas)
        inner = self.method.noise(u.new_empty(len(u) * count, *u.shape[1:]))
        return {**inner, "exchange": u.new_empty(len(u), count - 1)}

    def draw(self, noise: Noise, generator: torch.Generator | None) -> None:
        """Fill that memory."""
        self.method.draw(noise, generator)
        noise["exchange"].uniform_(generator=generator)

    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        count, rows, u = len(self.betas), len(state["u"]), state["u"]
        wide = {name[1:]: part for name, part in state.items() if name[0] == "*"}
        wide = {name: part.flatten(0, 1) if part.ndim else part for name, part in wide.items()}
        wide, info = self.method.step(_replicas(problem, count), wide, noise)
        energy = wide["value"].view(rows, count)
        chance = torch.exp(state["gaps"] * (energy[:, :-1] - energy[:, 1:])).clamp(max=1)
        asked = (torch.arange(count - 1, device=u.device) % 2 == 1) == state["odd"].unsqueeze(1)
        taken = asked & (noise["exchange"] < chance)  # never, where a NaN makes no sense of the chance
        none = taken.new_zeros(rows, 1)
        up, down = (
            torch.cat([taken, none], 1),
            torch.cat([none, taken], 1),
        )  # takes the hotter's, the colder's
        index = torch.arange(rows * count, device=u.device) + (up.long() - down.long()).flatten()
        wide |= {name: wide[name].index_select(0, index) for name in POINT}
        counts = {name: part.view(rows, count) for name, part in info.items()}
        chance = chance.nan_to_num(0.0)
        new = {**state, **self._narrow(wide), "odd": ~state["odd"], "exchanged": chance}
        return new, {
            "accepted": (new["u"] != u).flatten(1).any(1) if u.ndim > 1 else new["u"] != u,
            "divergent": counts["divergent"].any(1),
            "nonfinite": counts["nonfinite"].any(1),
            "exchanged": chance,
        }

    def _narrow(self, wide: State) -> State:
        """The state of all replicas, rows (B, R, ...), and of it where the coldest are."""
        count = len(self.betas)
        parts = {f"*{n}": part.unflatten(0, (-1, count)) if part.ndim else part for n, part in wide.items()}
        return {**parts, **{name: parts[f"*{name}"][:, 0] for name in POINT}}


def _replicas(problem: Problem, count: int) -> Problem:
    """Every row so many times, each a row of its own, with settings of its own."""
    out = copy.copy(problem.repeat(count))
    out.full_batch, out.copies, out.live = problem.full_batch * count, 1, None
    return out
