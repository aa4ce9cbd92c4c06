"""The cross-entropy method for Choices: sample every entry by its probabilities, count the best few.

    P(a_d = j) = p_k[d, j],  N samples,        elites = the M best of them by (violation, energy)
    p_{k+1}[d, j] = (1-α) (share of the elites with a_d = j) + α p_k[d, j]

The shares maximize the likelihood of the elites, as mean and standard deviation do for real numbers in
`ebm.infer.cem`. It is for sets that are too large to enumerate and have no stages; nothing proves its answer.

Reference: Rubinstein (1999), "The Cross-Entropy Method for Combinatorial and Continuous Optimization"; de
Boer, Kroese, Mannor, Rubinstein (2005), "A Tutorial on the Cross-Entropy Method".
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ebm.infer.cem import compete, shares
from ebm.infer.method import Method, State, fraction, stop_where
from ebm.problem import Problem
from ebm.solution import Stop


class CategoricalCEM(Method):
    """The cross-entropy method with probabilities of its own for every row and entry.

    p ← (1-α)·(shares among the M elites of N samples) + α·p, beginning at equal probabilities.

    In each step the most probable value of every entry makes a candidate too, for the answer but not for the
    elites. A candidate whose energy is not finite is no elite; where fewer than M are left, the old p stands
    in for each that is missing. A row ends by "spread" when each entry has a value of probability >= 1 - tol.

    Args:
        num_samples: N, candidates a row and step.
        num_elites: M in [1, N].
        smoothing: α in [0, 1), the share of the old probabilities that stays; at 0 a value that none of the
            elites has is lost for good.

    Raises:
        TypeError: if a free variable is not Choices.
        ValueError: for a setting out of its range.

    Example:
        Find 20 hidden digits from the number of wrong ones alone:

        >>> from ebm import Choices, energy, minimize
        >>> @energy
        ... def mismatches(guess, secret):
        ...     return (guess != secret).float().sum(1)
        >>> g = torch.Generator().manual_seed(0)
        >>> secret = torch.randint(10, (1, 20), generator=g)
        >>> guess = {"guess": Choices(torch.zeros(1, 20, dtype=torch.long), n=10)}
        >>> minimize(mismatches, guess, CategoricalCEM(), given={"secret": secret}, generator=g).energy
        tensor([0.])
    """

    population = True
    discrete = True
    differentiable = False

    def __init__(self, num_samples: int = 200, num_elites: int = 20, smoothing: float = 0.3):
        self.num_samples, self.num_elites = shares(num_samples, num_elites)
        self.smoothing = fraction("smoothing", smoothing)

    def init(self, problem: Problem, u: Tensor) -> State:
        if not problem.choices:
            names = ", ".join(problem.shapes)
            raise TypeError(f"CategoricalCEM searches Choices, and {names} is continuous; use CEM().")
        value, violation = problem.value(u), problem.violation(u)
        sizes = self._sizes(problem, u)
        allowed = (torch.arange(int(sizes.max()), device=u.device) < sizes.unsqueeze(1)).to(value.dtype)
        equal = (allowed / sizes.unsqueeze(1)).expand(len(u), *allowed.shape)  # (B, D, n)
        state = {"u": u, "value": value, "probability": equal}
        return state if violation is None else {**state, "violation": violation}

    def step(self, problem: Problem, state: State) -> State:
        p = state["probability"]
        uniform = torch.special.ndtr(problem.normal(p[:, :, 0], self.num_samples))  # (B, N, D)
        value = torch.searchsorted(p.cumsum(2), uniform.transpose(1, 2).contiguous()).transpose(1, 2)
        samples = torch.minimum(value, self._sizes(problem, state["u"]) - 1)  # as p may sum to 1 - eps
        candidates = torch.cat([p.argmax(2).unsqueeze(1), samples], 1)  # (B, 1 + N, D)
        candidates = candidates.view(*candidates.shape[:2], *state["u"].shape[1:])
        new, elites, usable = compete(problem, candidates, self.num_elites)
        counted = one_hot(elites.reshape(*usable.shape, -1), p.shape[2])  # (B, M, D, n)
        weight = usable.to(p.dtype)
        share = (counted * weight[:, :, None, None]).sum(1) + (1 - weight).sum(1)[:, None, None] * p
        new["probability"] = (1 - self.smoothing) * share / self.num_elites + self.smoothing * p
        return new

    def verdict(self, state: State, tol: float) -> Tensor:
        return stop_where(1 - state["probability"].amax(2).amin(1) <= tol, Stop.SPREAD)

    @staticmethod
    def _sizes(problem: Problem, u: Tensor) -> Tensor:
        """The number of values of each entry, (D,)."""
        shapes = problem.shapes.items()
        sizes = [problem.choices[name] for name, shape in shapes for _ in range(shape.numel())]
        return torch.tensor(sizes, device=u.device)
