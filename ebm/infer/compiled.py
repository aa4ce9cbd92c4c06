"""Running functions of a problem through torch.compile, and saying so when that cannot be done.

    fast(problem, ...) = function(problem, ...),        its arithmetic fused into few kernels

The problem is an argument of the compiled function, not a part of it: torch guards on the problem's structure and
takes its row data, settings and parameters as inputs. So nothing is compiled again when rows are dropped, when a
parameter is learned, or in the next solve of the same energy. The gradient inside is `torch.func.grad`
(`Problem.value_and_grad` sees to it), which one compiled graph can hold, and `torch.autograd.grad` can't.
"""

from __future__ import annotations

import copy
import types
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ebm.binder import map_rows
from ebm.problem import Problem

_COMPILED: WeakKeyDictionary[nn.Module, dict[Callable[..., Any], Compiled]] = WeakKeyDictionary()


class Compiled:
    """A function that runs compiled; once that fails it says why and runs as it is from then on.

    Args:
        function: takes and returns tensors and containers of them; no side effects.
        device: where it will run; on a CUDA device the kernels of a call are launched as one graph.
    """

    def __init__(self, function: Callable[..., Any], device: torch.device):
        self.function, self.failed = function, False
        self.graphs = device.type == "cuda"
        own = types.FunctionType(function.__code__.replace(), function.__globals__, function.__name__)
        mode = "reduce-overhead" if self.graphs else None  # own: torch counts recompilations by code object
        self.fast = torch.compile(own, fullgraph=True, dynamic=True, mode=mode)

    def __call__(self, *arguments: Any) -> Any:
        if self.failed:
            return self.function(*arguments)
        try:
            result = self.fast(*arguments)
        except Exception as error:  # of many types; if it is the energy's own, it comes again below
            self.failed = True
            warnings.warn(
                f"compile=True: torch.compile failed, so this energy runs without it, slower but the same. The reason: "
                f"{type(error).__name__}: {_first_lines(error)}",
                RuntimeWarning,
                stacklevel=3,
            )
            return self.function(*arguments)
        return map_rows(result, torch.clone) if self.graphs else result  # the next launch overwrites a graph's outputs


def with_compiled_gradient(problem: Problem, device: torch.device) -> Problem:
    """The same problem, whose `value_and_grad` runs compiled; so do those of its rows and copies."""
    out = copy.copy(problem)
    out.fast = compiled(differentiate, problem, device)
    return out


def differentiate(problem: Problem, u: Tensor, smooth: bool) -> tuple[Tensor, Tensor]:
    """E(u) and ∇E(u), as a function of the problem."""
    return problem.differentiate(u, smooth)


def compiled(function: Callable[..., Any], problem: Problem, device: torch.device) -> Callable[..., Any]:
    """`function`, compiled once for each energy that it is used with.

    Args:
        function: a function of a module's top level, whose arguments include the problem.
        problem: the energy, to which the compiled code is attached; it goes when the energy goes.
        device: where the problem lives.
    """
    if not problem.bound.summands:
        return function
    mine = _COMPILED.setdefault(problem.bound.summands[0].leaf, {})
    if function not in mine:
        mine[function] = Compiled(function, device)
    return mine[function]


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
