"""All that is asked of an energy, in one call; each part is a function of its own.

rows, derivatives, prox (where there is one), binding, algebra, state
"""

from __future__ import annotations

from ebm.energy import Energy
from ebm.testing.algebra import check_algebra
from ebm.testing.binding import check_binding
from ebm.testing.derivatives import check_derivatives
from ebm.testing.examples import Example
from ebm.testing.proximal import check_prox
from ebm.testing.rows import check_rows
from ebm.testing.state import check_state


def check_energy(energy: Energy, example: Example, *, bitwise: bool = True) -> None:
    """Check every contract of an energy.

    Args:
        energy: the energy, in float64 for the sharpest checks.
        example: a value for each variable, B >= 2 rows that differ, away from kinks.
        bitwise: ask that a changed row leave the bits of all others alone; False (rounding) where an inner
            solve drops rows that are done.

    Raises:
        EnergyContractError: an AssertionError saying what was expected, what came and in which row.

    Example:
        >>> import torch
        >>> from ebm import energy
        >>> spring = energy(lambda x, y: 0.5 * (x - y).square().sum(1))
        >>> check_energy(spring, {"x": torch.zeros(3, 2), "y": torch.randn(3, 2)})
    """
    check_rows(energy, example, bitwise=bitwise)
    check_derivatives(energy, example)
    if hasattr(energy, "prox"):
        check_prox(energy, example)
    check_binding(energy, example)
    check_algebra(energy, example)
    check_state(energy, example)
