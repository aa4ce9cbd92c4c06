"""Several starts: a gradient method from many points around the start at once, of which the best counts.

    u_0^(1) = u_0,   u_0^(k) = u_0 + σ ε_k,  ε_k ~ N(0, I),  k = 2..K        u = argmin_k E(u^(k))

A gradient method finds the minimum of the valley that it starts in. All K copies of all rows descend in one
batch, so on small problems, where a step costs what it takes to call it, K starts take little
longer than one.

Reference: Martí, Resende, Ribeiro (2013), "Multi-start methods for combinatorial optimization", sect. 1 (the
memoryless, independent kind); the noise is that of `ebm.infer.powerlaw`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ebm.infer.cem import Spread, check_spread, spread_of
from ebm.infer.method import Method, State, count, positive
from ebm.infer.powerlaw import colored
from ebm.infer.ranking import without_nan
from ebm.problem import Problem
from ebm.solution import Stop


class MultiStart(Method):
    """A gradient method run from K starts a row at once, u = the lowest of its K points.

    The first start is the given one, the others lie around it: u_0 + σ ε, projected into the set of an
    indicator term such as Box. A row ends once all its copies' tests have fired (or their energy is not
    finite), with the reason of the best; a copy that is not finite loses. `Solution.report` holds that of the
    best.

    Args:
        method: what each start is followed by, a method for continuous variables with gradients.
        starts: K >= 1.
        spread: σ of the starts, given as `std` is to `CEM`.
        exponent: β >= 0 of noise that is colored along the first dimension of a variable; 0 is white. For
            sequences of actions 2 to 3 gives starts that differ in where they lead.

    Raises:
        TypeError: if the method searches by a population, or a discrete set.
        ValueError: for a setting out of its range, or a `spread` of another shape.

    Example:
        >>> from ebm import minimize
        >>> from ebm.infer import LBFGS
        >>> from ebm.targets import Rastrigin
        >>> start, g = torch.full((1, 2), 2.2), torch.Generator().manual_seed(0)
        >>> one = minimize(Rastrigin(), start, LBFGS(), max_steps=50)
        >>> many = minimize(Rastrigin(), start, MultiStart(LBFGS(), 64, 2.0), max_steps=50, generator=g)
        >>> round(float(one.energy), 1), round(float(many.energy), 1)
        (8.0, 0.0)
    """

    def __init__(
        self,
        method: Method,
        starts: int = 8,
        spread: Spread | Mapping[str, Spread] = 1.0,
        exponent: float = 0.0,
    ):
        if not isinstance(method, Method) or method.population or method.discrete:
            raise TypeError(
                f"MultiStart takes a method that follows a gradient, such as LBFGS(); got {method!r}. A "
                f"population has starts enough: give it more samples, or a wider std."
            )
        self.method, self.starts = method, count("starts", starts)
        self.spread = check_spread("spread", spread)
        self.exponent = float(positive("exponent", exponent, zero=True))
        self.monotone, self.proximal, self.reports = method.monotone, method.proximal, method.reports
        self.constrained, self.differentiable = method.constrained, method.differentiable

    def init(self, problem: Problem, u: Tensor) -> State:
        around = spread_of(problem, u, self.spread, "spread").unsqueeze(1)
        noise = around * colored(problem, u, self.starts - 1, self.exponent)
        others = problem.project((u.unsqueeze(1) + noise).flatten(0, 1)).view_as(noise)
        starts = torch.cat([u.unsqueeze(1), others], 1).flatten(0, 1)
        inner = self.method.init(problem.repeat(self.starts), starts)
        return self._state(inner, torch.zeros(len(u), dtype=torch.int64, device=u.device))

    def step(self, problem: Problem, state: State) -> State:
        inner = self.method.step(problem.repeat(self.starts), _copies(state))
        energy, violation = without_nan(inner["value"], inner.get("violation"))
        energy = energy.view(-1, self.starts)
        if violation is not None:
            violation = violation.view_as(energy)
            energy = energy.masked_fill(violation > violation.amin(1, keepdim=True), torch.inf)
        return self._state(inner, energy.argmin(1))

    def verdict(self, state: State, tol: float) -> Tensor:
        codes = self.method.verdict(_copies(state), tol).view(-1, self.starts)
        lost = ~state[PREFIX + "value"].isfinite()
        best = codes.gather(1, state["best"].unsqueeze(1)).squeeze(1)
        return best.masked_fill(((codes == Stop.RUNNING) & ~lost).any(1), int(Stop.RUNNING))

    def _state(self, inner: State, best: Tensor) -> State:
        """All copies, (B, K, ...), and in front the best of each row, (B, ...), for the driver to see."""
        copies = {name: entry.view(-1, self.starts, *entry.shape[1:]) for name, entry in inner.items()}
        row = torch.arange(len(best), device=best.device)
        seen = ("u", "value", "gradient_norm", "violation", "slack", *self.reports)
        front = {name: copies[name][row, best] for name in seen if name in copies}
        return {**front, "best": best, **{PREFIX + name: entry for name, entry in copies.items()}}


PREFIX = "copies of "


def _copies(state: State) -> State:
    """The method's own state, its rows the K copies of every row side by side."""
    return {n.removeprefix(PREFIX): e.flatten(0, 1) for n, e in state.items() if n.startswith(PREFIX)}
