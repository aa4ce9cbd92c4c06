"""Running functions of a problem through torch.compile, and saying so when that cannot be done.

    fast(problem, ...) = function(problem, ...),        its arithmetic fused into few kernels

The problem is an argument of the compiled function, not a part of it: torch guards on the problem's
structure, and takes its row data, settings and parameters as inputs. So nothing is compiled again when rows
are dropped, when a parameter is learned, or in the next solve of the same energy. In there the gradient is
`torch.func.grad` (`Problem.differentiate` sees to it), which fits into one compiled graph, where
`torch.autograd.grad` doesn't.
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
    """A function that runs compiled; once that fails it says why, and from then on runs as it is.

    Args:
        function: of a module's top level; takes and returns tensors and containers of them, without side
            effects.
        device: where it will run. On a CUDA device the kernels of a call are launched as one graph.
        dynamic: True where the number of rows will change; None leaves it to torch to see that it does.
    """

    def __init__(self, function: Callable[..., Any], device: torch.device, dynamic: bool | None = None):
        self.function, self.failed, self.graphs = function, False, device.type == "cuda"
        own = types.FunctionType(  # torch counts, and limits, recompilations by code object
            function.__code__.replace(), function.__globals__, function.__name__, function.__defaults__
        )
        mode = "reduce-overhead" if self.graphs else None
        self.fast = torch.compile(own, fullgraph=True, dynamic=dynamic, mode=mode)

    def __call__(self, *arguments: Any) -> Any:
        if self.failed:
            return self.function(*arguments)
        try:
            result = self.fast(*arguments)
        except Exception as error:  # torch raises many types; the energy's own errors come again below
            self.failed = True
            warnings.warn(
                f"compile=True: torch.compile cannot take this energy, so it runs without, slower but the "
                f"same. The reason: {type(error).__name__}: {' '.join(str(error).split())[:300]}",
                RuntimeWarning,
                stacklevel=3,
            )
            return self.function(*arguments)
        return map_rows(result, torch.clone) if self.graphs else result  # the next launch overwrites them


def compiled(
    function: Callable[..., Any], problem: Problem, device: torch.device, dynamic: bool | None = None
) -> Callable[..., Any]:
    """The function, compiled once for each energy that it is used with.

    Args:
        function: as `Compiled` takes it; one of its arguments is the problem.
        problem: its energy is what the compiled code is kept with; it goes when the energy goes.
        device: where the problem lives.
        dynamic: as `Compiled` takes it.
    """
    if not problem.bound.summands:
        return function
    mine = _COMPILED.setdefault(problem.bound.summands[0].leaf, {})
    if function not in mine:
        mine[function] = Compiled(function, device, dynamic)
    return mine[function]


def with_compiled_gradient(problem: Problem, device: torch.device) -> Problem:
    """The same problem, whose `value_and_grad` runs compiled; so do those of its rows and copies."""
    out = copy.copy(problem)
    out.fast = compiled(differentiate, problem, device, dynamic=True)
    return out


def differentiate(problem: Problem, u: Tensor, smooth: bool) -> tuple[Tensor, Tensor]:
    """E(u) and ∇E(u), as a function of the problem."""
    return problem.differentiate(u, smooth)
