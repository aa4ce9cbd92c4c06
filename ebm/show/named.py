"""One thing to draw, or several by name: what functions that overlay things take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from ebm.show.style import COLORS


def named(things: Tensor | Mapping[str, Tensor], what: str) -> Iterator[tuple[str, Tensor, str]]:
    """Name, tensor (detached, on the CPU) and color of each; a tensor alone has the name "".

    Raises:
        TypeError: if they are neither a tensor nor tensors by name.
        ValueError: if there are none, or more than there are colors.

    Example:
        >>> import torch
        >>> [(name, color) for name, _, color in named({"a": torch.ones(1), "b": torch.ones(1)}, "codes")]
        [('a', '#0072B2'), ('b', '#E69F00')]
    """
    if isinstance(things, Tensor):
        things = {"": things}
    if not isinstance(things, Mapping) or not all(isinstance(each, Tensor) for each in things.values()):
        raise TypeError(f"{what}: a tensor, or tensors by name {{'one': ..., 'other': ...}}; got {things!r}.")
    if not 0 < len(things) <= len(COLORS):
        raise ValueError(
            f"{what}: one to {len(COLORS)} in a picture; got {len(things)}. Draw several pictures."
        )
    return (
        (name, each.detach().cpu(), color)
        for (name, each), color in zip(things.items(), COLORS, strict=False)
    )
