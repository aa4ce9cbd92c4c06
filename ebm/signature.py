"""What an energy's signature says of its variables, and the errors that teach it.

`forward(self, x, y, depth=1.0)` is an energy of the variables x and y with the option depth.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from ebm.rows import flat


class Signed(Protocol):
    """Anything with named variables: an energy, whatever it is made of."""

    variables: tuple[str, ...]
    options: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its name in messages."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """What it has learned."""


def read_signature(function: Callable[..., Any], skip: int = 0) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A function's parameters without a default (variables) and with one (options), after `skip` others."""
    parameters = list(inspect.signature(function).parameters.values())[skip:]
    named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return (
        tuple(p.name for p in named if p.default is p.empty),
        tuple(p.name for p in named if p.default is not p.empty),
    )


def check_output(energy: Any, batch: int, who: str) -> None:
    """Refuse an energy that is not one real number a row."""
    if not isinstance(energy, Tensor) or energy.shape != (batch,):
        came = tuple(energy.shape) if isinstance(energy, Tensor) else type(energy).__name__
        raise ValueError(
            f"{who} must return one energy a row, shape ({batch},); it returned {came}. Sum over every "
            f"dimension but the first, e.g. e.flatten(1).sum(1)."
        )
    if not energy.is_floating_point():
        raise TypeError(
            f"{who} must return real numbers; it returned {energy.dtype}. Convert them, e.g. e.double()."
        )


def describe(energy: Signed) -> str:
    """'Spring is an energy of x, y (options: depth)'."""
    options = f" (options: {', '.join(energy.options)})" if energy.options else ""
    return f"{energy.label} is an energy of {', '.join(energy.variables) or 'nothing'}{options}"


def refuse_unknown(energy: Signed, names: Collection[str]) -> None:
    """Raise TypeError if there is a name that the energy does not have."""
    if names:
        raise TypeError(f"{describe(energy)}; it has no {', '.join(map(repr, names))}.")


def refuse_missing(energy: Signed, came: Collection[str]) -> None:
    """Raise TypeError if a variable did not come."""
    missing = [v for v in energy.variables if v not in came]
    if missing:
        raise TypeError(
            f"{describe(energy)}; got {', '.join(came) or 'nothing'}, so {', '.join(map(repr, missing))} is "
            f"missing. Pass a value, or minimize or marginalize it first: min_over(E, {missing[0]!r}, ...)."
        )


class FaultyDataError(ValueError):
    """Rows of the data hold NaN or infinity."""


def refuse_faulty(energy: Signed, data: Mapping[str, Any]) -> None:
    """Raise if data is the reason why an energy gave no number; looked at after something went wrong.

    Raises:
        TypeError: for data of another precision than the energy's parameters.
        ValueError: for data on another device.
        FaultyDataError: for rows that hold NaN or infinity, naming them.
    """
    first = next((p for p in energy.parameters() if p.is_floating_point()), None)
    for name, value in data.items():
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim == 0:
            continue
        if first is not None and first.device != value.device:
            raise ValueError(
                f"{name!r} is on {value.device}, and {energy.label} on {first.device}; move one: "
                f"{name}.to({str(first.device)!r})."
            )
        if first is not None and first.dtype != value.dtype:
            raise TypeError(
                f"{name!r} is {value.dtype}, and the parameters of {energy.label} are {first.dtype}; convert "
                f"one: {name}.to({first.dtype}), or energy.to({value.dtype})."
            )
        lost = ~flat(value).isfinite().all(1)
        if bool(lost.any()):
            rows = lost.nonzero().flatten().tolist()
            raise FaultyDataError(
                f"{name!r} holds NaN or infinity in {len(rows)} of {len(value)} rows, {rows[:5]}. Leave such "
                f"rows out, {name}[{name}.isfinite().flatten(1).all(1)], or fill them in."
            )
