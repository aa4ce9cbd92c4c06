"""Views made of views: one transform after the other, one for some of the rows, several views of a batch.

Compose(a, b)(x) = b(a(x)),    Maybe(p, a)(x)_i = a(x)_i with probability p, else x_i
Views(a, b)(x) = a(x), b(x)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ebm.rows import expand
from ebm.views.checks import numbers, probability, uniform
from ebm.views.parameters import each
from ebm.views.transform import Transform, View, without_autocast


class Compose(Transform[dict[str, Any]]):
    """One transform after the other.

    Args:
        transforms: at least one.

    Returns (of a call):
        A view whose parameters are a dictionary: those of each transform, by its name ("color jitter", a
        second one "color jitter 2").

    Raises:
        ValueError: if there is no transform.
        TypeError: if one isn't a `Transform`.

    Example:
        >>> from ebm.views import HorizontalFlip, RandomResizedCrop
        >>> view, parameters = Compose(RandomResizedCrop(16), HorizontalFlip())(torch.rand(4, 3, 32, 32))
        >>> view.shape, list(parameters)
        (torch.Size([4, 3, 16, 16]), ['random resized crop', 'horizontal flip'])
    """

    def __init__(self, *transforms: Transform[Any]):
        if not transforms:
            raise ValueError("Compose needs at least one transform.")
        self.steps: dict[str, Transform[Any]] = {}
        for transform in _checked(transforms):
            count = sum(step.name == transform.name for step in self.steps.values())
            self.steps[transform.name + (f" {count + 1}" if count else "")] = transform

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Any]:
        drawn = {}
        for name, step in self.steps.items():
            drawn[name] = step.draw(x, generator)
            x = x.new_empty(1).expand(step.shape(x.shape))  # only its shape, dtype and device matter
        return drawn

    def apply(self, x: Tensor, parameters: dict[str, Any]) -> Tensor:
        for name, step in self.steps.items():
            x = step.apply(x, parameters[name])
        return x

    def shape(self, shape: torch.Size) -> torch.Size:
        for step in self.steps.values():
            shape = step.shape(shape)
        return shape

    def source(self, points: Tensor, parameters: dict[str, Any]) -> Tensor:
        for name, step in reversed(self.steps.items()):
            points = step.source(points, parameters[name])
        return points


class Chosen(NamedTuple):
    """To which rows a transform was applied.

    Attributes:
        applied: (B,) bool.
        parameters: of the transform; 0 in rows to which it wasn't applied.
    """

    applied: Tensor
    parameters: Any


class Maybe(Transform[Chosen]):
    """A transform applied to each row with probability p, to the others not.

    Args:
        p: in [0, 1].
        transform: one that keeps the shape of x.

    Raises:
        ValueError: if p is out of its range; on a call, if the transform changes the shape.
        TypeError: if `transform` isn't a `Transform`.

    Example:
        >>> from ebm.views import Grayscale
        >>> view, chosen = Maybe(0.5, Grayscale())(torch.rand(8, 3, 4, 4), torch.Generator().manual_seed(0))
        >>> torch.equal((view[:, 0] == view[:, 1]).flatten(1).all(1), chosen.applied)
        True
    """

    def __init__(self, p: float, transform: Transform[Any]):
        self.p = probability("Maybe", "p", p)
        (self.transform,) = _checked((transform,))

    @property
    def name(self) -> str:
        return self.transform.name

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Chosen:
        shape = self.transform.shape(numbers("Maybe", x).shape)
        if shape != x.shape:
            raise ValueError(
                f"Maybe needs a transform that keeps the shape, as the other rows stay what they are; "
                f"{self.name} makes {tuple(shape)} of {tuple(x.shape)}."
            )
        applied = uniform(x, len(x), generator=generator) < self.p
        drawn = self.transform.draw(x, generator)
        return Chosen(applied, each(drawn, lambda tensor: tensor * expand(applied, tensor)))

    @without_autocast
    def apply(self, x: Tensor, parameters: Chosen) -> Tensor:
        index = parameters.applied.nonzero()[:, 0]
        if not len(index):
            return x.clone()
        chosen = each(parameters.parameters, lambda tensor: tensor[index])
        return x.index_copy(0, index, self.transform.apply(x[index], chosen))

    def source(self, points: Tensor, parameters: Chosen) -> Tensor:
        moved = self.transform.source(points, parameters.parameters)
        return points if moved is points else torch.where(expand(parameters.applied, moved), moved, points)


class Views:
    """Several views of one batch, each drawn on its own: `Views(a, b)(x)` is (a(x), b(x)).

    Args:
        transforms: one for each view; `Views(*[a] * 4)` makes four of one kind.

    Raises:
        ValueError: if there is no transform.
        TypeError: if one isn't a `Transform`.

    Example:
        >>> from ebm.views import GaussianNoise
        >>> (x, _), (y, _) = Views(GaussianNoise(0.1), GaussianNoise(0.2))(torch.zeros(4, 3))
        >>> x.shape, y.shape
        (torch.Size([4, 3]), torch.Size([4, 3]))
    """

    def __init__(self, *transforms: Transform[Any]):
        if not transforms:
            raise ValueError("Views needs at least one transform, one for each view.")
        self.transforms = _checked(transforms)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[View[Any], ...]:
        return tuple(transform(x, generator) for transform in self.transforms)


def _checked(transforms: tuple[Transform[Any], ...]) -> tuple[Transform[Any], ...]:
    for transform in transforms:
        if not isinstance(transform, Transform):
            raise TypeError(f"expected a Transform, such as HorizontalFlip(); got {transform!r}.")
    return transforms
