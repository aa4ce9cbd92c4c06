"""What a random view is: parameters drawn for every row, and a function of the rows and these parameters.

    view = T(x, θ),    θ_i ~ p(θ) for every row i on its own,    x (B, *shape)

`transform(x, generator)` draws and applies. `draw` and `apply` do each alone, so that a view can be made
again, of a mask of the same scene for example: only `draw` is random, `apply` is a function.

Joint embeddings need θ: an equivariant predictor is told it (`vector`), and VICRegL compares what two maps
show of one place (`locations`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from ebm.views.parameters import tensors

P = TypeVar("P")
S = TypeVar("S")


class View(NamedTuple, Generic[P]):
    """A view of a batch.

    Attributes:
        value: the view, (B, *shape).
        parameters: what was drawn for it, tensors (B, ...).
    """

    value: Tensor
    parameters: P


class Nothing(NamedTuple):
    """The parameters of a transform that draws nothing."""


class Transform(ABC, Generic[P]):
    """Makes random views: `transform(x, generator)` is a `View` of x, (B, *shape), row by row.

    Parameters are drawn on x's device from `generator` (the global one if None), in x's dtype, or in float32
    for half precision. The view has x's dtype and device, and gradients flow through it to x.
    """

    @abstractmethod
    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> P:
        """Parameters for every row; of x only shape, dtype and device matter."""

    @abstractmethod
    def apply(self, x: Tensor, parameters: P) -> Tensor:
        """The view of x that these parameters describe; x is left as it is."""

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> View[P]:
        parameters = self.draw(x, generator)
        return View(self.apply(x, parameters), parameters)

    @property
    def name(self) -> str:
        """The class's name in words, as in "gaussian blur": under it `Compose` keeps the parameters."""
        return "".join(f" {c.lower()}" if c.isupper() else c for c in type(self).__name__).strip()

    def shape(self, shape: torch.Size) -> torch.Size:
        """The shape of the view of a batch of this shape."""
        return shape

    def source(self, points: Tensor, parameters: P) -> Tensor:
        """Where points of the view lie in x, (B or 1, P, 2): (row, column), from 0 to 1 across the image."""
        return points


def without_autocast(apply: Callable[[S, Tensor, P], Tensor]) -> Callable[[S, Tensor, P], Tensor]:
    """An `apply` that keeps to x's dtype where autocast would choose another one."""

    @wraps(apply)
    def kept(self: S, x: Tensor, parameters: P) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return apply(self, x, parameters)

    return kept


def locations(
    transform: Transform[P], parameters: P, grid: tuple[int, int], *, image: tuple[int, int] = (1, 1)
) -> Tensor:
    """Where the cells of a map of a view lie in the original image, seen through crops and flips.

    Args:
        transform: what made the view.
        parameters: what it drew.
        grid: the map's size (h, w), such as (7, 7) for the last maps of a ResNet.
        image: the original image's size (H, W), for locations in pixels; fractions of the image if not given.

    Returns:
        The centers (row, column) of the P = h · w cells, row by row of the grid, (B, P, 2), counted from the
        image's upper left corner: the center of its first pixel is (0.5, 0.5). (1, P, 2) if nothing here
        moves pixels.

    Raises:
        ValueError: if the grid has no cell.

    Reference: Bardes, Ponce, LeCun (2022), "VICRegL", sect. 3 (location-based matching).

    Example:
        >>> from ebm.views import RandomResizedCrop
        >>> crop = RandomResizedCrop(8, scale=(1.0, 1.0), ratio=(1.0, 1.0))
        >>> _, box = crop(torch.zeros(1, 3, 32, 32))
        >>> locations(crop, box, (1, 2), image=(32, 32))
        tensor([[[16.,  8.],
                 [16., 24.]]])
    """
    if min(grid) < 1:
        raise ValueError(f"a map has at least one row and column of cells; got grid={grid}.")
    drawn = [*tensors(parameters), torch.empty(0)]
    like = next(tensor for tensor in drawn if tensor.is_floating_point())
    rows, columns = ((torch.arange(n, dtype=like.dtype, device=drawn[0].device) + 0.5) / n for n in grid)
    points = torch.cartesian_prod(rows, columns)[None]
    return transform.source(points, parameters) * points.new_tensor(image)
