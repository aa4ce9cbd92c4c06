"""What an agent that plans carries from step to step: a plan, and what it remembers.

Both are values, rows first: an agent itself holds settings alone, so episodes can be branched and replayed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from ebm.plan.surprises import Surprises, no_surprise


class Memory(NamedTuple):
    """What B episodes remember of the step before, and of the primitive under way; NaN where there is none.

    Attributes:
        began, choice: the state in which the primitive began, (B, S), and which it is, (B,); -1 for none.
        foreseen: the state in which it was to end, (B, S).
        before, action: the last state, (B, S), and what was done in it, (B, A).
        expected, promised: the state that was to come of it, (B, S), and what that was to cost, (B,).
        surprises: edges on which not to rely again.
    """

    began: Tensor
    foreseen: Tensor
    choice: Tensor
    before: Tensor
    expected: Tensor
    action: Tensor
    promised: Tensor
    surprises: Surprises


class Plan(NamedTuple):
    """What B episodes mean to do; handed from step to step.

    Attributes:
        actions: what is planned from now on, (B, T, A).
        left: actions until a new plan is due, (B,) int64.
        energy: what the plan was to cost when it was made, (B,); NaN where there is none.
        generator: source of all draws.
        memory: of what was seen so far; None before the first observation.
    """

    actions: Tensor
    left: Tensor
    energy: Tensor
    generator: Generator | None
    memory: Memory | None


def blank(s: Tensor, action_size: int) -> Memory:
    """A memory of B episodes of which nothing is known yet."""
    unknown = torch.full_like(s, torch.nan)
    none = torch.full((len(s),), -1, device=s.device)
    action = s.new_full((len(s), action_size), torch.nan)
    empty = no_surprise(len(s), s[0].numel(), device=s.device, dtype=s.dtype)
    return Memory(unknown, unknown, none, unknown, unknown, action, s.new_full((len(s),), torch.nan), empty)
