"""The protocol of a sampler: state in, state and info out, nothing hidden on `self`.

    state_0 = init(problem, u_0, β),        state_{k+1}, info_k = step(problem, state_k, noise_k)

All randomness of a step is `noise_k`, which the driver (`ebm.infer.sample`) draws into memory that it keeps.
So a step is a function: it can be tried with noise chosen by hand, and several steps can be compiled into one
call. A sampler with a test proposes a point u' and keeps it with the probability

    min(1, exp(H(u) - H(u'))),        H = βE + what the density of the proposal adds,

which leaves p ∝ exp(-βE) as it is.

Reference: Metropolis et al. (1953), "Equation of state calculations by fast computing machines"; Hastings
(1970), "Monte Carlo sampling methods using Markov chains and their applications", sect. 2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from ebm.infer.method import State
from ebm.problem import Problem
from ebm.rows import expand, flat

Noise = dict[str, Tensor]
Info = dict[str, Tensor]

COUNTS = ("accepted", "divergent", "nonfinite")  # what a tested step reports of each chain, (B,) bool
DIVERGENT = 1000.0  # a larger error of H counts as a divergence; Stan draws the line there, too


class Sampler(ABC):
    """A Markov chain whose draws follow p ∝ exp(-βE), exactly or nearly; every row is a chain of its own.

    A state is a dict of tensors. It holds `u`, the chains' points, and `value` = E(u) if the sampler knows
    it, and whatever a step needs that `init` can work out once: the gradient at u, step sizes (0-dim or
    shaped like u).
    """

    tested: ClassVar[bool] = True  # p is left exactly as it is, and `step` reports COUNTS
    one_test: ClassVar[bool] = True  # of one proposal a step: `accepted` says whether the chain moved
    compiles: ClassVar[bool] = True  # its steps are always the same operations; else the gradient's alone are
    binary: ClassVar[bool] = False  # moves among zeros and ones, not through real numbers
    discrete: ClassVar[bool] = False  # moves among Choices
    gradients: int = 1  # that one step takes
    reports: tuple[str, ...] = ()  # of state and info, (B, ...): their means go into `Samples.report`

    @abstractmethod
    def init(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        """The state at the starting points u; beta is one number, or one per chain (B,)."""

    @abstractmethod
    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        """One step of every chain; a new state, the old one is left as it was."""

    def noise(self, u: Tensor) -> Noise:
        """Memory for a step's randomness: normal for each coordinate; for a test, uniform for each row."""
        normal = {"normal": torch.empty_like(u)}
        return normal | {"uniform": u.new_empty(len(u))} if self.tested else normal

    def draw(self, noise: Noise, generator: torch.Generator | None) -> None:
        """Fill that memory, always for all chains and in the same order."""
        noise["normal"].normal_(generator=generator)
        if "uniform" in noise:
            noise["uniform"].uniform_(generator=generator)


def setting(problem: Problem, value: float | Tensor, like: Tensor) -> Tensor:
    """One number, or one per chain, as a tensor that multiplies u = `like` fast: 0-dim, or shaped like u."""
    if not isinstance(value, Tensor):
        return like.new_full((), value)
    value = torch.as_tensor(problem.per_row(value.to(like)))
    return expand(value, like).expand_as(like).contiguous() if value.ndim else value


def half_square(p: Tensor) -> Tensor:
    """½|p|² of each row, (B,); as a product, several times faster than a sum where rows are short."""
    squares = flat(p * p)
    return torch.mv(squares, squares.new_full((squares.shape[1],), 0.5))


def metropolis(
    state: State, proposal: State, before: Tensor, after: Tensor, uniform: Tensor
) -> tuple[State, Info]:
    """Keep each chain's proposal with probability min(1, exp(before - after)), else stay.

    A proposal whose H is NaN or infinite is rejected and counted as non-finite. One whose H is finite but
    more than `DIVERGENT` higher is counted as divergent (and rejected, by all odds). A chain that stands
    where H is NaN or infinite, as it may at its start, takes the first finite proposal.

    Args:
        state: where the chains are.
        proposal: the entries of the state that a move changes.
        before: H of the state, (B,).
        after: H of the proposal, (B,).
        uniform: a number in [0, 1) a chain, (B,).
    """
    error = after - before.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)
    finite = torch.isfinite(after)
    accepted = (uniform < torch.exp(-error)) & finite
    mask = expand(accepted, state["u"]).expand_as(state["u"]).contiguous()  # so that each `where` is one pass
    moved = {
        name: torch.where(mask if new.ndim == mask.ndim else accepted, new, state[name])
        for name, new in proposal.items()
    }
    return {**state, **moved}, {
        "accepted": accepted,
        "divergent": (error > DIVERGENT) & finite,
        "nonfinite": ~finite,
    }
