"""The modules that an energy is made of, and the energy as a constant while its variables move.

The walk is ours since it stands in every solve: `nn.Module.modules` is a generator inside a generator for
each level, and takes several times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


def parts(*wholes: nn.Module) -> list[nn.Module]:
    """Every module inside, each once, a whole before its parts."""
    found: dict[int, nn.Module] = {}
    todo = [*reversed(wholes)]
    while todo:
        part = todo.pop()
        if id(part) not in found:
            found[id(part)] = part
            todo += [child for child in reversed(part._modules.values()) if child is not None]
    return list(found.values())


@contextmanager
def evaluating(*wholes: nn.Module) -> Iterator[None]:
    """Every module inside in evaluation mode, and afterwards each one in its own.

    Example:
        >>> net = nn.Sequential(nn.Dropout(), nn.Linear(1, 1))
        >>> with evaluating(net):
        ...     net.training, net[0].training
        (False, False)
        >>> net.training, net[0].training
        (True, True)
    """
    learning = [part for part in parts(*wholes) if part.training]
    try:
        _set_training(learning, False)
        yield
    finally:
        _set_training(learning, True)


@contextmanager
def constant(whole: nn.Module) -> Iterator[None]:
    """In evaluation mode and with parameters as constants, and afterwards as before.

    A gradient in the variables alone is a few per cent cheaper so.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> with constant(net):
        ...     net.training, net.weight.requires_grad
        (False, False)
        >>> net.training, net.weight.requires_grad
        (True, True)
    """
    inside = parts(whole)
    learning = [part for part in inside if part.training]
    learned = [p for part in inside for p in part._parameters.values() if p is not None and p.requires_grad]
    try:
        _set_training(learning, False)
        for parameter in learned:
            parameter.requires_grad = False
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad = True
        _set_training(learning, True)


def _set_training(modules: list[nn.Module], training: bool) -> None:
    """`module.training = training`, past `nn.Module.__setattr__`, which is slow for a mere flag."""
    for module in modules:
        own = vars(module)
        if "training" in own:
            own["training"] = training
        else:  # a scripted module keeps it elsewhere
            module.training = training
