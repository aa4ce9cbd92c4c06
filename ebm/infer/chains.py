"""Chains: where they are, and the loop that moves them.

    state_0 = init(u_0),        state_{k+1} = step(state_k, noise_k),        noise_k drawn here, in order

All chains take every step together. Compiled, several steps go into one call; the noise is drawn outside
of it, in the same order, so the answer is the same to rounding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.infer.compiled import compiled, with_compiled_gradient
from ebm.infer.method import State
from ebm.infer.sampler import COUNTS, Info, Noise, Sampler
from ebm.problem import Problem
from ebm.rows import flat

AT_ONCE = 5  # gradients in one compiled call: enough to hide its cost, few enough to compile in seconds
AT_MOST = 10  # gradients of a step that is compiled as a whole; of a longer one, the gradient alone is


def several(
    problem: Problem, method: Sampler, state: State, counts: Info, noises: list[Noise]
) -> tuple[State, Info, list[State]]:
    """A step for each noise: the last state, the counts, the path (`u` and, where known, `value`)."""
    path: list[State] = []
    for noise in noises:
        state, info = method.step(problem, state, noise)
        if counts:
            counts = {name: counts[name] + info[name] for name in counts}
        path.append({name: state[name] for name in ("u", "value") if name in state})
    return state, counts, path


def _write(kept: State, path: list[State], done: int, thin: int) -> None:
    """Keep every `thin`-th point of a path that follows `done` steps."""
    for k, point in enumerate(path, done + 1):
        if k % thin == 0:
            for name, out in kept.items():
                out[k // thin - 1] = point[name]


class Chains:
    """One Markov chain for each row, without the checks that `sample` makes.

    Attributes:
        state: where the chains are, a dict of tensors (`Sampler`).

    Args:
        problem: what to sample, cut from any graph; made under `torch.no_grad`, as the chains are.
        u: where the chains begin, likewise.
        method: how to move.
        beta: the inverse temperature, one number or one per chain (B,).
        compile: run the steps through torch.compile.
    """

    def __init__(
        self,
        problem: Problem,
        u: Tensor,
        method: Sampler,
        beta: float | Tensor = 1.0,
        compile: bool = False,
    ):
        self.problem, self.method, self.go, together = problem, method, several, 1
        self.graph = problem.by_autograd and not compile  # see `Problem._autograd`
        self.state = method.init(problem, u, beta)
        if compile and method.compiles and method.gradients <= AT_MOST:
            self.go = compiled(several, problem, u.device)
            together = max(1, AT_ONCE // method.gradients)
        elif compile:
            self.problem = with_compiled_gradient(problem, u.device)
        self.room = [method.noise(u) for _ in range(together)]
        names = COUNTS if method.tested else ()
        self.zeros = {name: torch.zeros(u.shape[:1], dtype=torch.int64, device=u.device) for name in names}
        self.zeros |= {name: torch.zeros_like(self.state[name]) for name in method.reports}

    def walk(self, steps: int, kept: State | None = None, thin: int = 1) -> Info:
        """Take so many steps and return the sums of what they report.

        Args:
            steps: how many.
            kept: memory by name, (N, B, ...), into which every `thin`-th point is written.
            thin: at least 1.
        """
        counts, together = self.zeros, len(self.room)
        with torch.set_grad_enabled(self.graph):
            for done in range(0, steps, together):
                noises = self.room[: steps - done]
                for noise in noises:
                    self.method.draw(noise, self.problem.generator)
                go = self.go if len(noises) == together else several  # a rest is too short for the compiled
                self.state, counts, path = go(self.problem, self.method, self.state, counts, noises)
                if kept is not None:
                    _write(kept, path, done, thin)
        return counts

    def lost(self) -> list[int]:
        """The chains whose state holds something NaN or infinite, by row; one that can reject began there."""
        parts = [self.state[name] for name in ("u", "value", "gradient", "energies") if name in self.state]
        if all(math.isfinite(part.sum().item()) for part in parts):  # a sum tells, nearly always
            return []
        lost = torch.stack([~torch.isfinite(flat(part)).all(1) for part in parts]).any(0)
        rows: list[int] = lost.nonzero().flatten().tolist()
        return rows
