"""Codes of examples in the middle of a training, which goes on as if nobody had looked.

Modules are put into evaluation mode and each one back into its own; no gradient is kept; random numbers that
the encoder draws are given back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ebm.parts import evaluating

Encode = Callable[[Tensor], Tensor]


def encoded(encode: Encode, x: Tensor, modules: Sequence[nn.Module] = (), batch_size: int = 1024) -> Tensor:
    """The codes of examples, in evaluation mode and without gradients, leaving no trace.

    Args:
        encode: a module, or a method of one; for another function, `modules` names those that it calls.
        x: examples, (N, *shape).
        modules: further modules to put into evaluation mode.
        batch_size: rows to encode at once.

    Returns:
        What `encode` returns for all rows, (N, ...).

    Example:
        >>> dropout = nn.Dropout(0.5)
        >>> encoded(dropout, torch.ones(2, 2)), dropout.training
        (tensor([[1., 1.],
                [1., 1.]]), True)
    """
    found = encode if isinstance(encode, nn.Module) else getattr(encode, "__self__", None)
    tops = [*modules, *([found] if isinstance(found, nn.Module) else [])]
    with _undisturbed(tops, x):
        return torch.cat([encode(part) for part in x.split(batch_size)])


@contextmanager
def _undisturbed(tops: Sequence[nn.Module], x: Tensor) -> Iterator[None]:
    """Every module in evaluation mode, and afterwards each one in its own; random numbers are given back."""
    tensors = [x, *(t for top in tops for t in (*top.parameters(), *top.buffers()))]
    gpus = sorted({t.device.index or 0 for t in tensors if t.device.type == "cuda"})
    with evaluating(*tops), torch.random.fork_rng(devices=gpus), torch.no_grad():
        yield
