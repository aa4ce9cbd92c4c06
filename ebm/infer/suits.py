"""Which sampler can move what: along a gradient through real numbers, or among finitely many states.

u ∈ ℝ^D    Langevin, MALA, HMC, ...        u ∈ {0, 1}^D    those with `binary`
                                           u ∈ {0, ..., n-1}^D, Choices    those with `discrete`
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.sampler import Sampler
from ebm.problem import Problem
from ebm.rows import flat


def refuse_unsuited(method: Sampler, problem: Problem, u: Tensor) -> None:
    """Refuse a sampler that cannot move the free variables, naming one that can.

    Args:
        method: the sampler.
        problem: what is to be sampled.
        u: where the chains begin.

    Raises:
        TypeError: for a kind of variable, or an energy with walls, that the sampler is not made for.
        ValueError: for a start of a binary sampler that is not of zeros and ones, naming row and value.
    """
    name, chosen = type(method).__name__, ", ".join(problem.choices)
    if problem.choices and not method.discrete:
        how = "looks at gradients at zeros and ones" if method.binary else "moves along a gradient"
        raise TypeError(
            f"{name} {how}, and {chosen} holds Choices. Take Gibbs(); or, where they are few, no chain: "
            f"p ∝ exp(-βE) is the softmax of -β times their energies."
        )
    real = [variable for variable in problem.shapes if variable not in problem.choices]
    if problem.choices and real:
        raise TypeError(
            f"{chosen} holds Choices and {', '.join(real)} floating point numbers; {name} moves one kind at "
            f"a time. Write zeros and ones as Choices(start, n=2), too."
        )
    if not method.binary:
        _refuse_walls(name, problem)
    elif not problem.choices:
        for variable, value in problem.unpack(u).items():
            refuse_other_than_bits(name, variable, value)


def refuse_other_than_bits(who: str, variable: str, value: Tensor, instead: str | None = None) -> None:
    """Refuse entries that are neither 0 nor 1.

    Args:
        who: on whose behalf; it is named in the error.
        variable, value: a name and what it holds, (B, *shape).
        instead: what to do with continuous data; a sampler's advice if None.

    Raises:
        ValueError: naming the first row with such an entry, and the entry.
    """
    rows = flat(value.detach())
    strange = (rows != 0) & (rows != 1)
    if not bool(strange.any()):
        return
    row = int(strange.any(1).nonzero()[0])
    entry = float(rows[row][strange[row]][0])
    instead = instead or (
        "Round the start, or draw bits: torch.bernoulli(p). To move real numbers take Langevin, MALA or HMC"
    )
    raise ValueError(
        f"{who} takes zeros and ones; {variable!r} holds {'NaN' if entry != entry else f'{entry:g}'} in row "
        f"{row} ({int(strange.any(1).sum())} of {len(rows)} rows hold other numbers). {instead}."
    )


def refuse_other_than_one_hot(who: str, variable: str, value: Tensor, instead: str | None = None) -> None:
    """Refuse entries other than 0 and 1, and sites (along the last axis) with other than a single 1.

    Raises:
        ValueError: naming the first row that is not one-hot.
    """
    if value.ndim < 2 or value.shape[-1] < 2:
        raise ValueError(
            f"{who} takes one-hot sites, (B, *sites, K) with K >= 2 values; {variable!r} is "
            f"{tuple(value.shape)}. torch.nn.functional.one_hot(index, K) makes them."
        )
    refuse_other_than_bits(who, variable, value, instead)
    wrong = flat(value.detach().sum(-1) != 1).any(1)
    if bool(wrong.any()):
        raise ValueError(
            f"{who} takes one-hot sites: along the last axis one entry is 1 and all others 0, which is not "
            f"so in row {int(wrong.nonzero()[0])} of {variable!r}. torch.nn.functional.one_hot(index, K) "
            f"makes them; bits that are free of one another go without one_hot=True."
        )


def _refuse_walls(name: str, problem: Problem) -> None:
    walls = [t.label for t in problem.prox_terms.values() if t.leaf.indicator]
    if walls:
        raise TypeError(
            f"{', '.join(walls)} is +inf outside a set, which no gradient can see; {name} would leave it. "
            f"Put a smooth wall in its place, or sample an unbounded variable that is mapped into the set: "
            f"compose(y=(torch.sigmoid, 'v')) and, as a term, minus the log of the map's Jacobian, over β."
        )


def inverse_temperature(problem: Problem, beta: float | Tensor, like: Tensor) -> Tensor:
    """β as a tensor of a dtype and place, 0-dim or one per chain (B,)."""
    beta = torch.as_tensor(beta, dtype=like.dtype, device=like.device)
    return torch.as_tensor(problem.per_row(beta))
