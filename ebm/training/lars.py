"""LARS: every matrix takes steps whose length is measured by its own, so that large batches can be used.

    d = g + β w                                   gradient and weight decay
    r = η |w| / (|g| + β |w|)                     the trust ratio, of each tensor on its own
    r = min(r / lr, 1)                            instead, with `clip`
    v ← m v + r d,    w ← w - lr v                momentum as in torch.optim.SGD

Without `clip` a step has about the length lr η |w|, whatever the length of the gradient. With it, a step is
that of SGD where this is shorter than η |w|, and is cut to about η |w| where it is longer.

Vectors and single numbers, that is biases and the scales and shifts of normalizations, take plain steps of
SGD without decay: r = 1, β = 0. Of tensors that are 0, or whose gradient is, r is 1, too.

The paper has the learning rate inside of v; where it changes from step to step the two differ a little.

Reference: You, Gitman, Ginsburg (2017), "Large Batch Training of Convolutional Networks", algorithm 1. The
clipped form is that of NVIDIA's LARC and of the recipes of solo-learn and EB-JEPA.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling.

    Args:
        params: parameters, or groups of them as for every torch optimizer.
        lr: the learning rate, at least 0. Without `clip` it is large (1 to 30), with it that of SGD.
        momentum: m in [0, 1).
        weight_decay: β, at least 0.
        eta: η > 0, the trust coefficient: the length of a step as a share of |w|.
        clip: no step is longer than that of SGD.
        vectors: treat parameters with fewer than two dimensions as the others, too.

    Raises:
        ValueError: if a setting is out of its range.

    Reference: You, Gitman, Ginsburg (2017), algorithm 1.

    Example:
        >>> w = torch.nn.Parameter(torch.full((2, 2), 3.0))  # |w| = 6
        >>> optimizer = LARS([w], lr=1.0, eta=0.01, momentum=0.0)
        >>> w.grad = torch.full((2, 2), 1e6)
        >>> optimizer.step()
        >>> w.detach()  # |step| = 0.06
        tensor([[2.9700, 2.9700],
                [2.9700, 2.9700]])
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 1e-3,
        clip: bool = False,
        vectors: bool = False,
    ):
        if not 0 <= lr < math.inf:
            raise ValueError(f"LARS needs a learning rate of at least 0, finite; got lr={lr}.")
        if not 0 <= momentum < 1:
            raise ValueError(f"LARS needs a momentum in [0, 1), such as 0.9; got {momentum}.")
        if not 0 <= weight_decay < math.inf:
            raise ValueError(f"LARS needs a weight decay of at least 0, finite; got {weight_decay}.")
        if not 0 < eta < math.inf:
            raise ValueError(f"LARS needs a trust coefficient above 0, such as eta=0.001; got {eta}.")
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta}
        super().__init__(params, {**settings, "clip": clip, "vectors": vectors})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; what `closure`, which computes the loss and its gradients anew, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            kinds: dict[tuple[torch.device, torch.dtype, bool], list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    scaled = p.ndim > 1 or group["vectors"]
                    kinds.setdefault((p.device, p.dtype, scaled), []).append(p)
            for (_, _, scaled), alike in kinds.items():
                self._move(alike, group, scaled)
        return loss

    def _move(self, parameters: list[Tensor], group: dict[str, Any], scaled: bool) -> None:
        """Parameters of one dtype and device, moved in a few calls for all of them."""
        moves = [p.grad for p in parameters if p.grad is not None]
        if scaled:
            ratios = trust(parameters, moves, group)
            if group["weight_decay"]:
                moves = list(torch._foreach_add(moves, parameters, alpha=group["weight_decay"]))
            moves = list(torch._foreach_mul(moves, list(ratios.unbind())))
        if group["momentum"]:
            moves = self._with_momentum(parameters, moves, group["momentum"])
        torch._foreach_add_(parameters, moves, alpha=-float(group["lr"]))

    def _with_momentum(self, parameters: list[Tensor], moves: list[Tensor], momentum: float) -> list[Tensor]:
        """v ← m v + moves; it begins as the first move."""
        new = [not self.state[p] for p in parameters]
        for p, move, first in zip(parameters, moves, new, strict=True):
            if first:
                self.state[p]["momentum_buffer"] = move.clone()
        velocities = [self.state[p]["momentum_buffer"] for p in parameters]
        old = [v for v, first in zip(velocities, new, strict=True) if not first]
        if old:
            torch._foreach_mul_(old, momentum)
            torch._foreach_add_(old, [move for move, first in zip(moves, new, strict=True) if not first])
        return velocities


def trust(parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> Tensor:
    """The trust ratios r of tensors of one dtype and device, one for each, (n,).

    Example:
        >>> settings = {"lr": 0.5, "weight_decay": 0.1, "eta": 0.02, "clip": False}
        >>> trust([torch.tensor([[3.0, 4.0]])], [torch.tensor([[0.0, 2.0]])], settings)  # 0.02 · 5 / 2.5
        tensor([0.0400])
    """
    length = torch.stack(list(torch._foreach_norm(parameters)))
    slope = torch.stack(list(torch._foreach_norm(gradients)))
    ratio = group["eta"] * length / (slope + group["weight_decay"] * length)
    if group["clip"]:
        ratio = (ratio / group["lr"]).clamp(max=1.0)  # lr = 0: the step is 0, whatever the ratio
    return torch.where((length > 0) & (slope > 0), ratio, 1.0)
