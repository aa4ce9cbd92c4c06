"""Sampling: the loop that every sampler shares, with every row a chain.

    u_1, u_2, ..., u_N ~ p(u | given) ∝ exp(-β E(u, given))

The loop draws the noise, keeps every `thin`-th point after `burn_in` steps in memory allocated once, and
counts what the chains report. With `compile=True` it hands several steps at a time to torch.compile; the
noise is drawn outside, in the same order, so the answer is the same to rounding.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ebm.bound import Bound
from ebm.energy import Energy
from ebm.infer.compiled import compiled, with_compiled_gradient
from ebm.infer.method import State, count, positive
from ebm.infer.pose import Over, pose
from ebm.infer.sampler import COUNTS, Info, Noise, Sampler
from ebm.infer.suits import refuse_unsuited
from ebm.problem import Problem
from ebm.rows import flat
from ebm.solution import Samples

AT_ONCE = 5  # gradients in one compiled call: enough to hide its cost, few enough to compile in seconds
AT_MOST = 10  # gradients of a step that is compiled as a whole; of a longer one, the gradient alone is


def sample(
    energy: Energy | Bound,
    over: Over,
    method: Sampler,
    *,
    given: Mapping[str, Any] | None = None,
    num_samples: int,
    burn_in: int = 0,
    thin: int = 1,
    beta: float | Tensor = 1.0,
    generator: torch.Generator | None = None,
    compile: bool = False,
) -> Samples:
    """Draw from p(u | given) ∝ exp(-β E(u, given)) with one Markov chain per row.

    Args:
        energy: an energy, or one that is already bound.
        over: the free variables' starting values {name: (B, *shape)}, B chains; a bare value where there is
            one variable. A value is a tensor or a start object (`ebm.infer.starts`).
        method: how to move, e.g. `Langevin(0.01)`, `MALA(0.1)`, `HMC(0.1, 10)`.
        given: the values of all other variables, B rows first; options of the energy may stand here too.
        num_samples: N >= 1, draws to keep of each chain.
        burn_in: steps to take first, and forget.
        thin: steps from one kept draw to the next; N * thin steps follow the burn-in.
        beta: the inverse temperature β > 0, one number or one per chain (B,).
        generator: source of all randomness.
        compile: run the steps through torch.compile, which takes seconds to a minute when an energy is first
            sampled so; if it fails, says so and goes on without.

    Returns:
        `Samples`, whose value is (N, B, *shape), detached; its counts are of the steps after the burn-in
        (`nonfinite` without a test: of the draws, at least 1 where only the energy was NaN or infinite).

    Raises:
        TypeError, ValueError: for input that does not fit together, saying what was expected and what came.

    Warns:
        RuntimeWarning: if chains came to where the energy is NaN or infinite, or never left such a start.

    Example:
        >>> from ebm import energy
        >>> from ebm.infer import HMC, sample
        >>> @energy
        ... def bowl(y, center):
        ...     return 0.5 * ((y - center) ** 2).sum(1)
        >>> g = torch.Generator().manual_seed(0)
        >>> y, center = torch.zeros(4, 2), torch.full((4, 2), 3.0)
        >>> draws = sample(
        ...     bowl, y, HMC(0.5, 3), given={"center": center}, num_samples=500, burn_in=20, generator=g
        ... )
        >>> draws.value.shape, bool((draws.value.mean((0, 1)) - 3).abs().max() < 0.1)
        (torch.Size([500, 4, 2]), True)
    """
    count("num_samples", num_samples)
    count("burn_in", burn_in, 0)
    count("thin", thin)
    problem, u = begin(energy, over, method, given, beta, generator)
    by_name = isinstance(over, Mapping)
    samples, lost = run_chains(problem, u, method, num_samples, burn_in, thin, beta, by_name, compile)
    _report(lost, len(u), method)
    return samples


def run_chains(
    problem: Problem,
    u: Tensor,
    method: Sampler,
    num_samples: int,
    burn_in: int = 0,
    thin: int = 1,
    beta: float | Tensor = 1.0,
    by_name: bool = True,
    compile: bool = False,
) -> tuple[Samples, list[int]]:
    """`sample` after its checks and without its warning, for callers that have their own.

    Args:
        problem, u: what to sample and where the chains begin, cut from any graph.
        by_name: whether the samples' value is a dict by variable, or u itself.
        method, num_samples, burn_in, thin, beta, compile: as in `sample`.

    Returns:
        The samples, and which chains are lost, by row.
    """
    with torch.no_grad():
        state = method.init(problem, u, beta)
        chains = _Chains(problem, method, state, compile)
    with torch.set_grad_enabled(problem.by_autograd and not compile):  # see `Problem._autograd`
        chains.walk(burn_in)
        return chains.collect(num_samples, thin, by_name)


def begin(
    energy: Energy | Bound,
    over: Over,
    method: Any,
    given: Mapping[str, Any] | None,
    beta: float | Tensor,
    generator: torch.Generator | None,
) -> tuple[Problem, Tensor]:
    """The problem and the starting points, both detached, after the checks that all sampling needs."""
    if not isinstance(method, Sampler):
        raise TypeError(
            f"method must be a sampler such as Langevin(0.01), MALA(0.1) or HMC(0.1, 10); got {method!r}."
        )
    positive("beta", beta)
    with torch.no_grad():
        problem, u = pose(energy, over, given, generator=generator)
    refuse_unsuited(method, problem, u)
    return problem.detach(), u.detach()


def several(
    problem: Problem, method: Sampler, state: State, counts: Info, noises: list[Noise]
) -> tuple[State, Info, list[State]]:
    """A step for each noise: the last state, the counts, the path (`u` and, where known, `value`)."""
    path: list[State] = []
    for noise in noises:
        state, info = method.step(problem, state, noise)
        counts = {name: counts[name] + info[name] for name in counts}
        path.append({name: state[name] for name in ("u", "value") if name in state})
    return state, counts, path


class _Chains:
    """Where the chains are, and what goes on the way from one call to the next."""

    def __init__(self, problem: Problem, method: Sampler, state: State, compile: bool):
        u = state["u"]
        self.problem, self.method, self.state, self.go, together = problem, method, state, several, 1
        if compile and method.compiles and method.gradients <= AT_MOST:
            self.go = compiled(several, problem, u.device)
            together = max(1, AT_ONCE // method.gradients)
        elif compile:
            self.problem = with_compiled_gradient(problem, u.device)
        self.room = [method.noise(u) for _ in range(together)]
        names = COUNTS if method.tested else ()
        self.zeros = {name: torch.zeros(len(u), dtype=torch.int64, device=u.device) for name in names}
        self.zeros |= {name: torch.zeros_like(self.state[name]) for name in method.reports}

    def walk(self, steps: int, kept: State | None = None, thin: int = 1) -> Info:
        """Take so many steps, write every `thin`-th point into `kept`, and return the counts."""
        done, counts = 0, self.zeros
        while done < steps:
            noises = self.room[: steps - done]
            for noise in noises:
                self.method.draw(noise, self.problem.generator)
            go = self.go if len(noises) == len(self.room) else several  # a rest shorter than a compiled call
            self.state, counts, path = go(self.problem, self.method, self.state, counts, noises)
            for point in path:
                done += 1
                if kept is not None and done % thin == 0:
                    for name, out in kept.items():
                        out[done // thin - 1] = point[name]
        return counts

    def collect(self, num_samples: int, thin: int, by_name: bool) -> tuple[Samples, list[int]]:
        """The draws of the next num_samples * thin steps, and which chains are lost, by row."""
        names = [name for name in ("u", "value") if name in self.state]
        kept: State = {n: self.state[n].new_empty(num_samples, *self.state[n].shape) for n in names}
        counts = self.walk(num_samples * thin, kept, thin)
        value = self.problem.unpack(kept["u"]) if by_name else kept["u"]
        lost = self.lost()
        if counts:
            shares = {
                name: counts[name].to(kept["value"].dtype) / (num_samples * thin)
                for name in ("accepted", *self.method.reports)
            }
            accepted = shares.pop("accepted")
            found = Samples(value, accepted, counts["divergent"], counts["nonfinite"], kept["value"], shares)
            return found, lost
        chains = kept["u"].shape[1]
        none = torch.zeros(chains, dtype=torch.int64, device=kept["u"].device)
        nonfinite = none.clone()
        if lost:  # else no draw is NaN or infinite, for what has become so stays so
            nonfinite[lost] = 1
            draws = (~torch.isfinite(kept["u"].reshape(*kept["u"].shape[:2], -1))).any(2).sum(0)
            nonfinite = torch.maximum(nonfinite, draws)
        ones = kept["u"].new_ones(chains)
        return Samples(value, ones, none, nonfinite, kept.get("value")), lost

    def lost(self) -> list[int]:
        """The chains whose state holds something NaN or infinite, by row; one that can reject began there."""
        parts = [self.state[name] for name in ("u", "value", "gradient", "energies") if name in self.state]
        if all(math.isfinite(part.sum().item()) for part in parts):  # a sum tells, nearly always
            return []
        lost = torch.stack([~torch.isfinite(flat(part)).all(1) for part in parts]).any(0)
        rows: list[int] = lost.nonzero().flatten().tolist()
        return rows


def _report(rows: list[int], chains: int, method: Sampler) -> None:
    """Say aloud which chains hold no samples; counts alone are easily overlooked."""
    if not rows:
        return
    shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
    if method.tested:
        what = "never left a start where the energy or its gradient is NaN or infinite"
        cure = "Start them where both are finite"
    else:
        what = "came to where the energy is NaN or infinite, and their draws from then on are no samples"
        cure = "Take a smaller step_size, start lower in energy, or use MALA, which rejects such steps"
    warnings.warn(
        f"{type(method).__name__}: {len(rows)} of {chains} chains {what} (rows {shown}). {cure}; "
        f"Samples.nonfinite counts.",
        RuntimeWarning,
        stacklevel=3,
    )
