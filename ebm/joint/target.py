"""Targets: the branch of a joint embedding that makes s_y, the code which is to be predicted.

    Shared          t(y) = f_θ(y)              one network, learned from both sides
    StopGradient    t(y) = f_sg(θ)(y)          one network, learned from the side of the prediction alone
    EMA             t(y) = f_ξ(y),             ξ ← τ_k ξ + (1 - τ_k) θ after optimizer step k = 1, 2, ..., K

`SquaredDistance().compose(s_x=(f, "x"), s_y=(EMA(f, cosine(0.996)), "y"))` is an energy with a slow target;
`update_targets(energy, steps)` is the callback that moves it. A network that is learned from both sides is
free to make all codes the same. What keeps the other two from it is no term of the energy: it is how they are
learned.

Reference: Grill et al. (2020), "Bootstrap Your Own Latent", eq. 1; Chen & He (2021), "Exploring Simple
Siamese Representation Learning", sect. 3.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ebm.binder import Binder, Expression, Held, map_rows
from ebm.history import History
from ebm.joint.schedules import Schedule, constant


class Scheduled(ABC):
    """A module with something that changes from step to step: a target that follows, a temperature."""

    @abstractmethod
    def update(self, step: int, steps: int) -> None:
        """What is due after optimizer step `step` = 1, 2, ..., `steps`."""


class Branch(nn.Module, ABC):
    """A target: a module that is composed into an energy as any encoder is."""

    @abstractmethod
    def forward(self, *inputs: Any) -> Any:
        """The code of the target's inputs."""

    def bind(self, binder: Binder, view: Expression) -> Expression:
        """The code of a view in an energy that is being bound; `Siamese` asks for it."""
        return binder.apply(self, (view,))


class Shared(Branch):
    """t(y) = f(y): the same network on both sides, with gradients from both.

    Example:
        >>> Shared(torch.nn.Identity())(torch.ones(1, 2))
        tensor([[1., 1.]])
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *inputs: Any) -> Any:
        return self.network(*inputs)

    def bind(self, binder: Binder, view: Expression) -> Expression:
        return binder.apply(self.network, (view,))  # computed once for both sides


class StopGradient(Branch):
    """t(y) = f_sg(θ)(y): the same network, whose parameters are constants on this side.

    The gradient stops before the parameters, not before y: an energy stays a function of y that can be
    minimized. A network that y passes before it comes here is thus learned; put it inside.

    Args:
        network: f, any module.

    Example:
        >>> f = torch.nn.Linear(2, 2)
        >>> StopGradient(f)(torch.ones(1, 2)).requires_grad
        False
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *inputs: Any) -> Any:
        return _as_constant(self.network, inputs)

    def bind(self, binder: Binder, view: Expression) -> Expression:
        value = binder.held[view.key] if isinstance(view, Held) else None
        if isinstance(value, Tensor) and not value.requires_grad:
            # the other side's code, cut: one pass for both, and batch statistics are measured once
            return binder.apply(_cut, (binder.apply(self.network, (view,)),))
        return binder.apply(self, (view,))


