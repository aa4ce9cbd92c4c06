"""The parameters of views, as trees: tensors (B, ...) in NamedTuples and dictionaries, however nested.

vector(θ)_i = all numbers of θ that belong to row i, one after the other
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ebm.rows import flat


def vector(parameters: Any) -> Tensor:
    """All parameters of a view as one vector for each row: what an equivariant predictor is told.

    Args:
        parameters: of a view, or some of them.

    Returns:
        (B, K), floating point: flags become 0 and 1, and what a `Maybe` did not apply to a row is 0 there.

    Raises:
        ValueError: if there is no tensor in them.

    Reference: Garrido et al. (2024), "Learning and Leveraging World Models in Visual Representation
    Learning", sect. 3: the predictor's input is the difference of such vectors.

    Example:
        >>> from ebm.views import HorizontalFlip
        >>> vector(HorizontalFlip(1.0).draw(torch.zeros(2, 1, 4, 4)))
        tensor([[1.],
                [1.]])
    """
    parts = [flat(tensor) for tensor in tensors(parameters)]
    if not parts:
        raise ValueError(f"these parameters hold no numbers, as nothing was drawn: {parameters!r}.")
    kinds = [part.dtype for part in parts if part.is_floating_point()]
    dtype = kinds[0] if kinds else torch.get_default_dtype()
    return torch.cat([part.to(dtype) for part in parts], 1)


def tensors(parameters: Any) -> Iterator[Tensor]:
    """The tensors in a tree, in order."""
    if isinstance(parameters, Tensor):
        yield parameters
    else:
        for part in parameters.values() if isinstance(parameters, Mapping) else parameters:
            yield from tensors(part)


def each(parameters: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same tree with a function applied to every tensor."""
    if isinstance(parameters, Tensor):
        return function(parameters)
    if isinstance(parameters, Mapping):
        return {name: each(part, function) for name, part in parameters.items()}
    return type(parameters)(*(each(part, function) for part in parameters))
