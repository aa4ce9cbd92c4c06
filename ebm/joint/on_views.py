"""A loss of random views: each step looks at the data through fresh crops, colors and noise.

    L(E, data) = L'(E, x = T_x(image, θ), y = T_y(image, θ'), ...),        θ, θ' drawn for every row and step

What a view keeps is what the codes of two views can agree on. So views belong to the loss, as corruption does
in denoising; the energy stays a function of (x, y).

Reference: Chen, Kornblith, Norouzi, Hinton (2020), "A Simple Framework for Contrastive Learning of Visual
Representations", sect. 2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.loss import Loss, LossOutput
from ebm.views import View, Views


class OnViews(Loss):
    """A loss whose variables are views of one variable of the data.

    Args:
        loss: of the views, e.g. `OnCodes(VICReg(), "s_x", "s_y")`.
        views: e.g. `simclr_views(32)`, or `Views(GaussianNoise(0.1), GaussianNoise(0.1))`.
        names: the variables of the loss that the views are, in their order.
        of: the name of the data that is viewed.
        also: what else the loss is told of the views, by name: functions of the list of all views, each of
            which has a `value` and the `parameters` that were drawn. Locations for `VICRegL`; for an
            equivariant predictor what happened between two views,
            `{"a": lambda v: vector(v[1].parameters) - vector(v[0].parameters)}`.

    Raises:
        TypeError: if these are no `Views`; on a call, if the data has no such variable.
        ValueError: if there are not as many names as views, or a name is given twice; on a call, if the data
            has one of them too.

    Example:
        >>> from ebm.joint import OnCodes, SquaredDistance, VICReg
        >>> from ebm.views import GaussianNoise, Views
        >>> E = SquaredDistance().compose(s_x=(torch.nn.Tanh(), "x"), s_y=(torch.nn.Tanh(), "y"))
        >>> noisy = Views(GaussianNoise(0.1), GaussianNoise(0.1))
        >>> loss = OnViews(OnCodes(VICReg(), "s_x", "s_y"), noisy)
        >>> loss(E, torch.Generator().manual_seed(0), image=torch.eye(4)).loss > 0
        tensor(True)
    """

    def __init__(
        self,
        loss: Loss,
        views: Views,
        names: Sequence[str] = ("x", "y"),
        of: str = "image",
        also: Mapping[str, Callable[[Sequence[View[Any]]], Any]] | None = None,
    ):
        super().__init__()
        if not isinstance(views, Views):
            raise TypeError(f"views are `Views` of ebm.views, such as simclr_views(32); got {views!r}.")
        if len(names) != len(views.transforms):
            raise ValueError(
                f"there are {len(views.transforms)} views, so as many names are needed; got {tuple(names)}."
            )
        self.part, self.views, self.names, self.of = loss, views, tuple(names), of
        self.also = dict(also or {})
        if len({*self.names, *self.also}) < len(self.names) + len(self.also):
            raise ValueError(f"each name stands for one thing; got {[*self.names, *self.also]}.")

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        image = data.pop(self.of, None)
        if not isinstance(image, Tensor):
            raise TypeError(
                f"{self.label} makes views of {self.of!r}, a tensor (N, *shape) in the data; the data holds "
                f"{', '.join(data) or 'nothing else'}."
            )
        if taken := [name for name in (*self.names, *self.also) if name in data]:
            raise ValueError(f"{taken[0]!r} is made of {self.of!r} and cannot come with the data as well.")
        drawn = self.views(image, generator)
        made = {name: view.value for name, view in zip(self.names, drawn, strict=True)}
        made |= {name: function(drawn) for name, function in self.also.items()}
        output: LossOutput = self.part(energy, generator, **made, **data)
        return output

    @property
    def label(self) -> str:
        return self.part.label

    @property
    def described(self) -> str:
        return f"{self.part.described} of {', '.join(self.names)} from {self.of}"
