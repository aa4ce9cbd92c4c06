"""The contract of the algebra: energies add, scale and compose as the numbers that they give.

(E₁ + E₂)(v) = E₁(v) + E₂(v),          (w E)(v) = w E(v)
E.given(x=a)(y) = E(a, y),             E.compose(x=(f, "u"))(u) = E(f(u))
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.testing.examples import Example, batch_size, evaluate, float_variables, is_random, leading, seeded
from ebm.testing.verdict import EnergyContractError as Wrong
from ebm.testing.verdict import require_equal, rounding


def check_algebra(energy: Energy, example: Example) -> None:
    """Check that an energy in a sum, scaled, named, given or composed agrees with arithmetic.

    An energy that is random is held to it for a fixed draw, where it stands alone.

    Args:
        energy: the energy.
        example: a value for each variable, B >= 2 rows that differ.

    Raises:
        EnergyContractError: saying what was expected, what came and in which row.

    Example:
        >>> from ebm import energy
        >>> check_algebra(energy(lambda y: y.square().sum(1)), {"y": torch.randn(3, 2)})
    """
    batch_size(example)
    value = evaluate(energy, example)
    close = rounding(value.dtype)
    weight = torch.tensor(0.5, dtype=value.dtype, device=value.device)

    def agree(made: Energy, expected: Tensor, how: str) -> None:
        require_equal(Wrong, evaluate(made, example), expected, f"{how} agrees with arithmetic", close)

    agree(2.5 * energy, 2.5 * value, "2.5 * E")
    agree(energy * weight, 0.5 * value, "E * tensor(0.5)")
    agree(energy / 4, value / 4, "E / 4")
    agree(-energy, -value, "-E")
    agree(energy.named("part"), value, "E.named")
    if bool(torch.isfinite(value).all()) and not is_random(energy, example):
        agree(energy + energy, 2 * value, "E + E")
        agree(energy - 0.25 * energy, 0.75 * value, "E - 0.25 E")
        agree(sum([energy, energy, energy]), 3 * value, "sum([E, E, E])")  # type: ignore[arg-type]
        agree(2 * (energy + 3 * energy), 8 * value, "2 (E + 3 E)")
        _check_terms(energy, example, value, close)
    agree(0 * energy, torch.zeros_like(value), "0 * E")
    for name in float_variables(energy, example):
        _check_replaced(energy, name, example, value, close)


def _check_terms(energy: Energy, example: Example, value: Tensor, close: float) -> None:
    terms = (energy.named("one") + 2 * energy.named("two")).terms(**example)
    if set(terms) != {"one", "two"}:
        raise Wrong(f"terms go by their names: expected 'one' and 'two', came {', '.join(map(repr, terms))}.")
    require_equal(Wrong, terms["one"].detach(), value, "a term named 'one' is E", close)
    require_equal(Wrong, terms["two"].detach(), 2 * value, "a term named 'two' of weight 2 is 2 E", close)


def _check_replaced(energy: Energy, name: str, example: Example, value: Tensor, close: float) -> None:
    """Fix a variable early, and make it a function of a new one; both must change nothing."""
    rest = {n: v for n, v in example.items() if n != name}
    fixed = energy.given(**{name: example[name]})
    if name in fixed.variables:
        raise Wrong(f"E.given({name}=...) is an energy without {name!r}; came one of {fixed.variables}.")
    like = leading(example)
    came = fixed.bind(rest, seeded(like), like={"rows": example[name]})()
    require_equal(Wrong, came.detach(), value, f"E.given({name}=...) agrees with E", close)
    new = f"half_of_{name}"
    composed = energy.compose(**{name: (_double, new)})
    if new not in composed.variables or name in composed.variables:
        raise Wrong(
            f"E.compose({name}=(f, {new!r})) is an energy of {new!r}, not {name!r}; came {composed.variables}"
        )
    came = evaluate(composed, {**rest, new: example[name] / 2})  # halving and doubling lose no bit
    require_equal(Wrong, came, value, f"E.compose({name}=(f, ...)) is E at f(...)", close)


def _double(v: Tensor) -> Tensor:
    return 2 * v
