"""Callbacks of a training: called after every step; one that has a state is saved with the rest.

    ParameterEMA    θ̄_k = d θ̄_{k-1} + (1 - d) θ_k,    θ̄_0 = θ_0

The average of the parameters over the last 1 / (1 - d) steps has less noise than the last of them.

Reference: Polyak & Juditsky (1992), "Acceleration of Stochastic Approximation by Averaging".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ebm.history import History

Callback = Callable[[int, History], object]


@runtime_checkable
class Stateful(Protocol):
    """What checkpoints save: a state of tensors, numbers, texts, and lists and dicts of them."""

    def state_dict(self) -> dict[str, Any]:
        """The state."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Go back to a state."""


class ParameterEMA:
    """An exponential moving average of parameters; hand it to `fit` as a callback.

    Buffers aren't averaged (a running mean is an average already). Make it when the module is on its device.
    (The slow network that is a part of an energy, as in BYOL, is `ebm.joint.EMA`.)

    Args:
        module: an energy, or any module.
        decay: d in [0, 1).

    Attributes:
        average: the averaged parameters by name; θ while they are swapped in.

    Example:
        >>> net = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(net.weight)
        >>> ema = ParameterEMA(net, decay=0.75)
        >>> _ = nn.init.ones_(net.weight)
        >>> ema.update()
        >>> with ema.swapped():
        ...     net.weight.item()
        0.25
        >>> net.weight.item()
        1.0
    """

    def __init__(self, module: nn.Module, decay: float):
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"ParameterEMA needs a decay in [0, 1), for instance 0.999; got {decay}.")
        self.module, self.decay, self.inside = module, decay, False
        self.average = {name: p.detach().clone() for name, p in module.named_parameters()}
        if not self.average:
            raise ValueError(f"{type(module).__name__} has no parameters to average.")

    def __call__(self, step: int, history: History) -> None:
        self.update()

    @torch.no_grad()
    def update(self) -> None:
        """Take the module's present parameters into the average."""
        self._refuse_inside("take parameters into the average")
        latest = [p.detach() for _, p in self.module.named_parameters()]
        torch._foreach_lerp_(list(self.average.values()), latest, 1.0 - self.decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the module's parameters with the average; a second call undoes the first."""
        for name, p in self.module.named_parameters():
            there = p.detach().clone()
            p.copy_(self.average[name])
            self.average[name].copy_(there)
        self.inside = not self.inside

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The module has the averaged parameters inside of the block."""
        self._refuse_inside("swap the average in")
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def state_dict(self) -> dict[str, Tensor]:
        """The average; its tensors are those that `update` changes."""
        self._refuse_inside("save the average")
        return dict(self.average)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go back to a saved average.

        Raises:
            ValueError: if it isn't one of these parameters.
        """
        self._refuse_inside("load an average")
        expected, came = ({n: tuple(t.shape) for n, t in one.items()} for one in (self.average, state))
        if expected != came:
            raise ValueError(f"this average is of {expected}; the state holds {came}.")
        for name, tensor in state.items():
            self.average[name].copy_(tensor)

    def _refuse_inside(self, what: str) -> None:
        if self.inside:
            raise RuntimeError(f"can't {what} while it is swapped in; call swap() to put it back first.")