class EMA(Branch, Scheduled):
    """t(y) = f_ξ(y): a copy of the network whose weights are an exponential moving average.

    ξ ← τ_k ξ + (1 - τ_k) θ after optimizer step k, with τ_k = decay(k - 1, K), the order in the official code
    of BYOL, DINO and MoCo (which has it before the next step's keys: the same). Floating-point buffers are
    averaged like weights and others copied, but for the running statistics of normalization layers in
    training mode: the target measures those itself, on what its own weights put out, as in all three codes.
    In evaluation mode it measures nothing, and they are averaged too. (`ebm.callbacks.ParameterEMA` averages
    what has been learned, for use afterwards; this is what is learned from.)

    Args:
        network: f_θ, any module; what it is now is where the target starts.
        decay: τ, a number from 0 (the network as it was a step ago) to 1 (the network as it is now, forever),
            or a schedule, e.g. `cosine(0.996)`.

    Raises:
        ValueError: if a decay lies outside 0 to 1, or on `update` of a step beyond the last.

    Example:
        >>> f = torch.nn.Linear(1, 1, bias=False)
        >>> target = EMA(f, 0.5)
        >>> _ = torch.nn.init.constant_(f.weight, 2.0), torch.nn.init.constant_(target.target.weight, 0.0)
        >>> for step in (1, 2, 3):
        ...     target.update(step, steps=3)
        >>> target.target.weight.item()  # 2 (1 - 0.5³)
        1.75
    """

    def __init__(self, network: nn.Module, decay: float | Schedule):
        super().__init__()
        self.decay = decay if callable(decay) else constant(decay)
        self._decay(1, 1)
        self._online = (network,)  # in a tuple it is no part of this module, so it isn't saved twice
        self.target = copy.deepcopy(network).requires_grad_(False)

    @property
    def network(self) -> nn.Module:
        """f_θ, the network that the target follows."""
        return self._online[0]

    def forward(self, *inputs: Any) -> Any:
        return _as_constant(self.target, inputs)

    @torch.no_grad()
    def update(self, step: int, steps: int) -> None:
        """Move the target after optimizer step `step` = 1, 2, ..., `steps`."""
        tau = self._decay(step, steps)
        averaged: list[Tensor] = list(self.target.parameters())
        towards: list[Tensor] = list(self.network.parameters())
        for ours, its in zip(self.target.modules(), self.network.modules(), strict=True):
            if ours.training and getattr(ours, "track_running_stats", False):
                continue
            for mine, new in zip(ours.buffers(False), its.buffers(False), strict=True):
                if mine.is_floating_point():
                    averaged.append(mine)
                    towards.append(new)
                else:
                    mine.copy_(new)
        if averaged:
            torch._foreach_lerp_(averaged, towards, 1 - tau)

    def _decay(self, step: int, steps: int) -> float:
        if not 1 <= step <= steps:
            raise ValueError(
                f"EMA.update(step, steps) comes after step 1, 2, ..., steps of training; got step {step} of "
                f"{steps}. Tell it how many steps the training takes."
            )
        tau = float(self.decay(step - 1, steps))
        if not 0 <= tau <= 1:
            raise ValueError(f"EMA: a decay lies from 0 to 1; got {tau} at step {step} of {steps}.")
        return tau


def update_targets(energy: nn.Module, steps: int, done: int = 0) -> Callable[[int, History], None]:
    """A callback for `fit` that updates all targets in an energy, and all else that follows a schedule.

    Args:
        energy: the energy that is learned.
        steps: K, optimizer steps in the whole training.
        done: how many of them earlier calls of `fit` have made.

    Raises:
        ValueError: if there is nothing in the energy to update.

    Example:
        >>> from functools import partial
        >>> from ebm.joint import SquaredDistance
        >>> from ebm.loss import AverageEnergy
        >>> from ebm.train import fit
        >>> f = torch.nn.Linear(2, 2)
        >>> E = SquaredDistance().compose(s_x=(f, "x"), s_y=(EMA(f, 0.9), "y"))
        >>> data = {"x": torch.ones(4, 2), "y": torch.zeros(4, 2)}
        >>> sgd = partial(torch.optim.SGD, lr=0.1)
        >>> history = fit(E, AverageEnergy(), data, optimizer=sgd, steps=5, batch_size=4,
        ...               callbacks=[update_targets(E, steps=5)], progress=False)
        >>> len(history)
        5
    """
    found = [module for module in energy.modules() if isinstance(module, Scheduled)]
    if not found:
        raise ValueError(
            f"{type(energy).__name__} holds no target that moves, so there is nothing to update: compose it "
            f"with EMA(encoder, 0.996), or leave this callback out."
        )

    def callback(step: int, history: History) -> None:
        for module in found:
            module.update(done + step, steps)

    return callback


def _as_constant(network: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """network(*inputs), with parameters that are no variables, whatever their requires_grad says."""
    return functional_call(network, {name: p.detach() for name, p in network.named_parameters()}, inputs)


def _cut(code: Any) -> Any:
    """The code without its graph."""
    return map_rows(code, Tensor.detach)
