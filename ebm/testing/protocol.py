"""The contract of a method's own two functions: state in, state out, and nothing hidden.

    init(problem, u) -> state,        step(problem, state) -> a new state

The old state and the method stay as they were. That is what lets the driver drop rows, freeze them and
differentiate through the steps.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ebm.infer.method import Method, State
from ebm.infer.pose import pose
from ebm.problem import Problem
from ebm.testing.examples import seeded
from ebm.testing.posed import Posed, first_tensor
from ebm.testing.verdict import MinimizerContractError as Wrong
from ebm.testing.verdict import require_equal, rounding


def check_protocol(method: Method, problem: Posed) -> None:
    """Check that a method keeps all that it knows in its state, one item a row.

    Args:
        method: the minimizer.
        problem: any that suits it.

    Raises:
        MinimizerContractError: saying what was expected and what came.

    Example:
        >>> from ebm.infer import GradientDescent
        >>> from ebm.testing.posed import bowl
        >>> class Forgetful(GradientDescent):
        ...     def step(self, problem, state):
        ...         self.last = super().step(problem, state)  # wrong: a state hidden on self
        ...         return self.last
        >>> check_protocol(Forgetful(0.1), bowl(2))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ebm.testing.verdict.MinimizerContractError: Forgetful.step leaves the method as it was; it changed ...
    """
    who = type(method).__name__
    before = dict(vars(method))
    posed, u = _pose(problem)
    with torch.no_grad():
        state = method.init(posed, u)
        _check_state(state, len(u), f"{who}.init")
        for _ in range(3):
            held = copy.deepcopy(state)
            new = method.step(posed, state)
            _check_state(new, len(u), f"{who}.step")
            for name, tensor in held.items():
                require_equal(
                    Wrong, state[name], tensor, f"{who}.step leaves the old state's {name!r} as it was"
                )
            state = new
        _check_rows_of_state(method, problem, who)
    after = vars(method)
    changed = [n for n in {*before, *after} if before.get(n, _ABSENT) is not after.get(n, _ABSENT)]
    if changed:
        raise Wrong(
            f"{who}.step leaves the method as it was; it changed {', '.join(changed)}. Keep what changes "
            f"in the "
            f"state, which follows its rows."
        )


_ABSENT = object()


def _pose(problem: Posed) -> tuple[Problem, Tensor]:
    return pose(problem.energy, problem.over, problem.given, generator=seeded(first_tensor(problem.over)))


def _check_state(state: State, batch: int, who: str) -> None:
    for name in ("u", "value"):
        if name not in state:
            raise Wrong(f"{who} returns a state with 'u' and 'value'; came {', '.join(map(repr, state))}.")
    for name, item in state.items():
        if not isinstance(item, Tensor) or item.shape[:1] != (batch,):
            came = tuple(item.shape) if isinstance(item, Tensor) else type(item).__name__
            raise Wrong(
                f"{who} returns tensors with one item for each of {batch} rows; {name!r} came as {came}."
            )


def _check_rows_of_state(method: Method, problem: Posed, who: str) -> None:
    """A step of some rows is those rows of the step of all, drawn from the same state of the generator."""
    posed, u = _pose(problem)
    state = method.step(posed, method.init(posed, u))
    index = torch.tensor([2, 0], device=u.device)
    generator = seeded(u)
    drawn = generator.get_state()
    posed.generator = generator
    whole = method.step(posed, state)
    generator.set_state(drawn)
    part = method.step(posed.rows(index), {n: t.index_select(0, index) for n, t in state.items()})
    for name in ("u", "value"):
        require_equal(
            Wrong,
            part[name],
            whole[name][index],
            f"{who}.step of rows [2, 0] is theirs ({name})",
            rounding(u.dtype),
        )
